"""Gumbel MuZero: a search that improves the policy with any number of simulations.

The root samples its actions without replacement and divides the simulations among them by sequential halving;
below it, actions are chosen so that the visits follow the improved policy. This file prepares and reads out a
search; the formulas that run at every node are in `kernels.py`.

Source: Danihelka, Guez, Schrittwieser, Silver, "Policy improvement by planning with Gumbel", ICLR 2022 (Full Gumbel
MuZero), with the details of DeepMind's mctx (`gumbel_muzero_policy`).
"""

import functools
import math

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
from muzero_ray.mcts.tree import ROOT, Packed, Tree


def gumbel_search(
    model: SearchModel,
    observations: np.ndarray,
    legal_actions: np.ndarray,
    *,
    num_simulations: int,
    rng: np.random.Generator,
    max_considered_actions: int,
    gumbel_scale: PerGame,
    c_visit: float,
    c_scale: float,
    q_normalization: QNormalization,
    q_floor: float,
    value_bounds: tuple[float, float] | None = None,
    max_candidates: int | None = None,
    tree: Tree | None = None,
    gumbel: np.ndarray | None = None,
) -> SearchResult:
    """Searches B positions at once by Gumbel MuZero.

    Args:
        model: evaluates positions; called once for the roots and once per simulation, for all rows together.
        observations: `[B, ...]`, handed to the model.
        legal_actions: `[B, A]` bool, True = allowed; at least one in every row. Below the root all actions are.
        num_simulations: at least 1.
        rng: source of the Gumbel noise, the only randomness here.
        max_considered_actions: m, at least 1; a row considers this many of its legal actions, or all if they are fewer.
        gumbel_scale: factor on the noise, at least 0; a number, or `[B]` for a ladder of noise over the games. With 0
            the search is deterministic.
        c_visit: see `c_scale`.
        c_scale: sigma(q) = (c_visit + most visits of an action) * c_scale * normalised q weighs Q against logits.
        q_normalization: how Q is brought to [0, 1]: "tree", "bounds" or "node"; see `search.start_search`.
        q_floor: with "tree", smallest range that is stretched to [0, 1].
        value_bounds: with "bounds", the smallest and the largest value.
        max_candidates: actions that a node keeps at most; none: all. At the root nothing is lost by it, as long as m is
            no more: the actions to consider are kept, and all others have a share of the improved policy all the
            same. Below it, the improved policy lacks what the others would have.
        tree: to be used again, of shape (B, num_simulations + 1, A); a new one if none.
        gumbel: `[B, A]` noise to use instead of drawing it, before scaling: of games that keep theirs.

    Returns:
        `search_policies` is the improved policy, softmax(logits + sigma(completed Q)) over the legal actions;
        `actions` has the highest noise + logit + sigma(Q) among the most visited actions.

    Raises:
        ValueError: if an argument is unusable, or the model's output has a wrong shape or is not finite.
    """
    size, num_actions = legal_actions.shape
    if max_considered_actions < 1:
        raise ValueError(f"max_considered_actions must be at least 1, got {max_considered_actions}")
    scale = per_game("gumbel_scale", gumbel_scale, size)
    if gumbel is None:
        gumbel = rng.gumbel(size=(size, num_actions))
    gumbel = gumbel * scale[:, np.newaxis]
    tree, root_logits = start_search(
        model,
        observations,
        legal_actions,
        num_simulations=num_simulations,
        q_normalization=q_normalization,
        q_floor=q_floor,
        value_bounds=value_bounds,
        max_candidates=max_candidates,
        tree=tree,
        noise=gumbel,
    )
    num_considered = np.minimum(legal_actions.sum(axis=1), min(max_considered_actions, tree.num_candidates))
    table = considered_visits_table(min(max_considered_actions, tree.num_candidates), num_simulations)
    schedule = table[num_considered]
    priors, rests = None, np.zeros(size)
    if tree.candidates is not None:
        gumbel = np.take_along_axis(gumbel, tree.candidates[:, ROOT], axis=1)
        priors = softmax(root_logits)
        kept = np.take_along_axis(priors, tree.candidates[:, ROOT], axis=1).sum(axis=1)
        left_out = priors.copy()  # to be added up: 1 - kept may be a rounding error, which logits far apart make large
        np.put_along_axis(left_out, tree.candidates[:, ROOT].astype(np.int64), 0.0, axis=1)
        rests = left_out.sum(axis=1) / kept
    policies = np.empty((size, tree.num_candidates), np.float64)
    rule = tuple(kernels.GumbelRule(NORMALIZATIONS[q_normalization], float(q_floor), float(c_visit), float(c_scale)))

    def advance(packed: Packed, outputs: kernels.Outputs, node: int) -> int:
        return kernels.gumbel_advance_all(packed, outputs, node, gumbel, schedule, rule, policies)

    kernels.gumbel_select_all(tree.packed, gumbel, schedule, rule, policies)
    simulate(model, tree, num_simulations, advance)
    actions = np.empty(size, np.int32)
    kernels.gumbel_read_out_all(tree.packed, gumbel, rests, rule, policies, actions)
    if priors is not None:
        policies = with_the_rest(tree, policies, priors)
    return read_out(tree, actions, policies.astype(np.float32))


