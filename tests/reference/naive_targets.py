"""A slow twin of the n-step value target, written as a recursion over one step at a time."""

from collections.abc import Sequence


def naive_value_target(
    rewards: Sequence[float],
    to_play: Sequence[int],
    values: Sequence[float],
    start: int,
    *,
    discount: float,
    td_steps: int,
    follows: Sequence[bool] | None = None,
) -> float:
    """The target of state `start`; `values` has one entry per recorded state, the last one ends the record."""
    if td_steps == 0 or start == len(values) - 1 or (follows is not None and not follows[start]):
        return values[start]
    later = naive_value_target(
        rewards, to_play, values, start + 1, discount=discount, td_steps=td_steps - 1, follows=follows
    )
    if to_play[start + 1] != to_play[start]:
        later = -later
    return rewards[start] + discount * later
