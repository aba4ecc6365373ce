"""The replay-buffer actor: the buffer, and the pace between acting and learning.

Whoever is ahead waits here until the others have caught up: a delivery is acknowledged when more may be
played, a batch is answered when it may be trained on. The pace is never kept by sleeping.
"""

import asyncio
import logging
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from muzero_ray.actors import build, names
from muzero_ray.actors.by_reference import Delivery, Drawn, Request
from muzero_ray.actors.logs import Logs, start_logging
from muzero_ray.actors.replay_shards import make_store
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus
from muzero_ray.core.types import ReanalyzeResult, Weights
from muzero_ray.replay.ring import with_other_indices

logger = logging.getLogger(__name__)

_INDICES_OF_A_PROCESS = 2**40
"""More than a buffer can give out while its process lives."""
INSERT = "insert"
"""What deliveries wait for; others wait for the turn of a consumer, by its name."""


class ReplayBufferActor:
    """`replay.buffer.ReplayBuffer`, whole or in shards, and `core.rate_limiter.RateLimiter` behind one door.

    All methods are coroutines on one thread: each runs to its end or to its `await` undisturbed. Where the buffer is in
    this process, nothing that is asked of it is an `await` that lets others run.
    """

    def __init__(self, config: Config, num_actors: int, logs: Logs | None = None) -> None:
        start_logging(names.BUFFER, logs)
        self._store = make_store(config, logs)
        self._limiter = build.make_rate_limiter(config, num_actors)
        self._config = config
        self._batch_size = config.train.batch_size
        self._reanalyze_size = config.reanalyze.batch_size
        self._closed = False
        self._waiting: defaultdict[str, list[asyncio.Future[None]]] = defaultdict(list)  # by what they wait for
        self._started = asyncio.Event()
        self._first_index = 0

    async def start(self, state: dict[str, Any] | None, incarnation: int = 0) -> BufferStatus:
        """Begins empty, or continues from a checkpoint's state. All other calls wait for it.

        Args:
            state: see `state`.
            incarnation: how many processes of this buffer there were before in a run. An earlier one may have given out
                indices in batches and requests whose answers are still to come, of states that came after the
                checkpoint; this one gives out others, so that such answers reach no state.
        """
        self._first_index = incarnation * _INDICES_OF_A_PROCESS
        held = await self._store.state() if state is None else state["buffer"]
        if state is not None or incarnation > 0:
            await self._store.load(with_other_indices(held, self._first_index))
        if state is not None:
            self._limiter.load_state_dict(state["limiter"])
        status = await self.status()
        logger.info("started with %s of %s env steps", status.num_steps, status.env_steps)
        self._started.set()
        return status

    async def add(self, delivery: Delivery, sender: str = "") -> BufferStatus:
        """Stores a delivery at once; answers when its sender may play on.

        Args:
            delivery: trajectories; with `replay.shards`, a list of a reference to a list of them.
            sender: the name of who played them: its pieces are put into order, and go to the same shard.
        """
        await self._started.wait()
        self._limiter.inserted(await self._store.add(delivery, sender))
        self._wake()
        await self._wait_for(INSERT)
        return await self.status()

    async def sample(self, most: int, newest_version: int | None = None, ranks: int = 1) -> Drawn | tuple[Drawn, ...]:
        """Batches, when one may be trained on: as many as may be, at most so many.

        Sent together they cost fewer messages. None come once intake is closed and all has been trained.

        Args:
            most: batches wanted.
            newest_version: of the weights, if the asker knows it: how much older the data is, `status` then tells.
            ranks: of the trainer. Of more than one, each gets as many batches of its own, drawn for it alone, whose
                sizes add up to `train.batch_size`: a tuple of lists, to travel one by one (`num_returns`).

        Returns:
            What `received_batches` makes batches of.
        """
        await self._may_consume("train")
        count = 0
        while count < most and self._limiter.may_consume("train"):
            self._limiter.consumed("train", self._batch_size)
            count += 1
        self._wake()
        batches = await self._store.sample(count, newest_version, ranks)
        return batches[0] if ranks == 1 else batches

    async def reanalyze_request(self) -> Request | None:
        """Positions to search again, when it is time, for `received_request`; None once intake is closed and all is
        done."""
        if not await self._may_consume("reanalyze"):
            return None
        self._limiter.consumed("reanalyze", self._reanalyze_size)
        self._wake()
        return await self._store.reanalyze_request(self._reanalyze_size)

    async def refresh(self, result: ReanalyzeResult) -> None:
        """Writes back what a repeated search found."""
        await self._store.refresh(result)

    async def update_priorities(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        """Writes back how wrong the value of each trained position was."""
        await self._store.update_priorities(indices, priorities)

    async def set_weights(self, weights: Weights) -> None:
        """Takes fresh values from these weights, if it takes any; until the first ones come, stored values serve."""
        await self._store.set_weights(weights)

    async def training_lost(self, steps: int) -> None:
        """Training steps that were lost with the trainer's process are due again."""
        await self._started.wait()
        self._limiter.returned("train", steps * self._batch_size)
        self._wake()

    async def use_actors(self, count: int) -> None:
        """So many self-play actors deliver from now on: one delivery of each may lie untrained."""
        self._limiter.tolerate(build.overlap_batches(self._config, count))
        self._wake()

    async def halve(self) -> bool:
        """Gives half of its memory back, and lets the oldest states go, unless too few would be left to learn from."""
        await self._started.wait()
        halved = await self._store.halve(self._config.replay.min_steps)
        logger.warning("asked to become smaller for want of memory: %s", "done" if halved else "it is at its smallest")
        return halved

    async def close_intake(self) -> None:
        """Says that nothing more will be added, so that nobody waits for it."""
        self._closed = True
        self._wake()

    async def status(self) -> BufferStatus:
        """How full the buffer is, how the pace is held, and what happened since this was last told."""
        held_ratios = {name: self._limiter.held_ratio(name) for name in self._limiter.consumers}
        return replace(self._store.status(), held_ratios=held_ratios)

    async def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: {"buffer": arrays by name, "limiter": numbers by name}."""
        await self._started.wait()
        limiter = self._limiter.state_dict()  # first: what shards store meanwhile has not been counted
        held = with_other_indices(await self._store.state(), -self._first_index)
        return {"buffer": held, "limiter": limiter}

    async def alive(self) -> None:
        """Never answers: the call fails when this process dies, and so tells the head."""
        await asyncio.Event().wait()

    async def _may_consume(self, name: str) -> bool:
        """Waits for the consumer's turn; False if it never comes, because intake is closed."""
        await self._started.wait()
        await self._wait_for(name)
        return self._limiter.may_consume(name)

    def _may(self, what: str) -> bool:
        """Whether one may insert, or a consumer of that name consume; after the close of intake nobody waits."""
        if self._closed:
            return True
        return self._limiter.may_insert() if what == INSERT else self._limiter.may_consume(what)

    async def _wait_for(self, what: str) -> None:
        """Waits until one may insert, or a consumer of that name consume, or until the close of intake. Nothing
        else runs between that and the caller going on, so that one turn is never taken twice."""
        while not self._may(what):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[what].append(turn)
            await turn

    def _wake(self) -> None:
        """To be called whenever counts have changed. Those whose turn has not come sleep on: hundreds of deliveries
        wait here, and a look at each of them for every batch would be most of this process's work."""
        for what, turns in self._waiting.items():
            if turns and self._may(what):
                for turn in turns:
                    if not turn.done():  # its call may have been given up
                        turn.set_result(None)
                turns.clear()

    def __repr__(self) -> str:
        return "ReplayBuffer()"
