"""`Rounds`: puts what self-play actors deliver together, one delivery of each, for a run in lockstep."""

from collections.abc import Sequence
from typing import Generic, TypeVar

Played = TypeVar("Played")
"""A delivery, or a reference to it."""


class Rounds(Generic[Played]):
    """The round that is being played.

    It is complete when every actor that plays a stretch has delivered it. What dies with its actor is waited for no
    more, so that a round may lack one.

    Args:
        names: of all actors that there may be, in the order in which a round has them.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._playing: set[str] = set()
        self._delivered: dict[str, Played] = {}

    def begun(self, name: str) -> None:
        """An actor plays a stretch."""
        self._playing.add(name)

    def lost(self, name: str) -> None:
        """The stretch of an actor will never be delivered."""
        self._playing.discard(name)

    def delivered(self, name: str, played: Played) -> None:
        """An actor has delivered its stretch."""
        self._playing.discard(name)
        self._delivered[name] = played

    def take(self) -> dict[str, Played]:
        """The round, by actor, once it is complete; empty before that."""
        if self._playing:
            return {}
        complete = {name: self._delivered[name] for name in self._names if name in self._delivered}
        self._delivered.clear()
        return complete
