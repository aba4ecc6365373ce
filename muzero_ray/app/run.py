"""One run from its first step to its last file: starts the system, watches it, checkpoints, evaluates, reports.

The same for a run in one process and a run over Ray; what differs is `LocalRun` and `DistributedRun`.
"""

import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

from muzero_ray.actors import build, names
from muzero_ray.app import report
from muzero_ray.app.checkpoint import remove_leftovers, save_best, save_checkpoint
from muzero_ray.app.checkpoint_reader import Checkpoint, CheckpointError, newest_checkpoint
from muzero_ray.app.curve import Curve
from muzero_ray.app.errors import RunFailed
from muzero_ray.app.live_view import LiveView, duration
from muzero_ray.app.local_run import LocalRun
from muzero_ray.app.metrics import MetricsWriter
from muzero_ray.app.monitor import Monitor
from muzero_ray.app.run_folder import RunFolder
from muzero_ray.app.snapshot import Snapshot
from muzero_ray.core.config import Config
from muzero_ray.core.reports import EvaluationReport
from muzero_ray.core.types import Weights

logger = logging.getLogger(__name__)

_LAST_SNAPSHOT_SECONDS = 30.0
"""How long the end of a run waits for its last snapshot before it is content with the newest on disk."""


class Run(Protocol):
    """What `LocalRun` and `DistributedRun` have in common; see there."""

    @property
    def env_steps(self) -> int: ...
    @property
    def training_steps(self) -> int: ...
    @property
    def finished(self) -> bool: ...
    def step(self) -> None: ...
    def evaluate(self, episodes: int, then: Callable[[EvaluationReport, Weights], None]) -> None: ...
    def take_snapshot(self, then: Callable[[Snapshot], None]) -> None: ...
    def pause(self) -> None: ...
    def close(self) -> None: ...


def train(config: Config, folder: RunFolder, resume: Checkpoint | None) -> int:
    """Trains until the budget is spent, or until Ctrl-C or SIGTERM.

    Args:
        config: of the run, already written to the folder.
        folder: of the run.
        resume: what to continue from; None for a new run.

    Returns:
        The process's exit code: 0 when the budget is spent, 1 when the run failed, 130 or 143 when it was stopped.

    Raises:
        UserError: if the machine cannot do what the configuration asks.
    """
    remove_leftovers(folder)
    snapshot = read_snapshot(resume) if resume else None
    _say(f"run folder       {folder.path}")
    _say(f"watch it         tensorboard --logdir {config.results} --bind_all")
    if resume:
        _say(f"continues from   env step {resume.env_steps:,}, training step {resume.training_steps:,}")
    curve = Curve(folder.curve, resume.env_steps if resume else None)
    writer = MetricsWriter(folder, resume.env_steps if resume else None)
    with _stop_signals() as stop, LiveView() as view:
        monitor = Monitor(config, curve, writer, view, resume.seconds if resume else 0.0)
        active = (_local if config.num_actors == 0 else _distributed)(config, folder, monitor, snapshot)
        if snapshot is None:
            writer.write_description(config, build.describe_network(config))
        session = _Session(config, folder, active, monitor, curve)
        stop.install()
        try:
            code = session.run(stop)
        finally:
            monitor.close()
            active.close()
            writer.close()
            curve.close()
    for line in session.outcome:
        _say(line)
    return code


def read_snapshot(checkpoint: Checkpoint) -> Snapshot:
    """Reads all of a checkpoint.

    Raises:
        CheckpointError: if a part of it cannot be read safely.
    """
    return Snapshot(
        env_steps=checkpoint.env_steps,
        training_steps=checkpoint.training_steps,
        learner=checkpoint.learner_bytes(),
        weights=checkpoint.weights(),
        buffer=checkpoint.buffer_state(),
        limiter=checkpoint.manifest["limiter"],
        starts=checkpoint.manifest["starts"],
    )


