"""One run from its first step to its last file: starts the system, watches it, checkpoints, evaluates, reports.

The same for a run in one process and a run over Ray; what differs is `LocalRun` and `DistributedRun`.
"""

import logging
import math
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from muzero_ray.actors import names
from muzero_ray.actors.logs import Logs, head_logging
from muzero_ray.app import report
from muzero_ray.app.checkpoint import remove_leftovers, save_best, save_checkpoint
from muzero_ray.app.checkpoint_reader import Checkpoint, CheckpointError, newest_checkpoint
from muzero_ray.app.config_io import write_config
from muzero_ray.app.curve import Curve
from muzero_ray.app.errors import RunFailed, UserError, game_in_words
from muzero_ray.app.invocation import train_command
from muzero_ray.app.live_view import LiveView, duration
from muzero_ray.app.metrics import MetricsWriter
from muzero_ray.app.monitor import Monitor
from muzero_ray.app.remote_copies import RemoteCopies, find_copies
from muzero_ray.app.run_folder import RunFolder, game_label
from muzero_ray.app.snapshot import Snapshot
from muzero_ray.app.start import Run, one_process, over_ray, read_snapshot, say, say_protocol
from muzero_ray.app.status_file import StatusFile
from muzero_ray.app.stopping import StopRequest, Wish, stop_signals
from muzero_ray.core.config import Config
from muzero_ray.core.reports import EvaluationReport
from muzero_ray.core.types import Weights

logger = logging.getLogger(__name__)

_FAILED_SNAPSHOT_SECONDS = 30.0
"""How long a run that failed waits for a last snapshot: who is to give it may be what failed."""

_LAST_COPY_SECONDS = 600.0
"""How long the end of a run waits until its last checkpoint is copied."""


def train(config: Config, folder: RunFolder, resume: Checkpoint | None) -> int:
    """Trains until the budget is spent, or until Ctrl-C or SIGTERM.

    Ctrl-C once stops the run with a checkpoint and the final evaluation; twice, and SIGTERM, with a checkpoint; the
    third time it is left at once.

    Args:
        config: of the run; written to the folder once it is known that the run is possible.
        folder: of the run; removed again if a new run cannot begin.
        resume: what to continue from; None for a new run.

    Returns:
        The process's exit code: 0 when the budget is spent, 1 when the run failed, 130 or 143 when it was stopped.

    Raises:
        UserError: if the machine, the game or the disk cannot do what the configuration asks.
    """
    session = None
    try:
        with stop_signals() as stop, ExitStack() as opened:
            with stop.interrupted_by(Wish.EVALUATE):
                session = _start(config, folder, resume, stop, opened)
            code = session.run()
    except (KeyboardInterrupt, SystemExit) as interruption:
        if session is None:
            say("stopped before the run began" + (f"; {folder.path} is as it was" if resume else ""))
        else:
            session.outcome += ["left at once", *session.where_it_stands(saved=False)]
        # While it starts, Ray answers SIGTERM itself, by SystemExit.
        asked = signal.SIGTERM if isinstance(interruption, SystemExit) else signal.SIGINT
        code = 128 + int(stop.signal or asked)
    except (ValueError, MemoryError) as error:
        if session is not None:
            raise
        logger.debug("the run could not begin", exc_info=error)
        raise UserError(game_in_words(error) or str(error)) from error
    finally:
        if session is None and resume is None:
            folder.remove()
    for line in session.outcome if session else ():
        say(line)
    return code


