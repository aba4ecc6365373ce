"""What a machine lacks is said in one sentence: what was asked for, why it is not there, what to do or what is done."""

import pytest
import torch

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.hardware import OutOfGpuMemory, compiles, memory_told, usable_device, usable_precision
from muzero_ray.nn.networks import build_network
from muzero_ray.nn.resident import ResidentModel

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def gpu(monkeypatch):
    """A machine of which torch says that it has one GPU; returns what to call to say whether it knows bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old Card 9")
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.device("cpu"))

    def knows_bfloat16(known):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: known)

    return knows_bfloat16


def test_the_cpu_is_always_there():
    assert usable_device("cpu") == CPU


@pytest.mark.parametrize(
    ("version", "why"),
    [(None, r"torch \S+ was built without; install the build"), ("12.8", r"torch \S+ was built for GPUs, but finds")],
)
def test_a_gpu_that_is_not_there_is_refused(monkeypatch, version, why):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", version)
    with pytest.raises(ValueError, match=rf"system.device: 'cuda' needs a GPU: {why}.*, or use 'cpu'"):
        usable_device("cuda")


def test_search_refuses_it_too(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    network = build_network(NetworkConfig(), GameSpec(observation_shape=(4,), num_actions=2), consistency=False)
    with pytest.raises(ValueError, match=r"system.device: 'cuda' needs a GPU"):
        ResidentModel(network, discount=1.0)


def test_a_gpu_beyond_the_last_one_is_refused(gpu):
    assert usable_device("cuda") == GPU
    assert usable_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ValueError, match=r"system.device: 'cuda:1' was asked for, but torch finds 1 GPU\(s\)"):
        usable_device("cuda:1")


@pytest.mark.parametrize(
    ("asked", "dtype"), [("auto", torch.bfloat16), ("bfloat16", torch.bfloat16), ("float32", torch.float32)]
)
def test_a_gpu_with_bfloat16_computes_in_it_unless_told_otherwise(gpu, asked, dtype):
    gpu(True)
    assert usable_precision(asked, GPU) == (dtype, "")


@pytest.mark.parametrize("asked", ["auto", "bfloat16"])
def test_a_gpu_without_bfloat16_falls_back_and_says_so(gpu, asked):
    gpu(False)
    note = "system.precision: Old Card 9 cannot compute in bfloat16; computing in float32"
    assert usable_precision(asked, GPU) == (torch.float32, note)
    assert usable_precision("float32", GPU) == (torch.float32, "")


def test_a_cpu_falls_back_and_says_so_only_if_it_was_asked_for_more():
    note = "system.precision: bfloat16 is used on GPUs only, got cpu; computing in float32"
    assert usable_precision("bfloat16", CPU) == (torch.float32, note)
    assert usable_precision("auto", CPU) == usable_precision("float32", CPU) == (torch.float32, "")


def test_gpus_compile_and_cpus_do_not_unless_told_otherwise():
    assert [compiles(asked, GPU) for asked in ("auto", "on", "off")] == [True, True, False]
    assert [compiles(asked, CPU) for asked in ("auto", "on", "off")] == [False, True, False]


def test_what_does_not_fit_into_memory_is_told_with_what_to_lower():
    advice = "Including non-PyTorch memory, this process has 79 GiB in use. See documentation for Memory Management"
    torchs = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.20 GiB is "
        f"free. {advice}"
    )
    with pytest.raises(OutOfGpuMemory) as told, memory_told("a batch of 256", "train.batch_size (256)"):
        raise torch.OutOfMemoryError(torchs)
    assert str(told.value) == (
        "a batch of 256 does not fit into the GPU's memory: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has "
        "a total capacity of 79.11 GiB of which 1.20 GiB is free; lower train.batch_size (256), or let nothing else "
        "use this GPU"
    )


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match=r"^something else$"), memory_told("a batch", "something"):
        raise RuntimeError("something else")
