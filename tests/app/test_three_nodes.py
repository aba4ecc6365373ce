"""Whole runs on a cluster of three nodes, of which some are lost without grace and others join.

The nodes are on one machine, each with processes of its own. The head offers no CPU, so that it is known where
self-play must be.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from reference.tiny_runs import tiny_config, write_game

from muzero_ray.app import config_io
from muzero_ray.app.placement import ROLE, SELF_PLAY, TRAINER
from muzero_ray.app.saving.checkpoint_reader import newest_checkpoint
from muzero_ray.app.saving.run_folder import RunFolder

pytestmark = pytest.mark.ray

_PATIENCE_SECONDS = 120.0
"""For what takes a few seconds on a machine that has nothing else to do."""


@pytest.fixture(scope="module")
def head():
    """A cluster of its head alone."""
    from ray.cluster_utils import Cluster

    # A node that is gone is known to be so after five seconds rather than fifteen.
    settings = {"health_check_period_ms": 1000}
    arguments = {"num_cpus": 0, "include_dashboard": False, "_system_config": settings}
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def nodes(head):
    """The same, rid of what a test has added to it."""
    yield head
    for node in list(head.worker_nodes):
        head.remove_node(node)


class Running:
    """A run in a process of its own, and what can be seen of it from outside."""

    def __init__(self, cluster: Any, tmp_path: Any, **changes: Any) -> None:
        self._cluster = cluster
        self._results = tmp_path / "results"
        self._words = tmp_path / "stderr"
        system = {"checkpoint_seconds": 1.0, "node_wait_seconds": 0.0}
        config = tiny_config(results=str(self._results), system=system, **changes)
        config_io.write_config(tmp_path / "run.yaml", config)
        command = [sys.executable, "-m", "muzero_ray.app.cli", "train", "--config", str(tmp_path / "run.yaml")]
        with self._words.open("w") as words:
            environment = {**os.environ, "RAY_ADDRESS": cluster.address}
            self._process = subprocess.Popen(command, env=environment, stderr=words, text=True)
        self.counters = [(0, 0)]

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def told(self) -> str:
        return self._words.read_text()

    def actors(self) -> dict[str, str]:
        """The node of each of its actors that lives, by name."""
        table = self._cluster.global_state.actor_table(None).values()
        return {actor["Name"]: actor["Address"]["NodeID"] for actor in table if actor["State"] == "ALIVE"}

    def checkpoint(self) -> tuple[int, int]:
        """Env steps and training steps of its newest checkpoint; remembers all of them."""
        found = sorted(self._results.glob("*/*/checkpoints/step_*/manifest.json"))
        try:
            manifest = json.loads(found[-1].read_text())
        except (OSError, IndexError):  # a newer one has just replaced it, or there is none
            return self.counters[-1]
        self.counters.append((manifest["env_steps"], manifest["training_steps"]))
        return self.counters[-1]

    def wait(self, what: str, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not until():
            assert self._process.poll() is None, f"the run ended before {what}: {self.told}"
            assert time.monotonic() < deadline, f"in vain waited for: {what}; {self.actors()} {self.told}"
            self.checkpoint()
            time.sleep(0.1)

    def end(self) -> int:
        return self._process.wait(timeout=_PATIENCE_SECONDS)

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self.end()

    @property
    def folder(self) -> RunFolder:
        return RunFolder.list_runs(self._results)[0]


def test_actors_are_placed_as_planned_and_a_run_outlives_the_node_of_its_buffer(nodes, tmp_path):
    head = nodes.head_node.node_id
    trains = nodes.add_node(num_cpus=1, labels={ROLE: TRAINER})
    plays = nodes.add_node(num_cpus=1, labels={ROLE: SELF_PLAY})
    state = {"trainer", "replay_buffer", "shared_storage"}
    # The second self-play actor has no place: the trainer's CPU is not for it.
    with Running(nodes, tmp_path, num_actors=1, max_actors=2, train={"env_steps": 10**6}) as run:
        run.wait("a checkpoint", lambda: run.checkpoint()[1] > 0 and len(run.actors()) == 6)
        assert run.actors() == {
            **dict.fromkeys(state, trains.node_id),
            **dict.fromkeys(("self_play_0", "reanalyze"), plays.node_id),
            "evaluator": head,
        }
        assert "1 self-play actor (up to 2 as machines come), trainer on cpu" in run.told

        nodes.remove_node(trains, allow_graceful=False)
        before = run.checkpoint()
        wanted = (before[0] + 200, before[1] + 20)
        run.wait("checkpoints after the loss", lambda: all(map(int.__ge__, run.checkpoint(), wanted)))
        assert {run.actors()[name] for name in state} == {head}
        assert "replay_buffer is back on another node: its own is gone" in run.told
        assert run.stop() == 128 + signal.SIGTERM
        checkpoint = newest_checkpoint(run.folder)
        counters = [*run.counters, (checkpoint.env_steps, checkpoint.training_steps)]
        for counter in zip(*counters, strict=True):
            assert list(counter) == sorted(counter), "no counter goes back"


# As long as the file is there, about 50 env steps a second, on every machine.
SLOW_WHILE = """
import os, time
if os.path.exists({gate!r}):
    time.sleep(0.02)
return np.full(2, self.moves, dtype=np.float32), 1.0, self.moves == 50, False, {{}}
"""


def test_a_node_that_joins_plays_and_one_that_is_lost_leaves_the_others_to_spend_the_budget(nodes, tmp_path):
    first = nodes.add_node(num_cpus=1, labels={ROLE: SELF_PLAY})
    gate = tmp_path / "gate"
    gate.touch()
    game = write_game(tmp_path, SLOW_WHILE.format(gate=str(gate)).strip())
    with Running(nodes, tmp_path, game=str(game), num_actors=1, max_actors=2, train={"env_steps": 4000}) as run:
        run.wait("a checkpoint", lambda: run.checkpoint()[1] > 0)
        assert "self_play_1" not in run.actors()

        second = nodes.add_node(num_cpus=1, labels={ROLE: SELF_PLAY})
        run.wait("the second actor", lambda: "self_play_1 plays: 2 self-play actors are at work" in run.told)
        assert run.actors()["self_play_1"] == second.node_id

        assert run.checkpoint()[0] < 3000, "the loss is to come in mid-run"
        nodes.remove_node(first, allow_graceful=False)
        run.wait("notice of the loss", lambda: "self_play_0 died and is restarted" in run.told)
        gate.unlink()
        assert run.end() == 0, run.told
        checkpoint = newest_checkpoint(run.folder)
        assert checkpoint.env_steps >= 4000
        due = (checkpoint.env_steps - 64) * 2.0
        assert due - 16 < checkpoint.manifest["limiter"]["consumed"]["train"] <= due, "the pace is held all the same"
        assert json.loads(run.folder.summary.read_text())["finished"] is True
