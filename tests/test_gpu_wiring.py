"""Who has a share of a GPU computes on it, in every role. The "GPU" here is the CPU, by the code for GPUs."""

import gc
import itertools
import logging
import weakref
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from reference.tiny_runs import tiny_config

from muzero_ray.actors import build, evaluator, gpu_check, reanalyze
from muzero_ray.actors.evaluator import Evaluator
from muzero_ray.actors.examiner import Examiner
from muzero_ray.actors.gpu_check import slower_on_gpu
from muzero_ray.actors.reanalyze import Reanalyze
from muzero_ray.app import start
from muzero_ray.app.errors import UserError
from muzero_ray.app.local_run import LocalRun
from muzero_ray.core.types import Weights
from muzero_ray.engine.mlp import CompiledMLP
from muzero_ray.nn.networks import build_network, to_weights
from muzero_ray.nn.resident import ResidentModel


@pytest.fixture
def stand_in(monkeypatch) -> None:
    monkeypatch.setattr(build, "GPU", "cpu")


def weights_for(config) -> Weights:
    rng = np.random.default_rng(0)
    network = build_network(config.network, build.Agent(config).spec, consistency=False)
    return {
        name: array + rng.normal(0, 0.1, array.shape).astype(np.float32) for name, array in to_weights(network).items()
    }


@pytest.mark.usefixtures("stand_in")
def test_each_role_computes_where_its_share_says():
    with_gpus = tiny_config(
        self_play={"num_gpus": 0.2},
        replay={"num_gpus": 0.1},
        reanalyze={"num_gpus": 0.1},
        evaluate={"num_gpus": 0.1},
        train={"num_gpus": 1},
    )
    for config, model in ((tiny_config(), CompiledMLP), (with_gpus, ResidentModel)):
        assert isinstance(build.make_self_player(config, 0, 0)._model, model)
        assert isinstance(build.make_reanalyzer(config, 0)._model, model)
        assert isinstance(Examiner(config).agent.model, model)
        assert isinstance(build.FreshValues(config)._model, model)


NOTE = "system.precision: bfloat16 is used on GPUs only, got cpu; computing in float32"


def without_bfloat16(**changes):
    """A configuration whose roles all have a share of the stand-in, which lacks what they ask it for."""
    shares = {role: {"num_gpus": 0.1} for role in ("self_play", "replay", "reanalyze", "evaluate")}
    return tiny_config(**{**shares, "system": {"precision": "bfloat16"}, **changes})


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("role", ["reanalyze", "evaluator"])
def test_an_actor_logs_what_its_gpu_cannot_do(monkeypatch, caplog, role):
    for module in (reanalyze, evaluator):
        monkeypatch.setattr(module, "ray", MagicMock())
    monkeypatch.setattr(reanalyze, "register", lambda *_: 0)
    Reanalyze(without_bfloat16()) if role == "reanalyze" else Evaluator(without_bfloat16())
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [(record.name, record.getMessage()) for record in warnings] == [(f"muzero_ray.actors.{role}", NOTE)]


@pytest.mark.usefixtures("stand_in")
def test_the_models_of_earlier_agents_say_what_their_gpu_cannot_do():
    config = without_bfloat16(game="tictactoe", search={"num_simulations": 2})
    told: list[str] = []
    examiner = Examiner(config, told.append)
    for version in (1, 2):
        examiner.evaluate(weights_for(config), version, 2, ())
    assert told == [NOTE, NOTE]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("role", ["self_play", "replay", "reanalyze", "evaluate"])
def test_a_run_in_one_process_tells_what_the_gpu_of_a_role_cannot_do(role):
    shares = {each: {"num_gpus": 0.1 * (each == role)} for each in ("self_play", "replay", "reanalyze", "evaluate")}
    monitor = MagicMock()
    LocalRun(without_bfloat16(**shares), 1, "cpu", monitor, None)
    monitor.note.assert_called_once_with(NOTE)


@pytest.mark.usefixtures("stand_in")
def test_games_are_the_same_on_a_gpu_in_one_group():
    weights = weights_for(tiny_config())
    played = []
    for share in (0.0, 0.5):
        player = build.make_self_player(tiny_config(self_play={"num_gpus": share}), 0, 0)
        player.set_weights(weights, 0)
        played.append(player.play(6)[0])
    for one, other in zip(*played, strict=True):
        np.testing.assert_array_equal(one.actions, other.actions)
        np.testing.assert_allclose(one.root_values, other.root_values, rtol=1e-4)


