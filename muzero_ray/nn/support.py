"""Scalars as distributions over the bins of a support: two-hot targets, and expectations.

A categorical value or reward head predicts probabilities of bins (`core.support`). This module turns a scalar
into the target of such a head and a head's logits back into a scalar. `engine` computes the same
expectation without torch.
"""

import torch
from torch import Tensor


def two_hot(scalars: Tensor, bins: Tensor) -> Tensor:
    """Returns probabilities of the bins whose expectation is the scalar.

    A scalar between two bins shares probability 1 between them in inverse proportion to its distance from each:
    with bins at 0, 3 and 8, 4 becomes 0, 0.8 and 0.2. One beyond the support becomes its outermost bin; see
    `is_clipped`.

    Args:
        scalars: `[...]` float, finite.
        bins: `[S]` float, rising.

    Returns:
        `[..., S]` float32; every row sums to 1.

    Source: MuZero, arXiv:1911.08265, appendix F; for bins of uneven distance, DreamerV3, arXiv:2301.04104.
    """
    gaps, end = bins.diff(), bins.new_ones(1)
    # Written without indices: a target that is not finite must become a loss that is not, for the
    # learner to report. As an index it would read foreign memory, which ends a CUDA process.
    not_finite = scalars - scalars  # NaN there, else 0
    distances = (scalars.clamp(bins[0], bins[-1]) + not_finite).unsqueeze(-1) - bins
    rising = 1 + distances / torch.cat([end, gaps])
    falling = 1 - distances / torch.cat([gaps, end])
    return torch.minimum(rising, falling).clamp(min=0)


def expectation(logits: Tensor, bins: Tensor) -> Tensor:
    """The scalars `[...]` that a head's `[..., S]` logits stand for: the mean of the bins by their probabilities."""
    # A sum of pairs, not a matrix product, which keeps fewer digits of large bins that nearly cancel out.
    return (logits.softmax(dim=-1) * bins).sum(dim=-1)


def is_clipped(scalars: Tensor, bins: Tensor) -> Tensor:
    """`[...]` bool: True where a scalar lies beyond the support, so that its target is not its own."""
    # Rounding alone may carry a scalar that sits on the bound a few float32 steps beyond it.
    slack = 1e-5 * torch.maximum(bins[0].abs(), bins[-1].abs())
    return (scalars < bins[0] - slack) | (scalars > bins[-1] + slack)
