"""Turns what the roles report into what people see: the live view, TensorBoard and the learning curve.

Told of everything, decides nothing. Counters are exact; rates are over the last half minute.
"""

import time
from collections import deque

import psutil

from muzero_ray.app.curve import Curve, EvaluationPoint
from muzero_ray.app.live_view import LiveView, RecentRate, Status, bottleneck
from muzero_ray.app.metrics import METRICS, MetricsWriter
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus, EvaluationReport, ReanalyzeReport, TrainReport
from muzero_ray.core.types import SelfPlayReport

_WRITE_SECONDS = 5.0
_SHOW_SECONDS = 0.5
_RETURNS_SHOWN = 200


class Monitor:
    """The present state of a run.

    Args:
        config: of the run.
        curve: of the run, with what was evaluated before it was resumed.
        writer: to TensorBoard.
        view: what the user watches.
        seconds_before: wall-clock seconds of the run before it was resumed.
    """

    def __init__(
        self,
        config: Config,
        curve: Curve,
        writer: MetricsWriter,
        view: LiveView,
        seconds_before: float = 0.0,
    ) -> None:
        self._config = config
        self._num_actors = 0  # everything in one process, until told otherwise
        self._curve = curve
        self._writer = writer
        self._view = view
        self._began = time.monotonic() - seconds_before
        self._status: BufferStatus | None = None
        self._training_steps = 0
        self._played_version = 0
        self._games = 0
        self._resigned = self._tested_resignations = self._false_resignations = 0
        self._losses: dict[str, float] = {}
        self._returns: deque[float] = deque(maxlen=_RETURNS_SHOWN)
        self._new_returns: list[float] = []
        self._new_lengths: list[int] = []
        self._messages: deque[str] = deque(maxlen=20)
        self._totals = dict.fromkeys(("env_steps", "simulations", "self_play", "train", "wait", "reanalyze"), 0.0)
        self._rates = {name: RecentRate() for name in (*self._totals, "training_steps")}
        self._speeds: dict[str, float] = {}
        self._memory_mb = 0.0
        self._last_show = self._last_write = 0.0

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the run, over all resumptions."""
        return time.monotonic() - self._began

    def use_actors(self, count: int) -> None:
        """The run has this many self-play actors, in processes of their own."""
        self._num_actors = count

    def event(self, text: str) -> None:
        """Something that the user should know, in words."""
        self._messages.append(text)

    def description(self, network: str) -> None:
        """What the network looks like: written once, with the options."""
        self._writer.write_description(self._config, network)

    def self_play(self, report: SelfPlayReport) -> None:
        """A stretch of self-play."""
        if self._totals["env_steps"] == 0:
            seconds = time.time() - psutil.Process().create_time()
            self.event(f"the first env steps came {seconds:.1f} s after the command")
        self._totals["env_steps"] += report.env_steps
        self._totals["simulations"] += report.simulations
        self._totals["self_play"] += sum(report.seconds.values())
        self._played_version = report.weights_version
        self._games += len(report.episodes)
        self._resigned += report.resigned
        self._tested_resignations += report.resignations_tested
        self._false_resignations += report.resignations_false
        for episode in report.episodes:
            self._returns.append(episode.returns[0])
            self._new_returns.append(episode.returns[0])
            self._new_lengths.append(episode.length)

    def training(self, report: TrainReport) -> None:
        """A stretch of training."""
        self._training_steps = report.training_steps
        self._totals["train"] += report.train_seconds
        self._totals["wait"] += report.wait_seconds
        if report.metrics:
            self._losses = {name: value for name, value in report.metrics.items() if name in METRICS}

    def reanalysis(self, report: ReanalyzeReport) -> None:
        """A stretch of reanalysis."""
        self._totals["reanalyze"] += report.search_seconds

    def buffer(self, status: BufferStatus) -> None:
        """The state of the buffer."""
        self._status = status

    def evaluation(self, env_steps: int, report: EvaluationReport) -> bool:
        """An evaluation of the weights at `env_steps`; answers whether it is the best so far."""
        point = EvaluationPoint.of(
            env_steps,
            report.weights_version,
            self.seconds,
            [episode.returns[0] for episode in report.episodes],
            report.strength,
        )
        self._writer.write_evaluation(point)
        self._writer.write(env_steps, {"evaluation/seconds": report.seconds})
        return self._curve.add_evaluation(point)

    def tick(self) -> None:
        """To be called often: shows and writes what is due."""
        now = time.monotonic()
        if now - self._last_show < _SHOW_SECONDS:
            return
        self._last_show = now
        counters = {**self._totals, "training_steps": float(self._training_steps)}
        self._speeds = {name: self._rates[name].update(now, value) for name, value in counters.items()}
        if now - self._last_write >= _WRITE_SECONDS:
            self._last_write = now
            self._memory_mb = _memory_mb()
            self._write()
        self._view.update(self._present())

    def close(self) -> None:
        """Writes what is left and shows the last state."""
        self._last_show = 0.0
        self._last_write = 0.0
        self.tick()
        self._writer.flush()

    def _waits(self) -> dict[str, float]:
        """Share of its time that each role waits, in [0, 1]."""
        playing = self._speeds.get("self_play", 0.0) / max(1, self._num_actors)
        return {"trainer": min(1.0, self._speeds.get("wait", 0.0)), "self-play": max(0.0, 1.0 - playing)}

    def _bottleneck(self) -> str:
        if self._totals["train"] == 0:
            return "filling the replay buffer before training starts"
        if self._num_actors:
            waits = self._waits()
            return bottleneck({"trainer": (waits["trainer"], "data"), "self-play": (waits["self-play"], "training")})
        names = {"train": "training", "reanalyze": "reanalysis", "self_play": "self-play"}
        slowest = max(names, key=lambda name: self._speeds.get(name, 0.0))
        return f"one process: {names[slowest]} takes {self._speeds.get(slowest, 0.0):.0%} of the time"

    def _present(self) -> Status:
        status = self._status
        return Status(
            game=self._config.game,
            env_steps=status.env_steps if status else 0,
            budget=self._config.train.env_steps,
            training_steps=self._training_steps,
            seconds=self.seconds,
            env_steps_per_s=self._speeds.get("env_steps", 0.0),
            simulations_per_s=self._speeds.get("simulations", 0.0),
            training_steps_per_s=self._speeds.get("training_steps", 0.0),
            replay_ratio_wanted=self._config.train.replay_ratio,
            replay_ratio_held=status.held_ratios["train"] if status else 0.0,
            buffer_steps=status.num_steps if status else 0,
            buffer_capacity=self._config.replay.capacity_steps,
            buffer_mb=status.memory_bytes / 1e6 if status else 0.0,
            memory_mb=self._memory_mb,
            episode_returns=tuple(self._returns),
            evaluations=tuple(self._curve.evaluations),
            bottleneck=self._bottleneck(),
            messages=tuple(self._messages),
        )

    def _write(self) -> None:
        status = self._status
        if status is None:
            return
        waits = self._waits()
        values = {
            "progress/training_steps": self._training_steps,
            "progress/seconds": self.seconds,
            "progress/games": self._games,
            "self_play/weights_lag": self._training_steps - self._played_version,
            "replay/steps": status.num_steps,
            "replay/memory": status.memory_bytes / 1e6,
            "replay/ratio": status.held_ratios["train"],
            "reanalyze/ratio": status.held_ratios.get("reanalyze", 0.0),
            "speed/env_steps": self._speeds["env_steps"],
            "speed/simulations": self._speeds["simulations"],
            "speed/training_steps": self._speeds["training_steps"],
            "speed/trainer_waits": waits["trainer"],
            "speed/self_play_waits": waits["self-play"],
            "system/memory": self._memory_mb,
            **self._losses,
        }
        if self._new_returns:
            values["self_play/return"] = sum(self._new_returns) / len(self._new_returns)
            values["self_play/length"] = sum(self._new_lengths) / len(self._new_lengths)
            self._curve.add_episodes(status.env_steps, self._new_returns)
            if self._config.self_play.resign_value is not None:
                values["self_play/resigned"] = self._resigned / len(self._new_returns)
                self._resigned = 0
                if self._tested_resignations:
                    values["self_play/false_resignations"] = self._false_resignations / self._tested_resignations
            self._new_returns, self._new_lengths = [], []
        self._writer.write(status.env_steps, values)


def _memory_mb() -> float:
    """Resident memory of this process and all it started, Ray's processes included, in MB."""
    process = psutil.Process()
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_info().rss
        except psutil.Error:  # it has just ended
            continue
    return total / 1e6
