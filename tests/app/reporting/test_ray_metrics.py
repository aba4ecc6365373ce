"""What Prometheus gets: through the port from which it would fetch it."""

import re
import time
import urllib.request
from types import SimpleNamespace

import pytest
from reference.tiny_runs import tiny_config

from muzero_ray.actors.logs import Logs
from muzero_ray.app import config_io, run
from muzero_ray.app.reporting.metrics import METRICS
from muzero_ray.app.reporting.ray_metrics import COUNTERS, HISTOGRAMS, RayMetrics, exported_name
from muzero_ray.app.reporting.status_file import read_status
from muzero_ray.app.saving.run_folder import RunFolder

_LINE = re.compile(r"^(?P<name>ray_muzero_\w+)\{(?P<tags>.*)\} (?P<value>\S+)$")


def exported(ray, run_name: str) -> dict[tuple[str, str], float]:
    """Values of one run, by name and by role or bucket, as its node's metrics port tells them now."""
    [node] = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    text = urllib.request.urlopen(url, timeout=10).read().decode()
    found = {}
    for line in filter(None, map(_LINE.match, text.splitlines())):
        tags = dict(re.findall(r'(\w+)="([^"]*)"', line["tags"]))
        if tags.get("run") == run_name:
            assert tags["game"] == "cartpole"
            found[line["name"], tags.get("role") or tags.get("le") or ""] = float(line["value"])
    return found


def poll(ray, run_name: str, wanted: str, value: float) -> dict[tuple[str, str], float]:
    """What is exported once a gauge has its value; Ray sends new ones every ten seconds or so."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = exported(ray, run_name)
        if found.get((wanted, "")) == value:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{wanted} was not {value} within 90 s, but {found}")


def test_names_are_those_that_prometheus_takes_and_no_two_are_the_same():
    names = [exported_name(name) for name in (*METRICS, *COUNTERS, *HISTOGRAMS)]
    assert all(re.fullmatch(r"muzero_[a-z0-9_]+", name) for name in names)
    assert len(set(names)) == len(names)


def test_a_failure_of_the_export_is_told_once_and_costs_the_run_nothing(monkeypatch, caplog):
    def refuse(*about, **tags):
        raise RuntimeError("no metrics today")

    monkeypatch.setattr("ray.util.metrics.Gauge", refuse)
    monkeypatch.setattr("ray.util.metrics.Counter", refuse)
    monkeypatch.setattr("ray.util.metrics.Histogram", refuse)
    metrics = RayMetrics("some-run", "cartpole")
    metrics.set({"loss/total": 1.0})
    metrics.count_to("evaluations", 1)
    metrics.observe("add_latency_seconds", [0.1])
    assert [record.message for record in caplog.records] == [
        "the metrics for Prometheus are incomplete: RuntimeError: no metrics today"
    ]


def test_counters_are_raised_to_totals_and_never_lowered(monkeypatch):
    raised = []
    fake = SimpleNamespace(inc=lambda amount, tags: raised.append((amount, tags.get("role"))))
    monkeypatch.setattr("ray.util.metrics.Counter", lambda *about: fake)
    metrics = RayMetrics("some-run", "cartpole")
    for total in (0, 2, 2, 5, 1):
        metrics.count_to("restarts", total, "self_play")
    metrics.count_to("restarts", 1, "trainer")
    assert raised == [(2, "self_play"), (3, "self_play"), (1, "trainer")]


def test_gauges_that_were_set_before_are_set_again_since_ray_forgets_them(monkeypatch):
    told = []

    def gauge(name, *about):
        return SimpleNamespace(set=lambda value, tags: told.append((name, value)))

    monkeypatch.setattr("ray.util.metrics.Gauge", gauge)
    metrics = RayMetrics("some-run", "cartpole")
    metrics.set({"evaluation/mean_return": 475.0, "loss/total": 2.0})
    told.clear()
    metrics.set({"loss/total": 1.0})
    assert sorted(told) == [("muzero_evaluation_mean_return", 475.0), ("muzero_loss_total", 1.0)]
    told.clear()
    metrics.set({"loss/total": float("nan")})
    assert told == [("muzero_evaluation_mean_return", 475.0)]


@pytest.mark.ray
def test_gauges_counters_and_histograms_reach_the_metrics_port_with_their_tags(ray_cluster):
    metrics = RayMetrics("made-up", "cartpole")
    metrics.set({"replay/weights_lag": 12.5, "loss/total": float("nan")})
    metrics.count_to("restarts", 2, "self_play")
    metrics.observe("search_latency_seconds", [0.003, 0.004, 0.3])
    found = poll(ray_cluster, "made-up", "ray_muzero_replay_weights_lag", 12.5)
    assert found["ray_muzero_restarts_total", "self_play"] == 2
    assert found["ray_muzero_search_latency_seconds_count", ""] == 3
    assert found["ray_muzero_search_latency_seconds_bucket", "0.005"] == 2
    assert ("ray_muzero_loss_total", "") not in found


@pytest.mark.ray
def test_a_run_is_seen_on_the_metrics_port_in_its_logs_and_in_its_status(ray_cluster, tmp_path):
    config = tiny_config(results=str(tmp_path), num_actors=1)
    folder = RunFolder.create(config.results, config.game)
    config_io.write_config(folder.config, config)
    assert run.train(config, folder, None) == 0
    status = read_status(folder.status)
    assert status["state"] == "finished"
    assert set(status["actors"]) == {
        *("self_play_0", "reanalyze", "evaluator", "trainer", "replay_buffer", "shared_storage")
    }

    assert status["env_steps"] >= 320
    found = poll(ray_cluster, folder.path.name, "ray_muzero_progress_env_steps", status["env_steps"])
    assert found["ray_muzero_progress_training_steps", ""] == status["training_steps"]
    assert found["ray_muzero_replay_weights_lag", ""] == status["weights_lag"] >= 0
    assert found["ray_muzero_system_restarts", ""] == 0
    assert found["ray_muzero_evaluations_total", ""] == status["evaluations"] >= 2
    assert found["ray_muzero_trajectories_added_total", ""] >= 320 / 8  # pieces of at most eight moves
    assert found["ray_muzero_add_latency_seconds_count", ""] > 0
    for name in ("loss/total", "queue/deliveries", "queue/batches", "replay/memory", "evaluation/mean_return"):
        assert ("ray_" + exported_name(name), "") in found

    logs = Logs(folder.logs)
    for actor in (*status["actors"], "head"):
        assert f"INFO    {actor} " in logs.file(actor).read_text(), actor
    assert "evaluated weights" in logs.file("evaluator").read_text()
