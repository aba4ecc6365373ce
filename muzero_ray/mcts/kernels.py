"""The compiled loops of the search: expansion and back-up, selection by either rule, and read-out.

First what all searches share, then the formulas, each about the A actions of one node, then the walks through
the tree. All of it is in this one file because numba's cache on disk only notices changes of the file that a
kernel was called from. Not here: random numbers, the model, checks of arguments.

All arithmetic is in double precision: two actions then tie only if they are alike.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from muzero_ray.mcts.jit import compiled
from muzero_ray.mcts.tree import (
    CHILD,
    DISCOUNT,
    EDGE_VISITS,
    FORBIDDEN,
    HIGH,
    LEAF_ACTION,
    LEAF_PARENT,
    LOG_PRIOR,
    LOW,
    PARENT,
    PARENT_ACTION,
    PRIOR,
    RAW_VALUE,
    REWARD,
    ROOT,
    UNVISITED,
    VALUE,
    VISITS,
    Packed,
    Q,
)

BY_NODE, BY_TREE, BY_BOUNDS = 0, 1, 2
"""Which range of values is stretched to [0, 1]: of the node, of the tree, or the one that the game declares."""
NODE_FLOOR = 1e-8
"""Smallest range of a node that is stretched (mctx: `epsilon`)."""
MAX_EXPONENT = 700.0
"""Largest power of e that is taken: beyond 709 a double overflows."""
TINY_PRIOR = float(np.finfo(np.float64).tiny)
"""Smallest weight of a visited action in the mixed value, which divides by the sum of these weights."""
ALL_FINITE = -1
"""Returned in place of a row when the model's outputs were finite in all rows."""

