"""Ctrl-C and SIGTERM: from a signal to the wish that a run ends well.

What a run does about it is `run`.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody wants the run to stop: the first signal asks, the second insists, by KeyboardInterrupt."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.insisted = False
        self._at_once = False

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, the first signal raises KeyboardInterrupt, too: what is done there need not be finished."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.insisted = self.signal is not None
        self.signal = number
        if self.insisted or self._at_once:
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
