"""The reanalyze actor: searches stored positions again with newer weights."""

import logging
import time
from typing import Any, Protocol

import ray

from muzero_ray.actors import build, names
from muzero_ray.actors.by_reference import received_request
from muzero_ray.actors.logs import Logs, start_logging
from muzero_ray.actors.replay_in_lockstep import Assignment
from muzero_ray.actors.shared_storage import WeightsReader, register
from muzero_ray.core.config import Config
from muzero_ray.core.reports import ReanalyzeReport
from muzero_ray.core.types import ReanalyzeRequest, ReanalyzeResult
from muzero_ray.play.reanalyze import Reanalyzer

logger = logging.getLogger(__name__)


class Source(Protocol):
    """Where positions come from and what was found goes; it also has the reanalyzer use the right weights."""

    version: int  # of the weights in use; -1 for none

    def has_weights(self) -> bool:
        """Whether it can be asked yet."""
        ...

    def ask(self) -> "ray.ObjectRef[Any]":
        """For positions."""
        ...

    def take(self, answer: Any) -> ReanalyzeRequest | None:
        """What was answered, and takes over the weights for it; None when all is done."""
        ...

    def give(self, result: ReanalyzeResult) -> "ray.ObjectRef[Any]":
        """Tells what was found for what was taken last."""
        ...


class WhenDue:
    """Positions whenever they are due, searched with the newest weights, found when it is found."""

    def __init__(self, buffer: Any, reanalyzer: Reanalyzer, weights: WeightsReader) -> None:
        self._buffer = buffer
        self._reanalyzer = reanalyzer
        self._weights = weights
        self.version = -1

    def has_weights(self) -> bool:
        """See `Source`."""
        weights = self._weights.read()
        if weights is not None:
            self.version = self._weights.version
            self._reanalyzer.set_weights(weights, self.version)
        return self.version >= 0

    def ask(self) -> "ray.ObjectRef[Any]":
        """See `Source`."""
        return self._buffer.reanalyze_request.remote()  # type: ignore[no-any-return]

    def take(self, answer: Any) -> ReanalyzeRequest | None:
        """See `Source`."""
        self.has_weights()
        return received_request(answer)

    def give(self, result: ReanalyzeResult) -> "ray.ObjectRef[Any]":
        """See `Source`."""
        return self._buffer.refresh.remote(result)  # type: ignore[no-any-return]


class InLockstep:
    """Positions with the weights to search them with: see `replay_in_lockstep.py`."""

    def __init__(self, buffer: Any, reanalyzer: Reanalyzer, process: int) -> None:
        self._buffer = buffer
        self._reanalyzer = reanalyzer
        self._process = process
        self._number = 0  # of what was taken last
        self.version = -1

    def has_weights(self) -> bool:
        """See `Source`."""
        return True  # they come with the positions

    def ask(self) -> "ray.ObjectRef[Any]":
        """See `Source`."""
        return self._buffer.assignment.remote(self.version, self._process)  # type: ignore[no-any-return]

    def take(self, answer: Assignment | None) -> ReanalyzeRequest | None:
        """See `Source`."""
        if answer is None:
            return None
        if answer.weights is not None:
            self.version = answer.version
            self._reanalyzer.set_weights(answer.weights, answer.version)
        self._number = answer.number
        return answer.request

    def give(self, result: ReanalyzeResult) -> "ray.ObjectRef[Any]":
        """See `Source`."""
        return self._buffer.searched_again.remote(self._number, result)  # type: ignore[no-any-return]


class Reanalyze:
    """Repeats searches, one batch ahead of the buffer's answer."""

    def __init__(self, config: Config, logs: Logs | None = None) -> None:
        start_logging(names.REANALYZE, logs)
        storage: Any = ray.get_actor(names.STORAGE)
        restart = register(storage, names.REANALYZE)
        self._reanalyzer = build.make_reanalyzer(config, restart, logger.warning)
        buffer: Any = ray.get_actor(names.BUFFER)
        self._source: Source
        if config.in_lockstep:
            self._source = InLockstep(buffer, self._reanalyzer, restart)
        else:
            weights = WeightsReader(storage, target=config.reanalyze.weights == "target")
            self._source = WhenDue(buffer, self._reanalyzer, weights)
        self._pending: ray.ObjectRef[Any] | None = None
        self._told: list[ray.ObjectRef[Any]] = []  # calls whose answers say nothing but that all went well
        logger.info("reanalyzes %s, started before: %d times", config.game, restart)

    def work(self, seconds: float) -> ReanalyzeReport:
        """Works for about so many seconds; a wait for positions counts."""
        began = time.perf_counter()
        positions, searching = 0, 0.0
        if not self._source.has_weights():
            time.sleep(0.05)  # the trainer is still starting; the head asks again
            return self._report(positions, searching, began, finished=False)
        while (elapsed := time.perf_counter() - began) < seconds:
            if self._pending is None:
                self._pending = self._source.ask()
            ready, _ = ray.wait([self._pending], timeout=seconds - elapsed)
            if not ready:
                break
            reference, self._pending = self._pending, None
            request = self._source.take(ray.get(reference))
            if request is None:
                return self._report(positions, searching, began, finished=True)
            self._pending = self._source.ask()
            result = self._reanalyzer.reanalyze(request)
            searching += result.seconds
            positions += len(result.indices)
            self._told.append(self._source.give(result))
        return self._report(positions, searching, began, finished=False)

    def _report(self, positions: int, searching: float, began: float, finished: bool) -> ReanalyzeReport:
        logger.debug("searched %d positions again with weights %d", positions, self._source.version)
        told, self._told = self._told, []
        ray.get(told)  # so that an error there is an error here, and not lost
        return ReanalyzeReport(positions, searching, time.perf_counter() - began - searching, finished)

    def __repr__(self) -> str:
        return "Reanalyze()"
