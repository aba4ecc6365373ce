"""What convolutional networks are made of, whatever they look at: the convolution, and the residual block."""

from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """A residual block of C planes: x + conv(relu(N(conv(x)))); see `conv_network.ConvNetwork`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution_1 = convolution(channels, channels)
        self.norm = nn.GroupNorm(1, channels)
        self.convolution_2 = convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same."""
        change: Tensor = self.convolution_2(F.relu(self.norm(self.convolution_1(x)), inplace=True))
        return change.add_(x)


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A convolution of 3 x 3 with padding 0: `[B, inputs, H, W]` to `[B, outputs, ceil(H / stride), ...]`."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1)


def tower(channels: int, blocks: int) -> nn.Sequential:
    """So many residual blocks one after the other."""
    return nn.Sequential(*(Block(channels) for _ in range(blocks)))
