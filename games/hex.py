"""Hex on a board of 7 by 7: X connects top and bottom, O connects left and right. No draws, no swapping of sides."""

import numpy as np

from muzero_ray.adapters.board_game import StoneGame
from muzero_ray.adapters.board_planes import cell_symmetry


class Hex(StoneGame):
    """Points are a1 (top left) to g7; a win is worth 1.

    The last two planes of an observation are the points at the edges that the player to move has to connect, and
    at the other's.

    Args:
        size: of the board; 11 is played in clubs, 7 is soon learnt.
    """

    letters = "abcdefghijklmnopqrs"
    first_row_on_top = True

    def __init__(self, size: int = 7) -> None:
        top_and_bottom = np.zeros((size, size))
        top_and_bottom[[0, -1]] = 1
        left_and_right = top_and_bottom.T
        cells = np.arange(size * size).reshape(size, size)
        super().__init__(
            f"hex(board_size={size},plain_obs_tensor=True)",
            size=(size, size),
            marks=np.stack([(top_and_bottom, left_and_right), (left_and_right, top_and_bottom)]),
            symmetries=(cell_symmetry(cells[::-1, ::-1]),),
        )

    def text(self) -> str:
        """The board, each row half a cell further to the right than the one above."""
        head, *lines = super().text().splitlines()
        return "\n".join([head, *(" " * i + line for i, line in enumerate(lines))])
