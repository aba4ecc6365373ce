"""Mean, spread and range of all observations trained on so far, batch after batch.

Pure functions over immutable values, in float64 on the CPU: over a long run float32 would stop noticing
new batches. `learner` says when a batch is merged; `networks` applies the result to observations.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

SMALLEST_SPREAD: Final = 1e-2
"""Floor of the spread: a feature that has hardly varied so far must not blow up when it does."""

FARTHEST: Final = 5.0
"""How far from 0 a scaled feature may lie, among those seen so far."""


@dataclass(frozen=True)
class Statistics:
    """What is known of the rows seen so far, feature by feature. The arrays are not to be written to."""

    count: int  # rows
    mean: np.ndarray  # [X] float64; 0 where count is
    squares: np.ndarray  # [X] float64; the sum over the rows of (x - mean)^2, M2 in the literature
    low: np.ndarray  # [X] float64; smallest value; infinite where count is 0
    high: np.ndarray  # [X] float64; largest value; minus infinity where count is 0


def no_statistics(size: int) -> Statistics:
    """Statistics of no rows, for X = `size` features."""
    return Statistics(0, np.zeros(size), np.zeros(size), np.full(size, np.inf), np.full(size, -np.inf))


def statistics_of(rows: np.ndarray) -> Statistics:
    """Statistics of `[n, X]` rows, n >= 1."""
    rows = rows.astype(np.float64)
    mean, low, high = rows.mean(axis=0), rows.min(axis=0), rows.max(axis=0)
    rows -= mean
    return Statistics(len(rows), mean, np.einsum("nx,nx->x", rows, rows), low, high)


def merge(first: Statistics, second: Statistics) -> Statistics:
    """Returns the statistics of the rows of both, of which at least one has any.

    With n = n1 + n2 rows and d = mean2 - mean1:

        mean    = mean1 + d n2 / n
        squares = squares1 + squares2 + d^2 n1 n2 / n

    Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances", 1979.

    >>> both = merge(statistics_of(np.array([[1.0], [3.0]])), statistics_of(np.array([[8.0]])))
    >>> both.count, both.mean.tolist(), both.squares.tolist()
    (3, [4.0], [26.0])
    """
    count = first.count + second.count
    difference = second.mean - first.mean
    return Statistics(
        count,
        first.mean + difference * (second.count / count),
        first.squares + second.squares + difference**2 * (first.count * second.count / count),
        np.minimum(first.low, second.low),
        np.maximum(first.high, second.high),
    )


def to_numbers(statistics: Statistics) -> np.ndarray:
    """`[1 + 4 X]` float64 that say it all, to be sent elsewhere."""
    parts = ([statistics.count], statistics.mean, statistics.squares, statistics.low, statistics.high)
    return np.concatenate(parts, dtype=np.float64)


def from_numbers(numbers: np.ndarray) -> Statistics:
    """What `to_numbers` was given."""
    return Statistics(int(numbers[0]), *np.split(numbers[1:], 4))


def mean_and_spread(statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
    """What to subtract from observations, and what to divide them by; 0 and 1 for no rows. Each `[X]` float32.

    The spread is the standard deviation, or more where single values lie far out: a cart that is balanced for
    longer gets to places that the first thousands of steps never saw, many of their deviations away. Divided
    by these alone, and clipped, all such places would look the same.

    >>> mean, spread = mean_and_spread(statistics_of(np.array([[1.0], [3.0]])))
    >>> mean.tolist(), spread.tolist()
    ([2.0], [1.0])
    """
    mean = statistics.mean.astype(np.float32)
    if statistics.count == 0:
        return mean, np.ones_like(mean)
    std = np.sqrt(statistics.squares / statistics.count)
    with np.errstate(invalid="ignore"):  # infinite observations make a loss that is reported
        farthest = np.maximum(statistics.high - statistics.mean, statistics.mean - statistics.low)
    return mean, np.maximum(np.maximum(std, farthest / FARTHEST), SMALLEST_SPREAD).astype(np.float32)
