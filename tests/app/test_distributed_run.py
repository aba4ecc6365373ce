"""Whole runs over Ray actors: the same results as in one process, and what happens when something dies."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from reference.tiny_runs import tiny_config, write_game
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from muzero_ray.app import config_io, run, session
from muzero_ray.app.saving.checkpoint import save_checkpoint
from muzero_ray.app.saving.checkpoint_reader import newest_checkpoint
from muzero_ray.app.saving.run_folder import RunFolder

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def start(tmp_path, resume=None, folder=None, **changes):
    config = tiny_config(**{"results": str(tmp_path / "results"), "num_actors": 1, **changes})
    folder = folder or RunFolder.create(config.results, config.game)
    config_io.write_config(folder.config, config)
    return run.train(config, folder, resume), folder


def processes(role: str) -> list[psutil.Process]:
    """Processes of an actor class, as `ps` shows them."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline() and process.cmdline()[0].startswith(f"ray::{role}"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_once_trained(tmp_path, role: str) -> threading.Thread:
    """Sends SIGKILL to a role's process once the run has written its first evaluation."""

    def work() -> None:
        deadline = time.monotonic() + 60
        curve = lambda: list(tmp_path.glob("results/*/*/curve.jsonl"))  # noqa: E731
        while time.monotonic() < deadline and not (curve() and curve()[0].read_text()):
            time.sleep(0.1)
        for process in processes(role):
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)

    killed: list[int] = []
    thread = threading.Thread(target=work, daemon=True)
    thread.killed = killed  # type: ignore[attr-defined]
    thread.start()
    return thread


@pytest.mark.parametrize("num_actors", [1, 2])
def test_a_run_over_actors_spends_its_budget_and_holds_its_ratio(tmp_path, num_actors):
    code, folder = start(tmp_path, num_actors=num_actors)
    assert code == 0
    checkpoint = newest_checkpoint(folder)
    assert 320 <= checkpoint.env_steps <= 320 + num_actors * 2 * 4 * 8
    due = (checkpoint.env_steps - 64) * 2.0
    assert due - 16 < checkpoint.manifest["limiter"]["consumed"]["train"] <= due
    assert checkpoint.training_steps * 16 == checkpoint.manifest["limiter"]["consumed"]["train"]
    assert json.loads(folder.summary.read_text())["finished"] is True
    [summary] = EventAccumulator(str(folder.path)).Reload().Tensors("model summary/text_summary")
    assert "parameters" in summary.tensor_proto.string_val[0].decode()


def test_two_runs_in_lockstep_with_one_seed_are_identical_to_the_bit(tmp_path):
    found = []
    for number in range(2):
        code, folder = start(tmp_path / str(number), num_actors=2, system={"lockstep": "on"})
        assert code == 0
        checkpoint = newest_checkpoint(folder)
        buffer = checkpoint.buffer_state()
        found.append({**checkpoint.weights(), "rewards": buffer["rewards"], "actions": buffer["actions"]})
    first, second = found
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert checkpoint.training_steps > 0


def test_a_resumed_run_over_actors_continues_its_counters(tmp_path):
    _, folder = start(tmp_path)
    before = newest_checkpoint(folder)
    code, _ = start(tmp_path, resume=before, folder=folder, train={"env_steps": 640})
    after = newest_checkpoint(folder)
    assert code == 0
    assert after.env_steps >= 640
    assert after.training_steps > before.training_steps
    assert after.manifest["starts"]["self_play_0"] == before.manifest["starts"]["self_play_0"] + 1


def test_a_run_can_move_from_one_process_to_actors(tmp_path):
    _, folder = start(tmp_path, num_actors=0)
    code, _ = start(tmp_path, resume=newest_checkpoint(folder), folder=folder, train={"env_steps": 640})
    assert code == 0
    assert newest_checkpoint(folder).env_steps >= 640


def test_several_ranks_train_one_network_at_the_same_pace(tmp_path):
    code, folder = start(tmp_path, train={"num_gpus": 2})
    assert code == 0
    checkpoint = newest_checkpoint(folder)
    assert checkpoint.training_steps * 16 == checkpoint.manifest["limiter"]["consumed"]["train"]
    due = (checkpoint.env_steps - 64) * 2.0
    assert due - 16 < checkpoint.manifest["limiter"]["consumed"]["train"] <= due


def test_ranks_start_anew_from_the_newest_checkpoint_when_one_dies(tmp_path, capsys):
    killer = kill_once_trained(tmp_path, "TrainerRank")
    code, folder = start(tmp_path, train={"env_steps": 3200, "num_gpus": 2}, system={"checkpoint_seconds": 1.0})
    killer.join(timeout=60)
    assert killer.killed
    told = capsys.readouterr().err
    assert code == 0, told
    assert newest_checkpoint(folder).env_steps >= 3200
    assert "trainer died and is restarted" in told


