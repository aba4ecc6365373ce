"""Lines in, answers out, and nothing else: standard input and output of a program that speaks a protocol."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from muzero_ray.app.clean_output import stdout_set_apart


@contextlib.contextmanager
def protocol_lines() -> Iterator[tuple[Iterator[str], Callable[[str], None]]]:
    """The lines of standard input up to its end, and a function that writes an answer to standard output at once.

    Whatever else is printed in the meantime goes to standard error: a stray line on standard output would be read as
    an answer. What is no UTF-8 in a line becomes a question mark.
    """
    with stdout_set_apart() as kept:

        def write(text: str) -> None:
            data = text.encode()
            while data:
                data = data[os.write(kept, data) :]

        yield (line.decode(errors="replace") for line in iter(sys.stdin.buffer.readline, b"")), write
