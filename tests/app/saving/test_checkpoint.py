"""Checkpoints: nothing is lost at any moment of a crash, and nothing dangerous or broken is loaded."""

import errno
import json
import logging
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from muzero_ray.app.saving import checkpoint as writing
from muzero_ray.app.saving.checkpoint import (
    CheckpointWriter,
    list_checkpoints,
    remove_leftovers,
    save_best,
    save_checkpoint,
)
from muzero_ray.app.saving.checkpoint_reader import (
    CheckpointError,
    find_checkpoint,
    load_checkpoint,
    newest_checkpoint,
)
from muzero_ray.app.saving.run_folder import RunFolder


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path)


def manifest(step: int) -> dict:
    generator = np.random.default_rng(step).bit_generator.state
    return {"training_steps": step, "env_steps": 8 * step, "seconds": 1.5, "rng": generator}


def save(run: RunFolder, step: int, *, keep: int = 3, is_best: bool = False) -> bool:
    return save_checkpoint(
        run,
        learner_state={"steps": step, "network": {"w": torch.full((3,), float(step))}},
        weights={"w": np.full(3, step, np.float32)},
        buffer_state={"file": np.arange(step), "rewards": np.zeros((2, 2), np.float32)},
        manifest=manifest(step),
        keep=keep,
        is_best=is_best,
    )


def names(folder: Path) -> list[str]:
    return [path.name for path in list_checkpoints(folder)]


def test_round_trip_restores_every_part(run):
    assert save(run, 7)
    loaded = newest_checkpoint(run)
    assert (loaded.training_steps, loaded.env_steps, loaded.seconds) == (7, 56, 1.5)
    assert loaded.learner_state()["steps"] == 7
    assert torch.equal(loaded.learner_state()["network"]["w"], torch.full((3,), 7.0))
    np.testing.assert_array_equal(loaded.weights()["w"], np.full(3, 7, np.float32))
    np.testing.assert_array_equal(loaded.buffer_state()["file"], np.arange(7))
    assert loaded.buffer_state()["rewards"].dtype == np.float32
    # 128-bit integers of a generator's state survive JSON.
    assert loaded.manifest["rng"] == np.random.default_rng(7).bit_generator.state


def test_learner_state_may_come_as_bytes_of_torch(run, tmp_path):
    torch.save({"steps": 5}, tmp_path / "state")
    data = (tmp_path / "state").read_bytes()
    save_checkpoint(run, learner_state=data, weights={}, buffer_state={}, manifest=manifest(5), keep=1)
    assert newest_checkpoint(run).learner_bytes() == data
    assert newest_checkpoint(run).learner_state() == {"steps": 5}


def test_the_newest_few_are_kept_and_the_best_beside_them(run):
    for step in (10, 20, 30, 40, 50):
        save(run, step, keep=2, is_best=step == 20)
    assert names(run.checkpoints) == ["step_000000050", "step_000000040"]
    assert names(run.best) == ["step_000000020"]
    assert find_checkpoint(run, "best").weights()["w"][0] == 20


def test_new_best_replaces_the_old_one_even_with_fewer_steps(run):
    save_best(run, {"w": np.zeros(1)}, manifest(50))
    save_best(run, {"w": np.ones(1)}, manifest(40))  # resumed from an older checkpoint
    assert names(run.best) == ["step_000000040"]


def test_second_checkpoint_of_the_same_step_is_the_newer_one(run):
    save(run, 10)
    first = load_checkpoint(run.checkpoints / "step_000000010")
    save(run, 10)
    assert names(run.checkpoints) == ["step_000000010-2", "step_000000010"]
    assert newest_checkpoint(run).path.name == "step_000000010-2"
    assert first.weights()["w"][0] == 10


def test_checkpoints_of_a_given_up_future_go_when_the_past_continues(run):
    for step in (10, 20, 30):
        save(run, step)
    (run.checkpoints / "step_000000030" / "weights.npz").write_bytes(b"damaged")
    assert newest_checkpoint(run).training_steps == 20
    save(run, 25)
    assert names(run.checkpoints) == ["step_000000025", "step_000000020", "step_000000010"]


class Killed(BaseException):
    """Stands for kill -9: nothing catches it, and nothing is cleaned up after it."""


