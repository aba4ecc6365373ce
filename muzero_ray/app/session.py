"""The loop of a run, from its first step to its last file: what is due when, and how a run ends.

A run ends by its budget, by what its user wishes (`stopping`), or by a failure. In any case, what was trained is kept.
"""

import logging
import math
import signal
import time
from collections.abc import Callable
from typing import Any

from muzero_ray.actors import names
from muzero_ray.app.errors import RunFailed, cause_in_a_line, cause_in_words
from muzero_ray.app.invocation import train_command
from muzero_ray.app.reporting.curve import Curve
from muzero_ray.app.reporting.monitor import Monitor
from muzero_ray.app.reporting.results import Results
from muzero_ray.app.saving.checkpoint import save_best, save_checkpoint
from muzero_ray.app.saving.checkpoint_reader import Checkpoint, CheckpointError, newest_checkpoint
from muzero_ray.app.saving.remote_copies import RemoteCopies
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.app.saving.snapshot import Snapshot
from muzero_ray.app.start import Run
from muzero_ray.app.stopping import StopRequest, Wish
from muzero_ray.core.config import Config
from muzero_ray.core.reports import EvaluationReport
from muzero_ray.core.types import Weights

logger = logging.getLogger(__name__)

_FAILED_SNAPSHOT_SECONDS = 30.0
"""How long a run that failed waits for a last snapshot: who is to give it may be what failed."""

_LAST_COPY_SECONDS = 600.0
"""How long the end of a run waits until its last checkpoint is copied."""


class Session:
    """Steps a run, and does what is due.

    Args:
        config: of the run.
        folder: of the run.
        active: the run.
        monitor: told of everything that happens.
        curve: of the run.
        stop: what its user wishes.
        protocol: in which it is played, in words.
        copies: of its checkpoints, if there are to be any.
        resumed: the checkpoint that it continues from, if it does.

    Attributes:
        outcome: lines for the user, once the run has ended.
    """

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
        resumed: Checkpoint | None = None,
    ) -> None:
        self._config = config
        self._copies = copies
        self._folder = folder
        self._active = active
        self._monitor = monitor
        self._curve = curve
        self._stop = stop
        self._answered = Wish.GO_ON
        self._evaluating = False
        self._saving = False
        self._written = False  # the newest checkpoint
        self._newest = (resumed.env_steps, resumed.training_steps) if resumed else None
        self._all_saved = False  # what there was at the end
        self._saved_at = time.monotonic()
        evaluated = curve.evaluations[-1].env_steps if curve.evaluations else 0
        self._next_evaluation = (evaluated // config.evaluate.interval + 1) * config.evaluate.interval
        self.outcome: list[str] = []
        self._results = Results(config, folder, curve, protocol, self.outcome)

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
            if self._written:
                self._newest = (snapshot.env_steps, snapshot.training_steps)
            else:
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

    def _save_finished(self) -> bool:
        """A last checkpoint once the budget is spent, unless nothing is new; whether it is written.

        A trainer that dies before it has given its state makes up for what was lost first.
        """
        while True:
            if not self._saving and self._newest == (self._active.env_steps, self._active.training_steps):
                self._all_saved = True
                return True
            saved = self._save_last(self._config.system.stall_seconds)
            if self._active.finished or self._stop.wish >= Wish.SAVE:
                return saved
            self._step_while(lambda: not self._active.finished, Wish.SAVE)

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
            saved = self._save_finished()
            spent = self._active.finished
            self._active.pause(evaluating=self._stop.wish < Wish.SAVE)
        else:
            if self._active.training_steps == 0:  # what nobody has trained needs no evaluation
                self._stop.wish = max(self._stop.wish, Wish.SAVE)
            self._active.pause(evaluating=self._stop.wish < Wish.SAVE)
            self._answer()
            saved = self._save_last(self._config.system.stall_seconds)
        evaluated = self._evaluate_finally()
        summary = self._write_summary(finished=spent and evaluated)
        if evaluated:
            if self._config.evaluate.video:
                self._complete(self._results.write_video, unless=Wish.SAVE)
            self.outcome += self._results.in_words(summary)
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

    def _write_summary(self, finished: bool) -> dict[str, Any]:
        active = self._active
        return self._results.write_summary(
            active.env_steps, active.training_steps, self._monitor.seconds, finished=finished
        )

    def _fail(self, error: Exception) -> int:
        """The run cannot go on: keeps what can be kept, and names the cause."""
        self._answered = Wish.LEAVE  # what is wished was to be asked of a run that goes on
        logger.error("the run failed", exc_info=error, extra={"shown": True})
        self._monitor.ended("failed", cause_in_a_line(error))
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
        self.outcome.append(f"error: {cause_in_words(error)}")
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
