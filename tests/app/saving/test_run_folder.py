"""Run folders: where they are made, found and refused."""

import errno
import os
import time
from pathlib import Path

import pytest

from muzero_ray.app.errors import UserError
from muzero_ray.app.saving.run_folder import RunFolder, versions


def finished(run: RunFolder) -> RunFolder:
    run.config.write_text("{}\n")
    return run


def test_new_run_is_named_by_game_and_time_and_holds_its_versions(tmp_path):
    run = RunFolder.create(tmp_path, "games/mygame.py")
    assert run.path.parent == tmp_path / "mygame"
    assert time.strptime(run.path.name, "%Y-%m-%d--%H-%M-%S")
    lines = dict(line.split(": ", 1) for line in run.versions.read_text().splitlines())
    assert lines == versions()
    assert {"python", "os", "cpu", "cores", "muzero-ray", "torch", "ray", "numpy", "numba", "gymnasium"} <= lines.keys()


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda _: "2030-01-01--00-00-00")
    runs = [finished(RunFolder.create(tmp_path, "cartpole")) for _ in range(11)]
    assert len({run.path for run in runs}) == 11
    assert RunFolder.list_runs(tmp_path, "cartpole") == runs[::-1]


def test_runs_of_the_game_that_was_named_or_of_any_are_listed_newest_first(tmp_path, monkeypatch):
    runs = {}
    for day, game in enumerate(["tictactoe", "cartpole", "cartpole", "tictactoe"], start=1):
        monkeypatch.setattr(time, "strftime", lambda _, day=day: f"2030-01-{day:02d}--00-00-00")
        runs[day] = finished(RunFolder.create(tmp_path, game))
    assert RunFolder.list_runs(tmp_path, "cartpole") == [runs[3], runs[2]]
    assert RunFolder.list_runs(tmp_path) == [runs[4], runs[3], runs[2], runs[1]]
    assert RunFolder.list_runs(tmp_path, "chess") == []


def test_start_without_a_configuration_is_no_run(tmp_path):
    RunFolder.create(tmp_path, "cartpole")
    assert RunFolder.list_runs(tmp_path) == []


def test_folder_of_a_run_that_never_began_is_removed_and_one_with_a_checkpoint_never(tmp_path):
    idle, used = (finished(RunFolder.create(tmp_path, "cartpole")) for _ in range(2))
    (used.checkpoints / "step_000000001").mkdir()
    idle.remove()
    used.remove()
    assert not idle.path.exists()
    assert used.config.is_file()


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"wanted a run folder .* got a folder without"):
        RunFolder.open(tmp_path)
    with pytest.raises(UserError, match="got nothing there"):
        RunFolder.open(tmp_path / "none")


def test_a_file_is_no_run_but_the_folder_of_its_configuration_is(tmp_path):
    (tmp_path / "mine.yaml").write_text("")
    with pytest.raises(UserError, match=r"mine.yaml: wanted a run folder .*, got a file$"):
        RunFolder.open(tmp_path / "mine.yaml")
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(UserError, match=rf"config.yaml: .*, got a file; did you mean {tmp_path}\?"):
        RunFolder.open(tmp_path / "config.yaml")


def test_file_in_the_place_of_the_results_is_told_in_a_sentence(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(
        UserError, match=r"results: cannot write to .*results.cartpole \(Not a directory\); .* --results"
    ):
        RunFolder.create(tmp_path / "results", "cartpole")


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_place_that_cannot_be_written_is_told_in_a_sentence(tmp_path, monkeypatch, code):
    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(UserError, match=rf"cannot write to .* \({os.strerror(code)}\)"):
        RunFolder.create(tmp_path, "cartpole")
    assert list((tmp_path / "cartpole").iterdir()) == []
