import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import naive_loss

from muzero_ray.core.support import inverse_transform, support_bins, transform

SCALARS = st.floats(-1e4, 1e4, width=32)


@pytest.mark.parametrize(
    ("x", "y"),
    # sqrt(2) - 1 + .001 = .4152, sqrt(11) - 1 + .01 = 2.3266, and so on.
    [(0, 0), (1, 0.4152), (10, 2.3266), (100, 9.1499), (-100, -9.1499), (200, 13.3774), (300, 16.6494), (500, 21.8830)],
)
def test_transform_of_known_values(x, y):
    assert transform(np.array(float(x))) == pytest.approx(y, abs=1e-4)


@pytest.mark.parametrize(("y", "x"), [(0, 0), (10, 117.4), (15, 247.2), (20, 422.4), (25, 642.0), (-10, -117.4)])
def test_inverse_transform_of_known_values(y, x):
    assert inverse_transform(np.array(float(y))) == pytest.approx(x, abs=0.06)


@given(SCALARS)
def test_transform_and_inverse_agree_with_the_published_forms(x):
    y = naive_loss.h(x)
    assert transform(np.array(x)) == pytest.approx(y, rel=1e-9, abs=1e-12)
    assert inverse_transform(np.array(y)) == pytest.approx(naive_loss.h_inverse(y), rel=1e-6, abs=1e-9)


@given(SCALARS)
def test_inverse_undoes_the_transform(x):
    assert inverse_transform(transform(np.array(x))) == pytest.approx(x, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("transformed", [True, False])
@pytest.mark.parametrize(("low", "high", "spacing"), [(-20, 20, 1.0), (-3, 15.5, 0.5), (0, 1, 1.0)])
def test_bins_agree_with_their_slow_twin(low, high, spacing, transformed):
    twin = naive_loss.bins_of(low, high, spacing, transformed)
    np.testing.assert_allclose(support_bins((low, high), spacing, transformed), twin, rtol=1e-5, atol=1e-6)
