"""Plays the games of OpenSpiel that MuZero can plan in as a `Game`: its own rules, numbers and names of actions.

Deterministic games of perfect information, for one player or for two whose interests are opposed. What it does
not do: chance, hidden information, simultaneous moves, more players. What the network sees is OpenSpiel's own
observation; `adapters/board_game.py` shows a board better where a game says what lies on it.
"""

import copy
import difflib
import functools
from typing import Any, Self

import numpy as np
import pyspiel
from open_spiel.python.observation import make_observation

from muzero_ray.adapters.open_spiel_position import OpenSpielPosition
from muzero_ray.core.game import Game, GameSpec
from muzero_ray.core.game_loader import GameLoadError

_PROBES = 20  # random games that tell whether turns alternate
_PROBE_MOVES = 2_000  # in all of them together: enough to see a second move in a row, and a fraction of a second


class OpenSpielGame(Game):
    """One game of OpenSpiel behind the `Game` interface.

    Args:
        name: as OpenSpiel writes it, with parameters where wanted: "go(board_size=9,komi=7.5)".
        alternating: with two players, whether the turn passes with every move; see `turns_alternate`.
        max_moves: the game is stopped (truncated) after so many moves; none: never, as all of OpenSpiel's games
            end by themselves, some after many thousands.
        start: a position to start from, in the game's own notation (FEN in chess); none: the usual one.

    Raises:
        GameLoadError: if there is no such game, or if it is of a kind that cannot be planned in; the message
            says why.
    """

    spec: GameSpec
    _to_play: int
    _legal: np.ndarray

    def __init__(
        self, name: str, *, alternating: bool = True, max_moves: int | None = None, start: str | None = None
    ) -> None:
        self._name = name
        self._game = load_open_spiel(name)
        self._start = start
        self._max_moves = max_moves
        self._num_actions = self._count_actions()
        self._num_players = self._game.num_players()
        # Player 0 is whoever begins; OpenSpiel has Black's number below White's even where White begins.
        self._first_player = self._game.new_initial_state().current_player()
        self._rewards_on_the_way = self._game.get_type().reward_model == pyspiel.GameType.RewardModel.REWARDS
        self._observer = make_observation(self._game)
        self._tensor_shape = tuple(self._game.observation_tensor_shape())
        self.spec = self._make_spec(alternating)
        self._set_up()
        self._over = True  # until the first reset

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; nothing is random, so the seed is not used. See `Game.reset`."""
        self._set_up()
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays an action; `truncated` is true after `max_moves`. See `Game.step`."""
        if self._over:
            raise ValueError(f"{self._name}: the episode is over; call reset first")
        if not (0 <= action < self._num_actions and self._legal[action]):
            raise ValueError(f"{self._name}: action {action} is not legal after {self._moves} moves")
        state, mover = self._state, self._to_play
        state.apply_action(self._engine_action(int(action), mover))
        self._moves += 1
        terminated = state.is_terminal()
        truncated = not terminated and self._moves == self._max_moves
        self._over = terminated or truncated
        # Whoever moves after the end does not matter; the other one, so that turns alternate to the last.
        self._to_play = (mover + 1) % self._num_players if terminated else self._player_of(state)
        self._legal = self._legal_now()
        reward = 0.0
        if terminated or self._rewards_on_the_way:
            reward = float(state.player_reward(mover ^ self._first_player))
        return self._observation(), reward, terminated, truncated, {}

    def legal_actions(self) -> np.ndarray:
        """`[A]` bool, True for the actions that the rules allow; none after the end."""
        return self._legal.copy()

    @property
    def to_play(self) -> int:
        """The player to move; 0 is the one who begins."""
        return self._to_play

    def clone(self) -> Self:
        """See `Game.clone`; everything but OpenSpiel's state is shared or never written to."""
        copied = copy.copy(self)
        copied._state = self._state.clone()
        return copied

    def position(self) -> OpenSpielPosition:
        """See `Game.position`."""
        return OpenSpielPosition(
            self._state.clone(),
            first_player=self._first_player,
            moves_left=None if self._max_moves is None else self._max_moves - self._moves,
            own_actions=self._own_actions,
            engine_action=self._engine_action,
            rewards_on_the_way=self._rewards_on_the_way,
        )

    def text(self) -> str:
        """OpenSpiel's own picture of the state."""
        return str(self._state)

    def action_to_string(self, action: int) -> str:
        """A legal action in the game's notation; any other, which may mean nothing now, by its number."""
        return self._notation(action) if self._is_legal(action) else str(action)

    def string_to_action(self, text: str) -> int:
        """The legal action that is written so.

        Raises:
            ValueError: if no legal action is.
        """
        text = text.strip()
        legal = np.flatnonzero(self._legal).tolist()
        for action in legal:
            if self._notation(action) == text:
                return action
        examples = ", ".join(self._notation(action) for action in legal[:3])
        raise ValueError(f"{self._name}: {text!r} is no legal move here; moves are written {examples}")

    # What a subclass may change: the numbering, the notation, the observation.

    def _count_actions(self) -> int:
        """A, in our numbering."""
        return int(self._game.num_distinct_actions())

    def _make_spec(self, alternating: bool) -> GameSpec:
        """OpenSpiel's observation, and in games for two one plane, or number, that is 1 where player 0 is to move."""
        shape = self._tensor_shape
        turn = int(self._num_players == 2)
        flat = (int(np.prod(shape)) + turn,)
        return GameSpec(
            observation_shape=(shape[0] + turn, *shape[1:]) if len(shape) == 3 else flat,
            num_actions=self._num_actions,
            num_players=self._num_players,
            value_bounds=self._value_bounds(),
            alternating=alternating,
        )

    def _observation(self) -> np.ndarray:
        """A new array, from the side of the player to move."""
        observation = np.empty(self.spec.observation_shape, dtype=np.float32)
        tensor = self._tensor(self._to_play)
        if len(self._tensor_shape) != 3:
            tensor = tensor.reshape(-1)
        observation[: len(tensor)] = tensor
        observation[len(tensor) :] = self._to_play == 0
        return observation

    def _set_up(self) -> None:
        """Puts everything back to the start; subclasses that remember earlier positions forget them here."""
        self._state = self._new_state()
        self._moves = 0
        self._over = False
        self._to_play = self._player_of(self._state)
        self._legal = self._legal_now()

    def _engine_action(self, action: int, player: int) -> int:
        """OpenSpiel's number of an action that is legal for `player`."""
        return action

    def _own_actions(self, engine_actions: list[int], player: int) -> list[int]:
        """Our numbers of the actions that OpenSpiel says are legal for `player`."""
        return engine_actions

    def _notation(self, action: int) -> str:
        """A legal action as people write it."""
        return str(
            self._state.action_to_string(self._state.current_player(), self._engine_action(action, self._to_play))
        )

    # What subclasses use.

    def _tensor(self, player: int) -> np.ndarray:
        """OpenSpiel's observation of the present state, for one of our players; only valid until the next call."""
        self._observer.set_from(self._state, player ^ self._first_player)
        tensor: np.ndarray = self._observer.tensor.reshape(self._tensor_shape)
        return tensor

    def _is_legal(self, action: int) -> bool:
        return 0 <= action < self._num_actions and bool(self._legal[action])

    def _value_bounds(self) -> tuple[float, float] | None:
        """From the smallest and largest return, where all is paid at the end: otherwise part of it is behind us."""
        low, high = self._game.min_utility(), self._game.max_utility()
        if self._rewards_on_the_way or not low < high:
            return None
        if self._num_players == 2:
            return -max(-low, high), max(-low, high)
        return low, high

    def _new_state(self) -> Any:
        if self._start is None:
            return self._game.new_initial_state()
        try:
            return self._game.new_initial_state(self._start)
        except pyspiel.SpielError as error:
            raise GameLoadError(f"{self._name}: no position can be read from {self._start!r}: {error}") from error

    def _legal_now(self) -> np.ndarray:
        legal = np.zeros(self._num_actions, dtype=bool)
        legal[self._own_actions(self._state.legal_actions(), self._to_play)] = True
        return legal

    def _player_of(self, state: Any) -> int:
        player: int = state.current_player() ^ self._first_player
        return player


