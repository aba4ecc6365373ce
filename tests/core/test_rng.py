"""Streams of randomness: stable, distinct, and never the same game in training and evaluation."""

import itertools

import numpy as np
import pytest

from muzero_ray.core.rng import (
    EVALUATION_SEEDS,
    TRAINING_SEEDS,
    evaluation_seeds,
    pack_generator,
    role_seed,
    training_seeds,
    unpack_generator,
)


def test_a_role_has_the_same_stream_in_every_process():
    # Written down once, so that a change of the scheme (or a dependence on Python's hash seed) is noticed.
    assert role_seed(7, "self_play", 3, 1).generate_state(2).tolist() == [294714517, 3026326651]


def test_streams_differ_by_seed_role_index_and_restart():
    roles = ("self_play", "reanalyze", "replay", "trainer", "evaluation_games")
    states = {
        tuple(role_seed(seed, role, index, restart).generate_state(4))
        for seed, role, index, restart in itertools.product((0, 1, 2**40), roles, range(20), range(3))
    }
    assert len(states) == 3 * len(roles) * 20 * 3


def test_a_role_seed_differs_from_the_plain_seed():
    assert role_seed(5, "replay").generate_state(1) != np.random.SeedSequence(5).generate_state(1)


@pytest.mark.parametrize("arguments", [(-1, "a", 0, 0), (0, "a", -1, 0), (0, "a", 0, 2**32)])
def test_numbers_out_of_range_are_refused(arguments: tuple):
    with pytest.raises(ValueError, match="role_seed"):
        role_seed(*arguments)


def test_training_and_evaluation_seeds_are_disjoint():
    training = training_seeds(np.random.default_rng(0), 10_000)
    evaluation = evaluation_seeds(0, 10_000)
    assert training.min() >= TRAINING_SEEDS[0] == EVALUATION_SEEDS[1] > max(evaluation)
    assert training.max() < TRAINING_SEEDS[1] == 2**32
    assert min(evaluation) >= 0


def test_evaluation_seeds_are_fixed_by_the_run_seed_and_short_lists_begin_long_ones():
    assert evaluation_seeds(3, 100)[:20] == evaluation_seeds(3, 20)
    assert evaluation_seeds(3, 20) != evaluation_seeds(4, 20)
    assert len(set(evaluation_seeds(3, 100))) == 100


def test_a_packed_generator_continues_where_it_was():
    rng = np.random.default_rng(1)
    rng.integers(10, dtype=np.int32)  # leaves half a word in the generator
    packed = pack_generator(rng)
    expected = rng.integers(100, size=5, dtype=np.int32)
    other = np.random.default_rng(2)
    unpack_generator(other, packed)
    np.testing.assert_array_equal(other.integers(100, size=5, dtype=np.int32), expected)


def test_a_foreign_generator_state_is_refused():
    with pytest.raises(ValueError, match="pack_generator of a PCG64"):
        unpack_generator(np.random.default_rng(1), np.frombuffer(b"nonsense", np.uint8))
    with pytest.raises(ValueError, match="pack_generator of a PCG64"):
        unpack_generator(np.random.default_rng(1), np.frombuffer(b'{"bit_generator": "PCG64"}', np.uint8))
