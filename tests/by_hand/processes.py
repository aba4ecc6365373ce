"""Finds the processes of a test by what is in their environment, and ends these and no others."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path


def end_processes(marks: Mapping[str, str]) -> int:
    """Ends all processes whose environment has all of these, but for this one and those that it runs in.

    Returns:
        How many there were.
    """
    found = _with_environment(marks) - _ancestors()
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _with_environment(marks) & found:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        patience = time.monotonic() + 5.0
        while _with_environment(marks) & found and time.monotonic() < patience:
            time.sleep(0.1)
    return len(found)


def _with_environment(marks: Mapping[str, str]) -> set[int]:
    wanted = {f"{name}={value}".encode() for name, value in marks.items()}
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:  # somebody else's, or gone
            continue
        if wanted <= set(environment.split(b"\0")):
            found.add(int(folder.name))
    return found


def _ancestors() -> set[int]:
    pid, found = os.getpid(), set()
    while pid > 0:
        found.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found
