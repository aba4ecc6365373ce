"""Where every process of a run writes down what it does: one file for each actor, `logs/<actor>.log`.

A line is time, level, actor and message; a traceback may follow. Files are small: of each, the newest few
megabytes are kept. What is logged is the business of the modules that do it, through Python's `logging`.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal

logger = logging.getLogger(__name__)

Level = Literal["debug", "info", "warning", "error"]

_PACKAGE = "muzero_ray"
_MAX_BYTES = 2_000_000


@dataclass(frozen=True)
class Logs:
    """Where a run's processes log, and how much."""

    folder: Path  # absolute; it is there on the head's machine, and where the file system is shared
    level: Level = "info"

    def file(self, actor: str) -> Path:
        """The file of one actor."""
        return self.folder / f"{actor}.log"


def start_logging(actor: str, logs: Logs | None) -> None:
    """Has this process log as an actor, until it ends.

    On a machine without the run's folder it logs to standard error, which Ray keeps in a file for each of
    its workers, and says so there.

    Args:
        actor: its name.
        logs: where; None leaves logging alone.
    """
    if logs is None:
        return
    package = logging.getLogger(_PACKAGE)
    package.setLevel(logs.level.upper())
    for handler in list(package.handlers):  # of an actor that had this process before
        package.removeHandler(handler)
        handler.close()
    if logs.folder.is_dir():
        package.addHandler(_file_handler(actor, logs))
    else:
        package.addHandler(_formatted(logging.StreamHandler(), actor))
        logger.info("logs here, since this machine has no %s", logs.folder)


@contextmanager
def head_logging(logs: Logs) -> Iterator[None]:
    """Has the head log to `head.log` meanwhile; warnings go on to standard error as ever.

    Args:
        logs: where; the folder is made.

    Raises:
        OSError: if the folder cannot be made.
    """
    logs.folder.mkdir(exist_ok=True)
    package = logging.getLogger(_PACKAGE)
    level = package.level
    handlers: list[logging.Handler] = [_file_handler("head", logs)]
    if not logging.getLogger().handlers and not package.handlers:
        handlers.append(_Warnings(logging.WARNING))  # where nobody handles them, Python prints them; now we do
    for handler in handlers:
        package.addHandler(handler)
    package.setLevel(logs.level.upper())
    try:
        yield
    finally:
        package.setLevel(level)
        for handler in handlers:
            package.removeHandler(handler)
            with suppress(OSError):  # what a full disk did not take
                handler.close()


class _Warnings(logging.StreamHandler):  # type: ignore[type-arg]
    """Prints what was not shown to the user otherwise: records have `shown` where it was."""

    def __init__(self, level: int) -> None:
        super().__init__(sys.stderr)
        self.setLevel(level)

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(record, "shown", False)


class _PatientFileHandler(RotatingFileHandler):
    """Loses what cannot be written, as on a full disk, and says so once."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._told:
            self._told = True
            with suppress(OSError):
                print(f"{self.baseFilename} cannot be written: {sys.exc_info()[1]}; the run goes on", file=sys.stderr)


def _file_handler(actor: str, logs: Logs) -> logging.Handler:
    # Opened with the first line, so that a failure is the handler's to tell of, and ends nothing.
    handler = _PatientFileHandler(logs.file(actor), maxBytes=_MAX_BYTES, backupCount=1, delay=True, encoding="utf-8")
    return _formatted(handler, actor)


def _formatted(handler: logging.Handler, actor: str) -> logging.Handler:
    formatter = logging.Formatter(f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {actor} %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    return handler
