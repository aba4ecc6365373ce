import dataclasses
import io
import math
import pickle

import numpy as np
import pytest
import torch
from reference.batches import random_batch
from reference.networks import BOARD, CAPTURES, SMALL, SMALL_CONV, SPEC

from muzero_ray.core.config import Config, NetworkConfig, ReplayConfig, SystemConfig, TrainConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.hardware import OutOfGpuMemory
from muzero_ray.nn.learner import Learner, NonFiniteLoss
from muzero_ray.nn.networks import lay_out_channels_last
from muzero_ray.nn.optimizer import learning_rate, make_optimizer


def make_learner(seed=0, network=SMALL, spec=SPEC, **train):
    options = {"env_steps": 2000, "batch_size": 8, "consistency_weight": 1.0, "learning_rate_warmup": 5} | train
    config = Config(network=network, replay=ReplayConfig(min_steps=1000), train=TrainConfig(**options))
    return Learner(config, spec, seed)


def batches(count, seed=0):
    rng = np.random.default_rng(seed)
    return [random_batch(rng, batch_size=8) for _ in range(count)]


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("step", "rate"),
    # Warm-up over 4 steps to 1, then half a cosine from step 3 to step 9: 0.2 + 0.8 * (1 + cos(pi i / 6)) / 2.
    [(0, 0.25), (1, 0.5), (3, 1.0), (4, 0.94641), (6, 0.6), (8, 0.25359), (9, 0.2), (1000, 0.2)],
)
def test_the_learning_rate_warms_up_and_falls_along_a_cosine(step, rate):
    got = learning_rate(step, total_steps=10, warmup_steps=4, peak=1.0, final=0.2)
    assert got == pytest.approx(rate, abs=1e-5)


def test_without_warmup_the_first_step_has_the_peak_rate():
    assert learning_rate(0, total_steps=10, warmup_steps=0, peak=1.0, final=0.2) == 1.0


def test_a_budget_shorter_than_the_warmup_stops_rising_with_it():
    assert learning_rate(2, total_steps=3, warmup_steps=10, peak=1.0, final=0.0) == pytest.approx(0.3)


def test_the_optimiser_runs_at_the_scheduled_rate():
    learner = make_learner(learning_rate=1e-3, learning_rate_warmup=4)
    rates = [learner.update(batch).metrics["train/learning_rate"] for batch in batches(3)]
    assert rates == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3])


def test_only_the_matrices_of_linear_layers_decay():
    network = make_learner().network
    decayed, others = make_optimizer(network, weight_decay=0.1).param_groups
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert {names[id(parameter)] for parameter in others["params"] if parameter.ndim > 1} == {"action_rows.weight"}
    assert all(parameter.ndim == 2 for parameter in decayed["params"])
    assert len(decayed["params"]) + len(others["params"]) == len(names)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


def test_two_learners_with_one_seed_and_the_same_batches_agree_to_the_bit():
    first, second = make_learner(seed=3), make_learner(seed=3)
    for batch in batches(10):
        a, b = first.update(batch), second.update(batch)
        assert a.metrics == b.metrics
        np.testing.assert_array_equal(a.priorities, b.priorities)
    assert same(first.weights(), second.weights())
    assert not same(first.weights(), make_learner(seed=4).weights())


def test_training_continues_from_its_state_to_the_bit():
    before, after = batches(7), batches(7, seed=1)
    learner = make_learner(target_interval=5)
    for batch in before:
        learner.update(batch)
    state = learner.to_bytes()
    resumed = make_learner(seed=99, target_interval=5)
    resumed.load_bytes(state)
    assert resumed.training_steps == 7
    assert same(resumed.target_weights(), learner.target_weights())
    for batch in after:
        assert learner.update(batch).metrics == resumed.update(batch).metrics
    assert same(resumed.weights(), learner.weights())
    assert same(resumed.target_weights(), learner.target_weights())


def test_the_state_is_a_snapshot_that_loads_without_running_code():
    learner = make_learner()
    learner.update(batches(1)[0])
    file = io.BytesIO()
    torch.save(learner.state_dict(), file)
    state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    learner.update(batches(1, seed=1)[0])
    resumed = make_learner()
    resumed.load_state_dict(state)
    assert resumed.training_steps == 1
    assert not same(resumed.weights(), learner.weights())


