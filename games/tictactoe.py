"""Tic-tac-toe: three in a row wins. A complete game for two; copy this file to write your own.

What MuZero sees are two planes, my stones and the other's, from the side of the player to move, so that
one network plays both sides. `muzero-ray check-game mygame.py` tells what a copy gets wrong.
"""

import functools
from typing import Any

import numpy as np

from muzero_ray.adapters.board_planes import point_cells, point_planes, square_symmetries
from muzero_ray.core.game import Game, GameSpec

# Squares are numbered row by row, from 0 (A1, top left) to 8 (C3, bottom right). A board is nine
# characters, "." where nobody has played, "X" for player 0 and "O" for player 1.
LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
STONES = "XO"


class TicTacToe(Game):
    """Rewards: 1 for the move that wins, 0 for every other."""

    spec = GameSpec(
        observation_shape=(2, 3, 3),
        num_actions=9,
        num_players=2,
        value_bounds=(-1.0, 1.0),
        # What follows may be left out; it lets every game teach as much as eight, and serves boards' networks.
        symmetries=square_symmetries(3),
        action_planes=point_planes(3, 3),
        action_cells=point_cells(9),
    )

    def __init__(self) -> None:
        self._board = "." * 9
        self._over = True  # until the first reset

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Clears the board; nothing is random here, so the seed is not used."""
        self._board = "." * 9
        self._over = False
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Puts a stone on square `action`; see `Game.step`."""
        if self._over or not 0 <= action < 9 or self._board[action] != ".":
            raise ValueError(f"tictactoe: action {action} is not legal on {self._board}, over: {self._over}")
        self._board = place(self._board, action)
        won = is_won(self._board)
        self._over = won or "." not in self._board
        return self._observation(), float(won), self._over, False, {}

    def legal_actions(self) -> np.ndarray:
        """`[9]` bool: the empty squares."""
        return np.array([stone == "." for stone in self._board])

    @property
    def to_play(self) -> int:
        """0 (X, who begins) and 1 (O) in turns."""
        return mover(self._board)

    def text(self) -> str:
        """The board as X, O and dots, three rows."""
        return "\n".join(" ".join(self._board[row : row + 3]) for row in (0, 3, 6))

    def expert_action(self) -> int:
        """A move of perfect play; the first of the best ones."""
        squares = [action for action in range(9) if self._board[action] == "."]
        return max(squares, key=lambda action: -state_value(place(self._board, action)))

    def action_to_string(self, action: int) -> str:
        """Row A, B or C and column 1, 2 or 3: "A1" to "C3"."""
        return "ABC"[action // 3] + "123"[action % 3]

    def _observation(self) -> np.ndarray:
        """`[2, 3, 3]` float32: 1 where the player to move has a stone, and where the other has."""
        mine, other = STONES[mover(self._board)], STONES[1 - mover(self._board)]
        planes = [[stone == side for stone in self._board] for side in (mine, other)]
        return np.array(planes, dtype=np.float32).reshape(2, 3, 3)


def mover(board: str) -> int:
    """The player whose turn it is: player 0 begins, then by turns."""
    return (9 - board.count(".")) % 2


def place(board: str, action: int) -> str:
    """The board after the player to move has taken square `action`."""
    return board[:action] + STONES[mover(board)] + board[action + 1 :]


def is_won(board: str) -> bool:
    """Whether somebody has three in a row."""
    return any(board[a] != "." and board[a] == board[b] == board[c] for a, b, c in LINES)


@functools.cache
def state_value(board: str) -> int:
    """Value under perfect play for the player to move: 1, 0 or -1. By minimax; each board is solved once."""
    if is_won(board):
        return -1  # whoever moved last has won
    if "." not in board:
        return 0
    return max(-state_value(place(board, action)) for action in range(9) if board[action] == ".")
