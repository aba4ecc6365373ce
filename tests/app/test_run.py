"""Whole runs in one process: what they leave behind, how they go on, and how they fail."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from reference.tiny_runs import tiny_config, write_game

from muzero_ray.app import config_io, run, stopping
from muzero_ray.app.errors import UserError
from muzero_ray.app.local_run import LocalRun
from muzero_ray.app.reporting import report
from muzero_ray.app.reporting.status_file import read_status
from muzero_ray.app.saving.checkpoint import list_checkpoints
from muzero_ray.app.saving.checkpoint_reader import newest_checkpoint
from muzero_ray.app.saving.run_folder import RunFolder


def start(tmp_path, resume=None, folder=None, **changes):
    """Runs a tiny configuration to its end; returns (exit code, run folder)."""
    config = tiny_config(results=str(tmp_path / "results"), **changes)
    folder = folder or RunFolder.create(config.results, config.game)
    config_io.write_config(folder.config, config)
    return run.train(config, folder, resume), folder


def test_a_run_leaves_its_results_behind(tmp_path):
    code, folder = start(tmp_path, evaluate={"video": True})
    assert code == 0
    summary = json.loads(folder.summary.read_text())
    assert summary["env_steps"] >= 320
    assert summary["finished"] is True
    assert len(summary["returns"]) == 3
    assert summary["mean"] == pytest.approx(np.mean(summary["returns"]))
    assert folder.learning_curve.stat().st_size > 1000
    assert folder.video.with_suffix(".mp4").stat().st_size > 1000
    assert list(folder.path.glob("events.out.tfevents*"))
    assert newest_checkpoint(folder).env_steps == summary["env_steps"]
    assert list_checkpoints(folder.best)


def test_a_run_tells_and_records_how_its_game_is_played(tmp_path, capsys):
    path = write_game(tmp_path, "return np.zeros(2, np.float32), 1.0, self.moves == 5, False, {}")
    path.write_text(path.read_text().replace("num_actions=2)", "num_actions=2, protocol='mygame, five moves')"))
    _, folder = start(tmp_path, game=str(path))
    assert "\nprotocol         mygame, five moves\n" in capsys.readouterr().err
    assert json.loads(folder.summary.read_text())["protocol"] == "mygame, five moves"
    _, folder = start(tmp_path)  # there is only one way to play cartpole
    assert "protocol" not in capsys.readouterr().err
    assert json.loads(folder.summary.read_text())["protocol"] is None


def test_the_replay_ratio_is_held(tmp_path):
    _, folder = start(tmp_path)
    checkpoint = newest_checkpoint(folder)
    due = (checkpoint.env_steps - 64) * 2.0
    assert due - 16 < checkpoint.training_steps * 16 <= due
    consumed = checkpoint.manifest["limiter"]["consumed"]
    assert consumed["train"] == checkpoint.training_steps * 16
    assert (checkpoint.env_steps - 64) * 0.5 - 16 < consumed["reanalyze"] <= (checkpoint.env_steps - 64) * 0.5


@pytest.mark.parametrize("prioritized", [False, True])
def test_two_runs_with_one_seed_are_identical_to_the_bit(tmp_path, prioritized):
    changes = {"replay": {"prioritized": prioritized}, "train": {"consistency_weight": 1.0}}
    folders = [start(tmp_path / str(i), **changes)[1] for i in range(2)]
    first, second = (newest_checkpoint(folder) for folder in folders)
    for name, array in first.weights().items():
        np.testing.assert_array_equal(array, second.weights()[name])
    assert first.manifest["limiter"] == second.manifest["limiter"]
    curves = [json.loads(folder.summary.read_text())["evaluations"] for folder in folders]
    assert [point["returns"] for point in curves[0]] == [point["returns"] for point in curves[1]]


def test_another_seed_gives_another_run(tmp_path):
    first, second = (newest_checkpoint(start(tmp_path / str(seed), seed=seed)[1]).weights() for seed in (0, 1))
    assert any((first[name] != second[name]).any() for name in first)


def test_a_resumed_run_continues_counters_curve_and_buffer(tmp_path):
    _, folder = start(tmp_path)
    before = newest_checkpoint(folder)
    points = json.loads(folder.summary.read_text())["evaluations"]
    code, _ = start(tmp_path, resume=before, folder=folder, train={"env_steps": 640})
    assert code == 0
    after = newest_checkpoint(folder)
    assert after.env_steps >= 640 > before.env_steps
    assert after.training_steps > before.training_steps
    assert after.seconds > before.seconds
    curve = json.loads(folder.summary.read_text())["evaluations"]
    assert curve[: len(points)] == points
    assert [point["env_steps"] for point in curve] == sorted(point["env_steps"] for point in curve)
    assert after.manifest["starts"] == dict.fromkeys(("self_play_0", "reanalyze"), 2)
    # The transitions of before are still there, in front of the new ones.
    old, new = before.buffer_state(), after.buffer_state()
    rewards = next(name for name in old if name.endswith("rewards"))
    assert len(new[rewards]) > len(old[rewards])
    np.testing.assert_array_equal(new[rewards][: len(old[rewards])], old[rewards])


def test_a_run_whose_game_has_changed_since_is_refused_and_left_as_it_was(tmp_path):
    game = write_game(tmp_path, "return np.zeros(2, np.float32), 1.0, self.moves == 5, False, {}")
    _, folder = start(tmp_path, game=str(game))
    before = newest_checkpoint(folder)
    curve = folder.curve.read_bytes()
    for name, (old, new), told in (
        ("actions", ("num_actions=2", "num_actions=3"), r"legal_actions must be bool of shape \(3,\)"),
        ("observations", ("(2,)", "(4,)"), r"observations must be float32 of shape \(4,\)"),
    ):
        (tmp_path / name).mkdir()  # elsewhere, since this process has loaded the one that was
        changed = tmp_path / name / game.name
        changed.write_text(game.read_text().replace(old, new))
        with pytest.raises(UserError, match=rf"mygame\.py has changed since .*{told}.*or start a new run"):
            start(tmp_path, resume=before, folder=folder, game=str(changed))
    assert folder.curve.read_bytes() == curve


def test_a_finished_run_that_is_resumed_only_evaluates_again(tmp_path):
    _, folder = start(tmp_path)
    before = newest_checkpoint(folder)
    checkpoints = list_checkpoints(folder.checkpoints)
    code, _ = start(tmp_path, resume=before, folder=folder)
    assert code == 0
    assert list_checkpoints(folder.checkpoints) == checkpoints, "nothing is new"
    status = read_status(folder.status)
    assert (status["env_steps"], status["training_steps"]) == (before.env_steps, before.training_steps)


def test_no_more_checkpoints_are_kept_than_asked_for(tmp_path):
    _, folder = start(tmp_path, system={"checkpoint_seconds": 0.001, "keep_checkpoints": 2})
    assert len(list_checkpoints(folder.checkpoints)) == 2


def test_a_broken_game_stops_the_run_with_its_own_traceback_step_and_seed(tmp_path, capsys):
    game = write_game(tmp_path, "return np.zeros(2, dtype=np.float32), 1.0 / (20 - self.moves), False, False, {}")
    code, _ = start(tmp_path, game=str(game))
    told = capsys.readouterr().err
    assert code == 1
    assert "ZeroDivisionError" in told
    assert "1.0 / (20 - self.moves)" in told  # the line of the user's own file
    assert "step 20" in told
    assert "seed" in told


def test_a_reward_that_is_no_number_stops_the_run_in_words(tmp_path, capsys):
    game = write_game(tmp_path, "return np.zeros(2, dtype=np.float32), float('nan'), False, False, {}")
    code, _ = start(tmp_path, game=str(game))
    assert code == 1
    assert "reward must be finite, got nan after action" in capsys.readouterr().err


def test_a_run_that_fails_after_training_keeps_what_was_trained(tmp_path, capsys):
    body = "if self.moves == 30: raise RuntimeError('out of cards')\n"
    body += "return np.ones(2, dtype=np.float32), 1.0, False, False, {}"
    code, folder = start(tmp_path, game=str(write_game(tmp_path, body)))
    told = capsys.readouterr().err
    assert code == 1
    assert "out of cards" in told
    assert "--resume" in told
    assert newest_checkpoint(folder).training_steps > 0


def test_a_batch_that_cannot_be_learnt_from_is_saved_and_named(tmp_path, capsys, monkeypatch):
    from muzero_ray.nn.learner import Learner, NonFiniteLoss

    def update(self, batch):
        raise NonFiniteLoss("training step 0: loss/total must be finite, got nan", batch)

    monkeypatch.setattr(Learner, "update", update)
    code, folder = start(tmp_path)
    told = capsys.readouterr().err
    assert code == 1
    assert "loss/total must be finite" in told
    path = folder.path / "nonfinite_batch.npz"
    assert str(path) in told
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["actions"].shape == (16, 5)


def test_ray_is_never_imported_in_one_process(tmp_path):
    script = (
        "import sys\n"
        "from reference.tiny_runs import tiny_config\n"
        "from muzero_ray.app import config_io, run\n"
        "from muzero_ray.app.saving.run_folder import RunFolder\n"
        f"config = tiny_config(results={str(tmp_path)!r})\n"
        "folder = RunFolder.create(config.results, config.game)\n"
        "assert run.train(config, folder, None) == 0\n"
        "assert 'ray' not in sys.modules, 'ray was imported'\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=120)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_after_a_checkpoint(tmp_path, number):
    config = tiny_config(results=str(tmp_path / "results"), train={"env_steps": 1_000_000})
    path = tmp_path / "long.yaml"
    config_io.write_config(path, config)
    command = [sys.executable, "-m", "muzero_ray.app.cli", "train", "--config", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    curves = lambda: list(tmp_path.glob("results/cartpole/*/curve.jsonl"))  # noqa: E731
    deadline = time.monotonic() + 120
    while not (curves() and curves()[0].read_text()) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert re.search(r"go on with: \S*muzero-ray train --resume \S+/results/cartpole/", told)
    folder = RunFolder.list_runs(tmp_path / "results", "cartpole")[0]
    assert newest_checkpoint(folder).training_steps > 0
    assert json.loads(folder.summary.read_text())["finished"] is False


def test_configuration_is_written_only_once_the_run_is_known_to_be_possible(tmp_path):
    config = tiny_config(results=str(tmp_path), system={"device": "cuda"})
    _, folder = start(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    with pytest.raises(UserError, match=r"system\.device: cuda was asked for, but torch finds no GPU"):
        run.train(config, folder, newest_checkpoint(folder))
    assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()} == before


def test_start_that_fails_half_way_is_told_in_a_sentence_and_leaves_no_folder(tmp_path):
    game = write_game(tmp_path, "return np.zeros(2, dtype=np.float32), 0.0, False, False, {}")
    game.write_text(game.read_text().replace("self.moves = 0", "self.moves = 0 // (seed == 0)"))
    config = tiny_config(results=str(tmp_path / "results"), game=str(game))
    folder = RunFolder.create(config.results, config.game)
    with pytest.raises(UserError, match=r"mygame\.reset: reset\(\) must not raise, got ZeroDivisionError") as caught:
        run.train(config, folder, None)
    assert "0 // (seed == 0)" in str(caught.value), "the line of the game's own file"
    assert not folder.path.exists()


def test_start_that_runs_out_of_memory_is_told_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="Unable to allocate"):
        start(tmp_path, replay={"capacity_steps": 10**14, "capacity_mb": 10**12})


class Signal:
    """Sends a signal to this process the first time something is called."""

    def __init__(self, number: int, instead_of, then=lambda: None) -> None:
        self.number, self.instead_of, self.then = number, instead_of, then
        self.sent = False

    def __call__(self, *args, **kwargs):
        if not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.number)
            time.sleep(0.01)
            self.then()
        return self.instead_of(*args, **kwargs)


def unreachable() -> None:
    raise AssertionError("the signal did not stop this")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_during_the_start_stops_it_where_it_is_and_leaves_nothing(tmp_path, monkeypatch, capsys, number):
    monkeypatch.setattr("muzero_ray.app.start.LocalRun", Signal(number, LocalRun, then=unreachable))
    before = signal.getsignal(number)
    code, folder = start(tmp_path)
    assert code == 128 + number
    assert capsys.readouterr().err.splitlines()[-1] == "stopped before the run began"
    assert not folder.path.exists()
    assert signal.getsignal(number) == before


def test_signal_during_the_start_of_a_resumed_run_leaves_it_as_it_was(tmp_path, monkeypatch, capsys):
    _, folder = start(tmp_path)
    before = newest_checkpoint(folder)
    monkeypatch.setattr("muzero_ray.app.start.LocalRun", Signal(signal.SIGINT, LocalRun))
    code, _ = start(tmp_path, resume=before, folder=folder)
    assert code == 130
    assert f"{folder.path} is as it was" in capsys.readouterr().err
    assert newest_checkpoint(folder).env_steps == before.env_steps


def test_evaluation_in_this_process_does_not_keep_a_signal_waiting(tmp_path, monkeypatch, capsys):
    evaluate = Signal(signal.SIGINT, LocalRun.evaluate, then=unreachable)
    monkeypatch.setattr(LocalRun, "evaluate", lambda *args: evaluate(*args))
    code, folder = start(tmp_path)
    told = capsys.readouterr().err
    assert code == 130
    assert "go on with" in told
    assert "Ctrl-C again leaves without that" in told
    assert newest_checkpoint(folder).training_steps > 0
    summary = json.loads(folder.summary.read_text())
    assert summary["finished"] is False
    assert len(summary["returns"]) == 3, "the final evaluation, after the checkpoint, in the place of the broken one"


def test_third_ctrl_c_leaves_at_once_without_a_traceback(tmp_path, monkeypatch, capsys):
    def press_twice_more() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    monkeypatch.setattr(stopping, "_ONE_PRESS_SECONDS", 0.0)
    step = Signal(signal.SIGINT, LocalRun.step, then=press_twice_more)
    monkeypatch.setattr(LocalRun, "step", lambda *args: step(*args))
    code, _ = start(tmp_path)
    told = capsys.readouterr().err
    assert code == 130
    assert "left at once" in told
    assert "Traceback" not in told


def test_signal_after_the_report_has_begun_lets_it_finish(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "write_summary", Signal(signal.SIGTERM, report.write_summary))
    code, folder = start(tmp_path)
    assert code == 0
    assert json.loads(folder.summary.read_text())["finished"] is True
    assert folder.learning_curve.is_file()


def test_full_disk_at_the_end_costs_the_extras_and_not_the_run(tmp_path, monkeypatch, capsys):
    def no_room(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(report, "write_whole", no_room)
    code, folder = start(tmp_path, evaluate={"video": True})
    told = capsys.readouterr().err
    assert code == 0
    for what in ("summary", "picture", "video"):
        assert re.search(rf"no {what} +No space left on device", told)
    assert "final evaluation" in told
    assert newest_checkpoint(folder).env_steps >= 320


def test_run_can_be_started_from_a_thread_where_no_signals_can_be_taken(tmp_path):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(start(tmp_path)[0]))
    thread.start()
    thread.join()
    assert codes == [0]


@pytest.mark.parametrize("game", ["cartpole", "tictactoe"])
def test_after_a_warm_up_a_run_compiles_nothing(tmp_path, game):
    """With numba's cache in an empty place, the second process must only load, never save."""
    script = (
        "import sys\n"
        "from numba.core import event\n"
        "from muzero_ray.app.config_io import game_file, make_config\n"
        "from muzero_ray.app.warm_up import warm_up\n"
        "with event.install_recorder('numba:compile') as compiled:\n"
        f"    warm_up(make_config(game_file({game!r}), {{'game': {game!r}}}))\n"
        "print(len(compiled.buffer))\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [
        subprocess.run([sys.executable, "-c", script], check=True, env=environment, capture_output=True, text=True)
        for _ in range(2)
    ]
    first, second = (int(run.stdout) for run in runs)
    assert first > 0
    assert second == 0