def crash_at(monkeypatch, number: int, after: bool) -> None:
    """Makes the `number`-th thing that writing does the last one, before or after it takes effect."""
    calls = 0

    def guarded(function):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == number and not after:
                raise Killed
            result = function(*args, **kwargs)
            if calls == number:
                raise Killed
            return result

        return call

    for name in ("fsync", "rename", "open"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    for name in ("mkdir", "write_text"):
        monkeypatch.setattr(Path, name, guarded(getattr(Path, name)))
    monkeypatch.setattr(writing, "write_arrays", guarded(writing.write_arrays))
    monkeypatch.setattr(writing, "write_learner", guarded(writing.write_learner))
    # A killed process removes nothing; where it was alive it may be in the middle of removing.
    remove = guarded(lambda *args, **kwargs: None)
    monkeypatch.setattr(shutil, "rmtree", lambda path, **kwargs: remove(path))


@pytest.mark.parametrize("after", [False, True])
def test_crash_at_any_moment_leaves_the_old_or_the_new_checkpoint_whole(tmp_path, after):
    outcomes = []
    for number in range(1, 100):
        run = RunFolder(tmp_path / str(number))
        for step in (10, 20):
            save(run, step, keep=2)
        with pytest.MonkeyPatch.context() as patch:
            crash_at(patch, number, after)
            try:
                finished = save(run, 30, keep=2)
            except Killed:
                finished = False
        loaded = newest_checkpoint(run)
        assert loaded.training_steps in (20, 30)
        assert loaded.learner_state()["steps"] == loaded.training_steps
        assert loaded.weights()["w"][0] == loaded.training_steps
        assert len(loaded.buffer_state()["file"]) == loaded.training_steps
        outcomes.append(loaded.training_steps)
        remove_leftovers(run)
        assert {path.name for path in run.checkpoints.iterdir()} == set(names(run.checkpoints))
        assert save(run, 40, keep=2)  # the run goes on
        assert names(run.checkpoints)[0] == "step_000000040"
        if finished:
            break
    assert finished
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {20, 30}
    assert len(outcomes) > 15


def test_every_byte_is_on_the_disk_before_the_checkpoint_gets_its_name(run, monkeypatch):
    calls = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda handle: (calls.append(os.readlink(f"/proc/self/fd/{handle}")), fsync(handle))
    )
    monkeypatch.setattr(os, "rename", lambda old, new: (calls.append("rename"), rename(old, new)))
    save(run, 10)
    at = calls.index("rename")
    assert {Path(path).name for path in calls[: at - 1]} == {"learner.pt", "buffer.npz", "weights.npz", "manifest.json"}
    assert Path(calls[at - 1]).name.startswith(".unfinished-")  # the directory that lists them
    assert calls[at + 1] == str(run.checkpoints)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_full_disk_costs_one_checkpoint_and_a_warning_but_not_the_run(run, monkeypatch, caplog, code):
    save(run, 10)

    def full(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(np.lib.format, "write_array", full)
        assert save(run, 20) is False
    assert [record.getMessage() for record in caplog.records] == [
        f"checkpoint {run.checkpoints / 'step_000000020'} was not written: {os.strerror(code)}; training goes on, "
        "older checkpoints are as they were: make room on that disk"
    ]
    assert [path.name for path in run.checkpoints.iterdir()] == ["step_000000010"]
    assert newest_checkpoint(run).training_steps == 10
    assert save(run, 30)


def test_disk_on_which_not_even_a_folder_can_be_made_is_one_warning(tmp_path, caplog):
    (tmp_path / "checkpoints").write_text("a file in the way")
    assert save(RunFolder(tmp_path), 10) is False
    assert len(caplog.records) == 1
    assert "was not written: " in caplog.text


def test_writer_without_commit_leaves_nothing(run):
    with CheckpointWriter(run.checkpoints, manifest(10), keep=1) as writer:
        (writer.directory / "buffer.npz").write_bytes(b"half")
    assert not writer.committed
    assert list(run.checkpoints.iterdir()) == []


def test_programming_errors_are_not_taken_for_a_full_disk(run):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        save_checkpoint(
            run,
            learner_state={},
            weights={"w": np.array([object()])},
            buffer_state={},
            manifest=manifest(1),
            keep=1,
        )
    assert list(run.checkpoints.iterdir()) == []


def test_truncated_file_is_refused_by_name_and_the_older_one_offered(run):
    save(run, 10)
    save(run, 20)
    path = run.checkpoints / "step_000000020" / "buffer.npz"
    size = path.stat().st_size
    os.truncate(path, size - 100)
    reason = f"checkpoint {path} is refused: wanted {size} bytes, got {size - 100}; the file is cut off"
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path.parent)
    assert str(caught.value) == reason
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(run, "20")
    assert str(caught.value) == f"{reason}; try --checkpoint 10"


