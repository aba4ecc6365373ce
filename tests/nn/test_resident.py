"""The model for GPUs says what the one for CPUs does. On a CPU all but its graphs is tried; on a GPU, these too."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from reference.networks import BOARD, CAPTURES, SMALL, SMALL_CONV, SPEC, SUMMING_CONV, random_network

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.hardware import OutOfGpuMemory
from muzero_ray.nn.inference import TorchModel
from muzero_ray.nn.networks import to_weights
from muzero_ray.nn.resident import ResidentModel

pytestmark = pytest.mark.usefixtures("exact_float32")

FRAMES = GameSpec(observation_shape=(1, 20, 20), num_actions=4, observation_dtype="uint8", frame_stack=2)
SMALL_IMAGE = NetworkConfig(kind="image", channels=4, blocks=1, head_size=7)
SCALAR = SMALL.model_copy(update={"value_head": "scalar"})
CASES = {
    "vector": (SMALL, SPEC),
    "scalar": (SCALAR, SPEC),
    "turns": (SMALL, CAPTURES),
    "board": (SMALL_CONV, BOARD),
    "sums": (SUMMING_CONV, BOARD),
    "frames": (SMALL_IMAGE, FRAMES),
}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def observations_of(spec: GameSpec, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if spec.observation_dtype == "uint8":
        return rng.integers(0, 256, (count, *spec.input_shape)).astype(np.uint8)
    return rng.normal(size=(count, *spec.input_shape)).astype(np.float32)


def answers(model, spec: GameSpec, count: int, *, nodes: int = 6, seed: int = 0) -> list[np.ndarray]:
    """All that a model says along one random tree."""
    rng = np.random.default_rng(seed)
    said = [*dataclasses.astuple(model.initial(observations_of(spec, count, seed), nodes))]
    for node in range(1, nodes):
        parents = rng.integers(0, node, count).astype(np.int32)
        actions = rng.integers(0, spec.num_actions, count).astype(np.int32)
        said += [array.copy() for array in dataclasses.astuple(model.recurrent(parents, actions, node))]
    return said


def assert_alike(said, expected, tolerance: float = 1e-4) -> None:
    assert len(said) == len(expected)
    for got, wanted in zip(said, expected, strict=True):
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_it_says_what_the_model_for_cpus_says(case, device):
    config, spec = CASES[case]
    model = ResidentModel(random_network(config, spec), 0.9, device, say=pytest.fail)
    expected = answers(TorchModel(random_network(config, spec), 0.9), spec, 5)
    assert_alike(answers(model, spec, 5), expected, 1e-3 if device == "cuda" else 1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_searches_of_several_sizes_take_turns(device):
    config, spec = CASES["board"]
    model = ResidentModel(random_network(config, spec), -1.0, device, say=pytest.fail)
    for seed, (count, nodes) in enumerate([(3, 4), (1, 4), (3, 9), (8, 2), (3, 4), (1, 12)]):
        expected = answers(TorchModel(random_network(config, spec), -1.0), spec, count, nodes=nodes, seed=seed)
        assert_alike(answers(model, spec, count, nodes=nodes, seed=seed), expected, 1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_new_weights_are_used_from_the_next_search_on(device):
    config, spec = CASES["frames"]
    model = ResidentModel(random_network(config, spec, seed=1), 0.9, device, say=pytest.fail)
    before = answers(model, spec, 4)
    model.set_weights(to_weights(random_network(config, spec, seed=2)))
    assert_alike(answers(model, spec, 4), answers(TorchModel(random_network(config, spec, seed=2), 0.9), spec, 4), 1e-3)
    assert not np.allclose(before[0], answers(model, spec, 4)[0])


@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_is_near_and_its_latent_states_are_not_rounded(device):
    config, spec = CASES["board"]
    model = ResidentModel(random_network(config, spec), 0.9, device, dtype=torch.bfloat16, say=pytest.fail)
    said, expected = answers(model, spec, 5), answers(TorchModel(random_network(config, spec), 0.9), spec, 5)
    assert_alike(said, expected, 0.1)
    assert not all(np.allclose(got, wanted, atol=1e-6) for got, wanted in zip(said, expected, strict=True))
    latents = model._search._latents
    assert latents.dtype == torch.float32
    assert not torch.equal(latents, latents.bfloat16().float())


@pytest.mark.parametrize("device", DEVICES)
def test_answers_are_not_changed_by_the_next_question(device):
    config, spec = CASES["vector"]
    model = ResidentModel(random_network(config, spec), 0.9, device, say=pytest.fail)
    model.initial(observations_of(spec, 3), 3)
    first = model.recurrent(np.zeros(3, np.int32), np.array([0, 1, 2], np.int32), 1)
    kept = [array.copy() for array in dataclasses.astuple(first)]
    model.recurrent(np.array([1, 0, 1], np.int32), np.array([3, 3, 3], np.int32), 2)
    for now, then in zip(dataclasses.astuple(first), kept, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("device", DEVICES)
def test_threads_that_search_side_by_side_do_not_disturb_each_other(device):
    config, spec = CASES["board"]
    models = [ResidentModel(random_network(config, spec, seed=seed), 0.9, device, say=pytest.fail) for seed in range(3)]
    with ThreadPoolExecutor(3) as threads:
        found = [
            list(threads.map(lambda model, seed: answers(model, spec, 6, nodes=20, seed=seed), models, range(3)))
            for _ in range(5)
        ][-1]
    for seed, said in enumerate(found):
        expected = answers(TorchModel(random_network(config, spec, seed=seed), 0.9), spec, 6, nodes=20, seed=seed)
        assert_alike(said, expected, 1e-3)


def test_memory_of_few_shapes_is_kept():
    config, spec = CASES["vector"]
    model = ResidentModel(random_network(config, spec), 0.9, "cpu")
    for count in range(1, 40):
        model.initial(observations_of(spec, count), 2)
    assert len(model._searches) == 16
    assert [shape[0][0] for shape in model._searches] == list(range(24, 40))


def test_too_little_memory_is_told_with_what_to_lower(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has none. Advice follows")

    config, spec = CASES["vector"]
    model = ResidentModel(random_network(config, spec), 0.9, "cpu")
    monkeypatch.setattr(model, "on_device", full)
    sentence = (
        r"a search of 5 games with 3 nodes each does not fit into the GPU's memory: .* 2 GiB.*; lower the number of"
    )
    with pytest.raises(OutOfGpuMemory, match=sentence):
        model.initial(observations_of(spec, 5), 3)
    with pytest.raises(OutOfGpuMemory, match=r"evaluation of 5 positions .*; lower the number of positions"):
        model.initial(observations_of(spec, 5), 1)
    monkeypatch.undo()
    model.initial(observations_of(spec, 5), 3)
    monkeypatch.setattr(model, "advance", full)  # the first simulation needs memory of its own
    with pytest.raises(OutOfGpuMemory, match=sentence):
        model.recurrent(np.zeros(5, np.int32), np.zeros(5, np.int32), 1)
    monkeypatch.undo()
    model.recurrent(np.zeros(5, np.int32), np.zeros(5, np.int32), 1)
    monkeypatch.setattr(model, "advance", full)  # without graphs, so does every later one
    with pytest.raises(OutOfGpuMemory, match=sentence):
        model.recurrent(np.zeros(5, np.int32), np.zeros(5, np.int32), 2)
    monkeypatch.setattr(model, "represent", full)
    with pytest.raises(OutOfGpuMemory, match=sentence):
        model.initial(observations_of(spec, 5), 3)


SHORT = "CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has none"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("CUDA error: out of luck\nand a page of advice"), "CUDA error: out of luck"),
        (RuntimeError(), "RuntimeError"),
        (torch.OutOfMemoryError(SHORT), SHORT),
    ],
)
def test_where_graphs_fail_the_reason_is_told_once_and_the_search_goes_on(monkeypatch, error, reason):
    class Broken:
        def __init__(self) -> None:
            raise error

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Broken)
    config, spec = CASES["vector"]
    told: list[str] = []
    model = ResidentModel(random_network(config, spec), 0.9, "cpu", say=told.append)
    model._record, model._stream = True, object()  # as on a GPU, until something of one is asked for
    model._queue = lambda: torch.inference_mode()
    model.wait = lambda: None
    assert_alike(answers(model, spec, 4), answers(TorchModel(random_network(config, spec), 0.9), spec, 4))
    assert told == [f"searching goes on without CUDA graphs, slower: {reason}"]


@pytest.mark.gpu
def test_graphs_are_used_and_say_what_their_kernels_do():
    config, spec = CASES["board"]
    with_graphs = ResidentModel(random_network(config, spec), 0.9, "cuda", say=pytest.fail)
    without = ResidentModel(random_network(config, spec), 0.9, "cuda", record=False)
    assert_alike(answers(with_graphs, spec, 64, nodes=30), answers(without, spec, 64, nodes=30), 1e-5)
    assert with_graphs._record
