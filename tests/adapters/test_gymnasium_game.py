"""Gymnasium's environments come through as they are."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from muzero_ray.adapters.gymnasium_game import OBSERVATION_LIMIT, GymnasiumGame
from muzero_ray.core.game_check import check_game


class Extremes(gymnasium.Env[np.ndarray, int]):
    """Observes infinities, in float64; its actions are -1, 0 and 1, and its reward is the action."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = gymnasium.spaces.Discrete(3, start=-1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.array([np.inf, -np.inf, 0.5]), {}

    def step(self, action: int) -> Any:
        return np.array([1e300, np.nan, 0.0]), action, False, False, {}


class Reused(gymnasium.Env[np.ndarray, int]):
    """Observes in one float32 array, which it writes anew: small numbers at first, then huge ones, then NaN."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seen = np.array([0.5, -2.0], np.float32)
        self.coming = [[3e38, -2e9], [1e9, np.nan]]
        return self.seen, {}

    def step(self, action: int) -> Any:
        self.seen[:] = self.coming.pop(0)
        return self.seen, 0.0, False, False, {}


gymnasium.register("Extremes-v0", Extremes)
gymnasium.register("Reused-v0", Reused)


def episode(game: GymnasiumGame, seed: int, actions: list[int]) -> list[tuple[Any, ...]]:
    game.reset(seed)
    return [game.step(action) for action in actions]


def test_infinite_observations_are_cut_to_finite_float32_and_nan_is_not_hidden() -> None:
    game = GymnasiumGame("Extremes-v0")
    observation, _ = game.reset(0)
    np.testing.assert_allclose(observation, np.array([OBSERVATION_LIMIT, -OBSERVATION_LIMIT, 0.5], np.float32))
    assert observation.dtype == np.float32
    assert np.isnan(game.step(0)[0]).tolist() == [False, True, False]


def test_float32_observations_are_copied_and_cut_likewise() -> None:
    game = GymnasiumGame("Reused-v0")
    first, _ = game.reset(0)
    huge, broken = (game.step(0)[0] for _ in range(2))
    assert first.tolist() == [0.5, -2.0]
    assert huge.tolist() == [OBSERVATION_LIMIT, -OBSERVATION_LIMIT]
    np.testing.assert_array_equal(broken, np.array([1e9, np.nan], np.float32))


def test_actions_that_do_not_start_at_0_are_shifted() -> None:
    game = GymnasiumGame("Extremes-v0")
    assert [result[1] for result in episode(game, 0, [0, 1, 2])] == [-1.0, 0.0, 1.0]


def test_a_discrete_observation_becomes_one_hot() -> None:
    game = GymnasiumGame("FrozenLake-v1", is_slippery=False)
    assert game.reset(0)[0].tolist() == [1.0] + [0.0] * 15
    assert game.step(2)[0].tolist() == [0.0, 1.0] + [0.0] * 14  # one square to the right
    assert check_game(lambda: GymnasiumGame("FrozenLake-v1"), episodes=3) == []


def test_a_time_limit_truncates_and_a_fall_terminates() -> None:
    assert [r[2:4] for r in episode(GymnasiumGame("CartPole-v1", max_episode_steps=3), 0, [0, 1, 0])] == [
        (False, False),
        (False, False),
        (False, True),
    ]
    # Pushed to the left only, the pole falls to the right within a dozen steps.
    game = GymnasiumGame("CartPole-v1")
    game.reset(0)
    flags = (False, False)
    for _ in range(12):
        flags = game.step(0)[2:4]
        if any(flags):
            break
    assert flags == (True, False)


def test_an_action_after_the_end_is_refused() -> None:
    game = GymnasiumGame("CartPole-v1", max_episode_steps=1)
    episode(game, 0, [0])
    with pytest.raises(ValueError, match="the episode is over; call reset first"):
        game.step(0)


@pytest.mark.parametrize("action", [-1, 2])
def test_an_action_out_of_range_is_refused(action: int) -> None:
    game = GymnasiumGame("CartPole-v1")
    game.reset(0)
    with pytest.raises(ValueError, match=rf"CartPole-v1: action must lie in 0\.\.1, got {action}"):
        game.step(action)


def test_drawing_a_picture_changes_nothing_about_the_episode() -> None:
    actions = [int(action) for action in np.random.default_rng(0).integers(0, 4, size=40)]
    plain, drawn = GymnasiumGame("LunarLander-v3"), GymnasiumGame("LunarLander-v3")
    expected = episode(plain, 7, actions)
    drawn.reset(7)
    for time, (action, wanted) in enumerate(zip(actions, expected, strict=True)):
        observation, *rest = drawn.step(action)
        if time in (10, 11):  # the first picture is asked for in the middle of an episode
            picture = drawn.render()
        np.testing.assert_array_equal(observation, wanted[0])
        assert rest == list(wanted[1:])
    assert picture.shape == (400, 600, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 0


def test_an_environment_without_pictures_says_so() -> None:
    game = GymnasiumGame("Extremes-v0")
    game.reset(0)
    with pytest.raises(NotImplementedError, match="no render mode rgb_array"):
        game.render()
