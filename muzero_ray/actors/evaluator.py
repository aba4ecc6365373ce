"""The evaluator actor: how good the greedy agent is, on seeds that training never uses."""

import logging
import threading
from collections.abc import Sequence

import ray

from muzero_ray.actors import names
from muzero_ray.actors.examiner import Examiner
from muzero_ray.actors.logs import Logs, start_logging
from muzero_ray.actors.shared_storage import WeightsReader
from muzero_ray.core.config import Config
from muzero_ray.core.reports import EvaluationReport, Pairing
from muzero_ray.core.types import Weights

logger = logging.getLogger(__name__)

WATCH = "watch"
"""Concurrency group of `alive`, which runs beside the evaluations."""


class Evaluator:
    """Plays greedily, without noise."""

    def __init__(self, config: Config, logs: Logs | None = None) -> None:
        start_logging(names.EVALUATOR, logs)
        self._examiner = Examiner(config, logger.warning)
        self._weights = WeightsReader(ray.get_actor(names.STORAGE))
        self._newest: Weights | None = None
        logger.info("evaluates %s", config.game)

    @ray.method(num_returns=2)
    def evaluate(self, episodes: int, pairings: Sequence[Pairing]) -> tuple[Weights, EvaluationReport | None]:
        """Plays so many episodes with the newest weights; answers the weights, and what came of it;
        nothing and None while no weights are published. For the pairings see `Examiner.evaluate`."""
        weights = self._weights.read()
        if weights is not None:
            self._newest = weights
        if self._newest is None:
            return {}, None
        version = self._weights.version
        report = self._examiner.evaluate(self._newest, version, episodes, pairings)
        logger.info("evaluated weights %d over %d episodes in %.1f s", version, len(report.episodes), report.seconds)
        return self._newest, report

    @ray.method(concurrency_group=WATCH)
    def alive(self) -> None:
        """Never answers: the call fails when this process dies, and so tells the head."""
        threading.Event().wait()

    def __repr__(self) -> str:
        return "Evaluator()"