def test_staged_batches_teach_what_batches_do():
    plain, staged = make_learner(), make_learner()
    ahead = [staged.stage(batch) for batch in batches(4)]
    for batch, prepared in zip(batches(4), ahead, strict=True):
        assert plain.update(batch).metrics == staged.update(prepared).metrics
    assert same(plain.weights(), staged.weights())


def test_what_the_machine_cannot_do_is_noted_and_printed(capsys):
    config = Config(network=SMALL, system=SystemConfig(precision="bfloat16"))
    notes = Learner(config, SPEC, seed=0).notes
    assert notes == ["system.precision: bfloat16 is used on GPUs only, got cpu; computing in float32"]
    assert capsys.readouterr().err == notes[0] + "\n"
    assert make_learner().notes == []


def test_a_step_that_does_not_fit_into_memory_is_told_and_changes_nothing(monkeypatch):
    learner, untroubled = make_learner(), make_learner()
    first, second = batches(2)

    def full(batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has too little. Advice")

    make_gradient = learner._make_gradient
    monkeypatch.setattr(learner, "_make_gradient", full)
    with pytest.raises(OutOfGpuMemory) as told:
        learner.update(first)
    assert str(told.value) == (
        "training step 0 with a batch of 8 windows of 4 states does not fit into the GPU's memory: CUDA out of memory. "
        "Tried to allocate 2.00 GiB. GPU 0 has too little; lower train.batch_size (8), train.unroll_steps (3), "
        "network.channels or network.blocks, or let nothing else use this GPU"
    )
    monkeypatch.setattr(learner, "_make_gradient", make_gradient)
    assert same(learner.weights(), untroubled.weights())
    assert learner.update(second).metrics == untroubled.update(second).metrics


def test_a_state_from_a_device_with_another_layout_of_kernels_is_continued():
    rng = np.random.default_rng(0)
    first, second = (random_batch(rng, batch_size=8, num_actions=5, observation_shape=(2, 2, 3)) for _ in range(2))
    there, here = (make_learner(network=SMALL_CONV, spec=BOARD) for _ in range(2))
    lay_out_channels_last(there.network)  # as on a GPU
    assert not there.network.dynamics_1.weight.is_contiguous()
    there.update(first)
    here.load_bytes(there.to_bytes())
    kernels = [parameter for parameter in here.network.parameters() if parameter.ndim == 4]
    assert len(kernels) > 4
    assert all(parameter.is_contiguous() for parameter in kernels)
    moments = [here.state_dict()["optimizer"]["state"][i] for i in range(4)]
    assert all(moment["exp_avg"].is_contiguous() for moment in moments)
    assert there.update(second).metrics == pytest.approx(here.update(second).metrics, rel=1e-4)
    weights = there.weights()
    assert all(array.flags.c_contiguous for array in weights.values())
    for name, array in here.weights().items():
        np.testing.assert_allclose(weights[name], array, atol=1e-5)


def test_target_weights_are_copied_every_interval():
    learner = make_learner(target_interval=3)
    start = learner.weights()
    seen = []
    for batch in batches(7):
        learner.update(batch)
        seen.append(learner.weights())
        newest = len(seen) // 3 * 3
        expected = seen[newest - 1] if newest else start
        assert same(learner.target_weights(), expected)


def test_published_weights_do_not_change_with_further_training():
    learner = make_learner()
    weights = learner.weights()
    kept = {name: array.copy() for name, array in weights.items()}
    learner.update(batches(1)[0])
    assert same(weights, kept)


def test_observations_are_normalised_by_those_of_all_batches_so_far():
    learner = make_learner()
    seen = []
    for scale, batch in enumerate(batches(4), start=1):
        batch.observations[:] = scale * batch.observations + [0, 1e4, -3, scale, 0]
        seen.append(batch.observations.astype(np.float64))
        learner.update(batch)
        rows = np.concatenate(seen)
        weights = learner.weights()
        np.testing.assert_allclose(weights["observation_mean"], rows.mean(axis=0), rtol=1e-5, atol=1e-6)
        farthest = np.abs(rows - rows.mean(axis=0)).max(axis=0)
        np.testing.assert_allclose(weights["observation_spread"], np.maximum(rows.std(axis=0), farthest / 5), rtol=1e-5)


def test_the_scale_of_observations_does_not_matter():
    plain, scaled = make_learner(), make_learner()
    for batch, large in zip(batches(3), batches(3), strict=True):
        for observations in (large.observations, large.next_observations):
            observations[:] = 1000 * observations + 500
        first, second = plain.update(batch).metrics, scaled.update(large).metrics
        assert first == pytest.approx(second, rel=1e-3, abs=1e-4)


def test_features_that_hardly_vary_stay_small():
    learner = make_learner()
    for batch in batches(3):
        batch.observations[:, 0] = 7.0
        batch.observations[:, 1] *= 1e-6
        assert all(map(math.isfinite, learner.update(batch).metrics.values()))
    weights = learner.weights()
    assert weights["observation_mean"][0] == 7
    np.testing.assert_array_equal(weights["observation_spread"][:2], np.float32(1e-2))


def test_frames_keep_no_statistics():
    spec = GameSpec(observation_shape=(5,), num_actions=4, observation_dtype="uint8")
    learner = make_learner(spec=spec, consistency_weight=0.0)
    batch = batches(1)[0]
    learner.update(dataclasses.replace(batch, observations=np.full((8, 5), 200, np.uint8)))
    assert learner.state_dict()["observation_statistics"]["count"] == 0
    assert "observation_mean" not in learner.weights()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_batch_that_is_not_finite_leaves_the_normalisation_alone(number, first):
    learner, untroubled = make_learner(), make_learner()
    good, bad, after = batches(3)
    for each in () if first else (learner, untroubled):
        each.update(good)
    bad.observations[0, 2] = number
    with pytest.raises(NonFiniteLoss):
        learner.update(bad)
    assert same(learner.weights(), untroubled.weights())
    assert learner.update(after).metrics == untroubled.update(after).metrics
    assert same(learner.weights(), untroubled.weights())


@pytest.mark.parametrize("field", ["target_values", "observations"])
def test_a_batch_that_is_not_finite_is_refused_and_changes_nothing(field):
    learner = make_learner()
    good, bad = batches(2)
    learner.update(good)
    weights = learner.weights()
    getattr(bad, field)[0] = np.nan
    with pytest.raises(NonFiniteLoss, match=r"training step 1: .*loss/total") as error:
        learner.update(bad)
    assert error.value.batch is bad
    assert learner.training_steps == 1
    assert same(learner.weights(), weights)


def test_the_error_keeps_its_batch_between_processes():
    bad = batches(1)[0]
    bad.target_values[0] = np.inf
    with pytest.raises(NonFiniteLoss) as error:
        make_learner().update(bad)
    copy = pickle.loads(pickle.dumps(error.value))
    assert str(copy) == str(error.value)
    np.testing.assert_array_equal(copy.batch.target_values, bad.target_values)


def test_gradients_are_scaled_down_to_the_greatest_norm():
    learner = make_learner(max_grad_norm=1e-3)
    metrics = learner.update(batches(1)[0]).metrics
    assert metrics["train/gradient_norm"] > 1e-3  # what it was before
    squares = sum((parameter.grad**2).sum().item() for parameter in learner.network.parameters())
    assert squares**0.5 == pytest.approx(1e-3, rel=1e-2)


def test_metrics_are_plain_numbers_and_priorities_one_per_window():
    result = make_learner().update(batches(1)[0])
    assert {type(value) for value in result.metrics.values()} == {float}
    assert result.priorities.shape == (8,)
    assert (result.priorities >= 0).all()


def test_the_loss_of_turns_is_told_where_they_are_learnt():
    batch = batches(1)[0]
    assert make_learner(spec=CAPTURES).update(batch).metrics["loss/turn"] > 0
    assert "loss/turn" not in make_learner().update(batch).metrics


def test_training_on_boards_continues_from_its_state_to_the_bit():
    rng = np.random.default_rng(0)
    first, second, third = (
        random_batch(rng, batch_size=8, num_actions=5, observation_shape=(2, 2, 3)) for _ in range(3)
    )
    learner = make_learner(network=SMALL_CONV, spec=BOARD)
    learner.update(first)
    resumed = make_learner(seed=99, network=SMALL_CONV, spec=BOARD)
    resumed.load_bytes(learner.to_bytes())
    for batch in (second, third):
        assert learner.update(batch).metrics == resumed.update(batch).metrics
    assert same(resumed.weights(), learner.weights())


BOARD_WITH_CAPTURES = dataclasses.replace(BOARD, alternating=False)


@pytest.mark.parametrize(
    ("network", "spec", "steps"),
    [(SMALL, SPEC, 800), (SMALL_CONV.model_copy(update={"channels": 8, "head_size": 32}), BOARD_WITH_CAPTURES, 400)],
    ids=["mlp", "conv"],
)
def test_one_batch_can_be_learnt_by_heart(network, spec, steps):
    # Without windows that end, every target is reachable; what remains is the entropy of the policies.
    learner = make_learner(
        network=network,
        spec=spec,
        env_steps=10_000,
        learning_rate=5e-3,
        consistency_weight=0.0,
        dynamics_gradient=1.0,
    )
    batch = random_batch(
        np.random.default_rng(0), batch_size=8, num_actions=spec.num_actions, observation_shape=spec.observation_shape
    )
    keep = np.arange(0, 8, 3)  # every third window of `random_batch` runs on
    batch = dataclasses.replace(
        batch, **{name: array[keep] for name, array in vars(batch).items() if array is not None}
    )
    first = learner.update(batch).metrics
    for _ in range(steps):
        result = learner.update(batch)
    policies = batch.target_policies
    per_step = np.array([1, 1 / 3, 1 / 3, 1 / 3])
    entropies = -(policies * np.log(policies)).sum(axis=2) * per_step * batch.importance_weights[:, None]
    floor = entropies.sum() / len(keep)
    assert result.metrics["loss/policy"] - floor < 0.02 * (first["loss/policy"] - floor) + 0.02
    assert result.priorities.max() < 0.3  # values have a scale of 10
    assert result.metrics.get("loss/turn", 0.0) < 0.01


@pytest.mark.gpu
@pytest.mark.usefixtures("exact_float32")
@pytest.mark.parametrize(
    ("precision", "compile", "value_prefix_steps"),
    [
        *[("float32", "off", 0), ("float32", "on", 0), ("bfloat16", "off", 0), ("bfloat16", "on", 0)],
        *[("bfloat16", "off", 3), ("bfloat16", "on", 3)],
    ],
)
def test_a_gpu_learns_nearly_what_a_cpu_does_and_a_cpu_can_go_on_from_there(precision, compile, value_prefix_steps):
    spec = GameSpec(observation_shape=(3, 20, 20), num_actions=4, observation_dtype="uint8")
    network = NetworkConfig(
        kind="image", channels=8, blocks=1, head_size=16, value_prefix_steps=value_prefix_steps, value_prefix_size=24
    )
    train = TrainConfig(batch_size=12, consistency_weight=1.0, learning_rate_warmup=5)
    system = SystemConfig(precision=precision, compile=compile)
    rng = np.random.default_rng(0)
    plain = [random_batch(rng, batch_size=12, observation_shape=spec.input_shape, value_scale=1.0) for _ in range(6)]
    frames = [
        dataclasses.replace(
            batch,
            observations=rng.integers(0, 256, batch.observations.shape).astype(np.uint8),
            next_observations=rng.integers(0, 256, batch.next_observations.shape).astype(np.uint8),
        )
        for batch in plain
    ]
    there = Learner(Config(network=network, train=train, system=system), spec, seed=0, device="cuda")
    here = Learner(Config(network=network, train=train), spec, seed=0)
    staged = [there.stage(batch) for batch in frames]
    for batch, ahead in zip(frames, staged, strict=True):
        assert there.update(ahead).metrics == pytest.approx(here.update(batch).metrics, rel=0.05, abs=0.05)
    assert there.notes == []
    here.load_bytes(there.to_bytes())
    assert same(here.weights(), there.weights())
    assert there.update(frames[0]).metrics == pytest.approx(here.update(frames[0]).metrics, rel=0.05, abs=0.05)
