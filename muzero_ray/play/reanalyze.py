"""Searches stored positions again with newer weights: old games, learnt from with today's judgement."""

import time

import numpy as np

from muzero_ray.core.types import ReanalyzeRequest, ReanalyzeResult, Weights
from muzero_ray.mcts.planner import Planner
from muzero_ray.play.acting_model import ActingModel


class Reanalyzer:
    """Answers one request after another.

    The loop that calls it:

        reanalyzer.set_weights(weights, version)
        buffer.refresh(reanalyzer.reanalyze(buffer.reanalyze_request(batch_size)))

    Args:
        planner: the search.
        model: the network that it plans with.
        num_simulations: per position; None: as the planner is configured.
        noise_scale: exploration noise, as in self-play. The policies found are targets as those of self-play are,
            and should not be more certain.
        rng: source of that noise.

    Source: Schrittwieser et al., "Online and offline reinforcement learning by planning with a learned
    model", arXiv:2104.06294.
    """

    def __init__(
        self,
        planner: Planner,
        model: ActingModel,
        *,
        num_simulations: int | None = None,
        noise_scale: float = 1.0,
        rng: np.random.Generator,
    ) -> None:
        self._planner = planner
        self._model = model
        self._num_simulations = num_simulations
        self._noise_scale = noise_scale
        self._rng = rng
        self._weights_version = -1

    def set_weights(self, weights: Weights, version: int) -> None:
        """Searches with these weights from now on; `version` is noted on the results."""
        self._model.set_weights(weights)
        self._weights_version = version

    def reanalyze(self, request: ReanalyzeRequest) -> ReanalyzeResult:
        """Repeats the search of every position of the request.

        Raises:
            RuntimeError: if no weights have been set.
        """
        if self._weights_version < 0:
            raise RuntimeError("reanalyze has no weights yet; call set_weights before reanalyze")
        began = time.perf_counter()
        result = self._planner(
            self._model,
            request.observations,
            request.legal_actions,
            num_simulations=self._num_simulations,
            noise_scale=self._noise_scale,
            temperature=1.0,
            rng=self._rng,
        )
        return ReanalyzeResult(
            indices=request.indices,
            search_policies=result.search_policies,
            root_values=result.root_values,
            weights_version=self._weights_version,
            seconds=time.perf_counter() - began,
        )
