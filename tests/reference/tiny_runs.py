"""Configurations so small that a whole run takes a second, and a game file for `--game`."""

from pathlib import Path
from typing import Any

from muzero_ray.core.config import Config

TINY: dict[str, Any] = {
    "game": "cartpole",
    "num_actors": 0,
    "search": {"num_simulations": 4, "max_considered_actions": 2},
    "network": {"latent_size": 8, "hidden_size": 16, "head_size": 16},
    "self_play": {"games_per_actor": 4, "segment_moves": 8},
    "replay": {"min_steps": 64, "capacity_steps": 2000},
    "train": {"env_steps": 320, "batch_size": 16, "replay_ratio": 2.0, "td_steps": 5, "publish_interval": 4},
    "reanalyze": {"ratio": 0.5, "batch_size": 16},
    "evaluate": {"interval": 128, "episodes": 2, "final_episodes": 3, "video": False},
    "system": {"dashboard": False},
}


def tiny_config(**changes: Any) -> Config:
    """`TINY`, with sections merged: `tiny_config(train={"env_steps": 640})`."""
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
    for key, value in changes.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return Config.model_validate(merged)


def write_game(folder: Path, step_body: str, name: str = "mygame") -> Path:
    """Writes a game of two actions whose `step` has the given body; `self.moves` counts the moves before it."""
    path = folder / f"{name}.py"
    body = "\n".join(f"        {line}" for line in step_body.splitlines())
    path.write_text(
        f'''"""A game for tests."""

import numpy as np

from muzero_ray.core.game import Game, GameSpec


class MyGame(Game):
    spec = GameSpec(observation_shape=(2,), num_actions=2)

    def reset(self, seed):
        self.moves = 0
        return np.zeros(2, dtype=np.float32), {{}}

    def step(self, action):
        self.moves += 1
{body}
'''
    )
    return path
