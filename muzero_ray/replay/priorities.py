"""How likely each state of the replay buffer is to be drawn.

The arithmetic of priorities, over a `sum_tree.SumTree`. Which slots hold states, and which of these may be drawn, is
told from outside.
"""

import numpy as np

from muzero_ray.replay.sum_tree import SumTree

PRIORITY_EPSILON = 1e-6
"""Added to every TD error, so that a state without error is drawn again one day."""


class Priorities:
    """Of the slots of a ring: (|TD error| + epsilon)^exponent, or 1 where states are drawn uniformly.

    New states enter with the largest priority yet, so that each is soon drawn once. A slot without a state, or with one
    that may not be drawn, has 0.

    Args:
        capacity: slots.
        by_error: whether to draw by TD error rather than uniformly.
        exponent: 0 draws uniformly, 1 in proportion to the error.

    Attributes:
        largest: the largest priority yet.

    Source: prioritized replay as in Schaul et al., arXiv:1511.05952, section 3.3.
    """

    def __init__(self, capacity: int, *, by_error: bool, exponent: float) -> None:
        self._by_error = by_error
        self._exponent = exponent
        self._tree = SumTree(capacity)
        self.largest = 1.0

    @property
    def total(self) -> float:
        """The sum of all."""
        return self._tree.total

    def of(self, slots: np.ndarray) -> np.ndarray:
        """The `[n]` float64 priorities of `[n]` slots."""
        return self._tree.priorities(slots)

    def enter(self, slots: np.ndarray, may_be_drawn: np.ndarray) -> None:
        """New states are in `[n]` slots; `[n]` bool says which may be drawn."""
        self._tree.set(slots, np.where(may_be_drawn, self.largest, 0.0))

    def leave(self, slots: np.ndarray) -> None:
        """The states in `[n]` slots are gone."""
        self._tree.set(slots, np.zeros(len(slots)))

    def note_errors(self, slots: np.ndarray, errors: np.ndarray) -> None:
        """The states in `[n]` slots, all of which may be drawn, have `[n]` TD errors, at least 0."""
        if not self._by_error:
            return
        priorities = (errors + PRIORITY_EPSILON) ** self._exponent
        self.largest = max(self.largest, float(priorities.max(initial=0.0)))
        self._tree.set(slots, priorities)

    def raise_largest(self, priority: float) -> None:
        """Has new states enter with at least this priority, for it has been seen elsewhere."""
        self.largest = max(self.largest, priority)

    def find(self, fractions: np.ndarray) -> np.ndarray:
        """See `SumTree.find`."""
        return self._tree.find(fractions)

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """See `SumTree.sample`."""
        return self._tree.sample(count, rng)

    def importance_weights(self, slots: np.ndarray, share: float, exponent: float) -> np.ndarray:
        """`[n]` float32 P(i)^-exponent of draws, not yet divided by the largest.

        Args:
            slots: `[n]` that were drawn.
            share: of the total of all buffers that draw as one, which this one has, in (0, 1].
            exponent: 0 leaves the bias of such draws, 1 corrects all of it.
        """
        probabilities = share * self.of(slots) / self.total
        weights: np.ndarray = ((1.0 / probabilities) ** exponent).astype(np.float32)
        return weights

    def restart(self, capacity: int, slots: np.ndarray, priorities: np.ndarray) -> None:
        """Of a ring of so many slots, `[n]` of which hold states with `[n]` priorities."""
        self._tree = SumTree(capacity)
        self._tree.set(slots, priorities)

    def load(self, capacity: int, slots: np.ndarray, priorities: np.ndarray, largest: float) -> None:
        """`restart` with priorities that may come from a buffer which drew otherwise; 0 where one may not be drawn."""
        if not self._by_error:
            priorities, largest = (priorities > 0).astype(np.float64), 1.0
        self.restart(capacity, slots, priorities)
        self.largest = largest
