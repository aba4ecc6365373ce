"""Watches every call in flight: hands on results, restarts what died, and lets no error pass in silence.

The head never blocks on one actor. It submits calls with what is to happen `then`, and `step` dispatches
whatever is ready. What can go wrong with a call:

* it **raised an exception**, in our code or a user's game: the run ends;
* its actor's **process died**: Ray starts it again; the crash is counted, the new process is given its
  state (`Role.restore`) before anything else reaches it, and the calls are sent again;
* **another actor** that it needed was gone: it is sent again a little later;
* it **never answers**: that is told, and in the end it ends the run.
"""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError, WorkerCrashedError

from muzero_ray.app.errors import RunFailed
from muzero_ray.app.status_file import ActorHealth

_RETRY_SECONDS = 0.5
_RESTART_SECONDS = 120.0
"""How long a process may take to come back: a node may have to be replaced, torch to be imported."""
_LONGEST_BACK_OFF_SECONDS = 30.0
_MAX_COLLATERAL = 240
"""Calls of one actor that may fail in a row because of *another* actor: two minutes of trying."""


@dataclass
class Role:
    """One actor as the supervisor knows it."""

    name: str  # as in the dashboard: "self_play_0"
    handle: Any
    restore: Callable[[], None] | None = None  # submits what gives a restarted process its state again
    crashes: int = 0
    in_a_row: int = 0  # crashes since it last worked for long enough
    starts: int = 1  # of its process by now, at most: one that dies while it starts, or is left in peace, goes unseen
    up_since: float = field(default_factory=time.monotonic)
    incarnation: int = 0  # which process it is; a failure of an older one's call is no new crash
    down: bool = False
    held_back: list["_Call"] = field(default_factory=list)  # while it is down
    collateral: int = 0


@dataclass(eq=False)
class _Call:
    role: Role
    method: str
    args: tuple[Any, ...]
    then: Callable[..., None]
    resend: bool
    endless: bool
    refs: Sequence[ray.ObjectRef[Any]] = ()
    incarnation: int = 0
    sent_at: float = 0.0
    overdue_told: bool = False
    forgotten: bool = False