def softmax(logits: np.ndarray) -> np.ndarray:
    """`[B, A]` logits, of which -inf forbids an action, to `[B, A]` float64 probabilities."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    probabilities: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return probabilities


def with_the_rest(tree: Tree, policies: np.ndarray, priors: np.ndarray) -> np.ndarray:
    """Returns the improved policies over all actions: what the candidates' lack to 1 is shared out by prior.

    Args:
        tree: of a finished search, with candidates.
        policies: `[B, M]` float64, of the candidates.
        priors: `[B, A]` float64, of all actions.
    """
    others = priors.copy()
    assert tree.candidates is not None
    np.put_along_axis(others, tree.candidates[:, ROOT], 0.0, axis=1)
    mass = others.sum(axis=1, keepdims=True)
    lacking = np.maximum(0.0, 1.0 - policies.sum(axis=1, keepdims=True))
    shared: np.ndarray = tree.over_actions(policies) + others * lacking / np.where(mass > 0, mass, 1.0)
    return shared


@functools.lru_cache(maxsize=64)
def considered_visits_table(max_considered_actions: int, num_simulations: int) -> np.ndarray:
    """Returns `[m + 1, num_simulations]` int32: row k is the schedule for k considered actions.

    Read-only, because it is made once for all searches with the same numbers.
    """
    rows = [considered_visits(count, num_simulations) for count in range(max_considered_actions + 1)]
    table = np.array(rows, np.int32)
    table.setflags(write=False)
    return table


def considered_visits(num_considered: int, num_simulations: int) -> list[int]:
    """Returns, for each simulation, the number of visits an action must have to be considered by it.

    Sequential halving without bookkeeping of who is left: every phase gives max(1, floor(n / (ceil(log2 m) * k)))
    more visits to each of its k actions, one round after the other, and hands half of them, but at least
    two, to the next. An action that fell behind has the wrong number of visits and is never considered again.

    Source: mctx `get_sequence_of_considered_visits`; Karnin et al., "Almost optimal exploration in multi-armed
    bandits", ICML 2013.

    >>> considered_visits(4, 8)
    [0, 0, 0, 0, 1, 1, 2, 2]
    """
    if num_considered <= 1:
        return list(range(num_simulations))
    num_phases = math.ceil(math.log2(num_considered))
    schedule: list[int] = []
    visits = 0
    remaining = num_considered
    while len(schedule) < num_simulations:
        rounds = max(1, num_simulations // (num_phases * remaining))
        for _ in range(rounds):
            schedule.extend([visits] * remaining)
            visits += 1
        remaining = max(2, remaining // 2)
    return schedule[:num_simulations]
