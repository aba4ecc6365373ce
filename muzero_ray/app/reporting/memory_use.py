"""How much memory a run takes, over all of its processes."""

from collections.abc import Sequence

import psutil


def memory_in_use_mb() -> float:
    """Memory of this process and all it started, Ray's processes included, in MB."""
    process = psutil.Process()
    found = []
    for each in (process, *process.children(recursive=True)):
        try:
            memory = each.memory_info()
        except psutil.Error:  # it has just ended
            continue
        found.append((memory.rss, getattr(memory, "shared", 0)))  # only Linux tells what is shared
    return memory_of_all(found) / 1e6


def memory_of_all(processes: Sequence[tuple[int, int]]) -> int:
    """What processes hold together, in bytes, where a page that several share counts once.

    Ray's object store, and the libraries that all have loaded, are shared. All of it is taken to be mapped where
    most is, in the object store's own process: a sum over processes would count a batch once for each of its readers.

    Args:
        processes: resident bytes of each, and how many of them are shared.

    >>> memory_of_all([(50, 10), (90, 60), (30, 20)])
    140
    """
    own = sum(resident - shared for resident, shared in processes)
    return own + max((shared for _, shared in processes), default=0)
