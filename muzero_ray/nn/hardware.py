"""What of a machine can be used: the device that is asked for, arithmetic in 16 bits, and torch's compiler.

Each function says what is to be done and, where that is not what was asked for, why. Nothing here is printed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch

from muzero_ray.core.limits import MachineLimit


class Precision(NamedTuple):
    """In which numbers the layers of a network multiply."""

    dtype: torch.dtype
    note: str  # why it is not what was asked for; empty where it is


class OutOfGpuMemory(MachineLimit):
    """A training step or a search did not fit into the memory of the GPU. The weights are those of before it."""


def usable_device(name: str) -> torch.device:
    """The device of this name: "cpu", "cuda", "cuda:1" or any other of torch.

    Raises:
        ValueError: if it is a GPU that torch cannot use.
    """
    device = torch.device(name)
    if device.type != "cuda":
        return device
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        why = (
            f"torch {torch.__version__} was built for GPUs, but finds none; look at nvidia-smi and CUDA_VISIBLE_DEVICES"
            if built
            else f"torch {torch.__version__} was built without; install the build for your GPU"
        )
        raise ValueError(f"system.device: {name!r} needs a GPU: {why}, or use 'cpu'")
    if (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ValueError(f"system.device: {name!r} was asked for, but torch finds {count} GPU(s); use 'cuda'")
    return device


def usable_precision(asked: Literal["auto", "float32", "bfloat16"], device: torch.device) -> Precision:
    """Bfloat16 on a GPU that has it, unless float32 is asked for, and float32 on everything else."""
    if asked == "float32":
        return Precision(torch.float32, "")
    if device.type != "cuda":
        note = f"bfloat16 is used on GPUs only, got {device.type}; computing in float32" if asked == "bfloat16" else ""
        return Precision(torch.float32, note and f"system.precision: {note}")
    with torch.cuda.device(device):
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision(torch.bfloat16, "")
    gpu = torch.cuda.get_device_name(device)
    return Precision(torch.float32, f"system.precision: {gpu} cannot compute in bfloat16; computing in float32")


def compiles(asked: Literal["auto", "on", "off"], device: torch.device) -> bool:
    """Whether to compile. On two CPU cores, compiled steps took as long as others or longer, and a minute to make."""
    return asked == "on" or (asked == "auto" and device.type == "cuda")


def reason_of(error: Exception) -> str:
    """The first line of why something could not be recorded: errors of the GPU are followed by pages of advice."""
    cause = error.__context__ or error  # an end of recording that fails says only that it does
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


@contextmanager
def memory_told(what: str, lower: str) -> Iterator[None]:
    """Says in a sentence what did not fit where the block runs out of a GPU's memory.

    Args:
        what: did not fit: "training step 3: a batch of 256 windows".
        lower: what may be lowered, with their values.

    Raises:
        OutOfGpuMemory: in place of torch's error.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        # "CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has ... of which 1 GiB is free. ..."; advice follows.
        asked = ". ".join(str(error).split(". ")[:3]).rstrip(".")
        raise OutOfGpuMemory(
            f"{what} does not fit into the GPU's memory: {asked}; lower {lower}, or let nothing else use this GPU"
        ) from error
