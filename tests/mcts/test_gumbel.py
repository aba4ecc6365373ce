"""The schedule of sequential halving, and what is particular to the Gumbel search."""

import numpy as np
import pytest
from reference.fake_models import ConstantModel, random_table
from reference.naive_search import halving_plan
from reference.searches import search

from muzero_ray.mcts.gumbel import considered_visits, considered_visits_table


@pytest.mark.parametrize(
    ("num_considered", "num_simulations", "schedule"),
    [
        (1, 4, [0, 1, 2, 3]),
        (2, 8, [0, 0, 1, 1, 2, 2, 3, 3]),
        (4, 8, [0, 0, 0, 0, 1, 1, 2, 2]),
        (3, 8, [0, 0, 0, 1, 1, 2, 2, 3]),
        (4, 16, [0] * 4 + [1] * 4 + [2, 2, 3, 3, 4, 4, 5, 5]),
        (7, 16, [0] * 7 + [1, 1, 1, 2, 2, 3, 3, 4, 4]),
        (16, 32, [0] * 16 + [1] * 8 + [2] * 4 + [3] * 4),
    ],
)
def test_schedule_of_sequential_halving(num_considered, num_simulations, schedule):
    assert considered_visits(num_considered, num_simulations) == schedule


@pytest.mark.parametrize("num_simulations", [1, 5, 16, 50, 200])
def test_schedules_equal_the_plan_that_keeps_every_count(num_simulations):
    for num_considered in range(1, 20):
        assert considered_visits(num_considered, num_simulations) == halving_plan(num_considered, num_simulations)


def test_the_table_holds_one_schedule_for_every_number_of_considered_actions():
    table = considered_visits_table(5, 12)
    assert table.shape == (6, 12)
    for num_considered in range(1, 6):
        assert table[num_considered].tolist() == considered_visits(num_considered, 12)


def test_each_row_considers_at_most_m_actions_and_all_of_fewer():
    legal = np.ones((3, 8), bool)
    legal[1, 2:] = False
    legal[2, 1:] = False
    model = random_table(np.random.default_rng(0), 50, 8)
    found = search("gumbel", model, np.arange(3), legal, max_considered_actions=4)
    assert (found.visit_counts > 0).sum(axis=1).tolist() == [4, 2, 1]


def test_actions_are_sampled_without_replacement_from_the_policy():
    # The highest of logit + Gumbel is a draw from the policy; with one simulation that is the action played.
    probabilities = np.array([0.6, 0.3, 0.1])
    model = ConstantModel(3)
    rows = 4000
    model.initial = lambda observations, num_nodes: _with_logits(model, rows, num_nodes, np.log(probabilities))
    found = search("gumbel", model, np.zeros(rows), np.ones((rows, 3), bool), num_simulations=1)
    shares = np.bincount(found.actions, minlength=3) / rows
    np.testing.assert_allclose(shares, probabilities, atol=0.03)


def _with_logits(model, rows, num_nodes, logits):
    root = ConstantModel.initial(model, np.zeros(rows), num_nodes)
    root.policy_logits[:] = logits
    return root


def test_the_improved_policy_prefers_the_better_action_even_if_hardly_visited():
    # Two actions, equal logits; action 1 pays 1. Each is visited once and sigma weighs the range by 5.1.
    model = random_table(np.random.default_rng(0), 1, 2, discounts=(0.0,), logit_scale=0.0)
    model.rewards[:] = [[0.0, 1.0]]
    model.values[:] = 0.0
    found = search("gumbel", model, np.zeros(1, int), np.ones((1, 2), bool), num_simulations=2, scale=0.0)
    assert found.visit_counts.tolist() == [[1, 1]]
    np.testing.assert_allclose(found.search_policies[0, 1], 1 / (1 + np.exp(-5.1)), rtol=1e-6)
    assert found.actions[0] == 1
