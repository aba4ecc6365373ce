"""CartPole and Lunar Lander are the true ones: nothing scaled, nothing fixed, the real time limits."""

import gymnasium
import numpy as np
import pytest

from muzero_ray.adapters.loading import load_game


@pytest.mark.parametrize(("name", "env_id"), [("lunarlander", "LunarLander-v3"), ("cartpole", "CartPole-v1")])
def test_an_episode_equals_gymnasiums_own(name: str, env_id: str) -> None:
    game, env = load_game(name)(), gymnasium.make(env_id)
    rng = np.random.default_rng(1)
    for seed in (3, 2**32 - 1):
        np.testing.assert_array_equal(game.reset(seed)[0], env.reset(seed=seed)[0])
        over = False
        while not over:
            action = int(rng.integers(game.spec.num_actions))
            observation, reward, terminated, truncated, _ = game.step(action)
            wanted = env.step(action)
            np.testing.assert_array_equal(observation, wanted[0])
            assert (reward, terminated, truncated) == wanted[1:4]
            over = terminated or truncated


def test_every_seed_of_lunar_lander_starts_differently() -> None:
    game = load_game("lunarlander")()
    starts = {game.reset(seed)[0].tobytes() for seed in range(20)}
    assert len(starts) == 20


def test_lunar_lander_stops_after_1000_steps_without_terminating() -> None:
    game = load_game("lunarlander")()
    observation, _ = game.reset(0)
    steps, terminated, truncated = 0, False, False
    while not (terminated or truncated):
        # Hovers: the main engine against falling, the side engines against tilting and drifting.
        x, y, vx, vy, angle, spin = observation[:6].tolist()
        tilt = angle - 0.5 * np.clip(x + vx, -0.4, 0.4) + spin
        fall = 0.5 * (y - 0.8) + vy
        action = 2 if fall < -0.05 and fall < -abs(tilt) * 0.5 else 3 if tilt > 0.05 else 1 if tilt < -0.05 else 0
        observation, _, terminated, truncated, _ = game.step(action)
        steps += 1
    assert (steps, terminated, truncated) == (1000, False, True)


def test_balancing_for_500_steps_truncates_cartpole() -> None:
    game = load_game("cartpole")()
    observation, _ = game.reset(0)
    total, terminated, truncated = 0.0, False, False
    while not (terminated or truncated):
        x, v, angle, spin = observation.tolist()
        observation, reward, terminated, truncated, _ = game.step(int(angle + 0.5 * spin + 0.05 * x + 0.1 * v > 0))
        total += reward
    assert (total, terminated, truncated) == (500.0, False, True)
