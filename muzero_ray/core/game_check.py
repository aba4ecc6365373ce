"""Plays a game at random and explains, in plain words, every way in which it breaks the contract of `Game`.

For authors of games (`muzero-ray check-game mygame.py`) and for the tests of every shipped game. It finds
broken interfaces, not wrong rules: no checker knows that a knight cannot jump like that. What the spec says of a
board is looked at in `symmetry_check`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from muzero_ray.core.checked_game import CheckedGame, Complaint, GameError, reward_complaint
from muzero_ray.core.game import Game, GameSpec
from muzero_ray.core.symmetry_check import board_problems, shared_labels, symmetry_error, unlike_labels_error

__all__ = ["CheckedGame", "GameError", "check_game", "spec_problems"]

_MAX_NOTATION_CHECKS = 100  # the default string_to_action tries all A actions
_ILLEGAL_PROBES = 5  # each plays the episode again up to there
_MOVES_TO_TURN = 100  # after so many in all, no more episodes are played in all symmetries


@dataclass
class _Findings:
    """The problems found so far; of every kind only the first is kept."""

    problems: list[str] = field(default_factory=list)
    keys: set[tuple[str, ...]] = field(default_factory=set)

    def add(self, error: GameError | None) -> None:
        if error is not None and error.key not in self.keys:
            self.keys.add(error.key)
            self.problems.append(str(error))


@dataclass
class _Record:
    """One episode as it was played."""

    seed: int
    actions: list[int] = field(default_factory=list)
    movers: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    legal: list[np.ndarray] = field(default_factory=list)
    trace: list[tuple[object, ...]] = field(default_factory=list)  # what reset and every step answered, digested
    ended: bool = False


def check_game(
    make_game: Callable[[], Game],
    *,
    episodes: int = 10,
    seed: int = 0,
    max_steps: int = 30_000,
    name: str | None = None,
) -> list[str]:
    """Plays a game at random and returns what is wrong with it.

    Args:
        make_game: makes one more game.
        episodes: to be played, with the seeds `seed`, `seed + 1`, ...
        seed: also of the random moves.
        max_steps: an episode that is longer counts as one that never ends.
        name: of the game in the messages; by default its class's, in small letters.

    Returns:
        One sentence per kind of violation: field, what was wanted, what came, where, what to do. Empty for
        a game that keeps the contract.
    """
    try:
        game = make_game()
    except Exception as error:
        return [f"{name or 'game'}: the constructor must not raise, got {type(error).__name__}: {error}; mend it"]
    if problems := spec_problems(game, name):
        return problems
    findings = _Findings()
    checked = CheckedGame(game, name=name, report=findings.add)
    rng = np.random.default_rng(seed)
    labels = shared_labels(game.spec)
    repeatable, moves_to_turn = False, _MOVES_TO_TURN if game.spec.symmetries else 0
    for episode in range(episodes):
        record = _Record(seed + episode)
        try:
            _play_at_random(checked, record, rng, max_steps, findings)
            findings.add(unlike_labels_error(labels, checked.name, record.seed, record.legal))
            if not record.ended:
                break  # the others would take as long
            _check_return(checked, record, findings)
            if episode == 0:
                # What comes after needs an episode that can be played again.
                repeatable = _repeats(checked, record, findings) and _check_another(
                    make_game, game, checked, record, findings
                )
                if repeatable:
                    _check_refusals(make_game, checked, record, findings)
            if repeatable and moves_to_turn > 0:
                moves_to_turn -= len(record.actions)
                findings.add(symmetry_error(make_game, checked.name, record.seed, record.actions))
        except GameError as error:
            findings.add(error)
    checked.close()
    return findings.problems


def spec_problems(game: Game, name: str | None = None) -> list[str]:
    """What is wrong with a game's spec: one sentence each; for the name see `check_game`."""
    name = name or type(game).__name__.lower()
    spec = getattr(game, "spec", None)
    if not isinstance(spec, GameSpec):
        return [f"{name}: spec must be a GameSpec, got {type(spec).__name__}; set spec = GameSpec(...)"]
    problems = []

    def demand(holds: bool, wanted: str, got: object) -> None:
        if not holds:
            problems.append(f"{name}: spec.{wanted}, got {got!r}; mend the game's spec")

    shape = spec.observation_shape
    demand(
        isinstance(shape, tuple) and len(shape) > 0 and all(isinstance(n, int) and n > 0 for n in shape),
        "observation_shape must be a tuple of positive integers",
        shape,
    )
    demand(
        isinstance(spec.num_actions, int) and spec.num_actions > 0,
        "num_actions must be a positive integer",
        spec.num_actions,
    )
    demand(spec.num_players in (1, 2), "num_players must be 1 or 2", spec.num_players)
    demand(
        spec.observation_dtype in ("float32", "uint8"),
        "observation_dtype must be 'float32' or 'uint8'",
        spec.observation_dtype,
    )
    stacked = spec.frame_stack
    demand(isinstance(stacked, int) and stacked >= 1, "frame_stack must be a positive integer", stacked)
    demand(
        stacked == 1 or not isinstance(shape, tuple) or len(shape) == 3,
        f"observation_shape must be that of a frame, (C, H, W), where frame_stack is {stacked}",
        shape,
    )
    demand(stacked == 1 or spec.num_players == 1, "frame_stack must be 1 with two players", stacked)
    demand(
        isinstance(spec.protocol, str) and "\n" not in spec.protocol, "protocol must be one line of text", spec.protocol
    )
    bounds = spec.value_bounds
    numbers = isinstance(bounds, tuple | list) and all(isinstance(n, int | float | np.number) for n in bounds)
    if bounds is not None and not (numbers and len(bounds) == 2):
        demand(False, "value_bounds must be two numbers, such as (-1.0, 1.0)", bounds)
    elif bounds is not None:
        low, high = bounds
        demand(bool(np.isfinite([low, high]).all()) and low < high, "value_bounds must be finite and rise", (low, high))
        if spec.num_players == 2:
            # Every value is told from the side of the player to move, so each player's bounds are the other's, negated.
            demand(low == -high, "value_bounds must be symmetric, such as (-1, 1), with two players", (low, high))
    if not problems:
        problems += [f"{name}: spec.{problem}; mend the game's spec" for problem in board_problems(spec)]
    return problems


