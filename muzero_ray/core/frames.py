"""Stacking: games hand out single frames, a network sees the newest n of them one behind the other.

Here, and nowhere else, is said how: along the channels, the newest last, and the episode's first frame stands for
those that would have come before it. So self-play, evaluation, replay and reanalyze see the same, bit for bit.
Where n is 1, a frame is what the network sees, and nothing is copied.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from muzero_ray.core.game import GameSpec


class FrameStacks:
    """What the network sees of G running games.

    The loop that calls it:

        stacks.start(row, observation)              # of `reset`
        while True:
            choose(stacks.stacked)
            stacks.push(row, observation)           # of `step`

    Args:
        spec: of the game.
        num_games: G.

    Attributes:
        stacked: `[G, n * C, H, W]`, or `[G, ...]` of observations of any shape where n is 1; written to by `start` and
            `push`.
        newest: `[G, C, H, W]`, a view of the newest frames in it.

    Raises:
        ValueError: if observations without channels are to be stacked, or those of a game for two, which shows what
            has been before by planes of its own.
    """

    def __init__(self, spec: GameSpec, num_games: int) -> None:
        if spec.frame_stack > 1 and len(spec.observation_shape) != 3:
            raise ValueError(
                f"spec.frame_stack: {spec.frame_stack} needs observations [C, H, W], got shape "
                f"{spec.observation_shape}; say 1"
            )
        if spec.frame_stack > 1 and spec.num_players > 1:
            raise ValueError(
                f"spec.frame_stack: {spec.frame_stack} needs a game for one player, got {spec.num_players}; say 1"
            )
        self.stacked = np.empty((num_games, *spec.input_shape), spec.observation_dtype)
        self._num_frames = spec.frame_stack
        self._channels = spec.observation_shape[0]
        self.newest = self.stacked if spec.frame_stack == 1 else self.stacked[:, -self._channels :]

    def start(self, row: int, frame: np.ndarray) -> None:
        """Begins an episode with its first frame, in the place of the game that was there."""
        if self._num_frames == 1:
            self.stacked[row] = frame
        else:
            self.stacked[row] = np.tile(frame, (self._num_frames, 1, 1))

    def push(self, row: int, frame: np.ndarray) -> None:
        """Adds the next frame of an episode; the oldest one drops out."""
        if self._num_frames > 1:
            self.stacked[row, : -self._channels] = self.stacked[row, self._channels :]
        self.newest[row] = frame


def stack_frames(frames: np.ndarray, count: int) -> np.ndarray:
    """What the network sees in each of K + 1 consecutive states.

    Args:
        frames: `[..., count + K, C, H, W]`, those of the states and of the `count` - 1 before the first of them; the
            episode's first frame stands for those that there are not.
        count: n, frames in a stack.

    Returns:
        `[..., K + 1, count * C, H, W]`, a read-only view: each frame is there once, however many stacks it is in.

    >>> stack_frames(np.arange(5).reshape(5, 1, 1, 1), 3)[:, :, 0, 0].tolist()
    [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    """
    *batch, _, channels, height, width = frames.shape
    planes = frames.reshape(*batch, -1, height, width)
    stacks = sliding_window_view(planes, count * channels, axis=-3)[..., ::channels, :, :, :]
    return np.moveaxis(stacks, -1, -3)