def _start(
    config: Config, folder: RunFolder, resume: Checkpoint | None, stop: StopRequest, opened: ExitStack
) -> "_Session":
    """Begins a run; `opened` holds what is to be closed after it, or after a start that fails half way."""
    snapshot = read_snapshot(resume) if resume else None
    say(f"run folder       {folder.path}")
    say(f"watch it         tensorboard --logdir {config.results} --bind_all")
    if resume:
        say(f"continues from   env step {resume.env_steps:,}, training step {resume.training_steps:,}")
    protocol = say_protocol(config)
    place = None
    if config.system.copy_checkpoints_to is not None:
        place = find_copies(config.system.copy_checkpoints_to, folder, config.game, new=resume is None)
        say(f"copies           {place.uri}")
    make_run = one_process(config) if config.num_actors == 0 else over_ray(config, folder, opened)
    # From here on the run is possible: only now is anything written to the folder of a run that is resumed.
    try:
        opened.enter_context(head_logging(Logs(folder.logs, config.system.log_level)))
        remove_leftovers(folder)
        write_config(folder.config, config)
        curve = Curve(folder.curve, resume.env_steps if resume else None)
        opened.callback(curve.close)
        writer = MetricsWriter(folder, resume.env_steps if resume else None)
        opened.callback(writer.close)
    except OSError as error:
        raise UserError(
            f"results: cannot write to {folder.path} ({error.strerror or error}); make room there"
            + ("" if resume else ", or choose another place with --results FOLDER")
        ) from error
    view = opened.enter_context(LiveView())
    monitor = Monitor(config, curve, writer, view, resume.seconds if resume else 0.0, StatusFile(folder.status))
    active = make_run(monitor, snapshot)
    opened.callback(active.close)
    opened.callback(monitor.close)
    copies = None
    if place is not None:
        copies = RemoteCopies(folder, place, config.system.keep_checkpoints)
        opened.callback(copies.close)
    return _Session(config, folder, active, monitor, curve, stop, protocol, copies)


