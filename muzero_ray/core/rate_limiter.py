"""The pace between acting and learning, as arithmetic: who may go on, and who must wait.

No thread, clock or sleep: the caller asks, and waits in its own way. The decision depends on counts
alone, so results do not depend on how fast a machine is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pace:
    """How much one consumer takes for every env step."""

    ratio: float  # positions per env step after the first `min_steps`; 0: the consumer is absent
    batch_size: int  # positions taken at once
    min_steps: int = 0  # env steps inserted before the consumer starts

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < float("inf"):
            raise ValueError(f"ratio must be finite and at least 0, got {self.ratio}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.min_steps < 0:
            raise ValueError(f"min_steps must be at least 0, got {self.min_steps}")


class RateLimiter:
    """Counts env steps in and positions out, and holds their ratio from both sides.

    The loops that call it:

        while limiter.may_insert():                     # self-play
            limiter.inserted(deliver())
        while limiter.may_consume("train"):             # training
            limiter.consumed("train", train_on_a_batch())

    A consumer is *due* `ratio * (inserted - min_steps)` positions. It may take a batch while that leaves
    it within its due; inserting pauses while some consumer is more than `tolerance_batches` batches short
    of its due. Somebody may therefore always go on: where inserting is paused, the consumer that is short
    by more than one batch may take one. A delivery larger than the tolerance is counted like any other;
    the next one then waits until the consumers have caught up.

    Source: Reverb's SampleToInsertRatio (Cassirer et al., arXiv:2102.04736), with a minimum per consumer.
    """

    def __init__(self, consumers: Mapping[str, Pace], tolerance_batches: float = 2.0) -> None:
        """Starts from zero.

        Args:
            consumers: the pace of each, by name.
            tolerance_batches: how many of its batches a consumer may be short of its due before inserting
                pauses; at least 1, or all might wait for each other.

        Raises:
            ValueError: if `tolerance_batches` < 1.
        """
        self.consumers = dict(consumers)
        self.tolerate(tolerance_batches)
        self._inserted = 0
        self._consumed = dict.fromkeys(self.consumers, 0)

    def tolerate(self, tolerance_batches: float) -> None:
        """Holds to another tolerance from now on, as when more or fewer insert: ratios and counts stay.

        Raises:
            ValueError: if `tolerance_batches` < 1.
        """
        if not tolerance_batches >= 1:
            raise ValueError(f"tolerance_batches must be at least 1, or all might wait; got {tolerance_batches}")
        self.tolerance_batches = tolerance_batches

    def may_insert(self) -> bool:
        """Whether more env steps are wanted now."""
        return all(
            self._shortfall(name) <= self.tolerance_batches * pace.batch_size for name, pace in self.consumers.items()
        )

    def may_consume(self, name: str) -> bool:
        """Whether a consumer may take a batch now; never one whose ratio is 0.

        Raises:
            ValueError: if there is no such consumer.
        """
        return self.batches_due(name) > 0

    def batches_due(self, name: str) -> int:
        """How many batches a consumer may take now.

        Raises:
            ValueError: if there is no such consumer.
        """
        return max(0, int(self._shortfall(name) // self._pace(name).batch_size))

    def inserted(self, steps: int) -> None:
        """Notes that `steps` env steps have been added."""
        if steps < 0:
            raise ValueError(f"inserted: steps must be at least 0, got {steps}")
        self._inserted += steps

    def consumed(self, name: str, positions: int) -> None:
        """Notes that a consumer has taken `positions`.

        Raises:
            ValueError: if there is no such consumer, or `positions` < 0.
        """
        self._pace(name)
        if positions < 0:
            raise ValueError(f"consumed: positions of {name} must be at least 0, got {positions}")
        self._consumed[name] += positions

    def returned(self, name: str, positions: int) -> None:
        """Notes that positions a consumer had taken were lost with it, and are due again."""
        self._consumed[name] = max(0, self._consumed[name] - positions)

    def held_ratio(self, name: str) -> float:
        """Positions that a consumer has taken per env step since its start; 0 before it."""
        steps = self._inserted - self._pace(name).min_steps
        return self._consumed[name] / steps if steps > 0 else 0.0

    def state_dict(self) -> dict[str, Any]:
        """The counts, and the ratios they were held to, as numbers that JSON can hold."""
        return {
            "inserted": self._inserted,
            "consumed": dict(self._consumed),
            "ratios": {name: pace.ratio for name, pace in self.consumers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`.

        A consumer that is new, or had another ratio then, starts with all of its past due taken: what
        would have been due under the new ratio is not made up for.
        """
        self._inserted = int(state["inserted"])
        for name, pace in self.consumers.items():
            if state["ratios"].get(name) == pace.ratio:
                self._consumed[name] = int(state["consumed"][name])
            else:
                self._consumed[name] = max(0, int(pace.ratio * (self._inserted - pace.min_steps)))

    def _shortfall(self, name: str) -> float:
        """Positions that a consumer is short of its due; negative before its start."""
        pace = self._pace(name)
        return pace.ratio * (self._inserted - pace.min_steps) - self._consumed[name]

    def _pace(self, name: str) -> Pace:
        if name not in self.consumers:
            raise ValueError(f"rate limiter: no consumer {name!r}; there are {', '.join(self.consumers) or 'none'}")
        return self.consumers[name]
