"""Writes the solved positions of connect four on which agents are measured: `python benchmarks/connect4_positions.py`.

Positions come from games between players who look one move ahead, which are neither over at once nor all alike.
Prints the file; some minutes on one core. The same seed gives the same file.
"""

import argparse
import sys

import numpy as np

from muzero_ray.adapters.loading import load_game
from muzero_ray.play.connect4_board import CELLS
from muzero_ray.play.connect4_solver import Connect4Solver
from muzero_ray.play.opponents import OnePlyOpponent
from muzero_ray.play.solved_positions import SolvedPosition

MAKE_GAME = load_game("connect4")
STONES = {"begin": (10, 14), "middle": (14, 28), "end": (28, 40)}
"""Numbers of stones, from the first to before the second, at which positions of a stage are looked for."""
STRATA = ("begin-easy", "begin-medium", "begin-hard", "middle-easy", "middle-medium", "end-easy")
"""There are hardly any others."""


def solved_positions(seed: int, count: int) -> list[SolvedPosition]:
    """So many different positions of every stratum, no two of them mirror images."""
    rng = np.random.default_rng(seed)
    solver = Connect4Solver()
    found: dict[str, list[SolvedPosition]] = {stratum: [] for stratum in STRATA}
    seen: set[bytes] = set()
    while wanted := [stratum for stratum in STRATA if len(found[stratum]) < count]:
        stage = wanted[0].partition("-")[0]
        moves = _game_of(int(rng.integers(*STONES[stage])), rng)
        if moves is None or _board(moves) in seen:
            continue
        position = _solve(solver, moves)
        if position is not None and position.stratum in wanted:
            seen.add(_board(moves))
            found[position.stratum].append(position)
            print({stratum: len(positions) for stratum, positions in found.items()}, file=sys.stderr, flush=True)
    return [position for stratum in STRATA for position in found[stratum]]


def _game_of(length: int, rng: np.random.Generator) -> list[int] | None:
    """So many moves of a game; None if it is over by then."""
    game, player = MAKE_GAME(), OnePlyOpponent()
    game.reset(0)
    moves: list[int] = []
    while len(moves) < length:
        moves.append(player.choose(game, tuple(moves), rng))
        if game.step(moves[-1])[2]:
            return None
    return moves


def _solve(solver: Connect4Solver, moves: list[int]) -> SolvedPosition | None:
    """The position after these moves; None if nothing can be given away."""
    score = solver.score(moves)
    keeping = solver.keeping_actions(moves)
    room = sum(moves.count(column) < CELLS // 7 for column in range(7))
    if score < 0 or len(keeping) == room:
        return None
    return SolvedPosition(tuple(moves), score, tuple(keeping), tuple(solver.best_actions(moves)))


def _board(moves: list[int]) -> bytes:
    """The board that these moves lead to, the same for its mirror image."""
    board = np.zeros((6, 7), np.uint8)
    for index, column in enumerate(moves):
        board[np.count_nonzero(board[:, column]), column] = 1 + index % 2
    return min(board.tobytes(), board[:, ::-1].tobytes())


def main() -> None:
    """Prints the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=40, help="positions of each stratum")
    options = parser.parse_args()
    print("# stratum, moves, score, moves that keep win or draw, best moves; columns from 1")
    print(f"# written by benchmarks/connect4_positions.py --seed {options.seed} --count {options.count}")
    for position in solved_positions(options.seed, options.count):
        print(position.to_line())


if __name__ == "__main__":
    main()
