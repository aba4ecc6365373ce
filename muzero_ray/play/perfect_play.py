"""Games that can be solved: every position of a small one, and connect four. The opponent that never errs.

A small game is looked at as a whole: all positions that can be reached, and what each is worth. `proof` holds an
agent against that.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from muzero_ray.core.game import Game
from muzero_ray.play.connect4_board import plays_like_connect_four
from muzero_ray.play.connect4_solver import Connect4Solver
from muzero_ray.play.opponent import Opponent, UnknownOpponentError

MAX_POSITIONS = 20_000
"""Positions of a game that is small: tic-tac-toe has 5,478."""
_SEEDS_TRIED = 5


class TooLargeError(ValueError):
    """A game is not small, or not one that can be solved in this way; the message says why."""


@dataclass
class State:
    """A position that can be reached."""

    observation: np.ndarray
    legal: np.ndarray  # [A] bool; none where the game is over
    to_play: int
    moves: dict[int, tuple[float, int]] = field(default_factory=dict)
    """By action: the reward of the mover, and the number of the state reached."""
    value: float = 0.0
    """Under perfect play, the sum of the rewards to come, for the player to move; 0 where the game is over."""


class GameGraph:
    """All positions of a small game, and their values under perfect play.

    Positions with the same observation and player to move count as one. A truncated game is over, and worth 0.

    Args:
        game: one of those; it is left as it is.
        limit: most positions.

    Attributes:
        states: all positions, the first one at the start of the game.

    Raises:
        TooLargeError: if there are more positions, if they depend on the seed, or if positions come back.
    """

    def __init__(self, game: Game, limit: int = MAX_POSITIONS) -> None:
        name = getattr(game, "name", type(game).__name__.lower())
        if game.spec.num_players != 2:
            raise TooLargeError(f"{name}: wanted a game for 2 players, got one for {game.spec.num_players}")
        if _depends_on_seed(game.clone()):
            raise TooLargeError(f"{name}: wanted a game without chance, but its episodes differ from seed to seed")
        self.states = _all_states(game.clone(), limit, name)
        self._solve(name)

    def state_after(self, history: Sequence[int]) -> State:
        """The position after these actions."""
        state = self.states[0]
        for action in history:
            state = self.states[state.moves[action][1]]
        return state

    def action_value(self, state: State, action: int) -> float:
        """What an action is worth to the player to move, both playing perfectly from then on."""
        reward, reached = state.moves[action]
        after = self.states[reached]
        return reward + (after.value if after.to_play == state.to_play else -after.value)

    def best_actions(self, state: State) -> list[int]:
        """The actions that keep what the state is worth."""
        return [action for action in state.moves if self.action_value(state, action) == state.value]

    def _solve(self, name: str) -> None:
        """Values from the end of the game backwards: a state's once those of all that follow are known."""
        before: list[list[int]] = [[] for _ in self.states]
        unknown = [len(state.moves) for state in self.states]
        for index, state in enumerate(self.states):
            for _, reached in state.moves.values():
                before[reached].append(index)
        known = [index for index, state in enumerate(self.states) if not state.moves]
        for index in known:  # grows on the way
            state = self.states[index]
            if state.moves:
                state.value = max(self.action_value(state, action) for action in state.moves)
            for earlier in before[index]:
                unknown[earlier] -= 1
                if unknown[earlier] == 0:
                    known.append(earlier)
        if len(known) < len(self.states):
            raise TooLargeError(f"{name}: wanted a game in which no position comes back, but some do")


class PerfectOpponent(Opponent):
    """Never gives away what a position is worth; draws from the moves that do not."""

    name = "perfect"

    def __init__(self, graph: GameGraph) -> None:
        self._graph = graph

    def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
        """See `Opponent`."""
        return int(rng.choice(self._graph.best_actions(self._graph.state_after(history))))


class PerfectConnect4(Opponent):
    """Wins as soon as it can, loses as late as it can. The first eight moves of a game take it a long time."""

    name = "perfect"

    def __init__(self) -> None:
        self._solver = Connect4Solver()

    def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
        """See `Opponent`."""
        return int(rng.choice(self._solver.best_actions(history)))


def make_perfect(game: Game) -> Opponent:
    """The opponent that never errs, for connect four and for small games.

    Raises:
        UnknownOpponentError: if the game is neither.
    """
    if plays_like_connect_four(game):
        return PerfectConnect4()
    try:
        return PerfectOpponent(GameGraph(game))
    except TooLargeError as error:
        raise UnknownOpponentError(
            f"opponent 'perfect' knows connect four, and games small enough to be solved; {error}"
        ) from error


def _all_states(game: Game, limit: int, name: str) -> list[State]:
    observation, _ = game.reset(0)
    states = [State(observation, game.legal_actions(), game.to_play)]
    numbers = {(observation.tobytes(), game.to_play, False): 0}
    frontier = deque([(0, game)])
    while frontier:
        index, here = frontier.popleft()
        for action in np.flatnonzero(states[index].legal).tolist():
            there = here.clone()
            observation, reward, terminated, truncated, _ = there.step(action)
            over = bool(terminated or truncated)
            key = (observation.tobytes(), there.to_play, over)
            if key not in numbers:
                if len(states) == limit:
                    raise TooLargeError(f"{name}: wanted a game of at most {limit:,} positions, but it has more")
                numbers[key] = len(states)
                legal = np.zeros(game.spec.num_actions, bool) if over else there.legal_actions()
                states.append(State(observation, legal, there.to_play))
                if not over:
                    frontier.append((numbers[key], there))
            states[index].moves[action] = (float(reward), numbers[key])
    return states


def _depends_on_seed(game: Game) -> bool:
    """Whether one random episode goes differently with other seeds."""
    rng = np.random.default_rng(0)
    game.reset(0)
    actions, over = [], False
    while not over:
        actions.append(int(rng.choice(np.flatnonzero(game.legal_actions()))))
        _, _, terminated, truncated, _ = game.step(actions[-1])
        over = terminated or truncated
    return len({_trace(game, seed, actions) for seed in range(_SEEDS_TRIED)}) > 1


def _trace(game: Game, seed: int, actions: Sequence[int]) -> bytes:
    """What an episode looks like, up to where an action is not legal."""
    observation, _ = game.reset(seed)
    seen = [observation.tobytes()]
    over = False
    for action in actions:
        if over or not game.legal_actions()[action]:
            break
        observation, reward, terminated, truncated, _ = game.step(action)
        over = terminated or truncated
        seen.append(observation.tobytes() + np.float64(reward).tobytes())
    seen.append(bytes([over]))
    return b"".join(seen)
