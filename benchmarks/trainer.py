"""How fast the trainer learns from frames, plain and by all means: `python benchmarks/trainer.py [--json FILE]`.

Each line of the table is a learner with its batches, windows of six states of four stacked frames of 96 x 96, which are
in the host's memory and brought to the device ahead, as in a run. Plain float32 is measured beside mixed precision and
the compiler, in one process and one after the other. On a machine without a GPU all is of toy size, and says only that
the benchmark works: there, bfloat16 is left out.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from muzero_ray.core.config import Config, NetworkConfig, SystemConfig, TrainConfig
from muzero_ray.core.frames import stack_frames
from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import Batch
from muzero_ray.nn.gradients import GradientMaker
from muzero_ray.nn.hardware import OutOfGpuMemory, usable_device
from muzero_ray.nn.learner import Learner, use_threads
from muzero_ray.nn.losses import TensorBatch
from muzero_ray.nn.networks import build_network
from muzero_ray.nn.staging import StagedBatch

UNROLL_STEPS = 5
SPEC = GameSpec(observation_shape=(1, 96, 96), num_actions=18, observation_dtype="uint8", frame_stack=4)
NETWORKS = {
    "toy": NetworkConfig(kind="image", blocks=1, channels=8, head_size=16),
    "small": NetworkConfig(kind="image", blocks=1, channels=64),
    "paper": NetworkConfig(kind="image", blocks=16, channels=256),
}
"""By name; "small" has the size of EfficientZero's, "paper" that of MuZero's."""
_HOST_BATCHES = 4
"""Batches that take turns."""


@dataclass(frozen=True)
class Variant:
    """A way to train."""

    precision: Literal["float32", "bfloat16"]
    compile: Literal["on", "off"]

    @property
    def name(self) -> str:
        """For the table, "bfloat16 compiled"."""
        return f"{self.precision} {'compiled' if self.compile == 'on' else 'eager'}"


PLAIN = Variant("float32", "off")
VARIANTS = (PLAIN, Variant("float32", "on"), Variant("bfloat16", "off"), Variant("bfloat16", "on"))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", help='"cuda" or "cpu" (default: a GPU if there is one)')
    parser.add_argument("--network", choices=NETWORKS, help="default: small on a GPU, toy on a CPU")
    parser.add_argument("--batch-sizes", type=int, nargs="+", metavar="B", help="default: 256 and 1024, or 8 on a CPU")
    parser.add_argument("--variants", nargs="+", choices=[v.name for v in VARIANTS], help="default: all that there are")
    parser.add_argument("--consistency", type=float, default=2.0, help="train.consistency_weight (default: 2)")
    parser.add_argument("--repeats", type=int, default=5, help="stretches of each (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a stretch (default: 2)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    use_threads(options.threads)
    device = usable_device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    on_gpu = device.type == "cuda"
    network = NETWORKS[options.network or ("small" if on_gpu else "toy")]
    chosen = [v for v in VARIANTS if v.name in (options.variants or [v.name for v in VARIANTS])]
    if not on_gpu:
        chosen = [variant for variant in chosen if variant.precision == "float32"]

    about = describe(device)
    rate = matrix_rate(device)
    flops = flops_per_window(network, options.consistency)
    about |= {"matrix TFLOP/s": round(rate / 1e12, 3), "MFLOP per window": round(flops / 1e6, 1)}
    print("\n".join(f"{name}: {value}" for name, value in about.items()) + "\n")
    rows: list[dict[str, Any]] = []
    for size in options.batch_sizes or ([256, 1024] if on_gpu else [8]):
        batches = [random_frames(np.random.default_rng(i), size) for i in range(_HOST_BATCHES)]
        for variant in chosen:
            config = config_for(network, size, variant, options.consistency)
            rows.append({"B": size, "how": variant.name, **measure(config, device, batches, options)})
            add_shares(rows, flops / rate)
            print((HEADER + "\n" if len(rows) == 1 else "") + line_of(rows[-1]), flush=True)
    print(LEGEND)
    print(json.dumps({"about": about, "rows": rows}))
    if options.json:
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


def describe(device: torch.device) -> dict[str, Any]:
    """What was measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": name, "cores": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__}


def config_for(network: NetworkConfig, size: int, variant: Variant, consistency: float) -> Config:
    """A run's configuration with this way to train."""
    train = TrainConfig(batch_size=size, unroll_steps=UNROLL_STEPS, consistency_weight=consistency)
    system = SystemConfig(precision=variant.precision, compile=variant.compile)
    return Config(network=network, train=train, system=system)


def random_frames(rng: np.random.Generator, size: int) -> Batch:
    """A batch as the buffer hands it out: every frame once, stacks as views."""
    frames = rng.integers(0, 256, (size, SPEC.frame_stack + UNROLL_STEPS, *SPEC.observation_shape), dtype=np.uint8)
    stacks = stack_frames(frames, SPEC.frame_stack)
    each, all_states = (size, UNROLL_STEPS), (size, UNROLL_STEPS + 1)
    return Batch(
        observations=stacks[:, 0],
        actions=rng.integers(0, SPEC.num_actions, each).astype(np.int32),
        target_values=rng.normal(size=all_states).astype(np.float32),
        value_mask=np.ones(all_states, np.float32),
        target_rewards=rng.normal(size=each).astype(np.float32),
        reward_mask=np.ones(each, np.float32),
        target_policies=rng.dirichlet(np.ones(SPEC.num_actions), all_states).astype(np.float32),
        policy_mask=np.ones(all_states, np.float32),
        importance_weights=np.ones(size, np.float32),
        indices=np.arange(size),
        next_observations=stacks[:, 1:],
        observation_mask=np.ones(each, np.float32),
        frames=frames,
    )


