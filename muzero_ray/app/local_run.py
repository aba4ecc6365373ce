"""A run in one process, without Ray: the same objects, called in turn. Reproducible to the bit on a CPU.

Meant for laptops, debuggers, notebooks and tests. Its methods are those of `DistributedRun`.
"""

import time
from collections.abc import Callable, Sequence

from muzero_ray.actors import build, names
from muzero_ray.actors.buffer_meter import BufferMeter
from muzero_ray.actors.examiner import Examiner
from muzero_ray.actors.memory import give_back, measure
from muzero_ray.app.memory_watch import ONE_PROCESS, MemoryWatch
from muzero_ray.app.reporting.monitor import Monitor
from muzero_ray.app.saving.snapshot import Snapshot
from muzero_ray.core.config import Config
from muzero_ray.core.reports import EvaluationReport, Pairing, ReanalyzeReport, TrainReport
from muzero_ray.core.types import Weights


class LocalRun:
    """One run in this process.

    Args:
        config: of the run.
        threads: of the learner.
        device: of the learner, "cpu" or "cuda".
        monitor: told of everything that happens.
        snapshot: what to continue from; None for a new run.
    """

    def __init__(self, config: Config, threads: int, device: str, monitor: Monitor, snapshot: Snapshot | None) -> None:
        from muzero_ray.nn.learner import Learner, use_threads

        use_threads(threads)
        self._config = config
        self._monitor = monitor
        self._starts = dict(snapshot.starts) if snapshot else {}
        restarts = {role: self._start(role) for role in (names.self_play(0), names.REANALYZE)}
        self._examiner = Examiner(config, self._say)
        self._learner = Learner(config, self._examiner.agent.spec, seed=config.seed, device=device)
        self._buffer = build.make_replay_buffer(config)
        self._fresh_values = build.FreshValues(config, self._say) if config.reanalyze.fresh_values else None
        self._limiter = build.make_rate_limiter(config, num_actors=1)
        self._meter = BufferMeter()
        self._player = build.make_self_player(config, 0, restarts[names.self_play(0)], self._say)
        self._reanalyzer = (
            build.make_reanalyzer(config, restarts[names.REANALYZE], self._say) if config.reanalyze.ratio > 0 else None
        )
        self._memory_watch = MemoryWatch(config.system.memory_fraction)
        self._spent = False
        if snapshot is not None:
            self._learner.load_bytes(snapshot.learner)
            self._buffer.load_state_dict(snapshot.buffer)
            self._limiter.load_state_dict(snapshot.limiter)
        self._publish()

    @property
    def env_steps(self) -> int:
        """Env steps in the buffer's count."""
        return self._buffer.total_steps

    @property
    def training_steps(self) -> int:
        """Training steps in the learner's count."""
        return self._learner.training_steps

    @property
    def finished(self) -> bool:
        """Whether the budget is spent and everything has been trained on."""
        return self._spent

    def step(self) -> None:
        """One turn: self-play if it may, then all the training and reanalysis that is due.

        A turn is never longer than one delivery's worth of learning, and the order of what happens in it
        depends on counts alone.
        """
        if self.env_steps < self._config.train.env_steps and self._limiter.may_insert():
            self._play()
        trained = self._train()
        reanalyzed = self._reanalyze()
        if not trained and not reanalyzed and self.env_steps >= self._config.train.env_steps:
            self._publish()
            self._spent = True
        self._monitor.buffer(self._meter.status(self._buffer, self._limiter))
        if self._memory_watch.due():
            self._watch_memory()

    def evaluate(
        self, episodes: int, pairings: Sequence[Pairing], then: Callable[[EvaluationReport, Weights], None]
    ) -> None:
        """Evaluates the newest weights at once; `then` gets the outcome. For the pairings see `Examiner.evaluate`."""
        weights = self._learner.weights()
        then(self._examiner.evaluate(weights, self.training_steps, episodes, pairings), weights)

    def take_snapshot(self, then: Callable[[Snapshot], None]) -> None:
        """Gives `then` a snapshot at once."""
        then(
            Snapshot(
                env_steps=self.env_steps,
                training_steps=self.training_steps,
                learner=self._learner.to_bytes(),
                weights=self._learner.weights(),
                buffer=self._buffer.state_dict(),
                limiter=self._limiter.state_dict(),
                starts=dict(self._starts),
            )
        )

    def pause(self, *, evaluating: bool = False) -> None:
        """Nothing is in flight between two turns."""

    def close(self) -> None:
        """Nothing to end."""

    def _say(self, note: str) -> None:
        self._monitor.note(note)

    def _start(self, role: str) -> int:
        """Counts a role's start, as `SharedStorage.register` does, so that each start has a seed of its own."""
        restart = self._starts.get(role, 0)
        self._starts[role] = restart + 1
        return restart

    def _play(self) -> None:
        trajectories, report = self._player.play(self._config.self_play.segment_moves)
        began = time.perf_counter()
        stored = [self._buffer.add(trajectory) for trajectory in trajectories]
        self._meter.added(sum(stored), len(stored) - sum(stored), time.perf_counter() - began)
        self._limiter.inserted(report.env_steps)
        self._monitor.self_play(report)

    def _train(self) -> bool:
        began, first_step, metrics = time.perf_counter(), self.training_steps, {}
        while self._limiter.may_consume("train"):
            self._limiter.consumed("train", self._config.train.batch_size)
            batch = self._meter.sample(self._buffer, self.training_steps)
            result = self._learner.update(batch)
            metrics = result.metrics
            if self._config.replay.prioritized:
                self._buffer.update_priorities(batch.indices, result.priorities)
            if self.training_steps % self._config.train.publish_interval == 0:
                self._publish()
        steps = self.training_steps - first_step
        if steps:
            seconds = time.perf_counter() - began
            self._monitor.training(TrainReport(self.training_steps, steps, seconds, 0.0, False, metrics))
        return steps > 0

    def _reanalyze(self) -> bool:
        if self._reanalyzer is None:
            return False
        began, positions = time.perf_counter(), 0
        while self._limiter.may_consume("reanalyze"):
            self._limiter.consumed("reanalyze", self._config.reanalyze.batch_size)
            request = self._buffer.reanalyze_request(self._config.reanalyze.batch_size)
            self._buffer.refresh(self._reanalyzer.reanalyze(request))
            positions += len(request.indices)
        if positions:
            self._monitor.reanalysis(ReanalyzeReport(positions, time.perf_counter() - began, 0.0, False))
        return positions > 0

    def _watch_memory(self) -> None:
        decision = self._memory_watch.told(ONE_PROCESS, measure(), self._buffer.memory_bytes)
        self._monitor.memory(self._memory_watch.fullest)
        if decision.warning:
            self._monitor.trouble(decision.warning)
        if decision.halve_buffer:
            if self._buffer.halve(self._config.replay.min_steps):
                give_back()
                self._monitor.buffer_halved()
            else:
                self._memory_watch.buffer_is_smallest()

    def _publish(self) -> None:
        weights = self._learner.weights()
        self._player.set_weights(weights, self.training_steps)
        if self._config.reanalyze.weights == "target":
            weights = self._learner.target_weights()
        if self._reanalyzer is not None:
            self._reanalyzer.set_weights(weights, self.training_steps)
        if self._fresh_values is not None:
            self._fresh_values.set_weights(weights)
            self._buffer.bootstrap_from(self._fresh_values)
