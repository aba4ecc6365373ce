"""Turns and mirrors windows at random, where the game says what may be: each game is learnt from in several ways.

All of a window is turned alike. Values, rewards and masks are the same for a turned board, and stay as they are.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from muzero_ray.core.game import Symmetry
from muzero_ray.core.types import Batch


class Augmenter:
    """Turns each window of a batch by one of a game's symmetries or by none, all with the same probability.

    Args:
        symmetries: of the game, the identity left out; at least one.
    """

    def __init__(self, symmetries: Sequence[Symmetry]) -> None:
        cells = [symmetry.cells for symmetry in symmetries]
        actions = [symmetry.actions for symmetry in symmetries]
        # [1 + number of symmetries, ...], the identity first.
        self._cells = np.stack([np.arange(len(cells[0])), *cells])
        self._actions = np.stack([np.arange(len(actions[0])), *actions]).astype(np.int32)
        self._sources = self._actions.argsort(axis=1)  # the action that becomes action a

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch with every window turned at random; `rng` gives one number per window."""
        return self.turn(batch, rng.integers(len(self._cells), size=len(batch.observations)))

    def turn(self, batch: Batch, which: np.ndarray) -> Batch:
        """The batch with window b turned by symmetry number `which[b]`, 0 being none. `which` is `[B]` int."""
        actions = np.take_along_axis(self._actions[which], batch.actions, axis=1)
        policies = np.take_along_axis(batch.target_policies, self._sources[which][:, np.newaxis], axis=2)
        seen = batch.next_observations
        return replace(
            batch,
            observations=self._turn_planes(batch.observations, which),
            actions=actions,
            target_policies=policies,
            next_observations=None if seen is None else self._turn_planes(seen, which),
            frames=None,  # of boards that are not turned
        )

    def _turn_planes(self, planes: np.ndarray, which: np.ndarray) -> np.ndarray:
        """`[B, ..., H, W]`, each row of B turned by its own symmetry; stacked frames are so many planes more."""
        flat = planes.reshape(len(planes), -1, planes.shape[-2] * planes.shape[-1])
        turned = np.take_along_axis(flat, self._cells[which][:, np.newaxis], axis=2)
        return turned.reshape(planes.shape)