class _Session:
    """The loop of a run, with what is due when."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        active: Run,
        monitor: Monitor,
        curve: Curve,
        stop: StopRequest,
        protocol: str = "",
        copies: RemoteCopies | None = None,
    ) -> None:
        self._config = config
        self._copies = copies
        self._folder = folder
        self._protocol = protocol
        self._active = active
        self._monitor = monitor
        self._curve = curve
        self._stop = stop
        self._answered = Wish.GO_ON
        self._evaluating = False
        self._saving = False
        self._written = False  # the newest checkpoint
        self._all_saved = False  # what there was at the end
        self._saved_at = time.monotonic()
        evaluated = curve.evaluations[-1].env_steps if curve.evaluations else 0
        self._next_evaluation = (evaluated // config.evaluate.interval + 1) * config.evaluate.interval
        self.outcome: list[str] = []

    def run(self) -> int:
        """Steps the run to its end; answers the exit code.

        Raises:
            KeyboardInterrupt: if it is to be left at once.
        """
        try:
            while not self._active.finished and self._stop.wish == Wish.GO_ON:
                self._active.step()
                self._tick()
                self._evaluate_if_due()
                self._save_if_due()
            code = self._end()
        except Exception as error:  # whatever went wrong, what was trained is kept and the cause is told
            code = self._fail(error)
        self._finish_copies()
        return code

    def _tick(self) -> None:
        self._monitor.tick()
        for text in self._copies.news() if self._copies else ():
            self._monitor.trouble(text)

    def _evaluate_if_due(self) -> None:
        if self._active.env_steps >= self._next_evaluation and not self._evaluating:
            interval = self._config.evaluate.interval
            self._next_evaluation = (self._active.env_steps // interval + 1) * interval
            self._evaluate(self._config.evaluate.episodes, unless=Wish.EVALUATE)

    def _evaluate(self, episodes: int, unless: Wish) -> None:
        """Starts an evaluation; in one process it takes its time, and is given up if so much is wished."""
        self._evaluating = True
        env_steps = self._active.env_steps

        def done(outcome: EvaluationReport, weights: Weights) -> None:
            self._evaluating = False
            with self._stop.interrupted_by(Wish.LEAVE):  # what was found is written
                if self._monitor.evaluation(env_steps, outcome):
                    counters = {"env_steps": env_steps, "training_steps": outcome.weights_version}
                    save_best(self._folder, weights, {**counters, "seconds": self._monitor.seconds})

        if not self._complete(lambda: self._active.evaluate(episodes, self._curve.pairings, done), unless):
            self._evaluating = False

    def _complete(self, work: Callable[[], object], unless: Wish) -> bool:
        """Does what is worth nothing by half, unless so much is wished; whether it was done."""
        try:
            with self._stop.interrupted_by(unless):
                work()
        except KeyboardInterrupt:
            if self._stop.wish == Wish.LEAVE:
                raise
            return False
        return True

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
            self._written = save_checkpoint(
                self._folder,
                learner_state=snapshot.learner,
                weights=snapshot.weights,
                buffer_state=snapshot.buffer,
                manifest=manifest,
                keep=self._config.system.keep_checkpoints,
                spare=self._copies.source if self._copies else None,
            )
            if self._copies:
                self._copies.request()
            if not self._written:
                self._monitor.event(f"no checkpoint at training step {snapshot.training_steps}: see the warning above")

        self._active.take_snapshot(done)

    def _save_last(self, seconds: float) -> bool:
        """A last checkpoint, of how things stand now, if it comes in time; whether it did."""
        deadline = time.monotonic() + seconds
        self._step_while(lambda: self._saving, Wish.LEAVE, deadline)  # one that is under way is older
        if not self._saving:
            self._save()
        self._step_while(lambda: self._saving, Wish.LEAVE, deadline)
        self._all_saved = self._written and not self._saving
        return self._all_saved

    def _step_while(self, waiting: Callable[[], bool], unless: Wish, deadline: float = math.inf) -> None:
        """Steps on for something that is under way, unless so much is wished."""
        while waiting() and self._stop.wish < unless and time.monotonic() < deadline:
            self._active.step()
            self._tick()
            self._answer()

    def _end(self) -> int:
        """The budget is spent, or the run is to stop: the last checkpoint, then the final evaluation and the report."""
        spent = self._active.finished
        if spent:  # as if that had been wished: one press more is the next one
            self._answered = self._stop.wish = max(self._stop.wish, Wish.EVALUATE)
        else:
            if self._active.training_steps == 0:  # what nobody has trained needs no evaluation
                self._stop.wish = max(self._stop.wish, Wish.SAVE)
            self._active.pause(evaluating=self._stop.wish < Wish.SAVE)
        self._answer()
        saved = self._save_last(self._config.system.stall_seconds)
        evaluated = self._evaluate_finally()
        if evaluated:
            self._report(finished=spent)
        else:
            self._write_summary(finished=False)
        if spent and evaluated:
            self._monitor.ended("finished")
            return 0
        self.outcome += self.where_it_stands(saved)
        self._monitor.ended("stopped")
        return 128 + int(self._stop.signal or signal.SIGINT)

    def _finish_copies(self) -> None:
        """Waits until everything is copied, unless it is wished to leave."""
        if self._copies is None:
            return
        self._copies.request()
        self._answered = self._stop.wish = max(self._stop.wish, Wish.SAVE)
        deadline = time.monotonic() + _LAST_COPY_SECONDS
        done = False
        try:
            done = self._copies.wait(1.0)
            if not done:
                uri = self._copies.uri
                self._monitor.announce(f"copying the last checkpoint to {uri} (Ctrl-C leaves without that)")
            while not done and self._stop.wish < Wish.LEAVE and time.monotonic() < deadline:
                done = self._copies.wait(0.5)
                self._tick()
        except KeyboardInterrupt:
            logger.info("left before the last checkpoint was copied")
        if done and not self._copies.failing:
            self.outcome.append(f"copied to        {self._copies.uri}")
        else:
            self.outcome.append(f"not copied       the last checkpoint; {self._copies.uri} may hold older ones")

    def _answer(self) -> None:
        """Says what is done about a new wish, and what wishing more would do."""
        if self._stop.wish <= self._answered:
            return
        self._answered = self._stop.wish
        if self._stop.wish >= Wish.SAVE and self._all_saved:
            told = "leaving without the final evaluation; the last checkpoint is written"
        elif self._stop.wish >= Wish.SAVE:
            told = "stopping: a last checkpoint, and no final evaluation; Ctrl-C once more leaves at once, without both"
        else:
            told = "stopping: a last checkpoint, then the final evaluation; Ctrl-C again leaves without that"
        self._monitor.announce(told)

    def _evaluate_finally(self) -> bool:
        """The final evaluation, unless nobody wants it; whether it came to that."""
        self._step_while(lambda: self._evaluating, Wish.SAVE)
        done = len(self._curve.evaluations)
        if self._stop.wish < Wish.SAVE:
            episodes = self._config.evaluate.final_episodes
            self._monitor.announce(f"final evaluation over {episodes} episodes (Ctrl-C leaves without it)")
            self._evaluate(episodes, unless=Wish.SAVE)
            self._step_while(lambda: self._evaluating, Wish.SAVE)
        self._answer()
        return len(self._curve.evaluations) > done

    def _report(self, finished: bool) -> None:
        summary = self._write_summary(finished)
        if self._config.evaluate.video:
            self._complete(self._write_video, unless=Wish.SAVE)
        mean, interval = summary["mean"], summary["ci95"]
        spread = f" (95% interval {interval[0]:.1f} to {interval[1]:.1f})" if interval else ""
        strength = self._curve.evaluations[-1].strength
        told = f"final evaluation {mean:.1f}{spread} over {len(summary['returns'])} episodes"
        if strength is not None:
            (anchor, *_), (low, high) = strength.ratings, strength.ci95
            told = f"strength         Elo {strength.elo:.0f} (95% interval {low:.0f} to {high:.0f}), {anchor} being 0"
        self.outcome += [
            told,
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
            protocol=self._protocol,
        )
        summary["finished"] = finished
        title = f"{game_label(self._config.game)}, seed {self._config.seed}"
        self._try_to_write("summary", lambda: report.write_summary(self._folder, summary))
        self._try_to_write(
            "picture", lambda: report.draw_learning_curve(self._folder.learning_curve, self._curve, title)
        )
        return summary

    def _write_video(self) -> None:
        from muzero_ray.app.video import record_video  # here, since only the end of a run needs it

        def write() -> None:
            record_video(self._config, newest_checkpoint(self._folder).weights(), self._folder.video)

        self._try_to_write("video", write)

    def _try_to_write(self, what: str, write: Callable[[], object]) -> None:
        """For what is an extra: without it the run is still complete."""
        try:
            write()
        except Exception as error:
            logger.debug("no %s", what, exc_info=error)
            reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            self.outcome.append(f"{f'no {what}':<16} {reason}")

    def _fail(self, error: Exception) -> int:
        """The run cannot go on: keeps what can be kept, and names the cause."""
        self._answered = Wish.LEAVE  # what is wished was to be asked of a run that goes on
        logger.error("the run failed", exc_info=error, extra={"shown": True})
        self._monitor.ended("failed", _cause_in_a_line(error))
        self._keep_failed_batch(error)
        self._active.pause()
        try:
            # An actor that holds a part of the state and is gone for good will never give it.
            can_save = not (isinstance(error, RunFailed) and error.gone and error.role in names.STATE_HOLDERS)
            saved = can_save and self._active.training_steps > 0 and self._save_last(_FAILED_SNAPSHOT_SECONDS)
            self._write_summary(finished=False)
        except Exception as second:  # the actor that failed may be one of those that hold the state
            self.outcome.append(f"no new checkpoint: {second}")
            saved = False
        self.outcome.append(f"error: {_cause_in_words(error)}")
        self.outcome += self.where_it_stands(saved)
        return 1

    def _keep_failed_batch(self, error: Exception) -> None:
        cause = error.cause if isinstance(error, RunFailed) else error
        batch = getattr(cause, "batch", None)
        if batch is not None:
            from muzero_ray.nn.batch_file import save_batch

            path = self._folder.path / "nonfinite_batch.npz"
            save_batch(path, batch)
            self.outcome.append(f"the batch that did it was saved to {path}")

    def where_it_stands(self, saved: bool) -> list[str]:
        """What there is to go on with, and how."""
        try:
            newest = newest_checkpoint(self._folder)
        except CheckpointError:
            return [f"stopped at env step {self._active.env_steps:,}, before the first checkpoint"]
        when = "saved at" if saved else "the newest checkpoint is of"
        return [
            f"{when} env step {newest.env_steps:,}, training step {newest.training_steps:,}",
            f"go on with: {train_command('--resume', str(self._folder.path))}",
        ]


def _cause_in_a_line(error: Exception) -> str:
    """Where there is a traceback, its last line says what it was."""
    lines = _cause_in_words(error).splitlines()
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def _cause_in_words(error: Exception) -> str:
    """The cause as its own author would tell it: with a traceback if it is our bug or a game's."""
    if isinstance(error, RunFailed):
        told = game_in_words(error.cause) if isinstance(error.cause, Exception) else None
        if told:
            return f"{error.role}: {told}"
    elif told := game_in_words(error):
        return told
    if isinstance(error, RunFailed) and error.__cause__ is not None:
        return f"{error}\n\n{error.__cause__}"
    if isinstance(error, RunFailed):
        return str(error)
    import traceback

    return "".join(traceback.format_exception(error)).rstrip()
