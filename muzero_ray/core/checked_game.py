"""Watches a game while it is played, so that a broken one stops a run with a sentence instead of poisoning it.

`CheckedGame` is cheap enough for every step of self-play. It asks only what can be seen in one step;
`game_check.check_game` plays whole episodes and asks the rest.
"""

import copy
import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Self

import numpy as np

from muzero_ray.core.game import Game, GameSpec
from muzero_ray.core.position import Position

_NUMBERS = (float, int, np.floating, np.integer)
_FLAGS = (bool, np.bool_)
_NOT_THE_GAME = ("muzero_ray.", "importlib.")
"""Beginnings of the names of modules that only lead to a game's code."""


class GameError(ValueError):
    """A game broke the contract of `Game`; the message names game, method, field, step, action and seed."""

    key: tuple[str, ...] = ()
    """Equal for two violations of the same kind."""
    game_traceback: str = ""
    """The traceback of an exception of the game's own, from the game's code on; empty where there was none.
    As text, since an exception that travels to another process leaves its traceback behind."""


@dataclass(frozen=True)
class Complaint:
    """One violation: `field` must `wanted`, got `got`; `advice`."""

    field: str
    wanted: str
    got: str
    advice: str


def reset_complaint(outcome: object) -> Complaint | None:
    """What is wrong with the form of what `reset` returned, if anything."""
    if type(outcome) is tuple and len(outcome) == 2:
        return None
    return Complaint("result", "be a tuple (observation, info)", _form(outcome), "return observation, {}")


def step_complaint(outcome: object) -> Complaint | None:
    """What is wrong with the form of what `step` returned, if anything."""
    if type(outcome) is tuple and len(outcome) == 5:
        return None
    return Complaint(
        "result",
        "be a tuple (observation, reward, terminated, truncated, info)",
        _form(outcome),
        "return all five; truncated is False unless a time limit stopped the game",
    )


def observation_complaint(spec: GameSpec, observation: object) -> Complaint | None:
    """What is wrong with one observation, if anything."""
    if not isinstance(observation, np.ndarray):
        return Complaint("observation", "be a NumPy array", type(observation).__name__, "return np.asarray(...)")
    if observation.shape != spec.observation_shape:
        return Complaint(
            "observation",
            f"have shape {spec.observation_shape}",
            str(observation.shape),
            "mend the observation or spec.observation_shape",
        )
    if observation.dtype != np.dtype(spec.observation_dtype):
        return Complaint(
            "observation",
            f"have dtype {spec.observation_dtype}",
            str(observation.dtype),
            f"return it .astype(np.{spec.observation_dtype}), or mend spec.observation_dtype",
        )
    if observation.dtype.kind == "f" and not np.isfinite(observation).all():
        bad = np.argwhere(~np.isfinite(observation))[0].tolist()
        return Complaint("observation", "be finite", f"{observation[tuple(bad)]} at index {bad}", "clip or mend it")
    return None


def reward_complaint(reward: object) -> Complaint | None:
    """What is wrong with a reward, if anything."""
    if not isinstance(reward, _NUMBERS):
        return Complaint("reward", "be a number", type(reward).__name__, "return float(...)")
    if not math.isfinite(reward):
        return Complaint("reward", "be finite", str(reward), "return a plain number such as 0.0")
    return None


def flag_complaint(name: str, flag: object) -> Complaint | None:
    """What is wrong with `terminated` or `truncated`, if anything."""
    if isinstance(flag, _FLAGS):
        return None
    return Complaint(name, "be True or False", f"{flag!r} ({type(flag).__name__})", "return bool(...)")


