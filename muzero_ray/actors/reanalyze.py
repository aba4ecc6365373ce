"""The reanalyze actor: searches stored positions again with newer weights."""

import logging
import time
from typing import Any

import ray

from muzero_ray.actors import build, names
from muzero_ray.actors.by_reference import received_request
from muzero_ray.actors.logs import Logs, start_logging
from muzero_ray.actors.replay_in_lockstep import Assignment
from muzero_ray.actors.shared_storage import WeightsReader, register
from muzero_ray.core.config import Config
from muzero_ray.core.reports import ReanalyzeReport
from muzero_ray.core.types import Weights

logger = logging.getLogger(__name__)


class Reanalyze:
    """Repeats searches, one batch ahead of the buffer's answer; in lockstep with the weights that come with it."""

    def __init__(self, config: Config, logs: Logs | None = None) -> None:
        start_logging(names.REANALYZE, logs)
        storage: Any = ray.get_actor(names.STORAGE)
        restart = register(storage, names.REANALYZE)
        self._reanalyzer = build.make_reanalyzer(config, restart, logger.warning)
        self._lockstep = config.system.lockstep
        self._weights = WeightsReader(storage, target=config.reanalyze.weights == "target")
        self._version = -1  # of the weights that it searches with
        self._buffer: Any = ray.get_actor(names.BUFFER)
        self._process = restart
        self._pending: ray.ObjectRef[Any] | None = None
        self._told: list[ray.ObjectRef[Any]] = []  # calls whose answers say nothing but that all went well
        logger.info("reanalyzes %s, started before: %d times", config.game, restart)

    def work(self, seconds: float) -> ReanalyzeReport:
        """Works for about so many seconds; a wait for positions counts."""
        began = time.perf_counter()
        positions, searching = 0, 0.0
        if not (self._lockstep or self._has_weights()):
            time.sleep(0.05)  # the trainer is still starting; the head asks again
            return self._report(positions, searching, began, finished=False)
        while (elapsed := time.perf_counter() - began) < seconds:
            if self._pending is None:
                self._pending = self._ask()
            ready, _ = ray.wait([self._pending], timeout=seconds - elapsed)
            if not ready:
                break
            reference, self._pending = self._pending, None
            answer = ray.get(reference)
            assignment = answer if isinstance(answer, Assignment) else None
            request = assignment.request if assignment else received_request(answer)
            if request is None:
                return self._report(positions, searching, began, finished=True)
            if assignment is not None and assignment.weights is not None:
                self._use(assignment.weights, assignment.version)
            self._pending = self._ask()
            if assignment is None:
                self._has_weights()
            result = self._reanalyzer.reanalyze(request)
            searching += result.seconds
            positions += len(result.indices)
            if assignment is None:
                self._told.append(self._buffer.refresh.remote(result))
            else:
                self._told.append(self._buffer.searched_again.remote(assignment.number, result))
        return self._report(positions, searching, began, finished=False)

    def _ask(self) -> "ray.ObjectRef[Any]":
        """For positions to search again."""
        if not self._lockstep:
            return self._buffer.reanalyze_request.remote()  # type: ignore[no-any-return]
        return self._buffer.assignment.remote(self._version, self._process)  # type: ignore[no-any-return]

    def _has_weights(self) -> bool:
        """Takes over the newest weights; False if none were ever published."""
        weights = self._weights.read()
        if weights is not None:
            self._use(weights, self._weights.version)
        return self._version >= 0

    def _use(self, weights: Weights, version: int) -> None:
        self._reanalyzer.set_weights(weights, version)
        self._version = version

    def _report(self, positions: int, searching: float, began: float, finished: bool) -> ReanalyzeReport:
        logger.debug("searched %d positions again with weights %d", positions, self._version)
        told, self._told = self._told, []
        ray.get(told)  # so that an error there is an error here, and not lost
        return ReanalyzeReport(positions, searching, time.perf_counter() - began - searching, finished)

    def __repr__(self) -> str:
        return "Reanalyze()"
