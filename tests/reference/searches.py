"""The two searches with the options that tests rarely change, so that a test names only what it is about."""

from typing import Any

import numpy as np

from muzero_ray.mcts.gumbel import gumbel_search
from muzero_ray.mcts.model import SearchModel
from muzero_ray.mcts.puct import muzero_search
from muzero_ray.mcts.search import SearchResult


def search(
    algorithm: str,
    model: SearchModel,
    observations: np.ndarray,
    legal_actions: np.ndarray,
    *,
    noise: np.ndarray | None = None,
    scale: float | np.ndarray = 1.0,
    normalization: str = "tree",
    **options: Any,
) -> SearchResult:
    """Searches by "gumbel" or "muzero".

    `noise` is `[B, A]` Gumbel or Dirichlet noise (drawn with seed 0 if none) and `scale` its factor, of which
    pUCT takes a quarter.
    """
    common = {
        "num_simulations": 24,
        "rng": np.random.default_rng(0),
        "q_normalization": normalization,
        "q_floor": 0.01,
        "value_bounds": (-3.0, 3.0) if normalization == "bounds" else None,
    }
    own: dict[str, Any]
    if algorithm == "gumbel":
        own = {"max_considered_actions": 4, "gumbel_scale": scale, "c_visit": 50.0, "c_scale": 0.1, "gumbel": noise}
        return gumbel_search(model, observations, legal_actions, **{**common, **own, **options})
    own = {
        "temperature": 0.0,
        "exploration_fraction": 0.25 * np.asarray(scale),
        "dirichlet_alpha": 0.3,
        "pb_c_init": 1.25,
        "pb_c_base": 19652.0,
        "dirichlet": noise,
    }
    return muzero_search(model, observations, legal_actions, **{**common, **own, **options})
