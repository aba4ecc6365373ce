"""Go on a board of 19 by 19: Tromp-Taylor scoring, komi 7.5, no suicide; repeating a position draws."""

from muzero_ray.adapters.board_game import StoneGame
from muzero_ray.adapters.board_planes import square_symmetries

SIZE = 19


class Go19(StoneGame):
    """Points are written A1 (bottom left) to T19, without I, or "pass"; a win is worth 1 by any margin.

    Two passes end the game, and so do 722 moves; the board is then scored as it lies.

    Args:
        komi: points that White, who plays second, gets for it.
        history: positions that an observation shows (MuZero: 8); ko is not to be seen from one.
    """

    def __init__(self, komi: float = 7.5, history: int = 8) -> None:
        super().__init__(
            f"go(board_size={SIZE},komi={komi})",
            size=(SIZE, SIZE),
            history=history,
            symmetries=square_symmetries(SIZE, further_actions=1),
        )