class Supervisor:
    """All calls of the head.

    Args:
        max_restarts: crashes of one actor's process in a row that are forgiven.
        stall_seconds: a call unanswered for so long is told of; after twice as long the run ends.
        on_event: told in words of crashes, recoveries and stalls.
        forgive_seconds: an actor that has worked for so long since its last crash has not crashed in a row.
    """

    def __init__(
        self,
        max_restarts: int,
        stall_seconds: float,
        on_event: Callable[[str], None],
        forgive_seconds: float = math.inf,
    ) -> None:
        self._max_restarts = max_restarts
        self._stall_seconds = stall_seconds
        self._on_event = on_event
        self._forgive_seconds = forgive_seconds
        self._open: list[_Call] = []  # submitted, and neither answered nor forgotten
        self._in_flight: dict[ray.ObjectRef[Any], Callable[[ray.ObjectRef[Any]], None]] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def submit(
        self,
        role: Role,
        method: str,
        *args: Any,
        then: Callable[..., None],
        resend: bool = True,
        endless: bool = False,
    ) -> None:
        """Calls a method of an actor.

        Args:
            role: the actor.
            method: its method.
            *args: for the method.
            then: gets the result during a later `step`. Of a method with several returns only the last is
                fetched; `then` gets the references of the others first, so that data passes from actor to
                actor without touching the head.
            resend: whether the call is sent again if the actor's process dies before it answers.
            endless: whether the call is not expected to answer soon, or ever.
        """
        call = _Call(role, method, args, then, resend, endless)
        self._open.append(call)
        self._send(call)

    def count(self, method: str, role: Role | None = None) -> int:
        """Open calls of a method, of one actor or of all: in flight, or waiting to be sent."""
        return sum(call.method == method and role in (None, call.role) for call in self._open)

    def health(self, roles: Sequence[Role]) -> dict[str, ActorHealth]:
        """How each of these actors is doing, by name."""
        calls: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for call in self._open:
            calls[call.role.name][call.method] += 1
        return {role.name: ActorHealth(role.crashes, role.down, dict(calls[role.name])) for role in roles}

    def forget(self, *methods: str) -> None:
        """Whatever becomes of the open calls of these methods no longer matters, failures included."""
        for call in self._open:
            call.forgotten = call.method in methods
        self._open = [call for call in self._open if not call.forgotten]

    def step(self, timeout: float) -> None:
        """Waits for at most `timeout` seconds, then dispatches all that is ready.

        Raises:
            RunFailed: an actor raised an exception, crashed more often than is forgiven, or answers no more.
        """
        now = time.monotonic()
        due = [action for when, action in self._timers if when <= now]
        self._timers = [(when, action) for when, action in self._timers if when > now]
        for action in due:
            action()
        self._look_for_stalls(now)
        if not self._in_flight:
            time.sleep(min(timeout, 0.05))
            return
        refs = list(self._in_flight)
        ready, _ = ray.wait(refs, num_returns=1, timeout=timeout)
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            self._in_flight.pop(ref)(ref)

    def _send(self, call: _Call) -> None:
        if call.forgotten:
            return
        if call.role.down:
            call.role.held_back.append(call)
            return
        result = getattr(call.role.handle, call.method).remote(*call.args)
        call.refs = result if isinstance(result, list) else [result]
        call.incarnation = call.role.incarnation
        call.sent_at = time.monotonic()
        self._in_flight[call.refs[-1]] = lambda ref: self._finish(call, ref)

    def _finish(self, call: _Call, ref: ray.ObjectRef[Any]) -> None:
        if call.forgotten:
            return
        try:
            value = ray.get(ref)
        except RayTaskError as error:
            if not isinstance(error, RayActorError | ObjectLostError):
                raise RunFailed(call.role.name, call.method, error.cause or error, gone=False) from error
            self._retry_collateral(call, error)
        except (RayActorError, WorkerCrashedError) as error:
            self._process_died(call, error)
        except ObjectLostError as error:
            self._retry_collateral(call, error)
        else:
            call.role.collateral = 0
            self._open.remove(call)
            call.then(*call.refs[:-1], value)

    def _retry_collateral(self, call: _Call, error: Exception) -> None:
        """The call failed because another actor, or what it owned, was gone: once that is back it will work."""
        call.role.collateral += 1
        if call.role.collateral > _MAX_COLLATERAL:
            raise RunFailed(call.role.name, call.method, error) from error
        self._later(_RETRY_SECONDS, lambda: self._send(call))

    def _process_died(self, call: _Call, error: Exception) -> None:
        role = call.role
        if getattr(error, "actor_init_failed", False):  # its constructor raised: it would again
            raise RunFailed(role.name, "its start", error) from error
        if call.incarnation == role.incarnation and not role.down:
            if time.monotonic() - role.up_since >= self._forgive_seconds:
                role.in_a_row = 0
            role.crashes += 1
            role.in_a_row += 1
            role.starts += 1
            if role.in_a_row > self._max_restarts:
                raise RunFailed(role.name, call.method, error) from error
            role.down = True
            self._on_event(
                f"{role.name} died and is restarted (crash {role.crashes}; {role.in_a_row} in a row, of which "
                f"{self._max_restarts} are forgiven)"
            )
            self._await_restart(role, deadline=time.monotonic() + _RESTART_SECONDS)
        if call.resend:
            self._send(call)  # held back while the role is down
        else:
            self._open.remove(call)

    def _await_restart(self, role: Role, deadline: float) -> None:
        """Asks the process that Ray starts in place of the dead one whether it is there, until it is."""

        def answered(ref: ray.ObjectRef[Any]) -> None:
            try:
                ray.get(ref)
            except (RayActorError, WorkerCrashedError) as error:
                if time.monotonic() > deadline or getattr(error, "actor_init_failed", False):
                    raise RunFailed(role.name, "its restart", error) from error
                role.starts += 1  # it may have died as it started
                self._later(_RETRY_SECONDS, ask)
            else:
                self._give_work_again(role)

        def ask() -> None:
            self._in_flight[role.handle.__ray_ready__.remote()] = answered

        self._later(_RETRY_SECONDS, ask)

    def _give_work_again(self, role: Role) -> None:
        """At once after a first crash, later after each further one in a row: whatever kills it may pass."""
        if role.in_a_row < 2:
            self._is_back(role)
            return
        role.starts += 1  # who is not called may die unseen
        seconds = min(_LONGEST_BACK_OFF_SECONDS, _RETRY_SECONDS * 2.0 ** (role.in_a_row - 1))
        self._later(seconds, lambda: self._is_back(role))

    def _is_back(self, role: Role) -> None:
        role.incarnation += 1
        role.up_since = time.monotonic()
        role.down = False
        held_back, role.held_back = role.held_back, []
        if role.restore is not None:
            role.restore()
        for call in held_back:
            self._send(call)
        self._on_event(f"{role.name} is back")

    def _look_for_stalls(self, now: float) -> None:
        for call in self._open:
            if call.endless or not call.sent_at or now - call.sent_at < self._stall_seconds:
                continue
            told = f"{call.role.name} has not answered {call.method} for {now - call.sent_at:.0f} s"
            if now - call.sent_at > 2 * self._stall_seconds:
                raise RunFailed(call.role.name, call.method, TimeoutError(told))
            if not call.overdue_told:
                call.overdue_told = True
                self._on_event(f"{told}: is there a CPU for it, does its game's step return?")

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + seconds, action))
