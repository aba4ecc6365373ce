import numba
import numpy as np
import pytest

from muzero_ray.engine import kernels


@numba.njit(fastmath=True)
def exponentials(x):
    return np.array([kernels._exp(number) for number in x])


def test_the_exponential_is_that_of_numpy_down_to_where_it_does_not_matter():
    x = np.linspace(-80, 0, 20_001, dtype=np.float32)
    expected = np.exp(x.astype(np.float64))
    near = x > -5
    np.testing.assert_allclose(exponentials(x)[near], expected[near], rtol=6e-7)
    np.testing.assert_allclose(exponentials(x), expected, rtol=5e-6)


def test_the_exponential_of_nothing_is_one_and_of_the_far_negative_next_to_nothing():
    assert exponentials(np.zeros(1, np.float32))[0] == 1
    assert 0 < exponentials(np.array([-1e6], np.float32))[0] < 1e-37


@numba.njit(fastmath=True)
def lowest_and_highest(x):
    low, high = x[0], x[0]
    for number in x:
        low, high = kernels._lower(low, number), kernels._higher(high, number)
    return low, high


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 64, 257])
def test_compiled_lower_and_higher_find_the_smallest_and_the_largest_number(size):
    x = np.random.default_rng(size).normal(0, 100, size).astype(np.float32)
    assert lowest_and_highest(x) == (x.min(), x.max()) == lowest_and_highest.py_func(x)