@pytest.mark.usefixtures("stand_in")
def test_fresh_values_are_the_same_on_a_gpu_which_is_asked_for_few_numbers_of_them():
    weights = weights_for(tiny_config())
    on_gpu, on_cpu = (build.FreshValues(tiny_config(replay={"num_gpus": share})) for share in (0.5, 0.0))
    on_gpu.set_weights(weights)
    on_cpu.set_weights(weights)
    rng = np.random.default_rng(0)
    for count in (1, 5, 256, 300):
        observations = rng.normal(size=(count, *build.Agent(tiny_config()).spec.input_shape)).astype(np.float32)
        np.testing.assert_allclose(on_gpu(observations), on_cpu(observations), rtol=1e-4)
    assert len(on_gpu._model._searches) == 2  # of 256 and of 512


@pytest.mark.parametrize(("games", "sizes"), [(4, [2, 2]), (7, [3, 2, 2])])
def test_groups_share_the_games_of_an_actor_with_seeds_and_ids_of_their_own(games, sizes):
    config = tiny_config(self_play={"games_per_actor": games, "groups": len(sizes)})
    weights = weights_for(config)
    ids, seeds = [], []
    for index, restart in itertools.product((0, 1), (0, 1)):
        player = build.make_self_player(config, index, restart)
        player.set_weights(weights, 0)
        pieces, report = player.play(3)
        assert report.env_steps == 3 * games
        assert [len(each._games) for each in player._players] == sizes
        ids.append({piece.game_id for piece in pieces})
        seeds.append({piece.seed for piece in pieces})
        assert {game_id >> 32 for game_id in ids[-1]} == {(restart << 20) | index}
    assert len(set.union(*ids)) == sum(map(len, ids)) == 4 * games
    assert len(set.union(*seeds)) == 4 * games


def test_more_groups_than_games_are_refused():
    with pytest.raises(ValueError, match=r"self_play.groups \(5\) must not exceed self_play.games_per_actor \(4\)"):
        tiny_config(self_play={"groups": 5})


@pytest.mark.parametrize(("seconds", "told"), [((0.002, 0.004), False), ((0.004, 0.002), True)])
@pytest.mark.usefixtures("stand_in")
def test_a_gpu_that_is_slower_than_a_cpu_is_told_of(monkeypatch, seconds, told):
    asked = []
    monkeypatch.setattr(
        gpu_check, "_seconds_per_simulation", lambda model, *_: asked.append(type(model)) or seconds[len(asked) - 1]
    )
    config = tiny_config(self_play={"num_gpus": 0.5, "groups": 2})
    note = slower_on_gpu(config, weights_for(config))
    assert asked == [ResidentModel, CompiledMLP]
    assert note == (
        "self_play.num_gpus: a simulation of 2 games takes 4.00 ms on the GPU and 2.00 ms on a CPU; use 0, more "
        "self_play.games_per_actor or a larger network"
        if told
        else ""
    )


@pytest.mark.usefixtures("stand_in")
def test_models_that_were_made_to_be_timed_are_gone_before_play_begins(monkeypatch):
    made, make_model = [], build.make_model

    def watched(*arguments):
        model = make_model(*arguments)
        made.append(weakref.ref(model))
        return model

    monkeypatch.setattr(build, "make_model", watched)
    config = tiny_config(self_play={"num_gpus": 0.5})
    weights = weights_for(config)
    made.clear()
    gc.disable()  # so that it does not happen to come by
    try:
        slower_on_gpu(config, weights)
        assert [model() for model in made] == [None, None]
    finally:
        gc.enable()


@pytest.mark.usefixtures("stand_in")
def test_the_time_of_a_simulation_is_measured():
    config = tiny_config(self_play={"num_gpus": 0.5})
    model = build.make_model(config, build.Agent(config).spec)
    model.set_weights(weights_for(config))
    assert gpu_check._seconds_per_simulation(model, np.zeros((4, 4), np.float32), 2) > 0


def test_a_share_of_a_gpu_that_is_not_there_is_refused_before_anything_starts(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"self_play.num_gpus 0.5: torch finds no GPU; use 0"):
        start.one_process(tiny_config(self_play={"num_gpus": 0.5}))
