"""The replay-buffer actor of a run in lockstep: counts alone decide what happens in which order, not who is faster.

So a run with actors takes the same course whenever it is run with the same seed, as a run in one process does. All
that the roles give each other passes this actor anyway; here it is given out and stored in an order that is laid down:

* A *round* begins with a delivery of every self-play actor, which are stored then. It lasts until all that is due
  has been given out for training. Meanwhile the next deliveries are played.
* A *turn* is `train.publish_interval` batches, or what is left of the round. When the trainer has learnt from them it
  publishes, and tells the priorities that it found. Then the next turn begins: its batches take their fresh values from
  these weights, and positions that are given out in it are searched again with them. What was found is stored at the
  beginning of the turn after the next.
* The next deliveries are played with the weights that were published last before the round began.

So values are as fresh as in one process, for which the trainer waits a moment at the end of every turn: with values
that were a turn older, learning was slower (docs/experiments.md). Whoever is slow is waited for.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import ray

from muzero_ray.actors.by_reference import Drawn
from muzero_ray.actors.logs import Logs
from muzero_ray.actors.replay_buffer import INSERT, ReplayBufferActor
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus
from muzero_ray.core.types import Batch, ReanalyzeRequest, ReanalyzeResult, Trajectory, Weights

_ASSIGNMENTS_OF_A_PROCESS = 2**40
"""More than a buffer gives out while its process lives."""
_TURNS_TO_SEARCH = 2
"""After how many turns the result of a repeated search is stored."""


class Publication(NamedTuple):
    """What the trainer publishes when it has learnt from a turn's batches."""

    version: int  # training steps behind them
    weights: Weights
    judging: Weights  # for fresh values and repeated searches: the same, or the target weights
    priorities: tuple[tuple[np.ndarray, np.ndarray], ...] = ()  # of each batch since the last one: indices, TD errors


@dataclass(frozen=True)
class Assignment:
    """Positions to search again, and with what."""

    number: int  # by which the result is to be told from others
    request: ReanalyzeRequest
    version: int  # of the weights
    weights: Weights | None  # None: the asker has them


