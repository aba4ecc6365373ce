"""The replay buffer: what is kept, how the pieces of a game join, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.naive_replay import RecordedGame, random_game
from reference.replay_buffers import all_indices, game_of, make_buffer, priorities_of, whole

from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import ReanalyzeResult


def test_counts_follow_what_is_added():
    buffer = make_buffer()
    game = game_of(10)
    buffer.add(game.next_piece(6))
    assert (buffer.num_steps, buffer.total_steps, buffer.num_games) == (6, 6, 0)
    buffer.add(game.next_piece(6))
    assert (buffer.num_steps, buffer.total_steps, buffer.num_games) == (10, 10, 1)


def test_capacity_in_steps_keeps_the_newest():
    buffer = make_buffer(capacity_steps=30)
    for game_id in range(10):
        buffer.add(whole(9, game_id))
        buffer.check_valid()
    assert buffer.total_steps == 90
    assert set(priorities_of(buffer)) == {(game, step) for game in (7, 8, 9) for step in range(10)}
    assert buffer.num_steps == 27


def test_what_a_last_state_lacks_is_nothing_that_lay_in_its_slot_before():
    rng = np.random.default_rng(0)
    buffer = make_buffer(capacity_steps=6)
    for game_id in range(10):
        buffer.add(random_game(rng, game_id, max_length=4, ending="truncated").next_piece(4))
    state = buffer.state_dict()
    last = state["kinds"] != 0
    assert last.any()
    for field in ("actions", "rewards", "search_policies", "successors"):
        assert not state[field][last].any(), field
    assert state["legal_actions"][last].all()


def test_capacity_in_bytes_holds_all_arrays():
    spec = GameSpec(observation_shape=(8, 8, 3), num_actions=4, observation_dtype="uint8")
    buffer = make_buffer(spec, capacity_bytes=100_000)
    piece = replace(
        whole(90, ending="open"),
        observations=np.zeros((91, 8, 8, 3), np.uint8),
        legal_actions=np.ones((90, 4), bool),
        search_policies=np.full((90, 4), 0.25, np.float32),
    )
    for game_id in range(20):
        buffer.add(replace(piece, game_id=game_id))
    state = buffer.state_dict()
    per_state = [value.nbytes for value in state.values() if len(value.shape) and len(value) == buffer.num_steps]
    assert 90_000 < sum(per_state) <= buffer.memory_bytes <= 100_000
    assert buffer.num_steps == buffer.capacity > 100


def test_capacity_too_small_for_a_transition_is_refused():
    with pytest.raises(ValueError, match="capacity_bytes must hold at least 2 states"):
        make_buffer(capacity_bytes=20)
    with pytest.raises(ValueError, match="capacity must be at least 2 states, got 1"):
        make_buffer(capacity_steps=1)


@pytest.mark.parametrize("ending", ["terminated", "truncated", "resigned", "open"])
def test_of_a_trajectory_larger_than_the_buffer_the_newest_part_is_kept(ending: str):
    buffer = make_buffer(capacity_steps=8)
    buffer.add(whole(5, game_id=0))
    game = game_of(60, 1, ending)
    buffer.add(game.next_piece(20))
    buffer.add(game.next_piece(40))
    buffer.check_valid()
    newest = 59 if ending == "open" else 60
    assert set(priorities_of(buffer)) == {(1, step) for step in range(newest - 7, newest + 1)}
    assert buffer.total_steps == 65
    assert buffer.num_steps == (8 if ending == "open" else 7)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), capacity=st.integers(2, 40), prioritized=st.booleans())
def test_buffer_stays_valid_under_any_sequence_of_operations(seed: int, capacity: int, prioritized: bool):
    rng = np.random.default_rng(seed)
    buffer = make_buffer(capacity_steps=capacity, prioritized=prioritized, batch_size=4)
    games: list[RecordedGame] = []
    indices = np.zeros(0, np.int64)
    for _ in range(40):
        match int(rng.integers(6)):
            case 0 | 1 | 2:
                waiting = [game for game in games if game.delivered < game.length]
                if not waiting or rng.random() < 0.4:
                    games.append(random_game(rng, len(games)))
                    waiting = [games[-1]]
                buffer.add(waiting[rng.integers(len(waiting))].next_piece(int(rng.integers(1, 8))))
            case 3 if buffer.num_steps:
                indices = np.concatenate([indices, buffer.sample().indices, buffer.reanalyze_request(3).indices])
            case 4:
                buffer.update_priorities(indices, rng.random(len(indices)))
            case 5:
                policies = np.tile(np.float32([0, 1, 0]), (len(indices), 1))
                buffer.refresh(ReanalyzeResult(indices, policies, rng.random(len(indices)), 1))
        buffer.check_valid()
    assert buffer.total_steps == sum(game.delivered for game in games)


def test_a_piece_whose_predecessor_was_lost_stands_alone():
    buffer = make_buffer()
    game = game_of(12, ending="open")
    buffer.add(game.next_piece(4))
    game.next_piece(4)
    buffer.add(game.next_piece(4))
    buffer.check_valid()
    batch = buffer.windows(np.array([3, 4]))
    assert batch.observation_mask.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_piece_that_comes_twice_is_left_out_and_changes_nothing():
    buffer = make_buffer()
    piece = game_of(12, ending="open").next_piece(4)
    assert buffer.add(piece)
    assert not buffer.add(piece)
    assert buffer.total_steps == buffer.num_steps == 4
    buffer.check_valid()


def test_a_game_that_waits_longer_than_the_buffer_remembers_is_not_joined():
    buffer = make_buffer(capacity_steps=10)
    game = game_of(6, 0, "open")
    buffer.add(game.next_piece(3))
    buffer.add(whole(9, 1))
    buffer.add(game.next_piece(3))
    buffer.check_valid()
    batch = buffer.windows(all_indices(buffer)[-3:])
    assert batch.observations[:, 1].tolist() == [3, 4, 5]
    assert batch.observation_mask.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.full(5, np.nan, np.float32)}, "rewards must be finite"),
        (
            {"observations": np.zeros((6, 3), np.float32)},
            r"must be float32 of shape \(2,\), got float32 of shape \(3,\)",
        ),
        ({"observations": np.zeros((6, 2))}, "must be float32 of shape .* got float64"),
    ],
)
def test_a_malformed_trajectory_is_refused_and_changes_nothing(change: dict, message: str):
    buffer = make_buffer()
    with pytest.raises(ValueError, match=message):
        buffer.add(replace(whole(5), **change))
    assert buffer.total_steps == buffer.num_steps == buffer.num_games == 0
