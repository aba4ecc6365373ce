"""The slow twin of `nn.downsampling` before the tower of `nn.conv_network`: one sample and cell at a time."""

import numpy as np
from reference.naive_conv import NaiveConv


class NaiveImageNetwork(NaiveConv):
    """The three functions of the network for images, for one sample; only the representation is its own."""

    few = 16

    def represent(self, observation: np.ndarray) -> np.ndarray:
        blocks = self._config.blocks
        x = observation.astype(np.float64) / (255 if observation.dtype == np.uint8 else 1)
        x = self._tower("downsampling.blocks_1", self._halved("1", x), min(blocks, 2))
        x = self._tower("downsampling.blocks_2", self._halved("2", x), min(blocks, 3))
        x = pooled(self._tower("downsampling.blocks_3", pooled(x), min(blocks, 3)))
        return self._scaled(self._tower("representation_blocks", x, blocks))

    def _halved(self, stage: str, x: np.ndarray) -> np.ndarray:
        every_cell = self._convolve(f"downsampling.convolution_{stage}", x)
        return np.maximum(self._norm(f"downsampling.norm_{stage}", every_cell[:, ::2, ::2]), 0)

    def _tower(self, name: str, x: np.ndarray, blocks: int) -> np.ndarray:
        for i in range(blocks):
            inner = self._norm(f"{name}.{i}.norm", self._convolve(f"{name}.{i}.convolution_1", x))
            x = x + self._convolve(f"{name}.{i}.convolution_2", np.maximum(inner, 0))
        return x


def pooled(x: np.ndarray) -> np.ndarray:
    """Means of the up to nine cells around every other cell of `[C, H, W]`."""
    _, height, width = x.shape
    rows, columns = range(0, height, 2), range(0, width, 2)
    around = [[x[:, max(y - 1, 0) : y + 2, max(z - 1, 0) : z + 2] for z in columns] for y in rows]
    return np.array([[cells.mean(axis=(1, 2)) for cells in row] for row in around]).transpose(2, 0, 1)
