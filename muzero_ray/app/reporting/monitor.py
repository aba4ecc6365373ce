"""Turns what the roles report into what people see: the live view, TensorBoard, Prometheus, and the run's files.

Told of everything, decides nothing. What the reports add up to is worked out by `tally.Tally`.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import fmean as mean

import psutil

from muzero_ray.actors.names import role_of
from muzero_ray.app.memory_watch import halved_in_words
from muzero_ray.app.reporting.curve import Curve, EvaluationPoint
from muzero_ray.app.reporting.live_view import LiveView, Status
from muzero_ray.app.reporting.memory_use import memory_in_use_mb
from muzero_ray.app.reporting.metrics import MetricsWriter, evaluation_values
from muzero_ray.app.reporting.ray_metrics import RayMetrics
from muzero_ray.app.reporting.status_file import ActorHealth, State, StatusFile
from muzero_ray.app.reporting.tally import Tally
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus, EvaluationReport, ReanalyzeReport, TrainReport
from muzero_ray.core.types import SelfPlayReport

logger = logging.getLogger(__name__)

_WRITE_SECONDS = 5.0
_SHOW_SECONDS = 0.5
_CLIPPED_SHARE, _CLIPPED_REPORTS = 0.02, 5
"""Of the targets of a batch, in so many reports in a row: more than the odd target that lies far out."""


class Monitor:
    """The present state of a run.

    Args:
        config: of the run.
        curve: of the run, with what was evaluated before it was resumed.
        writer: to TensorBoard.
        view: what the user watches.
        seconds_before: wall-clock seconds of the run before it was resumed.
        status_file: what `muzero-ray status` reads; None writes none.
        training_steps_before: training steps of the run before it was resumed.
    """

    def __init__(
        self,
        config: Config,
        curve: Curve,
        writer: MetricsWriter,
        view: LiveView,
        seconds_before: float = 0.0,
        status_file: StatusFile | None = None,
        training_steps_before: int = 0,
    ) -> None:
        self._config = config
        self._tally = Tally(config.self_play.segment_moves, training_steps_before)
        self._curve = curve
        self._writer = writer
        self._view = view
        self._status_file = status_file
        self._ray_metrics: RayMetrics | None = None
        self._health: Callable[[], Mapping[str, ActorHealth]] = dict
        self._state: State = "running"
        self._cause = ""
        self._began = time.monotonic() - seconds_before
        self._messages: deque[str] = deque(maxlen=20)
        self._notes_told: set[str] = set()
        self._often_clipped: Counter[str] = Counter()  # reports in a row
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
        self._tally.num_actors = count

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

    def note(self, text: str) -> None:
        """As `trouble`, but told once: every role and every actor may say the same."""
        if text not in self._notes_told:
            self._notes_told.add(text)
            self.trouble(text)

    def ended(self, state: State, cause: str = "") -> None:
        """How the run ended; what was wrong, if it failed."""
        self._state, self._cause = state, cause

    def description(self, network: str) -> None:
        """What the network looks like: written once, with the options."""
        self._writer.write_description(self._config, network)

    def self_play(self, report: SelfPlayReport) -> None:
        """A stretch of self-play."""
        if not self._tally.has_played:
            seconds = time.time() - psutil.Process().create_time()
            self.event(f"the first env steps came {seconds:.1f} s after the command")
        for note in report.notes:
            self.note(note)
        self._tally.self_play(report)

    def training(self, report: TrainReport) -> None:
        """A stretch of training."""
        self._tally.training(report)
        for what in ("value", "reward"):
            if (share := report.metrics.get(f"train/{what}_clipped")) is not None:  # a stretch may have waited only
                self._look_at_support(what, share)

    def _look_at_support(self, what: str, share: float) -> None:
        """Says so, once, when many targets lie beyond what the network can tell, which learning curves do not show."""
        self._often_clipped[what] += 1
        if share <= _CLIPPED_SHARE:
            self._often_clipped[what] = 0
        note = f"network.{what}_support"
        if self._often_clipped[what] == _CLIPPED_REPORTS and note not in self._notes_told:
            self._notes_told.add(note)
            low, high = getattr(self._config.network, f"{what}_support")
            self.trouble(
                f"{share:.0%} of the {what} targets lie beyond network.{what}_support [{low:g}, {high:g}] and are cut "
                "to it: widen it, or scale the game's rewards"
            )

    def reanalysis(self, report: ReanalyzeReport) -> None:
        """A stretch of reanalysis."""
        self._tally.reanalysis(report)

    def buffer(self, status: BufferStatus) -> None:
        """The state of the buffer."""
        self._tally.buffer(status)
        if status.trajectories_refused:
            self.trouble(
                f"trajectories that could not be stored were set aside, {self._tally.refused} so far: see quarantine/ "
                "in the run's folder, and logs/replay_buffer.log for the reasons"
            )

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
        self._tally.evaluations += 1
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
        self._tally.measure_speeds(now)
        if now - self._last_write >= _WRITE_SECONDS:
            self._last_write = now
            self._memory_mb = memory_in_use_mb()
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

    def _present(self) -> Status:
        tally = self._tally
        status = tally.status
        return Status(
            game=self._config.game,
            env_steps=tally.env_steps,
            budget=self._config.train.env_steps,
            training_steps=tally.training_steps,
            seconds=self.seconds,
            seconds_left=tally.seconds_left(self._config.train.env_steps),
            env_steps_per_s=tally.speed("env_steps"),
            simulations_per_s=tally.speed("simulations"),
            training_steps_per_s=tally.speed("training_steps"),
            replay_ratio_wanted=self._config.train.replay_ratio,
            replay_ratio_held=status.held_ratios["train"] if status else 0.0,
            buffer_steps=status.num_steps if status else 0,
            buffer_capacity=self._config.replay.capacity_steps,
            buffer_mb=status.memory_bytes / 1e6 if status else 0.0,
            memory_mb=self._memory_mb,
            episode_returns=tuple(tally.returns),
            evaluations=tuple(self._curve.evaluations),
            bottleneck=tally.bottleneck(),
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
                "weights_lag": self._tally.status.weights_lag if self._tally.status else None,
                "deliveries_waiting": _deliveries(health),
                "batches_ready": self._tally.batches_ready,
                "actors": {name: asdict(found) for name, found in health.items()},
            }
        )

    def _export(self, values: Mapping[str, float], health: Mapping[str, ActorHealth]) -> None:
        """Gauges, counters and histograms for Prometheus."""
        if self._ray_metrics is None:
            return
        self._ray_metrics.set(values)
        self._ray_metrics.count_to("trajectories_added", self._tally.trajectories)
        self._ray_metrics.count_to("trajectories_left_out", self._tally.left_out)
        self._ray_metrics.count_to("evaluations", self._tally.evaluations)
        for role in {role_of(name) for name in health}:
            restarts = sum(found.restarts for name, found in health.items() if role_of(name) == role)
            self._ray_metrics.count_to("restarts", restarts, role)
        for what, times in self._tally.new_times.items():
            self._ray_metrics.observe(f"{what}_latency_seconds", times)

    def _write(self, health: Mapping[str, ActorHealth]) -> None:
        tally = self._tally
        if tally.status is None:
            return
        values = {
            **tally.metrics(tally.status),
            "progress/seconds": self.seconds,
            "queue/deliveries": _deliveries(health),
            "system/restarts": sum(found.restarts for found in health.values()),
            "system/memory": self._memory_mb,
            "system/memory_share": self._memory_share,
            "system/memory_shed": self._shed,
        }
        if self._config.self_play.resign_value is not None:
            values |= tally.resignations()
        if tally.new_returns:
            self._curve.add_episodes(tally.env_steps, tally.new_returns)
        self._writer.write(tally.env_steps, values)
        self._export(values, health)
        tally.forget_new()


def _deliveries(health: Mapping[str, ActorHealth]) -> int:
    """Deliveries that the buffer has not acknowledged."""
    return sum(found.calls.get("add", 0) for found in health.values())
