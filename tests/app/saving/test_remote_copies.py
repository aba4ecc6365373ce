"""Copies of checkpoints in other places: whole or not at all, never in a run's way; and runs that go on from them."""

import json
import logging
import shutil
import threading
import time

import numpy as np
import pytest
from reference.tiny_runs import tiny_config

from muzero_ray.app import cli, config_io, run
from muzero_ray.app.errors import UserError
from muzero_ray.app.saving.checkpoint import list_checkpoints, save_best, save_checkpoint
from muzero_ray.app.saving.checkpoint_reader import newest_checkpoint
from muzero_ray.app.saving.remote_copies import RemoteCopies, find_copies
from muzero_ray.app.saving.remote_place import Place
from muzero_ray.app.saving.remote_run import RemoteRun
from muzero_ray.app.saving.run_folder import RunFolder


@pytest.fixture(params=["memory", "file", "path"])
def to(request, tmp_path):
    """A place of each kind, empty."""
    return {
        "memory": f"memory://{tmp_path.name}/copies",
        "file": f"file://{tmp_path}/copies",
        "path": str(tmp_path / "copies"),
    }[request.param]


@pytest.fixture
def folder(tmp_path):
    config = tiny_config(results=str(tmp_path / "results"))
    folder = RunFolder.create(config.results, config.game)
    config_io.write_config(folder.config, config)
    folder.curve.write_text('{"kind": "episodes", "env_steps": 8, "count": 1, "mean": 9.0}\n')
    return folder


def save(folder, steps, spare=None) -> None:
    save_checkpoint(
        folder,
        learner_state=b"learner",
        weights={"w": np.full(3, steps)},
        buffer_state={"rewards": np.arange(steps)},
        manifest={"env_steps": 10 * steps, "training_steps": steps, "seconds": 1.0, "limiter": {}, "starts": {}},
        keep=2,
        spare=spare,
    )


def copy(folder, to, keep=2) -> RemoteCopies:
    """Copies what there is; returns who did, at the place."""
    copies = RemoteCopies(folder, find_copies(to, folder, "cartpole", new=False), keep)
    copies.request()
    assert copies.wait(30)
    copies.close()
    return copies


def uri_of(folder, to) -> str:
    return f"{to}/cartpole/{folder.path.name}"


def as_uri(to) -> str:
    return to if "://" in to else f"file://{to}"


def test_copy_holds_what_a_run_goes_on_from(tmp_path, folder, to):
    save(folder, 30)
    save_best(folder, {"w": np.ones(3)}, {"env_steps": 200, "training_steps": 20, "seconds": 1.0})
    assert list(copy(folder, to).news()) == []
    shutil.rmtree(folder.path)
    remote = RemoteRun.open(as_uri(uri_of(folder, to)))
    assert remote.config_file().values["train"]["env_steps"] == 320
    fetched, checkpoint = remote.fetch(tiny_config(results=str(tmp_path / "elsewhere")))
    assert fetched.path.parent == tmp_path / "elsewhere" / "cartpole"
    assert checkpoint.path == fetched.checkpoints / "step_000000030"
    np.testing.assert_array_equal(newest_checkpoint(fetched).weights()["w"], [30, 30, 30])
    assert len(newest_checkpoint(fetched).buffer_state()["rewards"]) == 30
    assert [path.name for path in list_checkpoints(fetched.best)] == ["step_000000020"]
    assert '"mean": 9.0' in fetched.curve.read_text()
    assert fetched.config.is_file()


def test_newest_checkpoints_are_kept_and_those_of_a_branch_that_was_given_up_leave(folder, to):
    copies = RemoteCopies(folder, find_copies(to, folder, "cartpole", new=True), keep=2)
    for steps in (10, 20, 30):
        save(folder, steps)
        copies.request()
        assert copies.wait(30)
    there = Place.find(uri_of(folder, to), "test").child("checkpoints")
    assert sorted(there.names()) == ["step_000000020", "step_000000030"]
    shutil.rmtree(folder.checkpoints / "step_000000030")
    save(folder, 25)
    copies.request()
    assert copies.wait(30)
    assert sorted(there.names()) == ["step_000000020", "step_000000025"]


