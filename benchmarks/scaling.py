"""How many self-play actors one replay buffer, one storage and one head serve: `python benchmarks/scaling.py`.

Self-play is simulated: no network searches, no game is played, several actors share a process. What they send is what
real ones send: they ask the real `SharedStorage` for weights, hand real trajectories of the game to the real
`ReplayBufferActor` by reference, and are called by the real `Supervisor`, which plays on when the buffer acknowledges.
The trainer is a stand-in that asks for batches and publishes weights as the real one does, and learns nothing; nobody
reanalyzes. So the pace is limited by what is measured, and not by what acts and learns.

A line for each number of actors: what went through, how long deliveries and batches took, and which process was how
busy. Nothing else should run on the machine meanwhile. `--stop-training` looks at back-pressure instead.
"""

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from memory import name_of
from simulated_actors import SimulatedPlayers, StandInTrainer, Trained, record

from muzero_ray.actors import build
from muzero_ray.actors.replay_buffer import ReplayBufferActor
from muzero_ray.actors.shared_storage import SharedStorage
from muzero_ray.adapters.loading import load_game
from muzero_ray.app.config_io import game_file, make_config
from muzero_ray.app.supervisor import Role, Supervisor
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus
from muzero_ray.core.types import SelfPlayReport, Trajectory, Weights

_CONCURRENT_CALLS = 10_000  # more than ever wait in one actor
_STRETCH_SECONDS = 1.0  # of training, as in a run


@dataclass
class Window:
    """What happened since a moment."""

    began: float = field(default_factory=time.perf_counter)
    cpu: Mapping[str, float] = field(default_factory=dict)  # seconds of each kind of process until then
    deliveries: int = 0
    trajectories: int = 0
    left_out: int = 0  # of them, as they came too late
    batches: int = 0
    round_trips: list[float] = field(default_factory=list)  # of deliveries, from the head to the buffer and back
    add_seconds: list[float] = field(default_factory=list)
    sample_seconds: list[float] = field(default_factory=list)
    fetch_seconds: list[float] = field(default_factory=list)
    wait_seconds: float = 0.0


@dataclass(frozen=True)
class _Player:
    """A simulated actor, as the supervisor calls it."""

    host: Any
    index: int

    @property
    def play(self) -> "_Player":
        return self

    def remote(self) -> Any:
        return self.host.play.remote(self.index)


