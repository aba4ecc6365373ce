"""Scalars as distributions over a support: the transform h, two-hot targets, and expectations.

A categorical value or reward head predicts probabilities for evenly spaced bins. This module turns a
scalar into the target of such a head and a head's logits back into a scalar. It holds no parameters
and knows nothing of losses; `engine` computes the same expectation in NumPy.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

TRANSFORM_EPSILON: Final = 0.001
"""Slope of h far from 0, which keeps its inverse Lipschitz continuous."""


def transform(x: Tensor) -> Tensor:
    """Returns h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x, of any shape.

    The square root is written as |x| / (sqrt(|x| + 1) + 1), which loses no digits near 0.

    Source: Pohlen et al., "Observe and Look Further", arXiv:1805.11593, with the epsilon of MuZero,
    arXiv:1911.08265, appendix F.

    >>> transform(torch.tensor([0.0, 3.0, -3.0])).tolist()
    [0.0, 1.003000020980835, -1.003000020980835]
    """
    return x / ((x.abs() + 1).sqrt() + 1) + TRANSFORM_EPSILON * x


def inverse_transform(y: Tensor) -> Tensor:
    """Returns the x for which `transform(x)` is y, of any shape.

    With u = sqrt(|x| + 1) - 1, h reads e u^2 + (1 + 2e) u = |y|. Its positive root, in the form that
    subtracts nothing, is u = 2|y| / (1 + 2e + sqrt((1 + 2e)^2 + 4e|y|)), and |x| = u (u + 2). The
    published closed form is the same function, but in float32 it is wrong by 1e-4 near 0.

    >>> inverse_transform(torch.tensor([0.0, 1.003, -1.003])).round(decimals=4).tolist()
    [0.0, 3.0, -3.0]
    """
    slope = 1 + 2 * TRANSFORM_EPSILON
    magnitude = y.abs()
    u = 2 * magnitude / (slope + (slope**2 + 4 * TRANSFORM_EPSILON * magnitude).sqrt())
    return y.sign() * u * (u + 2)


@dataclass(frozen=True)
class Support:
    """S evenly spaced bins from `low` to `high`, both included, on the scale of h or on the plain one."""

    low: float
    high: float
    spacing: float = 1.0
    transformed: bool = True  # whether the bins lie on the scale of h

    @property
    def num_bins(self) -> int:
        """S."""
        return round((self.high - self.low) / self.spacing) + 1

    def bins(self) -> Tensor:
        """`[S]` float32: the positions of the bins, on the support's scale."""
        return torch.linspace(self.low, self.high, self.num_bins)

    def encode(self, scalars: Tensor) -> Tensor:
        """Returns two-hot targets: probabilities whose expectation decodes to the scalar.

        A scalar between two bins shares probability 1 between them in inverse proportion to its
        distance from each: 3.7 between bins 3 and 4 becomes 0.3 and 0.7. One beyond the support
        becomes its outermost bin; see `is_clipped`.

        Args:
            scalars: `[...]` float, finite.

        Returns:
            `[..., S]` float32; every row sums to 1.

        Source: MuZero, arXiv:1911.08265, appendix F.
        """
        position = (self._scaled(scalars).clamp(self.low, self.high) - self.low) / self.spacing
        # Written without indices: a target that is not finite must become a loss that is not, for the
        # learner to report. As an index it would read foreign memory, which ends a CUDA process.
        bins = torch.arange(self.num_bins, device=scalars.device)
        return (1 - (position.unsqueeze(-1) - bins).abs()).clamp(min=0)

    def decode(self, logits: Tensor, bins: Tensor) -> Tensor:
        """Returns the scalar that a head predicts: the expectation over the bins, h undone.

        Args:
            logits: `[..., S]` float.
            bins: `self.bins()` on the device of the logits, so that no call has to copy it there.

        Returns:
            `[...]` float32.
        """
        expectation = logits.softmax(dim=-1) @ bins
        return inverse_transform(expectation) if self.transformed else expectation

    def is_clipped(self, scalars: Tensor) -> Tensor:
        """`[...]` bool: True where a scalar lies beyond the support, so that its target is not its own."""
        scaled = self._scaled(scalars)
        # Rounding alone may carry a scalar that sits on the bound a few float32 steps beyond it.
        slack = 1e-5 * max(abs(self.low), abs(self.high))
        return (scaled < self.low - slack) | (scaled > self.high + slack)

    def _scaled(self, scalars: Tensor) -> Tensor:
        return transform(scalars) if self.transformed else scalars
