"""PPO and DQN of stable-baselines3: `python benchmarks/agents/baselines.py ppo --game cartpole --seed 0 --out FILE`.

Trains with the tuned settings of rl-baselines3-zoo, on one torch thread, and writes a learning curve as JSONL. The
greedy agent is measured on the same episodes as ours, and all its seconds count from the start of this process.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import gymnasium
import numpy as np
import psutil
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from muzero_ray.core.rng import evaluation_seeds, role_seed, training_seeds

EPISODES, FINAL_EPISODES = 20, 100
ENVIRONMENTS = {"lunarlander": "LunarLander-v3", "cartpole": "CartPole-v1"}
INTERVALS = {"lunarlander": 10_000, "cartpole": 5_000}
"""Env steps between two evaluations."""


@dataclass(frozen=True)
class Settings:
    """How one algorithm is trained on one game."""

    env_steps: int
    """At least so many; PPO finishes the rollout in which they end."""
    options: dict[str, Any]
    """Of the algorithm's constructor, where they differ from its defaults."""
    environments: int = 1
    """Played at once."""


def linear(initial: float) -> Callable[[float], float]:
    """A schedule that falls from `initial` to 0 with the share of training that is left."""
    return lambda remaining: initial * remaining


SETTINGS = {
    ("ppo", "lunarlander"): Settings(
        env_steps=1_000_000,
        environments=16,
        options={
            "n_steps": 1024,
            "batch_size": 64,
            "gae_lambda": 0.98,
            "gamma": 0.999,
            "n_epochs": 4,
            "ent_coef": 0.01,
        },
    ),
    ("dqn", "lunarlander"): Settings(
        env_steps=100_000,
        options={
            "learning_rate": 6.3e-4,
            "batch_size": 128,
            "buffer_size": 50_000,
            "learning_starts": 0,
            "gamma": 0.99,
            "target_update_interval": 250,
            "train_freq": 4,
            "gradient_steps": -1,
            "exploration_fraction": 0.12,
            "exploration_final_eps": 0.1,
            "policy_kwargs": {"net_arch": [256, 256]},
        },
    ),
    ("ppo", "cartpole"): Settings(
        env_steps=100_000,
        environments=8,
        options={
            "n_steps": 32,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "ent_coef": 0.0,
            "learning_rate": linear(1e-3),
            "clip_range": linear(0.2),
        },
    ),
    ("dqn", "cartpole"): Settings(
        env_steps=50_000,
        options={
            "learning_rate": 2.3e-3,
            "batch_size": 64,
            "buffer_size": 100_000,
            "learning_starts": 1000,
            "gamma": 0.99,
            "target_update_interval": 10,
            "train_freq": 256,
            "gradient_steps": 128,
            "exploration_fraction": 0.16,
            "exploration_final_eps": 0.04,
            "policy_kwargs": {"net_arch": [256, 256]},
        },
    ),
}
"""Source: github.com/DLR-RM/rl-baselines3-zoo, hyperparams/ppo.yml and dqn.yml."""


class GreedyPlayer:
    """Plays deterministic episodes, all at once, with one inference per move."""

    def __init__(self, env_id: str, seed: int) -> None:
        self._env_id = env_id
        self._seed = seed
        self._games: list[gymnasium.Env[Any, Any]] = []

    def returns(self, model: BaseAlgorithm, episodes: int) -> list[float]:
        """The return of each of so many episodes, on the evaluation seeds of the run."""
        while len(self._games) < episodes:
            self._games.append(gymnasium.make(self._env_id))
        returns = [0.0] * episodes
        seeds = evaluation_seeds(self._seed, episodes)
        running = {index: self._games[index].reset(seed=seed)[0] for index, seed in enumerate(seeds)}
        while running:
            actions, _ = model.predict(np.stack(list(running.values())), deterministic=True)
            for index, action in zip(list(running), actions.tolist(), strict=True):
                running[index], reward, terminated, truncated, _ = self._games[index].step(action)
                returns[index] += float(reward)
                if terminated or truncated:
                    del running[index]
        return returns


class CurveWriter(BaseCallback):
    """Evaluates every `interval` env steps and writes a row for each evaluation."""

    def __init__(self, player: GreedyPlayer, interval: int, file: TextIO) -> None:
        super().__init__()
        self._player = player
        self._interval = interval
        self._next = interval
        self._file = file
        self._began = psutil.Process().create_time()

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next = (self.num_timesteps // self._interval + 1) * self._interval
            self.evaluate(EPISODES)
        return True

    def evaluate(self, episodes: int, final: bool = False) -> None:
        """Measures the agent as it is now, and writes the row."""
        returns = self._player.returns(self.model, episodes)
        row = make_row(self.model.num_timesteps, time.time() - self._began, returns, final)
        self._file.write(f"{json.dumps(row)}\n")
        self._file.flush()
        print(
            f"{row['env_steps']:>9,} env steps {row['seconds']:>8.1f} s  return {row['mean']:8.1f}"
            f" +- {row['std']:.1f} over {episodes} episodes",
            flush=True,
        )


def make_row(env_steps: int, seconds: float, returns: Sequence[float], final: bool) -> dict[str, Any]:
    """A row of the curve; `std` is of single returns, with n - 1."""
    return {
        "env_steps": env_steps,
        "seconds": round(seconds, 3),
        "mean": statistics.fmean(returns),
        "std": statistics.stdev(returns),
        "returns": list(returns),
        "final": final,
    }


def main() -> int:
    """Trains one agent; the file is written line by line, and its last row has `final` true."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("algorithm", choices=["ppo", "dqn"])
    parser.add_argument("--game", choices=list(ENVIRONMENTS), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the curve; written anew")
    parser.add_argument("--env-steps", type=int, help="fewer than the settings' own, to try it")
    parser.add_argument("--core", type=int, help="stay on this CPU core (Linux)")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    torch.set_num_threads(1)
    settings = SETTINGS[options.algorithm, options.game]
    env_id, interval = ENVIRONMENTS[options.game], INTERVALS[options.game]
    # Training games take their seeds from a range in which no evaluation game has one.
    seed = int(training_seeds(np.random.default_rng(role_seed(options.seed, options.algorithm)), 1)[0])
    algorithm: Any = {"ppo": PPO, "dqn": DQN}[options.algorithm]
    environments = make_vec_env(env_id, n_envs=settings.environments)
    model = algorithm("MlpPolicy", environments, seed=seed, device="cpu", **settings.options)
    print(f"{options.algorithm} on {env_id}, seed {options.seed}, {torch.get_num_threads()} torch thread", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", encoding="utf-8") as file:
        writer = CurveWriter(GreedyPlayer(env_id, options.seed), interval, file)
        model.learn(options.env_steps or settings.env_steps, callback=writer)
        writer.evaluate(FINAL_EPISODES, final=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
