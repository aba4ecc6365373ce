"""Games with aids that only training has: for proving that results are told without them."""

from typing import Any

import numpy as np
from reference.toy_games import Noughts

from muzero_ray.core.game import Game

CENTRE = 4


class AidedNoughts(Noughts):
    """In training the centre pays 1/2 more, and a game is stopped after `stops_after` moves."""

    def __init__(self, stops_after: int = 9) -> None:
        super().__init__()
        self._stops_after = stops_after

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, _, info = super().step(action)
        stopped = 9 - self.cells.count(0) == self._stops_after
        return observation, reward + 0.5 * (action == CENTRE), terminated, stopped and not terminated, info

    def evaluated(self) -> Game:
        return Noughts()
