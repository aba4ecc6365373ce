"""Lines in, answers out, and nothing else: standard input and output of a program that speaks a protocol."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def protocol_lines() -> Iterator[tuple[Iterator[str], Callable[[str], None]]]:
    """The lines of standard input up to its end, and a function that writes an answer to standard output at once.

    Whatever else is printed in the meantime, from Python or C, goes to standard error: a stray line on standard
    output would be read as an answer. What is no UTF-8 in a line becomes a question mark.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)

    def write(text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(kept, data) :]

    lines = (line.decode(errors="replace") for line in iter(sys.stdin.buffer.readline, b""))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield lines, write
    finally:
        os.dup2(kept, 1)
        os.close(kept)
