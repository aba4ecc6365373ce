"""What reaches the replay buffer and comes from it: as it is, or where there are shards, by references inside of it.

A reference inside of a list is not followed on its way, so what it names passes the replay-buffer actor by and goes
straight to the shard that stores it, or to the role that works on it. Whoever works on it makes it plain again here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import ray

from muzero_ray.core.types import Batch, ReanalyzeRequest, Trajectory
from muzero_ray.replay.shards import join_batches

Delivery = list[Trajectory] | list["ray.ObjectRef[Any]"]
"""Trajectories; or a reference to a list of them."""
Drawn = list[Batch] | list["ray.ObjectRef[Any]"]
"""Batches; or for each shard a reference to a list of its parts of them, None where it has none."""
Request = ReanalyzeRequest | list["ray.ObjectRef[Any]"]
"""Positions; or a reference to them."""


def received_batches(drawn: Drawn) -> list[Batch]:
    """Batches as they are learnt from. One of the named synchronisation points."""
    return [batch if isinstance(batch, Batch) else batch() for batch in received_parts(drawn)]


def received_parts(drawn: Drawn) -> list[Batch | Callable[[], Batch]]:
    """Batches, or what makes them of their parts, which takes milliseconds where they hold frames, in any thread.

    One of the named synchronisation points: all parts are here when this returns.
    """
    if not drawn or isinstance(drawn[0], Batch):
        return drawn  # type: ignore[return-value]
    shards = ray.get(drawn)
    return [partial(join_batches, [part for part in parts if part is not None]) for parts in zip(*shards, strict=True)]


def received_request(request: Request | None) -> ReanalyzeRequest | None:
    """Positions as they are searched again. One of the named synchronisation points."""
    if isinstance(request, list):
        found: list[ReanalyzeRequest] = ray.get(request)
        return found[0]
    return request
