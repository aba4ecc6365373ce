"""The slow twin of `nn.conv_network`: one sample, cell and plane at a time, in float64, from published weights.

States are `[C, H, W]` here; `flat` says how they travel.
"""

import math

import numpy as np

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import Weights


def flat(planes: np.ndarray) -> np.ndarray:
    """`[C, H, W]` to `[H * W * C]`: all planes of the first cell, then of the next one in its row."""
    channels, height, width = planes.shape
    return np.array([planes[c, y, x] for y in range(height) for x in range(width) for c in range(channels)])


class NaiveConv:
    """The three functions of `ConvNetwork` for one sample."""

    few = 16
    """Planes of which a dense layer reads every cell."""

    def __init__(self, config: NetworkConfig, spec: GameSpec, weights: Weights) -> None:
        self._config = config
        self._spec = spec
        self._weights = {name: array.astype(np.float64) for name, array in weights.items()}

    def represent(self, observation: np.ndarray) -> np.ndarray:
        x = observation.astype(np.float64) / (255 if observation.dtype == np.uint8 else 1)
        x = np.maximum(self._norm("representation_norm", self._convolve("representation_1", x)), 0)
        return self._scaled(self._blocks("representation_blocks", None, x))

    def step(self, state: np.ndarray, action: int) -> np.ndarray:
        if self._spec.action_planes is None:
            x = self._convolve("dynamics_1", state)
            for c in range(len(x)):
                x[c] += self._weights["action_rows.weight"][action, c]
        else:
            x = self._convolve("dynamics_1", np.concatenate([state, self._spec.action_planes[action]]))
        x = state + np.maximum(self._norm("dynamics_norm", x), 0)
        reached = self._scaled(self._blocks("dynamics_blocks", self._config.dynamics_blocks, x))
        if self._spec.num_players == 2 and self._spec.alternating:
            half = len(reached) // 2
            reached = np.array([*reached[len(reached) - half :], *reached[half : len(reached) - half], *reached[:half]])
        if self._spec.turn_cells is None:
            return reached
        turned = [plane.ravel()[self._spec.turn_cells].reshape(plane.shape) for plane in reached]
        return np.array(turned)

    def predict(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of the scalar heads, joined, and policy logits."""
        _, height, width = state.shape
        hidden = np.zeros((len(self._weights["prediction_1.bias"]), height, width))
        for y in range(height):
            for x in range(width):
                hidden[:, y, x] = np.maximum(self._linear("prediction_1", state[:, y, x]), 0)
        channels = len(state)
        for_policy, in_place, anywhere = np.split(hidden, [-self.few - channels, -channels])
        means = [plane.mean() for plane in anywhere]
        largest = [plane.max() for plane in anywhere]
        scalars = self._linear("scalars_1", np.array([*flat(in_place), *means, *largest]))
        return {"scalars": self._linear("scalars_2", np.maximum(scalars, 0)), "policy": self._policy(for_policy)}

    def _policy(self, hidden: np.ndarray) -> np.ndarray:
        if self._spec.action_cells is None:
            return self._linear("policy", flat(hidden))
        _, height, width = hidden.shape
        logits, off_board = [], 0
        for cell in self._spec.action_cells:
            if cell < 0:
                mean = hidden.mean(axis=(1, 2))
                logits.append(self._linear("policy_off_board", mean)[off_board])
                off_board += 1
            else:
                plane, row, column = cell // (height * width), cell // width % height, cell % width
                logits.append(self._linear("policy", hidden[:, row, column])[plane])
        return np.array(logits)

    def _blocks(self, name: str, blocks: int | None, x: np.ndarray) -> np.ndarray:
        for i in range(self._config.blocks if blocks is None else blocks):
            inner = self._norm(f"{name}.{i}.norm", self._convolve(f"{name}.{i}.convolution_1", x))
            x = x + self._convolve(f"{name}.{i}.convolution_2", np.maximum(inner, 0))
        return x

    def _convolve(self, name: str, x: np.ndarray) -> np.ndarray:
        kernel, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        _, height, width = x.shape
        result = np.zeros((len(kernel), height, width))
        for out in range(len(kernel)):
            for row in range(height):
                for column in range(width):
                    total = bias[out]
                    for dy in (-1, 0, 1):
                        for dx in (-1, 0, 1):
                            if 0 <= row + dy < height and 0 <= column + dx < width:
                                total += kernel[out, :, dy + 1, dx + 1] @ x[:, row + dy, column + dx]
                    result[out, row, column] = total
        return result

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        x = (x - x.mean()) / math.sqrt(x.var() + 1e-5)
        factor, offset = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return np.stack([factor[c] * x[c] + offset[c] for c in range(len(x))])

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return self._weights[f"{name}.weight"] @ x + self._weights[f"{name}.bias"]

    @staticmethod
    def _scaled(x: np.ndarray) -> np.ndarray:
        return (x - x.min()) / (x.max() - x.min() + 1e-5)