def _digest(game: CheckedGame, observation: np.ndarray, *rest: object) -> tuple[object, ...]:
    """Enough of an answer to tell two episodes apart, without keeping every frame."""
    # As text, NaN equals itself: a broken reward is told once, as what it is.
    return (hash(np.asarray(observation).tobytes()), str(rest), game.to_play)


def _play_at_random(
    game: CheckedGame, record: _Record, rng: np.random.Generator, max_steps: int, findings: _Findings
) -> None:
    observation, _ = game.reset(record.seed)
    record.trace.append(_digest(game, observation))
    while len(record.actions) < max_steps:
        legal, player = game.legal_actions(), game.to_play
        action = int(rng.choice(np.flatnonzero(legal)))
        if len(record.actions) < _MAX_NOTATION_CHECKS:
            _check_extras(game, action, legal, findings)
        kept = ((observation, np.copy(observation)), (legal, legal.copy()))
        observation, reward, terminated, truncated, _ = game.step(action)
        for what, (returned, copy) in zip(("observation", "legal actions"), kept, strict=True):
            if not np.array_equal(returned, copy, equal_nan=copy.dtype.kind == "f"):
                advice = "return a new array every time (.copy())"
                complaint = Complaint(what, "not change once returned", "another content", advice)
                findings.add(game.error("step", complaint))
        record.actions.append(action)
        record.movers.append(player)
        record.rewards.append(0.0 if reward_complaint(reward) else float(reward))
        record.legal.append(kept[1][1])
        record.trace.append(_digest(game, observation, reward, terminated, truncated))
        if terminated or truncated:
            record.ended = True
            return
    complaint = Complaint(
        "an episode",
        "end",
        f"neither terminated nor truncated in {max_steps} random steps",
        "return truncated=True after a fixed number of moves",
    )
    findings.add(game.error("step", complaint))


def _check_extras(game: CheckedGame, action: int, legal: np.ndarray, findings: _Findings) -> None:
    """The optional methods: notation, text, expert."""

    def complain(method: str, what: str, wanted: str, got: object, advice: str) -> None:
        findings.add(game.error(method, Complaint(what, wanted, repr(got), advice)))

    method = "action_to_string"
    try:
        written = game.action_to_string(action)
        method = "string_to_action"
        read = game.string_to_action(written)
        method = "text"
        text = game.text()
        method = "expert_action"
        try:
            expert = game.expert_action()
        except NotImplementedError:
            expert = action
    except Exception as error:
        findings.add(game.crash(method, error))
        return
    if read != action:
        wanted = f"give {action} for {written!r}, as action_to_string wrote it"
        complain("string_to_action", "action", wanted, read, "write every action differently, and read it back")
    if not isinstance(text, str):
        complain("text", "result", "be a string", text, "return the board as a str")
    if not (isinstance(expert, int | np.integer) and 0 <= expert < len(legal) and legal[expert]):
        complain("expert_action", "action", "be legal", expert, "choose among legal_actions()")


