"""Turns what the roles report into what people see: the live view, TensorBoard, Prometheus, and the run's files.

Told of everything, decides nothing. Counters are exact; rates are over the last half minute.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean as mean

import psutil

from muzero_ray.actors.names import role_of
from muzero_ray.app.curve import Curve, EvaluationPoint
from muzero_ray.app.live_view import LiveView, RecentRate, Status, bottleneck
from muzero_ray.app.memory_watch import halved_in_words
from muzero_ray.app.metrics import METRICS, MetricsWriter, evaluation_values
from muzero_ray.app.ray_metrics import RayMetrics
from muzero_ray.app.status_file import ActorHealth, State, StatusFile
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus, EvaluationReport, ReanalyzeReport, TrainReport
from muzero_ray.core.types import SelfPlayReport

logger = logging.getLogger(__name__)

_WRITE_SECONDS = 5.0
_SHOW_SECONDS = 0.5
_RETURNS_SHOWN = 200
_TIMED = {"add": "replay/add_seconds", "sample": "replay/sample_seconds", "search": "self_play/search_seconds"}
"""Names of the metrics that are means of what is timed."""


class Monitor:
    """The present state of a run.

    Args:
        config: of the run.
        curve: of the run, with what was evaluated before it was resumed.
        writer: to TensorBoard.
        view: what the user watches.
        seconds_before: wall-clock seconds of the run before it was resumed.
        status_file: what `muzero-ray status` reads; None writes none.
    """

    def __init__(
        self,
        config: Config,
        curve: Curve,
        writer: MetricsWriter,
        view: LiveView,
        seconds_before: float = 0.0,
        status_file: StatusFile | None = None,
    ) -> None:
        self._config = config
        self._num_actors = 0  # everything in one process, until told otherwise
        self._curve = curve
        self._writer = writer
        self._view = view
        self._status_file = status_file
        self._ray_metrics: RayMetrics | None = None
        self._health: Callable[[], Mapping[str, ActorHealth]] = dict
        self._state: State = "running"
        self._cause = ""
        self._began = time.monotonic() - seconds_before
        self._status: BufferStatus | None = None
        self._training_steps = 0
        # What is shown never goes back: restored after a crash, the roles count again what they had counted before.
        self._shown_env_steps = self._shown_training_steps = 0
        self._played_version = 0
        self._games = 0
        self._resigned = self._tested_resignations = self._false_resignations = 0
        self._losses: dict[str, float] = {}
        self._batches_ready = 0
        self._evaluations = 0
        self._trajectories = self._left_out = self._refused = 0
        self._new_times: dict[str, list[float]] = {what: [] for what in _TIMED}  # since they were last written
        self._returns: deque[float] = deque(maxlen=_RETURNS_SHOWN)
        self._new_returns: list[float] = []
        self._new_lengths: list[int] = []
        self._messages: deque[str] = deque(maxlen=20)
        self._notes_told: set[str] = set()
        self._totals = dict.fromkeys(("env_steps", "simulations", "self_play", "train", "wait", "reanalyze"), 0.0)
        self._rates = {name: RecentRate() for name in (*self._totals, "training_steps")}
        self._speeds: dict[str, float] = {}
        self._memory_mb = 0.0
        self._memory_share = 0.0
        self._shed = 0
        self._last_show = self._last_write = 0.0

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the run, over all resumptions."""
        return time.monotonic() - self._began

    def use_actors(self, count: int) -> None:
        """The run has this many self-play actors, in processes of their own."""
        self._num_actors = count

    def export_to(self, ray_metrics: RayMetrics) -> None:
        """Exports all numbers for Prometheus, too."""
        self._ray_metrics = ray_metrics

    def watch_actors(self, health: Callable[[], Mapping[str, ActorHealth]]) -> None:
        """Asks this, at the rate of writing, how the actors are, by name."""
        self._health = health

    def event(self, text: str) -> None:
        """Something that the user should know, in words."""
        self._messages.append(text)
        logger.info(text, extra={"shown": True})

    def announce(self, text: str) -> None:
        """As `event`, and shown at once: what follows may take its time."""
        self.event(text)
        self._last_show = 0.0
        self.tick()

    def trouble(self, text: str) -> None:
        """Something that went wrong, and that the run copes with, in words."""
        self._messages.append(text)
        logger.warning(text, extra={"shown": True})

    def ended(self, state: State, cause: str = "") -> None:
        """How the run ended; what was wrong, if it failed."""
        self._state, self._cause = state, cause

    def description(self, network: str) -> None:
        """What the network looks like: written once, with the options."""
        self._writer.write_description(self._config, network)

    def self_play(self, report: SelfPlayReport) -> None:
        """A stretch of self-play."""
        if self._totals["env_steps"] == 0:
            seconds = time.time() - psutil.Process().create_time()
            self.event(f"the first env steps came {seconds:.1f} s after the command")
        for note in set(report.notes) - self._notes_told:  # every actor may say the same
            self._notes_told.add(note)
            self.trouble(note)
        self._totals["env_steps"] += report.env_steps
        self._totals["simulations"] += report.simulations
        self._totals["self_play"] += sum(report.seconds.values())
        if "search" in report.seconds:
            self._new_times["search"].append(report.seconds["search"] / self._config.self_play.segment_moves)
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
        self._shown_training_steps = max(self._shown_training_steps, report.training_steps)
        self._totals["train"] += report.train_seconds
        self._totals["wait"] += report.wait_seconds
        self._batches_ready = report.batches_ready
        if report.metrics:
            self._losses = {name: value for name, value in report.metrics.items() if name in METRICS}

    def reanalysis(self, report: ReanalyzeReport) -> None:
        """A stretch of reanalysis."""
        self._totals["reanalyze"] += report.search_seconds

    def buffer(self, status: BufferStatus) -> None:
        """The state of the buffer."""
        self._status = status
        self._shown_env_steps = max(self._shown_env_steps, status.env_steps)
        self._trajectories += status.trajectories_added
        self._left_out += status.trajectories_left_out
        self._refused += status.trajectories_refused
        if status.trajectories_refused:
            self.trouble(
                f"trajectories that could not be stored were set aside, {self._refused} so far: see quarantine/ in the "
                "run's folder, and logs/replay_buffer.log for the reasons"
            )
        self._new_times["add"] += status.add_seconds
        self._new_times["sample"] += status.sample_seconds

    def memory(self, share: float) -> None:
        """So much of its memory is in use on the fullest machine, in [0, 1]."""
        self._memory_share = share

    def buffer_halved(self) -> None:
        """The buffer gave half of its room back, for want of memory."""
        self._shed += 1
        self.trouble(halved_in_words(self._memory_share))

    def evaluation(self, env_steps: int, report: EvaluationReport) -> bool:
        """An evaluation of the weights at `env_steps`; answers whether it is the best so far."""
        point = EvaluationPoint.of(
            env_steps,
            report.weights_version,
            self.seconds,
            [episode.returns[0] for episode in report.episodes],
            report.strength,
        )
        self._evaluations += 1
        self._writer.write_evaluation(point)
        self._writer.write(env_steps, {"evaluation/seconds": report.seconds})
        if self._ray_metrics is not None:
            self._ray_metrics.set({**evaluation_values(point), "evaluation/seconds": report.seconds})
        logger.info("evaluation of weights %d: mean return %.2f", report.weights_version, point.mean)
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
            health = dict(self._health())
            self._write(health)
            self._write_status(health)
        self._view.update(self._present())

    def close(self) -> None:
        """Writes what is left and shows the last state; a run of which nobody said how it ended was stopped."""
        if self._state == "running":
            self._state = "stopped"
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
            env_steps=self._shown_env_steps,
            budget=self._config.train.env_steps,
            training_steps=self._shown_training_steps,
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

    def _write_status(self, health: Mapping[str, ActorHealth]) -> None:
        if self._status_file is None:
            return
        present = dict(vars(self._present()))
        evaluations, returns = present.pop("evaluations"), present.pop("episode_returns")
        self._status_file.write(
            {
                "state": self._state,
                "cause": self._cause,
                **present,
                "episode_return": mean(returns) if returns else None,
                "evaluations": len(evaluations),
                "weights_lag": self._status.weights_lag if self._status else None,
                "deliveries_waiting": _deliveries(health),
                "batches_ready": self._batches_ready,
                "actors": {name: asdict(found) for name, found in health.items()},
            }
        )

    def _export(self, values: Mapping[str, float], health: Mapping[str, ActorHealth]) -> None:
        """Gauges, counters and histograms for Prometheus."""
        if self._ray_metrics is None:
            return
        self._ray_metrics.set(values)
        self._ray_metrics.count_to("trajectories_added", self._trajectories)
        self._ray_metrics.count_to("trajectories_left_out", self._left_out)
        self._ray_metrics.count_to("evaluations", self._evaluations)
        for role in {role_of(name) for name in health}:
            restarts = sum(found.restarts for name, found in health.items() if role_of(name) == role)
            self._ray_metrics.count_to("restarts", restarts, role)
        for what, times in self._new_times.items():
            self._ray_metrics.observe(f"{what}_latency_seconds", times)

    def _write(self, health: Mapping[str, ActorHealth]) -> None:
        status = self._status
        if status is None:
            return
        waits = self._waits()
        values = {
            "progress/env_steps": self._shown_env_steps,
            "progress/training_steps": self._shown_training_steps,
            "progress/seconds": self.seconds,
            "progress/games": self._games,
            "evaluation/count": self._evaluations,
            "self_play/weights_lag": self._training_steps - self._played_version,
            "replay/steps": status.num_steps,
            "replay/memory": status.memory_bytes / 1e6,
            "replay/trajectories": self._trajectories,
            "replay/left_out": self._left_out,
            "replay/refused": self._refused,
            "replay/ratio": status.held_ratios["train"],
            "reanalyze/ratio": status.held_ratios.get("reanalyze", 0.0),
            "speed/env_steps": self._speeds["env_steps"],
            "speed/simulations": self._speeds["simulations"],
            "speed/training_steps": self._speeds["training_steps"],
            "speed/trainer_waits": waits["trainer"],
            "speed/self_play_waits": waits["self-play"],
            "queue/deliveries": _deliveries(health),
            "queue/batches": self._batches_ready,
            "system/restarts": sum(found.restarts for found in health.values()),
            "system/memory": self._memory_mb,
            "system/memory_share": self._memory_share,
            "system/memory_shed": self._shed,
            **{_TIMED[what]: mean(times) for what, times in self._new_times.items() if times},
            **self._losses,
        }
        if status.weights_lag is not None:
            values["replay/weights_lag"] = status.weights_lag
        if self._new_returns:
            values["self_play/return"] = mean(self._new_returns)
            values["self_play/length"] = mean(self._new_lengths)
            self._curve.add_episodes(self._shown_env_steps, self._new_returns)
            if self._config.self_play.resign_value is not None:
                values["self_play/resigned"] = self._resigned / len(self._new_returns)
                self._resigned = 0
                if self._tested_resignations:
                    values["self_play/false_resignations"] = self._false_resignations / self._tested_resignations
            self._new_returns, self._new_lengths = [], []
        self._writer.write(self._shown_env_steps, values)
        self._export(values, health)
        self._new_times = {what: [] for what in _TIMED}


def _deliveries(health: Mapping[str, ActorHealth]) -> int:
    """Deliveries that the buffer has not acknowledged."""
    return sum(found.calls.get("add", 0) for found in health.values())


def _memory_mb() -> float:
    """Memory of this process and all it started, Ray's processes included, in MB."""
    process = psutil.Process()
    found = []
    for each in (process, *process.children(recursive=True)):
        try:
            memory = each.memory_info()
        except psutil.Error:  # it has just ended
            continue
        found.append((memory.rss, getattr(memory, "shared", 0)))  # only Linux tells what is shared
    return memory_of_all(found) / 1e6


def memory_of_all(processes: Sequence[tuple[int, int]]) -> int:
    """What processes hold together, in bytes, where a page that several share counts once.

    Ray's object store, and the libraries that all have loaded, are shared. All of it is taken to be mapped where
    most is, in the object store's own process: a sum over processes would count a batch once for each of its readers.

    Args:
        processes: resident bytes of each, and how many of them are shared.

    >>> memory_of_all([(50, 10), (90, 60), (30, 20)])
    140
    """
    own = sum(resident - shared for resident, shared in processes)
    return own + max((shared for _, shared in processes), default=0)