def test_resuming_falls_back_to_the_newest_whole_checkpoint_with_a_warning(run, caplog):
    for step in (10, 20, 30):
        save(run, step)
    (run.checkpoints / "step_000000030" / "learner.pt").unlink()
    (run.checkpoints / "step_000000020" / "manifest.json").write_text("{half")
    assert newest_checkpoint(run).training_steps == 10
    assert "step_000000030/learner.pt is refused: wanted a file, got none; trying the next older one" in caplog.text
    assert "step_000000020/manifest.json is refused: wanted JSON" in caplog.text


def test_run_without_a_usable_checkpoint_says_so(run):
    with pytest.raises(CheckpointError, match="it stopped before its first checkpoint; start a new run"):
        newest_checkpoint(run)
    save(run, 10)
    (run.checkpoints / "step_000000010" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="none of its checkpoints can be used"):
        newest_checkpoint(run)


def test_changed_bytes_of_the_same_length_are_refused(run):
    save(run, 10)
    path = run.checkpoints / "step_000000010" / "weights.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="its content is not what was written"):
        load_checkpoint(path.parent)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "other program"}, "wanted a muzero_ray checkpoint, got a file of another program"),
        ({"format_version": 2}, "wanted format 1 or older, got 2: update muzero_ray"),
        ({"env_steps": "many"}, "wanted counters and a list of files, got a damaged file"),
        ({"files": ["weights.npz"]}, "wanted counters and a list of files, got a damaged file"),
    ],
)
def test_foreign_newer_and_damaged_manifests_are_refused(run, change, sentence):
    save(run, 10)
    path = run.checkpoints / "step_000000010" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path.parent)
    assert sentence in str(caught.value)


def test_folder_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"wanted a checkpoint's folder, which holds a manifest\.json, got none"):
        load_checkpoint(tmp_path)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_pickle_bomb_is_refused_and_does_not_go_off(run, tmp_path):
    """A stranger's checkpoint may have every digest right."""
    bomb = Bomb(tmp_path / "exploded")
    with CheckpointWriter(run.checkpoints, manifest(10), keep=1) as writer:
        (writer.directory / "learner.pt").write_bytes(pickle.dumps({"network": bomb}, protocol=2))
        with (writer.directory / "weights.npz").open("wb") as file:
            np.savez(file, w=np.array([bomb], dtype=object))
        (writer.directory / "buffer.npz").write_bytes(pickle.dumps(bomb))
        writer.commit()
    loaded = newest_checkpoint(run)
    for part in (loaded.learner_state, loaded.weights, loaded.buffer_state):
        with pytest.raises(CheckpointError, match="got something else or a damaged file"):
            part()
    assert not (tmp_path / "exploded").exists()
    torch.save({"network": bomb}, writer_path := tmp_path / "bomb.pt")
    with CheckpointWriter(run.checkpoints, manifest(20), keep=1) as writer:
        shutil.copy(writer_path, writer.directory / "learner.pt")
        writer.commit()
    with pytest.raises(CheckpointError, match="wanted tensors and numbers only"):
        newest_checkpoint(run).learner_state()
    assert not (tmp_path / "exploded").exists()


def test_manifest_cannot_name_files_elsewhere(run, tmp_path):
    save(run, 10)
    path = run.checkpoints / "step_000000010" / "manifest.json"
    values = json.loads(path.read_text())
    values["files"]["../../secret"] = {"bytes": 6, "sha256": "0" * 64}
    (tmp_path / "secret").write_text("secret")
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"step_000000010/secret is refused: wanted a file, got none"):
        load_checkpoint(path.parent)


def test_user_names_best_last_or_a_number_of_steps(run):
    for step in (10, 20, 30):
        save(run, step, is_best=step == 20)
    assert find_checkpoint(run, "best").training_steps == 20
    assert find_checkpoint(run, "last").training_steps == 30
    assert find_checkpoint(run, "10").training_steps == 10
    assert find_checkpoint(run).path.parent == run.best
    with pytest.raises(CheckpointError, match=r"has no 15; there is best, last, 30, 20, 10$"):
        find_checkpoint(run, "15")
    with pytest.raises(CheckpointError, match="wanted best, last or a number of training steps, got 'newest'"):
        find_checkpoint(run, "newest")


def test_without_a_best_the_last_is_taken(run):
    save(run, 10)
    assert find_checkpoint(run).training_steps == 10
    with pytest.raises(CheckpointError, match=r"has no best; there is last, 10"):
        find_checkpoint(run, "best")


def test_the_best_holds_weights_only(run):
    save(run, 10, is_best=True)
    with pytest.raises(CheckpointError, match="is this the best, which holds weights only"):
        find_checkpoint(run, "best").learner_state()
