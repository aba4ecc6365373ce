"""Whole recorded games in plain Python, and a slow twin of the windows that the replay buffer cuts from them."""

from dataclasses import dataclass, field

import numpy as np
from reference.naive_targets import naive_value_target

from muzero_ray.core.types import Trajectory


@dataclass
class RecordedGame:
    """A game as it went, and how much of it has been delivered. The observation of state t is (game_id, t)."""

    game_id: int
    ending: str  # "terminated", "truncated", "resigned" or "open"
    actions: list[int]
    rewards: list[float]
    to_play: list[int]  # one more than actions
    policies: list[list[float]]
    values: list[float]  # one more than actions; the last is the final value
    legal: list[list[bool]]
    weights_version: int = 0
    delivered: int = 0  # transitions

    @property
    def length(self) -> int:
        return len(self.actions)

    @property
    def over(self) -> bool:
        return self.delivered == self.length and self.ending != "open"

    @property
    def last_state(self) -> int:
        """The newest recorded state: the last of all when the game is over, else the last with an action."""
        return self.length if self.over else self.delivered - 1

    def next_piece(self, size: int) -> Trajectory:
        """Delivers up to `size` transitions more."""
        start, end = self.delivered, min(self.delivered + size, self.length)
        self.delivered = end
        return Trajectory(
            observations=np.array([[self.game_id, t] for t in range(start, end + 1)], np.float32),
            actions=np.array(self.actions[start:end], np.int32),
            rewards=np.array(self.rewards[start:end], np.float32),
            to_play=np.array(self.to_play[start : end + 1], np.int8),
            legal_actions=np.array(self.legal[start:end], bool),
            search_policies=np.array(self.policies[start:end], np.float32),
            root_values=np.array(self.values[start:end], np.float32),
            terminated=self.over and self.ending == "terminated",
            truncated=self.over and self.ending in ("truncated", "resigned"),
            final_value=self.values[-1] if self.over else 0.0,
            weights_version=self.weights_version,
            seed=self.game_id,
            game_id=self.game_id,
            first_step=start,
            resigned=self.over and self.ending == "resigned",
        )


def random_game(
    rng: np.random.Generator, game_id: int, *, num_actions: int = 3, max_length: int = 12, ending: str | None = None
) -> RecordedGame:
    """A game of random length, turn order, numbers and ending; all numbers are exact in float32."""
    length = int(rng.integers(1, max_length + 1))
    ending = ending or str(rng.choice(["terminated", "truncated", "resigned", "open"]))
    legal = rng.random((length, num_actions)) < 0.7
    legal[np.arange(length), rng.integers(num_actions, size=length)] = True
    policies = (rng.random((length, num_actions)) + 0.1) * legal
    policies = (policies / policies.sum(axis=1, keepdims=True)).astype(np.float32)
    values = rng.normal(size=length + 1).astype(np.float32)
    if ending == "terminated":
        values[-1] = 0
    return RecordedGame(
        game_id=game_id,
        ending=ending,
        actions=rng.integers(num_actions, size=length).tolist(),
        rewards=rng.normal(size=length).astype(np.float32).tolist(),
        to_play=rng.integers(2, size=length + 1).tolist(),
        policies=policies.tolist(),
        values=values.tolist(),
        legal=legal.tolist(),
    )


@dataclass
class NaiveWindow:
    """One window; an action or observation of None may be anything."""

    actions: list[int | None] = field(default_factory=list)
    target_values: list[float] = field(default_factory=list)
    value_mask: list[int] = field(default_factory=list)
    target_rewards: list[float] = field(default_factory=list)
    reward_mask: list[int] = field(default_factory=list)
    target_policies: list[list[float]] = field(default_factory=list)
    policy_mask: list[int] = field(default_factory=list)
    next_observations: list[list[float] | None] = field(default_factory=list)


def naive_window(
    game: RecordedGame,
    start: int,
    *,
    unroll_steps: int,
    td_steps: int,
    discount: float,
    off_policy_cut: float = 0.0,
    policy_smoothing: float = 0.0,
) -> NaiveWindow:
    """The window from state `start` of what has been delivered of a game."""
    window = NaiveWindow()
    absorbing = game.over and game.ending == "terminated"
    values = game.values[: game.last_state + 1]
    follows = [p[a] >= off_policy_cut * max(p) for p, a in zip(game.policies, game.actions, strict=True)]
    no_policy = [0.0] * len(game.policies[0])
    for t in range(start, start + unroll_steps + 1):
        recorded, played = t <= game.last_state, t < game.delivered
        target = 0.0
        if recorded:
            target = naive_value_target(
                game.rewards, game.to_play, values, t, discount=discount, td_steps=td_steps, follows=follows
            )
        window.target_values.append(target)
        window.value_mask.append(int(recorded or absorbing))
        window.target_policies.append(smoothed(game, t, policy_smoothing) if played else no_policy)
        window.policy_mask.append(int(played))
        if t < start + unroll_steps:
            window.actions.append(game.actions[t] if played else None)
            window.target_rewards.append(game.rewards[t] if played else 0.0)
            window.reward_mask.append(int(played or absorbing))
            window.next_observations.append([game.game_id, t + 1] if t + 1 <= game.last_state else None)
    return window


def smoothed(game: RecordedGame, t: int, share: float) -> list[float]:
    """The search policy of state t, but for a share that goes to all legal actions alike."""
    even = [1 / sum(game.legal[t]) if legal else 0.0 for legal in game.legal[t]]
    return [(1 - share) * p + share * e for p, e in zip(game.policies[t], even, strict=True)]
