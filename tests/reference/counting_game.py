"""A game whose every number tells where it belongs: for proving that nothing slips by one.

The observation is the number of steps played, the reward is 10 * step + action, where step is the number
of steps played before. So reward 32 belongs to action 2 taken in observation 3, and nowhere else.
"""

from typing import Any

import numpy as np

from muzero_ray.core.game import Game, GameSpec


class CountingGame(Game):
    """Ends after `length` steps, terminated or truncated; with two players they move by turns."""

    def __init__(self, length: int = 5, *, truncates: bool = False, num_players: int = 1, num_actions: int = 3) -> None:
        self.spec = GameSpec(observation_shape=(1,), num_actions=num_actions, num_players=num_players)
        self._length = length
        self._truncates = truncates
        self._step = length

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        self._step = 0
        return np.array([0.0], dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._step >= self._length:
            raise ValueError("the episode is over")
        reward = 10.0 * self._step + action
        self._step += 1
        over = self._step == self._length
        observation = np.array([self._step], dtype=np.float32)
        return observation, reward, over and not self._truncates, over and self._truncates, {}

    @property
    def to_play(self) -> int:
        return self._step % self.spec.num_players
