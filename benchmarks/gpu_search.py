"""How fast many games are searched on a GPU: `python benchmarks/gpu_search.py [--json FILE]`.

Each line of the table is a way to search random frames with the network of `benchmarks/trainer.py`, as self-play does:
plain float32, mixed precision, recorded graphs, and two groups of games that take turns on GPU and CPU. All are
measured in one process, in turns. On a machine without a GPU all is of toy size, and says only that the benchmark
works: there, bfloat16 and graphs are left out.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from trainer import NETWORKS, SPEC, describe

from muzero_ray.core.config import NetworkConfig, SearchConfig
from muzero_ray.mcts.model import RootOutput, StepOutput
from muzero_ray.mcts.planner import make_planner
from muzero_ray.nn.hardware import usable_device
from muzero_ray.nn.learner import use_threads
from muzero_ray.nn.networks import build_network
from muzero_ray.nn.resident import ResidentModel


@dataclass(frozen=True)
class Variant:
    """A way to search."""

    dtype: torch.dtype
    record: bool
    groups: int = 1

    @property
    def name(self) -> str:
        """For the table, "bfloat16 graphs x 2"."""
        number = str(self.dtype).removeprefix("torch.")
        return f"{number} {'graphs' if self.record else 'eager'}" + (f" x {self.groups}" if self.groups > 1 else "")


PLAIN = Variant(torch.float32, record=False)
VARIANTS = (
    PLAIN,
    Variant(torch.float32, record=True),
    Variant(torch.bfloat16, record=False),
    Variant(torch.bfloat16, record=True),
    Variant(torch.bfloat16, record=True, groups=2),
    Variant(torch.bfloat16, record=True, groups=4),
)
ON_A_CPU = (PLAIN, Variant(torch.float32, record=False, groups=2))


class Timed:
    """A model that knows how long it was asked: network, copies, and the wait for the GPU."""

    def __init__(self, model: ResidentModel) -> None:
        self._model = model
        self.seconds = 0.0

    def initial(self, observations: np.ndarray, num_nodes: int) -> RootOutput:
        began = time.perf_counter()
        answer = self._model.initial(observations, num_nodes)
        self.seconds += time.perf_counter() - began
        return answer

    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        began = time.perf_counter()
        answer = self._model.recurrent(parent_nodes, actions, new_node)
        self.seconds += time.perf_counter() - began
        return answer


class Searcher:
    """Searches one group of games again and again."""

    def __init__(self, network: NetworkConfig, variant: Variant, device: str, games: int, simulations: int) -> None:
        rng = np.random.default_rng(0)
        self.notes: list[str] = []
        self._resident = ResidentModel(
            build_network(network, SPEC, consistency=False),
            0.997,
            device,
            dtype=variant.dtype,
            record=variant.record,
            say=self.notes.append,
        )
        self.model = Timed(self._resident)
        self._planner = make_planner(SearchConfig(num_simulations=simulations), None)
        self._frames = rng.integers(0, 256, (games, *SPEC.input_shape), dtype=np.uint8)
        self._legal = np.ones((games, SPEC.num_actions), bool)
        self._rng = rng

    def search(self) -> None:
        """One move of all games."""
        self._planner(self.model, self._frames, self._legal, noise_scale=1.0, temperature=1.0, rng=self._rng)

    def copies(self, times: int) -> float:
        """Seconds that what is copied for a simulation takes on its way, there and back, with nothing else to do."""
        began = time.perf_counter()
        for _ in range(times):
            self._resident.exchange()
        return (time.perf_counter() - began) / times


def measure(searchers: Sequence[Searcher], threads: ThreadPoolExecutor, seconds: float) -> tuple[float, float]:
    """Moves per second of every group, and the share of the time of a group in which it asked its network."""
    for searcher in searchers:
        searcher.model.seconds = 0.0
    began, moves = time.perf_counter(), 0
    while moves == 0 or time.perf_counter() - began < seconds:
        list(threads.map(Searcher.search, searchers))
        moves += 1
    elapsed = time.perf_counter() - began
    asked = statistics.mean(searcher.model.seconds for searcher in searchers)
    return moves / elapsed, asked / elapsed


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", help='"cuda" or "cpu" (default: a GPU if there is one)')
    parser.add_argument("--network", choices=NETWORKS, help="default: small on a GPU, toy on a CPU")
    parser.add_argument("--games", type=int, nargs="+", metavar="B", help="default: 256, 1024 and 2048, or 8 on a CPU")
    parser.add_argument("--simulations", type=int, default=50, help="per move (default: 50)")
    parser.add_argument("--repeats", type=int, default=5, help="stretches of each, in turns (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a stretch (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    use_threads(1)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = usable_device(device).type == "cuda"
    network = NETWORKS[options.network or ("small" if on_gpu else "toy")]
    about = describe(usable_device(device)) | {"simulations": options.simulations}
    print("\n".join(f"{name}: {value}" for name, value in about.items()) + "\n\n" + HEADER)
    rows: list[dict[str, Any]] = []
    for games in options.games or ([256, 1024, 2048] if on_gpu else [8]):
        ways = VARIANTS if on_gpu else ON_A_CPU
        groups = {
            way: [Searcher(network, way, device, games // way.groups, options.simulations) for _ in range(way.groups)]
            for way in ways
        }
        with ThreadPoolExecutor(max(way.groups for way in ways)) as threads:
            for searchers in groups.values():
                list(threads.map(Searcher.search, searchers))  # compiles, and records
            turns = [
                {way: measure(searchers, threads, options.seconds) for way, searchers in groups.items()}
                for _ in range(options.repeats)
            ]
        plain = statistics.median(turn[PLAIN][0] for turn in turns)
        for way, searchers in groups.items():
            rate = statistics.median(turn[way][0] for turn in turns)
            asking = statistics.median(turn[way][1] for turn in turns)
            copies = searchers[0].copies(200) * options.simulations * rate
            rows.append(
                {
                    "games": games,
                    "how": way.name,
                    "simulations/s": round(rate * games * options.simulations),
                    "times plain": round(rate / plain, 2),
                    "tree": round(1 - asking, 3),
                    "network": round(asking - copies, 3),
                    "copies": round(copies, 3),
                    "notes": searchers[0].notes,
                }
            )
            print(line_of(rows[-1]), flush=True)
    print(LEGEND)
    print(json.dumps({"about": about, "rows": rows}))
    if options.json:
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


HEADER = f"{'games':>6} {'how':>20} {'simulations/s':>14} {'times plain':>12} {'tree':>7} {'network':>8} {'copies':>7}"
LEGEND = """
simulations/s: of all games together, median of the stretches. times plain: against float32 eager with as many games.
tree, network, copies: shares of the time of a group of games; those of the tree and the copies of one group are hidden
behind the network of another where there are several. copies: what goes to the device and back for each simulation,
measured by itself.
"""


def line_of(row: dict[str, Any]) -> str:
    """A row for people to read."""
    shares = f"{row['tree']:>7.0%} {row['network']:>8.0%} {row['copies']:>7.0%}"
    notes = "".join(f"\n       {note}" for note in row["notes"])
    return f"{row['games']:>6} {row['how']:>20} {row['simulations/s']:>14,} {row['times plain']:>12.2f} {shares}{notes}"


if __name__ == "__main__":
    main()
