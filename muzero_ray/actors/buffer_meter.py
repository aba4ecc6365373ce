"""What an operator wants to know of the replay buffer: how fast it answers, and how old its data is.

Filled in where the buffer is called, emptied by each status: numbers are those since the last one.
"""

import time
from collections import deque
from collections.abc import Callable

import numpy as np

from muzero_ray.core.rate_limiter import RateLimiter
from muzero_ray.core.reports import BufferStatus
from muzero_ray.core.types import Batch
from muzero_ray.replay.buffer import ReplayBuffer

_TIMES_KEPT = 1000
"""Latencies between two statuses; of more, the newest count."""


class BufferMeter:
    """Counts and times for one buffer.

    The loop that calls it:

        began = time.perf_counter()
        stored = [buffer.add(trajectory) for trajectory in delivery]
        meter.added(sum(stored), len(stored) - sum(stored), time.perf_counter() - began)
        batch = meter.sample(buffer, newest_version)
        report(meter.status(buffer, limiter))
    """

    def __init__(self) -> None:
        self._added = self._left_out = self._refused = 0
        self._lag: float | None = None
        self._add_seconds: deque[float] = deque(maxlen=_TIMES_KEPT)
        self._sample_seconds: deque[float] = deque(maxlen=_TIMES_KEPT)

    def added(self, stored: int, left_out: int, seconds: float, *, refused: int = 0) -> None:
        """A delivery of so many trajectories, some of which could not be stored, was dealt with in so many seconds."""
        self._added += stored
        self._left_out += left_out
        self._refused += refused
        self._add_seconds.append(seconds)

    def sample(
        self, buffer: ReplayBuffer, newest_version: int | None, draw: Callable[[], Batch] | None = None
    ) -> Batch:
        """Has the buffer make a batch, or `draw` one, and notes how long that took and how old its states are; see
        `sampled`."""
        began = time.perf_counter()
        batch = draw() if draw is not None else buffer.sample()
        seconds = time.perf_counter() - began
        self.sampled(buffer.weights_versions(batch.indices), newest_version, seconds)
        return batch

    def sampled(self, versions: np.ndarray, newest_version: int | None, seconds: float) -> None:
        """A batch was made in so many seconds.

        Args:
            versions: `[B]` int64; of the networks behind its states' policies and values.
            newest_version: of the weights; None leaves the lag as it was.
            seconds: it took.
        """
        if newest_version is not None:
            self._lag = newest_version - float(versions.mean())
        self._sample_seconds.append(seconds)

    def status(self, buffer: ReplayBuffer, limiter: RateLimiter | None = None) -> BufferStatus:
        """How the buffer is doing, and how its pace is held if it has one; what was counted and timed is told once."""
        status = BufferStatus(
            env_steps=buffer.total_steps,
            num_steps=buffer.num_steps,
            memory_bytes=buffer.memory_bytes,
            held_ratios={name: limiter.held_ratio(name) for name in limiter.consumers} if limiter else {},
            trajectories_added=self._added,
            trajectories_left_out=self._left_out,
            trajectories_refused=self._refused,
            weights_lag=self._lag,
            add_seconds=tuple(self._add_seconds),
            sample_seconds=tuple(self._sample_seconds),
        )
        self._added = self._left_out = self._refused = 0
        self._add_seconds.clear()
        self._sample_seconds.clear()
        return status
