"""The monitor: what it is told of reaches TensorBoard, Prometheus, the status file and the log."""

import logging
from typing import Any

import pytest
from reference.tiny_runs import tiny_config
from test_wiring import Recorder

from muzero_ray.app.reporting.memory_use import memory_of_all
from muzero_ray.app.reporting.metrics import METRICS
from muzero_ray.app.reporting.monitor import Monitor
from muzero_ray.app.reporting.ray_metrics import COUNTERS, HISTOGRAMS
from muzero_ray.app.reporting.status_file import ActorHealth, StatusFile, read_status
from muzero_ray.core.reports import BufferStatus, EvaluationReport, TrainReport
from muzero_ray.core.types import Episode, SelfPlayReport


class FakeRayMetrics:
    """Keeps what is exported."""

    def __init__(self) -> None:
        self.gauges: dict[str, float] = {}
        self.counters: dict[tuple[str, str], int] = {}
        self.histograms: dict[str, list[float]] = {}

    def set(self, values) -> None:
        self.gauges.update(values)

    def count_to(self, name: str, total: int, role: str = "") -> None:
        self.counters[name, role] = total

    def observe(self, name: str, values) -> None:
        self.histograms.setdefault(name, []).extend(values)


def buffer_status(**changes: Any) -> BufferStatus:
    values = {"env_steps": 640, "num_steps": 600, "memory_bytes": 2_000_000, "held_ratios": {"train": 2.0}}
    return BufferStatus(**{**values, **changes})


HEALTH = {
    "self_play_0": ActorHealth(restarts=2, calls={"play": 1}),
    "self_play_1": ActorHealth(restarts=1, down=True),
    "trainer": ActorHealth(restarts=1, calls={"train": 2}),
    "replay_buffer": ActorHealth(calls={"add": 3, "alive": 1}),
}


@pytest.fixture
def watched(tmp_path):
    """A monitor that was told of everything once, the writer and the exporter that it tells, and its status file."""
    recorder, exported, path = Recorder(), FakeRayMetrics(), tmp_path / "status.json"
    monitor = Monitor(tiny_config(), recorder, recorder, recorder, status_file=StatusFile(path))
    monitor.export_to(exported)
    monitor.watch_actors(lambda: HEALTH)
    stretch = SelfPlayReport(env_steps=32, simulations=128, weights_version=60, seconds={"search": 0.8, "games": 0.1})
    monitor.self_play(stretch)
    monitor.training(TrainReport(77, 7, 0.1, 0.1, False, {"loss/total": 1.5}, batches_ready=6))
    monitor.buffer(buffer_status(trajectories_added=4, add_seconds=(0.1, 0.3), sample_seconds=(0.05,)))
    monitor.buffer(
        buffer_status(trajectories_added=5, trajectories_left_out=1, trajectories_refused=2, weights_lag=12.0)
    )
    monitor.evaluation(512, EvaluationReport(70, (Episode((10.0,), 5, 0, False),), 0.5))
    monitor.tick()
    return monitor, recorder, exported, path


WANTED = {
    "progress/env_steps": 640,
    "progress/training_steps": 77,
    "evaluation/count": 1,
    "self_play/weights_lag": 17,
    "self_play/search_seconds": pytest.approx(0.1),  # 0.8 s for the eight moves of a stretch
    "replay/weights_lag": 12.0,
    "replay/trajectories": 9,
    "replay/left_out": 1,
    "replay/refused": 2,
    "replay/add_seconds": pytest.approx(0.2),
    "replay/sample_seconds": pytest.approx(0.05),
    "queue/deliveries": 3,
    "queue/batches": 6,
    "system/restarts": 4,
    "loss/total": 1.5,
}


def test_tensorboard_and_prometheus_get_the_same_numbers_under_names_of_the_table(watched):
    _, recorder, exported, _ = watched
    assert {name: recorder.written[name][-1] for name in WANTED} == {
        name: (640, value) for name, value in WANTED.items()
    }
    assert {name: exported.gauges[name] for name in WANTED} == WANTED
    assert exported.gauges["evaluation/mean_return"] == 10.0
    assert exported.gauges.keys() == recorder.written.keys() | {"evaluation/std_return"}
    assert exported.gauges.keys() <= METRICS.keys()


