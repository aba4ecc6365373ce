"""Half of the buffer is given back when memory runs out: the oldest states leave, and all else is as it was."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.naive_replay import random_game
from reference.replay_buffers import SPEC, all_indices, make_buffer, priorities_of, whole

from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import ReanalyzeResult, Trajectory

FRAMES = GameSpec(observation_shape=(1, 32, 32), num_actions=3, observation_dtype="uint8", frame_stack=2)


def with_frames(piece: Trajectory) -> Trajectory:
    """The same piece of a game that shows frames; each is of its game and step alone."""
    rng = np.random.default_rng([piece.game_id, piece.first_step])
    frames = rng.integers(0, 255, size=(piece.num_steps + 1, 1, 32, 32), dtype=np.uint8)
    return replace(piece, observations=frames)


def test_oldest_states_leave_and_counters_stay_right():
    buffer = make_buffer(capacity_steps=40, prioritized=True)
    for game_id in range(4):
        buffer.add(whole(9, game_id))  # ten states each
    buffer.update_priorities(np.array([35]), np.array([7.0]))
    before, memory = priorities_of(buffer), buffer.memory_bytes
    assert buffer.halve()
    buffer.check_valid()
    assert (buffer.capacity, buffer.num_steps, buffer.num_games, buffer.total_steps) == (20, 18, 2, 36)
    assert priorities_of(buffer) == {name: p for name, p in before.items() if name[0] in (2, 3)}
    assert buffer.memory_bytes == memory / 2
    buffer.add(whole(9, 4))
    buffer.check_valid()
    assert {game for game, _ in priorities_of(buffer)} == {3, 4}
    assert buffer.total_steps == 45


def test_what_is_written_back_late_reaches_the_state_it_was_meant_for_or_none():
    buffer = make_buffer(capacity_steps=40)
    for game_id in range(4):
        buffer.add(whole(9, game_id))
    buffer.halve()
    policy = np.array([[0.0, 0.0, 1.0]] * 2, np.float32)
    buffer.refresh(ReanalyzeResult(np.array([5, 25]), policy, np.array([1.0, 2.0], np.float32), weights_version=9))
    state = buffer.state_dict()
    [changed] = np.flatnonzero(state["root_values"])
    assert tuple(state["observations"][changed]) == (2, 5)
    assert state["root_values"][changed] == 2.0


def test_it_does_not_shrink_below_what_is_needed():
    buffer = make_buffer(capacity_steps=41)
    assert not buffer.halve(at_least=21)
    assert buffer.capacity == 41
    assert buffer.halve(at_least=20)
    assert [buffer.halve() for _ in range(5)] == [True, True, True, False, False]  # 10, 5, 2
    assert buffer.capacity == 2


def test_memory_of_large_arrays_goes_back_to_the_system():
    spec = GameSpec(observation_shape=(1000,), num_actions=3)
    buffer = make_buffer(spec, capacity_steps=10_000, capacity_bytes=10**9)
    store = buffer._ring.observations._array
    assert store.nbytes == 40_000_000
    buffer.halve()
    assert store.nbytes == 20_000_000, "the same array, not a copy of it beside it"


@pytest.mark.parametrize("spec", [SPEC, FRAMES], ids=["vectors", "frames"])
@settings(max_examples=60, deadline=None)
@given(st.integers(44, 90), st.integers(0, 2**32 - 1))
def test_halved_buffer_is_a_smaller_one_that_was_given_the_same(spec, capacity, seed):
    """After each halving, windows are those of a buffer that has lost nothing."""
    rng = np.random.default_rng(seed)
    halved = make_buffer(spec, capacity_steps=capacity, batch_size=8)
    other = make_buffer(spec, capacity_steps=10_000, batch_size=8)
    games = []
    for game_id in range(30):
        games.append(random_game(rng, game_id, max_length=9))
        piece = games[-1].next_piece(int(rng.integers(1, 10)))
        piece = with_frames(piece) if spec is FRAMES else piece
        for buffer in (halved, other):
            buffer.add(piece)
        if game_id in (11, 20):
            halved.halve()
        halved.check_valid()
        assert (halved.total_steps, halved._ring.end_id) == (other.total_steps, other._ring.end_id)
    held = all_indices(halved)
    assert len(held) <= capacity // 4
    slots = halved._ring.slots(held)
    whole_ones = held[halved._stacks.is_whole(slots) & (halved._ring.states.kinds[slots] == 0)]
    ours, theirs = halved.windows(whole_ones), other.windows(whole_ones)
    for name in ("observations", "target_values", "target_rewards", "target_policies", "policy_mask", "value_mask"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    restored = make_buffer(spec, capacity_steps=capacity, batch_size=8)
    restored.load_state_dict(halved.state_dict())
    restored.check_valid()
    assert (restored.num_steps, restored.total_steps) == (halved.num_steps, halved.total_steps)
