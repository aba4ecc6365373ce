"""Writing files so that neither a crash nor a full disk costs what was there before.

What the files hold is the business of those who write them.
"""

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all: beside its place first, then, once it is on the disk, into it.

    Raises:
        OSError: if it cannot be written, as on a full disk; what was there before is still there.
    """
    temporary = path.with_name(f".unfinished-{path.name}-{os.getpid()}")
    try:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        to_disk(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    to_disk(path.parent)


def to_disk(path: Path) -> None:
    """Waits until a file's or directory's content is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no way to ask this of a directory
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class PatientFile:
    """A file that is only added to, by somebody whom a full disk must not stop.

    What cannot be written is kept in memory and written with what comes next, from the very byte at which
    the disk was full. The first failure is told in a warning.

    Args:
        path: the file; made if it is not there.

    Raises:
        OSError: if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._unwritten = bytearray()
        self._told = False

    def write(self, content: bytes) -> None:
        """Adds to the file, now or later."""
        self._unwritten += content
        self.flush()

    def flush(self) -> None:
        """Tries to write what is not yet written."""
        try:
            while self._unwritten:
                del self._unwritten[: self._file.write(self._unwritten)]
        except OSError as error:
            if not self._told:
                self._told = True
                logger.warning(
                    "%s cannot be written: %s; the run goes on, and what is missing there is written "
                    "as soon as there is room on that disk",
                    self._path,
                    error.strerror or error,
                )

    def close(self) -> None:
        """Closes the file; what still cannot be written is lost."""
        self.flush()
        self._file.close()
