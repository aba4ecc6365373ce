"""Connect four: seven columns, six rows, stones fall; four in a row wins. Solved: whoever begins can win."""

from dataclasses import replace

import numpy as np

from muzero_ray.adapters.board_game import BoardGame
from muzero_ray.core.game import Symmetry

ROWS, COLUMNS = 6, 7


class Connect4(BoardGame):
    """An action is a column, from 0 at the left; a win is worth 1. The observation is mine and the other's stones."""

    def __init__(self) -> None:
        # Whose turn it is can be told by counting, so no further plane says it.
        super().__init__("connect_four", pieces=1, marks=0, size=(ROWS, COLUMNS), dtype="float32")
        cells = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
        mirror = Symmetry(cells=cells[:, ::-1].ravel(), actions=np.arange(COLUMNS)[::-1])
        columns = np.repeat(np.eye(COLUMNS, dtype=np.uint8)[:, None, None, :], ROWS, axis=2)
        self.spec = replace(self.spec, symmetries=(mirror,), action_planes=columns)

    def _pieces(self, tensor: np.ndarray) -> np.ndarray:
        return tensor[:2, None]

    def _marks(self, tensor: np.ndarray, player: int) -> np.ndarray:
        return tensor[:0]

    def text(self) -> str:
        """The board as X (who began), O and dots, the top row first, the columns' names below."""
        first, second = self._history[0, :, 0] > 0
        rows = np.where(first, "X", np.where(second, "O", "."))[::-1]
        return "\n".join([*(" ".join(row) for row in rows), "1 2 3 4 5 6 7"])

    def _notation(self, action: int) -> str:
        return str(action + 1)
