"""Frames of games as networks want them: small, `[C, H, W]`, uint8.

A frame is made smaller by the mean over the area that each of its pixels covers, exactly: sums of whole numbers
that a float holds, rounded once. So the same frame gives the same bytes on every machine. Stacking frames is not
done here: a game hands out single ones (`GameSpec.frame_stack`).
"""

from math import gcd

import numpy as np
from numba import njit

_FLOAT32_WHOLE = 2**24  # whole numbers up to here are exact in float32


class FrameShrinker:
    """Makes frames `[H, W, C]` of one size into smaller ones `[C, h, w]`.

    Args:
        source: (H, W) of the frames that come in.
        size: largest h and w; a side that is not longer stays as it is.
    """

    def __init__(self, source: tuple[int, int], size: int) -> None:
        self._source = source
        self.shape: tuple[int, int] = (min(source[0], size), min(source[1], size))
        rows, columns = (area_weights(old, new) for old, new in zip(source, self.shape, strict=True))
        self._total = int(rows[0].sum() * columns[0].sum())
        dtype = np.float32 if 256 * self._total < _FLOAT32_WHOLE else np.float64
        self._rows, self._columns = (_without_zeros(weights.astype(dtype)) for weights in (rows, columns))

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """`[H, W, C]` uint8 to a new `[C, h, w]` uint8."""
        if self.shape == self._source:
            return frame.transpose(2, 0, 1).copy(order="C")
        smaller = np.empty((frame.shape[2], *self.shape), np.uint8)
        _shrink(np.ascontiguousarray(frame), *self._rows, *self._columns, self._total, smaller)
        return smaller


def _without_zeros(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[new, old]` weights as the `[new]` first old pixels that count and the `[new, n]` weights from there on."""
    counts = weights > 0
    first = np.minimum(counts.argmax(axis=1), weights.shape[1] - counts.sum(axis=1).max())
    places = first[:, None] + np.arange(counts.sum(axis=1).max())
    return first, np.take_along_axis(weights, places, axis=1)


@njit(cache=True, nogil=True)
def _shrink(
    frame: np.ndarray,
    first_rows: np.ndarray,
    row_weights: np.ndarray,
    first_columns: np.ndarray,
    column_weights: np.ndarray,
    total: int,
    smaller: np.ndarray,
) -> None:
    """Writes a frame's `[H, W, C]` area means into a smaller one `[C, h, w]`: first down columns, then along rows."""
    height, width, channels = frame.shape
    lines = frame.reshape(height, width * channels)
    sums = np.empty(width * channels, row_weights.dtype)
    means = np.empty(smaller.shape[2], row_weights.dtype)
    half = row_weights.dtype.type(total // 2)
    whole = row_weights.dtype.type(total)
    for row in range(smaller.shape[1]):
        sums[:] = 0
        for i in range(row_weights.shape[1]):
            weight = row_weights[row, i]
            line = lines[first_rows[row] + i]
            for x in range(width * channels):
                sums[x] += weight * line[x]
        for channel in range(channels):
            for column in range(smaller.shape[2]):
                mean = half
                for i in range(column_weights.shape[1]):
                    mean += column_weights[column, i] * sums[(first_columns[column] + i) * channels + channel]
                means[column] = mean
            # A correctly rounded quotient is never rounded up to the next whole number here: its distance to that is
            # at least 1 / total, which is more than half a unit in the last place.
            for column in range(smaller.shape[2]):
                smaller[channel, row, column] = np.uint8(means[column] / whole)


def area_weights(old: int, new: int) -> np.ndarray:
    """`[new, old]` int64: how much of each of `old` pixels lies in each of `new` pixels of the same row.

    In units of which every old pixel is `new / gcd` long, so that all are whole numbers; every row adds up to
    `old / gcd`.

    >>> area_weights(3, 2).tolist()
    [[2, 1, 0], [0, 1, 2]]
    """
    shared = gcd(old, new)
    old_edges, new_edges = np.arange(old + 1) * (new // shared), np.arange(new + 1) * (old // shared)
    ends: np.ndarray = np.minimum(new_edges[1:, None], old_edges[None, 1:])
    starts = np.maximum(new_edges[:-1, None], old_edges[None, :-1])
    inside: np.ndarray = np.maximum(0, ends - starts)
    return inside


def to_grey(frame: np.ndarray) -> np.ndarray:
    """`[H, W, 3]` uint8 RGB to `[H, W, 1]`: the luma of ITU-R BT.601, rounded."""
    weighted: np.ndarray = frame[..., :3].astype(np.uint32) @ np.array([299, 587, 114], np.uint32)
    return ((weighted + 500) // 1000).astype(np.uint8)[..., None]
