"""Keeps standard output for what is to be read there."""

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