def test_prometheus_gets_counters_restarts_by_role_and_single_latencies(watched):
    _, _, exported, _ = watched
    assert exported.counters == {
        ("trajectories_added", ""): 9,
        ("trajectories_left_out", ""): 1,
        ("evaluations", ""): 1,
        ("restarts", "self_play"): 3,
        ("restarts", "trainer"): 1,
        ("restarts", "replay_buffer"): 0,
    }
    assert {name for name, _ in exported.counters} == COUNTERS.keys()
    assert exported.histograms == {
        "add_latency_seconds": [0.1, 0.3],
        "sample_latency_seconds": [0.05],
        "search_latency_seconds": [pytest.approx(0.1)],
    }
    assert exported.histograms.keys() == HISTOGRAMS.keys()


@pytest.mark.parametrize("what", ["value", "reward"])
def test_targets_that_are_cut_in_report_after_report_are_told_of_once(watched, caplog, what):
    monitor, *_ = watched
    shares = [0.3, 0.3, 0.3, 0.3, 0.0, *([0.3] * 12), 0.0, *([0.3] * 12)]
    for step, share in enumerate(shares):
        monitor.training(TrainReport(step, 1, 0.1, 0.1, False, {f"train/{what}_clipped": share}))
        monitor.training(TrainReport(step, 0, 0.0, 1.0, False, {}))  # it waited
        assert len(caplog.messages) == int(step >= 9), step
    low, high = {"value": (-20, 20), "reward": (-12, 12)}[what]
    assert f"30% of the {what} targets lie beyond network.{what}_support [{low}, {high}]" in caplog.text


def test_a_few_targets_that_are_cut_are_not_worth_a_word(watched, caplog):
    monitor, *_ = watched
    for step in range(20):
        monitor.training(TrainReport(step, 1, 0.1, 0.1, False, {"train/value_clipped": 0.01}))
    assert caplog.messages == []


def test_the_status_file_holds_the_present_and_the_health_of_every_actor(watched):
    *_, path = watched
    status = read_status(path)
    told = {"env_steps": 640, "training_steps": 77, "weights_lag": 12.0, "deliveries_waiting": 3, "batches_ready": 6}
    assert {name: status[name] for name in told} == told
    assert status["state"] == "running"
    assert status["actors"]["self_play_1"] == {"restarts": 1, "down": True, "calls": {}}


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ((), ("stopped", "")),
        (("finished",), ("finished", "")),
        (("failed", "a disk is gone"), ("failed", "a disk is gone")),
    ],
)
def test_a_closed_run_says_how_it_ended(watched, told, wanted):
    monitor, *_, path = watched
    if told:
        monitor.ended(*told)
    monitor.close()
    status = read_status(path)
    assert (status["state"], status["cause"]) == wanted


def test_latencies_count_in_one_report_only(watched):
    monitor, recorder, exported, _ = watched
    monitor.close()
    assert len(recorder.written["replay/add_seconds"]) == 1
    assert exported.histograms["add_latency_seconds"] == [0.1, 0.3]


def test_events_and_troubles_are_logged_with_their_levels(watched, caplog):
    monitor, *_ = watched
    with caplog.at_level(logging.INFO, logger="muzero_ray"):
        monitor.event("final evaluation over 3 episodes")
        monitor.trouble("self_play_0 died and is restarted")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "final evaluation over 3 episodes"),
        ("WARNING", "self_play_0 died and is restarted"),
    ]


def test_what_every_actor_says_of_its_gpu_is_told_once(watched, caplog):
    monitor = watched[0]
    for notes in (("it is slow",), ("it is slow", "it has no bfloat16"), ()):
        monitor.self_play(SelfPlayReport(32, 128, 60, notes=notes))
    assert [record.getMessage() for record in caplog.records] == ["it is slow", "it has no bfloat16"]


def test_memory_that_processes_share_counts_once():
    store = (90, 60)
    reader = (50, 10)
    assert memory_of_all([reader, store, (30, 20)]) == 40 + 30 + 10 + 60
    assert memory_of_all([(50, 0), (20, 0)]) == 70
    assert memory_of_all([]) == 0


def test_counters_that_are_shown_never_go_back_when_roles_are_restored(watched):
    monitor, _, exported, path = watched
    monitor.training(TrainReport(70, 1, 0.1, 0.1, False))  # the trainer goes on from a checkpoint
    monitor.buffer(buffer_status(env_steps=600))  # so does the buffer
    monitor.close()
    status = read_status(path)
    assert (status["env_steps"], status["training_steps"]) == (640, 77)
    assert exported.gauges["progress/env_steps"] == 640
    assert exported.gauges["progress/training_steps"] == 77
    monitor.training(TrainReport(78, 8, 0.1, 0.1, False))
    monitor.buffer(buffer_status(env_steps=641))
    monitor.close()
    status = read_status(path)
    assert (status["env_steps"], status["training_steps"]) == (641, 78)
