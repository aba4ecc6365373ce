"""Keeps standard output for what is to be read there, and tells the user all else on standard error."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def stdout_set_apart() -> Iterator[int]:
    """Sends what libraries print, from Python or C, to standard error; gives the descriptor of standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield kept
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextlib.contextmanager
def stdout_kept_clean() -> Iterator[None]:
    """Keeps standard output for the result of a command, which is printed afterwards."""
    with stdout_set_apart():
        yield


def say(text: str) -> None:
    """Tells the user, if that can be written: work is worth more than what is told of it."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
