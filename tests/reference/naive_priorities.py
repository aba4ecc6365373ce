"""A slow twin of prioritised drawing: a dictionary of chances, worked out anew for every batch."""

from dataclasses import dataclass, field

EPSILON = 1e-6


@dataclass
class NaivePriorities:
    """What each state is drawn by, by the buffer's name for it.

    Knows nothing of games and slots: it is told which states come, which leave and how wrong each was.
    """

    priority_exponent: float
    importance_exponent: float
    chances: dict[int, float] = field(default_factory=dict)  # not yet divided by their sum; of moves only
    highest: float = 1.0

    def come(self, index: int) -> None:
        """A new state in which an action was played."""
        self.chances[index] = self.highest

    def leave(self, index: int) -> None:
        """A state that makes room for another."""
        self.chances.pop(index, None)

    def learn(self, index: int, td_error: float) -> None:
        """The value of a state was so wrong; a state that has left, or that ends a game, is not drawn any more."""
        power = (td_error + EPSILON) ** self.priority_exponent
        if index in self.chances:
            self.chances[index] = power
            self.highest = max(self.highest, power)

    def importance_weights(self, indices: list[int]) -> list[float]:
        """(1 / (N P(i)))^beta for each drawn state, divided by the largest of the batch."""
        total = sum(self.chances.values())
        weights = []
        for index in indices:
            share = self.chances[index] / total
            weights.append((1 / (len(self.chances) * share)) ** self.importance_exponent)
        return [weight / max(weights) for weight in weights]
