"""The head of a distributed run: keeps every actor busy with short stretches of work until the budget is spent.

Nothing here computes. Each actor's answer leads to its next call; what flows between the actors are
references. See `topology.py` for the picture.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError
from ray.util.placement_group import remove_placement_group

from muzero_ray.actors import names
from muzero_ray.actors.logs import Logs
from muzero_ray.actors.memory import Memory, measure
from muzero_ray.app.cluster import Cluster, Plan
from muzero_ray.app.memory_watch import MemoryWatch
from muzero_ray.app.play_flow import PlayFlow
from muzero_ray.app.reporting.monitor import Monitor
from muzero_ray.app.saving.snapshot import Snapshot
from muzero_ray.app.supervisor import Role, Supervisor, nothing
from muzero_ray.app.topology import launch
from muzero_ray.core.config import Config
from muzero_ray.core.reports import (
    EvaluationReport,
    Pairing,
    ReanalyzeReport,
    TrainerStart,
    TrainerState,
    TrainReport,
)
from muzero_ray.core.types import Weights

_STRETCH_SECONDS = 1.0
"""Length of one call of the trainer and of reanalysis; two are kept queued, so that neither idles between."""

_MEASURE = "__ray_call__"
"""The method by which Ray has any actor call a function: here `measure`."""


class DistributedRun:
    """One run over Ray actors.

    Args:
        config: of the run.
        cluster: to which this process is connected.
        plan: what runs where.
        monitor: told of everything that happens.
        newest_snapshot: the newest snapshot on disk, or None: what a crashed actor continues from.
        snapshot: what to continue from; None for a new run.
        logs: where the actors log; None leaves their logging alone.
    """

    def __init__(
        self,
        config: Config,
        cluster: Cluster,
        plan: Plan,
        monitor: Monitor,
        newest_snapshot: Callable[[], Snapshot | None],
        snapshot: Snapshot | None,
        logs: Logs | None = None,
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._monitor = monitor
        self._newest_snapshot = newest_snapshot
        system = config.system
        # Whoever has worked from one checkpoint to the next has made progress that lasts.
        self._supervisor = Supervisor(
            system.max_restarts, system.stall_seconds, monitor.trouble, forgive_seconds=system.checkpoint_seconds
        )
        self._memory_watch = MemoryWatch(config.system.memory_fraction)
        self._actors = launch(config, plan, logs)
        env_steps = snapshot.env_steps if snapshot else 0
        self._playing = PlayFlow(config, self._actors, self._supervisor, monitor, plan.num_actors, env_steps)
        monitor.watch_actors(lambda: self._supervisor.health(self._begun()))
        self._starts = dict(snapshot.starts) if snapshot else {}
        self._training_steps = 0
        self._buffer_restored_at = 0  # training step
        self._training_done = False
        self._pausing = False
        self._actors.buffer.restore = self._restore_buffer
        self._actors.trainer.restore = self._restore_trainer
        self._actors.storage.restore = self._restore_storage
        self._start(snapshot)

    @property
    def env_steps(self) -> int:
        """Env steps in the buffer's count."""
        return self._playing.env_steps

    @property
    def training_steps(self) -> int:
        """Training steps in the trainer's count."""
        return self._training_steps

    @property
    def finished(self) -> bool:
        """Whether the budget is spent and everything has been trained on."""
        return self._training_done

    def step(self) -> None:
        """Waits for news, for half a second at most, and acts on them.

        Raises:
            RunFailed: if an actor failed for good.
        """
        if self._memory_watch.due():
            self._measure_memory()
        self._supervisor.step(timeout=0.5)

    def evaluate(
        self, episodes: int, pairings: Sequence[Pairing], then: Callable[[EvaluationReport, Weights], None]
    ) -> None:
        """Starts an evaluation of the newest weights; `then` gets its outcome during a later `step`.

        For the pairings see `Examiner.evaluate`.
        """

        def done(weights: ray.ObjectRef[Any], report: EvaluationReport | None) -> None:
            try:
                found = ray.get(weights)
            except (ObjectLostError, RayActorError):  # its node was lost after it had answered
                report = None
            if report is None:
                self.evaluate(episodes, pairings, then)
            else:
                then(report, found)

        self._supervisor.submit(self._actors.evaluator, "evaluate", episodes, pairings, then=done)

    def take_snapshot(self, then: Callable[[Snapshot], None]) -> None:
        """Asks trainer, buffer and storage for their states; `then` gets the snapshot during a later `step`.

        One after the other: what the buffer has given out by then, the trainer may not have trained on yet.
        """
        trainer: list[TrainerState] = []

        def trainer_told(state: TrainerState) -> None:
            trainer.append(state)
            self._supervisor.submit(self._actors.buffer, "state", then=buffer_told)

        def buffer_told(buffer: dict[str, Any]) -> None:
            self._supervisor.submit(
                self._actors.storage, "state", then=lambda storage: then(_assemble(trainer[0], buffer, storage))
            )

        self._supervisor.submit(self._actors.trainer, "state", then=trainer_told)

    def pause(self, *, evaluating: bool = False) -> None:
        """Submits no more work, and cares no more for what is under way: only for snapshots, or evaluations."""
        self._pausing = True
        self._playing.end()
        needed = {*names.STATE_HOLDERS, *((names.EVALUATOR,) if evaluating else ())}
        self._supervisor.leave([role for role in self._actors.roles if role.name not in needed])
        self._supervisor.forget("add", "add_round", "train")

    def close(self) -> None:
        """Ends every actor's process, and the cluster if it is our own."""
        for role in self._actors.roles:
            ray.kill(role.handle)
        if self._actors.reserve is not None:
            remove_placement_group(self._actors.reserve)
        if self._cluster.ours:
            ray.shutdown()

    def _start(self, snapshot: Snapshot | None) -> None:
        self._supervisor.submit(self._actors.storage, "start", self._starts, then=nothing)
        self._start_buffer(snapshot)
        learner = snapshot.learner if snapshot else None
        self._supervisor.submit(self._actors.trainer, "start", learner, then=self._trainer_started)
        # Nobody may be calling them, or only other actors, when they die: these calls fail, and tell.
        for role in (self._actors.buffer, self._actors.storage, self._actors.evaluator):
            self._supervisor.submit(role, "alive", then=nothing, endless=True)
        self._playing.begin()
        for role in self._begun():
            self._supervisor.locate(role)
        self._keep_reanalyzing()
        if snapshot is None:
            self._supervisor.submit(self._actors.trainer, "describe", then=self._monitor.description)

    def _trainer_started(self, start: TrainerStart) -> None:
        self._training_steps = start.training_steps
        for note in start.notes:
            self._monitor.event(note)
        self._keep_training()

    def _begun(self) -> list[Role]:
        """The actors without those of self-play that still wait for their first place."""
        return [role for role in self._actors.roles if not role.dispensable or role.incarnation > 0]

    # Training and reanalysis: one stretch after another.

    def _keep_training(self) -> None:
        for _ in range(2):
            self._train()

    def _train(self) -> None:
        if not self._pausing and not self._training_done:
            self._supervisor.submit(self._actors.trainer, "train", _STRETCH_SECONDS, then=self._trained)

    def _trained(self, report: TrainReport) -> None:
        self._training_steps = report.training_steps
        self._monitor.training(report)
        if report.finished:
            self._training_done = True
        else:
            self._train()

    def _keep_reanalyzing(self) -> None:
        if self._actors.reanalyze is not None:
            for _ in range(2 - self._supervisor.count("work")):
                self._reanalyze()

    def _reanalyze(self) -> None:
        if self._actors.reanalyze is not None and not self._pausing:
            self._supervisor.submit(self._actors.reanalyze, "work", _STRETCH_SECONDS, then=self._reanalyzed)

    def _reanalyzed(self, report: ReanalyzeReport) -> None:
        self._monitor.reanalysis(report)
        if not report.finished:
            self._reanalyze()

    # Memory: every actor says what it holds, and the buffer becomes smaller before there is none left.

    def _measure_memory(self) -> None:
        for role in self._begun():
            if not (role.down or self._pausing or self._supervisor.count(_MEASURE, role)):
                told = partial(self._memory_told, role)
                self._supervisor.submit(role, _MEASURE, measure, then=told, resend=False, endless=True)

    def _memory_told(self, role: Role, memory: Memory) -> None:
        held = self._playing.buffer_bytes if role is self._actors.buffer else 0
        decision = self._memory_watch.told(role.name, memory, held)
        self._monitor.memory(self._memory_watch.fullest)
        if decision.warning:
            self._monitor.trouble(decision.warning)
        if decision.halve_buffer:
            self._supervisor.submit(self._actors.buffer, "halve", then=self._buffer_shed, resend=False)

    def _buffer_shed(self, halved: bool) -> None:
        if halved:
            self._monitor.buffer_halved()
        else:
            self._memory_watch.buffer_is_smallest()

    # After a crash, the new process gets the newest snapshot on disk before anything else reaches it.

    def _start_buffer(self, snapshot: Snapshot | None) -> None:
        state = {"buffer": snapshot.buffer, "limiter": snapshot.limiter} if snapshot else None
        buffer = self._actors.buffer
        # Not sent again if its process dies meanwhile: the next one is given a start of its own.
        self._supervisor.submit(
            buffer, "start", state, buffer.incarnation, then=self._playing.buffer_told, resend=False
        )
        self._buffer_restored_at = self._training_steps

    def _restore_buffer(self) -> None:
        snapshot = self._newest_snapshot()
        self._start_buffer(snapshot)
        self._memory_watch.buffer_restored()
        self._playing.buffer_restored(snapshot.env_steps if snapshot else 0)
        self._keep_reanalyzing()
        if self._config.in_lockstep:  # a buffer in lockstep goes on when it has weights
            self._supervisor.submit(self._actors.trainer, "publish", then=nothing)

    def _restore_trainer(self) -> None:
        snapshot = self._newest_snapshot()
        newest = snapshot.training_steps if snapshot else 0
        # A buffer that has been restored since then counts from that snapshot, too, as when both are on a lost node.
        lost = max(0, self._training_steps - max(newest, self._buffer_restored_at))
        back = max(0, self._training_steps - newest)
        self._training_steps = newest
        learner = snapshot.learner if snapshot else None
        trainer = self._actors.trainer
        self._supervisor.submit(trainer, "start", learner, trainer.incarnation, then=nothing, resend=False)
        if lost > 0 and not self._actors.buffer.down:
            self._supervisor.submit(self._actors.buffer, "training_lost", lost, then=nothing, resend=False)
        self._monitor.event(f"the trainer goes back by {back:,} training steps, and makes up for them")
        if self._training_done and back > 0:
            self._training_done = False
            self._keep_training()

    def _restore_storage(self) -> None:
        # As many starts as there can have been: each gives a seed of its own, and none may come twice.
        starts = {role.name: self._starts.get(role.name, 0) + role.starts for role in self._actors.roles}
        self._supervisor.submit(self._actors.storage, "start", starts, then=nothing, resend=False)
        self._supervisor.submit(self._actors.trainer, "publish", then=nothing)


def _assemble(trainer: TrainerState, buffer: dict[str, Any], storage: dict[str, Any]) -> Snapshot:
    return Snapshot(
        env_steps=int(buffer["limiter"]["inserted"]),
        training_steps=trainer.training_steps,
        learner=trainer.learner,
        weights=trainer.weights,
        buffer=buffer["buffer"],
        limiter=buffer["limiter"],
        starts=storage["starts"],
    )
