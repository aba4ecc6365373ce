"""From a configuration to a search: the one place that knows which algorithm runs with which options."""

from collections import OrderedDict

import numpy as np

from muzero_ray.core.config import SearchConfig
from muzero_ray.mcts.gumbel import gumbel_search
from muzero_ray.mcts.model import SearchModel
from muzero_ray.mcts.puct import muzero_search
from muzero_ray.mcts.search import PerGame, SearchResult
from muzero_ray.mcts.tree import Tree

KEPT_TREES = 4
"""Trees of different shapes that a planner keeps: self-play needs one; the batches of an evaluation shrink."""


class Planner:
    """Searches as configured, and keeps the trees for next time. For one thread; nothing else is remembered."""

    def __init__(self, config: SearchConfig, value_bounds: tuple[float, float] | None) -> None:
        self.config = config
        self.value_bounds = value_bounds
        self._trees: OrderedDict[tuple[int, int, int], Tree] = OrderedDict()

    def __call__(
        self,
        model: SearchModel,
        observations: np.ndarray,
        legal_actions: np.ndarray,
        *,
        num_simulations: int | None = None,
        noise_scale: PerGame,
        temperature: PerGame,
        rng: np.random.Generator,
        gumbel: np.ndarray | None = None,
    ) -> SearchResult:
        """Searches B positions at once.

        Args:
            model: evaluates the positions.
            observations: `[B, ...]`, handed to the model.
            legal_actions: `[B, A]` bool, True = allowed; at least one in every row.
            num_simulations: at least 1; as configured if none.
            noise_scale: at least 0, a number or `[B]`; factor on the Gumbel noise, or on `exploration_fraction`
                (whose product is held to 1).
            temperature: at least 0, a number or `[B]`; on the visit counts, for "muzero" only: "gumbel" draws by
                its noise.
            rng: source of everything random. With `noise_scale` 0 and `temperature` 0 nothing is: greedy play.
            gumbel: `[B, A]` Gumbel noise to use, before `noise_scale`, instead of drawing it; "muzero" has none.

        Raises:
            ValueError: if an argument is unusable, or the model's output has a wrong shape or is not finite.
        """
        config = self.config
        simulations = config.num_simulations if num_simulations is None else num_simulations
        tree = self._tree(simulations, legal_actions)
        if config.algorithm == "gumbel":
            return gumbel_search(
                model,
                observations,
                legal_actions,
                num_simulations=simulations,
                rng=rng,
                max_considered_actions=config.max_considered_actions,
                gumbel_scale=noise_scale,
                c_visit=config.c_visit,
                c_scale=config.c_scale,
                q_normalization=config.q_normalization,
                q_floor=config.q_floor,
                value_bounds=self.value_bounds,
                max_candidates=config.max_candidates,
                tree=tree,
                gumbel=gumbel,
            )
        alpha: PerGame = config.dirichlet_alpha
        if config.dirichlet_per_action is not None:
            alpha = config.dirichlet_per_action / legal_actions.sum(axis=1)
        return muzero_search(
            model,
            observations,
            legal_actions,
            num_simulations=simulations,
            rng=rng,
            temperature=temperature,
            exploration_fraction=np.minimum(1.0, np.asarray(noise_scale) * config.exploration_fraction),
            dirichlet_alpha=alpha,
            pb_c_init=config.pb_c_init,
            pb_c_base=config.pb_c_base,
            q_normalization=config.q_normalization,
            q_floor=config.q_floor,
            value_bounds=self.value_bounds,
            max_candidates=config.max_candidates,
            tree=tree,
        )

    def _tree(self, num_simulations: int, legal_actions: np.ndarray) -> Tree | None:
        """A tree that fits, most recently used ones being kept; none where the search will refuse its arguments."""
        if num_simulations < 1 or legal_actions.ndim != 2:
            return None
        shape = (legal_actions.shape[0], num_simulations + 1, legal_actions.shape[1])
        if shape not in self._trees:
            self._trees[shape] = Tree(*shape, self.config.max_candidates)
        self._trees.move_to_end(shape)
        if len(self._trees) > KEPT_TREES:
            self._trees.popitem(last=False)
        return self._trees[shape]


def make_planner(config: SearchConfig, value_bounds: tuple[float, float] | None) -> Planner:
    """Returns a planner for a game with these bounds of its values (`GameSpec.value_bounds`).

    Raises:
        ValueError: if the configuration asks for bounds that the game does not declare.
    """
    if config.q_normalization == "bounds" and value_bounds is None:
        raise ValueError(
            "search.q_normalization is 'bounds', but the game declares no value_bounds: "
            "set GameSpec.value_bounds, or use 'tree' or 'node'"
        )
    return Planner(config, value_bounds)
