"""Small replay buffers for tests, and games to fill them with."""

from typing import Any

import numpy as np
from reference.naive_replay import RecordedGame

from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import Trajectory
from muzero_ray.replay.buffer import ReplayBuffer

SPEC = GameSpec(observation_shape=(2,), num_actions=3)
"""Of the games in `naive_replay`: an observation is (game_id, step)."""


def make_buffer(spec: GameSpec = SPEC, **changes: Any) -> ReplayBuffer:
    """A buffer with room for everything, unless told otherwise."""
    options: dict[str, Any] = {
        "capacity_steps": 10_000,
        "capacity_bytes": 10**8,
        "batch_size": 32,
        "unroll_steps": 3,
        "td_steps": 4,
        "off_policy_cut": 0.0,
        "off_policy_cut_warmup": 0,
        "policy_smoothing": 0.0,
        "discount": 0.9,
        "prioritized": False,
        "priority_exponent": 1.0,
        "importance_exponent": 1.0,
        "with_next_observations": True,
        "rng": np.random.default_rng(0),
    }
    return ReplayBuffer(spec, **options | changes)


def priorities_of(buffer: ReplayBuffer) -> dict[tuple[int, int], float]:
    """What every state held would be drawn by, by (game_id, step)."""
    state = buffer.state_dict()
    names = [(int(game), int(step)) for game, step in state["observations"]]
    return dict(zip(names, state["priorities"].tolist(), strict=True))


def all_indices(buffer: ReplayBuffer) -> np.ndarray:
    """The indices of all states held, oldest first."""
    state = buffer.state_dict()
    end = int(state["end_id"])
    return np.arange(end - len(state["kinds"]), end)


def game_of(length: int, game_id: int = 0, ending: str = "terminated") -> RecordedGame:
    """A game of one player in which nothing happens; action 1 is illegal."""
    return RecordedGame(
        game_id=game_id,
        ending=ending,
        actions=[0] * length,
        rewards=[0.0] * length,
        to_play=[0] * (length + 1),
        policies=[[1.0, 0.0, 0.0]] * length,
        values=[0.0] * length + [0.5 if ending in ("truncated", "resigned") else 0.0],
        legal=[[True, False, True]] * length,
    )


def whole(length: int, game_id: int = 0, ending: str = "terminated") -> Trajectory:
    """Such a game in one piece."""
    return game_of(length, game_id, ending).next_piece(length)
