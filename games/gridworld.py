"""Grid world: the shortest way to a goal. A complete game for one; copy this file to write your own.

What MuZero sees is where the agent stands; walls, pits and the goal it has to find. A game for one needs only `spec`,
`reset` and `step`; `text` is for people who watch. `muzero-ray check-game mygame.py` tells what a copy gets wrong.
"""

from typing import Any

import numpy as np

from muzero_ray.core.game import Game, GameSpec

# Cells are numbered row by row, from 0 at the top left. An episode starts on any ".", and ends on the goal "G" or in
# a pit "O". "#" cannot be entered; there are walls all around, so that no step leaves the grid.
ROWS = (
    "########",
    "#....#G#",
    "#.##.#.#",
    "#.O....#",
    "#..#.#.#",
    "##.#.O.#",
    "#......#",
    "########",
)
GRID = "".join(ROWS)
WIDTH = len(ROWS[0])
STARTS = [cell for cell, kind in enumerate(GRID) if kind == "."]
MOVES = (-WIDTH, WIDTH, -1, 1)  # up, down, left, right
STEP_LIMIT = 50
# A pit is no better than walking about until the clock stops, or agents would learn to jump into one.
REWARDS = {".": -1.0, "G": 10.0, "O": -50.0}


class GridWorld(Game):
    """Rewards: 10 for reaching the goal, -50 for falling into a pit, -1 for every other step."""

    spec = GameSpec(observation_shape=(len(GRID),), num_actions=len(MOVES))

    def __init__(self) -> None:
        self._cell = STARTS[0]
        self._steps = 0
        self._over = True  # until the first reset

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts on a cell drawn at random; the same seed draws the same one."""
        self._cell = int(np.random.default_rng(seed).choice(STARTS))
        self._steps = 0
        self._over = False
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Walks one cell, or stays where a wall is in the way; see `Game.step`."""
        if self._over or not 0 <= action < len(MOVES):
            raise ValueError(f"gridworld: action {action} is not legal on cell {self._cell}, over: {self._over}")
        if GRID[self._cell + MOVES[action]] != "#":
            self._cell += MOVES[action]
        self._steps += 1
        kind = GRID[self._cell]
        terminated = kind != "."  # nothing more can be won or lost
        truncated = not terminated and self._steps == STEP_LIMIT  # only the clock was stopped
        self._over = terminated or truncated
        return self._observation(), REWARDS[kind], terminated, truncated, {}

    def text(self) -> str:
        """The grid, with "A" where the agent stands."""
        cells = GRID[: self._cell] + "A" + GRID[self._cell + 1 :]
        return "\n".join(cells[row : row + WIDTH] for row in range(0, len(GRID), WIDTH))

    def _observation(self) -> np.ndarray:
        """`[64]` float32: 1 for the agent's cell, 0 for all others. A new array each time: whoever got it keeps it."""
        return np.array([cell == self._cell for cell in range(len(GRID))], dtype=np.float32)
