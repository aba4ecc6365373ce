"""What a network sees of frames: the newest n, the newest last, the first one in the place of those before it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.frame_games import SMALL, frame_of, frame_spec, naive_stack

from muzero_ray.core.frames import FrameStacks, stack_frames
from muzero_ray.core.game import GameSpec


def test_a_stack_of_three_frames_by_hand() -> None:
    stacks = FrameStacks(frame_spec(3, (1, 1, 2)), 2)
    frames = np.array([[[[1, 2]]], [[[3, 4]]], [[[5, 6]]], [[[7, 8]]]], np.uint8)
    stacks.start(0, frames[0])
    stacks.start(1, frames[3])
    assert stacks.stacked.tolist() == [[[[1, 2]], [[1, 2]], [[1, 2]]], [[[7, 8]], [[7, 8]], [[7, 8]]]]
    stacks.push(0, frames[1])
    assert stacks.stacked[0].tolist() == [[[1, 2]], [[1, 2]], [[3, 4]]]
    stacks.push(0, frames[2])
    stacks.push(0, frames[3])
    assert stacks.stacked[0].tolist() == [[[3, 4]], [[5, 6]], [[7, 8]]]
    assert stacks.newest.tolist() == [[[[7, 8]]], [[[7, 8]]]]
    stacks.start(0, frames[2])
    assert stacks.stacked[0].tolist() == [[[5, 6]], [[5, 6]], [[5, 6]]]


@settings(max_examples=50, deadline=None)
@given(frame_stack=st.integers(1, 5), restarts=st.lists(st.lists(st.booleans(), min_size=2, max_size=2), max_size=20))
def test_running_stacks_are_those_of_the_slow_twin(frame_stack: int, restarts: list[list[bool]]) -> None:
    stacks = FrameStacks(frame_spec(frame_stack, SMALL), 2)
    games, steps = [0, 1], [0, 0]
    for row in (0, 1):
        stacks.start(row, frame_of(row, 0, SMALL))
    for restart in restarts:
        for row in (0, 1):
            if restart[row]:
                games[row], steps[row] = games[row] + 2, 0
                stacks.start(row, frame_of(games[row], 0, SMALL))
            else:
                steps[row] += 1
                stacks.push(row, frame_of(games[row], steps[row], SMALL))
        for row in (0, 1):
            np.testing.assert_array_equal(stacks.stacked[row], naive_stack(games[row], steps[row], frame_stack, SMALL))
            np.testing.assert_array_equal(stacks.newest[row], frame_of(games[row], steps[row], SMALL))


def test_where_nothing_is_stacked_the_frames_are_what_is_seen_whatever_their_shape() -> None:
    stacks = FrameStacks(GameSpec(observation_shape=(3,), num_actions=2), 2)
    stacks.start(0, np.array([1, 2, 3], np.float32))
    stacks.push(1, np.array([4, 5, 6], np.float32))
    assert stacks.stacked is stacks.newest
    assert stacks.stacked.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert stacks.stacked.dtype == np.float32


def test_vectors_and_games_for_two_are_not_stacked() -> None:
    with pytest.raises(
        ValueError, match=r"spec.frame_stack: 4 needs observations \[C, H, W\], got shape \(3,\); say 1"
    ):
        FrameStacks(GameSpec(observation_shape=(3,), num_actions=2, frame_stack=4), 1)
    with pytest.raises(ValueError, match=r"spec.frame_stack: 2 needs a game for one player, got 2; say 1"):
        FrameStacks(GameSpec(observation_shape=(1, 3, 3), num_actions=2, frame_stack=2, num_players=2), 1)


@pytest.mark.parametrize("frame_stack", [1, 3, 4])
def test_stacks_of_consecutive_frames_are_views_of_them(frame_stack: int) -> None:
    frames = np.stack([[frame_of(game, step, SMALL) for step in range(frame_stack + 5)] for game in (1, 2)])
    stacks = stack_frames(frames, frame_stack)
    assert stacks.shape == (2, 6, frame_stack * 2, 3, 4)
    for row, game in enumerate((1, 2)):
        for k in range(6):
            np.testing.assert_array_equal(stacks[row, k], naive_stack(game, k + frame_stack - 1, frame_stack, SMALL))
    assert np.shares_memory(stacks, frames)
    assert not stacks.flags.writeable
