"""A folder that may be anywhere fsspec reaches: on a mounted disk, in S3, in Google Cloud Storage.

Only what checkpoints need: files go there, come back and are removed. What they hold is the business of
`remote_copies` and `remote_run`.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muzero_ray.app.errors import UserError

_UNFINISHED = ".unfinished-"


def is_uri(text: str) -> bool:
    """Whether this is an address like s3://bucket/path, rather than a path.

    >>> is_uri("s3://bucket/runs"), is_uri("results/cartpole")
    (True, False)
    """
    return "://" in text


@dataclass(frozen=True)
class Place:
    """A folder somewhere; it need not exist."""

    filesystem: Any  # one of fsspec's
    path: str  # as the file system calls it
    uri: str  # as a user calls it

    @classmethod
    def find(cls, uri: str, option: str) -> "Place":
        """The place at an address.

        Args:
            uri: a folder, or s3://bucket/path, gs://bucket/path, file:///folder, or whatever else fsspec knows.
            option: that it was given by, for the message.

        Raises:
            UserError: if there is no such kind of place, or what it takes to reach it is not installed.
        """
        kind = uri.partition("://")[0] if is_uri(uri) else "file"
        try:
            from fsspec.core import url_to_fs  # here, since most runs need none

            # Only the local file system has to be told that folders are to be made.
            filesystem, path = url_to_fs(uri, **({"auto_mkdir": True} if kind in ("file", "local") else {}))
        except ImportError as error:
            packages = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
            missing = "fsspec" if error.name == "fsspec" else packages.get(kind, "a package")
            raise UserError(
                f"{option}: to reach {uri} takes {missing}, which is not installed ({error}); "
                f"pip install {packages.get(kind, 'it')}, on the machine that runs the head"
            ) from error
        except ValueError as error:
            raise UserError(
                f"{option}: wanted a folder, s3://bucket/path, gs://bucket/path or file:///folder, got {uri}: {error}"
            ) from error
        return cls(filesystem, path.rstrip("/"), uri.rstrip("/"))

    def child(self, *names: str) -> "Place":
        """A folder in this one."""
        return Place(self.filesystem, "/".join([self.path, *names]), "/".join([self.uri, *names]))

    @property
    def local(self) -> Path | None:
        """The same folder as this machine calls it, if it is on a disk of this machine."""
        kinds = self.filesystem.protocol
        return Path(self.path) if "file" in ((kinds,) if isinstance(kinds, str) else kinds) else None

    def names(self) -> list[str]:
        """Of what is in it; none where there is no such folder."""
        self.filesystem.invalidate_cache()  # other machines write there, too
        try:
            found = [str(path).rstrip("/") for path in self.filesystem.ls(self.path, detail=False)]
        except FileNotFoundError:
            return []
        return [path.rpartition("/")[2] for path in found if path != self.path]

    def prove_writable(self) -> None:
        """Writes a file and removes it: whatever is wrong is known before it matters."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{_UNFINISHED}probe"
            file.write_text("written to see whether that is possible\n")
            self.put(file)
            self.remove(file.name)

    def read(self, name: str) -> bytes:
        """The content of a file."""
        content: bytes = self.filesystem.cat_file(f"{self.path}/{name}")
        return content

    def put(self, file: Path) -> None:
        """Copies a file of this machine to it. One that is not finished may be seen there."""
        self.filesystem.put_file(str(file), f"{self.path}/{file.name}")

    def put_whole(self, file: Path) -> None:
        """Copies a file of this machine to it, in the place of an older one, whole or not at all."""
        unfinished = f"{self.path}/{_UNFINISHED}{file.name}"
        self.filesystem.put_file(str(file), unfinished)
        self.filesystem.mv(unfinished, f"{self.path}/{file.name}")

    def get(self, name: str, folder: Path) -> None:
        """Copies a file from it to a folder of this machine."""
        self.filesystem.get_file(f"{self.path}/{name}", str(folder / name))

    def remove(self, name: str) -> None:
        """Removes a file from it."""
        self.filesystem.rm_file(f"{self.path}/{name}")

    def remove_all(self) -> None:
        """Removes it with all that is in it."""
        self.filesystem.rm(self.path, recursive=True)


@contextmanager
def told_to_user(what: str) -> Iterator[None]:
    """Whatever a store's client raises, told as the user's to mend.

    Args:
        what: could not be done, as the beginning of a sentence.

    Raises:
        UserError: in the place of the other.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {reason(error)}; check the address, the credentials and the network") from error


def reason(error: Exception) -> str:
    """What went wrong in a store, in a line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}".splitlines()[0]
