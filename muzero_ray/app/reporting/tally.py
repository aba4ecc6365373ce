"""`Tally`: what the roles of a run have reported, added up, as counters, speeds and shares.

Pure arithmetic over reports. Who is told of it, and when, is the monitor's affair.
"""

from collections import deque
from collections.abc import Mapping
from statistics import fmean as mean

from muzero_ray.app.reporting.live_view import RecentRate, bottleneck, time_left
from muzero_ray.app.reporting.metrics import METRICS
from muzero_ray.core.reports import BufferStatus, ReanalyzeReport, TrainReport
from muzero_ray.core.types import SelfPlayReport

_RETURNS_KEPT = 200
_PACE_SECONDS = 10.0
"""How long the pace of a run is watched before it is believed: games come in bursts."""
_TIMED = {"add": "replay/add_seconds", "sample": "replay/sample_seconds", "search": "self_play/search_seconds"}
"""Names of the metrics that are means of what is timed."""


class Tally:
    """The numbers of a run up to now.

    Counters are exact, and never go back: restored after a crash, the roles count again what they had counted before.
    Speeds are over the last half minute.

    Args:
        segment_moves: of a stretch of self-play, whose search is timed.
        training_steps: of the run before it was resumed.

    Attributes:
        num_actors: self-play actors in processes of their own; 0 where everything is in one.
        env_steps: in the buffer's count.
        training_steps: batches learnt from.
        status: the buffer's newest, or None.
        trajectories: that were stored.
        left_out: of which the buffer had all already.
        refused: that could not be stored.
        evaluations: how many there were.
        batches_ready: for the trainer.
        returns: of the games that self-play finished lately, oldest first.
        new_returns: of those since `forget_new`.
        new_times: seconds that single calls took since `forget_new`, by what was called.
    """

    def __init__(self, segment_moves: int, training_steps: int = 0) -> None:
        self.num_actors = 0
        self.env_steps = 0
        self.training_steps = training_steps
        self.status: BufferStatus | None = None
        self.trajectories = self.left_out = self.refused = 0
        self.evaluations = 0
        self.batches_ready = 0
        self.returns: deque[float] = deque(maxlen=_RETURNS_KEPT)
        self._segment_moves = segment_moves
        self._present_training_steps = training_steps  # of the trainer as it is; goes back with it
        self._played_version = training_steps
        self._games = 0
        self._tested_resignations = self._false_resignations = 0
        self._losses: dict[str, float] = {}
        self._totals = dict.fromkeys(("env_steps", "simulations", "self_play", "train", "wait", "reanalyze"), 0.0)
        self._rates = {name: RecentRate() for name in (*self._totals, "training_steps")}
        self._speeds: dict[str, float] = {}
        self._pace = 0.0  # env steps per second
        self._pace_since: float | None = None
        self._pace_rate = RecentRate()
        self.forget_new()

    def forget_new(self) -> None:
        """What was new has been written."""
        self.new_returns: list[float] = []
        self.new_times: dict[str, list[float]] = {what: [] for what in _TIMED}
        self._new_lengths: list[int] = []
        self._new_resigned = 0

    @property
    def has_played(self) -> bool:
        """Whether a stretch of self-play was reported."""
        return self._totals["env_steps"] > 0

    def self_play(self, report: SelfPlayReport) -> None:
        """A stretch of self-play."""
        self._totals["env_steps"] += report.env_steps
        self._totals["simulations"] += report.simulations
        self._totals["self_play"] += sum(report.seconds.values())
        if "search" in report.seconds:
            self.new_times["search"].append(report.seconds["search"] / self._segment_moves)
        self._played_version = report.weights_version
        self._games += len(report.episodes)
        self._new_resigned += report.resigned
        self._tested_resignations += report.resignations_tested
        self._false_resignations += report.resignations_false
        for episode in report.episodes:
            self.returns.append(episode.returns[0])
            self.new_returns.append(episode.returns[0])
            self._new_lengths.append(episode.length)

    def training(self, report: TrainReport) -> None:
        """A stretch of training."""
        self._present_training_steps = report.training_steps
        self.training_steps = max(self.training_steps, report.training_steps)
        self._totals["train"] += report.train_seconds
        self._totals["wait"] += report.wait_seconds
        self.batches_ready = report.batches_ready
        if report.metrics:
            self._losses = {name: value for name, value in report.metrics.items() if name in METRICS}

    def reanalysis(self, report: ReanalyzeReport) -> None:
        """A stretch of reanalysis."""
        self._totals["reanalyze"] += report.search_seconds

    def buffer(self, status: BufferStatus) -> None:
        """The state of the buffer."""
        self.status = status
        self.env_steps = max(self.env_steps, status.env_steps)
        self.trajectories += status.trajectories_added
        self.left_out += status.trajectories_left_out
        self.refused += status.trajectories_refused
        self.new_times["add"] += status.add_seconds
        self.new_times["sample"] += status.sample_seconds

    def measure_speeds(self, now: float) -> None:
        """To be called now and then, with the seconds of a clock that never goes back."""
        counters = {**self._totals, "training_steps": float(self._present_training_steps)}
        self._speeds = {name: self._rates[name].update(now, value) for name, value in counters.items()}
        if self._totals["train"] > 0:
            self._pace_since = now if self._pace_since is None else self._pace_since
            pace = self._pace_rate.update(now, self._totals["env_steps"])
            self._pace = pace if now - self._pace_since >= _PACE_SECONDS else 0.0

    def seconds_left(self, budget: int) -> float | None:
        """Until so many env steps are played, at the pace since training sets it; None if that is not known yet.

        While the buffer is filled self-play waits for nothing, and its speed says little of what is to come.
        """
        return time_left(self.env_steps, budget, self._pace)

    def speed(self, what: str) -> float:
        """How many "env_steps", "simulations" and "training_steps" there are a second; of "self_play", "train", "wait"
        and "reanalyze", how many seconds all who do it spend in a second."""
        return self._speeds.get(what, 0.0)

    def waits(self) -> dict[str, float]:
        """Share of its time that each role waits, in [0, 1]."""
        playing = self.speed("self_play") / max(1, self.num_actors)
        return {"trainer": min(1.0, self.speed("wait")), "self-play": max(0.0, 1.0 - playing)}

    def bottleneck(self) -> str:
        """The sentence that says what holds the run up."""
        if self._totals["train"] == 0:
            return "filling the replay buffer before training starts"
        if self.num_actors:
            waits = self.waits()
            return bottleneck({"trainer": (waits["trainer"], "data"), "self-play": (waits["self-play"], "training")})
        names = {"train": "training", "reanalyze": "reanalysis", "self_play": "self-play"}
        slowest = max(names, key=self.speed)
        return f"one process: {names[slowest]} takes {self.speed(slowest):.0%} of the time"

    def metrics(self, status: BufferStatus) -> dict[str, float]:
        """Numbers by the names of `metrics.METRICS`; those that are means, of what is new."""
        waits = self.waits()
        values: dict[str, float] = {
            "progress/env_steps": self.env_steps,
            "progress/training_steps": self.training_steps,
            "progress/games": self._games,
            "evaluation/count": self.evaluations,
            "self_play/weights_lag": self._present_training_steps - self._played_version,
            "replay/steps": status.num_steps,
            "replay/memory": status.memory_bytes / 1e6,
            "replay/trajectories": self.trajectories,
            "replay/left_out": self.left_out,
            "replay/refused": self.refused,
            "replay/ratio": status.held_ratios["train"],
            "reanalyze/ratio": status.held_ratios.get("reanalyze", 0.0),
            "speed/env_steps": self.speed("env_steps"),
            "speed/simulations": self.speed("simulations"),
            "speed/training_steps": self.speed("training_steps"),
            "speed/trainer_waits": waits["trainer"],
            "speed/self_play_waits": waits["self-play"],
            "queue/batches": self.batches_ready,
            **{_TIMED[what]: mean(times) for what, times in self.new_times.items() if times},
            **self._losses,
        }
        if status.weights_lag is not None:
            values["replay/weights_lag"] = status.weights_lag
        if self.new_returns:
            values["self_play/return"] = mean(self.new_returns)
            values["self_play/length"] = mean(self._new_lengths)
        return values

    def resignations(self) -> Mapping[str, float]:
        """Of the games that are new, which share was given up, and of all that were tested, which share falsely."""
        if not self.new_returns:
            return {}
        values = {"self_play/resigned": self._new_resigned / len(self.new_returns)}
        if self._tested_resignations:
            values["self_play/false_resignations"] = self._false_resignations / self._tested_resignations
        return values