class ReplayInLockstep(ReplayBufferActor):
    """`ReplayBufferActor` whose deliveries come round by round, and whose batches go out turn by turn.

    For one shard and one trainer rank; `core.config` refuses others.
    """

    def __init__(self, config: Config, num_actors: int, logs: Logs | None = None) -> None:
        super().__init__(config, num_actors, logs)
        self._most_of_a_turn = config.train.publish_interval
        self._turn = 0
        self._left = 0  # batches of this turn that have not been given out
        self._published: Publication | None = None  # the newest
        self._publishes = False  # whether the trainer has yet to publish what it learnt from this turn
        self._assignments: deque[Assignment] = deque()  # that nobody has taken yet
        self._searching: dict[int, int] = {}  # the turn of every assignment that has not come back, by number
        # Not stored yet: the turn of their assignment, and what was found, by number.
        self._results: dict[int, tuple[int, ReanalyzeResult]] = {}
        self._last_number = 0
        self._processes = {"train": 0, "reanalyze": 0}  # the newest one of each consumer, which alone is served

    async def start(self, state: dict[str, Any] | None, incarnation: int = 0) -> BufferStatus:
        """See `ReplayBufferActor.start`."""
        # What the reanalyzer still has from an earlier process has other numbers.
        self._last_number = incarnation * _ASSIGNMENTS_OF_A_PROCESS
        return await super().start(state, incarnation)

    @ray.method(num_returns=2)
    async def add_round(
        self, senders: list[str], *deliveries: list[Trajectory]
    ) -> tuple[tuple[int, Weights], BufferStatus]:
        """Stores a round when its time has come.

        Args:
            senders: names of those who played, in an order that is always the same.
            *deliveries: what each of them played.

        Returns:
            Version and weights with which they are to play on; how full the buffer is.
        """
        await self._started.wait()
        await self._wait_for(INSERT)
        for sender, delivery in zip(senders, deliveries, strict=True):
            self._limiter.inserted(await self._store.add(delivery, sender))
        assert self._published is not None  # or the time has not come
        self._wake()
        return (self._published.version, self._published.weights), await self.status()

    async def sample(
        self, most: int, newest_version: int | None = None, ranks: int = 1, process: int = 0
    ) -> Drawn | tuple[Drawn, ...]:
        """See `ReplayBufferActor.sample`. The last batch of a turn says that what was learnt is to be published.

        A trainer is to have one such call under way: calls may overtake each other.

        Args:
            most: batches wanted.
            newest_version: of the weights.
            ranks: of the trainer: 1.
            process: of the trainer: how many there were before it. No earlier one gets anything any more.
        """
        self._begun("train", process)
        await self._may_consume("train")
        if process < self._processes["train"]:
            return []
        if self._left == 0 and self._due("train"):
            await self._begin_turn()
        drawn = await super().sample(min(most, self._left), newest_version, ranks)
        batches = [batch for batch in drawn if isinstance(batch, Batch)]
        self._left -= len(batches)
        if batches and self._left == 0:
            self._publishes = True
            batches[-1] = replace(batches[-1], publish_after=True)
        self._wake()
        return batches

    async def assignment(self, have_version: int, process: int) -> Assignment | None:
        """Positions to search again, and the weights for it; None once intake is closed and all is done.

        Args:
            have_version: of the asker's weights; -1 for none.
            process: of the asker, like a trainer's.
        """
        if self._begun("reanalyze", process):
            # Nothing is awaited any more from the process before.
            waiting = {assignment.number for assignment in self._assignments}
            self._searching = {number: turn for number, turn in self._searching.items() if number in waiting}
            self._wake()
        await self._may_consume("reanalyze")
        if process < self._processes["reanalyze"] or not self._assignments:
            return None
        assignment = self._assignments.popleft()
        return replace(assignment, weights=None) if assignment.version == have_version else assignment

    async def searched_again(self, number: int, result: ReanalyzeResult) -> None:
        """What a repeated search found."""
        if number in self._searching:
            self._results[number] = (self._searching.pop(number), result)
            self._wake()

    async def published(self, publication: Publication, process: int = 0) -> None:
        """Takes what a process of the trainer has published: at its start, and at the end of every turn."""
        self._begun("train", process)
        if process == self._processes["train"]:
            for indices, priorities in publication.priorities:
                await self._store.update_priorities(indices, priorities)
            self._published = publication
            self._publishes = False
            self._wake()

    def _begun(self, consumer: str, process: int) -> bool:
        """Whether a process is one that has not been heard of before."""
        begun = process > self._processes[consumer]
        self._processes[consumer] = max(process, self._processes[consumer])
        return begun

    async def _begin_turn(self) -> None:
        """Stores what was found two turns ago, and gives out what is to be searched again."""
        self._turn += 1
        publication = self._published
        assert publication is not None  # or the time has not come
        await self._store.set_weights(publication.judging)
        for number in sorted(self._results):
            turn, result = self._results[number]
            if turn <= self._turn - _TURNS_TO_SEARCH:
                await self._store.refresh(result)
                del self._results[number]
        turns_left = -(-self._due("train") // self._most_of_a_turn)
        self._left = min(self._most_of_a_turn, self._due("train"))
        for _ in range(-(-self._due("reanalyze") // turns_left)):
            self._limiter.consumed("reanalyze", self._reanalyze_size)
            request = await self._store.reanalyze_request(self._reanalyze_size)
            assert isinstance(request, ReanalyzeRequest)  # of one shard
            self._last_number += 1
            self._searching[self._last_number] = self._turn
            self._assignments.append(Assignment(self._last_number, request, publication.version, publication.judging))

    def _due(self, consumer: str) -> int:
        """Batches that a consumer may take now."""
        return self._limiter.batches_due(consumer) if consumer in self._limiter.consumers else 0

    def _may(self, what: str) -> bool:
        if what == "train" and self._left > 0:
            return True
        if what == "reanalyze" and self._assignments:
            return True
        if self._closed and self._left == 0 and not self._due("train"):
            return True  # all is done
        if what == "reanalyze" or self._left > 0 or self._publishes or self._published is None:
            return False
        if what == INSERT:
            return not self._due("train")
        overdue = any(turn <= self._turn + 1 - _TURNS_TO_SEARCH for turn in self._searching.values())
        return self._due("train") > 0 and not overdue

    def __repr__(self) -> str:
        return "ReplayBuffer(in lockstep)"
