"""The shared storage: the newest weights, and how often each role has been started.

Holds values, not references to other actors' objects, so nothing is lost when a trainer dies. It knows
nothing of networks; weights are dictionaries of arrays to it.
"""

import asyncio
import logging
import time
from typing import Any

import ray
from ray.exceptions import RayActorError

from muzero_ray.actors import names
from muzero_ray.actors.logs import Logs, start_logging
from muzero_ray.core.types import Weights

logger = logging.getLogger(__name__)

_REGISTER_SECONDS = 120.0
_REGISTER_AGAIN_SECONDS = 0.5


class SharedStorage:
    """Newest published weights, by version; the version is the training step that made them.

    All methods are coroutines, so that `alive` can be waited for beside the others.
    """

    def __init__(self, logs: Logs | None = None) -> None:
        start_logging(names.STORAGE, logs)
        self._version = -1
        self._weights: ray.ObjectRef[Any] | None = None
        self._target: ray.ObjectRef[Any] | None = None
        self._starts: dict[str, int] = {}
        self._started = asyncio.Event()

    async def start(self, starts: dict[str, int]) -> None:
        """Says how often each role was started before; `register` and `state` wait for it."""
        logger.info("started")
        self._starts = dict(starts)
        self._started.set()

    async def publish(self, version: int, weights: Weights, target_weights: Weights) -> None:
        """Makes these the newest weights. The object is put here, so that this actor owns it."""
        self._weights = ray.put(weights)
        # Between two copies of the target weights the trainer sends the same ones; they are small beside a batch.
        self._target = ray.put(target_weights)
        self._version = version
        logger.debug("weights %d came", version)

    async def newest(self, have_version: int, target: bool = False) -> tuple[int, ray.ObjectRef[Any]] | None:
        """The newest (version, reference to the weights), or None if the caller has them or there are none.

        The reference comes inside a tuple, so that Ray does not fetch what it names before it is asked to.
        """
        weights = self._target if target else self._weights
        return None if weights is None or self._version == have_version else (self._version, weights)

    async def register(self, name: str) -> int:
        """Counts a start of a role's process: 0 for the first, so that each start gets its own seed."""
        await self._started.wait()
        restart = self._starts.get(name, 0)
        self._starts[name] = restart + 1
        return restart

    async def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the starts. The weights are in the trainer's state."""
        await self._started.wait()
        return {"starts": dict(self._starts)}

    async def alive(self) -> None:
        """Never answers: the call fails when this process dies, and so tells the head."""
        await asyncio.Event().wait()

    def __repr__(self) -> str:
        return "SharedStorage()"


def register(storage: Any, name: str) -> int:
    """`SharedStorage.register`, asked again for as long as the storage's process may take to come back.

    For constructors: an exception there would not be taken for the storage's death, but for a bug.
    """
    deadline = time.monotonic() + _REGISTER_SECONDS
    while True:
        try:
            restart: int = ray.get(storage.register.remote(name))
            return restart
        except RayActorError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_REGISTER_AGAIN_SECONDS)


class WeightsReader:
    """A role's view of the storage: brings a model up to date, and costs a few bytes if it is.

    Args:
        storage: handle of the `SharedStorage` actor.
        target: whether to read the target weights rather than the newest.
    """

    def __init__(self, storage: Any, target: bool = False) -> None:
        self._storage = storage
        self._target = target
        self.version = -1

    def read(self) -> Weights | None:
        """The newest weights if they are newer than the last ones read, else None.

        One of the named synchronisation points: a role reads between two stretches of its work.
        """
        answer = ray.get(self._storage.newest.remote(self.version, self._target))
        if answer is None:
            return None
        version, reference = answer
        weights: Weights = ray.get(reference)
        self.version = version
        return weights
