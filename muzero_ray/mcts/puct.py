"""MuZero's search as first published: pUCT with Dirichlet noise at the root, and visit counts as policy.

This file prepares and reads out a search; the formula that runs at every node is `kernels.puct_action`.

Source: Schrittwieser et al., "Mastering Atari, Go, chess and shogi by planning with a learned model",
arXiv:1911.08265, appendix B, with the details of DeepMind's mctx (`muzero_policy`).
"""

import numpy as np

from muzero_ray.mcts import kernels
from muzero_ray.mcts.model import SearchModel
from muzero_ray.mcts.search import (
    NORMALIZATIONS,
    PerGame,
    QNormalization,
    SearchResult,
    per_game,
    read_out,
    simulate,
    start_search,
)
from muzero_ray.mcts.tree import EDGE_VISITS, PRIOR, ROOT, Packed, Q, Tree


def muzero_search(
    model: SearchModel,
    observations: np.ndarray,
    legal_actions: np.ndarray,
    *,
    num_simulations: int,
    rng: np.random.Generator,
    temperature: PerGame,
    exploration_fraction: PerGame,
    dirichlet_alpha: PerGame,
    pb_c_init: float,
    pb_c_base: float,
    q_normalization: QNormalization,
    q_floor: float,
    value_bounds: tuple[float, float] | None = None,
    max_candidates: int | None = None,
    tree: Tree | None = None,
    dirichlet: np.ndarray | None = None,
) -> SearchResult:
    """Searches B positions at once by pUCT.

    Args:
        model: evaluates positions; called once for the roots and once per simulation, for all rows together.
        observations: `[B, ...]`, handed to the model.
        legal_actions: `[B, A]` bool, True = allowed; at least one in every row. Below the root all actions are.
        num_simulations: at least 1.
        rng: source of the root noise and of the action drawn.
        temperature: T, at least 0; a number or `[B]`. Actions are drawn in proportion to visits^(1 / T); with 0
            the most visited action is taken, of several the one with the highest Q.
        exploration_fraction: in [0, 1]; a number or `[B]`. Share of the noise in the root's prior.
        dirichlet_alpha: concentration of the noise, above 0; a number or `[B]`.
        pb_c_init: weight of the prior; see `prior_weights`.
        pb_c_base: number of visits at which that weight starts to grow.
        q_normalization: how Q is brought to [0, 1]: "tree", "bounds" or "node"; see `search.start_search`. What an
            unvisited action scores: see `kernels.puct_action`.
        q_floor: with "tree", smallest range that is stretched to [0, 1].
        value_bounds: with "bounds", the smallest and the largest value.
        max_candidates: actions that a node keeps at most, the most probable ones (at the root, of the legal ones, by
            the prior without noise); none: all.
        tree: to be used again, of shape (B, num_simulations + 1, A); a new one if none.
        dirichlet: `[B, A]` noise to use instead of drawing it: for comparisons in tests.

    Returns:
        `search_policies` is the share of the visits of each action.

    Raises:
        ValueError: if an argument is unusable, or the model's output has a wrong shape or is not finite.
    """
    size, _ = legal_actions.shape
    if not (np.asarray(dirichlet_alpha) > 0).all():
        raise ValueError(f"dirichlet_alpha must be positive, got {dirichlet_alpha}")
    temperatures = per_game("temperature", temperature, size)
    fractions = per_game("exploration_fraction", exploration_fraction, size, highest=1.0)[:, np.newaxis]
    tree, _ = start_search(
        model,
        observations,
        legal_actions,
        num_simulations=num_simulations,
        q_normalization=q_normalization,
        q_floor=q_floor,
        value_bounds=value_bounds,
        max_candidates=max_candidates,
        tree=tree,
    )
    kept = legal_actions
    if tree.candidates is not None:
        kept = np.take_along_axis(legal_actions, tree.candidates[:, ROOT], axis=1)
    if dirichlet is None:
        dirichlet = draw_dirichlet(rng, dirichlet_alpha, kept)
    elif tree.candidates is not None:
        dirichlet = np.take_along_axis(dirichlet, tree.candidates[:, ROOT], axis=1)
    root_priors = tree.edge_values[PRIOR, :, ROOT]
    root_priors[:] = (1 - fractions) * root_priors + fractions * dirichlet
    weights = prior_weights(np.arange(num_simulations + 2), pb_c_init, pb_c_base)
    rule = tuple(kernels.PuctRule(NORMALIZATIONS[q_normalization], float(q_floor)))

    def advance(packed: Packed, outputs: kernels.Outputs, node: int) -> int:
        return kernels.puct_advance_all(packed, outputs, node, weights, rule)

    kernels.puct_select_all(tree.packed, weights, rule)
    simulate(model, tree, num_simulations, advance)

    visits = tree.edge_counts[EDGE_VISITS, :, ROOT]
    actions = draw_actions(rng, visits, tree.edge_values[Q, :, ROOT], temperatures)
    return read_out(tree, actions, tree.over_actions(visits / num_simulations).astype(np.float32))


