"""The slow twin of `nn.value_prefix.ValuePrefix`: one path, cell and gate at a time, in float64, from weights."""

import math
from collections.abc import Sequence

import numpy as np

from muzero_ray.core.types import Weights


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


class NaiveValuePrefix:
    """What is remembered along one path.

    Args:
        weights: a network's.
        bins: values that the logits stand for.
        steps: after which it forgets.
    """

    def __init__(self, weights: Weights, bins: np.ndarray, steps: int) -> None:
        self._weights = {name: array.astype(np.float64) for name, array in weights.items()}
        self._bins = bins
        self._steps = steps
        self._size = len(weights["value_prefix.lstm.bias_hh"]) // 4
        self._forget()

    def reward(self, cells: np.ndarray) -> float:
        """The reward of the transition that led to a state: `[cells, C]`, its numbers cell by cell."""
        if self.count == self._steps:
            self._forget()
        before = self._sum() if self.count else 0.0
        features = np.concatenate([np.maximum(self._linear("value_prefix_planes", cell), 0) for cell in cells])
        self._remember(features)
        return self._sum() - before

    def logits(self) -> np.ndarray:
        hidden = np.maximum(self._linear("value_prefix.head_1", np.array(self.hidden)), 0)
        return self._linear("value_prefix.head_2", hidden)

    def _remember(self, features: np.ndarray) -> None:
        """The equations of an LSTM; its weights hold input gate, forget gate, candidate and output gate in turn."""
        from_input = self._linear_by("value_prefix.lstm", "ih", features)
        from_hidden = self._linear_by("value_prefix.lstm", "hh", np.array(self.hidden))
        for i in range(self._size):
            lets_in, keeps, candidate, lets_out = (
                from_input[gate * self._size + i] + from_hidden[gate * self._size + i] for gate in range(4)
            )
            self.cell[i] = sigmoid(keeps) * self.cell[i] + sigmoid(lets_in) * math.tanh(candidate)
            self.hidden[i] = sigmoid(lets_out) * math.tanh(self.cell[i])
        self.count += 1

    def _forget(self) -> None:
        self.hidden: list[float] = [0.0] * self._size
        self.cell: list[float] = [0.0] * self._size
        self.count = 0

    def _sum(self) -> float:
        return expected(self.logits(), self._bins)

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return self._weights[f"{name}.weight"] @ x + self._weights[f"{name}.bias"]

    def _linear_by(self, name: str, which: str, x: np.ndarray) -> np.ndarray:
        return self._weights[f"{name}.weight_{which}"] @ x + self._weights[f"{name}.bias_{which}"]


def expected(logits: Sequence[float] | np.ndarray, bins: np.ndarray) -> float:
    """The mean of the values under the distribution of the logits."""
    weights = [math.exp(x - max(logits)) for x in logits]
    return sum(w * x for w, x in zip(weights, bins, strict=True)) / sum(weights)