ROLES = ["SelfPlay", "Reanalyze", "Evaluator", "Trainer", "ReplayBuffer", "SharedStorage"]


@pytest.mark.parametrize(
    ("role", "num_actors", "lockstep"),
    [(role, 1, False) for role in ROLES]
    # Where the others wait for its turn.
    + [(role, 2, True) for role in ("SelfPlay", "Reanalyze", "Trainer", "ReplayInLockstep")],
)
def test_a_run_recovers_from_the_death_of_an_actor(tmp_path, role, num_actors, lockstep, capsys):
    killer = kill_once_trained(tmp_path, role)
    code, folder = start(
        tmp_path,
        num_actors=num_actors,
        train={"env_steps": 3200},
        system={"checkpoint_seconds": 1.0, "lockstep": "on" if lockstep else "off"},
    )
    killer.join(timeout=60)
    assert killer.killed, f"no process of {role} was found to be killed"
    told = capsys.readouterr().err
    assert code == 0, told
    assert newest_checkpoint(folder).env_steps >= 3200
    assert "died and is restarted" in told


def test_a_trainer_that_dies_while_nobody_is_calling_it_goes_on_from_the_newest_checkpoint(
    tmp_path, monkeypatch, capsys
):
    saved: list[int] = []

    def save(*arguments, **options):
        written = save_checkpoint(*arguments, **options)
        saved.append(options["manifest"]["training_steps"])
        if len(saved) == 1:  # the head is busy with it for longer than the trainer's calls last
            time.sleep(3.0)
            [trainer] = processes("Trainer")
            os.kill(trainer.pid, signal.SIGKILL)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and {process.pid for process in processes("Trainer")} <= {trainer.pid}:
                time.sleep(0.1)
            time.sleep(3.0)  # so that the new one is there before anything is asked of it
        return written

    monkeypatch.setattr(session, "save_checkpoint", save)
    code, folder = start(tmp_path, train={"env_steps": 6400}, system={"checkpoint_seconds": 1.0})
    told = capsys.readouterr().err
    assert code == 0, told
    assert "trainer died and is restarted" in told
    assert saved == sorted(saved)
    assert newest_checkpoint(folder).training_steps == saved[-1] >= saved[0] > 0


@pytest.mark.parametrize(("role", "name"), [("SelfPlay", "self_play_0"), ("Evaluator", "evaluator")])
def test_an_actor_that_keeps_dying_ends_the_run_with_its_name(tmp_path, role, name, capsys):
    killer = kill_once_trained(tmp_path, role)
    began = time.monotonic()
    code, folder = start(
        tmp_path, train={"env_steps": 1_000_000}, system={"checkpoint_seconds": 1.0, "max_restarts": 0}
    )
    killer.join(timeout=60)
    told = capsys.readouterr().err
    assert code == 1
    assert f"{name} failed" in told
    assert "--resume" in told
    assert newest_checkpoint(folder).training_steps > 0
    assert time.monotonic() - began < 90


def test_a_broken_game_stops_the_run_with_its_own_traceback_step_and_seed(tmp_path, capsys):
    game = write_game(tmp_path, "return np.zeros(2, dtype=np.float32), 1.0 / (20 - self.moves), False, False, {}")
    code, _ = start(tmp_path, game=str(game))
    told = capsys.readouterr().err
    assert code == 1
    assert "ZeroDivisionError" in told
    assert "step 20" in told
    assert "seed" in told
    assert "self_play_0" in told


def test_more_actors_than_cpus_are_refused_in_a_sentence(tmp_path):
    from muzero_ray.app.errors import UserError

    with pytest.raises(UserError, match="64 self-play actors need 64 CPUs, but the cluster has 2"):
        start(tmp_path, num_actors=64)


@pytest.mark.slow
def test_a_head_killed_at_any_moment_can_be_resumed(tmp_path):
    config = tiny_config(
        results=str(tmp_path / "results"),
        num_actors=1,
        train={"env_steps": 1_000_000},
        system={"checkpoint_seconds": 0.5},
    )
    path = tmp_path / "long.yaml"
    config_io.write_config(path, config)
    command = [sys.executable, "-m", "muzero_ray.app.cli", "train"]
    words = ["--config", str(path)]
    counters = []
    for _ in range(2):
        process = subprocess.Popen([*command, *words], stderr=subprocess.PIPE, text=True)
        seen = len(counters) and counters[-1][0]
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            time.sleep(0.3)
            found = sorted(tmp_path.glob("results/cartpole/*/checkpoints/step_*/manifest.json"))
            if found and json.loads(found[-1].read_text())["env_steps"] > seen:
                break
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        folder = RunFolder.list_runs(tmp_path / "results", "cartpole")[0]
        checkpoint = newest_checkpoint(folder)
        counters.append((checkpoint.env_steps, checkpoint.training_steps, checkpoint.seconds))
        words = ["--resume", str(folder.path)]
    assert counters[1] > counters[0] > (0, 0, 0)
