"""Positions of connect four whose truth is on file: how often does an agent keep what a position is worth?

The file beside this module is written by `benchmarks/connect4_positions.py`, with the solver. Every position
has a move that gives away a win or a draw, and one that does not. Strata follow the stones on the board and the
plies that the game still lasts if nobody errs.

Source: strata as in the tests of Pascal Pons's solver (https://blog.gamesolver.org), which AlphaZero.jl uses too;
ours begin after ten moves, where the solver takes a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muzero_ray.core.game import Game
from muzero_ray.mcts.model import SearchModel
from muzero_ray.mcts.planner import Planner
from muzero_ray.play.connect4_board import moves_text
from muzero_ray.play.connect4_solver import Outcome, outcome
from muzero_ray.play.evaluation import greedy

_FILE = Path(__file__).with_name("connect4_positions.txt")
_BATCH = 64
STAGES = ((0, "begin"), (14, "middle"), (28, "end"))
"""Stones on the board from which on a stage is reached."""
DIFFICULTIES = ((1, "easy"), (14, "medium"), (29, "hard"))
"""Plies to the end from which on a position is so difficult."""


@dataclass(frozen=True)
class SolvedPosition:
    """A position that is won or drawn for the player to move."""

    moves: tuple[int, ...]
    """Columns from 0, since the empty board."""
    score: int
    """See `Connect4Solver`."""
    keeping: tuple[int, ...]
    """Moves that keep the win, or the draw."""
    best: tuple[int, ...]
    """Those of them that win soonest."""

    @property
    def outcome(self) -> Outcome:
        """What perfect play comes to."""
        return outcome(self.score, len(self.moves))

    @property
    def stratum(self) -> str:
        """Such as "begin-hard"."""
        stage = [name for least, name in STAGES if len(self.moves) >= least][-1]
        return f"{stage}-{[name for least, name in DIFFICULTIES if self.outcome.plies >= least][-1]}"

    def to_line(self) -> str:
        """As in the file: stratum, moves, score, moves that keep it, best moves, columns counted from 1."""
        return (
            f"{self.stratum} {moves_text(self.moves)} {self.score} {moves_text(self.keeping)} {moves_text(self.best)}"
        )

    @classmethod
    def from_line(cls, line: str) -> "SolvedPosition":
        """The inverse of `to_line`."""
        _, moves, score, keeping, best = line.split()
        return cls(_columns(moves), int(score), _columns(keeping), _columns(best))


@dataclass(frozen=True)
class Share:
    """Of how many positions an agent chose well in how many."""

    positions: int
    keeping: int
    """It kept the win, or the draw."""
    best: int
    """And won as soon as can be."""


def read_positions() -> list[SolvedPosition]:
    """All positions on file, in the order of the strata."""
    lines = _FILE.read_text(encoding="ascii").splitlines()
    return [SolvedPosition.from_line(line) for line in lines if not line.startswith("#")]


def measure(
    game: Game,
    planner: Planner,
    model: SearchModel,
    positions: Sequence[SolvedPosition],
    *,
    num_simulations: int | None = None,
) -> dict[str, Share]:
    """How well the greedy agent chooses, by stratum.

    Args:
        game: one of connect four; it is left in any state.
        planner: the search.
        model: the network that it plans with.
        positions: those to choose in.
        num_simulations: per move; None: as the planner is configured.
    """
    choose = greedy(planner, model, num_simulations)
    shares: dict[str, Share] = {}
    for start in range(0, len(positions), _BATCH):
        some = positions[start : start + _BATCH]
        seen = [_at(game, position.moves) for position in some]
        rows = [*seen, *seen[:1] * (_BATCH - len(seen))]
        actions = choose(np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])).tolist()
        for position, action in zip(some, actions, strict=False):
            so_far = shares.get(position.stratum, Share(0, 0, 0))
            shares[position.stratum] = Share(
                so_far.positions + 1,
                so_far.keeping + (action in position.keeping),
                so_far.best + (action in position.best),
            )
    return shares


def _at(game: Game, moves: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Observation and legal actions after these moves."""
    observation, _ = game.reset(0)
    for action in moves:
        observation = game.step(action)[0]
    return observation, game.legal_actions()


def _columns(text: str) -> tuple[int, ...]:
    return tuple(int(digit) - 1 for digit in text)