class Simulation:
    """Simulated actors around the real buffer, storage and supervisor; a Ray cluster is there.

    The loop that calls it:

        simulation = Simulation(config, 200, pieces, weights)
        simulation.run(seconds)
        row = simulation.measure(seconds)
        simulation.close()

    Args:
        config: of the run.
        num_actors: simulated.
        pieces: recorded for them.
        weights: to be published.
        processes: that the actors share.
        stretch_seconds: that a stretch takes to be played.
    """

    def __init__(
        self,
        config: Config,
        num_actors: int,
        pieces: list[Trajectory],
        weights: Weights,
        processes: int = 2,
        stretch_seconds: float = 0.0,
    ) -> None:
        def actor(cls: type, *args: Any, **options: Any) -> Any:
            return ray.remote(cls).options(num_cpus=0, **options).remote(*args)

        self._config = config
        self.num_actors = num_actors
        self.supervisor = Supervisor(0, config.system.stall_seconds, print)
        concurrent = {"max_concurrency": _CONCURRENT_CALLS}
        storage = actor(SharedStorage, **concurrent)
        buffer = actor(ReplayBufferActor, config, num_actors, **concurrent)
        trainer = actor(StandInTrainer, config, buffer, storage, ray.put(weights))
        hosts = [
            actor(SimulatedPlayers, config, pieces, storage, stretch_seconds, **concurrent) for _ in range(processes)
        ]
        self._handles = [storage, buffer, trainer, *hosts]
        self.storage, self.buffer, self.trainer = (
            Role(name, handle) for name, handle in (("storage", storage), ("buffer", buffer), ("trainer", trainer))
        )
        self.players = [Role(f"player_{i}", _Player(hosts[i % processes], i)) for i in range(num_actors)]
        self.window = Window()
        self.status = BufferStatus(0, 0, 0, {})
        self.training = True
        self.supervisor.submit(self.storage, "start", {}, then=lambda _: None)
        self.supervisor.submit(self.buffer, "start", None, then=lambda _: None)
        for _ in range(2):
            self._train()
        for player in self.players:
            for _ in range(config.system.max_pending):
                self._play(player)

    def _play(self, player: Role) -> None:
        self.supervisor.submit(player, "play", then=lambda *result: self._deliver(player, *result))

    def _deliver(self, player: Role, trajectories: Any, report: SelfPlayReport | None) -> None:
        if report is None:
            self._play(player)
            return
        sent = time.perf_counter()

        def acknowledged(status: BufferStatus) -> None:
            window = self.window
            window.deliveries += 1
            window.round_trips.append(time.perf_counter() - sent)
            window.trajectories += status.trajectories_added
            window.left_out += status.trajectories_left_out
            window.add_seconds += status.add_seconds
            window.sample_seconds += status.sample_seconds
            if status.env_steps > self.status.env_steps:
                self.status = status
            self._play(player)

        delivery = [trajectories] if self._config.replay.shards > 1 else trajectories
        self.supervisor.submit(self.buffer, "add", delivery, player.name, then=acknowledged, endless=True)

    def _train(self) -> None:
        if self.training:
            self.supervisor.submit(self.trainer, "train", _STRETCH_SECONDS, then=self._trained)

    def _trained(self, report: Trained) -> None:
        self.window.batches += report.batches
        self.window.wait_seconds += report.wait_seconds
        self.window.fetch_seconds += report.fetch_seconds
        self._train()

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Goes on for so many seconds, or until something holds."""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline and not until():
            self.supervisor.step(timeout=0.1)

    def measure(self, seconds: float) -> dict[str, Any]:
        """A row of the table, of the next so many seconds."""
        self.window = Window(cpu=cpu_seconds())
        self.run(seconds)
        window, elapsed = self.window, time.perf_counter() - self.window.began
        steps = window.deliveries * self._config.self_play.games_per_actor * self._config.self_play.segment_moves
        spent = {name: used - window.cpu.get(name, 0.0) for name, used in cpu_seconds().items()}
        busy = {name: used / elapsed for name, used in spent.items() if used / elapsed > 0.005}
        per_delivery = 1000 * elapsed / max(1, window.deliveries)
        return {
            "actors": self.num_actors,
            "deliveries/s": window.deliveries / elapsed,
            "trajectories/s": window.trajectories / elapsed,
            "left out/s": window.left_out / elapsed,
            "env steps/s": steps / elapsed,
            "batches/s": window.batches / elapsed,
            "store a delivery ms": _middle_and_tail(window.add_seconds),
            "delivery round trip ms": _middle_and_tail(window.round_trips),
            "make a batch ms": _middle_and_tail(window.sample_seconds),
            "fetch batches ms": _middle_and_tail(window.fetch_seconds),
            "busy": {name: round(share, 3) for name, share in busy.items()},
            "CPU ms per delivery": {name: round(share * per_delivery, 3) for name, share in busy.items()},
            "buffer MB": self.status.memory_bytes / 1e6,
        }

    def unacknowledged(self) -> int:
        """Stretches that are being played, or wait for the buffer."""
        return self.supervisor.count("play") + self.supervisor.count("add")

    def close(self) -> None:
        """Ends all processes."""
        for handle in self._handles:
            ray.kill(handle)


def back_pressure(simulation: Simulation, seconds: float) -> dict[str, Any]:
    """Stops the trainer, waits until self-play has stopped, and looks whether anything grows from then on."""
    simulation.training = False
    simulation.window = Window()
    began = time.perf_counter()
    still_since = _wait_until_still(simulation, seconds=2.0, at_most=120.0)
    acknowledged, before = simulation.window.deliveries, resident_mb()
    simulation.run(seconds)
    after = resident_mb()
    status: BufferStatus = ray.get(simulation.buffer.handle.status.remote())
    return {
        "actors": simulation.num_actors,
        "seconds until all waited": still_since - began,
        "acknowledged after the stop": acknowledged,
        "acknowledged later": simulation.window.deliveries - acknowledged,
        "unacknowledged": simulation.unacknowledged(),
        "stretches being played": simulation.supervisor.count("play"),
        "status": status,
        "grown MB": {name: round(after[name] - size, 1) for name, size in before.items() if name in after},
    }


def _wait_until_still(simulation: Simulation, seconds: float, at_most: float) -> float:
    """Waits until nobody trains or plays and the buffer, asked twice so many seconds apart, has stored no more.

    Its answers tell a buffer at rest from one whose process merely gets no CPU.

    Returns:
        When it was asked first.
    """

    def at_work() -> int:
        return simulation.supervisor.count("train") + simulation.supervisor.count("play")

    def stored() -> int:
        status: BufferStatus = ray.get(simulation.buffer.handle.status.remote())
        return status.env_steps

    deadline = time.perf_counter() + at_most
    while True:
        simulation.run(deadline - time.perf_counter(), until=lambda: not at_work())
        since, before = time.perf_counter(), (stored(), simulation.window.deliveries)
        simulation.run(seconds)
        if ((stored(), simulation.window.deliveries) == before and not at_work()) or time.perf_counter() > deadline:
            return since


def cpu_seconds() -> Counter[str]:
    """CPU time of this process and all it started, by what they are."""
    return _of_processes(lambda process: sum(process.cpu_times()[:2]))


def resident_mb() -> Counter[str]:
    """Resident memory of the same that is not shared, by what they are."""
    return _of_processes(lambda process: (process.memory_info().rss - process.memory_info().shared) / 1e6)


def _of_processes(measure: Callable[[psutil.Process], float]) -> Counter[str]:
    head, found = psutil.Process(), Counter[str]()
    for process in (head, *head.children(recursive=True)):
        try:
            found[name_of(process, head.pid)] += measure(process)
        except psutil.Error:  # it has just ended
            continue
    return found


def _middle_and_tail(seconds: list[float]) -> tuple[float, float] | None:
    """Median and 99th percentile in ms."""
    if not seconds:
        return None
    middle, tail = np.percentile(seconds, [50, 99]) * 1000
    return round(float(middle), 3), round(float(tail), 3)


def delivery_bytes(config: Config, pieces: list[Trajectory]) -> int:
    """Size of the arrays in one delivery."""
    arrays = (getattr(pieces[0], each.name) for each in fields(Trajectory))
    size = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    return config.self_play.games_per_actor * size


def weights_for(config: Config, megabytes: float | None) -> Weights:
    """Weights of the configured network, untrained; or so many MB of them, which nothing reads."""
    if megabytes is not None:
        return {"weights": np.zeros(int(megabytes * 250_000), np.float32)}
    from muzero_ray.nn.networks import build_network, to_weights

    spec = build.game_spec(load_game(config.game))
    return to_weights(build_network(config.network, spec, consistency=False))


HEADER = f"{'actors':>6} {'deliv/s':>8} {'traj/s':>8} {'steps/s':>9} {'MB/s':>7} {'batch/s':>8}  store ms, p99    "
HEADER += "round trip ms, p99   batch ms, p99    busiest"


def line_of(row: dict[str, Any]) -> str:
    """A row for people to read."""

    def pair(name: str) -> str:
        return "-" if row[name] is None else f"{row[name][0]:.2f}, {row[name][1]:.2f}"

    busiest = sorted(row["busy"].items(), key=lambda item: -item[1])[:4]
    told = ", ".join(f"{name} {share:.0%}" for name, share in busiest)
    return (
        f"{row['actors']:>6} {row['deliveries/s']:>8.1f} {row['trajectories/s']:>8.0f} {row['env steps/s']:>9,.0f} "
        f"{row['MB/s']:>7.1f} {row['batches/s']:>8.1f}  {pair('store a delivery ms'):<16} "
        f"{pair('delivery round trip ms'):<20} {pair('make a batch ms'):<16} {told}"
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="cartpole", help="whose sizes and configuration are taken")
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 10, 50, 100, 200, 400], metavar="N")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured for each number (default: 20)")
    parser.add_argument(
        "--warm-up", type=float, default=10.0, help="seconds before, from the first batch on (default: 10)"
    )
    parser.add_argument("--processes", type=int, default=2, help="that simulated actors share (default: 2)")
    parser.add_argument(
        "--stretch-seconds",
        type=float,
        default=0.0,
        help="that an actor takes for a stretch of moves; 0, the default: none, so that all else saturates",
    )
    parser.add_argument("--pieces", type=int, default=32, help="recorded at random (default: 32)")
    parser.add_argument("--weights-mb", type=float, help="weights of this size (default: of the configured network)")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="OPTION=VALUE",
        help="options of a run, train.batch_size=1024 ...; train.replay_ratio is 0.1 if not said, as MuZero has it",
    )
    parser.add_argument("--stop-training", action="store_true", help="measure back-pressure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    # Nobody reanalyzes here, and whoever plays would wait for it.
    overrides = {"train.replay_ratio": "0.1", "reanalyze.ratio": "0"}
    overrides |= dict(each.split("=", 1) for each in options.set)
    if options.weights_mb is not None:
        overrides["reanalyze.fresh_values"] = "false"  # no network has such weights
    config = make_config(game_file(options.game), {"game": options.game, **overrides})
    game = load_game(config.game)()
    pieces = record(game, config.self_play.segment_moves, options.pieces, np.random.default_rng(0))
    weights = weights_for(config, options.weights_mb)
    size = delivery_bytes(config, pieces)
    about = {
        "game": config.game,
        "settings": overrides,
        "moves per delivery": config.self_play.games_per_actor * config.self_play.segment_moves,
        "bytes per delivery": size,
        "weights bytes": sum(array.nbytes for array in weights.values()),
        "batch size": config.train.batch_size,
        "replay ratio": config.train.replay_ratio,
        "max_pending": config.system.max_pending,
        "stretch seconds": options.stretch_seconds,
        "cores": os.cpu_count(),
        "load average before": os.getloadavg()[0],
    }
    print("\n".join(f"{name}: {value}" for name, value in about.items()) + "\n")
    ray.init(address="local", include_dashboard=False, log_to_driver=True)
    rows = []
    for number in options.actors:
        simulation = Simulation(config, number, pieces, weights, options.processes, options.stretch_seconds)
        simulation.run(300.0, until=lambda window=simulation.window: window.batches > 0)
        simulation.run(options.warm_up)
        if options.stop_training:
            found = back_pressure(simulation, options.seconds)
            rows.append({**found, "status": asdict(found["status"])})
            print(json.dumps(rows[-1]), flush=True)
        else:
            row = simulation.measure(options.seconds)
            rows.append({**row, "MB/s": row["deliveries/s"] * size / 1e6})
            print((HEADER + "\n" if len(rows) == 1 else "") + line_of(rows[-1]), flush=True)
        simulation.close()
    ray.shutdown()
    if options.json:
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
