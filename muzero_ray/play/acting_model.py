"""What the acting side asks of a network: to plan with it, and to exchange its weights while it runs."""

from typing import Protocol

from muzero_ray.core.types import Weights
from muzero_ray.mcts.model import SearchModel


class ActingModel(SearchModel, Protocol):
    """A search model whose weights are replaced as training goes on.

    The loop that calls it:

        model.set_weights(newest)
        for move in range(num_moves):
            result = planner(model, observations, legal_actions, ...)
    """

    def set_weights(self, weights: Weights) -> None:
        """Uses these parameters from the next `initial` on."""
