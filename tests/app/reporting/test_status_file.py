"""The status file: whole at any moment, and honest about who wrote it."""

import os
import socket
import subprocess
import sys
import time

import psutil
import pytest

from muzero_ray.app.reporting.status_file import StatusFile, head_is_alive, read_status


def test_what_is_written_is_read_with_who_wrote_it_and_when(tmp_path):
    path = tmp_path / "status.json"
    StatusFile(path).write({"state": "running", "env_steps": 12})
    status = read_status(path)
    assert status["env_steps"] == 12
    assert status["pid"] == os.getpid()
    assert time.time() - status["updated"] < 60
    assert head_is_alive(status)
    assert [file.name for file in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize("content", [None, "", '{"state": "run', "[]", '{"env_steps": 12}'])
def test_what_is_no_status_reads_as_none(tmp_path, content):
    path = tmp_path / "status.json"
    if content is not None:
        path.write_text(content)
    assert read_status(path) is None


def test_a_head_that_was_killed_is_not_alive(tmp_path):
    path = tmp_path / "status.json"
    program = f"""
import os, signal
from pathlib import Path
from muzero_ray.app.reporting.status_file import StatusFile
StatusFile(Path({str(path)!r})).write({{"state": "running"}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program])
    assert not head_is_alive(read_status(path))


def test_another_process_with_the_number_of_the_head_is_not_the_head(tmp_path):
    path = tmp_path / "status.json"
    StatusFile(path).write({"state": "running"})
    assert not head_is_alive({**read_status(path), "process_started": 1.0})


@pytest.mark.parametrize(("seconds", "alive"), [(5.0, True), (300.0, False)])
def test_a_head_on_another_machine_is_alive_while_it_writes(tmp_path, seconds, alive):
    path = tmp_path / "status.json"
    StatusFile(path).write({"state": "running"})
    elsewhere = {**read_status(path), "host": "another-machine", "updated": time.time() - seconds}
    assert head_is_alive(elsewhere) is alive


def test_a_place_that_cannot_be_written_is_told_once_and_ends_nothing(tmp_path, caplog):
    file = StatusFile(tmp_path / "gone" / "status.json")
    file.write({"state": "running"})
    file.write({"state": "running"})
    assert len(caplog.records) == 1
    assert "status.json cannot be written: No such file or directory; the run goes on" in caplog.text


def test_a_head_that_has_died_and_whose_parent_has_not_asked_for_it_is_not_alive(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    started = psutil.Process(process.pid).create_time()
    status = {"host": socket.gethostname(), "pid": process.pid, "process_started": started, "updated": 0.0}
    assert head_is_alive(status)
    process.stdin.close()
    deadline = time.monotonic() + 30
    while head_is_alive(status) and time.monotonic() < deadline:  # it is a zombie until `wait`
        time.sleep(0.05)
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert not head_is_alive(status)
    process.wait()