def load_open_spiel(name: str) -> Any:
    """OpenSpiel's game of this name, if it is of a kind that MuZero can plan in.

    Raises:
        GameLoadError: if there is none, or if it is of another kind.
    """
    short_name = name.split("(")[0].strip()
    known = pyspiel.registered_names()
    if short_name not in known:
        nearest = difflib.get_close_matches(short_name, known, n=3, cutoff=0.6)
        guess = f"did you mean {' or '.join(nearest)}?" if nearest else "pyspiel.registered_names() lists all"
        raise GameLoadError(f"OpenSpiel knows no game {short_name!r}; {guess}")
    try:
        game = pyspiel.load_game(name)
    except pyspiel.SpielError as error:
        raise GameLoadError(f"OpenSpiel cannot load {name!r}: {error}") from error
    if refusal := _refusal(game):
        raise GameLoadError(f"OpenSpiel's {name} {refusal}, and MuZero as it is here cannot plan in such games")
    return game


def _refusal(game: Any) -> str:
    """Why a game is of the wrong kind; empty if it is of the right one."""
    kind = game.get_type()
    if kind.dynamics != pyspiel.GameType.Dynamics.SEQUENTIAL:
        return "is not played in turns"
    if kind.information != pyspiel.GameType.Information.PERFECT_INFORMATION:
        return "hides something from its players"
    if kind.chance_mode != pyspiel.GameType.ChanceMode.DETERMINISTIC or game.new_initial_state().is_chance_node():
        return "has moves of chance"
    if game.num_players() > 2:
        return f"is for {game.num_players()} players, not for one or two"
    if game.num_players() == 2 and kind.utility != pyspiel.GameType.Utility.ZERO_SUM:
        return "is for two players whose returns do not add up to zero"
    if not kind.provides_observation_tensor:
        return "offers no observation tensor"
    return ""


@functools.cache
def turns_alternate(name: str) -> bool:
    """Whether the turn passes with every move, as far as random games show; OpenSpiel itself does not say.

    Always the same answer for one name, so that all actors of a run agree. Raises GameLoadError as `load_open_spiel`.
    """
    game = load_open_spiel(name)
    rng = np.random.default_rng(0)
    moves = 0
    for _ in range(_PROBES):
        state = game.new_initial_state()
        while moves < _PROBE_MOVES:
            mover = state.current_player()
            state.apply_action(int(rng.choice(state.legal_actions())))
            moves += 1
            if state.is_terminal():
                break
            if state.current_player() == mover:
                return bool(game.num_players() == 1)
    return True
