"""Where nobody trains, nobody plays on: how much is played at most, and what waits."""

import time
from types import SimpleNamespace
from unittest.mock import MagicMock, Mock

import pytest
import ray
from reference.tiny_runs import tiny_config

from muzero_ray.app import topology
from muzero_ray.app.cluster import Cluster, Plan
from muzero_ray.app.distributed_run import DistributedRun

DELIVERY = 4 * 8  # games per actor times moves of a segment, in tiny_config


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("shards", [1, 2])
def test_self_play_stops_at_max_pending_deliveries_of_each_actor_when_training_has_stopped(monkeypatch, shards):
    config = tiny_config(
        num_actors=2,
        train={"env_steps": 1_000_000},
        replay={"shards": shards},
        reanalyze={"ratio": 0.0},
        system={"max_pending": 2},
    )
    monkeypatch.setattr(DistributedRun, "_train", lambda run: None)
    run = DistributedRun(config, Cluster(1, 2, 0, "", ours=False), Plan(2, 1, "cpu"), Mock(), lambda: None, None)
    try:
        # All four deliveries are at the buffer now and then while it still lets more in: so they are to stay there.
        deadline = time.monotonic() + 120
        waiting_since = time.monotonic()
        while time.monotonic() < min(deadline, waiting_since + 3):
            run.step()
            if (run._supervisor.count("play"), run._supervisor.count("add")) != (0, 4):
                waiting_since = time.monotonic()
        counts = {method: run._supervisor.count(method) for method in ("play", "add")}
        status = ray.get(run._actors.buffer.handle.status.remote())
    finally:
        run.close()
    assert counts == {"play": 0, "add": 2 * 2}
    # 64 env steps before training starts, 64 that may lie untrained (a delivery of each actor), and what waits; less
    # what was left out, where the second of two deliveries came before the first.
    most = 64 + 64 + 2 * 2 * DELIVERY
    assert most - 2 * DELIVERY <= status.env_steps <= most


def test_the_buffer_takes_more_calls_at_once_than_deliveries_can_wait_in_it(monkeypatch):
    """Or the call of the trainer that they all wait for would wait behind them."""
    options = {}

    class Remote:
        def __init__(self, cls):
            self.cls = cls

        def options(self, **given):
            options[self.cls.__name__] = given
            return SimpleNamespace(remote=lambda *_: None)

    fake = MagicMock(remote=lambda **_: Remote)
    fake.get_runtime_context().get_node_id.return_value = "0" * 56
    monkeypatch.setattr(topology, "ray", fake)
    topology.launch(tiny_config(num_actors=1000, system={"max_pending": 4}), Plan(1000, 1, "cpu"))
    assert options["ReplayBufferActor"]["max_concurrency"] >= 1000 * 4 + 100
    assert options["SharedStorage"]["max_concurrency"] >= 1000 + 100
