"""Files that neither a crash nor a full disk may cost."""

import errno
import os
from pathlib import Path

import pytest

from muzero_ray.app.saving.files import PatientFile, write_whole


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_file_is_replaced_whole_and_stays_as_it_was_where_that_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_whole(path, "first")
    write_whole(path, b"second")
    assert path.read_text() == "second"
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "third")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


class SmallDisk:
    """A file on a disk with room for so many bytes; like a real one, it takes what it has room for."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.content = b""

    def write(self, content: bytes) -> int:
        taken = bytes(content[: self.room])
        if not taken:
            no_room()
        self.content += taken
        self.room -= len(taken)
        return len(taken)

    def close(self) -> None: ...


def test_what_a_full_disk_refuses_is_written_once_there_is_room_from_the_very_byte(tmp_path, caplog):
    file = PatientFile(tmp_path / "a.txt")
    disk = SmallDisk(room=8)
    file._file = disk
    for line in (b"first\n", b"second\n", b"third\n"):
        file.write(line)
    assert disk.content == b"first\nse"
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'a.txt'} cannot be written: No space left on device; the run goes on, and what is missing "
        "there is written as soon as there is room on that disk"
    ]
    disk.room = 100
    file.write(b"fourth\n")
    assert disk.content == b"first\nsecond\nthird\nfourth\n"


def test_disk_that_stays_full_is_no_error_at_the_end_either(caplog):
    file = PatientFile(Path("/dev/full"))
    file.write(b"a")
    file.flush()
    file.close()
    assert len(caplog.records) == 1
