import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import naive_loss

from muzero_ray.core.support import support_bins
from muzero_ray.nn.support import expectation, is_clipped, two_hot

SCALARS = st.floats(-1e4, 1e4, width=32)


def bins_of(low: float, high: float, spacing: float = 1.0, transformed: bool = True) -> torch.Tensor:
    return torch.from_numpy(support_bins((low, high), spacing, transformed))


def test_a_scalar_between_two_bins_is_shared_by_nearness():
    targets = two_hot(torch.tensor([3.7, -2.0, 4.0, 1.0]), bins_of(-2, 4, transformed=False))
    # Bins -2 -1 0 1 2 3 4: 3.7 is 0.3 of bin 3 and 0.7 of bin 4; a scalar on a bin is that bin alone.
    expected = [[0, 0, 0, 0, 0, 0.3, 0.7], [1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0, 0]]
    np.testing.assert_allclose(targets.numpy(), expected, atol=1e-6)


def test_spacing_of_one_half_shares_between_half_steps():
    targets = two_hot(torch.tensor([[0.1]]), bins_of(-1, 1, spacing=0.5, transformed=False))
    np.testing.assert_allclose(targets.numpy(), [[[0, 0, 0.8, 0.2, 0]]], atol=1e-6)


def test_nearness_is_measured_in_the_scalars_own_unit_between_bins_of_uneven_distance():
    targets = two_hot(torch.tensor([[4.0, -1.0]]), torch.tensor([-2.0, 0.0, 3.0, 8.0]))
    np.testing.assert_allclose(targets.numpy(), [[[0, 0, 0.8, 0.2], [0.5, 0.5, 0, 0]]], atol=1e-6)


@given(SCALARS, st.booleans(), st.sampled_from([1.0, 0.5]))
def test_two_hot_agrees_with_its_slow_twin(x, transformed, spacing):
    bins = bins_of(-20, 12, spacing, transformed)
    np.testing.assert_allclose(
        two_hot(torch.tensor([x]), bins)[0].numpy(), naive_loss.two_hot(x, bins.tolist()), atol=1e-5
    )


@given(st.floats(-400, 400, width=32), st.booleans())
def test_the_expectation_of_a_target_is_the_scalar(x, transformed):
    bins = bins_of(-20, 20) if transformed else bins_of(-400, 400, transformed=False)
    logits = two_hot(torch.tensor([x]), bins).log()
    assert expectation(logits, bins).item() == pytest.approx(x, rel=1e-4, abs=1e-4)


def test_a_rare_large_reward_is_worth_its_share():
    # One landing in 25 steps of lying still; undoing h on the expectation of h would make 0.88 of it.
    bins = bins_of(-12, 12)
    seen = two_hot(torch.tensor([100.0] + 24 * [0.0]), bins)
    assert expectation(seen.mean(dim=0).log(), bins).item() == pytest.approx(4.0, abs=1e-4)


def test_equal_logits_stand_for_exactly_nothing_on_a_symmetric_support():
    bins = bins_of(-20, 20)
    assert expectation(torch.zeros(len(bins)), bins).abs().item() < 1e-5


def test_a_scalar_beyond_the_support_becomes_its_outermost_bin_and_is_reported():
    bins = bins_of(-10, 10)  # h(117.4) = 10
    scalars = torch.tensor([117.0, 119.0, -5000.0, 0.0])
    assert is_clipped(scalars, bins).tolist() == [False, True, True, False]
    targets = two_hot(scalars, bins)
    assert targets[1, -1] == 1
    assert targets[2, 0] == 1


@pytest.mark.parametrize("bound", [1.0, 7.0, 10.0, 20.0, 300.0])
def test_a_scalar_on_the_bound_is_not_clipped(bound):
    bins = bins_of(-bound, bound)
    assert not is_clipped(bins[[0, -1]] * (1 + 1e-6), bins).any()


@pytest.mark.parametrize("x", [float("nan"), float("inf"), -float("inf")])
def test_a_scalar_that_is_not_finite_stays_visible_in_its_target(x):
    assert not two_hot(torch.tensor([x]), bins_of(-20, 20)).isfinite().all()
