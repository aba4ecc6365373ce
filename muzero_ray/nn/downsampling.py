"""`Downsampling`: how a convolutional network sees frames, as a small board that a tower can plan on.

It stands before the tower of `conv_network.ConvNetwork`, which is the rest of the network; `networks.build_network`
puts the two together for `network.kind: image`.
"""

from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

from muzero_ray.core.game import GameSpec
from muzero_ray.nn.blocks import SampleNorm, convolution, tower

PIXELS_PER_CELL: Final = 16
"""Rows and columns of a frame that become one of the board: four halvings."""
STAGE_BLOCKS: Final = (2, 3, 3)
"""Residual blocks of the three stages between the halvings, in MuZero. A network whose towers have fewer has so few
here, too."""


class Downsampling(nn.Module):
    """Makes a board of C = `channels` planes of stacked frames `[C_in, H, W]`.

    With o the frames from 0 to 1, `conv2` a convolution of 3 x 3 with stride 2, N and block as in `ConvNetwork`, n
    blocks in its towers, and `pool` the mean of 3 x 3 cells with stride 2, cells beyond the border left out:

        x = min(n, 2) blocks(relu(N(conv2(o))))      C / 2 planes, half as high and wide
        x = min(n, 3) blocks(relu(N(conv2(x))))      C planes, a quarter
        x = min(n, 3) blocks(pool(x))                an eighth
        x = pool(x)                                  a sixteenth

    Each halving rounds up: 96 x 96 and 84 x 84 become 6 x 6, 64 x 64 becomes 4 x 4, 210 x 160 becomes 14 x 10. With 16
    blocks and 256 planes this is MuZero's, with 1 and 64 that of EfficientZero, but for its second convolution, which
    is a residual block with stride 2.

    Attributes:
        board: height and width of what comes out.

    Source: MuZero, arXiv:1911.08265, appendix F; EfficientZero, arXiv:2111.00210, appendix A.

    Raises:
        ValueError: if the game shows no frames, or frames that leave less than 2 x 2 cells.
    """

    def __init__(self, spec: GameSpec, channels: int, blocks: int) -> None:
        super().__init__()
        planes, height, width = _frame_shape(spec)
        half = max(1, channels // 2)
        first, second, third = (min(blocks, most) for most in STAGE_BLOCKS)
        self.board = (-(-height // PIXELS_PER_CELL), -(-width // PIXELS_PER_CELL))
        self.convolution_1 = convolution(planes, half, stride=2)
        self.norm_1 = SampleNorm(half)
        self.blocks_1 = tower(half, first)
        self.convolution_2 = convolution(half, channels, stride=2)
        self.norm_2 = SampleNorm(channels)
        self.blocks_2 = tower(channels, second)
        self.blocks_3 = tower(channels, third)

    def forward(self, frames: Tensor) -> Tensor:
        """`[B, C_in, H, W]` from 0 to 1, channels last in memory, to `[B, C, *board]`."""
        x = self.blocks_1(F.relu(self.norm_1(self.convolution_1(frames)), inplace=True))
        x = self.blocks_2(F.relu(self.norm_2(self.convolution_2(x)), inplace=True))
        return _pool(self.blocks_3(_pool(x)))


def _pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, kernel_size=3, stride=2, padding=1, count_include_pad=False)


def _frame_shape(spec: GameSpec) -> tuple[int, int, int]:
    """C_in, H and W of what the network sees."""
    if len(spec.input_shape) != 3:
        raise ValueError(f"network.kind: 'image' needs frames [C, H, W], got shape {spec.input_shape}; choose 'mlp'")
    planes, height, width = spec.input_shape
    if min(height, width) <= PIXELS_PER_CELL:
        raise ValueError(
            f"network.kind: 'image' needs frames of at least {PIXELS_PER_CELL + 1} x {PIXELS_PER_CELL + 1}, of which "
            f"2 x 2 cells remain, got {height} x {width}; choose 'conv', which keeps the size"
        )
    for name in ("action_planes", "action_cells", "turn_cells"):
        if getattr(spec, name) is not None:
            raise ValueError(
                f"network.kind: 'image' keeps no board on which spec.{name} could be read, got a game that states "
                "them; choose 'conv'"
            )
    return planes, height, width
