"""The root of pUCT: weight of the prior, noise, and the action drawn."""

import math

import numpy as np
import pytest
from reference.fake_models import ConstantModel
from reference.searches import search

from muzero_ray.mcts.puct import draw_actions, draw_dirichlet, prior_weights


def test_weight_of_the_prior_by_hand():
    # (1.25 + log((3 + 2 + 1) / 2)) * sqrt(3), and a node without visits has none.
    np.testing.assert_allclose(prior_weights(np.array([0, 3]), 1.25, 2.0), [0.0, (1.25 + math.log(3)) * math.sqrt(3)])


def test_noise_is_a_dirichlet_draw_over_the_legal_actions():
    legal = np.tile([True, False, True, True], (40_000, 1))
    noise = draw_dirichlet(np.random.default_rng(0), 0.3, legal)
    assert (noise[:, 1] == 0).all()
    np.testing.assert_allclose(noise.sum(axis=1), 1.0)
    # Mean 1/k and variance (k - 1) / (k^2 (k alpha + 1)) of each of k = 3 shares.
    np.testing.assert_allclose(noise[:, [0, 2, 3]].mean(axis=0), 1 / 3, atol=0.01)
    np.testing.assert_allclose(noise[:, [0, 2, 3]].var(axis=0), 2 / (9 * 1.9), rtol=0.03)


def test_noise_of_tiny_concentration_is_finite():
    noise = draw_dirichlet(np.random.default_rng(0), 1e-3, np.ones((1000, 2), bool))
    np.testing.assert_allclose(noise.sum(axis=1), 1.0)
    assert noise[:, 0].mean() == pytest.approx(0.5, abs=0.06)


def test_noise_alone_decides_when_its_share_is_one():
    # Nothing but the prior tells these actions apart, and it is all noise: the visits follow it, not the logits.
    noise = np.array([[0.1, 0.2, 0.7]])
    found = search(
        "muzero",
        ConstantModel(3),
        np.zeros(1),
        np.ones((1, 3), bool),
        noise=noise,
        exploration_fraction=1.0,
        num_simulations=100,
    )
    np.testing.assert_allclose(found.search_policies, noise, atol=0.03)


@pytest.mark.parametrize(("temperature", "shares"), [(1.0, [0.25, 0.0, 0.75]), (0.5, [0.1, 0.0, 0.9])])
def test_actions_are_drawn_by_visits_to_the_power_of_one_over_the_temperature(temperature, shares):
    rows = 20_000
    visits = np.tile([5, 0, 15], (rows, 1))
    actions = draw_actions(np.random.default_rng(0), visits, np.zeros((rows, 3)), np.full(rows, temperature))
    np.testing.assert_allclose(np.bincount(actions, minlength=3) / rows, shares, atol=0.012)


def test_at_temperature_zero_the_most_visited_action_is_played_and_the_better_of_equals():
    visits = np.array([[3, 5, 2], [4, 4, 2], [4, 2, 4]])
    qvalues = np.array([[9.0, 0.0, 9.0], [0.1, 0.2, 9.0], [0.2, 9.0, 0.1]])
    assert draw_actions(np.random.default_rng(0), visits, qvalues, np.zeros(3)).tolist() == [1, 1, 0]


def test_every_game_has_its_own_temperature():
    visits = np.tile([600, 400], (2000, 1))
    temperatures = np.where(np.arange(2000) % 2 == 0, 0.0, 1.0)
    actions = draw_actions(np.random.default_rng(0), visits, np.zeros((2000, 2)), temperatures)
    assert (actions[::2] == 0).all()
    assert actions[1::2].mean() == pytest.approx(0.4, abs=0.05)


def test_extreme_temperatures_neither_overflow_nor_draw_unvisited_actions():
    visits = np.tile([0, 700, 699], (500, 1))
    cold = draw_actions(np.random.default_rng(0), visits, np.zeros((500, 3)), np.full(500, 1e-6))
    hot = draw_actions(np.random.default_rng(0), visits, np.zeros((500, 3)), np.full(500, 1e6))
    assert (cold == 1).all()
    assert set(hot.tolist()) == {1, 2}


def test_the_search_draws_its_action_by_the_visits():
    rows = 3000
    found = search(
        "muzero",
        ConstantModel(3),
        np.zeros(rows),
        np.ones((rows, 3), bool),
        scale=0.0,
        temperature=1.0,
        num_simulations=4,
    )
    shares = np.bincount(found.actions, minlength=3) / rows
    np.testing.assert_allclose(shares, found.search_policies[0], atol=0.03)