class _Session:
    """The loop of a run, with what is due when."""

    def __init__(self, config: Config, folder: RunFolder, active: Run, monitor: Monitor, curve: Curve) -> None:
        self._config = config
        self._folder = folder
        self._active = active
        self._monitor = monitor
        self._curve = curve
        self._evaluating = False
        self._saving = False
        self._saved_at = time.monotonic()
        evaluated = curve.evaluations[-1].env_steps if curve.evaluations else 0
        self._next_evaluation = (evaluated // config.evaluate.interval + 1) * config.evaluate.interval
        self.outcome: list[str] = []

    def run(self, stop: "StopRequest") -> int:
        """Steps the run to its end; answers the exit code."""
        try:
            while not self._active.finished and not stop.signal:
                self._active.step()
                self._monitor.tick()
                self._evaluate_if_due()
                self._save_if_due()
            if stop.signal:
                return self._leave(stop)
            self._finish(stop)
            return 0 if not stop.signal else self._leave(stop)
        except Exception as error:  # whatever went wrong, what was trained is kept and the cause is told
            return self._fail(error)

    def _evaluate_if_due(self) -> None:
        if self._active.env_steps >= self._next_evaluation and not self._evaluating:
            interval = self._config.evaluate.interval
            self._next_evaluation = (self._active.env_steps // interval + 1) * interval
            self._evaluate(self._config.evaluate.episodes)

    def _evaluate(self, episodes: int) -> None:
        self._evaluating = True
        env_steps = self._active.env_steps

        def done(outcome: EvaluationReport, weights: Weights) -> None:
            self._evaluating = False
            if self._monitor.evaluation(env_steps, outcome):
                counters = {"env_steps": env_steps, "training_steps": outcome.weights_version}
                save_best(self._folder, weights, {**counters, "seconds": self._monitor.seconds})

        self._active.evaluate(episodes, done)

    def _save_if_due(self) -> None:
        due = time.monotonic() - self._saved_at >= self._config.system.checkpoint_seconds
        if due and not self._saving and self._active.training_steps > 0:
            self._save()

    def _save(self) -> None:
        self._saving = True

        def done(snapshot: Snapshot) -> None:
            self._saving = False
            self._saved_at = time.monotonic()
            manifest = {
                "env_steps": snapshot.env_steps,
                "training_steps": snapshot.training_steps,
                "seconds": self._monitor.seconds,
                "limiter": snapshot.limiter,
                "starts": snapshot.starts,
                "game": self._config.game,
            }
            written = save_checkpoint(
                self._folder,
                learner_state=snapshot.learner,
                weights=snapshot.weights,
                buffer_state=snapshot.buffer,
                manifest=manifest,
                keep=self._config.system.keep_checkpoints,
            )
            if not written:
                self._monitor.event(f"no checkpoint at training step {snapshot.training_steps}: see the warning above")

        self._active.take_snapshot(done)

    def _save_last(self) -> bool:
        """A last checkpoint, of how things stand now, if it comes in time."""
        deadline = time.monotonic() + _LAST_SNAPSHOT_SECONDS
        self._step_while_saving(deadline)  # one that is under way is older
        if not self._saving:
            self._save()
        self._step_while_saving(deadline)
        return not self._saving

    def _step_while_saving(self, deadline: float) -> None:
        while self._saving and time.monotonic() < deadline:
            self._active.step()

    def _finish(self, stop: "StopRequest") -> None:
        """The end of the budget: the last checkpoint, the final evaluation and the report."""
        self._save_last()
        while self._evaluating and not stop.signal:
            self._active.step()
        episodes = self._config.evaluate.final_episodes
        self._monitor.event(f"final evaluation over {episodes} episodes")
        self._evaluate(episodes)
        while self._evaluating and not stop.signal:
            self._active.step()
            self._monitor.tick()
        if not stop.signal:
            self._report()

    def _report(self) -> None:
        summary = self._write_summary(finished=True)
        if self._config.evaluate.video:
            self._write_video()
        mean, interval = summary["mean"], summary["ci95"]
        spread = f" (95% interval {interval[0]:.1f} to {interval[1]:.1f})" if interval else ""
        self.outcome += [
            f"final evaluation {mean:.1f}{spread} over {len(summary['returns'])} episodes",
            f"after            {summary['env_steps']:,} env steps, {summary['training_steps']:,} training steps, "
            f"{duration(summary['seconds'])}",
            f"results          {self._folder.path}",
        ]

    def _write_summary(self, finished: bool) -> dict[str, Any]:
        active = self._active
        summary = report.summarize(
            self._config,
            self._curve,
            env_steps=active.env_steps,
            training_steps=active.training_steps,
            seconds=self._monitor.seconds,
        )
        summary["finished"] = finished
        report.write_summary(self._folder, summary)
        title = f"{self._config.game}, seed {self._config.seed}"
        report.draw_learning_curve(self._folder.learning_curve, self._curve, title)
        return summary

    def _write_video(self) -> None:
        from muzero_ray.app.video import record_video  # here, since only the end of a run needs it

        try:
            record_video(self._config, newest_checkpoint(self._folder).weights(), self._folder.video)
        except Exception as error:  # a video is an extra: without it the run is still complete
            self.outcome.append(f"no video         {type(error).__name__}: {error}")

    def _leave(self, stop: "StopRequest") -> int:
        """Ctrl-C or SIGTERM: the last checkpoint, and how to go on."""
        self._monitor.event("stopping: the last checkpoint is written (once more leaves at once)")
        self._monitor.tick()
        self._active.pause()
        saved = self._save_last()
        self._write_summary(finished=False)
        self.outcome += self._where_it_stands(saved)
        return 128 + int(stop.signal or 0)

    def _fail(self, error: Exception) -> int:
        """The run cannot go on: keeps what can be kept, and names the cause."""
        logger.debug("the run failed", exc_info=error)
        self._keep_failed_batch(error)
        self._active.pause()
        try:
            # An actor that holds a part of the state and is gone for good will never give it.
            can_save = not (isinstance(error, RunFailed) and error.role in names.STATE_HOLDERS)
            saved = can_save and self._active.training_steps > 0 and self._save_last()
            self._write_summary(finished=False)
        except Exception as second:  # the actor that failed may be one of those that hold the state
            self.outcome.append(f"no new checkpoint: {second}")
            saved = False
        self.outcome.append(f"error: {_cause_in_words(error)}")
        self.outcome += self._where_it_stands(saved)
        return 1

    def _keep_failed_batch(self, error: Exception) -> None:
        cause = error.cause if isinstance(error, RunFailed) else error
        batch = getattr(cause, "batch", None)
        if batch is not None:
            from muzero_ray.nn.batch_file import save_batch

            path = self._folder.path / "nonfinite_batch.npz"
            save_batch(path, batch)
            self.outcome.append(f"the batch that did it was saved to {path}")

    def _where_it_stands(self, saved: bool) -> list[str]:
        try:
            newest = newest_checkpoint(self._folder)
        except CheckpointError:
            return [f"stopped at env step {self._active.env_steps:,}, before the first checkpoint"]
        when = "saved at" if saved else "the newest checkpoint is of"
        return [
            f"{when} env step {newest.env_steps:,}, training step {newest.training_steps:,}",
            f"go on with: python train.py --resume {self._folder.path}",
        ]


@dataclass
class StopRequest:
    """Whether somebody wants the run to stop: the first signal asks, the second insists."""

    signal: int | None = None

    def install(self) -> None:
        """Takes SIGINT and SIGTERM, from whoever had them: Ray installs handlers of its own when it starts."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def _stop_signals() -> Iterator[StopRequest]:
    """Gives the signals back afterwards, for whoever calls `train` from a program of their own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield StopRequest()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _local(config: Config, folder: RunFolder, monitor: Monitor, snapshot: Snapshot | None) -> Run:
    device, threads = config.system.device, config.system.trainer_threads
    if device == "auto":
        import torch  # the learner is about to import it anyway

        device = "cuda" if torch.cuda.is_available() else "cpu"
    _say(f"plan             everything in this process, training on {device}, threads: {threads}")
    return LocalRun(config, threads, device, monitor, snapshot)


def _distributed(config: Config, folder: RunFolder, monitor: Monitor, snapshot: Snapshot | None) -> Run:
    from muzero_ray.app import cluster  # here and below, so that a run in one process needs no Ray
    from muzero_ray.app.distributed_run import DistributedRun

    joined = cluster.connect(config)
    plan = cluster.make_plan(config, joined)
    monitor.use_actors(plan.num_actors)
    _say(f"cluster          {joined}")
    if joined.dashboard:
        _say(f"dashboard        {joined.dashboard}  (it asks for the token that `ray get-auth-token` prints)")
    _say(f"plan             {plan}")

    def newest() -> Snapshot | None:
        try:
            return read_snapshot(newest_checkpoint(folder))
        except CheckpointError:
            return None

    return DistributedRun(config, joined, plan, monitor, newest, snapshot)


def _cause_in_words(error: Exception) -> str:
    """The cause as its own author would tell it: with a traceback if it is our bug or a game's."""
    if isinstance(error, RunFailed) and error.__cause__ is not None:
        return f"{error}\n\n{error.__cause__}"
    if isinstance(error, RunFailed):
        return str(error)
    import traceback

    return "".join(traceback.format_exception(error)).rstrip()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
