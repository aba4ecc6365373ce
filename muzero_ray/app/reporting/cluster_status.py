"""Who is there on a Ray cluster: the named actors, asked of its dashboard without joining it."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from muzero_ray.app.errors import UserError

_STARTED_HERE = Path("/tmp/ray/ray_current_cluster")
"""Left by `ray start`; a cluster that a run starts for itself leaves none, and is told of in the run's folder."""
_MOST_CALLS = 10_000
_SECONDS = 15


def meant_cluster() -> str | None:
    """The address of the cluster that is meant: RAY_ADDRESS, or one that was started on this machine, or None."""
    return os.environ.get("RAY_ADDRESS") or ("auto" if _STARTED_HERE.exists() else None)


def named_actors(address: str) -> list[dict[str, Any]]:
    """Every named actor that lives or is coming back, by name: its class, state, restarts, process, open calls.

    Raises:
        UserError: if the cluster cannot be asked.
    """
    from ray.util.state import list_actors, list_tasks  # here, since only this command needs it

    try:
        actors = list_actors(
            address, filters=[("state", "!=", "DEAD")], limit=_MOST_CALLS, timeout=_SECONDS, detail=True
        )
        unfinished: list[Any] = [("state", "!=", "FINISHED"), ("state", "!=", "FAILED"), ("type", "=", "ACTOR_TASK")]
        calls = list_tasks(
            address, filters=unfinished, limit=_MOST_CALLS, timeout=_SECONDS, raise_on_missing_output=False
        )
    except Exception as error:  # of many kinds: no such place, no dashboard, no token
        raise UserError(
            f"the Ray cluster at {address} cannot be asked: {str(error).splitlines()[0]}. It needs its dashboard; "
            "if it asks for a token, set RAY_AUTH_MODE=token and see `ray get-auth-token`"
        ) from error
    pending = Counter(call.actor_id for call in calls)
    found = [
        {
            "name": actor.name,
            "is": actor.repr_name or actor.class_name,
            "state": actor.state,
            "restarts": int(actor.num_restarts or 0),
            "calls": pending[actor.actor_id],
            "node": actor.node_id,
            "pid": actor.pid,
            "namespace": actor.ray_namespace,
        }
        for actor in actors
        if actor.name
    ]
    return sorted(found, key=lambda row: (row["namespace"], row["name"]))
