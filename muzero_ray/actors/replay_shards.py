"""What the replay-buffer actor keeps its states in: this process, or several that divide the games among them.

Several are for runs in which one process no longer keeps up (docs/scaling.md). Trajectories, batches and positions then
pass it by: it forwards references, and decides who stores and who draws what (`replay/shards.py`). The pace stays one.

Shards live and die with the replay-buffer actor: where one is lost, its process ends, Ray ends the others, which it
owns, and starts it anew with new ones. All continue from the same checkpoint, so that what they hold together is what
the pace has counted.
"""

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean as mean
from typing import Any, Protocol

import numpy as np
import ray
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from muzero_ray.actors import names
from muzero_ray.actors.by_reference import Delivery, Drawn, Request
from muzero_ray.actors.logs import Logs, start_logging
from muzero_ray.actors.replay_shard import ReplayShard
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus
from muzero_ray.core.rng import role_seed
from muzero_ray.core.types import ReanalyzeResult, Weights
from muzero_ray.replay.shards import join_states, split_fractions, split_indices, split_state
from muzero_ray.replay.sum_tree import stratified

logger = logging.getLogger(__name__)


class Store(Protocol):
    """Where the replay-buffer actor keeps its states; its methods of the same names say what these do."""

    async def load(self, state: dict[str, np.ndarray]) -> None: ...
    async def add(self, delivery: Delivery, sender: str) -> int: ...
    async def sample(self, count: int, newest_version: int | None, ranks: int) -> tuple[Drawn, ...]: ...
    async def reanalyze_request(self, size: int) -> Request: ...
    async def refresh(self, result: ReanalyzeResult) -> None: ...
    async def update_priorities(self, indices: np.ndarray, priorities: np.ndarray) -> None: ...
    async def set_weights(self, weights: Weights) -> None: ...
    async def halve(self, at_least: int) -> bool: ...
    async def state(self) -> dict[str, np.ndarray]: ...
    def status(self) -> BufferStatus: ...


def make_store(config: Config, logs: Logs | None) -> Store:
    """One shard in this process; or as many actors as `replay.shards` says, on this node."""
    if config.replay.shards == 1:
        return OneShard(ReplayShard(config, 0, logs))
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "num_gpus": config.buffer_gpus, "max_restarts": 0, "scheduling_strategy": here}
    actor = ray.remote(ShardActor).options(**options)
    return Shards(config, [actor.remote(config, number, logs) for number in range(config.replay.shards)])


