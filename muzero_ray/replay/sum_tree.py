"""Drawing slots in proportion to their priorities, in logarithmic time.

A binary tree whose leaves are the priorities and whose inner nodes are the sums of their children. It
knows nothing of what the slots hold, nor of exponents and importance weights (`replay/priorities.py`).
"""

import numpy as np
from numba import njit


class SumTree:
    """Priorities of `size` slots, all 0 at first.

    Attributes:
        size: number of slots.
    """

    BYTES_PER_SLOT = 16
    """Two float64 nodes for each slot."""

    def __init__(self, size: int) -> None:
        """Makes room for `size` slots, at least 1."""
        if size < 1:
            raise ValueError(f"SumTree: size must be at least 1, got {size}")
        self.size = size
        # Node 1 is the root, the children of node i are 2i and 2i + 1, and slot s is node size + s. Every
        # node but the root has a parent in the tree, so this works for any size, not only powers of 2.
        self._nodes = np.zeros(2 * size)

    @property
    def total(self) -> float:
        """The sum of all priorities."""
        return float(self._nodes[1])

    def priorities(self, slots: np.ndarray) -> np.ndarray:
        """The `[n]` float64 priorities of `[n]` slots."""
        priorities: np.ndarray = self._nodes[self.size + slots]
        return priorities

    def set(self, slots: np.ndarray, priorities: np.ndarray) -> None:
        """Sets the priorities of `[n]` slots to `[n]` finite numbers >= 0; of a repeated slot the last counts."""
        _set(self._nodes, np.asarray(slots, dtype=np.int64), np.asarray(priorities, dtype=np.float64))

    def find(self, fractions: np.ndarray) -> np.ndarray:
        """Returns the slots where the running sum of priorities passes given fractions of the total.

        The running sum goes through the slots in a fixed cyclic order. A slot of priority 0 is never
        found, whatever the rounding.

        Args:
            fractions: `[n]` float64 in [0, 1].

        Returns:
            `[n]` int64 slots.

        Raises:
            ValueError: if all priorities are 0.
        """
        if not self.total > 0:
            raise ValueError("SumTree: nothing can be drawn, all priorities are 0")
        return _find(self._nodes, np.asarray(fractions, dtype=np.float64))

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draws `[count]` int64 slots, each slot in proportion to its priority.

        The draws are stratified: one from each of `count` parts of equal mass, which leaves the expected
        number of draws of a slot as it is and makes it vary less. The same slot may be drawn twice.

        Source: Schaul et al., "Prioritized Experience Replay", arXiv:1511.05952, section 3.3.
        """
        return self.find(stratified(count, rng))


def stratified(count: int, rng: np.random.Generator) -> np.ndarray:
    """`[count]` float64 in [0, 1), rising: one at random from each of `count` parts of equal length."""
    fractions: np.ndarray = (np.arange(count) + rng.random(count)) / count
    return fractions


@njit(cache=True, nogil=True)
def _set(nodes: np.ndarray, slots: np.ndarray, priorities: np.ndarray) -> None:
    size = len(nodes) // 2
    for i in range(len(slots)):
        node = size + slots[i]
        nodes[node] = priorities[i]
        node //= 2
        while node >= 1:
            # Summed anew rather than changed by a difference, so that rounding errors never pile up.
            nodes[node] = nodes[2 * node] + nodes[2 * node + 1]
            node //= 2


@njit(cache=True, nogil=True)
def _find(nodes: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    size = len(nodes) // 2
    slots = np.empty(len(fractions), dtype=np.int64)
    for i in range(len(fractions)):
        mass = fractions[i] * nodes[1]
        node = 1
        while node < size:
            node *= 2
            # Rounding may leave a little mass beyond the last positive leaf: an empty right side is never entered.
            if mass >= nodes[node] and nodes[node + 1] > 0:
                mass -= nodes[node]
                node += 1
        slots[i] = node - size
    return slots
