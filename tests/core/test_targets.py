"""The n-step value target: hand-computed cases and a recursion as twin."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.naive_targets import naive_value_target

from muzero_ray.core import targets
from muzero_ray.core.targets import follows_policy, value_targets


def test_the_example_in_the_docstring_is_true():
    assert doctest.testmod(targets).failed == 0
    assert doctest.testmod(targets).attempted == 2


def test_one_player_target_adds_discounted_rewards_and_bootstraps():
    result = value_targets(
        rewards=np.array([1.0, 2.0, 4.0]),
        to_play=np.zeros(4, int),
        root_values=np.array([10.0, 20.0, 30.0]),
        final_value=0.0,
        discount=0.5,
        td_steps=2,
    )
    # 1 + 2/2 + 30/4; 2 + 4/2 + 0; 4 + 0
    np.testing.assert_allclose(result, [9.5, 4.0, 4.0])


def test_a_target_adds_up_nothing_from_an_action_on_that_is_not_played_any_more():
    policies = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    actions = np.array([0, 1, 1, 0])
    follows = follows_policy(policies, actions, 0.2)
    assert follows.tolist() == [True, False, True, True]  # 0.1 is less than a fifth of 0.9
    result = value_targets(
        rewards=np.array([1.0, 2.0, 4.0, 8.0]),
        to_play=np.zeros(5, int),
        root_values=np.array([10.0, 20.0, 30.0, 40.0]),
        final_value=0.0,
        discount=0.5,
        td_steps=2,
        follows=follows,
    )
    # 1 + 20/2, cut before the second action; 20 itself; 4 + 8/2 + 0; 8 + 0
    np.testing.assert_allclose(result, [11.0, 20.0, 8.0, 8.0])


def test_reward_of_the_winner_is_the_loss_of_every_state_of_the_other_player():
    result = value_targets(
        rewards=np.array([0.0, 0, 0, 0, 0, 0, 1.0]),
        to_play=np.array([0, 1, 0, 1, 0, 1, 0, 1]),
        root_values=np.full(7, 0.3),
        final_value=0.0,
        discount=1.0,
        td_steps=100,
    )
    np.testing.assert_array_equal(result, [1, -1, 1, -1, 1, -1, 1])


def test_a_second_move_of_the_same_player_keeps_the_sign():
    result = value_targets(
        rewards=np.array([0.0, 0.0, 1.0]),
        to_play=np.array([1, 0, 0, 1]),
        root_values=np.zeros(3),
        final_value=0.0,
        discount=1.0,
        td_steps=3,
    )
    np.testing.assert_array_equal(result, [-1, 1, 1])


@pytest.mark.parametrize("td_steps", [1, 3, 1000])
def test_truncated_game_bootstraps_from_its_final_value(td_steps: int):
    # With a reward of 1 for ever and discount 0.9 every state is worth 10, also next to where the clock stopped.
    result = value_targets(
        rewards=np.ones(20),
        to_play=np.zeros(21, int),
        root_values=np.full(20, 10.0),
        final_value=10.0,
        discount=0.9,
        td_steps=td_steps,
    )
    np.testing.assert_allclose(result, 10.0, rtol=1e-6)


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 30), td_steps=st.integers(1, 40))
def test_targets_equal_a_recursion_for_any_turn_order(seed: int, steps: int, td_steps: int):
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=steps), rng.normal(size=steps + 1)
    to_play, discount = rng.integers(2, size=steps + 1), rng.uniform(0.1, 1)
    options = {"discount": discount, "td_steps": td_steps, "follows": rng.random(steps) < 0.8}
    result = value_targets(rewards, to_play, values[:-1], final_value=values[-1], **options)
    expected = [naive_value_target(rewards, to_play, values, t, **options) for t in range(steps)]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"td_steps": 0}, "td_steps must be at least 1, got 0"),
        ({"to_play": np.zeros(3, int)}, "4 to_play"),
        ({"root_values": np.zeros(4)}, "3 root_values"),
    ],
)
def test_wrong_arguments_are_named(change: dict, message: str):
    arguments = {
        "rewards": np.zeros(3),
        "to_play": np.zeros(4, int),
        "root_values": np.zeros(3),
        "final_value": 0.0,
        "discount": 1.0,
        "td_steps": 1,
    }
    with pytest.raises(ValueError, match=message):
        value_targets(**arguments | change)
