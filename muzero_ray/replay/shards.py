"""A replay buffer in several parts that draws as if it were one: which part a draw falls to, and how parts are joined.

Plain arithmetic; where the parts live is the business of `actors/replay_shards.py`. The parts lie one behind the other
on a line as long as all their priorities together. A batch's draws are spread over the whole of it, as in one sum
tree; each part answers those that fall into it, and the importance weights are scaled by the largest of all.

States are named by indices of all parts: state `i` of part `s` of n is `i * n + s`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from muzero_ray.core.frames import stack_frames
from muzero_ray.core.types import Batch


def split_fractions(fractions: np.ndarray, masses: Sequence[float]) -> list[np.ndarray]:
    """Divides draws among parts.

    Args:
        fractions: `[B]` float64 in [0, 1], of the line of all parts.
        masses: of each part: the sum of its priorities, at least 0.

    Returns:
        For each part, the fractions of its own mass that the draws in it stand for. A part of mass 0 gets none.

    Raises:
        ValueError: if all masses are 0.
    """
    ends = np.cumsum(np.asarray(masses, dtype=np.float64))
    if not ends[-1] > 0:
        raise ValueError("replay: nothing can be drawn, all shards are empty; add a trajectory first")
    places = fractions * ends[-1]
    last = int(np.flatnonzero(masses)[-1])  # rounding may lead to the very end of the line
    part = np.minimum(np.searchsorted(ends, places, side="right"), last)
    return [
        np.clip((places[part == s] - (ends[s] - mass)) / mass, 0.0, 1.0) if mass > 0 else np.empty(0)
        for s, mass in enumerate(masses)
    ]


def split_indices(indices: np.ndarray, parts: int) -> list[np.ndarray]:
    """For each part, `[n]` the places in `indices` of those that name states of it."""
    return [np.flatnonzero(indices % parts == s) for s in range(parts)]


def join_batches(batches: Sequence[Batch]) -> Batch:
    """One batch of several, one behind the other, from `ReplayBuffer.sample_at`.

    Args:
        batches: at least one, all of the same buffer.

    Returns:
        The batch, with importance weights divided by the largest of them.
    """
    views = () if batches[0].frames is None else ("observations", "next_observations")  # stacks of the frames
    joined: dict[str, Any] = {}
    for field in fields(Batch):
        values = [getattr(batch, field.name) for batch in batches if field.name not in views]
        joined[field.name] = np.concatenate(values) if values and values[0] is not None else None
    if views:
        stacks = stack_frames(joined["frames"], joined["frames"].shape[1] - joined["actions"].shape[1])
        joined |= {"observations": stacks[:, 0], "next_observations": stacks[:, 1:]}
    return Batch(**joined | {"importance_weights": joined["importance_weights"] / joined["importance_weights"].max()})


def join_states(states: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The `state_dict`s of all parts as one."""
    return {f"shard{s}.{name}": array for s, state in enumerate(states) for name, array in state.items()}


def split_state(state: Mapping[str, np.ndarray], parts: int) -> list[dict[str, np.ndarray]]:
    """The inverse of `join_states`; of one part, `state` as it is.

    Raises:
        ValueError: if the state is of another number of parts.
    """
    found = parts_of(state)
    if found != parts:
        raise ValueError(
            f"replay.shards: the checkpoint's buffer has {found}, got {parts}; resume with replay.shards {found}"
        )
    if parts == 1:
        return [dict(state)]
    split: list[dict[str, np.ndarray]] = [{} for _ in range(parts)]
    for name, array in state.items():
        shard, _, own_name = name.partition(".")
        split[int(shard.removeprefix("shard"))][own_name] = array
    return split


def parts_of(state: Mapping[str, np.ndarray]) -> int:
    """Of how many parts the buffer was whose state this is."""
    return len({name.partition(".")[0] for name in state if name.startswith("shard")}) or 1
