"""The evaluator actor: how good the greedy agent is, on seeds that training never uses."""

import time

import ray

from muzero_ray.actors import build, names
from muzero_ray.actors.shared_storage import WeightsReader
from muzero_ray.core.config import Config
from muzero_ray.core.reports import EvaluationReport
from muzero_ray.core.types import Weights


class Evaluator:
    """Plays greedily, without noise."""

    def __init__(self, config: Config) -> None:
        self._agent = build.Agent(config)
        self._config = config
        self._weights = WeightsReader(ray.get_actor(names.STORAGE))
        self._newest: Weights | None = None

    @ray.method(num_returns=2)
    def evaluate(self, episodes: int) -> tuple[Weights, EvaluationReport | None]:
        """Plays so many episodes with the newest weights; answers the weights, and what came of it;
        nothing and None while no weights are published."""
        began = time.perf_counter()
        weights = self._weights.read()
        if weights is not None:
            self._newest = weights
            self._agent.model.set_weights(weights)
        if self._newest is None:
            return {}, None
        outcome = self._agent.evaluate(self._config, episodes)
        report = EvaluationReport(self._weights.version, tuple(outcome), time.perf_counter() - began)
        return self._newest, report

    def __repr__(self) -> str:
        return "Evaluator()"
