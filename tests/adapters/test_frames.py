"""Frames are made smaller exactly as the slow twin does it."""

import numpy as np
import pytest
from reference.naive_frames import naive_shrink

from muzero_ray.adapters.frames import FrameShrinker, area_weights, to_grey


@pytest.mark.parametrize(
    ("height", "width", "channels", "size"),
    [(210, 160, 3, 96), (210, 160, 1, 84), (250, 160, 3, 96), (100, 64, 3, 96), (35, 27, 3, 16), (400, 600, 3, 96)],
)
def test_a_smaller_frame_is_the_mean_over_areas_to_the_bit(height: int, width: int, channels: int, size: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)
    frame[:20] = 255  # where sums are largest
    shrink = FrameShrinker((height, width), size)
    assert shrink.shape == (min(height, size), min(width, size))
    small = shrink(frame)
    assert small.dtype == np.uint8
    np.testing.assert_array_equal(small, naive_shrink(frame, *shrink.shape))


def test_two_by_two_pixels_are_averaged_and_halves_rounded_up() -> None:
    frame = np.array([[[0], [1]], [[0], [1]]], np.uint8)  # mean 1/2
    assert FrameShrinker((2, 2), 1)(frame).tolist() == [[[1]]]


def test_a_pixel_that_lies_in_two_is_shared_between_them() -> None:
    # Three pixels become two: 0, 90, 30 -> (2 * 0 + 90) / 3 and (90 + 2 * 30) / 3.
    frame = np.array([[[0], [90], [30]]], np.uint8)
    assert FrameShrinker((1, 3), 2)(frame).tolist() == [[[30, 50]]]
    assert area_weights(3, 2).tolist() == [[2, 1, 0], [0, 1, 2]]


def test_a_small_frame_keeps_its_size_and_is_copied() -> None:
    frame = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    small = FrameShrinker((2, 2), 96)(frame)
    np.testing.assert_array_equal(small, frame.transpose(2, 0, 1))
    assert small.flags.c_contiguous
    frame[:] = 0
    assert small.any()


def test_grey_is_the_eyes_weighting_of_the_colours() -> None:
    frame = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    # 0.299, 0.587 and 0.114 of 255.
    assert to_grey(frame)[0, :, 0].tolist() == [76, 150, 29, 255]
