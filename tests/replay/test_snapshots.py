"""Snapshots of the replay buffer: a restored one goes on as if nothing had happened."""

import io
from dataclasses import replace

import numpy as np
import pytest
from reference.naive_replay import RecordedGame, random_game
from reference.replay_buffers import SPEC, all_indices, make_buffer, priorities_of, whole

from muzero_ray.core.types import Batch, ReanalyzeResult
from muzero_ray.replay.buffer import ReplayBuffer


def assert_same_batch(one: Batch, other: Batch) -> None:
    for field, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(other, field), field)


def used_buffer(**options) -> tuple[ReplayBuffer, list[RecordedGame]]:
    rng = np.random.default_rng(1)
    buffer = make_buffer(prioritized=True, rng=np.random.default_rng(2), **options)
    games = [random_game(rng, game_id) for game_id in range(30)]
    for piece in range(3):
        for game in games:
            if game.delivered < game.length:
                buffer.add(game.next_piece(2 + piece))
    batch = buffer.sample()
    buffer.update_priorities(batch.indices, 3 * rng.random(32))
    request = buffer.reanalyze_request(32)
    buffer.refresh(
        ReanalyzeResult(request.indices, np.eye(3, dtype=np.float32)[rng.integers(3, size=32)], rng.random(32), 3)
    )
    return buffer, games


def through_a_file(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)


@pytest.mark.parametrize("capacity", [64, 10_000])
def test_a_restored_buffer_goes_on_as_if_nothing_had_happened(capacity: int):
    buffer, games = used_buffer(capacity_steps=capacity)
    restored = make_buffer(prioritized=True, capacity_steps=capacity, rng=np.random.default_rng(77))
    for game_id in range(20):
        restored.add(whole(15, game_id, "open"))  # to be forgotten
    restored.load_state_dict(through_a_file(buffer.state_dict()))
    restored.check_valid()
    assert (restored.num_steps, restored.total_steps, restored.num_games, restored.memory_bytes) == (
        buffer.num_steps,
        buffer.total_steps,
        buffer.num_games,
        buffer.memory_bytes,
    )
    for game in games:
        if game.delivered < game.length:
            piece = game.next_piece(100)
            buffer.add(piece)
            restored.add(piece)
        assert_same_batch(buffer.sample(), restored.sample())
        np.testing.assert_array_equal(buffer.reanalyze_request(5).indices, restored.reanalyze_request(5).indices)
    restored.check_valid()


@pytest.mark.parametrize("capacity", [20, 45, 500])
def test_a_buffer_of_another_size_takes_over_the_newest_states(capacity: int):
    buffer, games = used_buffer(capacity_steps=101)
    restored = make_buffer(prioritized=True, capacity_steps=capacity)
    restored.load_state_dict(buffer.state_dict())
    restored.check_valid()
    kept = all_indices(restored)
    assert len(kept) == min(capacity, len(all_indices(buffer)))
    assert restored.total_steps == buffer.total_steps
    one, other = buffer.windows(kept), restored.windows(kept)
    for field in ("observations", "target_values", "value_mask", "target_rewards", "target_policies", "policy_mask"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), field)
    for game in games:
        if game.delivered < game.length:
            restored.add(game.next_piece(100))
            restored.check_valid()


def test_a_uniform_buffer_forgets_the_priorities_of_a_snapshot():
    buffer, _ = used_buffer()
    restored = make_buffer(prioritized=False)
    restored.load_state_dict(buffer.state_dict())
    assert set(priorities_of(restored).values()) == {0.0, 1.0}
    assert (restored.sample().importance_weights == 1).all()


def test_a_snapshot_of_another_game_is_refused():
    buffer, _ = used_buffer()
    other = make_buffer(replace(SPEC, num_actions=4))
    with pytest.raises(ValueError, match=r"stored legal_actions must be bool of shape \(4,\) each.*another game"):
        other.load_state_dict(buffer.state_dict())
