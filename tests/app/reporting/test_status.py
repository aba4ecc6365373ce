"""`muzero-ray status`: what it makes of run folders in every state, and of clusters."""

import json
import os
import time
from types import SimpleNamespace

import pytest
from reference.tiny_runs import tiny_config

from muzero_ray.app import config_io
from muzero_ray.app.cli import main
from muzero_ray.app.errors import UserError
from muzero_ray.app.reporting import cluster_status
from muzero_ray.app.reporting.curve import Curve, EvaluationPoint
from muzero_ray.app.reporting.status_file import StatusFile, read_status
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.core.reports import Strength

PRESENT = {
    "state": "running",
    "cause": "",
    "game": "cartpole",
    "env_steps": 38_200,
    "budget": 100_000,
    "training_steps": 4_775,
    "seconds": 312.0,
    "seconds_left": 100.0,
    "env_steps_per_s": 618.0,
    "simulations_per_s": 9_888.0,
    "training_steps_per_s": 77.2,
    "replay_ratio_wanted": 32.0,
    "replay_ratio_held": 31.8,
    "buffer_steps": 37_200,
    "buffer_capacity": 200_000,
    "buffer_mb": 12.3,
    "memory_mb": 1_234.0,
    "bottleneck": "trainer waits for data 43%",
    "messages": ["self_play_1 died and is restarted", "self_play_1 is back"],
    "episode_return": 120.25,
    "evaluations": 1,
    "weights_lag": 130.4,
    "deliveries_waiting": 3,
    "batches_ready": 6,
    "actors": {
        "self_play_0": {"restarts": 0, "down": True, "calls": {}},
        "self_play_1": {"restarts": 2, "down": False, "calls": {"play": 1}},
        "trainer": {"restarts": 0, "down": False, "calls": {"train": 2}},
    },
}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster_status, "_STARTED_HERE", tmp_path / "no_cluster")


def new_run(tmp_path) -> RunFolder:
    config = tiny_config(results=str(tmp_path / "results"))
    folder = RunFolder.create(config.results, config.game)
    config_io.write_config(folder.config, config)
    return folder


def running(tmp_path, **changes) -> RunFolder:
    folder = new_run(tmp_path)
    curve = Curve(folder.curve)
    curve.add_evaluation(EvaluationPoint.of(10_000, 1_250, 80.0, [200.0, 220.0]))
    curve.add_evaluation(EvaluationPoint.of(20_000, 2_500, 160.0, [100.0, 140.0]))
    curve.close()
    for steps in (1_000, 4_700):
        (folder.checkpoints / f"step_{steps:09d}").mkdir()
    StatusFile(folder.status).write({**PRESENT, **changes})
    return folder


def told(capsys, *words: str) -> dict[str, str]:
    """The lines of a status, by their first words."""
    assert main(["status", *words]) == 0
    return {line[:16].strip(): line[17:] for line in capsys.readouterr().out.splitlines()}


def test_a_running_run_tells_its_progress_rates_evaluation_checkpoint_and_restarts(tmp_path, capsys):
    folder = running(tmp_path)
    lines = told(capsys, str(folder.path))
    assert lines["run"] == str(folder.path)
    assert lines["state"].startswith("running, heard of ")
    assert lines["progress"] == "38,200 of 100,000 env steps (38%), 4,775 training steps, 5 min 12 s, 1 min 40 s left"
    assert lines["speed"] == "618 env steps/s, 9,888 simulations/s, 77.2 training steps/s"
    assert lines["bottleneck"] == "trainer waits for data 43%"
    assert lines["replay"] == "37,200 steps, 12 MB; ratio 31.8 of 32; data 130 training steps old"
    assert lines["queues"] == "3 deliveries wait for the buffer, 6 batches are ready for the trainer"
    assert lines["self-play"] == "return 120.2"
    assert lines["evaluation"] == "120.0 ± 28.3 at env step 20,000; best 210.0"
    assert lines["checkpoint"].startswith("training step 4,700, ")
    assert lines["restarts"] == "self_play_1 2"
    assert lines["actors"] == "3; down: self_play_0"
    assert lines["lately"] == "self_play_1 died and is restarted; self_play_1 is back"


def test_without_a_run_the_newest_one_is_told_of(tmp_path, capsys):
    running(tmp_path)
    newest = running(tmp_path)
    assert told(capsys, "--results", str(tmp_path / "results"))["run"] == str(newest.path)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"state": "finished"}, "finished"),
        ({"state": "stopped"}, "stopped; go on with: "),
        (
            {"state": "failed", "cause": "self_play_0 failed in play"},
            "failed: self_play_0 failed in play; go on with: ",
        ),
        ({"pid": 2**22 + 1}, f"lost: process {2**22 + 1} on "),
    ],
)
def test_an_ended_run_tells_how_it_ended_and_how_to_go_on(tmp_path, capsys, changes, wanted):
    folder = running(tmp_path, **changes)
    lines = told(capsys, str(folder.path))
    assert lines["state"].startswith(wanted)
    assert ("--resume" in lines["state"]) == (changes.get("state") != "finished")
    assert "speed" not in lines, "rates of a run that has ended are of no interest"


