"""The sum tree: equal to a list, and true to its priorities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.naive_sum_tree import NaiveSumTree

from muzero_ray.replay.sum_tree import SumTree


@settings(deadline=None)
@given(
    size=st.integers(1, 40),
    updates=st.lists(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 20)), max_size=10), min_size=1, max_size=8),
)
def test_tree_equals_a_list(size: int, updates: list[list[tuple[int, int]]]):
    tree, naive = SumTree(size), NaiveSumTree(size)
    fractions = np.linspace(0, 1, 41, endpoint=False)
    for update in updates:
        slots = np.array([slot % size for slot, _ in update], np.int64)
        priorities = np.array([priority for _, priority in update], np.float64)
        tree.set(slots, priorities)
        naive.set(slots, priorities)
        # Whole numbers add up exactly in any order.
        assert tree.total == naive.total
        if tree.total > 0:
            assert tree.find(fractions).tolist() == naive.find(fractions)


def test_priorities_are_read_back():
    tree = SumTree(5)
    tree.set(np.array([3, 0]), np.array([2.5, 1.0]))
    np.testing.assert_array_equal(tree.priorities(np.arange(5)), [1, 0, 0, 2.5, 0])


def test_the_last_of_repeated_slots_counts():
    tree = SumTree(3)
    tree.set(np.array([1, 1]), np.array([5.0, 2.0]))
    assert tree.total == 2.0


@pytest.mark.parametrize("size", [7, 64])
def test_slots_are_drawn_in_proportion_to_their_priorities(size: int):
    rng = np.random.default_rng(0)
    priorities = rng.integers(0, 5, size=size).astype(float)
    tree = SumTree(size)
    tree.set(np.arange(size), priorities)
    drawn = np.concatenate([tree.sample(32, rng) for _ in range(2000)])
    shares = np.bincount(drawn, minlength=size) / len(drawn)
    expected = priorities / priorities.sum()
    assert shares[priorities == 0].sum() == 0
    # Four standard deviations of plain draws; stratified ones vary less.
    np.testing.assert_allclose(shares, expected, atol=4 * np.sqrt(expected.max() / len(drawn)))


def test_stratified_draws_visit_equal_priorities_evenly():
    tree = SumTree(100)
    tree.set(np.arange(100), np.ones(100))
    assert len(set(tree.sample(100, np.random.default_rng(0)))) == 100


@settings(deadline=None)
@given(st.integers(2, 70), st.integers(0, 2**32))
def test_rounding_never_finds_a_slot_without_priority(size: int, seed: int):
    rng = np.random.default_rng(seed)
    tree = SumTree(size)
    priorities = rng.random(size) ** 20 * (rng.random(size) < 0.4)
    priorities[rng.integers(size)] = 0.1
    tree.set(np.arange(size), priorities)
    found = tree.find(np.array([0.0, np.nextafter(1.0, 0.0), 1.0]))
    assert (priorities[found] > 0).all()


def test_sums_do_not_drift_over_many_updates():
    rng = np.random.default_rng(0)
    tree = SumTree(50)
    for scale in 10.0 ** rng.uniform(-8, 8, size=3000):
        tree.set(rng.integers(50, size=10), rng.random(10) * scale)
    tree.set(np.arange(50), np.full(50, 0.5))
    assert tree.total == 25.0


def test_nothing_can_be_drawn_from_an_empty_tree():
    with pytest.raises(ValueError, match="all priorities are 0"):
        SumTree(4).sample(2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        SumTree(0)
