"""`status.json` in a run's folder: what the run is doing, or how it ended, for `muzero-ray status` and other programs.

Written by the head every few seconds, whole each time. What cannot be written is left out: a full disk stops no run.
"""

import json
import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

logger = logging.getLogger(__name__)

State = Literal["running", "finished", "stopped", "failed"]

_SILENT_SECONDS = 60.0
"""A head on another machine that has written nothing for so long is taken for gone."""


@dataclass(frozen=True)
class ActorHealth:
    """How an actor is doing, as its supervisor knows."""

    restarts: int = 0
    down: bool = False  # between its process's death and its return
    calls: dict[str, int] = field(default_factory=dict)  # that it has not answered yet, by method


class StatusFile:
    """Writes a run's status.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".unfinished-{path.name}-{os.getpid()}")
        process = psutil.Process()
        self._process = {
            "host": socket.gethostname(),
            "pid": process.pid,
            "process_started": process.create_time(),
        }
        self._told = False

    def write(self, values: Mapping[str, Any]) -> None:
        """Replaces the file. Not waited for until it is on the disk: after a power cut it may be missing or older."""
        content = json.dumps({"updated": time.time(), **self._process, **values}, indent=1)
        try:
            self._temporary.write_text(content, encoding="utf-8")
            os.replace(self._temporary, self._path)
        except OSError as error:
            self._temporary.unlink(missing_ok=True)
            if not self._told:
                self._told = True
                logger.warning("%s cannot be written: %s; the run goes on", self._path, error.strerror or error)


def read_status(path: Path) -> dict[str, Any] | None:
    """The status as it was written; None if there is none that can be read."""
    try:
        status = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = {"state", "updated", "host", "pid", "process_started"}
    return status if isinstance(status, dict) and wanted <= status.keys() else None


def is_under_way(path: Path) -> bool:
    """Whether, by its status, a run goes on at this moment."""
    status = read_status(path)
    return status is not None and status["state"] == "running" and head_is_alive(status)


def head_is_alive(status: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a status still runs; on another machine, whether it has written lately."""
    if status["host"] != socket.gethostname():
        return time.time() - float(status["updated"]) < _SILENT_SECONDS
    try:
        process = psutil.Process(int(status["pid"]))
        # Numbers of processes are used again: one that was started at another time is another one.
        same = abs(process.create_time() - float(status["process_started"])) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE  # dead, and nobody has asked how it ended
    except psutil.Error:
        return False
