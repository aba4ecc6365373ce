"""Ctrl-C and SIGTERM: from a signal to what whoever watches a run wants of it.

What a run does about it is `session`.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType

_ONE_PRESS_SECONDS = 0.5
"""Presses of Ctrl-C that come closer together are one: of a key held down, or of a program that passes on what its
children got as well."""


class Wish(IntEnum):
    """What whoever watches a run wants of it, each more urgent than the one before."""

    GO_ON = 0
    EVALUATE = 1
    """Stop, write a checkpoint, evaluate."""
    SAVE = 2
    """Write a checkpoint and leave."""
    LEAVE = 3
    """Leave at once."""


class StopRequest:
    """What is wished by now: each press of Ctrl-C wishes more, up to leaving at once, which is a KeyboardInterrupt.

    SIGTERM wishes for a checkpoint and an end, however often it comes: some programs send it twice, and for those who
    cannot wait there is SIGKILL.

    Attributes:
        wish: what is wished.
        signal: the newest one; None if none came.
    """

    def __init__(self) -> None:
        self.wish = Wish.GO_ON
        self.signal: int | None = None
        self._breaks_at = Wish.LEAVE
        self._pressed_at = -_ONE_PRESS_SECONDS

    @contextmanager
    def interrupted_by(self, wish: Wish) -> Iterator[None]:
        """Inside, such a wish, or a more urgent one, raises KeyboardInterrupt: what is done there need not be finished.

        Blocks may lie in each other; the innermost counts.
        """
        if self.wish >= wish:
            raise KeyboardInterrupt
        before, self._breaks_at = self._breaks_at, wish
        try:
            yield
        finally:
            self._breaks_at = before

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if number == signal.SIGINT:
            now = time.monotonic()
            if now - self._pressed_at < _ONE_PRESS_SECONDS:
                return
            self._pressed_at = now
            self.wish = Wish(min(self.wish + 1, Wish.LEAVE))
        else:
            self.wish = max(self.wish, Wish.SAVE)
        self.signal = number
        if self.wish >= self._breaks_at:
            self._breaks_at = Wish.LEAVE  # what is then tidied up is left in peace
            raise KeyboardInterrupt


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Takes SIGINT and SIGTERM, and gives them back to whoever calls `train` from a program of their own."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # where Python lets nobody take signals
        yield stop
        return
    before = {number: signal.signal(number, stop.on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
