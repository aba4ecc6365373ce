"""Before a machine's memory runs out: says which actor holds it, and when the replay buffer is to become smaller.

Ray kills a process when 95% of a machine's memory are in use, and the kernel does soon after; neither asks which one
can be spared. The replay buffer can spare its oldest half. Decides only: `distributed_run` and `local_run` measure
(`actors/memory.py`) and do it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from muzero_ray.actors import names
from muzero_ray.actors.memory import Memory

_MEASURE_SECONDS = 5.0
_QUIET_SECONDS = 30.0
"""After the buffer has become smaller, how long that may take to show."""
_SHARE_WORTH_SHEDDING = 0.1
"""Of a machine's memory that the buffer holds; of less, half would not be felt."""

ONE_PROCESS = "this process"
"""The name of a run without actors."""

_REMEDIES = {
    names.BUFFER: "use a smaller replay.capacity_mb",
    names.TRAINER: "use a smaller train.batch_size or network",
    names.REANALYZE: "use a smaller reanalyze.batch_size",
    names.EVALUATOR: "use fewer evaluate.episodes or evaluate.final_episodes",
    names.STORAGE: "use a smaller network",
    ONE_PROCESS: "use a smaller replay.capacity_mb or self_play.games_per_actor",
}
_REMEDY = (
    "use fewer self-play actors or a smaller self_play.games_per_actor, or see whether the game keeps what it made"
)


@dataclass(frozen=True)
class Decision:
    """What is to be done after an actor has told how much it holds."""

    warning: str = ""  # for the user; empty if there is nothing to say
    halve_buffer: bool = False


class MemoryWatch:
    """Follows what the actors hold.

    The loop that calls it:

        if watch.due():
            for name in actors: ask how much it holds
        decision = watch.told(name, memory, buffer_bytes)    # for each that answers

    Args:
        fraction: of a machine's memory, in (0, 1], from which on it is short.
        now: a clock, in seconds.
    """

    def __init__(self, fraction: float, now: Callable[[], float] = time.monotonic) -> None:
        self._fraction = fraction
        self._now = now
        self._newest: dict[str, Memory] = {}
        self._warned: set[str] = set()
        self._smallest = False  # the buffer
        self._next_measure = now()
        self._quiet_until = now()

    @property
    def fullest(self) -> float:
        """Share of its memory that is in use on the fullest machine, in [0, 1]; 0 before anybody has told."""
        return max((memory.used / memory.limit for memory in self._newest.values()), default=0.0)

    def due(self) -> bool:
        """Whether it is time to measure; true once in a while."""
        due = self._now() >= self._next_measure
        if due:
            self._next_measure = self._now() + _MEASURE_SECONDS
        return due

    def told(self, name: str, memory: Memory, buffer_bytes: int = 0) -> Decision:
        """An actor holds so much.

        Args:
            name: of the actor.
            memory: as it measured.
            buffer_bytes: that the states in the replay buffer take, if this is who holds them, or has them held by
                others on its machine.
        """
        first = name not in self._newest
        self._newest[name] = memory
        if not needs_room(memory, self._fraction):
            return Decision()
        worth_it = buffer_bytes > 0 and buffer_bytes >= _SHARE_WORTH_SHEDDING * memory.limit
        if worth_it and not self._smallest and self._now() >= self._quiet_until:
            self._quiet_until = self._now() + _QUIET_SECONDS
            return Decision(halve_buffer=True)
        # When it tells for the first time, others may not have told yet.
        if first or name in self._warned or name != self._largest_on(memory.node):
            return Decision()
        self._warned.add(name)
        return Decision(warning=in_words(name, memory))

    def buffer_restored(self) -> None:
        """A new buffer has all of its room again."""
        self._smallest = False

    def buffer_is_smallest(self) -> None:
        """The buffer could not become smaller, and is not to be asked again."""
        self._smallest = True

    def _largest_on(self, node: str) -> str:
        """Who holds most on a machine."""
        return max((name for name, memory in self._newest.items() if memory.node == node), key=self._held)

    def _held(self, name: str) -> int:
        return self._newest[name].own


def needs_room(memory: Memory, fraction: float) -> bool:
    """Whether more than so large a fraction of a machine's memory is in use.

    >>> needs_room(Memory(0, 91, 100, "node"), 0.9), needs_room(Memory(0, 90, 100, "node"), 0.9)
    (True, False)
    """
    return memory.used > fraction * memory.limit


def halved_in_words(share: float) -> str:
    """What became of the buffer, for want of memory on a machine so full."""
    return (
        f"memory is short ({share:.0%} in use): the replay buffer gives half of its room back and lets its "
        "oldest half go; use a smaller replay.capacity_mb, or a machine with more memory"
    )


def in_words(name: str, memory: Memory) -> str:
    """That a machine is full, who holds most there, and what to change."""
    return (
        f"{memory.node} has {memory.used / memory.limit:.0%} of its {memory.limit / 1e9:.1f} GB of memory in use, "
        f"of which {name} holds most, {memory.own / 1e9:.1f} GB: {_REMEDIES.get(name, _REMEDY)}"
    )