Plain = tuple[Any, ...]
"""A rule as a plain tuple: so it comes from Python, because numba takes it over in a third of the time."""
Outputs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Rewards `[B]`, values `[B]`, policy logits `[B, A]` and discounts `[B]` of the last step: float32, C-contiguous."""


class GumbelRule(NamedTuple):
    """Options of the Gumbel search."""

    normalization: int  # BY_NODE, BY_TREE or BY_BOUNDS
    q_floor: float  # with BY_TREE: smallest range that is stretched
    c_visit: float
    c_scale: float


class PuctRule(NamedTuple):
    """Options of pUCT."""

    normalization: int  # BY_NODE, BY_TREE or BY_BOUNDS
    q_floor: float  # with BY_TREE: smallest range that is stretched


# ---------------------------------------------------------------------------------------------------
# The candidates of a node, where it does not keep all of its actions. From here on, A is their number.
# ---------------------------------------------------------------------------------------------------


@compiled
def sink(heap: np.ndarray, place: int) -> None:
    """Lets the number at `place` sink until no child is smaller; what lies below is a heap, smallest first."""
    size = heap.shape[0]
    while True:
        child = 2 * place + 1
        if child >= size:
            return
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[place] <= heap[child]:
            return
        heap[place], heap[child] = heap[child], heap[place]
        place = child


@compiled
def keep_highest(scores: np.ndarray, actions: np.ndarray, kept: np.ndarray) -> None:
    """Fills `[M]` with the actions of the M highest of `[A]` scores, rising, and `[M]` with these scores.

    Of equal scores at the bound, those of the smallest actions are kept. One pass finds the bound, with a heap of
    the M highest so far, and one collects what is above it: no score is sorted that is not kept.

    A score that is no number makes the first kept one so, lest it go unnoticed.
    """
    num_kept, total = kept.shape[0], 0.0
    for place in range(num_kept):
        kept[place] = scores[place]
    for place in range(num_kept // 2 - 1, -1, -1):
        sink(kept, place)
    for action in range(num_kept, scores.shape[0]):
        if scores[action] > kept[0]:
            kept[0] = scores[action]
            sink(kept, 0)
    bound, at_bound = kept[0], 0
    for place in range(num_kept):
        at_bound += kept[place] == bound
    place = 0
    for action in range(scores.shape[0]):
        score = scores[action]
        total += score
        if score > bound or (score == bound and at_bound > 0):
            at_bound -= score == bound
            actions[place], kept[place] = action, score
            place += 1
    if math.isnan(total):
        kept[0] = np.nan


@compiled
def keep_highest_all(scores: np.ndarray, candidates: np.ndarray, node: int, kept: np.ndarray) -> None:
    """Chooses the candidates of node `node` of every row.

    Args:
        scores: `[B, A]` float32.
        candidates: `[B, N, M]` int32, of which those of `node` are filled.
        node: its number.
        kept: `[B, M]` float32; filled with the scores of the candidates.
    """
    for row in range(scores.shape[0]):
        keep_highest(scores[row], candidates[row, node], kept[row])


# ---------------------------------------------------------------------------------------------------
# Expansion and back-up, the same for both algorithms.
# ---------------------------------------------------------------------------------------------------


@compiled
def expand(
    children: np.ndarray, visits: np.ndarray, priors: np.ndarray, log_priors: np.ndarray, policy_logits: np.ndarray
) -> float:
    """Fills the `[A]` edges of a new node from the model's `[A]` logits; a logit of -inf forbids its action.

    Returns:
        The logarithm of the sum of exp(logits): not finite if a logit is NaN or +inf.
    """
    num_actions = policy_logits.shape[0]
    highest = -np.inf
    for action in range(num_actions):
        highest = max(highest, policy_logits[action])
    total = 0.0
    for action in range(num_actions):
        priors[action] = math.exp(policy_logits[action] - highest)
        total += priors[action]
    log_total = highest + math.log(total)
    for action in range(num_actions):
        priors[action] /= total
        log_priors[action] = policy_logits[action] - log_total
        visits[action] = 0
        children[action] = FORBIDDEN if policy_logits[action] == -np.inf else UNVISITED
    return log_total


@compiled
def expand_roots_all(packed: Packed, values: np.ndarray, policy_logits: np.ndarray) -> None:
    """Starts a search from `[B]` float32 values and `[B, A]` float32 logits, -inf on illegal actions.

    The root's value opens the range of the tree, because the mixed values of the root contain it.
    """
    edge_counts, edge_values, node_counts, node_values, _, row_values = packed
    for row in range(values.shape[0]):
        expand(
            edge_counts[CHILD, row, ROOT],
            edge_counts[EDGE_VISITS, row, ROOT],
            edge_values[PRIOR, row, ROOT],
            edge_values[LOG_PRIOR, row, ROOT],
            policy_logits[row],
        )
        node_counts[VISITS, row, ROOT] = 1
        node_values[VALUE, row, ROOT] = values[row]
        node_values[RAW_VALUE, row, ROOT] = values[row]
        row_values[LOW, row] = values[row]
        row_values[HIGH, row] = values[row]


@compiled
def end_simulation(packed: Packed, row: int, node: int, outputs: Outputs, normalization: int) -> bool:
    """Adds the node that the model has just evaluated, and carries its value up to the root.

    The return of a parent is `reward + discount * return of the child`, told by whoever moves at the parent;
    a discount below 0 passes it to the other player, so one rule serves every order of turns.

    Returns:
        False if an output of the model was NaN or infinite.
    """
    edge_counts, edge_values, node_counts, node_values, row_counts, row_values = packed
    rewards, values, policy_logits, discounts = outputs
    log_total = expand(
        edge_counts[CHILD, row, node],
        edge_counts[EDGE_VISITS, row, node],
        edge_values[PRIOR, row, node],
        edge_values[LOG_PRIOR, row, node],
        policy_logits[row],
    )
    parent, action = row_counts[LEAF_PARENT, row], row_counts[LEAF_ACTION, row]
    edge_counts[CHILD, row, parent, action] = node
    node_counts[PARENT, row, node] = parent
    node_counts[PARENT_ACTION, row, node] = action
    node_counts[VISITS, row, node] = 1
    node_values[VALUE, row, node] = values[row]
    node_values[RAW_VALUE, row, node] = values[row]
    node_values[REWARD, row, node] = rewards[row]
    node_values[DISCOUNT, row, node] = discounts[row]

    child = node
    child_return = node_values[VALUE, row, node]
    while child != ROOT:
        parent, action = node_counts[PARENT, row, child], node_counts[PARENT_ACTION, row, child]
        reward, discount = node_values[REWARD, row, child], node_values[DISCOUNT, row, child]
        qvalue = reward + discount * node_values[VALUE, row, child]
        edge_values[Q, row, parent, action] = qvalue
        edge_counts[EDGE_VISITS, row, parent, action] += 1
        if normalization == BY_TREE:
            row_values[LOW, row] = min(row_values[LOW, row], qvalue)
            row_values[HIGH, row] = max(row_values[HIGH, row], qvalue)
        child_return = reward + discount * child_return
        node_counts[VISITS, row, parent] += 1
        error = child_return - node_values[VALUE, row, parent]
        node_values[VALUE, row, parent] += error / node_counts[VISITS, row, parent]
        child = parent
    return math.isfinite(rewards[row] + discounts[row] * values[row] + log_total)


@compiled
def stretch(low: float, high: float, floor: float) -> float:
    """Returns 1 / max(high - low, floor), or 0 where that is 1 / 0: the factor that makes the range [0, 1]."""
    span = max(high - low, floor)
    return 1.0 / span if span > 0.0 else 0.0


# ---------------------------------------------------------------------------------------------------
# Gumbel MuZero.
# ---------------------------------------------------------------------------------------------------


@compiled
def gumbel_assess(
    visits: np.ndarray,
    priors: np.ndarray,
    qvalues: np.ndarray,
    raw_value: float,
    low: float,
    high: float,
    rule: GumbelRule,
) -> tuple[float, float]:
    """Returns the mixed value of a node, and what one unit of Q weighs against a logit there.

    The mixed value is the model's value together with the Q found so far, and stands in for the Q of unvisited
    actions; with n the visits of all edges:

        mixed = (raw + n * sum_{visited} prior * Q / sum_{visited} prior) / (n + 1)

    The weight makes sigma(q) = weight * q; where the range of values begins would add the same to all actions:

        weight = (c_visit + max_a N(a)) * c_scale / range

    With BY_NODE the range is that of the completed Q of all A actions, forbidden ones included, as in mctx.

    Args:
        visits: `[A]` int; of the edges.
        priors: `[A]`.
        qvalues: `[A]`; read where visited.
        raw_value: the model's value of the node.
        low: smallest value of the row; not with BY_NODE.
        high: largest value of the row; not with BY_NODE.
        rule: the options.

    Source: Danihelka et al., "Policy improvement by planning with Gumbel", ICLR 2022, appendix D; mctx
    `qtransform_completed_by_mix_value`.
    """
    mixed = raw_value
    lowest, highest = np.inf, -np.inf
    prior_sum, weighted = 0.0, 0.0
    num_visits, most_visits, num_visited = 0, 0, 0
    for action in range(visits.shape[0]):
        if visits[action] > 0:
            prior = max(priors[action], TINY_PRIOR)
            prior_sum += prior
            weighted += prior * qvalues[action]
            lowest, highest = min(lowest, qvalues[action]), max(highest, qvalues[action])
            num_visits += visits[action]
            most_visits = max(most_visits, visits[action])
            num_visited += 1
    if num_visited > 0:
        mixed = (raw_value + num_visits * weighted / prior_sum) / (num_visits + 1)
    if rule.normalization != BY_NODE:
        factor = stretch(low, high, rule.q_floor)
    else:
        if num_visited < visits.shape[0]:
            lowest, highest = min(lowest, mixed), max(highest, mixed)
        factor = stretch(lowest, highest, NODE_FLOOR)
    return mixed, (rule.c_visit + most_visits) * rule.c_scale * factor


@compiled
def best_considered(
    children: np.ndarray,
    visits: np.ndarray,
    log_priors: np.ndarray,
    qvalues: np.ndarray,
    gumbel: np.ndarray,
    considered_visits: int,
    mixed: float,
    weight: float,
) -> int:
    """The allowed action with the highest g + logit + sigma(Q) among those with so many visits."""
    best_score, best_action = -np.inf, -1
    for action in range(visits.shape[0]):
        if visits[action] == considered_visits and children[action] != FORBIDDEN:
            score = gumbel[action] + log_priors[action]
            if visits[action] > 0:
                score += weight * (qvalues[action] - mixed)
            if score > best_score:
                best_score, best_action = score, action
    return best_action


@compiled
def improve_policy(
    visits: np.ndarray,
    priors: np.ndarray,
    log_priors: np.ndarray,
    qvalues: np.ndarray,
    mixed: float,
    weight: float,
    rest: float,
    policy: np.ndarray,
) -> None:
    """Fills `[A]` with the improved policy, softmax(logits + sigma(completed Q)).

    Q is counted from the mixed value, so that all unvisited actions keep their prior but for one common factor:
    only visited actions, of which most nodes have few, need an exponential. Actions that the node does not keep
    are unvisited too: `rest` is their prior, as a multiple of that of all kept ones, and what the policy lacks to 1
    is theirs.
    """
    num_actions = policy.shape[0]
    highest = -np.inf
    for action in range(num_actions):
        policy[action] = log_priors[action]
        if visits[action] > 0:
            policy[action] += weight * (qvalues[action] - mixed)
        highest = max(highest, policy[action])
    unvisited_factor = math.exp(min(-highest, MAX_EXPONENT))
    total = rest * unvisited_factor
    for action in range(num_actions):
        if visits[action] > 0:
            policy[action] = math.exp(policy[action] - highest)
        else:
            policy[action] = priors[action] * unvisited_factor
        total += policy[action]
    for action in range(num_actions):
        policy[action] /= total


@compiled
def most_owed(policy: np.ndarray, visits: np.ndarray, num_visits: int) -> int:
    """The action furthest behind its share of `num_visits`: argmax policy(a) - N(a) / (1 + num_visits)."""
    best_score, best_action = -np.inf, -1
    for action in range(policy.shape[0]):
        score = policy[action] - visits[action] / (1.0 + num_visits)
        if score > best_score:
            best_score, best_action = score, action
    return best_action


@compiled
def most_likely(priors: np.ndarray) -> int:
    """The first action with the highest of `[A]` priors."""
    action = 0
    for other in range(1, priors.shape[0]):
        if priors[other] > priors[action]:
            action = other
    return action


@compiled
def most_visits(visits: np.ndarray) -> int:
    """The largest of `[A]` visits."""
    most = 0
    for action in range(visits.shape[0]):
        most = max(most, visits[action])
    return most


@compiled
def gumbel_select(
    packed: Packed, row: int, gumbel: np.ndarray, considered_visits: int, rule: GumbelRule, policy: np.ndarray
) -> None:
    """Walks to a leaf: sequential halving at the root, the improved policy below. `policy` is `[A]` scratch."""
    edge_counts, edge_values, node_counts, node_values, row_counts, row_values = packed
    node = ROOT
    while True:
        children, visits = edge_counts[CHILD, row, node], edge_counts[EDGE_VISITS, row, node]
        priors, log_priors = edge_values[PRIOR, row, node], edge_values[LOG_PRIOR, row, node]
        qvalues, raw_value = edge_values[Q, row, node], node_values[RAW_VALUE, row, node]
        low, high = row_values[LOW, row], row_values[HIGH, row]
        num_visits = node_counts[VISITS, row, node] - 1
        if node == ROOT:
            mixed, weight = gumbel_assess(visits, priors, qvalues, raw_value, low, high, rule)
            action = best_considered(children, visits, log_priors, qvalues, gumbel, considered_visits, mixed, weight)
        elif num_visits == 0:  # the improved policy is the prior, whatever the values
            action = most_likely(priors)
        else:
            mixed, weight = gumbel_assess(visits, priors, qvalues, raw_value, low, high, rule)
            improve_policy(visits, priors, log_priors, qvalues, mixed, weight, 0.0, policy)
            action = most_owed(policy, visits, num_visits)
        if children[action] == UNVISITED:
            row_counts[LEAF_PARENT, row] = node
            row_counts[LEAF_ACTION, row] = action
            return
        node = children[action]


@compiled
def gumbel_select_all(
    packed: Packed, gumbel: np.ndarray, schedule: np.ndarray, plain_rule: Plain, policies: np.ndarray
) -> None:
    """Selects the first leaf of every row.

    Args:
        packed: the tree, its roots expanded.
        gumbel: `[B, A]` float64; noise on the root's logits, scaled.
        schedule: `[B, simulations]` int32; visits of the actions that each simulation considers.
        plain_rule: a `GumbelRule`.
        policies: `[B, A]` float64 scratch, because a kernel may not allocate.
    """
    rule = GumbelRule(*plain_rule)
    for row in range(gumbel.shape[0]):
        gumbel_select(packed, row, gumbel[row], schedule[row, 0], rule, policies[row])


@compiled
def gumbel_advance_all(
    packed: Packed,
    outputs: Outputs,
    node: int,
    gumbel: np.ndarray,
    schedule: np.ndarray,
    plain_rule: Plain,
    policies: np.ndarray,
) -> int:
    """Adds node `node` to every row, then selects the leaf of the next simulation, if there is one.

    Both in one call: that halves the cost of calling, and finds the row still in the processor's cache.

    Returns:
        The first row in which an output was not finite, or ALL_FINITE.
    """
    rule = GumbelRule(*plain_rule)
    for row in range(gumbel.shape[0]):
        if not end_simulation(packed, row, node, outputs, rule.normalization):
            return row
        if node < schedule.shape[1]:
            gumbel_select(packed, row, gumbel[row], schedule[row, node], rule, policies[row])
    return ALL_FINITE


@compiled
def gumbel_read_out_all(
    packed: Packed, gumbel: np.ndarray, rests: np.ndarray, plain_rule: Plain, policies: np.ndarray, actions: np.ndarray
) -> None:
    """Fills `[B, A]` improved policies of the roots, and `[B]` best actions among the most visited ones.

    For the `[B]` rests see `improve_policy`.
    """
    rule = GumbelRule(*plain_rule)
    edge_counts, edge_values, _, node_values, _, row_values = packed
    for row in range(actions.shape[0]):
        children, visits = edge_counts[CHILD, row, ROOT], edge_counts[EDGE_VISITS, row, ROOT]
        priors, log_priors = edge_values[PRIOR, row, ROOT], edge_values[LOG_PRIOR, row, ROOT]
        qvalues, raw_value = edge_values[Q, row, ROOT], node_values[RAW_VALUE, row, ROOT]
        low, high = row_values[LOW, row], row_values[HIGH, row]
        mixed, weight = gumbel_assess(visits, priors, qvalues, raw_value, low, high, rule)
        improve_policy(visits, priors, log_priors, qvalues, mixed, weight, rests[row], policies[row])
        actions[row] = best_considered(
            children, visits, log_priors, qvalues, gumbel[row], most_visits(visits), mixed, weight
        )


# ---------------------------------------------------------------------------------------------------
# pUCT.
# ---------------------------------------------------------------------------------------------------


@compiled
def puct_action(
    children: np.ndarray,
    visits: np.ndarray,
    priors: np.ndarray,
    qvalues: np.ndarray,
    value: float,
    prior_weight: float,
    low: float,
    high: float,
    rule: PuctRule,
) -> int:
    """The allowed action of a node with the highest upper bound, which is, with N(a) the visits of its edge:

        (Q(a) - worst) / range + prior_weight * prior(a) / (1 + N(a))

    `worst` is the smallest of the node's own value and its visited Q, and stands in for the Q of unvisited
    actions. That is mctx's rule, used here with every range: the node's value and its Q are told by the same
    player and scale together, so the visits do not change when all rewards and values are multiplied. The worst
    of the whole tree (MuZero's pseudocode) would weigh the unvisited actions of good nodes by unrelated bad ones.
    With BY_NODE the range spans the node's value and its visited Q.

    Args:
        children: `[A]` int; read for FORBIDDEN.
        visits: `[A]` int; of the edges.
        priors: `[A]`.
        qvalues: `[A]`; read where visited.
        value: search value of the node.
        prior_weight: of this node; see `puct.prior_weights`.
        low: smallest value of the row; not with BY_NODE.
        high: largest value of the row; not with BY_NODE.
        rule: the options.

    Source: Schrittwieser et al., arXiv:1911.08265, appendix B; mctx `qtransform_by_parent_and_siblings`.
    """
    num_actions = visits.shape[0]
    worst, best = value, value
    for action in range(num_actions):
        if visits[action] > 0:
            worst, best = min(worst, qvalues[action]), max(best, qvalues[action])
    factor = stretch(worst, best, NODE_FLOOR) if rule.normalization == BY_NODE else stretch(low, high, rule.q_floor)
    best_score, best_action = -np.inf, -1
    for action in range(num_actions):
        if children[action] != FORBIDDEN:
            score = prior_weight * priors[action] / (1 + visits[action])
            if visits[action] > 0:
                score += (qvalues[action] - worst) * factor
            if score > best_score:
                best_score, best_action = score, action
    return best_action


@compiled
def puct_select(packed: Packed, row: int, prior_weights: np.ndarray, rule: PuctRule) -> None:
    """Walks to a leaf by pUCT."""
    edge_counts, edge_values, node_counts, node_values, row_counts, row_values = packed
    node = ROOT
    while True:
        children = edge_counts[CHILD, row, node]
        action = puct_action(
            children,
            edge_counts[EDGE_VISITS, row, node],
            edge_values[PRIOR, row, node],
            edge_values[Q, row, node],
            node_values[VALUE, row, node],
            prior_weights[node_counts[VISITS, row, node]],
            row_values[LOW, row],
            row_values[HIGH, row],
            rule,
        )
        if children[action] == UNVISITED:
            row_counts[LEAF_PARENT, row] = node
            row_counts[LEAF_ACTION, row] = action
            return
        node = children[action]


@compiled
def puct_select_all(packed: Packed, prior_weights: np.ndarray, plain_rule: Plain) -> None:
    """Selects the first leaf of every row; `prior_weights` is `[N + 1]` float64, by visits of a node."""
    rule = PuctRule(*plain_rule)
    for row in range(packed[0].shape[1]):
        puct_select(packed, row, prior_weights, rule)


@compiled
def puct_advance_all(packed: Packed, outputs: Outputs, node: int, prior_weights: np.ndarray, plain_rule: Plain) -> int:
    """As `gumbel_advance_all`, by pUCT."""
    rule = PuctRule(*plain_rule)
    _, num_rows, num_nodes, _ = packed[0].shape
    for row in range(num_rows):
        if not end_simulation(packed, row, node, outputs, rule.normalization):
            return row
        if node + 1 < num_nodes:
            puct_select(packed, row, prior_weights, rule)
    return ALL_FINITE
