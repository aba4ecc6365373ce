"""Othello: stones between two of the other colour turn over; whoever has more in the end wins."""

from muzero_ray.adapters.board_game import StoneGame
from muzero_ray.adapters.board_planes import diagonal_symmetries


class Othello(StoneGame):
    """Points are a1 (top left) to h8; "pass" is legal where nothing else is. A win is worth 1 by any margin."""

    letters = "abcdefgh"
    first_row_on_top = True

    def __init__(self) -> None:
        # Turned a quarter round, the first four stones would have each other's colours.
        symmetries = diagonal_symmetries(8, further_actions=1)
        # OpenSpiel's first plane holds the empty points.
        super().__init__("othello", size=(8, 8), stones=(1, 2), symmetries=symmetries)
