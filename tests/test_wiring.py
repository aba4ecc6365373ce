"""What no part can promise alone: signs, seeds, weights and names, as the parts are put together."""

import asyncio
import itertools
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
from reference.batches import random_batch
from reference.networks import SMALL, SPEC
from reference.tiny_runs import tiny_config

from muzero_ray.actors import build, shared_storage
from muzero_ray.actors.shared_storage import SharedStorage, WeightsReader
from muzero_ray.actors.trainer import Trainer
from muzero_ray.app.local_run import LocalRun
from muzero_ray.app.reporting.metrics import METRICS
from muzero_ray.app.reporting.monitor import Monitor
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus, EvaluationReport, TrainReport
from muzero_ray.core.types import Episode, ReanalyzeRequest, Weights
from muzero_ray.nn.learner import Learner
from muzero_ray.nn.networks import build_network, to_weights


def weights_for(config: Config) -> Weights:
    spec = build.Agent(config).spec
    return to_weights(build_network(config.network, spec, consistency=False))


@pytest.mark.parametrize("engine", ["compiled", "torch"])
@pytest.mark.parametrize(("game", "discount"), [("cartpole", 0.9), ("tictactoe", -0.9)])
def test_the_state_reached_counts_against_the_mover_where_two_take_turns(game: str, discount: float, engine: str):
    config = Config.model_validate({"game": game, "train": {"discount": 0.9}, "system": {"engine": engine}})
    agent = build.Agent(config, weights_for(config))
    observations = np.zeros((3, *agent.spec.observation_shape), np.float32)
    agent.model.initial(observations, num_nodes=2)
    step = agent.model.recurrent(np.zeros(3, np.int32), np.arange(3, dtype=np.int32) % 2, new_node=1)
    np.testing.assert_allclose(step.discounts, discount, rtol=1e-6)


def test_every_start_of_every_self_play_actor_has_games_and_ids_of_its_own():
    config = tiny_config()
    weights = weights_for(config)
    seeds, ids = [], []
    for seed, index, restart in itertools.product((0, 1), (0, 1), (0, 1)):
        player = build.make_self_player(tiny_config(seed=seed), index, restart)
        player.set_weights(weights, 0)
        pieces, _ = player.play(2)
        seeds.append({piece.seed for piece in pieces})
        if seed == 0:
            ids.append({piece.game_id for piece in pieces})
    assert len(set.union(*seeds)) == sum(map(len, seeds)) == 8 * 4
    assert len(set.union(*ids)) == sum(map(len, ids)) == 4 * 4


def test_a_buffer_of_another_seed_draws_other_numbers():
    buffers = [build.make_replay_buffer(tiny_config(seed=seed)) for seed in (0, 1, 2)]
    assert len({buffer.state_dict()["rng"].tobytes() for buffer in buffers}) == 3


def test_reanalysis_of_another_start_explores_with_other_noise():
    rng = np.random.default_rng(0)
    weights = {
        name: array + 0.3 * rng.normal(size=array.shape).astype(np.float32)
        for name, array in weights_for(tiny_config(game="tictactoe")).items()
    }
    request = ReanalyzeRequest(
        np.arange(16), rng.integers(2, size=(16, 2, 3, 3)).astype(np.float32), np.ones((16, 9), bool)
    )
    values = []
    for seed, start in ((0, 0), (0, 1), (1, 0), (0, 0)):
        reanalyzer = build.make_reanalyzer(tiny_config(game="tictactoe", seed=seed), start)
        reanalyzer.set_weights(weights, 0)
        values.append(reanalyzer.reanalyze(request).root_values.tobytes())
    assert len(set(values)) == 3
    assert values[0] == values[3]


def test_the_first_network_is_drawn_from_the_seed_of_the_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("muzero_ray.actors.trainer.ray", MagicMock())

    def in_one_process(config: Config) -> Weights:
        snapshots: list = []
        LocalRun(config, 1, "cpu", None, None).take_snapshot(snapshots.append)
        return snapshots[0].weights

    def in_an_actor(config: Config) -> Weights:
        trainer = Trainer(config, build.Agent(config).spec, "cpu", 1)
        trainer.start(None)
        return trainer.state().weights

    seeds = (0, 1, 2)
    local, remote = ([make(tiny_config(seed=seed)) for seed in seeds] for make in (in_one_process, in_an_actor))
    for name in local[0]:
        for first, second in zip(local, remote, strict=True):
            np.testing.assert_array_equal(first[name], second[name])
    for first, second in itertools.combinations(local, 2):
        assert (first["dynamics_1.weight"] != second["dynamics_1.weight"]).all()