def matrix_rate(device: torch.device) -> float:
    """Floating-point operations per second of one large matrix product: in bfloat16 on a GPU, else in float32."""
    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    first, second = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def multiply() -> None:
        for _ in range(10):
            torch.mm(first, second)
        synchronize(device)

    multiply()
    return 10 * 2 * size**3 / statistics.median(seconds_of(multiply) for _ in range(5))


def flops_per_window(network: NetworkConfig, consistency: float) -> float:
    """Floating-point operations of the products and convolutions of one window's loss and gradient, told by torch."""
    size = 2
    config = config_for(network, size, PLAIN, consistency)
    batch = TensorBatch.from_batch(random_frames(np.random.default_rng(0), size))
    make = GradientMaker(build_network(network, SPEC, consistency > 0), config.train, say=print)
    with FlopCounterMode(display=False) as counter:
        make(batch)
    return counter.get_total_flops() / size


def measure(config: Config, device: torch.device, batches: list[Batch], options: argparse.Namespace) -> dict[str, Any]:
    """Windows per second of one learner, fed ahead and with batches that are already there."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    torch.compiler.reset()
    try:
        learner = Learner(config, SPEC, seed=0, device=str(device))
        first = seconds_of(lambda: learner.update(batches[0]))
        fed = rate_of(learner, fed_ahead(learner, batches), device, options)
        there = rate_of(learner, resident(batches[0], device), device, options)
    except OutOfGpuMemory as error:
        return {"note": str(error)}
    row = {"first step s": round(first, 1), "windows/s": fed, "resident windows/s": there}
    if device.type == "cuda":
        row["peak GB"] = round(torch.cuda.max_memory_allocated(device) / 1e9, 2)
    if learner.notes:
        row["note"] = "; ".join(learner.notes)
    return row


def fed_ahead(learner: Learner, batches: list[Batch]) -> Iterator[StagedBatch]:
    """Batches in turn, of which the next two are on their way while one is learnt from."""
    ahead = [learner.stage(batch) for batch in batches[:2]]
    for batch in cycle(batches):
        ahead.append(learner.stage(batch))
        yield ahead.pop(0)


def resident(batch: Batch, device: torch.device) -> Iterator[StagedBatch]:
    """One batch again and again, which is on the device."""
    tensors = TensorBatch.from_batch(batch, device)
    while True:
        yield StagedBatch(lambda: batch, lambda: tensors)


def rate_of(
    learner: Learner, batches: Iterator[StagedBatch], device: torch.device, options: argparse.Namespace
) -> list[float]:
    """Windows per second: median of several stretches, smallest, largest."""
    for _ in range(3):
        learner.update(next(batches))
    rates = []
    for _ in range(options.repeats):
        steps, windows, began = 0, 0, time.perf_counter()
        while steps == 0 or time.perf_counter() - began < options.seconds:
            staged = next(batches)
            learner.update(staged)
            steps, windows = steps + 1, windows + len(staged.batch.actions)
        synchronize(device)
        rates.append(windows / (time.perf_counter() - began))
    return [round(rate, 1) for rate in (statistics.median(rates), min(rates), max(rates))]


def add_shares(rows: list[dict[str, Any]], seconds_per_window: float) -> None:
    """Says of the last row how it compares with the plain one of its batch size, and with the matrix product.

    Args:
        rows: all so far.
        seconds_per_window: that the device would take for a window's operations at the rate of its matrix product.
    """
    row = rows[-1]
    if "windows/s" not in row:
        return
    row["share of matrix rate"] = round(row["windows/s"][0] * seconds_per_window, 4)
    plain = [r for r in rows if r["B"] == row["B"] and r["how"] == PLAIN.name and "windows/s" in r]
    row["times plain"] = round(row["windows/s"][0] / plain[0]["windows/s"][0], 2) if plain else None


def synchronize(device: torch.device) -> None:
    """Waits for all work of a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


_WIDTHS = (6, 20, 14, 26, 18, 14, 14, 10)


def _line(*cells: object) -> str:
    return "".join(f"{'' if cell is None else cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))


HEADER = _line("B", "how", "first step s", "windows/s", "resident", "times plain", "of matrices", "peak GB")
LEGEND = """
windows/s: median of the stretches [smallest-largest], batches brought from the host ahead. resident: the same with a
batch that is on the device already. times plain: against float32 eager of the same batch size. of matrices: operations
of products and convolutions per second, as a share of those of one large matrix product (bfloat16 on a GPU, else
float32), measured above.
"""


def line_of(row: dict[str, Any]) -> str:
    """A line of the table."""
    if "windows/s" not in row:
        return f"{row['B']:>6}{row['how']:>20}  {row['note']}"
    middle, low, high = row["windows/s"]
    line = _line(
        row["B"],
        row["how"],
        row["first step s"],
        f"{middle:,.0f} [{low:,.0f}-{high:,.0f}]",
        f"{row['resident windows/s'][0]:,.0f}",
        row["times plain"],
        f"{row['share of matrix rate']:.1%}",
        row.get("peak GB"),
    )
    return f"{line}  {row['note']}" if "note" in row else line


if __name__ == "__main__":
    main()
