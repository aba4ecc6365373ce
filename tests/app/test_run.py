"""Whole runs in one process: what they leave behind, how they go on, and how they fail."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from reference.tiny_runs import tiny_config, write_game

from muzero_ray.app import config_io, run
from muzero_ray.app.checkpoint import list_checkpoints
from muzero_ray.app.checkpoint_reader import newest_checkpoint
from muzero_ray.app.run_folder import RunFolder


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


def test_a_finished_run_that_is_resumed_only_evaluates_again(tmp_path):
    _, folder = start(tmp_path)
    before = newest_checkpoint(folder)
    code, _ = start(tmp_path, resume=before, folder=folder)
    after = newest_checkpoint(folder)
    assert code == 0
    assert (after.env_steps, after.training_steps) == (before.env_steps, before.training_steps)


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
        "from muzero_ray.app.run_folder import RunFolder\n"
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
    assert "go on with: python train.py --resume" in told
    folder = RunFolder.newest(tmp_path / "results", "cartpole")
    assert newest_checkpoint(folder).training_steps > 0
    assert json.loads(folder.summary.read_text())["finished"] is False
