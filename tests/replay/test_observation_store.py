"""Frames are held compressed: as they were, in the memory that is allowed, and in snapshots."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from reference.frame_games import LARGE, SMALL, frame_of, frame_spec, name_of, with_frames
from reference.naive_replay import random_game
from reference.replay_buffers import all_indices, game_of, make_buffer
from replay.test_snapshots import assert_same_batch, through_a_file

from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import Trajectory
from muzero_ray.replay.buffer import ReplayBuffer
from muzero_ray.replay.observation_store import CompressedFrames, PlainObservations, make_store


def noise(rng: np.random.Generator, length: int, game_id: int) -> Trajectory:
    """A game whose frames cannot be compressed."""
    frames = rng.integers(256, size=(length + 1, *LARGE), dtype=np.uint8)
    return replace(game_of(length, game_id).next_piece(length), observations=frames)


def test_only_frames_that_are_worth_it_are_compressed() -> None:
    kinds = {
        (LARGE, "uint8"): CompressedFrames,
        (SMALL, "uint8"): PlainObservations,
        (LARGE, "float32"): PlainObservations,
        ((4096,), "uint8"): PlainObservations,
    }
    for (shape, dtype), kind in kinds.items():
        assert type(make_store(GameSpec(shape, 2, observation_dtype=dtype), 3)) is kind


def test_a_store_reads_what_was_written_last_in_any_order_and_shape() -> None:
    rng = np.random.default_rng(0)
    store = CompressedFrames(LARGE, 5)
    frames = rng.integers(4, size=(9, *LARGE), dtype=np.uint8)
    store.write(np.arange(5), frames[:5])
    store.write(np.array([4, 1]), frames[7:])
    np.testing.assert_array_equal(store.read(np.array([[4, 1, 0], [2, 2, 3]])), frames[[[7, 8, 0], [2, 2, 3]]])
    seen = store.read(np.array([0]))
    seen[:] = 0  # a copy
    np.testing.assert_array_equal(store.read(np.array([0])), frames[:1])


def test_frames_that_do_not_lie_in_one_piece_are_stored_as_they_look() -> None:
    store = CompressedFrames(LARGE, 2)
    frames = np.random.default_rng(0).integers(256, size=(2, 24, 24, 2), dtype=np.uint8).transpose(0, 3, 1, 2)
    store.write(np.arange(2), frames)
    np.testing.assert_array_equal(store.read(np.arange(2)), frames)


def test_memory_is_that_of_the_frames_held() -> None:
    store = CompressedFrames(LARGE, 1000)
    frames = np.random.default_rng(0).integers(256, size=(1000, *LARGE), dtype=np.uint8)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    store.write(np.arange(1000), frames)
    store.write(np.arange(500), np.zeros((500, *LARGE), np.uint8))
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.95 < taken / store.nbytes < 1.05
    assert 500 * 1152 < store.nbytes < 500 * 1152 * 1.2
    store.clear(np.arange(1000))
    assert store.nbytes == 0


def test_the_budget_in_bytes_holds_while_frames_change_in_size() -> None:
    rng = np.random.default_rng(0)
    buffer = make_buffer(frame_spec(3), capacity_bytes=200_000, batch_size=16)
    held = []
    for game_id in range(60):
        plain = game_id // 10 % 2 == 0
        piece = with_frames(game_of(12, game_id).next_piece(12)) if plain else noise(rng, 12, game_id)
        buffer.add(piece)
        buffer.check_valid()
        assert buffer.memory_bytes <= 200_000
        assert_draws_last_games(buffer)
        held.append(buffer.num_steps)
    # 1470 slots of 69 bytes and of frames of 67 at the least make 200 KB. That leaves 98,570 bytes for frames: 81 of
    # noise, of 1158 bytes and 49 around them, 6 of them last states. Ten games of plain frames fit whole.
    assert buffer.capacity == 1470
    assert held[9] == 120 < held[29]
    assert 73 <= held[19] <= 76


def assert_draws_last_games(buffer: ReplayBuffer) -> None:
    first = all_indices(buffer)[0]
    assert (buffer.sample().indices >= first).all()
    assert (buffer.reanalyze_request(16).indices >= first).all()


def test_a_piece_larger_than_the_budget_leaves_its_newest_part() -> None:
    buffer = make_buffer(frame_spec(2), capacity_bytes=100_000)
    piece = noise(np.random.default_rng(0), 300, 7)
    buffer.add(piece)
    buffer.check_valid()
    assert buffer.memory_bytes <= 100_000
    count = len(all_indices(buffer))
    assert count == 40  # 735 slots of 69 bytes leave 49,285: frames of 1158 bytes and 49 around them
    batch = buffer.windows(all_indices(buffer)[1:])
    np.testing.assert_array_equal(batch.observations[:, 2:], piece.observations[-count + 1 :])


def test_what_left_for_want_of_memory_is_not_trained_or_refreshed() -> None:
    buffer = make_buffer(frame_spec(2), capacity_bytes=100_000, prioritized=True)
    buffer.add(noise(np.random.default_rng(0), 60, 0))
    old = buffer.sample().indices
    buffer.add(noise(np.random.default_rng(1), 60, 1))
    buffer.update_priorities(old, np.full(len(old), 99.0))
    buffer.check_valid()
    assert (buffer.sample().indices > old.max()).all()


def used_buffer(**options: object) -> tuple[ReplayBuffer, list]:
    rng = np.random.default_rng(1)
    buffer = make_buffer(frame_spec(3), prioritized=True, rng=np.random.default_rng(2), **options)
    games = [random_game(rng, game_id) for game_id in range(40)]
    for _ in range(2):
        for game in games:
            if game.delivered < game.length:
                buffer.add(with_frames(game.next_piece(3)))
    buffer.update_priorities(buffer.sample().indices, 3 * rng.random(32))
    return buffer, games


@pytest.mark.parametrize("options", [{}, {"capacity_steps": 64}, {"capacity_bytes": 30_000}])
def test_a_restored_buffer_of_frames_goes_on_as_if_nothing_had_happened(options: dict) -> None:
    buffer, games = used_buffer(**options)
    restored = make_buffer(frame_spec(3), prioritized=True, rng=np.random.default_rng(77), **options)
    restored.add(with_frames(game_of(15, 100).next_piece(15)))  # to be forgotten
    state = through_a_file(buffer.state_dict())
    restored.load_state_dict(state)
    restored.check_valid()
    assert restored.num_steps == buffer.num_steps
    for game in games:
        if game.delivered < game.length:
            piece = with_frames(game.next_piece(100))
            buffer.add(piece)
            restored.add(piece)
        assert_same_batch(buffer.sample(), restored.sample())
        one, other = buffer.reanalyze_request(5), restored.reanalyze_request(5)
        np.testing.assert_array_equal(one.indices, other.indices)
        np.testing.assert_array_equal(one.observations, other.observations)
    restored.check_valid()


def test_a_snapshot_holds_frames_compressed() -> None:
    buffer = make_buffer(frame_spec(4))
    for game_id in range(20):
        buffer.add(with_frames(game_of(50, game_id).next_piece(50)))
    state = buffer.state_dict()
    assert state["frames"].dtype == np.uint8
    assert len(state["frames"]) == state["frame_lengths"].sum() < 20 * 51 * 1152 / 10
    assert all(array.dtype != object for array in state.values())


@pytest.mark.parametrize("capacity", [20, 45])
def test_a_smaller_buffer_takes_over_the_newest_frames(capacity: int) -> None:
    buffer, _ = used_buffer()
    restored = make_buffer(frame_spec(3), capacity_steps=capacity)
    restored.load_state_dict(buffer.state_dict())
    restored.check_valid()
    kept = all_indices(restored)
    assert len(kept) == capacity
    drawn = restored.sample()
    assert_same_batch(drawn, replace(buffer.windows(drawn.indices), actions=drawn.actions))


def test_a_smaller_budget_takes_over_the_newest_frames() -> None:
    buffer, _ = used_buffer()
    restored = make_buffer(frame_spec(3), capacity_bytes=15_000)
    restored.load_state_dict(buffer.state_dict())
    restored.check_valid()
    assert restored.memory_bytes <= 15_000
    assert all_indices(restored)[-1] == all_indices(buffer)[-1]
    assert len(all_indices(restored)) < len(all_indices(buffer))
    restored.sample()


def test_a_snapshot_of_plain_frames_is_compressed_when_it_is_loaded() -> None:
    buffer, _ = used_buffer()
    state = buffer.state_dict()
    plain = np.stack([frame_of(*name_of(seen)) for seen in latest_frames(buffer)])
    for name in ("frames", "frame_lengths", "frame_shape"):
        del state[name]
    restored = make_buffer(frame_spec(3), prioritized=True)
    restored.load_state_dict({**state, "observations": plain})
    assert_same_batch(buffer.sample(), restored.sample())


def latest_frames(buffer: ReplayBuffer) -> np.ndarray:
    """The newest frame of every state held."""
    other = make_buffer(frame_spec(1))
    state = buffer.state_dict()
    other.load_state_dict(state)
    return other.windows(all_indices(other)).observations


def test_a_snapshot_from_before_frames_were_stacked_goes_on_with_links_back() -> None:
    buffer = make_buffer(frame_spec(3))
    buffer.add(with_frames(game_of(6).next_piece(6)))
    state = buffer.state_dict()
    del state["predecessors"]
    restored = make_buffer(frame_spec(3))
    restored.load_state_dict(state)
    restored.check_valid()
    # Whether the first state was the first of its game is not known, so it and the next do not stand alone.
    assert {name_of(seen)[1] for _ in range(9) for seen in restored.sample().observations} == {2, 3, 4, 5}


def test_snapshots_of_other_frames_and_damaged_ones_are_refused() -> None:
    buffer, _ = used_buffer()
    state = buffer.state_dict()
    other = make_buffer(frame_spec(3, (2, 24, 48)))
    with pytest.raises(ValueError, match=r"stored frames must be of shape \(2, 24, 48\), got \(2, 24, 24\)"):
        other.load_state_dict(state)
    with pytest.raises(
        ValueError, match=r"stored observations must be uint8 of shape \(2, 3, 4\) each, got compressed"
    ):
        make_buffer(frame_spec(3, SMALL)).load_state_dict(state)
    same = make_buffer(frame_spec(3))
    with pytest.raises(ValueError, match=r"stored frame \d+ .* damaged"):
        same.load_state_dict({**state, "frames": np.full_like(state["frames"], 255)})
    with pytest.raises(ValueError, match="damaged"):
        same.load_state_dict({**state, "frames": state["frames"][:-50]})
    assert len(same.state_dict()["priorities"]) == 0
