"""How much memory a process holds, how full its machine is, and giving back what is free.

Nothing here decides; `app/memory_watch.py` does.
"""

import contextlib
import ctypes
import re
import socket
from pathlib import Path
from typing import NamedTuple

import psutil

_CGROUPS = Path("/sys/fs/cgroup")


class Memory(NamedTuple):
    """A process and its machine at one moment, in bytes."""

    own: int  # of the process, without what it shares with others
    used: int  # of the machine, or of the container that it may not leave; without what is cached of files
    limit: int  # that the machine or the container has
    node: str  # name of the machine


def measure(_: object = None) -> Memory:
    """Memory of this process. Takes an argument, so that Ray can call it in any actor: `__ray_call__`."""
    process, machine = psutil.Process().memory_info(), psutil.virtual_memory()
    used, limit = machine.total - machine.available, machine.total
    try:
        groups = Path("/proc/self/cgroup").read_text()
    except OSError:  # not on Linux
        groups = ""
    for inside, most in container_memory(groups, _CGROUPS):
        if inside / most > used / limit:
            used, limit = inside, most
    own = process.rss - getattr(process, "shared", 0)  # only Linux tells what is shared
    return Memory(own, used, limit, socket.gethostname())


def container_memory(groups: str, root: Path) -> list[tuple[int, int]]:
    """(used, limit) in bytes of each group of processes, this one among them, whose memory is limited.

    Args:
        groups: what /proc/self/cgroup says.
        root: where the groups are; in a container that is its own group.
    """
    own = re.search(r"^0::/(.*)$", groups, re.MULTILINE)
    path = root / (own[1] if own else "")
    found = [
        _group_memory(group, "memory.current", "memory.max", "")
        for group in (path, *path.parents)
        if group.is_relative_to(root)
    ]
    found.append(_group_memory(root / "memory", "memory.usage_in_bytes", "memory.limit_in_bytes", "total_"))
    return [memory for memory in found if memory is not None]


def give_back() -> None:
    """Has the C library give memory that was freed back to the system: it keeps what lies between pieces in use."""
    with contextlib.suppress(OSError, AttributeError):  # other C libraries than GNU's know nothing of this
        ctypes.CDLL(None).malloc_trim(0)


def _group_memory(group: Path, used: str, limit: str, prefix: str) -> tuple[int, int] | None:
    """(used, limit) of a group; None if it is not limited, or not there. What is cached of files can be dropped."""
    try:
        most = int((group / limit).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        cached = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
        inside = int((group / used).read_text()) - cached
    except (OSError, ValueError):  # "max" is no number
        return None
    return (inside, most) if most < psutil.virtual_memory().total else None
