"""From stored states to learning targets: windows of K unroll steps, all at once.

The kernels are plain loops over the arrays of `replay/ring.py`, compiled by numba. Which states the
windows start from is not decided here. The value target is that of `core/targets.py`, for every state
of every window.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from muzero_ray.replay.ring import MOVE, TERMINATED, States


class Windows(NamedTuple):
    """B windows of K steps: the fields of `Batch` that are computed, and where their observations lie."""

    slots: np.ndarray  # [B, K + 1] int64; beyond what is recorded, the last slot that is
    observation_mask: np.ndarray  # [B, K]; 1 where slots[:, k + 1] was reached by actions[:, k]
    actions: np.ndarray  # [B, K]
    reward_sums: np.ndarray  # [B, K + 1]; the value targets but for what they bootstrap from
    bootstrap_slots: np.ndarray  # [B, K + 1] int64; the states whose values complete them
    bootstrap_weights: np.ndarray  # [B, K + 1]; factors on these values; 0 where there is nothing to come
    value_mask: np.ndarray  # [B, K + 1]
    target_rewards: np.ndarray  # [B, K]
    reward_mask: np.ndarray  # [B, K]
    target_policies: np.ndarray  # [B, K + 1, A]
    policy_mask: np.ndarray  # [B, K + 1]


@njit(cache=True, nogil=True)
def make_windows(
    states: States,
    first_slots: np.ndarray,
    random_actions: np.ndarray,
    discount: float,
    td_steps: int,
    off_policy_cut: float,
    policy_smoothing: float,
) -> Windows:
    """Returns the windows that start in given slots, with the targets of all their steps.

    Value targets are left in two parts, `reward_sums + bootstrap_weights * values[bootstrap_slots]`, for it
    is not said here which values.

    What counts follows from what is recorded of a state. The value counts in every recorded state, the
    policy where a search chose an action, the reward where an action was played. So in the last state of
    a truncated game the value is trained to the game's final value. A terminated game stays in its last
    state for ever: value and reward count there with target 0, for any action. Where the record ends
    otherwise, nothing counts from there on.

    Args:
        states: the ring.
        first_slots: `[B]` int64, slots in use.
        random_actions: `[B, K]` int32, played where none is recorded.
        discount: in (0, 1].
        td_steps: rewards added up before a value target bootstraps, at least 1; fewer where the record
            ends, for then its last state is the one to bootstrap from.
        off_policy_cut: in [0, 1]; fewer, too, before an action that its present search policy hardly plays, see
            `core.targets.follows_policy`.
        policy_smoothing: in [0, 1]; share of every policy target that is spread evenly over the legal actions.
    """
    size, unroll = random_actions.shape
    num_actions = states.search_policies.shape[1]
    windows = Windows(
        slots=np.empty((size, unroll + 1), dtype=np.int64),
        observation_mask=np.zeros((size, unroll), dtype=np.float32),
        actions=random_actions.copy(),
        reward_sums=np.zeros((size, unroll + 1), dtype=np.float32),
        bootstrap_slots=np.empty((size, unroll + 1), dtype=np.int64),
        bootstrap_weights=np.zeros((size, unroll + 1), dtype=np.float32),
        value_mask=np.zeros((size, unroll + 1), dtype=np.float32),
        target_rewards=np.zeros((size, unroll), dtype=np.float32),
        reward_mask=np.zeros((size, unroll), dtype=np.float32),
        target_policies=np.zeros((size, unroll + 1, num_actions), dtype=np.float32),
        policy_mask=np.zeros((size, unroll + 1), dtype=np.float32),
    )
    for b in range(size):
        slot = first_slots[b]
        recorded = True
        for k in range(unroll + 1):
            windows.slots[b, k] = slot
            windows.bootstrap_slots[b, k] = slot
            if not recorded:
                continue
            _split_value_target(states, windows, b, k, discount, td_steps, off_policy_cut)
            windows.value_mask[b, k] = 1
            if states.kinds[slot] == MOVE:
                _fill_policy(windows.target_policies[b, k], states, slot, policy_smoothing)
                windows.policy_mask[b, k] = 1
            if k < unroll:
                slot, recorded = _step(states, windows, b, k, slot)
    return windows


@njit(cache=True, nogil=True)
def _step(states: States, windows: Windows, b: int, k: int, slot: int) -> tuple[int, bool]:
    """Fills in the transition from step k of window b, in `slot`; returns the slot of step k + 1 and
    whether something is recorded of it."""
    kind = states.kinds[slot]
    if kind == MOVE:
        windows.actions[b, k] = states.actions[slot]
        windows.target_rewards[b, k] = states.rewards[slot]
    if kind in (MOVE, TERMINATED):
        windows.reward_mask[b, k] = 1
    following = _successor(states, slot)
    if following < 0:
        return slot, kind == TERMINATED
    windows.observation_mask[b, k] = 1
    return following, True


@njit(cache=True, nogil=True)
def _split_value_target(
    states: States, windows: Windows, b: int, k: int, discount: float, td_steps: int, off_policy_cut: float
) -> None:
    """The n-step value target of the state of step k of window b, for the player to move there, in its two parts."""
    start = windows.slots[b, k]
    player = states.to_play[start]
    slot = start
    total = 0.0
    weight = 1.0
    for _ in range(td_steps):
        following = _successor(states, slot)
        if following < 0 or not _follows_policy(states, slot, off_policy_cut):
            break
        sign = 1.0 if states.to_play[slot] == player else -1.0
        total += weight * sign * states.rewards[slot]
        weight *= discount
        slot = following
    windows.reward_sums[b, k] = total
    windows.bootstrap_slots[b, k] = slot
    if states.kinds[slot] != TERMINATED:
        windows.bootstrap_weights[b, k] = weight if states.to_play[slot] == player else -weight


@njit(cache=True, nogil=True)
def _fill_policy(target: np.ndarray, states: States, slot: int, policy_smoothing: float) -> None:
    """target = (1 - s) search policy + s / (number of legal actions) where legal."""
    policy, legal = states.search_policies[slot], states.legal_actions[slot]
    num_legal = 0
    for action in range(len(legal)):
        num_legal += legal[action]
    for action in range(len(target)):
        target[action] = (1.0 - policy_smoothing) * policy[action]
        if legal[action]:
            target[action] += policy_smoothing / num_legal


@njit(cache=True, nogil=True)
def _follows_policy(states: States, slot: int, off_policy_cut: float) -> bool:
    """See `core.targets.follows_policy`."""
    policy = states.search_policies[slot]
    likeliest = policy[0]
    for action in range(1, len(policy)):
        likeliest = max(likeliest, policy[action])
    followed: bool = policy[states.actions[slot]] >= np.float32(off_policy_cut) * likeliest
    return followed


@njit(cache=True, nogil=True)
def _successor(states: States, slot: int) -> int:
    """The slot of the next state of the same game, -1 where it is not known."""
    if states.successors[slot] == 0:
        return -1
    following: int = slot + states.successors[slot]
    capacity = len(states.successors)
    return following - capacity if following >= capacity else following
