"""The replay-buffer actor: the buffer, and the pace between acting and learning.

Whoever is ahead waits here until the others have caught up: a delivery is acknowledged when more may be
played, a batch is answered when it may be trained on. The pace is never kept by sleeping.
"""

import asyncio
import logging
import time
from collections import defaultdict
from typing import Any

import numpy as np

from muzero_ray.actors import build, names
from muzero_ray.actors.buffer_meter import BufferMeter
from muzero_ray.actors.logs import Logs, start_logging
from muzero_ray.actors.quarantine import Quarantine
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus
from muzero_ray.core.types import Batch, ReanalyzeRequest, ReanalyzeResult, Trajectory, Weights

logger = logging.getLogger(__name__)

_INSERT = "insert"
"""What deliveries wait for; others wait for the turn of a consumer, by its name."""


class ReplayBufferActor:
    """`replay.buffer.ReplayBuffer` and `core.rate_limiter.RateLimiter` behind one door.

    All methods are coroutines on one thread: each runs to its end or to its `await` undisturbed.
    """

    def __init__(self, config: Config, num_actors: int, logs: Logs | None = None) -> None:
        start_logging(names.BUFFER, logs)
        self._buffer = build.make_replay_buffer(config)
        self._fresh_values = build.FreshValues(config) if config.reanalyze.fresh_values else None
        self._limiter = build.make_rate_limiter(config, num_actors)
        self._meter = BufferMeter()
        self._quarantine = Quarantine(logs)
        self._batch_size = config.train.batch_size
        self._reanalyze_size = config.reanalyze.batch_size
        self._closed = False
        self._waiting: defaultdict[str, list[asyncio.Future[None]]] = defaultdict(list)  # by what they wait for
        self._started = asyncio.Event()

    async def start(self, state: dict[str, Any] | None) -> BufferStatus:
        """Begins empty, or continues from a checkpoint's state. All other calls wait for it."""
        if state is not None:
            self._buffer.load_state_dict(state["buffer"])
            self._limiter.load_state_dict(state["limiter"])
        logger.info("started with %s of %s env steps", self._buffer.num_steps, self._buffer.total_steps)
        self._started.set()
        return await self.status()

    async def add(self, trajectories: list[Trajectory]) -> BufferStatus:
        """Stores a delivery at once; answers when its sender may play on."""
        await self._started.wait()
        began = time.perf_counter()
        refused = self._quarantine.count
        stored = [trajectory.num_steps for trajectory in trajectories if self._store(trajectory)]
        refused = self._quarantine.count - refused
        left_out = len(trajectories) - len(stored) - refused
        self._meter.added(len(stored), left_out, time.perf_counter() - began, refused=refused)
        self._limiter.inserted(sum(stored))
        self._wake()
        await self._wait_for(_INSERT)
        return await self.status()

    def _store(self, trajectory: Trajectory) -> bool:
        """Whether it was stored; what cannot be is set aside."""
        try:
            return self._buffer.add(trajectory)
        except ValueError as error:
            self._quarantine.put(trajectory, error)
            return False

    async def sample(
        self, most: int, newest_version: int | None = None, ranks: int = 1
    ) -> list[Batch] | tuple[list[Batch], ...]:
        """Batches, when one may be trained on: as many as may be, at most so many.

        Sent together they cost fewer messages. None come once intake is closed and all has been trained.

        Args:
            most: batches wanted.
            newest_version: of the weights, if the asker knows it: how much older the data is, `status` then tells.
            ranks: of the trainer. Of more than one, each gets as many batches of its own, drawn for it alone, whose
                sizes add up to `train.batch_size`: a tuple of lists, to travel one by one (`num_returns`).
        """
        await self._may_consume("train")
        batches: tuple[list[Batch], ...] = tuple([] for _ in range(ranks))
        while len(batches[0]) < most and self._limiter.may_consume("train"):
            self._limiter.consumed("train", self._batch_size)
            for own in batches:
                own.append(self._meter.sample(self._buffer, newest_version))
        self._wake()
        return batches[0] if ranks == 1 else batches

    async def reanalyze_request(self) -> ReanalyzeRequest | None:
        """Positions to search again, when it is time; None once intake is closed and all is done."""
        if not await self._may_consume("reanalyze"):
            return None
        self._limiter.consumed("reanalyze", self._reanalyze_size)
        self._wake()
        return self._buffer.reanalyze_request(self._reanalyze_size)

    async def refresh(self, result: ReanalyzeResult) -> None:
        """Writes back what a repeated search found."""
        self._buffer.refresh(result)

    async def update_priorities(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        """Writes back how wrong the value of each trained position was."""
        self._buffer.update_priorities(indices, priorities)

    async def set_weights(self, weights: Weights) -> None:
        """Takes fresh values from these weights, if it takes any; until the first ones come, stored values serve."""
        if self._fresh_values is not None:
            self._fresh_values.set_weights(weights)
            self._buffer.bootstrap_from(self._fresh_values)

    async def training_lost(self, steps: int) -> None:
        """Training steps that were lost with the trainer's process are due again."""
        await self._started.wait()
        self._limiter.returned("train", steps * self._batch_size)
        self._wake()

    async def close_intake(self) -> None:
        """Says that nothing more will be added, so that nobody waits for it."""
        self._closed = True
        self._wake()

    async def status(self) -> BufferStatus:
        """How full the buffer is, how the pace is held, and what happened since this was last told."""
        return self._meter.status(self._buffer, self._limiter)

    async def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: {"buffer": arrays by name, "limiter": numbers by name}."""
        await self._started.wait()
        return {"buffer": self._buffer.state_dict(), "limiter": self._limiter.state_dict()}

    async def alive(self) -> None:
        """Never answers: the call fails when this process dies, and so tells the head."""
        await asyncio.Event().wait()

    async def _may_consume(self, name: str) -> bool:
        """Waits for the consumer's turn; False if it never comes, because intake is closed."""
        await self._started.wait()
        await self._wait_for(name)
        return self._limiter.may_consume(name)

    def _may(self, what: str) -> bool:
        return self._limiter.may_insert() if what == _INSERT else self._limiter.may_consume(what)

    async def _wait_for(self, what: str) -> None:
        """Waits until one may insert, or a consumer of that name consume, or until the close of intake. Nothing
        else runs between that and the caller going on, so that one turn is never taken twice."""
        while not (self._closed or self._may(what)):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[what].append(turn)
            await turn

    def _wake(self) -> None:
        """To be called whenever counts have changed. Those whose turn has not come sleep on: hundreds of deliveries
        wait here, and a look at each of them for every batch would be most of this process's work."""
        for what, turns in self._waiting.items():
            if turns and (self._closed or self._may(what)):
                for turn in turns:
                    if not turn.done():  # its call may have been given up
                        turn.set_result(None)
                turns.clear()

    def __repr__(self) -> str:
        return "ReplayBuffer()"
