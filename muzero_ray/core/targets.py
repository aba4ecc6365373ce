"""The learning target of MuZero's value: the n-step return of a trajectory.

This is the readable truth, used by the documentation and the tests. The replay buffer computes the same
numbers for many windows at once (`replay/batching.py`) and is tested against it.
"""

import numpy as np


def value_targets(
    rewards: np.ndarray,
    to_play: np.ndarray,
    root_values: np.ndarray,
    *,
    final_value: float,
    discount: float,
    td_steps: int,
) -> np.ndarray:
    """Returns the n-step value target of every state of one trajectory.

    The target of state t adds up the rewards of the next n transitions and then
    bootstraps from the search value of the state reached, with
    n = min(td_steps, T - t):

        z[t] = sum_{i<n} discount^i * sign(t, t+i) * rewards[t+i]
               + discount^n * sign(t, t+n) * v[t+n]

    `v` is `root_values` with `final_value` appended. `sign(t, u)` is +1 when the
    player to move at u is the player to move at t and -1 otherwise, because every
    value and every reward is told from the side of the player to move. In a
    one-player game the sign is always +1.

    Args:
        rewards: `[T]` float; `rewards[t]` follows `actions[t]`, as seen by the
            player who chose it, `to_play[t]`.
        to_play: `[T + 1]` int; the player to move in each state, the last included.
        root_values: `[T]` float; search value of each state, for `to_play[t]`.
        final_value: value of the state after the last action, for `to_play[T]`:
            0 when the game terminated there, the network's or the search's value
            when it was truncated there.
        discount: in (0, 1]; 1 for board games.
        td_steps: at least 1; `T` or more gives the plain return.

    Returns:
        `[T]` float32, the target of each state for `to_play[t]`.

    Raises:
        ValueError: if `td_steps` < 1 or the lengths disagree.

    Source: the definition of z_t in Schrittwieser et al., "Mastering Atari, Go,
    chess and shogi by planning with a learned model", arXiv:1911.08265. The sign
    also covers games where a player may move twice.

    >>> value_targets(rewards=np.array([0., 0., 1.]), to_play=np.array([0, 1, 0, 1]),
    ...               root_values=np.array([.2, -.1, .6]), final_value=0.,
    ...               discount=1., td_steps=2).tolist()
    [0.6000000238418579, -1.0, 1.0]
    """
    steps = len(rewards)
    if td_steps < 1:
        raise ValueError(f"value_targets: td_steps must be at least 1, got {td_steps}")
    if len(to_play) != steps + 1 or len(root_values) != steps:
        raise ValueError(
            f"value_targets: with {steps} rewards there must be {steps + 1} to_play and {steps} root_values, "
            f"got {len(to_play)} and {len(root_values)}"
        )
    values = np.append(root_values, final_value)
    targets = np.empty(steps, dtype=np.float32)
    for t in range(steps):
        end = min(t + td_steps, steps)
        discounts = discount ** np.arange(end - t + 1)
        signs = np.where(to_play[t : end + 1] == to_play[t], 1.0, -1.0)
        weights = discounts * signs
        targets[t] = weights[:-1] @ rewards[t:end] + weights[-1] * values[end]
    return targets
