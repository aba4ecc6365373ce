"""One part of the replay buffer, or all of it: the states, what is noted of them, and what is set aside.

A plain object; `replay_shards.py` runs it in the replay-buffer actor's process or in others. Of the other parts it
knows only how many there are: states are named by indices of all parts, see `replay/shards.py`.
"""

import logging
import time
from collections import defaultdict
from dataclasses import replace

import numpy as np

from muzero_ray.actors import build
from muzero_ray.actors.buffer_meter import BufferMeter
from muzero_ray.actors.logs import Logs
from muzero_ray.actors.memory import give_back
from muzero_ray.actors.quarantine import Quarantine
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus
from muzero_ray.core.types import Batch, ReanalyzeRequest, ReanalyzeResult, Trajectory, Weights
from muzero_ray.replay.piece_order import PieceOrder

logger = logging.getLogger(__name__)


class ReplayShard:
    """The states of some of the games; of all, where there is one shard.

    Args:
        config: of the run; its capacities are those of all shards together.
        number: of this one.
        logs: of the run, beside which is kept what cannot be stored.

    Attributes:
        number: of this one.
    """

    def __init__(self, config: Config, number: int, logs: Logs | None) -> None:
        self.number = number
        self._parts = config.replay.shards
        self._buffer = build.make_replay_buffer(config, number)
        self._fresh_values = build.FreshValues(config, logger.warning) if config.reanalyze.fresh_values else None
        self._meter = BufferMeter()
        self._quarantine = Quarantine(logs)
        # As many others may be under way with a delivery, and when one of them has come, another.
        patience = 2 * (config.system.max_pending - 1)
        self._orders: defaultdict[str, PieceOrder] = defaultdict(lambda: PieceOrder(patience))  # by sender

    @property
    def mass(self) -> float:
        """The sum of its priorities."""
        return self._buffer.mass

    @property
    def max_priority(self) -> float:
        """The largest priority that it knows of."""
        return self._buffer.max_priority

    def add(self, delivery: list[Trajectory], sender: str, max_priority: float = 0.0) -> int:
        """Stores a delivery, and what waited for it; answers how many env steps were stored.

        Args:
            delivery: trajectories. What overtook its predecessor waits for it; what cannot be stored is set aside.
            sender: the name of who played them.
            max_priority: the largest that any shard knows of, with which new states enter.
        """
        began = time.perf_counter()
        refused = self._quarantine.count
        self._buffer.raise_max_priority(max_priority)
        trajectories = self._orders[sender].put(delivery)
        stored = [trajectory.num_steps for trajectory in trajectories if self._store(trajectory)]
        refused = self._quarantine.count - refused
        left_out = len(trajectories) - len(stored) - refused
        self._meter.added(len(stored), left_out, time.perf_counter() - began, refused=refused)
        return sum(stored)

    def _store(self, trajectory: Trajectory) -> bool:
        """Whether it was stored; what cannot be is set aside."""
        try:
            return self._buffer.add(trajectory)
        except ValueError as error:
            self._quarantine.put(trajectory, error)
            return False

    def batches(self, count: int, newest_version: int | None) -> list[Batch]:
        """So many batches, of the states of this shard alone; for the version see `ReplayBufferActor.sample`."""
        return [self._meter.sample(self._buffer, newest_version) for _ in range(count)]

    def parts(self, draws: list[np.ndarray], share: float, newest_version: int | None) -> list[Batch | None]:
        """This shard's part of several batches.

        Args:
            draws: for each batch, the fractions of this shard's mass that are drawn at; where there are none, it has
                no part in that batch: None.
            share: of the mass of all shards that this one has.
            newest_version: see `ReplayBufferActor.sample`.
        """
        return [self._part(draw, share, newest_version) if len(draw) else None for draw in draws]

    def _part(self, fractions: np.ndarray, share: float, newest_version: int | None) -> Batch:
        part = self._meter.sample(self._buffer, newest_version, draw=lambda: self._buffer.sample_at(fractions, share))
        return replace(part, indices=self._named(part.indices))

    def reanalyze_request(self, size: int) -> ReanalyzeRequest:
        """So many positions to search again."""
        request = self._buffer.reanalyze_request(size)
        return replace(request, indices=self._named(request.indices))

    def refresh(self, result: ReanalyzeResult) -> None:
        """Writes back what a repeated search found of states of this shard."""
        self._buffer.refresh(replace(result, indices=result.indices // self._parts))

    def update_priorities(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        """Writes back how wrong the values of states of this shard were."""
        self._buffer.update_priorities(indices // self._parts, priorities)

    def set_weights(self, weights: Weights) -> None:
        """Takes fresh values from these weights, if it takes any; until the first ones come, stored values serve."""
        if self._fresh_values is not None:
            self._fresh_values.set_weights(weights)
            self._buffer.bootstrap_from(self._fresh_values)

    def halve(self, at_least: int) -> bool:
        """Gives half of its memory back, unless there would be room for fewer than so many states; whether it did."""
        halved = self._buffer.halve(at_least)
        give_back()
        return halved

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Continues from a `state`."""
        self._buffer.load_state_dict(state)

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps, arrays by name."""
        return self._buffer.state_dict()

    def status(self) -> BufferStatus:
        """How full it is, and what happened since this was last asked; of the pace it knows nothing."""
        return self._meter.status(self._buffer)

    def _named(self, indices: np.ndarray) -> np.ndarray:
        """The names that states of this shard have among those of all."""
        return indices * self._parts + self.number
