"""Watches every call in flight: hands on results, restarts what died, and lets no error pass in silence.

The head never blocks on one actor. It submits calls with what is to happen `then`, and `step` dispatches
whatever is ready. What can go wrong with a call:

* it **raised an exception**, in our code or a user's game: the run ends;
* its actor's **process died**: Ray starts it again; the crash is counted, the new process is given its
  state (`Role.restore`) before anything else reaches it, and the calls are sent again;
* its **node is lost**: the same on another node, and no crash in a row; actors that the run can do without
  (`begin`) wait for a place as long as it takes, the others for a while;
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
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError, RayTaskError, WorkerCrashedError

from muzero_ray.app.errors import RunFailed
from muzero_ray.app.reporting.status_file import ActorHealth

_PROCESS_GONE = (RayActorError, WorkerCrashedError, OutOfMemoryError)
"""What calls fail with whose process died: the last where Ray killed it for want of memory."""

_RETRY_SECONDS = 0.5
_RESTART_SECONDS = 120.0
"""How long a process may take to come back: a node may have to be replaced, torch to be imported."""
_NEW_NODE_SECONDS = 900.0
"""How long it may take to come back where its node was lost: an autoscaler may have to start a machine with a GPU."""
_RARE_SECONDS = 5.0
"""Between two questions whether a process is there that has been waited for for long."""
_LONGEST_BACK_OFF_SECONDS = 30.0


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
    dispensable: bool = False  # the run can do without it while others like it are there
    left: bool = False  # whatever becomes of it no longer matters
    node: str = ""  # on which its process runs, once that is known
    process: int = 0  # number of the newest process that has answered, where answers say it
    answered_as: int = 0  # which incarnation that is
    held_back: list["_Call"] = field(default_factory=list)  # while it is down


@dataclass(eq=False)
class _Call:
    role: Role
    method: str
    args: tuple[Any, ...]
    then: Callable[..., None]
    resend: bool
    endless: bool
    lost: Callable[[], None] | None
    refs: Sequence[ray.ObjectRef[Any]] = ()
    incarnation: int = 0
    sent_at: float = 0.0
    hindered_since: float = math.inf  # by the absence of another actor
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
        self._dispensable: list[Role] = []
        self._one_was_there = time.monotonic()
        self._absence_told = False

    def begin(self, roles: Sequence[Role]) -> None:
        """Has each of these actors begin, by its `restore`, as soon as there is a place for it.

        The run can do without any of them, at the start and when a node is lost, as long as one is there.
        """
        for role in roles:
            role.dispensable = role.down = True
            self._dispensable.append(role)
            self._await_process(role)

    def locate(self, role: Role) -> None:
        """Finds out on which node an actor's process runs, to tell the loss of that from a crash."""

        def found(node: str) -> None:
            role.node = node

        self.submit(role, "__ray_call__", _node_of, then=found)

    def answered(self, role: Role, process: int) -> None:
        """An actor has answered from the process of this number, 0 if it does not say.

        A later one than before, although no call has failed, was started when that one died between two calls. Ray
        has sent it what came since, so that the death needs only be told and counted.

        Raises:
            RunFailed: if it was one crash in a row too many.
        """
        if process < role.process or process == 0:
            return  # late, from a process that is gone
        if process > role.process > 0 and role.answered_as == role.incarnation and not role.down:
            self._count_crash(role, "a call", RuntimeError("its process died between two calls"))
            role.incarnation += 1  # a call of the old one that fails later is no further crash
            role.up_since = time.monotonic()
            self._on_event(f"{role.name} died between two calls and was restarted (crash {role.crashes})")
            if role.node:
                self.locate(role)
        role.process = process
        role.answered_as = role.incarnation

    def submit(
        self,
        role: Role,
        method: str,
        *args: Any,
        then: Callable[..., None],
        resend: bool = True,
        endless: bool = False,
        lost: Callable[[], None] | None = None,
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
            lost: called instead of `then` if the call is not sent again: after the death of the process, or because
                what it was to bring there is lost.
        """
        call = _Call(role, method, args, then, resend, endless, lost)
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
        self._forget(lambda call: call.method in methods)

    def leave(self, roles: Sequence[Role]) -> None:
        """Whatever becomes of these actors no longer matters: no death or failure of theirs ends the run any more."""
        for role in roles:
            role.left = True
        self._dispensable = [role for role in self._dispensable if not role.left]
        self._forget(lambda call: call.role.left)

    def _forget(self, which: Callable[[_Call], bool]) -> None:
        for call in self._open:
            call.forgotten = which(call)
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
        self._look_for_absence(now)
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
            if call.role.dispensable and not call.resend:  # it may never come back
                self._give_up(call)
            else:
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
            if not isinstance(error, (*_PROCESS_GONE, ObjectLostError)):
                raise RunFailed(call.role.name, call.method, error.cause or error, gone=False) from error
            self._retry_collateral(call, error)
        except _PROCESS_GONE as error:
            self._process_died(call, error)
        except ObjectLostError as error:  # on its way: its node was lost
            self._retry_collateral(call, error)
        else:
            self._open.remove(call)
            call.then(*call.refs[:-1], value)

    def _retry_collateral(self, call: _Call, error: Exception) -> None:
        """The call failed because another actor, or what it owned, was gone: once that is back it will work.

        Not one that brings what is lost itself: whoever sent it begins anew.
        """
        if not call.resend and isinstance(error, ObjectLostError):
            self._later(_RETRY_SECONDS, lambda: self._give_up(call))
            return
        now = time.monotonic()
        call.hindered_since = min(call.hindered_since, now)
        if now - call.hindered_since > _NEW_NODE_SECONDS:  # so long may the other one take to come back
            raise RunFailed(call.role.name, call.method, error, gone=False) from error
        self._later(_RETRY_SECONDS, lambda: self._send(call))

    def _process_died(self, call: _Call, error: Exception) -> None:
        role = call.role
        if getattr(error, "actor_init_failed", False):  # its constructor raised: it would again
            raise RunFailed(role.name, "its start", error) from error
        if call.incarnation == role.incarnation and not role.down:
            self._count_crash(role, call.method, error)
            role.down = True
            self._on_event(
                f"{role.name} died and is restarted (crash {role.crashes}; {role.in_a_row} in a row, of which "
                f"{self._max_restarts} are forgiven)"
            )
            self._await_process(role)
        call.hindered_since = math.inf
        if call.resend:
            self._send(call)  # held back while the role is down
        else:
            self._give_up(call)

    def _count_crash(self, role: Role, method: str, error: Exception) -> None:
        if time.monotonic() - role.up_since >= self._forgive_seconds:
            role.in_a_row = 0
        role.crashes += 1
        role.in_a_row += 1
        role.starts += 1
        if role.in_a_row > self._max_restarts:
            raise RunFailed(role.name, method, error) from error

    def _give_up(self, call: _Call) -> None:
        if call.forgotten:
            return
        self._open.remove(call)
        if call.lost is not None:
            call.lost()

    def _await_process(self, role: Role) -> None:
        """Asks the process that Ray starts, at first or in place of a dead one, whether it is there, until it is."""
        began = time.monotonic()

        def answered(ref: ray.ObjectRef[Any]) -> None:
            try:
                ray.get(ref)
            except _PROCESS_GONE as error:
                if role.left:
                    return
                waited = time.monotonic() - began
                too_long = waited > (_NEW_NODE_SECONDS if self._lost_its_node(role) else _RESTART_SECONDS)
                if getattr(error, "actor_init_failed", False) or (too_long and not role.dispensable):
                    raise RunFailed(role.name, "its restart", error) from error
                if not self._lost_its_node(role):
                    role.starts += 1  # it may have died as it started
                self._later(_RETRY_SECONDS if waited < _RESTART_SECONDS else _RARE_SECONDS, ask)
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
        if role.left:
            return
        again = not role.dispensable or role.incarnation > 0
        moved = self._lost_its_node(role)
        if moved:  # it was counted when it was gone, and it was not known why
            role.in_a_row = max(0, role.in_a_row - 1)
        role.incarnation += 1
        role.up_since = time.monotonic()
        role.down = False
        held_back, role.held_back = role.held_back, []
        if role.node or not again:
            self.locate(role)
        if role.restore is not None:
            role.restore()
        for call in held_back:
            self._send(call)
        if again:
            self._on_event(f"{role.name} is back" + (" on another node: its own is gone" if moved else ""))

    def _lost_its_node(self, role: Role) -> bool:
        if not role.node:
            return False
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        return all(node["NodeID"] != role.node for node in nodes if node["Alive"])

    def _look_for_absence(self, now: float) -> None:
        """Tells when none is there of those of which one must be, and ends the run in the end."""
        if not self._dispensable or not all(role.down for role in self._dispensable):
            self._one_was_there, self._absence_told = now, False
            return
        absent = now - self._one_was_there
        name = self._dispensable[0].name
        if absent > 2 * self._stall_seconds:
            raise RunFailed(name, "its start", TimeoutError(f"neither it nor another had a place for {absent:.0f} s"))
        if absent > self._stall_seconds and not self._absence_told:
            self._absence_told = True
            self._on_event(f"neither {name} nor another has had a place for {absent:.0f} s: is there a CPU for it?")

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


def _node_of(actor: Any) -> str:
    """Runs in the actor's process."""
    return ray.get_runtime_context().get_node_id()


def nothing(_: Any) -> None:
    """For calls whose answer says no more than that they were done."""
