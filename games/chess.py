"""Chess, with the draws of the rules: stalemate, threefold repetition, fifty moves, too little material."""

from dataclasses import replace

import numpy as np
import pyspiel

from muzero_ray.adapters.board_game import BoardGame
from muzero_ray.adapters.board_planes import draw_board, move_planes

# An action is 73 * (8 * file + rank) + step, on the board as the player to move sees it, who always plays up.
# Steps: nine promotions to less than a queen, then all that a queen and a knight can do; after them castling.
FORWARD = ((0, 1), (1, 1), (-1, 1))
LINES = ((0, 1), (1, 0), (1, 1), (1, -1))
KNIGHT = ((-2, -1), (-2, 1), (-1, -2), (-1, 2), (2, -1), (2, 1), (1, -2), (1, 2))
DISTANCES = (*range(-7, 0), *range(1, 8))
STEPS = np.array([*FORWARD * 3, *((x * n, y * n) for x, y in LINES for n in DISTANCES), *KNIGHT])
CASTLING = np.array([[4, 0, 2, 0], [4, 0, 6, 0]])  # the king's file and rank, before and after


class Chess(BoardGame):
    """Moves are written as in UCI (e2e4, e7e8q), and read so or in short (Nf3); a win is worth 1.

    Args:
        history: positions that an observation shows. MuZero shows 100, AlphaZero 8; two are enough for the rules
            (en passant), the repetitions are counted in a plane, and memory grows with every one.
        start: a position in FEN; none: the usual one.
        max_moves: the game is stopped after so many moves of both sides together (MuZero: 512).
    """

    turned_axes = (-2,)

    def __init__(self, history: int = 4, start: str | None = None, max_moves: int = 512) -> None:
        super().__init__("chess", pieces=6, marks=6, size=(8, 8), history=history, start=start, max_moves=max_moves)
        squares = np.array([(file, rank) for file in range(8) for rank in range(8)])
        origins = np.repeat(squares, len(STEPS), axis=0)
        targets = origins + np.tile(STEPS, (64, 1))
        steps = np.arange(len(origins)) % len(STEPS)
        kinds = np.where(steps[:, None] // 3 == range(3), 1, 0)  # rook, bishop, knight
        self.spec = replace(
            self.spec,
            action_planes=move_planes(
                np.concatenate((origins, CASTLING[:, :2])),
                np.concatenate((targets, CASTLING[:, 2:])),
                np.concatenate((kinds, np.zeros((2, 3), dtype=int))),
                size=(8, 8),
            ),
            # A plane per step, told where the piece comes from; one more for castling, where the king goes.
            action_cells=np.concatenate((steps * 64 + origins @ (1, 8), len(STEPS) * 64 + CASTLING[:, 2])).astype(
                np.int32
            ),
        )

    def _pieces(self, tensor: np.ndarray) -> np.ndarray:
        return tensor[:12].reshape(6, 2, 8, 8).swapaxes(0, 1)

    def _marks(self, tensor: np.ndarray, player: int) -> np.ndarray:
        """Repetitions, moves without capture or pawn, and the rights to castle: mine, left and right, the other's."""
        repetitions, _, quiet, *rights = tensor[13:, :1, :1]
        mine, other = rights[2 * player : 2 * player + 2], rights[2 - 2 * player : 4 - 2 * player]
        return np.minimum((repetitions, quiet, *mine, *other), 1)

    def text(self) -> str:
        """The board, White's pieces in capitals, and whose move it is."""
        board, side, *_ = str(self._state).split()
        for digit in "12345678":
            board = board.replace(digit, "." * int(digit))
        drawn = draw_board(board.split("/")[::-1], "abcdefgh", first_row_on_top=False)
        return f"{drawn}\n{'White' if side == 'w' else 'Black'} to move"

    def string_to_action(self, text: str) -> int:
        """A legal move in UCI's notation or in short algebraic notation; see `Game.string_to_action`."""
        short = text.strip().rstrip("+#!?")
        for action in np.flatnonzero(self._legal).tolist():
            if self._state.action_to_string(action).rstrip("+#") == short:
                return action
        return super().string_to_action(text)

    def _notation(self, action: int) -> str:
        return str(pyspiel.chess.action_to_move(action, self._state.board()).to_lan())
