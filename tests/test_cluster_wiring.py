"""How the system sits on a cluster: stand-ins for Ray keep what they are asked for; one run has a real one."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from reference.tiny_runs import tiny_config

from muzero_ray.app import cluster, config_io, distributed_run, topology
from muzero_ray.app.cluster import Cluster, Plan
from muzero_ray.app.saving.snapshot import Snapshot
from muzero_ray.app.supervisor import Role
from muzero_ray.core.reports import BufferStatus, TrainReport
from muzero_ray.core.types import SelfPlayReport


@pytest.fixture
def inits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """The arguments of every `ray.init`, on a machine that no cluster launcher has touched."""
    found: list[dict[str, Any]] = []

    def init(**arguments: Any) -> Any:
        found.append(arguments)
        return SimpleNamespace(dashboard_url="")

    nodes = [{"Alive": True}, {"Alive": True}, {"Alive": False}]
    fake = SimpleNamespace(
        init=init,
        is_initialized=lambda: False,
        cluster_resources=lambda: {"CPU": 7.0, "GPU": 1.0},
        nodes=lambda: nodes,
    )
    monkeypatch.setattr(cluster, "ray", fake)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return found


@pytest.mark.parametrize("how", ["RAY_ADDRESS", "option", "launcher"])
def test_a_cluster_is_joined_by_its_address_alone(inits: list, how: str, monkeypatch, tmp_path: Path):
    # Ray refuses to be told resources, or a dashboard, where it joins a cluster.
    address = None
    monkeypatch.setattr(cluster, "_expect_answer", lambda address: None)
    if how == "RAY_ADDRESS":
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    elif how == "option":
        address = "10.0.0.1:6379"
    else:
        (tmp_path / "ray_bootstrap_config.yaml").touch()  # what `ray up` leaves on the head
    joined = cluster.connect(tiny_config(system={"dashboard": True, "address": address}))
    assert inits[0]["address"] == ("auto" if how == "launcher" else "10.0.0.1:6379")
    assert inits[0].keys() <= {"address", "log_to_driver", "logging_level", "namespace", "runtime_env"}
    assert joined == Cluster(nodes=2, cpus=7, gpus=1, dashboard="", ours=False, may_grow=True)


def test_without_an_address_a_cluster_of_our_own_is_started(inits: list):
    assert cluster.connect(tiny_config()).ours
    assert inits[0]["address"] == "local", "or Ray would join whatever runs on this machine"


HEAD = "ab" * 28
"""A node's id, in the form that Ray checks."""


class FakeRay:
    """Creates nothing, and keeps the options of every actor."""

    def __init__(self) -> None:
        self.options: dict[str, dict[str, Any]] = {}

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: HEAD)

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": HEAD, "Alive": True, "Resources": {"GPU": 1.0}, "Labels": {}}]

    def remote(self, **options: Any) -> Any:
        return lambda cls: SimpleNamespace(options=self._options)

    def _options(self, **options: Any) -> Any:
        self.options[options["name"]] = options
        return MagicMock()


def test_self_play_spreads_over_the_nodes_and_what_is_checkpointed_stays_with_the_head(monkeypatch):
    fake = FakeRay()
    monkeypatch.setattr(topology, "ray", fake)
    topology.launch(tiny_config(), Plan(num_actors=3, trainer_threads=1, device="cuda", trainer_gpus=1.0))
    players = [options for name, options in fake.options.items() if name.startswith("self_play")]
    assert [(options["num_cpus"], options["scheduling_strategy"]) for options in players] == [(1, "SPREAD")] * 3
    for name in ("shared_storage", "replay_buffer", "trainer"):
        assert fake.options[name]["label_selector"] == {"ray.io/node-id": HEAD}
        assert fake.options[name]["fallback_strategy"][-1] == {"label_selector": {}}, "or the node's loss is the run's"
    assert fake.options["trainer"]["num_gpus"] == 1


@pytest.mark.parametrize(("shards", "of_the_buffer"), [(1, 0.15), (2, 0)])
def test_each_role_gets_the_share_of_a_gpu_that_was_planned_for_it(monkeypatch, shards, of_the_buffer):
    fake = FakeRay()
    monkeypatch.setattr(topology, "ray", fake)
    options = {"self_play": 0.2, "reanalyze": 0.1, "evaluate": 0.05}
    sections = {section: {"num_gpus": share} for section, share in options.items()}
    config = tiny_config(**sections, num_actors=2, replay={"num_gpus": 0.15, "shards": shards})
    topology.launch(config, Plan(num_actors=2, trainer_threads=1, device="cuda", trainer_gpus=0.45))
    taken = {name: options.get("num_gpus", 0) for name, options in fake.options.items()}
    assert taken == {
        "self_play_0": 0.2,
        "self_play_1": 0.2,
        "reanalyze": 0.1,
        "evaluator": 0.05,
        "trainer": 0.45,
        "shared_storage": 0,
        "replay_buffer": of_the_buffer,  # where there are shards, it is theirs
    }


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_joins_a_cluster_that_is_there_and_plays_on_both_of_its_nodes(tmp_path: Path):
    from ray.cluster_utils import Cluster as TwoNodes

    config_io.write_config(tmp_path / "two.yaml", tiny_config(results=str(tmp_path / "results"), num_actors=2))
    nodes = TwoNodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes.add_node(num_cpus=1)  # of the two actors, each of which needs a CPU, one must go here
        command = [sys.executable, "-m", "muzero_ray.app.cli", "train", "--config", str(tmp_path / "two.yaml")]
        environment = {**os.environ, "RAY_ADDRESS": nodes.address}
        run = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, timeout=200)
    finally:
        nodes.shutdown()
    assert run.returncode == 0, run.stderr
    assert "joined: 2 nodes, 2 CPUs" in run.stderr
    assert "2 self-play actors" in run.stderr


