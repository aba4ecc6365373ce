"""Self-play as the head drives it: play a stretch, deliver it, play on when the buffer acknowledges.

Every self-play actor has a few stretches that it plays or that wait for the buffer (`system.max_pending`), so that it
neither idles nor runs ahead of a buffer that is full. Whoever is there plays what the budget still allows; what dies
with its actor, or on its way, is played anew.

In lockstep they begin together, and their deliveries go to the buffer round by round: see `replay_in_lockstep.py`.
"""

from collections import Counter
from functools import partial
from typing import Any

import ray

from muzero_ray.app.reporting.monitor import Monitor
from muzero_ray.app.rounds import Rounds
from muzero_ray.app.supervisor import Role, Supervisor, nothing
from muzero_ray.app.topology import Topology
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus
from muzero_ray.core.types import SelfPlayReport

Trajectories = ray.ObjectRef[Any]
"""Reference to a list of them."""


class PlayFlow:
    """The stretches of all self-play actors, and the budget that they are played from.

    Args:
        config: of the run.
        actors: of the run.
        supervisor: through which they are called.
        monitor: told of what is played.
        planned_actors: how many self-play actors the run was planned with.
        env_steps: in the buffer's count when the run starts.

    Attributes:
        env_steps: in the buffer's count.
        buffer_bytes: what the states in the buffer take.
    """

    def __init__(
        self,
        config: Config,
        actors: Topology,
        supervisor: Supervisor,
        monitor: Monitor,
        planned_actors: int,
        env_steps: int,
    ) -> None:
        self._config = config
        self._actors = actors
        self._supervisor = supervisor
        self._monitor = monitor
        self._planned_actors = planned_actors
        self.env_steps = env_steps
        self.buffer_bytes = 0
        self._delivery = config.self_play.games_per_actor * config.self_play.segment_moves
        self._under_way: Counter[str] = Counter()  # stretches that are played, or wait for the buffer, by actor
        self._intake_closed = False
        self._ended = False
        self._rounds: Rounds[Trajectories] | None = None
        self._most_under_way = config.system.max_pending
        self._begun: set[str] = set()
        if config.in_lockstep:
            self._rounds = Rounds([role.name for role in actors.self_play])
            self._most_under_way = 1
        for role in actors.self_play:
            role.restore = partial(self._joined, role)

    def begin(self) -> None:
        """Has each actor play as soon as there is a place for it."""
        self._supervisor.begin(self._actors.self_play)

    def end(self) -> None:
        """No more is played."""
        self._ended = True

    def buffer_told(self, status: BufferStatus) -> None:
        """The buffer has said what it holds."""
        # Its answers may overtake each other; only a restored buffer goes back.
        self.env_steps = max(self.env_steps, status.env_steps)
        self.buffer_bytes = status.memory_bytes
        self._monitor.buffer(status)

    def buffer_restored(self, env_steps: int) -> None:
        """A new buffer continues from so many env steps, and what came after them is played anew."""
        self.env_steps = env_steps
        self._intake_closed = False
        self._tell_actors()
        self._monitor.event(f"the buffer continues from env step {env_steps:,}")
        self._keep_playing()

    def _joined(self, role: Role) -> None:
        """A self-play actor has begun, or begun again."""
        count = self._tell_actors()
        if count > self._planned_actors:
            self._monitor.event(f"{role.name} plays: {count} self-play actors are at work")
        self._begun.add(role.name)
        if self._rounds is None:
            self._fill(role)
        elif len(self._begun) >= self._planned_actors:  # all together, or the first rounds would be chance
            self._keep_playing()

    def _tell_actors(self) -> int:
        """Tells those who reckon with it how many self-play actors are at work."""
        count = max(1, sum(not role.down for role in self._actors.self_play))
        self._monitor.use_actors(count)
        self._supervisor.submit(self._actors.buffer, "use_actors", count, then=nothing, resend=False)
        return count

    def _keep_playing(self) -> None:
        for role in self._actors.self_play:
            self._fill(role)

    def _fill(self, role: Role) -> None:
        """Brings a self-play actor to `max_pending` stretches that are played or wait for the buffer; in lockstep to
        one."""
        if not role.down:
            for _ in range(self._most_under_way - self._under_way[role.name]):
                self._play(role)

    def _play(self, role: Role, weights: ray.ObjectRef[Any] | None = None) -> None:
        """Has an actor play a stretch, if the budget allows another; with what weights, only lockstep says."""
        # In the buffer's count: of what was played it leaves out what came again, or what was lost on its way.
        planned = self.env_steps + self._under_way.total() * self._delivery
        if planned < self._config.train.env_steps and not self._ended:
            self._under_way[role.name] += 1
            if self._rounds is not None:
                self._rounds.begun(role.name)
            # Not sent again if its process dies, which may never come back: whoever is there plays it instead.
            given = () if weights is None else (weights,)
            then, lost = partial(self._deliver, role), partial(self._play_lost, role)
            self._supervisor.submit(role, "play", *given, then=then, resend=False, lost=lost)
        else:
            self._close_intake_if_spent()

    def _deliver(self, role: Role, trajectories: ray.ObjectRef[Any], report: SelfPlayReport | None) -> None:
        if report is None:  # no weights yet
            if self._rounds is not None:
                self._rounds.lost(role.name)
            self._stretch_done(role)
            return
        self._supervisor.answered(role, report.process)
        self._monitor.self_play(report)
        if self._rounds is not None:
            self._rounds.delivered(role.name, trajectories)
            self._deliver_round(self._rounds)
            return

        def acknowledged(status: BufferStatus) -> None:
            self.buffer_told(status)
            self._stretch_done(role)

        # Not sent again if the buffer dies: what it held goes back to a snapshot, and is played anew.
        delivery = [trajectories] if self._config.replay.shards > 1 else trajectories
        lost = partial(self._stretch_lost, role)
        self._supervisor.submit(
            *(self._actors.buffer, "add", delivery, role.name), then=acknowledged, resend=False, endless=True, lost=lost
        )

    def _deliver_round(self, rounds: "Rounds[Trajectories]") -> None:
        """Delivers what every actor has played, if all have."""
        deliveries = rounds.take()
        if not deliveries:
            return
        senders = [role for role in self._actors.self_play if role.name in deliveries]

        def acknowledged(weights: ray.ObjectRef[Any], status: BufferStatus) -> None:
            self.buffer_told(status)
            for role in senders:
                self._stretch_done(role, weights)

        def lost() -> None:
            for role in senders:
                self._stretch_lost(role)

        played = (list(deliveries), *deliveries.values())
        self._supervisor.submit(
            self._actors.buffer, "add_round", *played, then=acknowledged, resend=False, endless=True, lost=lost
        )

    def _stretch_done(self, role: Role, weights: ray.ObjectRef[Any] | None = None) -> None:
        self._under_way[role.name] -= 1
        if role.down:
            self._keep_playing()
        else:
            self._play(role, weights)

    def _play_lost(self, role: Role) -> None:
        """It died with its actor."""
        if self._rounds is not None:
            self._rounds.lost(role.name)
        self._stretch_lost(role)
        if self._rounds is not None:
            self._deliver_round(self._rounds)

    def _stretch_lost(self, role: Role) -> None:
        """It died with its actor, or on its way to the buffer."""
        self._under_way[role.name] -= 1
        self._tell_actors()
        self._keep_playing()

    def _close_intake_if_spent(self) -> None:
        spent = self.env_steps >= self._config.train.env_steps and not self._under_way.total()
        if spent and not self._intake_closed:
            self._intake_closed = True
            self._supervisor.submit(self._actors.buffer, "close_intake", then=nothing, resend=False)
