"""Watches every call in flight: hands on results, restarts what died, and lets no error pass in silence.

The head never blocks on one actor. It submits calls with what is to happen `then`, and `step` dispatches
whatever is ready. A process that dies is restarted by Ray; here its crash is counted, its state restored,
and its calls are submitted again. An exception raised by our code or a user's game ends the run.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError, WorkerCrashedError

from muzero_ray.app.errors import RunFailed

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_MAX_COLLATERAL = 120
"""Calls that may fail in a row because of *another* actor before the run is stopped: about a minute."""


@dataclass
class Role:
    """One actor as the supervisor knows it."""

    name: str  # as in the dashboard: "self_play_0"
    handle: Any
    restore: Callable[[], None] | None = None  # gives a restarted process its state again
    crashes: int = 0
    down: bool = False
    collateral: int = 0


@dataclass
class _Call:
    role: Role
    method: str
    args: tuple[Any, ...]
    then: Callable[..., None]
    lost: Callable[[Exception], None] | None = None  # instead of bringing the actor back, if it is gone
    refs: Sequence[ray.ObjectRef[Any]] = field(default_factory=tuple)


class Supervisor:
    """All calls in flight.

    Args:
        max_restarts: crashes of one actor's process that are forgiven.
        on_event: told in words of every crash and recovery.
    """

    def __init__(self, max_restarts: int, on_event: Callable[[str], None]) -> None:
        self._max_restarts = max_restarts
        self._on_event = on_event
        self._in_flight: dict[ray.ObjectRef[Any], _Call] = {}
        self._waiting: list[tuple[float, Callable[[], None]]] = []

    def submit(self, role: Role, method: str, *args: Any, then: Callable[..., None]) -> None:
        """Calls a method of an actor; `then` gets its result.

        Of a method with several returns only the last is fetched; `then` gets the references of the
        others first, so that data passes from actor to actor without touching the head.
        """
        self._send(_Call(role, method, args, then))

    def count(self, role: Role, method: str | None = None) -> int:
        """Calls of this actor in flight."""
        return sum(call.role is role and method in (None, call.method) for call in self._in_flight.values())

    def step(self, timeout: float) -> None:
        """Waits for at most `timeout` seconds, then dispatches all that is ready.

        Raises:
            RunFailed: an actor raised an exception, or crashed more often than is forgiven.
        """
        now = time.monotonic()
        due = [action for when, action in self._waiting if when <= now]
        self._waiting = [(when, action) for when, action in self._waiting if when > now]
        for action in due:
            action()
        if not self._in_flight:
            time.sleep(min(timeout, 0.05))
            return
        refs = list(self._in_flight)
        ready, _ = ray.wait(refs, num_returns=1, timeout=timeout)
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            self._finish(self._in_flight.pop(ref), ref)

    def _send(self, call: _Call) -> None:
        result = getattr(call.role.handle, call.method).remote(*call.args)
        call.refs = result if isinstance(result, list) else [result]
        self._in_flight[call.refs[-1]] = call

    def _finish(self, call: _Call, ref: ray.ObjectRef[Any]) -> None:
        try:
            value = ray.get(ref)
        except RayTaskError as error:
            if not isinstance(error, RayActorError | ObjectLostError):
                raise RunFailed(call.role.name, call.method, error.cause or error) from error
            self._retry_collateral(call, error)
        except (RayActorError, WorkerCrashedError) as error:
            self._recover(call, error)
        except ObjectLostError as error:
            self._retry_collateral(call, error)
        else:
            call.role.collateral = 0
            call.then(*call.refs[:-1], value)

    def _retry_collateral(self, call: _Call, error: Exception) -> None:
        """The call failed because another actor, or what it owned, was gone: once that is back it will work."""
        call.role.collateral += 1
        if call.role.collateral > _MAX_COLLATERAL:
            raise RunFailed(call.role.name, call.method, error) from error
        self._later(_RETRY_SECONDS, lambda: self._send(call))

    def _recover(self, call: _Call, error: Exception) -> None:
        """The actor's own process died. Its first lost call brings it back; the others wait for that."""
        role = call.role
        if call.lost is not None:
            call.lost(error)
        elif role.down:
            self._later(_RETRY_SECONDS, lambda: self._resend_when_up(call))
        else:
            role.down = True
            self._restart(call, error)

    def _restart(self, call: _Call, error: Exception) -> None:
        """Waits for the process that Ray starts in place of the dead one, gives it its state, calls again."""
        role = call.role
        role.crashes += 1
        if role.crashes > self._max_restarts:
            raise RunFailed(role.name, call.method, error) from error
        self._on_event(f"{role.name} died and is restarted (crash {role.crashes}, {self._max_restarts} are forgiven)")

        def up(_: Any) -> None:
            role.down = False
            if role.restore is not None:
                role.restore()
            self._on_event(f"{role.name} is back")
            self._send(call)

        ready = _Call(role, "__ray_ready__", (), then=up, lost=lambda again: self._restart(call, again))
        self._later(_RETRY_SECONDS * 2 ** (role.crashes - 1), lambda: self._send(ready))

    def _resend_when_up(self, call: _Call) -> None:
        if call.role.down:
            self._later(_RETRY_SECONDS, lambda: self._resend_when_up(call))
        else:
            self._send(call)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._waiting.append((time.monotonic() + seconds, action))
