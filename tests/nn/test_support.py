import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import naive_loss

from muzero_ray.nn.support import Support, inverse_transform, transform

SCALARS = st.floats(-1e4, 1e4, width=32)


@pytest.mark.parametrize(
    ("x", "y"),
    # sqrt(2) - 1 + .001 = .4152, sqrt(11) - 1 + .01 = 2.3266, and so on.
    [(0, 0), (1, 0.4152), (10, 2.3266), (100, 9.1499), (-100, -9.1499), (200, 13.3774), (300, 16.6494), (500, 21.8830)],
)
def test_transform_of_known_values(x, y):
    assert transform(torch.tensor(float(x))).item() == pytest.approx(y, abs=1e-4)


@pytest.mark.parametrize(("y", "x"), [(0, 0), (10, 117.4), (15, 247.2), (20, 422.4), (25, 642.0), (-10, -117.4)])
def test_inverse_transform_of_known_values(y, x):
    assert inverse_transform(torch.tensor(float(y))).item() == pytest.approx(x, abs=0.06)


@given(SCALARS)
def test_transform_and_inverse_agree_with_the_published_forms(x):
    assert transform(torch.tensor(x)).item() == pytest.approx(naive_loss.h(x), rel=1e-6, abs=1e-9)
    y = naive_loss.h(x)
    got = inverse_transform(torch.tensor(y)).item()
    assert got == pytest.approx(naive_loss.h_inverse(y), rel=1e-5, abs=1e-6)


@given(SCALARS)
def test_inverse_undoes_the_transform(x):
    assert inverse_transform(transform(torch.tensor(x))).item() == pytest.approx(x, rel=1e-5, abs=1e-7)


def test_a_scalar_between_two_bins_is_shared_by_nearness():
    targets = Support(-2, 4, transformed=False).encode(torch.tensor([3.7, -2.0, 4.0, 1.0]))
    # Bins -2 -1 0 1 2 3 4: 3.7 is 0.3 of bin 3 and 0.7 of bin 4; a scalar on a bin is that bin alone.
    expected = [[0, 0, 0, 0, 0, 0.3, 0.7], [1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0, 0]]
    np.testing.assert_allclose(targets.numpy(), expected, atol=1e-6)


def test_spacing_of_one_half_shares_between_half_steps():
    targets = Support(-1, 1, spacing=0.5, transformed=False).encode(torch.tensor([[0.1]]))
    np.testing.assert_allclose(targets.numpy(), [[[0, 0, 0.8, 0.2, 0]]], atol=1e-6)


@given(SCALARS, st.booleans(), st.sampled_from([1.0, 0.5]))
def test_two_hot_agrees_with_its_slow_twin(x, transformed, spacing):
    support = Support(-20, 12, spacing, transformed)
    twin = naive_loss.two_hot(x, -20, 12, spacing, transformed)
    np.testing.assert_allclose(support.encode(torch.tensor([x]))[0].numpy(), twin, atol=1e-5)


@given(st.floats(-400, 400, width=32), st.booleans())
def test_decoding_a_target_gives_the_scalar_back(x, transformed):
    support = Support(-20, 20) if transformed else Support(-400, 400, transformed=False)
    logits = support.encode(torch.tensor([x])).log()
    assert support.decode(logits, support.bins()).item() == pytest.approx(x, rel=1e-4, abs=1e-4)


def test_equal_logits_decode_to_exactly_nothing_on_a_symmetric_support():
    support = Support(-20, 20)
    assert support.decode(torch.zeros(support.num_bins), support.bins()).abs().item() < 1e-5


def test_a_scalar_beyond_the_support_becomes_its_outermost_bin_and_is_reported():
    support = Support(-10, 10)  # h(117.4) = 10
    scalars = torch.tensor([117.0, 119.0, -5000.0, 0.0])
    assert support.is_clipped(scalars).tolist() == [False, True, True, False]
    targets = support.encode(scalars)
    assert targets[1, -1] == 1
    assert targets[2, 0] == 1


@pytest.mark.parametrize("bound", [1.0, 7.0, 10.0, 20.0, 300.0])  # of 1, 7 and 10, rounding lands beyond
def test_a_scalar_on_the_bound_is_not_clipped(bound):
    edges = inverse_transform(torch.tensor([-bound, bound]))
    assert not Support(-bound, bound).is_clipped(edges).any()


@pytest.mark.parametrize("x", [float("nan"), float("inf"), -float("inf")])
def test_a_scalar_that_is_not_finite_stays_visible_in_its_target(x):
    assert not Support(-20, 20).encode(torch.tensor([x])).isfinite().all()
