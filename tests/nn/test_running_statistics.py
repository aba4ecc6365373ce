import numpy as np
import pytest

from muzero_ray.nn.running_statistics import (
    FARTHEST,
    SMALLEST_SPREAD,
    from_numbers,
    mean_and_spread,
    merge,
    no_statistics,
    statistics_of,
    to_numbers,
)


def naive_statistics(rows):
    """Mean and sum of squared deviations of each feature, by a loop over plain numbers."""
    features = [[float(x) for x in feature] for feature in zip(*rows, strict=True)]
    means = [sum(feature) / len(feature) for feature in features]
    return means, [sum((x - mean) ** 2 for x in feature) for feature, mean in zip(features, means, strict=True)]


def test_two_groups_merge_into_the_statistics_of_both():
    # 1 and 3 have mean 2 and squares 1 + 1; with 8 the mean is 4 and the squares are 9 + 1 + 16.
    both = merge(statistics_of(np.array([[1.0], [3.0]])), statistics_of(np.array([[8.0]])))
    assert (both.count, both.mean.tolist(), both.squares.tolist()) == (3, [4.0], [26.0])


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_merging_batch_by_batch_agrees_with_the_naive_twin(offset):
    rng = np.random.default_rng(0)
    groups = [(rng.normal(size=(n, 3)) * [1, 50, 1e-3] + offset).astype(np.float32) for n in (1, 7, 256, 2)]
    merged = no_statistics(3)
    for group in groups:
        merged = merge(merged, statistics_of(group))
    mean, squares = naive_statistics(np.concatenate(groups))
    assert merged.count == 266
    np.testing.assert_allclose(merged.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(merged.squares, squares, rtol=1e-9)


def test_merging_changes_neither_part():
    first, second = statistics_of(np.ones((2, 1))), statistics_of(np.zeros((2, 1)))
    merge(first, second)
    assert (first.count, first.mean.item(), second.count, second.mean.item()) == (2, 1, 2, 0)


def test_rows_are_not_written_to():
    rows = np.array([[1.0], [3.0]])
    statistics_of(rows)
    assert rows.tolist() == [[1.0], [3.0]]


def test_the_range_is_that_of_all_rows():
    merged = merge(statistics_of(np.array([[1.0, -4.0], [3.0, 2.0]])), statistics_of(np.array([[8.0, 0.0]])))
    assert (merged.low.tolist(), merged.high.tolist()) == ([1, -4], [8, 2])


def test_a_feature_that_strays_far_is_scaled_so_that_nothing_seen_lies_beyond_the_clip():
    # 999 zeros and one 1000: mean 1, standard deviation 31.6, so the 1000 lies 31.6 deviations out.
    rows = np.zeros((1000, 1))
    rows[0] = 1000
    mean, scale = mean_and_spread(statistics_of(rows))
    assert scale == pytest.approx(999 / FARTHEST)
    assert ((rows - mean) / scale).max() == pytest.approx(FARTHEST)


def test_nothing_seen_is_mean_0_and_scale_1():
    mean, std = mean_and_spread(no_statistics(2))
    assert (mean.tolist(), std.tolist()) == ([0, 0], [1, 1])


def test_the_scale_is_the_standard_deviation_of_the_rows_down_to_its_floor():
    mean, std = mean_and_spread(statistics_of(np.array([[1.0, 5.0], [3.0, 5.0]])))
    assert mean.tolist() == [2, 5]
    assert std.tolist() == [1, np.float32(SMALLEST_SPREAD)]
    assert mean.dtype == std.dtype == np.float32


@pytest.mark.parametrize("rows", [0, 7])
def test_statistics_travel_as_numbers_and_lose_nothing(rows):
    known = statistics_of(np.random.default_rng(0).normal(size=(rows, 3))) if rows else no_statistics(3)
    numbers = to_numbers(known)
    assert (numbers.shape, numbers.dtype) == ((13,), np.float64)
    came = from_numbers(numbers)
    assert came.count == known.count == rows
    for name in ("mean", "squares", "low", "high"):
        np.testing.assert_array_equal(getattr(came, name), getattr(known, name))
