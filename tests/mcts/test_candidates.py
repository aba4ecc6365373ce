"""Nodes that keep the most probable actions only: what is kept, and that the rest of the search does not notice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.fake_models import ConstantModel, random_table
from reference.naive_search import NaiveSearch
from reference.searches import search

from muzero_ray.core.config import SearchConfig
from muzero_ray.mcts import kernels
from muzero_ray.mcts.model import RootOutput, StepOutput
from muzero_ray.mcts.planner import make_planner
from muzero_ray.mcts.tree import Tree

EVERY_SEARCH = pytest.mark.parametrize("algorithm", ["gumbel", "muzero"])
EVERY_SHARED_RANGE = pytest.mark.parametrize("normalization", ["tree", "bounds"])
ROWS, ACTIONS, KEPT, SIMULATIONS = 8, 12, 5, 24


@pytest.fixture(scope="module", params=range(3))
def cases(request):
    rng = np.random.default_rng(request.param)
    model = random_table(rng, 40, ACTIONS, discounts=(0.9, -0.9, 0.0), logit_scale=2.0)
    legal = rng.random((ROWS, ACTIONS)) < 0.8
    legal[:, 0] = True
    legal[0] = np.arange(ACTIONS) < 3  # fewer than are kept
    return model, rng.integers(40, size=ROWS), legal, rng


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([-np.inf, -2.0, -0.5, 0.0, 0.0, 1.5, 3.0]), min_size=2, max_size=30), st.data())
def test_the_highest_scores_are_kept_in_the_order_of_their_actions(scores, data):
    count = data.draw(st.integers(1, len(scores) - 1))
    actions, kept = np.full(count, -1, np.int32), np.empty(count, np.float32)
    kernels.keep_highest(np.array(scores, np.float32), actions, kept)
    wanted = sorted(sorted(range(len(scores)), key=lambda action: (-scores[action], action))[:count])
    assert actions.tolist() == wanted
    assert kept.tolist() == [scores[action] for action in wanted]


@EVERY_SEARCH
@EVERY_SHARED_RANGE
def test_keeping_all_actions_changes_nothing(cases, algorithm, normalization):
    model, states, legal, _ = cases
    plain = search(algorithm, model, states, legal, normalization=normalization)
    bounded = search(algorithm, model, states, legal, normalization=normalization, max_candidates=ACTIONS)
    for name, array in vars(plain).items():
        np.testing.assert_array_equal(array, getattr(bounded, name))


@EVERY_SHARED_RANGE
def test_gumbel_search_equals_the_naive_search_whose_root_keeps_all_actions(cases, normalization):
    model, states, legal, rng = cases
    noise = rng.gumbel(size=legal.shape)
    found = search("gumbel", model, states, legal, noise=noise, normalization=normalization, max_candidates=KEPT)
    for row in range(ROWS):
        twin = NaiveSearch(
            model, states[row], legal[row], SIMULATIONS, normalization, bounds=(-3.0, 3.0), max_candidates=KEPT
        )
        wanted = twin.run_gumbel(noise[row], 4, 50.0, 0.1)
        assert found.visit_counts[row].tolist() == wanted.visits
        assert found.actions[row] == wanted.action
        np.testing.assert_allclose(found.search_policies[row], wanted.policy, rtol=1e-5, atol=1e-10)
        np.testing.assert_allclose(found.root_values[row], wanted.root_value, rtol=1e-5)


@EVERY_SHARED_RANGE
def test_puct_search_equals_the_naive_search_of_the_likeliest_legal_actions(cases, normalization):
    model, states, legal, rng = cases
    noise = rng.dirichlet(np.ones(ACTIONS), size=ROWS)
    found = search("muzero", model, states, legal, noise=noise, normalization=normalization, max_candidates=KEPT)
    for row in range(ROWS):
        twin = NaiveSearch(
            model, states[row], legal[row], SIMULATIONS, normalization, bounds=(-3.0, 3.0), max_candidates=KEPT
        )
        twin.root.legal = twin.likeliest(states[row], twin.root.legal)
        visits, root_value = twin.run_puct(noise[row], 0.25)
        assert found.visit_counts[row].tolist() == visits
        np.testing.assert_allclose(found.root_values[row], root_value, rtol=1e-5)


@EVERY_SEARCH
def test_results_are_about_all_actions_and_illegal_ones_get_nothing(cases, algorithm):
    model, states, legal, _ = cases
    found = search(algorithm, model, states, legal, max_candidates=KEPT)
    assert found.search_policies.shape == found.visit_counts.shape == (ROWS, ACTIONS)
    assert (found.visit_counts.sum(axis=1) == SIMULATIONS).all()
    assert (found.search_policies[~legal] == 0).all()
    np.testing.assert_allclose(found.search_policies.sum(axis=1), 1.0, rtol=1e-6)
    assert legal[np.arange(ROWS), found.actions].all()
    if algorithm == "gumbel":
        assert (found.search_policies[legal] > 0).all()


@EVERY_SEARCH
def test_a_logit_that_is_no_number_is_noticed_even_where_it_would_not_be_kept(algorithm):
    class Spoilt(ConstantModel):
        def recurrent(self, parent_nodes, actions, new_node):
            logits = np.arange(ACTIONS, 0, -1, dtype=np.float32) * np.ones((ROWS, 1), np.float32)
            if new_node == 7:
                logits[2, -1] = np.nan
            return StepOutput(**{**vars(self.step), "policy_logits": logits})

    with pytest.raises(ValueError, match=r"StepOutput.policy_logits must be finite.* row 2 at node 7"):
        search(algorithm, Spoilt(ACTIONS), np.zeros(ROWS), np.ones((ROWS, ACTIONS), bool), max_candidates=KEPT)


def test_no_candidates_are_refused():
    with pytest.raises(ValueError, match="max_candidates must be at least 1, got 0"):
        search("gumbel", ConstantModel(4), np.zeros(3), np.ones((3, 4), bool), max_candidates=0)


def test_the_planner_keeps_as_many_as_configured(cases):
    model, states, legal, _ = cases
    options = {"noise_scale": 1.0, "temperature": 0.0}
    planned = make_planner(SearchConfig(num_simulations=SIMULATIONS, max_candidates=KEPT), None)(
        model, states, legal, rng=np.random.default_rng(0), **options
    )
    direct = search("gumbel", model, states, legal, max_considered_actions=16, max_candidates=KEPT)
    np.testing.assert_array_equal(planned.visit_counts, direct.visit_counts)


def test_noise_is_spread_by_the_number_of_legal_actions_where_that_is_configured():
    model, legal = ConstantModel(4), np.array([[True] * 4, [True, True, False, False]])
    config = SearchConfig(algorithm="muzero", num_simulations=4, dirichlet_per_action=2.0)
    options = {"noise_scale": 1.0, "temperature": 0.0}
    planned = make_planner(config, None)(model, np.zeros(2), legal, rng=np.random.default_rng(3), **options)
    direct = search(
        "muzero",
        model,
        np.zeros(2),
        legal,
        num_simulations=4,
        dirichlet_alpha=np.array([2.0 / 4, 2.0 / 2]),
        rng=np.random.default_rng(3),
    )
    np.testing.assert_array_equal(planned.visit_counts, direct.visit_counts)


def test_64_games_of_shogi_at_800_simulations_take_less_than_a_gigabyte():
    # 64 * 801 * 128 edges of 2 * 4 + 3 * 8 + 4 bytes are 236 MB; all 13,689 actions would take 22 GB.
    assert Tree(64, 801, 13_689, SearchConfig().max_candidates).nbytes < 250e6


@pytest.mark.parametrize("gap", [10.0, 36.73, 40.0, 60.0])
def test_a_policy_sums_to_1_however_far_apart_the_logits_of_the_few_legal_actions_are(gap):
    class Gap(ConstantModel):
        def initial(self, observations, num_nodes):
            root = super().initial(observations, num_nodes)
            logits = np.zeros((1, self.num_actions), np.float32)
            logits[0, 1] = -gap
            return RootOutput(root.values + 0.5, logits)

    options = {"num_simulations": 1, "max_considered_actions": 1, "c_scale": 1.0, "max_candidates": 128}
    found = search(
        *("gumbel", Gap(200, reward=-1.0), np.zeros(1), np.arange(200)[np.newaxis] < 2),
        **(options | {"scale": 0.0, "normalization": "node"}),
    )
    np.testing.assert_allclose(found.search_policies.sum(axis=1), 1.0, rtol=1e-6)
