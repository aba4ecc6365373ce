"""A program that is talked to in lines, as board game engines are: started, asked, given a time limit, and ended.

Knows nothing of games or protocols; those are `engines`. For POSIX systems: one wait looks at both of the
program's outputs, so that neither can fill up and block it, and no thread is needed.
"""

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import IO

from muzero_ray.play.opponent import OpponentError

GRACE_SECONDS = 1.0
"""Time that a program has to end by itself after it was asked to."""
LAST_WORDS_SECONDS = 0.2
"""Time in which a failed program's last words are collected."""
KEPT_LINES = 5
"""Newest lines of either output that an error quotes."""
GAMES_FOLDER = "/usr/games"
"""Where Debian installs engines; not on everybody's PATH."""


def find_program(name: str) -> str | None:
    """The path of a program, looked for on PATH and where Debian keeps games; None if there is none."""
    return shutil.which(name) or shutil.which(name, path=GAMES_FOLDER)


class EngineProcess:
    """A running program with lines going in and out; it and whatever it started end with `close`.

    The loop that calls it:

        process = EngineProcess(["/usr/games/gnugo", "--mode", "gtp"], name="gnugo")
        process.send("genmove b")
        line = process.read_line(deadline=time.monotonic() + 60)
        process.close(farewell="quit")

    Args:
        command: the program and its arguments.
        name: of the engine in messages.

    Raises:
        OpponentError: from the constructor if the program cannot be started; from `send` and `read_line`, which
            then end it, if it has died or does not answer in time. The message quotes what it said last.
    """

    def __init__(self, command: Sequence[str], name: str) -> None:
        self.name = name
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # a group of its own, so that its children end with it and Ctrl-C is ours
            )
        except OSError as error:
            raise OpponentError(f"{name}: {command[0]} cannot be started: {error.strerror or error}") from error
        # Also when this object is forgotten, and when this process ends.
        self._end = weakref.finalize(self, _end, self._process)
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        self._selector = selectors.DefaultSelector()
        self._heard: dict[IO[bytes], bytes] = {stdout: b"", stderr: b""}  # the beginning of a line each
        for pipe in self._heard:
            self._selector.register(pipe, selectors.EVENT_READ)
        self._lines: deque[str] = deque()
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._complaints: deque[str] = deque(maxlen=KEPT_LINES)

    @property
    def pid(self) -> int:
        """Number of the process, which is also that of its group."""
        return self._process.pid

    def send(self, line: str) -> None:
        """Writes a line."""
        try:
            self._stdin.write(f"{line}\n".encode())
        except (OSError, ValueError) as error:  # ValueError: closed by an earlier failure
            raise self._failure("has ended") from error

    def read_line(self, deadline: float) -> str:
        """The next line of its output, without its end; waits for it until a time of `time.monotonic`."""
        while not self._lines:
            if self._stdout not in self._heard:
                raise self._failure("has ended")
            if not self._listen(deadline):
                raise self._failure("did not answer in time and was stopped")
        if time.monotonic() > deadline:  # it talks and talks
            raise self._failure("did not answer in time and was stopped")
        line = self._lines.popleft()
        self._said.append(line)
        return line

    def close(self, farewell: str | None = None) -> None:
        """Ends the program, gently if it listens to this last line. Nothing happens if it has ended already."""
        if not self._end.alive:
            return
        if farewell is not None:
            deadline = time.monotonic() + GRACE_SECONDS
            with contextlib.suppress(OSError):  # it may have ended already
                self._stdin.write(f"{farewell}\n".encode())
                self._stdin.close()
            while self._stdout in self._heard and self._listen(deadline):
                self._lines.clear()
        self._selector.close()
        self._end()

    def _listen(self, deadline: float) -> bool:
        """Takes in what either output holds, waiting for something; False if the deadline passes before."""
        seconds = deadline - time.monotonic()
        ready = self._selector.select(seconds) if seconds > 0 else []
        for key, _ in ready:
            pipe = self._stdout if key.fileobj is self._stdout else self._stderr
            piece = os.read(pipe.fileno(), 65536)
            *lines, rest = (self._heard[pipe] + piece).split(b"\n")
            self._heard[pipe] = rest
            if not piece:
                self._selector.unregister(pipe)
                lines = [rest] if rest else []
                del self._heard[pipe]
            texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
            (self._lines if pipe is self._stdout else self._complaints).extend(texts)
        return bool(ready)

    def _failure(self, what: str) -> OpponentError:
        """Ends the program, and says what it did and what it said last."""
        if self._end.alive:
            deadline = time.monotonic() + LAST_WORDS_SECONDS
            while self._heard and self._listen(deadline):
                pass
            self.close()
        said = [*self._said, *list(self._lines)[-KEPT_LINES:], *self._complaints]
        quoted = " | ".join(line.strip() for line in said if line.strip())
        return OpponentError(f"{self.name} {what}; it said last: {quoted or 'nothing'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills a program with its group and takes note of its death, so that no zombie is left."""
    # Raised where all of the group have ended already: the second on macOS.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