def legal_complaint(spec: GameSpec, legal: object) -> Complaint | None:
    """What is wrong with what `legal_actions` returned before a move, if anything."""
    field = "legal actions"
    if not isinstance(legal, np.ndarray):
        return Complaint(field, "be a NumPy array", type(legal).__name__, "return np.array(..., dtype=bool)")
    if legal.shape != (spec.num_actions,):
        return Complaint(
            field, f"have shape ({spec.num_actions},)", str(legal.shape), "give one flag per action, True = allowed"
        )
    if legal.dtype != bool:
        return Complaint(field, "have dtype bool", str(legal.dtype), "return it .astype(bool), True = allowed")
    if not legal.any():
        return Complaint(
            field, "allow at least one action", "none", "end the game in the step before, with terminated=True"
        )
    return None


def to_play_complaint(spec: GameSpec, to_play: object) -> Complaint | None:
    """What is wrong with the player to move, if anything."""
    if isinstance(to_play, int | np.integer) and 0 <= to_play < spec.num_players:
        return None
    players = "be 0 in a game for one" if spec.num_players == 1 else "be 0 or 1"
    return Complaint("to_play", players, repr(to_play), "mend to_play or spec.num_players")


def turn_complaint(mover: int) -> Complaint:
    """What is wrong where a player moves twice in a row in a game whose spec says that the turn always passes."""
    return Complaint(
        "to_play",
        "change with every move in a game for two",
        f"{mover} twice in a row",
        "say alternating=False in the game's spec, or let the other player pass by an action of its own",
    )


def game_traceback(cause: BaseException) -> str:
    """The traceback of an exception in a game's code, as Python prints it, without the frames that led there."""
    frames = cause.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith(_NOT_THE_GAME):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(cause), cause, frames)).rstrip()


def raise_error(error: GameError) -> NoReturn:
    """The way to report a violation that stops the run."""
    raise error


