"""The evaluator actor: how good the greedy agent is, on seeds that training never uses."""

from collections.abc import Sequence

import ray

from muzero_ray.actors import names
from muzero_ray.actors.examiner import Examiner
from muzero_ray.actors.shared_storage import WeightsReader
from muzero_ray.core.config import Config
from muzero_ray.core.reports import EvaluationReport, Pairing
from muzero_ray.core.types import Weights


class Evaluator:
    """Plays greedily, without noise."""

    def __init__(self, config: Config) -> None:
        self._examiner = Examiner(config)
        self._weights = WeightsReader(ray.get_actor(names.STORAGE))
        self._newest: Weights | None = None

    @ray.method(num_returns=2)
    def evaluate(self, episodes: int, pairings: Sequence[Pairing]) -> tuple[Weights, EvaluationReport | None]:
        """Plays so many episodes with the newest weights; answers the weights, and what came of it;
        nothing and None while no weights are published. For the pairings see `Examiner.evaluate`."""
        weights = self._weights.read()
        if weights is not None:
            self._newest = weights
        if self._newest is None:
            return {}, None
        return self._newest, self._examiner.evaluate(self._newest, self._weights.version, episodes, pairings)

    def __repr__(self) -> str:
        return "Evaluator()"
