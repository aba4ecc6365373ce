"""Holds an agent against the truth in a game small enough to be solved: can it be beaten at all?

The greedy agent always does the same in the same position, so all games against it can be enumerated: every reply
of the other, with the agent as the first and as the second player.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from muzero_ray.core.game import Game
from muzero_ray.mcts.model import SearchModel
from muzero_ray.mcts.planner import Planner
from muzero_ray.play.evaluation import greedy
from muzero_ray.play.perfect_play import MAX_POSITIONS, GameGraph

_BATCH = 256
"""Positions searched at once, always as many: planner and model keep memory for each size."""


@dataclass(frozen=True)
class SeatProof:
    """All games of an agent that is player 0, or player 1."""

    positions: int
    """In which it came to move."""
    wins: int
    draws: int
    losses: int
    missed_wins: int
    """Positions in which it could have won by force, and could no more after its move."""
    lost_game: tuple[int, ...] | None
    """The actions of one game that it loses, if there is one."""

    @property
    def games(self) -> int:
        """Different games, that is, sequences of moves."""
        return self.wins + self.draws + self.losses


@dataclass(frozen=True)
class Proof:
    """What an agent's play is worth, found by trying everything."""

    positions: int
    """That can be reached in the game at all, the ends included."""
    decisions: int
    """Those of them where there is a move to be made."""
    optimal: int
    """Those of them again where the agent's move is as good as any: it keeps what the position is worth."""
    seats: tuple[SeatProof, SeatProof]

    @property
    def losses(self) -> int:
        """Games that the agent loses; 0 for one that cannot be beaten."""
        return sum(seat.losses for seat in self.seats)


def prove(
    game: Game,
    planner: Planner,
    model: SearchModel,
    *,
    num_simulations: int | None = None,
    limit: int = MAX_POSITIONS,
) -> Proof:
    """Plays every game that can be played against the greedy agent.

    Args:
        game: one of those, for two; it is left as it is.
        planner: the search.
        model: the network that it plans with.
        num_simulations: per move; None: as the planner is configured.
        limit: most positions of the game.

    Raises:
        TooLargeError: if the game has more, or cannot be solved for another reason.
    """
    graph = GameGraph(game, limit)
    moves = _moves(graph, greedy(planner, model, num_simulations))
    optimal = sum(
        graph.action_value(graph.states[index], action) == graph.states[index].value for index, action in moves.items()
    )
    return Proof(len(graph.states), len(moves), optimal, (_seat(graph, moves, 0), _seat(graph, moves, 1)))


def _moves(graph: GameGraph, choose: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> dict[int, int]:
    """The agent's action in every position, by the number of the position."""
    decisions = [index for index, state in enumerate(graph.states) if state.moves]
    moves: dict[int, int] = {}
    for start in range(0, len(decisions), _BATCH):
        chosen = decisions[start : start + _BATCH]
        rows = [graph.states[index] for index in [*chosen, *chosen[:1] * (_BATCH - len(chosen))]]
        actions = choose(np.stack([row.observation for row in rows]), np.stack([row.legal for row in rows]))
        moves.update(zip(chosen, actions.tolist(), strict=False))
    return moves


def _seat(graph: GameGraph, moves: dict[int, int], seat: int) -> SeatProof:
    """Follows the agent's move where it is its turn, and every move where it is not."""

    def replies(index: int) -> list[int]:
        state = graph.states[index]
        return [moves[index]] if state.moves and state.to_play == seat else list(state.moves)

    def agents(index: int, reward: float) -> float:
        return reward if graph.states[index].to_play == seat else -reward

    @functools.cache
    def outcomes(index: int, total: float) -> tuple[int, int, int]:
        """Games won, drawn and lost from here, the agent having got `total` so far."""
        visited.add(index)
        counts = [0, 0, 0]
        actions = replies(index)
        if not actions:
            counts[1 - int(np.sign(total))] = 1
        for action in actions:
            reward, reached = graph.states[index].moves[action]
            for kind, number in enumerate(outcomes(reached, total + agents(index, reward))):
                counts[kind] += number
        return counts[0], counts[1], counts[2]

    def lost_game() -> tuple[int, ...]:
        index, total, actions = 0, 0.0, list[int]()
        while replies(index):
            for action in replies(index):
                reward, reached = graph.states[index].moves[action]
                after = total + agents(index, reward)
                if outcomes(reached, after)[2]:
                    index, total = reached, after
                    actions.append(action)
                    break
        return tuple(actions)

    visited: set[int] = set()
    wins, draws, losses = outcomes(0, 0.0)
    asked = [index for index in visited if graph.states[index].moves and graph.states[index].to_play == seat]
    missed = sum(
        graph.states[index].value > 0 >= graph.action_value(graph.states[index], moves[index]) for index in asked
    )
    return SeatProof(len(asked), wins, draws, losses, missed, lost_game() if losses else None)