def _check_return(game: CheckedGame, record: _Record, findings: _Findings) -> None:
    """Two players: what player 0 got in all lies within the value bounds. A discount below 1 may keep the values
    of a game for one within bounds that its return exceeds, so nothing is asked there."""
    bounds = game.spec.value_bounds
    if bounds is None or game.spec.num_players == 1:
        return
    total = sum(reward if mover == 0 else -reward for mover, reward in zip(record.movers, record.rewards, strict=True))
    if not bounds[0] <= total <= bounds[1]:
        advice = "mend the rewards or spec.value_bounds"
        complaint = Complaint("the sum of rewards", f"lie within value_bounds {bounds}", f"{total:g}", advice)
        findings.add(game.error("step", complaint))


def _repeats(game: CheckedGame, record: _Record, findings: _Findings) -> bool:
    """Whether the same seed and actions give the same episode."""
    same = _goes_alike(game, record)
    if not same:
        advice = "forget the last episode and draw everything from np.random.default_rng(seed) made in reset"
        complaint = Complaint("the same seed and actions", "give the same episode", "a difference", advice)
        findings.add(game.error("reset", complaint))
    return same


def _goes_alike(game: CheckedGame, record: _Record, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Whether the episode is the recorded one, if played again; `meanwhile` is called after every answer."""
    observation, _ = game.reset(record.seed)
    meanwhile()
    same = _digest(game, observation) == record.trace[0]
    for action, legal, wanted in zip(record.actions, record.legal, record.trace[1:], strict=True):
        if not (same and np.array_equal(game.legal_actions(), legal)):
            return False
        observation, reward, terminated, truncated, _ = game.step(action)
        meanwhile()
        same = _digest(game, observation, reward, terminated, truncated) == wanted
    return same


class _Neighbour:
    """A game that is played at random beside another one, as many are in self-play."""

    def __init__(self, game: Game, seed: int) -> None:
        self._game = CheckedGame(game, report=lambda error: None)
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._moves = 0
        self._over = True

    def move(self) -> None:
        """Plays a move, in a new episode with a new seed where the last is over, and after 1, 2, 4, 8, ... moves."""
        try:
            if self._over or self._moves & (self._moves - 1) == 0:
                self._seed += 1
                self._game.reset(self._seed)
            action = int(self._rng.choice(np.flatnonzero(self._game.legal_actions())))
            _, _, terminated, truncated, _ = self._game.step(action)
            self._over = bool(terminated or truncated)
        except GameError:  # who is asked for is the other game
            self._over = True
        self._moves += 1


def _check_another(
    make_game: Callable[[], Game], first: Game, checked: CheckedGame, record: _Record, findings: _Findings
) -> bool:
    """Whether another game goes like the first, even while that one is played beside it."""
    other = make_game()
    beside = CheckedGame(other, name=checked.name, report=lambda error: None)
    try:
        same = _goes_alike(beside, record, _Neighbour(first, record.seed).move)
    except GameError:
        same = False
    if not same and _repeats(CheckedGame(other, name=checked.name, report=findings.add), record, findings):
        complaint = Complaint(
            "an episode",
            "go as ever while another game is played beside it",
            "a difference",
            "games share state or random numbers: keep both on self, not on the class or in a module, "
            "and draw from np.random.default_rng(seed) made in reset",
        )
        findings.add(beside.error("reset", complaint))
    other.close()
    return same


def _check_refusals(make_game: Callable[[], Game], checked: CheckedGame, record: _Record, findings: _Findings) -> None:
    """Illegal actions, and actions after the end, raise ValueError."""
    forbidden = [(time, np.flatnonzero(~legal)) for time, legal in enumerate(record.legal) if not legal.all()]
    stride = max(1, len(forbidden) // _ILLEGAL_PROBES)
    probes = [("an illegal action", time, int(actions[0])) for time, actions in forbidden[::stride]]
    probes.append(("an action after the end", len(record.actions), record.actions[-1]))
    for what, time, action in probes:
        got = _answer_to_forbidden(make_game(), record, time, action)
        if got != "ValueError":
            played = checked.action_to_string(action)
            advice = f"test the action before playing it (it was {action}, {played!r}, after {time} moves)"
            violation = GameError(
                f"{checked.name}.step: {what} must raise ValueError, got {got} (seed {record.seed}); {advice}"
            )
            violation.key = ("step", what)
            findings.add(violation)


def _answer_to_forbidden(game: Game, record: _Record, time: int, action: int) -> str:
    """Name of the exception that an action raises after the first `time` moves of an episode, or "no error"."""
    game.reset(record.seed)
    for earlier in record.actions[:time]:
        game.step(earlier)
    try:
        game.step(action)
    except ValueError:
        return "ValueError"
    except Exception as error:
        return type(error).__name__
    finally:
        game.close()
    return "no error"
