"""Mixed precision and the compiler change how a gradient is made, and hardly what it is."""

import dataclasses

import numpy as np
import pytest
import torch
from reference.batches import random_batch
from reference.networks import CAPTURES, PLAIN_BOARD, SMALL, SMALL_CONV, SPEC, random_network

from muzero_ray.core.config import NetworkConfig, TrainConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.base_network import scale_latent
from muzero_ray.nn.gradients import GradientMaker
from muzero_ray.nn.losses import TensorBatch

FRAMES = GameSpec(observation_shape=(3, 20, 20), num_actions=4, observation_dtype="uint8")
NETWORKS = {
    "mlp": (SMALL, SPEC),
    "turns": (SMALL, CAPTURES),
    "conv": (SMALL_CONV.model_copy(update={"channels": 8, "head_size": 16}), PLAIN_BOARD),
    "image": (NetworkConfig(kind="image", channels=8, blocks=1, head_size=16), FRAMES),
}
TRAIN = TrainConfig(consistency_weight=1.0)


def batch_for(spec, seed=0) -> TensorBatch:
    batch = random_batch(
        np.random.default_rng(seed),
        batch_size=12,
        num_actions=spec.num_actions,
        observation_shape=spec.input_shape,
        value_scale=1.0,
    )
    if spec.observation_dtype == "uint8":
        rng = np.random.default_rng(seed)
        frames = {
            name: rng.integers(0, 256, getattr(batch, name).shape).astype(np.uint8)
            for name in ("observations", "next_observations")
        }
        batch = dataclasses.replace(batch, **frames)
    return TensorBatch.from_batch(batch)


def refuse(note):
    raise AssertionError(note)


def gradient(name, batch=None, **options):
    """The loss of a network, and its gradient as one vector."""
    network = random_network(*NETWORKS[name], consistency=True)
    make = GradientMaker(network, TRAIN, **{"say": refuse, **options})
    loss = make(batch_for(NETWORKS[name][1]) if batch is None else batch)
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    parts = [parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None]
    return loss, torch.cat(parts)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_gives_nearly_the_loss_and_gradient_of_float32(name):
    exact, exact_gradient = gradient(name)
    loss, rough_gradient = gradient(name, dtype=torch.bfloat16)
    for field in dataclasses.fields(loss):
        got, wanted = getattr(loss, field.name), getattr(exact, field.name)
        assert got.dtype == torch.float32
        # A priority is one of random values up to 10, each of which a network of 8 digits tells to some hundredths.
        atol = 0.15 if field.name == "priorities" else 0.03
        torch.testing.assert_close(got, wanted, rtol=0.03, atol=atol, msg=lambda text, name=field.name: name + text)
    assert rough_gradient.dtype == torch.float32
    assert not torch.equal(rough_gradient, exact_gradient)  # it was asked for, and done
    cosine = torch.nn.functional.cosine_similarity(rough_gradient, exact_gradient, dim=0)
    assert cosine > 0.99
    assert rough_gradient.norm() / exact_gradient.norm() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", NETWORKS)
def test_latent_states_stay_float32_in_mixed_precision(name):
    network = random_network(*NETWORKS[name])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        latents = network.represent(batch_for(NETWORKS[name][1]).observations)
        reached = network.step(latents, torch.arange(12) % 4)
    assert latents.dtype == reached.dtype == torch.float32


def test_states_of_16_bits_are_scaled_in_32():
    # 256 and 258 are neighbours in bfloat16: scaled there, what lies between 0 and 1 would be lost the same way.
    states = torch.tensor([[0.0, 1.0, 256.0, 258.0]], dtype=torch.bfloat16)
    torch.testing.assert_close(scale_latent(states), torch.tensor([[0.0, 1.0, 256.0, 258.0]]) / 258)


def use_backend(monkeypatch, backend):
    """Compiles with another backend than torch's own, which takes a minute, and insists on one graph."""
    compile_as_usual = torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, *, dynamic: compile_as_usual(function, dynamic=dynamic, backend=backend, fullgraph=True),
    )


@pytest.mark.parametrize("name", ["mlp", "image"])
def test_network_and_loss_are_compiled_in_one_piece_to_the_same_numbers(name, monkeypatch):
    use_backend(monkeypatch, "aot_eager")
    loss, compiled_gradient = gradient(name, compiled=True)
    exact, exact_gradient = gradient(name)
    for field in dataclasses.fields(loss):
        torch.testing.assert_close(getattr(loss, field.name), getattr(exact, field.name), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compiled_gradient, exact_gradient, rtol=1e-3, atol=1e-5)


def test_a_compiler_that_fails_is_told_once_and_done_without(monkeypatch):
    calls, notes = [], []

    def broken(graph, inputs):
        calls.append(graph)
        raise FileNotFoundError("no C++ compiler\nand much more")

    use_backend(monkeypatch, broken)
    network = random_network(*NETWORKS["mlp"], consistency=True)
    make = GradientMaker(network, TRAIN, compiled=True, say=notes.append)
    losses = [make(batch_for(SPEC)).total for _ in range(2)]
    assert losses[0] == losses[1] == gradient("mlp")[0].total
    assert len(calls) == len(notes) == 1
    assert notes[0].startswith("system.compile: training goes on without the compiler, which failed with ")
    assert "no C++ compiler" in notes[0]
    assert "\n" not in notes[0]


def test_an_error_in_the_loss_is_not_taken_for_one_of_the_compiler(monkeypatch):
    use_backend(monkeypatch, "aot_eager")
    lacking = dataclasses.replace(batch_for(SPEC), next_observations=None)
    with pytest.raises(ValueError, match=r"train.consistency_weight: needs batches with next_observations"):
        gradient("mlp", lacking, compiled=True, say=lambda note: None)


def test_lack_of_memory_is_not_taken_for_a_failure_of_the_compiler(monkeypatch):
    def full(function, **_):
        def compiled(batch):
            raise torch.OutOfMemoryError("CUDA out of memory.")

        return compiled

    monkeypatch.setattr(torch, "compile", full)
    with pytest.raises(torch.OutOfMemoryError):
        gradient("mlp", compiled=True)