def test_unchanged_weights_are_not_sent_and_new_ones_travel_as_a_reference(monkeypatch: pytest.MonkeyPatch):
    store: list[Weights] = []
    asked: list[object] = []

    def put(weights: Weights) -> str:
        store.append(weights)
        return f"ref {len(store) - 1}"

    def get(ref: str | tuple) -> object:
        if not isinstance(ref, str):  # what `remote` below answers is there already
            return ref[0]
        asked.append(ref)
        return store[int(ref.split()[1])]

    monkeypatch.setattr(shared_storage, "ray", SimpleNamespace(put=put, get=get, ObjectRef=object))
    storage = SharedStorage()
    handle = SimpleNamespace(
        newest=SimpleNamespace(remote=lambda *arguments: (asyncio.run(storage.newest(*arguments)),))
    )
    reader, target_reader = WeightsReader(handle), WeightsReader(handle, target=True)
    assert reader.read() is None
    weights, target = {"w": np.zeros(3)}, {"w": np.ones(3)}
    asyncio.run(storage.publish(20, weights, target))
    assert asyncio.run(storage.newest(-1)) == (20, "ref 0")
    assert reader.read() is weights
    assert target_reader.read() is target
    assert (reader.read(), target_reader.read()) == (None, None)
    assert asked == ["ref 0", "ref 1"], "each reader fetches each version once"


class Recorder:
    """A writer, a curve and a view for a monitor: keeps what it is told, with the step it is told for."""

    def __init__(self) -> None:
        self.evaluations: list = []
        self.written: dict[str, list[tuple[int, float]]] = {}

    def write(self, env_steps: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.written.setdefault(name, []).append((env_steps, value))

    def write_evaluation(self, point) -> None:
        self.write(point.env_steps, {"evaluation/mean_return": point.mean})

    def add_evaluation(self, point) -> bool:
        return True

    def add_episodes(self, env_steps, returns) -> None: ...
    def update(self, status) -> None: ...
    def flush(self) -> None: ...


def test_everything_is_logged_at_env_steps_the_share_of_clipped_targets_included():
    config = Config.model_validate(
        {"network": SMALL, "replay": {"min_steps": 1}, "train": {"env_steps": 2000, "consistency_weight": 1.0}}
    )
    batch = random_batch(np.random.default_rng(0))
    # Of the values that count, the first lies beyond the support: 1e6 is h(1e6) = 1999 on its scale, which ends at 20.
    values, mask = np.zeros((6, 4), np.float32), np.ones((6, 4), np.float32)
    values[0, 0] = 1e6
    metrics = Learner(config, SPEC, 0).update(replace(batch, target_values=values, value_mask=mask)).metrics
    assert metrics.keys() <= METRICS.keys(), "a name that is not in the table is never shown"

    recorder = Recorder()
    monitor = Monitor(config, recorder, recorder, recorder)
    monitor.training(TrainReport(77, 1, 0.1, 0.1, False, metrics))
    monitor.buffer(BufferStatus(env_steps=4321, num_steps=99, memory_bytes=1, held_ratios={"train": 1.0}))
    monitor.tick()
    monitor.evaluation(4000, EvaluationReport(70, (Episode((10.0,), 5, 0, False),), 0.5))
    assert recorder.written["train/value_clipped"] == [(4321, pytest.approx(1 / 24))]
    assert recorder.written["progress/training_steps"] == [(4321, 77)]
    assert metrics.keys() <= recorder.written.keys()
    assert recorder.written.pop("evaluation/mean_return") == [(4000, 10.0)]
    assert recorder.written.pop("evaluation/seconds")[0][0] == 4000
    assert {step for rows in recorder.written.values() for step, _ in rows} == {4321}
