"""A slow twin of the sum tree: a list of priorities that is walked through from one end."""

import numpy as np


class NaiveSumTree:
    """The interface of `replay.sum_tree.SumTree`, without the tree."""

    def __init__(self, size: int) -> None:
        self._priorities = [0.0] * size
        # The slots of the lowest level of a tree come before those that hang one level higher.
        depth = int(np.ceil(np.log2(size))) if size > 1 else 0
        self._order = [(2**depth - size + i) % size for i in range(size)]

    @property
    def total(self) -> float:
        return sum(self._priorities)

    def set(self, slots: np.ndarray, priorities: np.ndarray) -> None:
        for slot, priority in zip(slots, priorities, strict=True):
            self._priorities[slot] = float(priority)

    def find(self, fractions: np.ndarray) -> list[int]:
        return [self._find(float(fraction) * self.total) for fraction in fractions]

    def _find(self, mass: float) -> int:
        found = -1
        for slot in self._order:
            if self._priorities[slot] == 0:
                continue
            found = slot
            if mass < self._priorities[slot]:
                break
            mass -= self._priorities[slot]
        return found
