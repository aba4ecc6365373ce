"""How often the replay buffer draws what, with and without priorities."""

import numpy as np
import pytest
from reference.replay_buffers import all_indices, game_of, make_buffer, priorities_of, whole

from muzero_ray.replay.buffer import ReplayBuffer
from muzero_ray.replay.priorities import PRIORITY_EPSILON


def states_drawn(buffer: ReplayBuffer, batches: int) -> np.ndarray:
    """`[n, 2]` game and step of everything drawn."""
    return np.concatenate([buffer.sample().observations for _ in range(batches)]).astype(int)


def test_every_transition_is_equally_likely_whatever_the_length_of_its_game():
    buffer = make_buffer()
    for game_id, length in enumerate([1, 2, 50, 7]):
        buffer.add(whole(length, game_id))
    drawn = states_drawn(buffer, 1000)
    states, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(states) == 60
    np.testing.assert_allclose(counts / len(drawn), 1 / 60, rtol=0.2)
    assert (buffer.sample().importance_weights == 1).all()


def test_a_last_state_is_never_the_start_of_a_window():
    buffer = make_buffer()
    buffer.add(whole(1, 0, "terminated"))
    buffer.add(whole(1, 1, "truncated"))
    assert (states_drawn(buffer, 20)[:, 1] == 0).all()


def test_states_are_drawn_by_priority_and_weighted_against_it():
    errors = np.array([0.0, 1.0, 2.0, 5.0])
    buffer = make_buffer(prioritized=True, priority_exponent=0.5, importance_exponent=0.7, batch_size=4096)
    buffer.add(whole(4, ending="open"))
    buffer.update_priorities(np.arange(4), errors)
    powers = (errors + PRIORITY_EPSILON) ** 0.5
    chances = powers / powers.sum()
    batch = buffer.sample()
    shares = np.bincount(batch.indices, minlength=4) / 4096
    np.testing.assert_allclose(shares, chances, atol=0.002)
    weights = (1 / (4 * chances)) ** 0.7
    np.testing.assert_allclose(
        batch.importance_weights, (weights / weights[batch.indices].max())[batch.indices], rtol=1e-5
    )


def test_after_the_ring_has_wrapped_the_state_with_all_the_priority_is_the_one_drawn():
    buffer = make_buffer(capacity_steps=10, prioritized=True)
    game = game_of(13, 0, "open")
    buffer.add(game.next_piece(7))
    buffer.add(game.next_piece(6))
    buffer.update_priorities(np.arange(3, 13), np.zeros(10))
    buffer.update_priorities(np.array([5]), np.array([1e6]))
    batch = buffer.sample()
    assert (batch.indices == 5).all()
    assert (batch.observations[:, 1] == 5).all()


def test_importance_weighted_mean_is_the_mean_over_all_states():
    rng = np.random.default_rng(5)
    buffer = make_buffer(prioritized=True, importance_exponent=1.0, batch_size=20_000)
    for game_id, length in enumerate([3, 40, 12]):
        buffer.add(whole(length, game_id))
    buffer.update_priorities(all_indices(buffer), rng.uniform(0.1, 5, size=58))
    batch = buffer.sample()
    function = 3.0 * batch.observations[:, 0] + batch.observations[:, 1]
    expected = np.mean([3.0 * game + t for game, length in enumerate([3, 40, 12]) for t in range(length)])
    assert abs(function.mean() - expected) > 0.3, "without weights the mean is biased, or this proves nothing"
    assert np.average(function, weights=batch.importance_weights) == pytest.approx(expected, abs=0.05)


def test_a_state_without_error_is_drawn_again_one_day():
    buffer = make_buffer(prioritized=True)
    buffer.add(whole(50))
    buffer.update_priorities(np.arange(50), np.zeros(50))
    assert len({step for _, step in states_drawn(buffer, 50)}) == 50


def test_new_states_enter_with_the_largest_priority_yet():
    buffer = make_buffer(prioritized=True)
    buffer.add(whole(2, 0))
    assert priorities_of(buffer) == {(0, 0): 1, (0, 1): 1, (0, 2): 0}
    buffer.update_priorities(np.array([0, 1]), np.array([7.0, 0.5]))
    buffer.add(whole(1, 1))
    assert priorities_of(buffer)[1, 0] == pytest.approx(7.0, abs=1e-5)
    assert priorities_of(buffer)[0, 1] == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("prioritized", [True, False])
def test_a_priority_that_is_no_error_is_refused(wrong: float, prioritized: bool):
    buffer = make_buffer(prioritized=prioritized)
    buffer.add(whole(3))
    with pytest.raises(ValueError, match=r"priorities must be finite and at least 0, got .* for index 1"):
        buffer.update_priorities(np.array([0, 1]), np.array([1.0, wrong]))
    buffer.check_valid()


def test_priorities_of_a_uniform_buffer_change_nothing():
    buffer = make_buffer(prioritized=False)
    buffer.add(whole(3))
    buffer.update_priorities(np.arange(3), np.array([5.0, 0, 1]))
    assert list(priorities_of(buffer).values()) == [1, 1, 1, 0]


@pytest.mark.parametrize("call", [lambda buffer: buffer.sample(), lambda buffer: buffer.reanalyze_request(4)])
def test_an_empty_buffer_says_so(call):
    with pytest.raises(ValueError, match="empty buffer"):
        call(make_buffer())