class CheckedGame(Game):
    """A game that is watched: everything it answers is checked before it is passed on.

    Args:
        game: the game to watch; everything is delegated to it.
        name: of the game in messages; by default its class's, in small letters.
        report: called with every violation after which playing on is possible. Raises by default.

    Attributes:
        forbids_actions: whether the game says itself which actions are legal; if not, all are, always.
        names_player: whether the game says itself who is to move; if not, player 0 is, always.

    Raises:
        GameError: from any method, if the game breaks its contract or raises; an exception of the game's
            own is chained (`__cause__`), with its traceback.
    """

    spec: GameSpec

    def __init__(
        self, game: Game, *, name: str | None = None, report: Callable[[GameError], None] = raise_error
    ) -> None:
        self.spec = game.spec
        self.name = name or type(game).__name__.lower()
        self._game = game
        self._report = report
        self._seed = 0
        self._steps = 0
        self._action = -1
        self._takes_turns = self.spec.num_players == 2 and self.spec.alternating
        self._observation_dtype = np.dtype(self.spec.observation_dtype)
        # Games that allow everything need not be asked before every move.
        self.forbids_actions = type(game).legal_actions is not Game.legal_actions
        self._all_legal = np.ones(self.spec.num_actions, dtype=bool)
        self._all_legal.flags.writeable = False
        self.names_player = self.spec.num_players == 2 or type(game).to_play is not Game.to_play

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """See `Game.reset`; its result is checked."""
        self._seed, self._steps, self._action = seed, 0, -1
        try:
            outcome = self._game.reset(seed)
        except Exception as error:
            raise self.crash("reset", error) from error
        if complaint := reset_complaint(outcome):
            raise self.error("reset", complaint)
        if complaint := observation_complaint(self.spec, outcome[0]):
            self._report(self.error("reset", complaint))
        return outcome

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """See `Game.step`; its result is checked."""
        mover = self.to_play if self._takes_turns else -1
        self._steps += 1
        self._action = action
        try:
            outcome = self._game.step(action)
        except Exception as error:
            raise self.crash("step", error) from error
        if complaint := step_complaint(outcome):
            raise self.error("step", complaint)
        observation, reward, terminated, truncated, _ = outcome
        # What games answer nearly always is recognised at little cost; the rest is looked at closely.
        if not (
            type(terminated) is bool
            and type(truncated) is bool
            and type(reward) is float
            and math.isfinite(reward)
            and self._is_plain(observation)
        ):
            for complaint in (
                observation_complaint(self.spec, observation),
                reward_complaint(reward),
                flag_complaint("terminated", terminated),
                flag_complaint("truncated", truncated),
            ):
                if complaint:
                    self._report(self.error("step", complaint))
        if self._takes_turns and not (terminated or truncated) and self.to_play == mover:
            self._report(self.error("to_play", turn_complaint(mover)))
        return outcome

    def legal_actions(self) -> np.ndarray:
        """See `Game.legal_actions`; checked, and never without an allowed action. Not to be written to."""
        if not self.forbids_actions:
            return self._all_legal
        try:
            legal = self._game.legal_actions()
        except Exception as error:
            raise self.crash("legal_actions", error) from error
        if complaint := legal_complaint(self.spec, legal):
            raise self.error("legal_actions", complaint)
        return legal

    @property
    def to_play(self) -> int:
        """See `Game.to_play`; checked."""
        if not self.names_player:
            return 0
        try:
            to_play = self._game.to_play
        except Exception as error:
            raise self.crash("to_play", error) from error
        if complaint := to_play_complaint(self.spec, to_play):
            raise self.error("to_play", complaint)
        return to_play

    def _is_plain(self, observation: object) -> bool:
        """Whether an observation is right beyond doubt: huge numbers, whose squares overflow, are left in doubt."""
        return (
            type(observation) is np.ndarray
            and observation.shape == self.spec.observation_shape
            and observation.dtype == self._observation_dtype
            and (observation.dtype.kind != "f" or math.isfinite(np.vdot(observation, observation)))
        )

    def evaluated(self) -> "CheckedGame":
        """See `Game.evaluated`; that game is watched as well."""
        return CheckedGame(self._game.evaluated(), name=self.name, report=self._report)

    def clone(self) -> Self:
        """See `Game.clone`; the copy is watched as well."""
        copied = copy.copy(self)
        copied._game = self._game.clone()
        return copied

    def position(self) -> Position:
        """See `Game.position`; what is played ahead is not watched, for speed."""
        return self._game.position()

    def render(self) -> np.ndarray:
        """See `Game.render`."""
        return self._game.render()

    def text(self) -> str:
        """See `Game.text`."""
        return self._game.text()

    def expert_action(self) -> int:
        """See `Game.expert_action`."""
        return self._game.expert_action()

    def action_to_string(self, action: int) -> str:
        """See `Game.action_to_string`."""
        return self._game.action_to_string(action)

    def string_to_action(self, text: str) -> int:
        """See `Game.string_to_action`."""
        return self._game.string_to_action(text)

    def close(self) -> None:
        """See `Game.close`."""
        self._game.close()

    def error(self, method: str, complaint: Complaint) -> GameError:
        """A violation, with the place in the episode where it showed."""
        if self._steps == 0:
            place = f"at the start of the episode (seed {self._seed})"
        else:
            place = f"after action {self._action} in step {self._steps} (seed {self._seed})"
        error = GameError(
            f"{self.name}.{method}: {complaint.field} must {complaint.wanted}, "
            f"got {complaint.got} {place}; {complaint.advice}"
        )
        error.key = (method, complaint.field, complaint.wanted)
        return error

    def crash(self, method: str, cause: Exception) -> GameError:
        """The violation that an exception in the game's code is; to be raised `from` it."""
        frames = traceback.extract_tb(cause.__traceback__)
        line = f" in line {frames[-1].lineno} of {frames[-1].filename.rsplit('/', 1)[-1]}" if frames else ""
        got = f"{type(cause).__name__}: {cause}{line}"
        error = self.error(method, Complaint(f"{method}()", "not raise", got, "mend the game's code"))
        error.game_traceback = game_traceback(cause)
        return error


def _form(outcome: object) -> str:
    return f"a tuple of {len(outcome)}" if isinstance(outcome, tuple) else type(outcome).__name__
