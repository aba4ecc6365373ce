"""A game whose every frame is unlike any other, and a slow twin of stacking: for proving that no frame slips."""

import dataclasses
from typing import Any

import numpy as np

from muzero_ray.core.game import Game, GameSpec
from muzero_ray.core.types import Trajectory

SMALL = (2, 3, 4)
"""Shape of frames that are too small to be compressed."""
LARGE = (2, 24, 24)
"""Shape of frames that are compressed."""


def frame_spec(frame_stack: int, shape: tuple[int, int, int] = LARGE) -> GameSpec:
    return GameSpec(observation_shape=shape, num_actions=3, observation_dtype="uint8", frame_stack=frame_stack)


def frame_of(game: int, step: int, shape: tuple[int, int, int] = LARGE) -> np.ndarray:
    """The frame of one step of one game; game and step can be read from it."""
    frame = np.full(shape, (7 * game + 3 * step) % 251, np.uint8)
    frame[0].flat[:4] = frame[1].flat[:4] = np.array([game % 256, game // 256 % 256, step % 256, step // 256], np.uint8)
    frame[1] ^= 255
    return frame


def name_of(frame: np.ndarray) -> tuple[int, int]:
    """The (game, step) of a frame, or of the newest one in a stack."""
    low, high, step, steps = frame[-2].ravel()[:4].tolist()
    return low + 256 * high, step + 256 * steps


def naive_stack(
    game: int, step: int, frame_stack: int, shape: tuple[int, int, int] = LARGE, first_step: int = 0
) -> np.ndarray:
    """What the network sees in one step of a game that began at `first_step`."""
    stack: list[np.ndarray] = []
    for back in range(frame_stack):
        stack.insert(0, frame_of(game, max(first_step, step - back), shape))
    return np.concatenate(stack)


def with_frames(piece: Trajectory, shape: tuple[int, int, int] = LARGE) -> Trajectory:
    """A piece of a game of `naive_replay`, seen in frames."""
    steps = piece.first_step + np.arange(piece.num_steps + 1)
    return dataclasses.replace(
        piece, observations=np.stack([frame_of(piece.game_id, step, shape) for step in steps.tolist()])
    )


class FrameGame(Game):
    """Lasts 1 to 9 steps, by its seed; every third game is truncated, the others are terminated."""

    def __init__(self, frame_stack: int, shape: tuple[int, int, int] = LARGE) -> None:
        self.spec = frame_spec(frame_stack, shape)
        self._shape = shape

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        self._game, self._step = seed % 65536, 0
        return frame_of(self._game, 0, self._shape), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._step += 1
        over, truncates = self._step == 1 + self._game % 9, self._game % 3 == 0
        return frame_of(self._game, self._step, self._shape), 1.0, over and not truncates, over and truncates, {}
