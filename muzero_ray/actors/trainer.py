"""The trainer actor: the learner, fed with batches asked for ahead, publishing what it learns."""

import logging
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from muzero_ray.actors import names
from muzero_ray.actors.by_reference import received_parts
from muzero_ray.actors.description import describe_network
from muzero_ray.actors.logs import Logs, start_logging
from muzero_ray.actors.replay_in_lockstep import Publication
from muzero_ray.actors.trainer_rank import OtherRanks
from muzero_ray.core.config import Config
from muzero_ray.core.game import GameSpec
from muzero_ray.core.reports import TrainerStart, TrainerState, TrainReport

if TYPE_CHECKING:
    # These need torch, which this process loads when the trainer is made.
    from muzero_ray.nn.learner import UpdateResult
    from muzero_ray.nn.staging import StagedBatch

logger = logging.getLogger(__name__)

_BATCHES_PER_REQUEST = 4
"""Batches that the buffer is asked for at once: a message costs about as much as half a training step."""
_PUBLISH_SECONDS = 10.0
"""How long weights wait for the ones before; longer only if the storage's process is gone."""


class Trainer:
    """`nn.learner.Learner` in an actor; keeps `prefetch` requests for batches on their way.

    With several ranks it is rank 0: it asks for the batches of all, and passes theirs on to the others.
    """

    def __init__(self, config: Config, spec: GameSpec, device: str, threads: int, logs: Logs | None = None) -> None:
        start_logging(names.TRAINER, logs)
        from muzero_ray.nn.learner import Learner, use_threads

        use_threads(threads)
        self._config = config
        self._spec = spec
        self._others = OtherRanks(config, spec, device, threads, logs) if config.train.num_gpus > 1 else None
        ranks = self._others.ranks if self._others else None
        self._learner = Learner(config, spec, seed=config.seed, device=device, ranks=ranks)
        self._publish_interval = config.train.publish_interval
        self._lockstep = config.in_lockstep
        self._fresh_values = config.reanalyze.fresh_values
        self._judge_by_target = config.reanalyze.weights == "target"
        self._prioritized = config.replay.prioritized
        # In lockstep one at a time: of two calls, the second might be served first.
        self._prefetch = 1 if self._lockstep else config.system.prefetch
        self._staged_ahead = _BATCHES_PER_REQUEST if self._learner.works_ahead else 1
        self._buffer: Any = None  # both are looked up by `start`: this actor is created before them
        self._storage: Any = None
        self._started = False
        self._process = 0
        self._published: ray.ObjectRef[Any] | None = None
        self._published_version: int | None = None
        self._told: list[ray.ObjectRef[Any]] = []  # calls whose answers say nothing but that all went well
        self._priorities: list[tuple[np.ndarray, np.ndarray]] = []  # in lockstep, those not told yet
        self._pending: deque[list[ray.ObjectRef[Any]]] = deque()  # answers, of one part for each rank
        self._batches: deque[StagedBatch] = deque()

    def start(self, state: bytes | None, incarnation: int = 0) -> TrainerStart:
        """Continues from a checkpoint's learner state, if there is one; publishes.

        Args:
            state: of the learner.
            incarnation: how many processes of this trainer there were before in a run.
        """
        self._process = incarnation
        self._buffer = ray.get_actor(names.BUFFER)
        self._storage = ray.get_actor(names.STORAGE)
        if self._others is not None:
            self._others.start(state)
        if state is not None:
            self._learner.load_bytes(state)
        self._started = True
        self.publish()
        logger.info("starts at training step %d", self._learner.training_steps)
        return TrainerStart(self._learner.training_steps, tuple(self._learner.notes))

    def train(self, seconds: float) -> TrainReport:
        """Trains for about so many seconds; a wait for batches counts."""
        self._expect_start()
        began = time.perf_counter()
        first_step, training, finished = self._learner.training_steps, 0.0, False
        metrics: dict[str, float] = {}
        while (elapsed := time.perf_counter() - began) < seconds:
            if len(self._batches) <= self._staged_ahead:
                # So many are still in hand, so that a GPU learns from them while it fetches those that come.
                came = self._take_batches(timeout=0.0 if self._batches else seconds - elapsed)
                if not self._batches:
                    finished = came
                    break
            staged = self._batches.popleft()
            started = time.perf_counter()
            result = self._update(staged)
            if self._prioritized:
                self._tell_priorities(staged.batch.indices, result.priorities)
            if self._is_to_publish(staged):
                self.publish()
            metrics = result.metrics
            training += time.perf_counter() - started
        if finished:
            self.publish()  # the last weights, whatever the interval
        logger.debug("trained to step %d", self._learner.training_steps)
        told, self._told = self._told, []
        ray.get(told)  # so that an error there is an error here, and not lost
        return TrainReport(
            training_steps=self._learner.training_steps,
            steps=self._learner.training_steps - first_step,
            train_seconds=training,
            wait_seconds=time.perf_counter() - began - training,
            finished=finished,
            metrics=metrics,
            batches_ready=self._count_ready(),
        )

    def _tell_priorities(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        """Tells the buffer how wrong the values of a batch were, in lockstep when it publishes."""
        if self._lockstep:
            self._priorities.append((indices, priorities))
        else:
            self._told.append(self._buffer.update_priorities.remote(indices, priorities))

    def _is_to_publish(self, staged: "StagedBatch") -> bool:
        """Whether the weights are to be published now that this batch has been learnt from."""
        if self._lockstep:
            return bool(staged.batch.publish_after)
        return self._learner.training_steps % self._publish_interval == 0

    def _update(self, staged: "StagedBatch") -> "UpdateResult":
        """A training step, which the other ranks take as well."""
        from muzero_ray.nn.parallel import RankLost

        try:
            return self._learner.update(staged)
        except RankLost as error:
            if self._others is None:
                raise
            self._others.give_up(error)

    def _take_batches(self, timeout: float) -> bool:
        """Waits so long for the batches asked for first, and says whether they came; none come when all is done."""
        self._ask_for_batches()
        ready, _ = ray.wait([self._pending[0][0]], timeout=timeout)
        if ready:
            mine, *theirs = self._pending.popleft()
            batches = received_parts(ray.get(mine))
            if batches and self._others is not None:
                self._others.update(theirs)
            self._batches.extend(map(self._learner.stage, batches))
            self._ask_for_batches()
        return bool(ready)

    def _ask_for_batches(self) -> None:
        ranks = self._config.train.num_gpus
        sample = self._buffer.sample.options(num_returns=ranks)
        asker = (self._process,) if self._lockstep else ()
        while len(self._pending) < self._prefetch:
            answer = sample.remote(_BATCHES_PER_REQUEST, self._published_version, ranks, *asker)
            self._pending.append([answer] if ranks == 1 else answer)

    def _count_ready(self) -> int:
        """Batches at hand, and in answers that came, each of which is taken to be full."""
        if not self._pending:
            return len(self._batches)
        answers, _ = ray.wait([mine for mine, *_ in self._pending], num_returns=len(self._pending), timeout=0)
        return len(self._batches) + _BATCHES_PER_REQUEST * len(answers)

    def describe(self) -> str:
        """The network's parameters by name and shape, for people to read."""
        return describe_network(self._config, self._spec)

    def state(self) -> TrainerState:
        """What a checkpoint keeps."""
        self._expect_start()
        return TrainerState(self._learner.training_steps, self._learner.to_bytes(), self._learner.weights())

    def publish(self) -> None:
        """Sends the weights to the storage, after those sent before: calls to it may overtake each other."""
        self._expect_start()
        if self._published is not None:
            ray.wait([self._published], timeout=_PUBLISH_SECONDS)
        weights, target_weights = self._learner.weights(), self._learner.target_weights()
        self._published_version = self._learner.training_steps
        self._published = self._storage.publish.remote(self._learner.training_steps, weights, target_weights)
        self._told.append(self._published)
        judging = target_weights if self._judge_by_target else weights
        if self._lockstep:
            publication = Publication(self._published_version, weights, judging, tuple(self._priorities))
            self._priorities.clear()
            self._told.append(self._buffer.published.remote(publication, self._process))
        elif self._fresh_values:
            self._told.append(self._buffer.set_weights.remote(judging))

    def _expect_start(self) -> None:
        """Ends this process if it was never told what to continue from.

        Ray has then started it in place of one that died while nobody was calling it. The call fails as it would
        have failed there, the head learns of the death, and no untrained weights pass for trained ones.
        """
        if not self._started:
            logger.error("called before its start: the process before died unseen; ends, so that it is told")
            os._exit(1)  # not an exception: that would end the run

    def __repr__(self) -> str:
        return "Trainer()"
