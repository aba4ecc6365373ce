"""Gomoku: five in a row, or more, on a board of 15 by 15 wins."""

from muzero_ray.adapters.board_game import StoneGame
from muzero_ray.adapters.board_planes import square_symmetries


class Gomoku(StoneGame):
    """Points are written as in Go: A1 at the bottom left, no I; a win is worth 1.

    Args:
        size: of the board; 9 is soon learnt.
    """

    def __init__(self, size: int = 15) -> None:
        super().__init__(f"gomoku(size={size})", size=(size, size), symmetries=square_symmetries(size))
