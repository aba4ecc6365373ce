"""Where the bins of a categorical reward or value head lie: the transform h, and its inverse.

A head predicts probabilities of bins that are evenly spaced on the scale of h, which is fine near 0 and coarse
far from it. The scalar that it stands for is the expectation of the bins' own values. MuZero undoes h on the
expectation of the transformed values instead, which tells rare large rewards far too small: 1 chance in 25 of 100
is worth 4, but sqrt-like h makes 0.9 of it.

Source: h is from Pohlen et al., "Observe and Look Further", arXiv:1805.11593, with the epsilon of MuZero,
arXiv:1911.08265, appendix F; bins that are spaced by a transform, but averaged without it, from DreamerV3,
Hafner et al., arXiv:2301.04104.
"""

import numpy as np

TRANSFORM_EPSILON = 0.001
"""Slope of h far from 0, which keeps its inverse Lipschitz continuous."""


def transform(x: np.ndarray) -> np.ndarray:
    """Returns h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x, of any shape.

    The square root is written as |x| / (sqrt(|x| + 1) + 1), which loses no digits near 0.

    >>> transform(np.array([0.0, 3.0, -3.0])).tolist()
    [0.0, 1.003, -1.003]
    """
    y: np.ndarray = x / (np.sqrt(np.abs(x) + 1) + 1) + TRANSFORM_EPSILON * x
    return y


def inverse_transform(y: np.ndarray) -> np.ndarray:
    """Returns the x for which `transform(x)` is y, of any shape.

    With u = sqrt(|x| + 1) - 1, h reads e u^2 + (1 + 2e) u = |y|. Its positive root, in the form that
    subtracts nothing, is u = 2|y| / (1 + 2e + sqrt((1 + 2e)^2 + 4e|y|)), and |x| = u (u + 2).

    >>> inverse_transform(np.array([0.0, 1.003, -1.003])).round(9).tolist()
    [0.0, 3.0, -3.0]
    """
    slope = 1 + 2 * TRANSFORM_EPSILON
    magnitude = np.abs(y)
    u = 2 * magnitude / (slope + np.sqrt(slope**2 + 4 * TRANSFORM_EPSILON * magnitude))
    x: np.ndarray = np.sign(y) * u * (u + 2)
    return x


def support_bins(bounds: tuple[float, float], spacing: float, transformed: bool) -> np.ndarray:
    """Returns the `[S]` float32 values that the bins stand for, rising.

    Args:
        bounds: the first and the last bin, on the scale of h if `transformed`.
        spacing: distance of two neighbours on that scale; a whole number of them fits between the bounds.
        transformed: whether the bins are evenly spaced on the scale of h rather than on their own.

    >>> support_bins((-2.0, 2.0), 1.0, transformed=True).round(3).tolist()
    [-7.952, -2.988, 0.0, 2.988, 7.952]
    """
    positions = np.linspace(*bounds, round((bounds[1] - bounds[0]) / spacing) + 1)
    return (inverse_transform(positions) if transformed else positions).astype(np.float32)