@dataclass
class Call:
    role: Role
    method: str
    args: tuple[Any, ...]
    then: Any
    lost: Any = None


class FakeSupervisor:
    """Finishes calls when it is told to."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.calls: list[Call] = []
        self.processes: list[tuple[str, int]] = []

    def begin(self, roles: Any) -> None:
        for role in roles:
            role.restore()

    def locate(self, role: Role) -> None:
        pass

    def answered(self, role: Role, process: int) -> None:
        self.processes.append((role.name, process))

    def submit(self, role: Role, method: str, *args: Any, then: Any, lost: Any = None, **options: Any) -> None:
        self.calls.append(Call(role, method, args, then, lost))

    def count(self, method: str, role: Role | None = None) -> int:
        return sum(call.method == method and role in (None, call.role) for call in self.calls)

    def finish(self, method: str, *results: Any, at_most: int = 1000) -> int:
        """Answers the waiting calls of a method; returns how many those were."""
        chosen = [call for call in self.calls if call.method == method][:at_most]
        for call in chosen:
            self.calls.remove(call)
            call.then(*results)
        return len(chosen)


def make_run(monkeypatch, newest_snapshot: Any = lambda: None, **changes: Any) -> Any:
    """A run over two self-play actors that are nowhere."""
    roles = [Role(name, None) for name in ("storage", "buffer", "trainer", "evaluator", "self_play_0", "self_play_1")]
    actors = topology.Topology(*roles[:3], self_play=tuple(roles[4:]), reanalyze=None, evaluator=roles[3])
    monkeypatch.setattr(distributed_run, "launch", lambda *arguments: actors)
    monkeypatch.setattr(distributed_run, "Supervisor", FakeSupervisor)
    config = tiny_config(num_actors=2, train={"env_steps": 10**6}, **changes)
    joined = Cluster(nodes=1, cpus=2, gpus=0, dashboard="", ours=False)
    return distributed_run.DistributedRun(config, joined, Plan(2, 1, "cpu"), MagicMock(), newest_snapshot, None)


def test_the_supervisor_is_told_which_process_played(monkeypatch):
    run = make_run(monkeypatch)
    run._supervisor.finish("play", None, SelfPlayReport(32, 0, 0, process=77), at_most=1)
    assert run._supervisor.processes == [("self_play_0", 77)]


def test_what_an_actor_has_delivered_without_an_answer_is_bounded(monkeypatch):
    run = make_run(monkeypatch, system={"max_pending": 3})
    supervisor = run._supervisor
    report = SelfPlayReport(env_steps=32, simulations=0, weights_version=0)
    while supervisor.finish("play", None, report):  # self-play is fast, and the buffer never answers
        assert supervisor.count("add") <= 2 * 3
    assert supervisor.count("add") == 2 * 3
    status = BufferStatus(env_steps=32, num_steps=32, memory_bytes=0, held_ratios={})
    supervisor.finish("add", status, at_most=2)
    assert supervisor.count("play") == 2


def test_steps_that_a_trainer_goes_back_by_are_due_again_unless_the_buffer_goes_back_with_it(monkeypatch):
    snapshot = Snapshot(env_steps=1000, training_steps=40, learner=b"", weights={}, buffer={}, limiter={})
    run = make_run(monkeypatch, lambda: snapshot)
    due_again = lambda: [call.args for call in run._supervisor.calls if call.method == "training_lost"]  # noqa: E731

    def trained(steps: int) -> None:
        run._trained(TrainReport(steps, 0, 0.0, 0.0, finished=False, metrics={}))

    trained(100)
    run._actors.trainer.restore()
    assert due_again() == [(60,)], "the buffer has counted them as trained"
    trained(100)
    run._actors.buffer.restore()  # both were on a node that is lost, and count from the snapshot
    run._actors.trainer.restore()
    assert due_again() == [(60,)]
    run._actors.buffer.down = True  # it is restored after the trainer, and will count from the snapshot, too
    trained(160)
    run._actors.trainer.restore()
    assert due_again() == [(60,)]


def test_a_trainer_that_dies_when_all_was_trained_trains_again_what_was_lost(monkeypatch):
    snapshot = Snapshot(env_steps=1000, training_steps=40, learner=b"", weights={}, buffer={}, limiter={})
    run = make_run(monkeypatch, lambda: snapshot)
    run._trained(TrainReport(100, 0, 0.0, 0.0, finished=True, metrics={}))
    assert run.finished
    run._actors.trainer.restore()
    assert not run.finished
    assert run._supervisor.count("train", run._actors.trainer) == 2
    run._trained(TrainReport(100, 60, 0.0, 0.0, finished=True, metrics={}))
    assert run.finished


def test_the_buffer_and_the_monitor_are_told_how_many_actors_are_at_work(monkeypatch):
    run = make_run(monkeypatch)
    gone = run._actors.self_play[1]
    gone.down = True
    [playing, *_] = [call for call in run._supervisor.calls if call.method == "play" and call.role is gone]
    playing.lost()
    assert [call.args for call in run._supervisor.calls if call.method == "use_actors"][-1] == (1,)
    run._monitor.use_actors.assert_called_with(1)
