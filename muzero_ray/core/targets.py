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
    follows: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the n-step value target of every state of one trajectory.

    The target of state t adds up the rewards of the next n transitions and then
    bootstraps from the search value of the state reached. n is td_steps, or fewer:
    up to the end, T - t, and up to the first action that the agent would not play
    today, whose consequences are none of its own (n = 0 makes the target v[t]):

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
        follows: `[T]` bool; whether `actions[t]` is what the present policy might
            play, see `follows_policy`; None: all do.

    Returns:
        `[T]` float32, the target of each state for `to_play[t]`.

    Raises:
        ValueError: if `td_steps` < 1 or the lengths disagree.

    Source: the definition of z_t in Schrittwieser et al., "Mastering Atari, Go,
    chess and shogi by planning with a learned model", arXiv:1911.08265. The sign
    also covers games where a player may move twice. Ending the sum where an old
    action departs from the policy is the cut of Watkins' Q(lambda), "Learning from
    delayed rewards", 1989.

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
        if follows is not None and not follows[t:end].all():
            end = t + int(follows[t:end].argmin())
        discounts = discount ** np.arange(end - t + 1)
        signs = np.where(to_play[t : end + 1] == to_play[t], 1.0, -1.0)
        weights = discounts * signs
        targets[t] = weights[:-1] @ rewards[t:end] + weights[-1] * values[end]
    return targets


def follows_policy(policies: np.ndarray, actions: np.ndarray, off_policy_cut: float) -> np.ndarray:
    """Whether actions are what a policy might play: at least so many times as likely as its likeliest action.

    Args:
        policies: `[T, A]`.
        actions: `[T]` int.
        off_policy_cut: in [0, 1]; with 0 all follow, with 1 only a likeliest action does.

    Returns:
        `[T]` bool.

    >>> follows_policy(np.array([[.6, .3, .1], [.6, .3, .1]]), np.array([1, 2]), 0.25).tolist()
    [True, False]
    """
    chosen = np.take_along_axis(policies, actions[:, np.newaxis], axis=1)[:, 0]
    followed: np.ndarray = chosen >= off_policy_cut * policies.max(axis=1)
    return followed
