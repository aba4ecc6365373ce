"""A game in which a move may give another one: a whole run learns whose turn comes next, and plays it well."""

import functools
from pathlib import Path

import numpy as np
from reference.tiny_runs import tiny_config

from muzero_ray.actors import build
from muzero_ray.app.local_run import LocalRun
from muzero_ray.app.saving.snapshot import Snapshot

GAME = '''"""Take 1, 2 or 3 stones; who takes 3 moves again; who takes the last one loses."""

import numpy as np

from muzero_ray.core.game import Game, GameSpec


class TakeAgain(Game):
    spec = GameSpec(
        observation_shape=(13,), num_actions=3, num_players=2, value_bounds=(-1.0, 1.0), alternating=False
    )

    def reset(self, seed):
        self.stones, self.player = int(np.random.default_rng(seed).integers(2, 13)), 0
        return self.observation(), {}

    def observation(self):
        return np.eye(13, dtype=np.float32)[self.stones]

    @property
    def to_play(self):
        return self.player

    def legal_actions(self):
        return np.arange(1, 4) <= self.stones

    def step(self, action):
        if not 1 <= action + 1 <= self.stones:
            raise ValueError(f"take {action + 1} of {self.stones}")
        self.stones -= action + 1
        if action != 2:
            self.player = 1 - self.player
        return self.observation(), -float(self.stones == 0), self.stones == 0, False, {}
'''


@functools.cache
def outcomes(stones: int) -> dict[int, int]:
    """What each action leads to with best play on both sides, for who moves.

    With one stone left it must be taken: -1. Of two, take one. Of three, two. With four, taking three leaves the
    same player with the last one, and one or two leave the other with what it can win: all is lost.
    """
    found = {}
    for action in range(min(3, stones)):
        rest = stones - action - 1
        best = max(outcomes(rest).values()) if rest else 0
        found[action] = -1 if rest == 0 else best if action == 2 else -best
    return found


class NobodyWatches:
    """Stands in for the run's monitor."""

    def __getattr__(self, name):
        return lambda *args: False


def test_a_run_learns_whose_turn_comes_next_and_never_errs(tmp_path: Path) -> None:
    assert [max(outcomes(stones).values()) for stones in range(1, 6)] == [-1, 1, 1, -1, 1]
    path = tmp_path / "takeagain.py"
    path.write_text(GAME)
    config = tiny_config(
        game=str(path),
        search={"q_normalization": "bounds", "num_simulations": 8, "c_scale": 1.0, "max_considered_actions": 3},
        network={"latent_size": 16, "hidden_size": 32, "head_size": 32, "value_head": "scalar"},
        self_play={"games_per_actor": 16, "sampled_moves": 8, "noise_scale": [1.0, 1.0]},
        replay={"min_steps": 200, "capacity_steps": 4000},
        train={
            "env_steps": 8000,
            "batch_size": 64,
            "replay_ratio": 8.0,
            "td_steps": 12,
            "discount": 1.0,
            "off_policy_cut": 0.0,
            "policy_smoothing": 0.0,
            "publish_interval": 10,
            "learning_rate": 0.003,
        },
        reanalyze={"ratio": 0.0, "fresh_values": False},
    )
    run = LocalRun(config, 1, "cpu", NobodyWatches(), None)
    while not run.finished:
        run.step()
    snapshots: list[Snapshot] = []
    run.take_snapshot(snapshots.append)
    agent = build.Agent(config, snapshots[0].weights)
    heaps = np.arange(1, 13)
    observations = np.eye(13, dtype=np.float32)[heaps]
    legal = np.arange(1, 4) <= heaps[:, np.newaxis]
    found = agent.planner(
        agent.model,
        observations,
        legal,
        num_simulations=32,
        noise_scale=0.0,
        temperature=0.0,
        rng=np.random.default_rng(0),
    )
    for stones, action in zip(heaps.tolist(), found.actions.tolist(), strict=True):
        assert outcomes(stones)[action] == max(outcomes(stones).values()), f"{stones} stones, took {action + 1}"
    agent.model.initial(observations, num_nodes=2)
    for action, again in ((0, -1), (1, -1), (2, 1)):
        step = agent.model.recurrent(np.zeros(12, np.int32), np.full(12, action, np.int32), 1)
        # Where the heap is empty afterwards nobody moves, and nothing is learnt of it.
        left = heaps > action + 1
        assert (step.discounts[left] == again).all()
