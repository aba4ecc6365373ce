"""The planner runs the configured search, keeps trees, and is deterministic where nothing is to be random."""

import numpy as np
import pytest
from reference.fake_models import random_table

from muzero_ray.core.config import SearchConfig
from muzero_ray.mcts.gumbel import gumbel_search
from muzero_ray.mcts.planner import KEPT_TREES, make_planner
from muzero_ray.mcts.puct import muzero_search

STATES, LEGAL = np.arange(6), np.ones((6, 4), bool)


@pytest.fixture
def model():
    return random_table(np.random.default_rng(0), 30, 4)


def rng():
    return np.random.default_rng(7)


def test_it_runs_the_gumbel_search_with_the_configured_options(model):
    config = SearchConfig(num_simulations=12, max_considered_actions=3, c_visit=20.0, c_scale=0.5, q_floor=0.1)
    planned = make_planner(config, None)(model, STATES, LEGAL, noise_scale=0.5, temperature=1.0, rng=rng())
    direct = gumbel_search(
        model,
        STATES,
        LEGAL,
        num_simulations=12,
        rng=rng(),
        max_considered_actions=3,
        gumbel_scale=0.5,
        c_visit=20.0,
        c_scale=0.5,
        q_normalization="tree",
        q_floor=0.1,
    )
    np.testing.assert_array_equal(planned.search_policies, direct.search_policies)
    np.testing.assert_array_equal(planned.actions, direct.actions)


def test_noise_that_is_given_replaces_what_would_be_drawn(model):
    config = SearchConfig(num_simulations=4)
    drawn = make_planner(config, None)(model, STATES, LEGAL, noise_scale=0.5, temperature=1.0, rng=rng())
    given = make_planner(config, None)(
        model, STATES, LEGAL, noise_scale=0.5, temperature=1.0, rng=rng(), gumbel=rng().gumbel(size=LEGAL.shape)
    )
    np.testing.assert_array_equal(given.visit_counts, drawn.visit_counts)
    np.testing.assert_array_equal(given.actions, drawn.actions)
    favoured = np.where(np.arange(4) == 2, 1e3, np.zeros(LEGAL.shape))
    given = make_planner(config, None)(
        model, STATES, LEGAL, noise_scale=0.5, temperature=1.0, rng=rng(), gumbel=favoured
    )
    assert (given.actions == 2).all()


def test_it_runs_puct_with_the_configured_options_and_a_ladder_of_noise(model):
    ladder = np.linspace(0.0, 1.0, 6)
    config = SearchConfig(
        algorithm="muzero",
        num_simulations=12,
        q_normalization="bounds",
        pb_c_init=2.0,
        pb_c_base=100.0,
        dirichlet_alpha=0.7,
        exploration_fraction=0.5,
    )
    planned = make_planner(config, (-4.0, 4.0))(model, STATES, LEGAL, noise_scale=ladder, temperature=0.3, rng=rng())
    direct = muzero_search(
        model,
        STATES,
        LEGAL,
        num_simulations=12,
        rng=rng(),
        temperature=0.3,
        exploration_fraction=0.5 * ladder,
        dirichlet_alpha=0.7,
        pb_c_init=2.0,
        pb_c_base=100.0,
        q_normalization="bounds",
        q_floor=0.01,
        value_bounds=(-4.0, 4.0),
    )
    np.testing.assert_array_equal(planned.visit_counts, direct.visit_counts)
    np.testing.assert_array_equal(planned.actions, direct.actions)


@pytest.mark.parametrize("algorithm", ["gumbel", "muzero"])
def test_greedy_evaluation_is_deterministic(model, algorithm):
    planner = make_planner(SearchConfig(algorithm=algorithm), None)
    found = [
        planner(model, STATES, LEGAL, noise_scale=0.0, temperature=0.0, rng=np.random.default_rng(seed))
        for seed in (1, 2)
    ]
    np.testing.assert_array_equal(found[0].actions, found[1].actions)
    np.testing.assert_array_equal(found[0].visit_counts, found[1].visit_counts)


@pytest.mark.parametrize("algorithm", ["gumbel", "muzero"])
def test_the_number_of_simulations_can_be_overridden(model, algorithm):
    planner = make_planner(SearchConfig(algorithm=algorithm, num_simulations=5), None)
    few = planner(model, STATES, LEGAL, noise_scale=0.0, temperature=0.0, rng=rng())
    many = planner(model, STATES, LEGAL, num_simulations=9, noise_scale=0.0, temperature=0.0, rng=rng())
    assert few.visit_counts.sum(axis=1).tolist() == [5] * 6
    assert many.visit_counts.sum(axis=1).tolist() == [9] * 6


def test_more_noise_than_there_is_prior_is_all_noise(model):
    planner = make_planner(SearchConfig(algorithm="muzero", exploration_fraction=0.5), None)
    found = [
        planner(model, STATES, LEGAL, noise_scale=scale, temperature=0.0, rng=rng()).visit_counts
        for scale in (2.0, 9.0)
    ]
    np.testing.assert_array_equal(found[0], found[1])


def test_trees_are_used_again_and_only_a_few_are_kept(model):
    planner = make_planner(SearchConfig(num_simulations=3), None)

    def search(rows):
        planner(model, STATES[:rows], LEGAL[:rows], noise_scale=0.0, temperature=0.0, rng=rng())
        return planner._trees[rows, 4, 4]

    first = search(6)
    assert search(6) is first
    for rows in range(1, KEPT_TREES + 1):
        search(rows)
    assert len(planner._trees) == KEPT_TREES
    assert search(6) is not first


def test_bounds_must_be_declared_by_the_game():
    with pytest.raises(ValueError, match="declares no value_bounds"):
        make_planner(SearchConfig(q_normalization="bounds"), None)
