"""Commands that are proposed can be copied."""

import sys
from pathlib import Path

import pytest

from muzero_ray.app.invocation import train_command


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A folder with an environment in it that holds `python` and `muzero-ray`."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "muzero-ray"):
        (programs / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin")
    return programs


@pytest.mark.parametrize(
    ("started", "active", "wanted"),
    [
        ("train.py", True, "python train.py --resume 'a b'"),
        ("train.py", False, ".venv/bin/python train.py --resume 'a b'"),
        ("muzero-ray", True, "muzero-ray train --resume 'a b'"),
        ("muzero-ray", False, ".venv/bin/muzero-ray train --resume 'a b'"),
        ("-c", False, ".venv/bin/muzero-ray train --resume 'a b'"),
    ],
)
def test_hint_names_the_program_that_was_started_as_it_can_be_called(
    environment: Path, monkeypatch, started, active, wanted
):
    monkeypatch.setattr(sys, "argv", [started])
    if active:
        monkeypatch.setenv("PATH", str(environment))
    assert train_command("--resume", "a b") == wanted


def test_hint_names_the_program_where_only_another_interpreter_is_known(environment: Path, monkeypatch):
    (environment / "muzero-ray").unlink()
    monkeypatch.setattr(sys, "argv", ["muzero-ray"])
    assert train_command("--seed", "1") == "muzero-ray train --seed 1"