def test_a_game_for_two_tells_its_strength(tmp_path, capsys):
    folder = running(tmp_path)
    curve = Curve(folder.curve)
    strength = Strength(150.0, (100.0, 200.0), True, {"random": (0.0, 0.0, 0.0)}, ())
    curve.add_evaluation(EvaluationPoint.of(1_000, 125, 7.0, [1.0, -1.0], strength))
    curve.close()
    assert told(capsys, str(folder.path))["evaluation"] == "Elo 150 (100 to 200) at env step 1,000"


def test_a_run_without_a_status_tells_what_its_summary_says(tmp_path, capsys):
    folder = new_run(tmp_path)
    assert told(capsys, str(folder.path))["state"].startswith("unknown: it wrote no status.json")
    summary = {"game": "cartpole", "env_steps": 512, "training_steps": 64, "seconds": 3.0, "finished": True}
    folder.summary.write_text(json.dumps(summary))
    lines = told(capsys, str(folder.path))
    assert lines["state"] == "finished"
    assert lines["progress"] == "512 env steps, 64 training steps, 3 s"
    assert lines["evaluation"] == lines["checkpoint"] == "none yet"


def test_json_holds_all_of_it_and_nothing_else_is_printed(tmp_path, capsys):
    folder = running(tmp_path)
    assert main(["status", str(folder.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    run = found["run"]
    assert found["cluster"] is None
    assert {name: run[name] for name in PRESENT if name != "evaluations"} == {
        name: value for name, value in PRESENT.items() if name != "evaluations"
    }
    assert run["evaluation"]["mean"] == 120.0
    assert run["best"] == 210.0
    assert run["checkpoint"]["training_steps"] == 4_700
    assert 0 <= run["heard_seconds_ago"] < 60
    assert run["updated"] == read_status(folder.status)["updated"]


def test_a_folder_that_is_no_run_is_refused_in_a_sentence(tmp_path, capsys):
    assert main(["status", str(tmp_path)]) == 2
    assert "wanted a run folder" in capsys.readouterr().err


def test_where_there_is_no_run_the_ways_to_name_one_are_told(tmp_path, capsys):
    assert main(["status", "--results", str(tmp_path / "none")]) == 2
    assert "wanted a folder with runs, found none; say which run" in capsys.readouterr().err


def fake_state_api(monkeypatch, actors, tasks):
    import ray.util.state

    monkeypatch.setattr(ray.util.state, "list_actors", lambda *words, **options: actors)
    monkeypatch.setattr(ray.util.state, "list_tasks", lambda *words, **options: tasks)


def actor(name: str, number: str, **changes) -> SimpleNamespace:
    values = {
        "class_name": "SelfPlay",
        "repr_name": "",
        "state": "ALIVE",
        "num_restarts": 0,
        "pid": 7,
        "node_id": "ab" * 28,
    }
    return SimpleNamespace(name=name, actor_id=number, ray_namespace="run", **{**values, **changes})


def test_a_cluster_that_is_meant_tells_its_named_actors_their_restarts_and_open_calls(tmp_path, capsys, monkeypatch):
    actors = [
        actor("trainer", "2", repr_name="Trainer()"),
        actor("self_play_0", "1", num_restarts=3, state="RESTARTING"),
        actor(None, "3"),
    ]
    fake_state_api(monkeypatch, actors, [SimpleNamespace(actor_id=number) for number in ("1", "2", "2", "9")])
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert main(["status", "--results", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "cluster          10.0.0.1:6379: 2 named actors",
        "  self_play_0        restarting   restarts 3, open calls 1, pid 7 on node abababab; SelfPlay",
        "  trainer            alive        restarts 0, open calls 2, pid 7 on node abababab; Trainer()",
    ]


def test_a_cluster_that_cannot_be_asked_does_not_hide_the_run(tmp_path, capsys, monkeypatch):
    folder = running(tmp_path)
    monkeypatch.setattr(cluster_status, "named_actors", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert main(["status", "--results", str(tmp_path / "results")]) == 0
    shown = capsys.readouterr().out
    assert str(folder.path) in shown
    assert "the Ray cluster at 10.0.0.1:6379 cannot be asked" in shown
    assert main(["status", "--results", str(tmp_path / "none")]) == 2
    assert "cannot be asked" in capsys.readouterr().err


def refuse(address: str):
    raise UserError(f"the Ray cluster at {address} cannot be asked")


def test_a_named_run_asks_no_cluster(tmp_path, capsys, monkeypatch):
    folder = running(tmp_path)
    monkeypatch.setattr(cluster_status, "named_actors", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert "cluster" not in told(capsys, str(folder.path))


def test_a_cluster_started_on_this_machine_is_meant_unless_another_is_named(tmp_path, monkeypatch):
    assert cluster_status.meant_cluster() is None
    (tmp_path / "no_cluster").write_text("10.0.0.2:6379")
    assert cluster_status.meant_cluster() == "auto"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster_status.meant_cluster() == "10.0.0.1:6379"


def test_a_file_that_changes_while_it_is_read_does_no_harm(tmp_path, capsys):
    folder = running(tmp_path)
    with folder.curve.open("a") as file:
        file.write('{"kind": "evaluation", "env_st')
    os.utime(folder.checkpoints / "step_000004700", (time.time() + 5, time.time() + 5))
    assert told(capsys, str(folder.path))["checkpoint"].startswith("training step 4,700, 0 s ago")
