"""Frames are stacked at sampling time: each window sees what the player saw, or is not drawn."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.fake_planner import FakeModel, FakePlanner
from reference.frame_games import LARGE, SMALL, FrameGame, frame_of, frame_spec, naive_stack, name_of, with_frames
from reference.naive_replay import RecordedGame, random_game
from reference.replay_buffers import all_indices, game_of, make_buffer

from muzero_ray.play.self_play import SelfPlayer
from muzero_ray.replay.buffer import ReplayBuffer

STACKS = pytest.mark.parametrize("frame_stack", [1, 3, 4])


def frame_buffer(frame_stack: int, shape: tuple[int, int, int] = LARGE, **options: Any) -> ReplayBuffer:
    return make_buffer(frame_spec(frame_stack, shape), **options)


def assert_stacked(batch: Any, frame_stack: int, shape: tuple[int, int, int] = LARGE) -> None:
    """Every recorded state of every window is the stack of the step that its newest frame names, in order."""
    assert batch.observations.dtype == np.uint8
    assert batch.observations.shape[1:] == (frame_stack * shape[0], *shape[1:])
    for row, seen in enumerate(batch.observations):
        game, step = name_of(seen)
        np.testing.assert_array_equal(seen, naive_stack(game, step, frame_stack, shape))
        for k in np.flatnonzero(batch.observation_mask[row]):
            reached = naive_stack(game, step + int(k) + 1, frame_stack, shape)
            np.testing.assert_array_equal(batch.next_observations[row, k], reached)


@STACKS
@pytest.mark.parametrize("shape", [SMALL, LARGE])
@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_every_index_of_a_game_is_stacked_the_first_and_the_last_included(
    length: int, shape: tuple[int, int, int], frame_stack: int
) -> None:
    buffer = frame_buffer(frame_stack, shape)
    buffer.add(with_frames(game_of(length, 5).next_piece(length), shape))
    batch = buffer.windows(all_indices(buffer))
    assert [name_of(seen) for seen in batch.observations] == [(5, step) for step in range(length + 1)]
    assert_stacked(batch, frame_stack, shape)


def test_the_first_windows_of_a_game_by_hand() -> None:
    buffer = frame_buffer(3, (1, 1, 1))
    frames = np.array([10, 11, 12, 13, 14, 15], np.uint8).reshape(6, 1, 1, 1)
    buffer.add(replace(game_of(5).next_piece(5), observations=frames))
    batch = buffer.windows(np.array([0, 1, 4]))
    assert batch.observations[:, :, 0, 0].tolist() == [[10, 10, 10], [10, 10, 11], [12, 13, 14]]
    assert batch.next_observations[:2, :, :, 0, 0].tolist() == [
        [[10, 10, 11], [10, 11, 12], [11, 12, 13]],
        [[10, 11, 12], [11, 12, 13], [12, 13, 14]],
    ]
    assert batch.next_observations[2, 0, :, 0, 0].tolist() == [13, 14, 15]
    assert batch.observation_mask.tolist() == [[1, 1, 1], [1, 1, 1], [1, 0, 0]]


@STACKS
def test_stacks_run_across_the_pieces_of_a_game(frame_stack: int) -> None:
    buffer = frame_buffer(frame_stack)
    games = [game_of(11, game_id) for game_id in range(3)]
    for size in (1, 2, 1, 3, 1, 1, 4):
        for game in games:
            if game.delivered < game.length:
                buffer.add(with_frames(game.next_piece(size)))
                buffer.check_valid()
    batch = buffer.windows(all_indices(buffer))
    assert_stacked(batch, frame_stack)
    assert {name_of(seen) for seen in batch.observations} == {(game, step) for game in range(3) for step in range(12)}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32), capacity=st.integers(6, 60), frame_stack=st.integers(1, 5), prioritized=st.booleans()
)
def test_what_is_drawn_is_stacked_as_by_the_slow_twin_whatever_was_lost_or_has_left(
    seed: int, capacity: int, frame_stack: int, prioritized: bool
) -> None:
    rng = np.random.default_rng(seed)
    buffer = frame_buffer(frame_stack, SMALL, capacity_steps=capacity, prioritized=prioritized, batch_size=8)
    games: list[RecordedGame] = []
    held: list[tuple[int, int]] = []  # (game, step) of all states ever stored, in order
    whole: set[tuple[int, int]] = set()  # those of them of which all frames are held now
    for _ in range(40):
        waiting = [game for game in games if game.delivered < game.length]
        if not waiting or rng.random() < 0.3:
            games.append(random_game(rng, len(games)))
            waiting = [games[-1]]
        piece = waiting[rng.integers(len(waiting))].next_piece(int(rng.integers(1, 6)))
        if rng.random() < 0.15:
            continue  # lost on its way
        buffer.add(with_frames(piece, SMALL))
        ended = piece.terminated or piece.truncated
        held += [(piece.game_id, piece.first_step + t) for t in range(piece.num_steps + ended)]
        buffer.check_valid()
        there = set(held[-capacity:])
        whole = {(g, s) for g, s in there if all((g, max(0, s - back)) in there for back in range(frame_stack))}
        assert_draws_only(buffer, whole, games, frame_stack)
    for index, name in zip(all_indices(buffer), held[-capacity:], strict=True):
        if name in whole:
            assert_stacked(buffer.windows(np.array([index])), frame_stack, SMALL)
        else:
            with pytest.raises(ValueError, match="cannot be stacked"):
                buffer.windows(np.array([index]))


def assert_draws_only(
    buffer: ReplayBuffer, whole: set[tuple[int, int]], games: list[RecordedGame], frame_stack: int
) -> None:
    """Batches and requests hold stacks of whole states, if there are any from which an action was played."""
    if not any(step < games[game].length for game, step in whole):
        with pytest.raises(ValueError, match="replay: nothing can be drawn"):
            buffer.sample()
        return
    batch, request = buffer.sample(), buffer.reanalyze_request(8)
    assert {name_of(seen) for seen in [*batch.observations, *request.observations]} <= whole
    assert len(batch.observations) == len(request.observations) == 8
    assert_stacked(batch, frame_stack, SMALL)
    for seen in request.observations:
        np.testing.assert_array_equal(seen, naive_stack(*name_of(seen), frame_stack, SMALL))


def test_every_whole_state_is_drawn() -> None:
    buffer = frame_buffer(3, SMALL, capacity_steps=30, batch_size=64)
    lost = game_of(12, 1, "open")
    lost.next_piece(4)
    for piece in (lost.next_piece(8), game_of(9, 2).next_piece(9)):
        buffer.add(with_frames(piece, SMALL))
    drawn = {name_of(seen) for _ in range(20) for seen in buffer.sample().observations}
    assert drawn == {(1, step) for step in range(6, 12)} | {(2, step) for step in range(9)}
    asked = {name_of(seen) for _ in range(20) for seen in buffer.reanalyze_request(64).observations}
    assert asked == drawn


def test_states_are_drawn_with_equal_probability_though_some_are_turned_down() -> None:
    buffer = frame_buffer(4, SMALL, batch_size=50)
    lost = game_of(30, 1, "open")
    lost.next_piece(4)
    buffer.add(with_frames(lost.next_piece(26), SMALL))  # of 26 states, 3 are not whole
    counts = np.zeros(30)
    for _ in range(400):
        batch = buffer.sample()
        assert (batch.importance_weights == 1).all()
        np.add.at(counts, [name_of(seen)[1] for seen in batch.observations], 1)
    assert (counts[:7] == 0).all()
    np.testing.assert_allclose(counts[7:], 20_000 / 23, rtol=0.15)


def test_a_window_from_a_state_that_is_not_whole_is_refused() -> None:
    buffer = frame_buffer(3)
    game = game_of(12, ending="open")
    game.next_piece(4)
    buffer.add(with_frames(game.next_piece(4)))
    with pytest.raises(ValueError, match=r"replay: state 1 cannot be stacked, as not all of the 2 frames before it"):
        buffer.windows(np.array([3, 1]))
    assert_stacked(buffer.windows(np.array([2, 3])), 3)


def test_where_no_state_is_whole_it_is_said_so() -> None:
    buffer = frame_buffer(4, capacity_steps=3)
    buffer.add(with_frames(game_of(12).next_piece(12)))
    for draw in (buffer.sample, lambda: buffer.reanalyze_request(2)):
        with pytest.raises(
            ValueError, match="there is no state of which the 3 frames before it are held; raise replay"
        ):
            draw()


@STACKS
def test_values_are_asked_of_stacks(frame_stack: int) -> None:
    buffer = frame_buffer(frame_stack, td_steps=2, discount=1.0)
    asked = []

    def value_function(observations: np.ndarray) -> np.ndarray:
        asked.append(observations)
        return np.array([name_of(seen)[1] for seen in observations], np.float32)

    buffer.bootstrap_from(value_function)
    buffer.add(with_frames(game_of(9, 3).next_piece(9)))
    batch = buffer.windows(np.array([0, 1, 5]))
    assert asked[0].shape == (3 * 4, 2 * frame_stack, 24, 24)
    for seen in asked[0]:
        np.testing.assert_array_equal(seen, naive_stack(*name_of(seen), frame_stack))
    assert batch.target_values.tolist() == [[2, 3, 4, 5], [3, 4, 5, 6], [7, 8, 0, 0]]


@STACKS
def test_without_consistency_batches_hold_first_states_only(frame_stack: int) -> None:
    buffer = frame_buffer(frame_stack, with_next_observations=False)
    buffer.add(with_frames(game_of(9, 3).next_piece(9)))
    batch = buffer.sample()
    assert batch.next_observations is batch.frames is None
    for seen in batch.observations:
        np.testing.assert_array_equal(seen, naive_stack(*name_of(seen), frame_stack))


@STACKS
def test_a_batch_travels_with_every_frame_once(frame_stack: int) -> None:
    buffer = frame_buffer(frame_stack)
    buffer.add(with_frames(game_of(9, 3).next_piece(9)))
    batch = buffer.sample()
    buffers: list[pickle.PickleBuffer] = []
    packed = pickle.dumps(batch, protocol=5, buffer_callback=buffers.append)
    travelled = len(packed) + sum(memoryview(each).nbytes for each in buffers)
    frames = 32 * (frame_stack + 3) * 2 * 24 * 24  # B windows of n + K frames
    assert frames < travelled < frames + 20_000
    arrived = pickle.loads(packed, buffers=buffers)
    for name, value in vars(batch).items():
        np.testing.assert_array_equal(getattr(arrived, name), value, name)


@STACKS
def test_the_player_the_learner_and_reanalyze_see_the_same(frame_stack: int) -> None:
    planner = FakePlanner()
    seed = np.random.SeedSequence(5)
    player = SelfPlayer(lambda: FrameGame(frame_stack), planner, FakeModel(), num_games=3, seed=seed)
    player.set_weights({"scale": np.array([1.0])}, 0)
    buffer = frame_buffer(frame_stack, capacity_steps=70, batch_size=64)
    for _ in range(40):
        for piece in player.play(4)[0]:
            buffer.add(piece)
    seen = {name_of(row): row for call in planner.calls for row in call["observations"]}
    drawn = [buffer.sample() for _ in range(10)]
    asked = [buffer.reanalyze_request(64).observations for _ in range(10)]
    played = 0
    for row in np.concatenate([*[batch.observations for batch in drawn], *asked]):
        if (player_saw := seen.get(name_of(row))) is not None:  # the last state of a truncated game was not searched
            np.testing.assert_array_equal(row, player_saw)
            played += 1
    assert played > 1000
    for batch in drawn:
        assert_stacked(batch, frame_stack)


@STACKS
def test_one_frame_of_a_game_is_enough_to_name_it(frame_stack: int) -> None:
    # The twin itself: no two frames are alike, and names are read back.
    names = [(game, step) for game in (0, 1, 255, 256, 65535) for step in (0, 1, 255, 256)]
    assert [name_of(naive_stack(*name, frame_stack)) for name in names] == names
    assert len({frame_of(*name).tobytes() for name in names}) == len(names)
