"""The data that crosses a seam: what self-play hands to replay, and replay to the learner.

Shapes use the letters of the whole package: T actions in a trajectory, B batch, K unroll steps,
A actions. Every type checks itself where data enters (`check`), and computes nothing.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from muzero_ray.core.frames import stack_frames

Weights = dict[str, np.ndarray]
"""A network's parameters by name, float32, as published by the trainer: torch's `state_dict` in NumPy."""


@dataclass(frozen=True)
class Trajectory:
    """T consecutive transitions of one game, with the search that chose each action.

    A game may come in several pieces, so that long games are learnt from while they run. All pieces
    of one game carry its `game_id`; `first_step` counts the transitions before this piece. A piece
    that ends its game has `terminated` or `truncated` set; any other is continued by the next.
    """

    observations: np.ndarray  # [T + 1, ...] dtype of the game's spec; the state after the last action included
    actions: np.ndarray  # [T] int32
    rewards: np.ndarray  # [T] float32; rewards[t] follows actions[t], told by the player who chose it
    to_play: np.ndarray  # [T + 1] int8; the player to move in each state
    legal_actions: np.ndarray  # [T, A] bool
    search_policies: np.ndarray  # [T, A] float32; sums to 1, 0 on illegal actions
    root_values: np.ndarray  # [T] float32; the search's value of each state, for to_play[t]
    terminated: bool  # the game is over: the state after the last action is worth nothing more
    truncated: bool  # the clock stopped the game: that state is worth `final_value`
    final_value: float  # value of the state after the last action for to_play[T]; 0 unless truncated
    weights_version: int  # of the network that played
    seed: int  # with which the game was reset
    game_id: int  # unique within a run
    first_step: int  # transitions of the same game before this piece
    resigned: bool = False  # truncated, as a player gave up: `final_value` is the outcome, and no estimate

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.actions)

    def check(self, num_actions: int) -> None:
        """Raises ValueError, naming the field, if shapes, finiteness or ranges are wrong."""
        steps = self.num_steps
        where = f"trajectory of game {self.game_id} (seed {self.seed}, from step {self.first_step})"
        wanted = {
            "observations": (self.observations.shape[:1], (steps + 1,)),
            "rewards": (self.rewards.shape, (steps,)),
            "to_play": (self.to_play.shape, (steps + 1,)),
            "legal_actions": (self.legal_actions.shape, (steps, num_actions)),
            "search_policies": (self.search_policies.shape, (steps, num_actions)),
            "root_values": (self.root_values.shape, (steps,)),
        }
        for name, (got, want) in wanted.items():
            if got != want:
                raise ValueError(f"{where}: {name} must have shape {want}, got {got}")
        if steps == 0:
            raise ValueError(f"{where}: must hold at least one transition")
        if self.actions.min() < 0 or self.actions.max() >= num_actions:
            raise ValueError(f"{where}: actions must lie in 0..{num_actions - 1}")
        for name in ("observations", "rewards", "search_policies", "root_values"):
            values = getattr(self, name)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                bad = int(np.argwhere(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0, 0])
                raise ValueError(f"{where}: {name} must be finite, is not at step {self.first_step + bad}")
        if self.terminated and self.truncated:
            raise ValueError(f"{where}: a game is terminated or truncated, not both")
        if self.resigned and not self.truncated:
            raise ValueError(f"{where}: a game that was resigned is truncated")
        if not np.isfinite(self.final_value):
            raise ValueError(f"{where}: final_value must be finite, got {self.final_value}")
        if not np.allclose(self.search_policies.sum(axis=1), 1.0, atol=1e-3):
            raise ValueError(f"{where}: every search policy must sum to 1")
        if (self.search_policies[~self.legal_actions] != 0).any():
            raise ValueError(f"{where}: search policies must be 0 on illegal actions")


@dataclass(frozen=True)
class Batch:
    """B windows of K unroll steps, with the targets of every state in them.

    Masks are float32, 1 where a target counts. Beyond a termination the game is in an absorbing state:
    value and reward count with target 0, the policy does not. Beyond a truncation, or beyond what has
    been recorded of a running game, nothing counts.
    """

    observations: np.ndarray  # [B, ...] the state each window starts from, as a network sees it: `spec.input_shape`
    actions: np.ndarray  # [B, K] int32; drawn at random where the game is over
    target_values: np.ndarray  # [B, K + 1] float32, for the player to move in that state
    value_mask: np.ndarray  # [B, K + 1]
    target_rewards: np.ndarray  # [B, K] float32; target_rewards[:, k] follows actions[:, k]
    reward_mask: np.ndarray  # [B, K]
    target_policies: np.ndarray  # [B, K + 1, A] float32
    policy_mask: np.ndarray  # [B, K + 1]
    importance_weights: np.ndarray  # [B] float32; 1 unless sampling is prioritised
    indices: np.ndarray  # [B] int64; the buffer's name for the first state of each window
    next_observations: np.ndarray | None = None  # [B, K, ...] states reached; only for the consistency loss
    observation_mask: np.ndarray | None = None  # [B, K]; 1 where next_observations holds a recorded state
    same_player: np.ndarray | None = None  # [B, K] float32; 1 where who played actions[:, k] is to move in the state
    # reached; only for networks that learn whose turn comes next
    turn_mask: np.ndarray | None = None  # [B, K]; 1 where both states are recorded
    frames: np.ndarray | None = None  # [B, n + K, C, H, W] uint8; only where observations and next_observations are
    # stacks of n frames, and views of these: so every frame is there once, and travels once
    publish_after: bool | None = None  # in lockstep, whether the trainer publishes when it has learnt from it

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without the views of `frames`."""
        views = () if self.frames is None else ("observations", "next_observations")
        return {name: value for name, value in self.__dict__.items() if name not in views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """From pickle: the views are made anew."""
        self.__dict__.update(state)
        if self.frames is not None:
            stacks = stack_frames(self.frames, self.frames.shape[1] - self.actions.shape[1])
            self.__dict__.update(observations=stacks[:, 0], next_observations=stacks[:, 1:])

    def check(self) -> None:
        """Raises ValueError, naming the field, if shapes or finiteness are wrong."""
        size, unroll = self.actions.shape
        wanted = {
            "observations": (self.observations.shape[:1], (size,)),
            "target_values": (self.target_values.shape, (size, unroll + 1)),
            "value_mask": (self.value_mask.shape, (size, unroll + 1)),
            "target_rewards": (self.target_rewards.shape, (size, unroll)),
            "reward_mask": (self.reward_mask.shape, (size, unroll)),
            "target_policies": (self.target_policies.shape[:2], (size, unroll + 1)),
            "policy_mask": (self.policy_mask.shape, (size, unroll + 1)),
            "importance_weights": (self.importance_weights.shape, (size,)),
            "indices": (self.indices.shape, (size,)),
        }
        for name in ("same_player", "turn_mask"):
            if (optional := getattr(self, name)) is not None:
                wanted[name] = (optional.shape, (size, unroll))
        for name, (got, want) in wanted.items():
            if got != want:
                raise ValueError(f"batch: {name} must have shape {want}, got {got}")
        if (self.same_player is None) != (self.turn_mask is None):
            raise ValueError("batch: same_player and turn_mask must both be given, or neither")
        for name in ("target_values", "target_rewards", "target_policies", "importance_weights"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"batch: {name} must be finite")


@dataclass(frozen=True)
class ReanalyzeRequest:
    """Stored states whose search is to be repeated with newer weights."""

    indices: np.ndarray  # [B] int64; the buffer's name for each state
    observations: np.ndarray  # [B, ...]
    legal_actions: np.ndarray  # [B, A] bool


@dataclass(frozen=True)
class ReanalyzeResult:
    """What a repeated search found, to be written back where it is newer than what is stored."""

    indices: np.ndarray  # [B] int64, as in the request
    search_policies: np.ndarray  # [B, A] float32
    root_values: np.ndarray  # [B] float32
    weights_version: int
    seconds: float = 0.0  # spent searching


@dataclass(frozen=True)
class Episode:
    """The outcome of one finished game."""

    returns: tuple[float, ...]  # undiscounted sum of rewards of each player
    length: int  # moves
    seed: int
    truncated: bool


@dataclass(frozen=True)
class SelfPlayReport:
    """What one stretch of self-play did, for the metrics."""

    env_steps: int
    simulations: int
    weights_version: int
    seconds: dict[str, float] = field(default_factory=dict)  # by stage: "search", "games", "weights"
    episodes: tuple[Episode, ...] = ()
    resigned: int = 0  # games given up
    resignations_tested: int = 0  # games that would have been, but were played on
    resignations_false: int = 0  # those of them that were not lost
    notes: tuple[str, ...] = ()  # what the user should know of how it is played, in sentences
    process: int = 0  # number of the actor's process that played it: later ones have larger numbers; 0: not known
