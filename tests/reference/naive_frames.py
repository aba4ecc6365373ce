"""Slow twins of what `adapters/frames.py` and `adapters/atari_game.py` do."""

from collections.abc import Iterator, Sequence
from math import gcd

import ale_py
import gymnasium
import numpy as np

gymnasium.register_envs(ale_py)


def naive_shrink(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """`[H, W, C]` to `[C, height, width]`: pixels are cut into equal pieces, which the new ones share."""
    rows, columns = gcd(frame.shape[0], height), gcd(frame.shape[1], width)
    pieces = frame.astype(np.int64).repeat(height // rows, axis=0).repeat(width // columns, axis=1)
    tall, wide = frame.shape[0] // rows, frame.shape[1] // columns
    sums = pieces.reshape(height, tall, width, wide, frame.shape[2]).sum(axis=(1, 3))
    rounded = (2 * sums + tall * wide) // (2 * tall * wide)  # half a unit is rounded up
    return rounded.transpose(2, 0, 1).astype(np.uint8)


def naive_steps(
    env_id: str, actions: Sequence[int], *, skip: int, grey: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray, float, bool]]:
    """Gymnasium's own environment without frame skip, sticky actions and no-op starts, played `skip` frames a step.

    Yields for every step the pixelwise maximum of the last two frames, the last frame (`[H, W, C]` both), the sum of
    rewards and whether the game is over.
    """
    kind = "grayscale" if grey else "rgb"
    env = gymnasium.make(env_id, frameskip=1, repeat_action_probability=0.0, obs_type=kind)
    env.reset(seed=0)
    for action in actions:
        frames, total, over = [], 0.0, False
        for _ in range(skip):
            frame, reward, over, _, _ = env.step(action)
            frames.append(frame[..., None] if grey else frame)
            total += float(reward)
        yield np.stack(frames[-2:]).max(axis=0), frames[-1], total, over
    env.close()