@pytest.mark.parametrize("damage", ["no manifest", "half a manifest", "half a file", "a file too few"])
def test_half_a_copy_is_never_taken_for_a_whole_one(tmp_path, folder, to, damage, caplog):
    for steps in (10, 20):
        save(folder, steps)
        copy(folder, to)
    there = Place.find(uri_of(folder, to), "test").child("checkpoints", "step_000000020")
    manifest = there.read("manifest.json")
    if damage == "no manifest":
        there.remove("manifest.json")
    elif damage == "half a manifest":
        there.filesystem.pipe_file(f"{there.path}/manifest.json", manifest[: len(manifest) // 2])
    elif damage == "half a file":
        there.filesystem.pipe_file(f"{there.path}/buffer.npz", there.read("buffer.npz")[:99])
    else:
        there.remove("weights.npz")
    with caplog.at_level(logging.WARNING):
        _, checkpoint = RemoteRun.open(as_uri(uri_of(folder, to))).fetch(tiny_config(results=str(tmp_path / "new")))
    assert checkpoint.training_steps == 10
    assert "step_000000020 is passed over" in caplog.text


def test_run_without_a_whole_copy_is_refused_and_leaves_no_folder(tmp_path, folder, to):
    save(folder, 10)
    copy(folder, to)
    Place.find(uri_of(folder, to), "test").child("checkpoints", "step_000000010").remove("weights.npz")
    remote = RemoteRun.open(as_uri(uri_of(folder, to)))
    with pytest.raises(UserError, match="has no checkpoint that is whole"):
        remote.fetch(tiny_config(results=str(tmp_path / "new")))
    assert list((tmp_path / "new" / "cartpole").iterdir()) == []


def test_copies_that_another_manifest_names_are_replaced_manifest_first(folder, to):
    save(folder, 10)
    copy(folder, to)
    shutil.rmtree(folder.checkpoints / "step_000000010")
    save_checkpoint(
        folder,
        learner_state=b"another learner",
        weights={"w": np.zeros(1)},
        buffer_state={},
        manifest={"env_steps": 1, "training_steps": 10, "seconds": 2.0},
        keep=2,
    )
    copy(folder, to)
    there = Place.find(uri_of(folder, to), "test").child("checkpoints", "step_000000010")
    assert there.read("learner.pt") == b"another learner"
    assert json.loads(there.read("manifest.json"))["seconds"] == 2.0


class Flaky:
    """A place where nothing can be written while it is `down`, and buffers take until they are `let_through`."""

    def __init__(self, place: Place, monkeypatch) -> None:
        self.down, self.reached, self.let_through = False, threading.Event(), threading.Event()
        self.let_through.set()
        put = place.filesystem.put_file

        def put_file(source, target, **options):
            if self.down:
                raise ConnectionError("the network is unreachable")
            if source.endswith("buffer.npz"):
                self.reached.set()
                assert self.let_through.wait(30)
            put(source, target, **options)

        monkeypatch.setattr(place.filesystem, "put_file", put_file)


def test_failure_is_told_once_and_the_next_request_tries_again(folder, tmp_path, monkeypatch):
    place = find_copies(f"memory://{tmp_path.name}", folder, "cartpole", new=True)
    store = Flaky(place, monkeypatch)
    copies = RemoteCopies(folder, place, keep=2)
    store.down = True
    for steps in (10, 20):
        save(folder, steps)
        copies.request()
        assert copies.wait(30)
        assert copies.failing
    (told,) = copies.news()
    assert "ConnectionError: the network is unreachable; the run goes on" in told
    store.down = False
    copies.request()
    assert copies.wait(30)
    assert list(copies.news()) == [f"checkpoints are copied to {copies.uri} again"]
    assert place.child("checkpoints").names() == ["step_000000020"]


def test_checkpoint_that_is_being_copied_outlives_newer_ones_and_nobody_waits_for_it(folder, tmp_path, monkeypatch):
    place = find_copies(f"memory://{tmp_path.name}", folder, "cartpole", new=True)
    store = Flaky(place, monkeypatch)
    copies = RemoteCopies(folder, place, keep=9)
    save(folder, 10)
    copies.request()
    assert copies.wait(30)
    store.reached.clear()
    store.let_through.clear()
    save(folder, 20)
    copies.request()
    assert store.reached.wait(30)
    for steps in (30, 40, 50):
        save(folder, steps, spare=copies.source)
        copies.request()
    assert not copies.wait(0.1)
    assert [path.name for path in list_checkpoints(folder.checkpoints)][-1] == "step_000000020"
    store.let_through.set()
    assert copies.wait(30)
    assert list(copies.news()) == []
    assert sorted(place.child("checkpoints").names()) == ["step_000000010", "step_000000020", "step_000000050"]


def test_place_that_cannot_be_reached_is_told_in_words_before_any_work(folder, tmp_path, monkeypatch):
    def find(to):
        find_copies(to, folder, "cartpole", new=True)

    option = r"system\.copy_checkpoints_to"
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)  # as if it were not installed
    with pytest.raises(UserError, match=rf"{option}: to reach s3://b/runs takes s3fs, which is not installed"):
        find("s3://b/runs")
    with pytest.raises(UserError, match=f"{option}: wanted a folder, s3://bucket/path.*got nowhere://x: Protocol not"):
        find("nowhere://x")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=rf"{option}: {tmp_path}/file/cartpole/\S+ cannot be written: Not a directory"):
        find(str(tmp_path / "file"))
    with pytest.raises(UserError, match=f"{option}: wanted a place other than that of the run itself"):
        find(str(tmp_path / "results"))
    find(str(tmp_path / "copies"))
    save(folder, 10)
    copy(folder, str(tmp_path / "copies"))
    with pytest.raises(UserError, match="holds another run's copies"):
        find(str(tmp_path / "copies"))
    with pytest.raises(UserError, match=r"--resume: wanted a run's copies, .* got nothing such at memory://nothing"):
        RemoteRun.open("memory://nothing")