class OneShard:
    """All states in this process: whatever is asked is answered without a pause."""

    def __init__(self, shard: ReplayShard) -> None:
        self._shard = shard

    async def load(self, state: dict[str, np.ndarray]) -> None:
        self._shard.load(split_state(state, 1)[0])

    async def add(self, delivery: Delivery, sender: str) -> int:
        return self._shard.add(delivery, sender)  # type: ignore[arg-type]

    async def sample(self, count: int, newest_version: int | None, ranks: int) -> tuple[Drawn, ...]:
        return tuple(self._shard.batches(count, newest_version) for _ in range(ranks))

    async def reanalyze_request(self, size: int) -> Request:
        return self._shard.reanalyze_request(size)

    async def refresh(self, result: ReanalyzeResult) -> None:
        self._shard.refresh(result)

    async def update_priorities(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        self._shard.update_priorities(indices, priorities)

    async def set_weights(self, weights: Weights) -> None:
        self._shard.set_weights(weights)

    async def halve(self, at_least: int) -> bool:
        return self._shard.halve(at_least)

    async def state(self) -> dict[str, np.ndarray]:
        return self._shard.state()

    def status(self) -> BufferStatus:
        return self._shard.status()


@dataclass(frozen=True)
class Told:
    """What a shard says of itself with each answer."""

    status: BufferStatus  # counts and times are those since it last said so
    mass: float  # sum of its priorities
    max_priority: float


class ShardActor:
    """A `ReplayShard` in a process of its own. Whatever it is asked, it tells how it is doing as well."""

    def __init__(self, config: Config, number: int, logs: Logs | None) -> None:
        start_logging(names.replay_shard(number), logs)
        self._shard = ReplayShard(config, number, logs)

    @ray.method(num_returns=2)
    def ask(self, method: str, *args: Any) -> tuple[Any, Told]:
        """Calls a method of the shard."""
        answer = getattr(self._shard, method)(*args)
        return answer, Told(self._shard.status(), self._shard.mass, self._shard.max_priority)

    def __repr__(self) -> str:
        return f"ReplayShard({self._shard.number})"


class Shards:
    """States divided among actors, which draw as if they were one.

    Args:
        config: of the run.
        shards: handles of `ShardActor`s number 0, 1, ...
    """

    def __init__(self, config: Config, shards: Sequence[Any]) -> None:
        self._shards = shards
        self._batch_size = config.train.batch_size // config.train.num_gpus
        self._rng = np.random.default_rng(role_seed(config.seed, "replay", len(shards)))
        nothing = Told(BufferStatus(0, 0, 0, {}), 0.0, 0.0)
        self._told = [nothing for _ in shards]
        self._news: list[BufferStatus] = []  # that have not been passed on
        self._homes: dict[str, int] = {}  # which shard has the games of whom

    async def load(self, state: dict[str, np.ndarray]) -> None:
        parts = split_state(state, len(self._shards))
        await self._ask({number: ("load", part) for number, part in enumerate(parts)})

    async def add(self, delivery: Delivery, sender: str) -> int:
        # All pieces of a game go to the same shard, or they could not be joined.
        home = self._homes.setdefault(sender, len(self._homes) % len(self._shards))
        highest = max(told.max_priority for told in self._told)
        answers = await self._ask({home: ("add", *delivery, sender, highest)})
        steps: int = await answers[home]
        return steps

    async def sample(self, count: int, newest_version: int | None, ranks: int) -> tuple[Drawn, ...]:
        drawn = await asyncio.gather(*(self._draw(count, newest_version) for _ in range(ranks)))
        return tuple(drawn)

    async def _draw(self, count: int, newest_version: int | None) -> Drawn:
        """So many batches for one rank; the references to what each shard has of them."""
        masses = [told.mass for told in self._told]
        draws = [split_fractions(stratified(self._batch_size, self._rng), masses) for _ in range(count)]
        calls: dict[int, tuple[Any, ...]] = {
            number: ("parts", [draw[number] for draw in draws], mass / sum(masses), newest_version)
            for number, mass in enumerate(masses)
            if any(len(draw[number]) for draw in draws)
        }
        return list((await self._ask(calls)).values())

    async def reanalyze_request(self, size: int) -> Request:
        steps = np.array([told.status.num_steps for told in self._told])
        chosen = int(self._rng.choice(len(steps), p=steps / steps.sum()))
        return list((await self._ask({chosen: ("reanalyze_request", size)})).values())

    async def refresh(self, result: ReanalyzeResult) -> None:
        policies, values = result.search_policies, result.root_values
        await self._ask(
            {
                number: ("refresh", replace(result, indices=own, search_policies=policies[at], root_values=values[at]))
                for number, at, own in self._places(result.indices)
            }
        )

    async def update_priorities(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        await self._ask(
            {number: ("update_priorities", own, priorities[at]) for number, at, own in self._places(indices)}
        )

    def _places(self, indices: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Number of each shard that some of the indices are of, where they are, and which."""
        places = enumerate(split_indices(indices, len(self._shards)))
        return [(number, at, indices[at]) for number, at in places if len(at)]

    async def set_weights(self, weights: Weights) -> None:
        shared = ray.put(weights)  # once for all
        await self._ask({number: ("set_weights", shared) for number in range(len(self._shards))})

    async def halve(self, at_least: int) -> bool:
        part = -(-at_least // len(self._shards))
        answers = await self._ask({number: ("halve", part) for number in range(len(self._shards))})
        return any([await answer for answer in answers.values()])

    async def state(self) -> dict[str, np.ndarray]:
        answers = await self._ask({number: ("state",) for number in range(len(self._shards))})
        return join_states([await answer for answer in answers.values()])

    def status(self) -> BufferStatus:
        news, self._news = self._news, []
        return _merged([told.status for told in self._told], news)

    async def _ask(self, calls: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Calls shards by number, and waits until all have answered: references to what, by number."""
        asked = {number: self._shards[number].ask.remote(*call) for number, call in calls.items()}
        try:
            told = await asyncio.gather(*(told for _, told in asked.values()))
        except (RayActorError, OutOfMemoryError) as error:  # the latter where Ray killed it for want of memory
            logger.error("a shard was lost: %s; the replay buffer starts anew, with new ones", error)
            os._exit(1)  # not an exception: that would end the run
        for number, new in zip(asked, told, strict=True):
            self._told[number] = new
            self._news.append(new.status)
        return {number: answer for number, (answer, _) in asked.items()}


def _merged(now: Sequence[BufferStatus], news: Sequence[BufferStatus]) -> BufferStatus:
    """One status of those of all shards, with the counts and times of what came since the last one."""
    lags = [status.weights_lag for status in now if status.weights_lag is not None]
    return BufferStatus(
        env_steps=sum(status.env_steps for status in now),
        num_steps=sum(status.num_steps for status in now),
        memory_bytes=sum(status.memory_bytes for status in now),
        held_ratios={},
        trajectories_added=sum(status.trajectories_added for status in news),
        trajectories_left_out=sum(status.trajectories_left_out for status in news),
        trajectories_refused=sum(status.trajectories_refused for status in news),
        weights_lag=mean(lags) if lags else None,
        add_seconds=tuple(time for status in news for time in status.add_seconds),
        sample_seconds=tuple(time for status in news for time in status.sample_seconds),
    )
