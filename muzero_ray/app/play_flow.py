"""Self-play as the head drives it: play a stretch, deliver it, play on when the buffer acknowledges.

Every self-play actor has a few stretches that it plays or that wait for the buffer (`system.max_pending`), so that it
neither idles nor runs ahead of a buffer that is full. Whoever is there plays what the budget still allows; what dies
with its actor, or on its way, is played anew.
"""

from collections import Counter
from functools import partial
from typing import Any

import ray

from muzero_ray.app.reporting.monitor import Monitor
from muzero_ray.app.supervisor import Role, Supervisor, nothing
from muzero_ray.app.topology import Topology
from muzero_ray.core.config import Config
from muzero_ray.core.reports import BufferStatus
from muzero_ray.core.types import SelfPlayReport


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
        self._fill(role)

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
        """Brings a self-play actor to `max_pending` stretches that are played or wait for the buffer."""
        if not role.down:
            for _ in range(self._config.system.max_pending - self._under_way[role.name]):
                self._play(role)

    def _play(self, role: Role) -> None:
        # In the buffer's count: of what was played it leaves out what came again, or what was lost on its way.
        planned = self.env_steps + self._under_way.total() * self._delivery
        if planned < self._config.train.env_steps and not self._ended:
            self._under_way[role.name] += 1
            # Not sent again if its process dies, which may never come back: whoever is there plays it instead.
            self._supervisor.submit(
                role, "play", then=partial(self._deliver, role), resend=False, lost=partial(self._stretch_lost, role)
            )
        else:
            self._close_intake_if_spent()

    def _deliver(self, role: Role, trajectories: ray.ObjectRef[Any], report: SelfPlayReport | None) -> None:
        if report is None:  # no weights yet
            self._stretch_done(role)
            return
        self._supervisor.answered(role, report.process)
        self._monitor.self_play(report)

        def acknowledged(status: BufferStatus) -> None:
            self.buffer_told(status)
            self._stretch_done(role)

        # Not sent again if the buffer dies: what it held goes back to a snapshot, and is played anew.
        delivery = [trajectories] if self._config.replay.shards > 1 else trajectories
        lost = partial(self._stretch_lost, role)
        self._supervisor.submit(
            *(self._actors.buffer, "add", delivery, role.name), then=acknowledged, resend=False, endless=True, lost=lost
        )

    def _stretch_done(self, role: Role) -> None:
        self._under_way[role.name] -= 1
        if role.down:
            self._keep_playing()
        else:
            self._play(role)

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