@pytest.mark.parametrize("kind", ["memory", "path"])
def test_run_is_copied_as_it_goes_and_goes_on_from_its_copies_in_a_new_folder(tmp_path, capsys, kind):
    to = f"memory://{tmp_path.name}" if kind == "memory" else str(tmp_path / "mounted")
    config = tiny_config(results=str(tmp_path / "here"), system={"copy_checkpoints_to": to})
    folder = RunFolder.create(config.results, config.game)
    assert run.train(config, folder, None) == 0
    told = capsys.readouterr().err
    uri = f"{to}/cartpole/{folder.path.name}"
    assert f"copied to        {uri}" in told
    before = newest_checkpoint(folder)
    points = json.loads(folder.summary.read_text())["evaluations"]
    shutil.rmtree(tmp_path / "here")
    while time.strftime("%Y-%m-%d--%H-%M-%S") == folder.path.name:  # runs are named by the second
        time.sleep(0.1)

    options = ["--results", str(tmp_path / "there"), "--train.env-steps", "640"]
    assert cli.main(["train", "--resume", uri, *options]) == 0
    assert f"continues from   env step {before.env_steps}" in capsys.readouterr().err
    (resumed,) = RunFolder.list_runs(tmp_path / "there", "cartpole")
    assert newest_checkpoint(resumed).env_steps >= 640
    # The final evaluation came after the last checkpoint, but at its env steps.
    assert json.loads(resumed.summary.read_text())["evaluations"][: len(points)] == points
    assert sorted(Place.find(f"{to}/cartpole", "test").names()) == sorted([folder.path.name, resumed.path.name])