def prior_weights(visits: np.ndarray, pb_c_init: float, pb_c_base: float) -> np.ndarray:
    """Returns the weight of prior / (1 + n) at nodes with N visits, as an array like `visits`.

        (pb_c_init + log((N + pb_c_base + 1) / pb_c_base)) * sqrt(N)

    N counts the node's own evaluation, so that the prior decides where nothing else is known yet.

    Source: arXiv:1911.08265, appendix B, equation 2.
    """
    growth = pb_c_init + np.log((visits + pb_c_base + 1) / pb_c_base)
    weights: np.ndarray = growth * np.sqrt(visits)
    return weights


def draw_dirichlet(rng: np.random.Generator, alpha: PerGame, legal_actions: np.ndarray) -> np.ndarray:
    """Returns `[B, A]` float64: a draw from Dirichlet(alpha) over the legal actions of every row, 0 on the others.

    Alpha is a number, or `[B]`.

    A Dirichlet draw is a vector of gamma draws over their sum. They are drawn as logarithms, by
    Gamma(alpha) = Gamma(alpha + 1) * U^(1 / alpha), because for a small alpha all of them may underflow to 0.
    """
    concentrations = np.broadcast_to(np.asarray(alpha, np.float64), len(legal_actions))[:, np.newaxis]
    uniform = 1.0 - rng.random(legal_actions.shape)
    log_gamma = np.log(rng.standard_gamma(concentrations + 1.0, legal_actions.shape)) + np.log(uniform) / concentrations
    log_gamma[~legal_actions] = -np.inf
    weights = np.exp(log_gamma - log_gamma.max(axis=1, keepdims=True))
    shares: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return shares


def draw_actions(
    rng: np.random.Generator, visits: np.ndarray, qvalues: np.ndarray, temperatures: np.ndarray
) -> np.ndarray:
    """Returns `[B]` int32 actions drawn in proportion to visits^(1 / temperature).

    Args:
        rng: gives one number per row, whatever its temperature.
        visits: `[B, A]` int, at least one of them positive in every row.
        qvalues: `[B, A]`; breaks ties at temperature 0; read where an action was visited.
        temperatures: `[B]`, at least 0; 0 takes the most visited action.
    """
    chances = rng.random(len(visits))
    most_visited = visits == visits.max(axis=1, keepdims=True)
    greedy = np.where(most_visited, qvalues, -np.inf).argmax(axis=1)
    # Powers of shares of the maximum cannot overflow; a temperature of 0 is only a placeholder here.
    exponents = 1.0 / np.where(temperatures > 0, temperatures, 1.0)
    weights = (visits / visits.max(axis=1, keepdims=True)) ** exponents[:, np.newaxis]
    cumulative = weights.cumsum(axis=1)
    # The first action whose cumulative weight exceeds the drawn one has a weight of its own.
    drawn = (cumulative > chances[:, np.newaxis] * cumulative[:, -1:]).argmax(axis=1)
    actions: np.ndarray = np.where(temperatures > 0, drawn, greedy).astype(np.int32)
    return actions
