"""The formulas of the search on numbers small enough to work out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.fake_models import TableModel
from reference.searches import search

from muzero_ray.mcts import kernels
from muzero_ray.mcts.kernels import BY_BOUNDS, BY_NODE, BY_TREE, GumbelRule, PuctRule
from muzero_ray.mcts.tree import FORBIDDEN, PARENT, ROOT, UNVISITED, VALUE, VISITS, Q, Tree

NAN = np.nan


def ints(*numbers):
    return np.array(numbers, np.int32)


def floats(*numbers):
    return np.array(numbers, np.float64)


def test_expansion_turns_logits_into_priors_and_forbids_minus_infinity():
    children, visits, priors, log_priors = ints(9, 9, 9), ints(9, 9, 9), floats(9, 9, 9), floats(9, 9, 9)
    logits = np.array([math.log(1), -np.inf, math.log(3)], np.float32)
    log_total = kernels.expand(children, visits, priors, log_priors, logits)
    assert log_total == pytest.approx(math.log(4))
    np.testing.assert_allclose(priors, [0.25, 0.0, 0.75], rtol=1e-6)
    np.testing.assert_allclose(log_priors[[0, 2]], np.log([0.25, 0.75]), rtol=1e-6)
    assert log_priors[1] == -np.inf
    assert children.tolist() == [UNVISITED, FORBIDDEN, UNVISITED]
    assert visits.tolist() == [0, 0, 0]


def test_large_logits_do_not_overflow():
    priors = floats(0, 0)
    kernels.expand(ints(0, 0), ints(0, 0), priors, floats(0, 0), np.array([1e30, 1e30], np.float32))
    np.testing.assert_allclose(priors, [0.5, 0.5])


def test_a_discount_carries_sign_and_weight_up_the_tree():
    # One action, so a chain. Root 0.5; the first edge pays 1 and weighs its end by -0.5 (the other player's), where
    # the model sees 2; the second pays that player 3 and they move again (+1), to a state worth -1.
    chain = TableModel(
        next_states=np.array([[1], [2], [2]]),
        rewards=np.array([[1.0], [3.0], [0.0]]),
        discounts=np.array([[-0.5], [1.0], [1.0]]),
        values=np.array([0.5, 2.0, -1.0]),
        policy_logits=np.zeros((3, 1)),
    )
    tree = Tree(1, 3, 1)
    found = search("muzero", chain, np.zeros(1, int), np.ones((1, 1), bool), num_simulations=2, tree=tree)
    # Returns of node 1: its own 2, then 3 - 1 = 2. Of the root: 0.5, then 1 - 0.5 * 2 = 0, then 1 - 0.5 * 2 = 0.
    np.testing.assert_allclose(tree.node_values[VALUE, 0], [0.5 / 3, 2.0, -1.0])
    np.testing.assert_allclose(tree.edge_values[Q, 0, :2, 0], [1 - 0.5 * 2, 3 - 1])
    assert tree.node_counts[VISITS, 0].tolist() == [3, 2, 1]
    assert tree.node_counts[PARENT, 0, 1:].tolist() == [ROOT, 1]
    assert found.root_values[0] == pytest.approx(0.5 / 3)


@pytest.mark.parametrize(
    ("normalization", "q_floor", "span"),
    [
        (BY_NODE, 100.0, 3.0),  # of 0, 3 and the mixed value 2; the floor is the tree's
        (BY_TREE, 0.01, 5.0),  # of -1 to 4
        (BY_TREE, 10.0, 10.0),
        (BY_BOUNDS, 0.0, 5.0),
    ],
)
def test_mixed_value_and_weight_of_q_by_hand(normalization, q_floor, span):
    # Visited: priors 0.5 and 0.25 with Q 0 and 3, on average 1. Three visits: (5 + 3 * 1) / 4 = 2.
    mixed, weight = kernels.gumbel_assess(
        ints(2, 1, 0),
        floats(0.5, 0.25, 0.25),
        floats(0.0, 3.0, NAN),
        5.0,
        -1.0,
        4.0,
        GumbelRule(normalization, q_floor, 50.0, 0.1),
    )
    assert mixed == pytest.approx(2.0)
    assert weight == pytest.approx((50 + 2) * 0.1 / span)


def test_an_unvisited_node_is_worth_what_the_model_says():
    rule = GumbelRule(BY_TREE, 0.0, 50.0, 0.1)
    mixed, weight = kernels.gumbel_assess(ints(0, 0), floats(0.5, 0.5), floats(NAN, NAN), 7.0, 7.0, 7.0, rule)
    assert (mixed, weight) == (7.0, 0.0)


def test_visited_actions_of_no_prior_still_have_a_mixed_value():
    rule = GumbelRule(BY_NODE, 0.0, 50.0, 0.1)
    mixed, _ = kernels.gumbel_assess(ints(1, 0), floats(0.0, 1.0), floats(4.0, NAN), 2.0, 0.0, 0.0, rule)
    assert mixed == pytest.approx(3.0)


def test_improved_policy_by_hand():
    # Logits log 1, log 2, log 1; Q - mixed is 0 for the unvisited action, +log 2 and -log 2 for the others.
    policy, prior = np.empty(3), floats(0.25, 0.5, 0.25)
    kernels.improve_policy(
        ints(0, 1, 1), prior, np.log(prior), floats(NAN, 10 + math.log(2), 10 - math.log(2)), 10.0, 1.0, 0.0, policy
    )
    np.testing.assert_allclose(policy, np.array([1.0, 4.0, 0.5]) / 5.5)


def test_actions_that_are_not_kept_have_their_share_of_the_improved_policy():
    # Kept: priors 1/4 and 1/2 of the kept mass and so on, as above, with weights 1, 4 and 0.5. What is not kept has
    # half of the kept mass, so a weight of 0.5 * (1 + 2 + 1) = 2 beside the 1 of the unvisited action: 7.5 in all.
    policy, prior = np.empty(3), floats(0.25, 0.5, 0.25)
    kernels.improve_policy(
        ints(0, 1, 1), prior, np.log(prior), floats(NAN, 10 + math.log(2), 10 - math.log(2)), 10.0, 1.0, 0.5, policy
    )
    np.testing.assert_allclose(policy, np.array([1.0, 4.0, 0.5]) / 7.5)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_improved_policy_is_the_softmax_of_logits_plus_sigma(data):
    size = data.draw(st.integers(1, 6))
    logits = np.array(data.draw(st.lists(st.floats(-1e3, 1e3), min_size=size, max_size=size)))
    visits = np.array(data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)), np.int32)
    qvalues = np.array(data.draw(st.lists(st.floats(-2, 2), min_size=size, max_size=size)))
    mixed, weight = data.draw(st.floats(-2, 2)), data.draw(st.floats(0, 300))
    log_priors = logits - np.logaddexp.reduce(logits)
    policy = np.empty(size)
    kernels.improve_policy(visits, np.exp(log_priors), log_priors, qvalues, mixed, weight, 0.0, policy)
    scores = logits + weight * np.where(visits > 0, qvalues, mixed)
    np.testing.assert_allclose(policy, np.exp(scores - np.logaddexp.reduce(scores)), rtol=1e-6, atol=1e-9)


def test_the_action_furthest_behind_its_share_is_owed_a_visit():
    # 0.5 - 2/4, 0.3 - 1/4, 0.2 - 0/4: the last one has most to come.
    assert kernels.most_owed(floats(0.5, 0.3, 0.2), ints(2, 1, 0), 3) == 2
    assert kernels.most_owed(floats(0.5, 0.3, 0.2), ints(0, 1, 2), 3) == 0


@given(logits=st.lists(st.floats(-20, 20), min_size=1, max_size=8), mixed=st.floats(-5, 5), weight=st.floats(0, 60))
@settings(deadline=None)
def test_where_nothing_was_visited_the_most_likely_action_is_the_one_that_is_owed(logits, mixed, weight):
    size = len(logits)
    children, visits, priors, log_priors = np.zeros(size, np.int32), np.zeros(size, np.int32), *np.zeros((2, size))
    kernels.expand(children, visits, priors, log_priors, np.array(logits, np.float32))
    policy = np.empty(size)
    kernels.improve_policy(visits, priors, log_priors, np.full(size, NAN), mixed, weight, 0.0, policy)
    chosen = kernels.most_likely(priors)
    assert policy[chosen] == policy[kernels.most_owed(policy, visits, 0)] == policy.max()
    assert priors[chosen] == priors.max()
    assert chosen == priors.tolist().index(priors.max()), "the first of equals"


def test_only_allowed_actions_with_the_considered_visits_compete_at_the_root():
    def best(children, considered):
        logits, gumbel = floats(0.0, 5.0, 1.0, 2.0), floats(0.5, 0.0, 0.0, 0.0)
        # Visited actions 2 and 3 differ by 1 in logit and by 2 * (0.9 - 0.1) = 1.6 in sigma, the other way round.
        return kernels.best_considered(
            children, ints(0, 0, 1, 1), logits, floats(NAN, NAN, 0.9, 0.1), gumbel, considered, 0.5, 2.0
        )

    assert best(ints(UNVISITED, UNVISITED, 1, 2), 0) == 1
    assert best(ints(UNVISITED, FORBIDDEN, 1, 2), 0) == 0
    assert best(ints(UNVISITED, UNVISITED, 1, 2), 1) == 2


@pytest.mark.parametrize(("prior_weight", "action"), [(4.9, 0), (5.1, 1)])
def test_puct_score_of_one_node_by_hand(prior_weight, action):
    # The node is worth 0.2 and action 0 scores (0.5 - 0.2) / 0.3 + w * 0.6 / 3 = 1 + 0.2 w; the unvisited action 1
    # scores as the worst, 0 + w * 0.4. They are equal at w = 5.
    chosen = kernels.puct_action(
        ints(1, UNVISITED),
        ints(2, 0),
        floats(0.6, 0.4),
        floats(0.5, NAN),
        0.2,
        prior_weight,
        0.0,
        0.0,
        PuctRule(BY_NODE, 0.0),
    )
    assert chosen == action


@pytest.mark.parametrize(("prior_weight", "action"), [(0.70, 0), (0.80, 1)])
def test_puct_divides_q_by_the_range_of_the_tree(prior_weight, action):
    # As above, but the tree spans 2: 0.15 + 0.2 w against 0.4 w, equal at w = 0.75.
    chosen = kernels.puct_action(
        ints(1, UNVISITED),
        ints(2, 0),
        floats(0.6, 0.4),
        floats(0.5, NAN),
        0.2,
        prior_weight,
        -1.0,
        1.0,
        PuctRule(BY_TREE, 0.01),
    )
    assert chosen == action


def test_puct_never_chooses_a_forbidden_action():
    chosen = kernels.puct_action(
        ints(FORBIDDEN, UNVISITED),
        ints(0, 0),
        floats(0.9, 0.1),
        floats(NAN, NAN),
        0.0,
        1.0,
        0.0,
        0.0,
        PuctRule(BY_NODE, 0.0),
    )
    assert chosen == 1


def test_an_empty_range_weighs_nothing():
    assert kernels.stretch(2.0, 2.0, 0.0) == 0.0
    assert kernels.stretch(2.0, 2.0, 0.01) == pytest.approx(100.0)
    assert kernels.stretch(2.0, 4.0, 0.01) == 0.5
