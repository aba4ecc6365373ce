"""What it costs to keep the most probable actions of a node only: searches with and without that bound, compared.

    python benchmarks/candidates.py results/chess/2026-01-31--12-00-00

From random positions of the run's game, with its newest weights and the same noise, it searches with all actions and
with `--keep` candidates, and says how much of the policy is lost: in the nodes below the root (prior beyond the
candidates, which no search can reach there) and in what the search returns. Random weights are the worst case, a
uniform policy, of which the candidates hold keep / A only.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from muzero_ray.app.agent import open_agent
from muzero_ray.core.game import Game
from muzero_ray.mcts.model import RootOutput, SearchModel, StepOutput
from muzero_ray.mcts.planner import make_planner
from muzero_ray.mcts.search import SearchResult


class Watched:
    """A model that notes how much prior lies beyond the most probable actions of every node below the root."""

    def __init__(self, model: SearchModel, keep: int) -> None:
        self._model = model
        self._keep = keep
        self.lost: list[float] = []

    def initial(self, observations: np.ndarray, num_nodes: int) -> RootOutput:
        return self._model.initial(observations, num_nodes)

    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        step = self._model.recurrent(parent_nodes, actions, new_node)
        priors = np.exp(step.policy_logits - step.policy_logits.max(axis=1, keepdims=True))
        priors /= priors.sum(axis=1, keepdims=True)
        kept = np.partition(priors, -self._keep, axis=1)[:, -self._keep :].sum(axis=1)
        self.lost += (1.0 - kept).tolist()
        return step


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--keep", type=int, default=128)
    parser.add_argument("--positions", type=int, default=64)
    parser.add_argument("--simulations", type=int, nargs="+", default=[32, 200])
    options = parser.parse_args()
    config, agent = open_agent(options.run, "last")
    observations, legal = positions(agent.make_game(), options.positions)
    for simulations in options.simulations:
        found, seconds, lost = [], [], []
        for keep in (agent.spec.num_actions, options.keep):
            planner = make_planner(config.search.model_copy(update={"max_candidates": keep}), agent.spec.value_bounds)
            model = Watched(agent.model, options.keep)
            began = time.perf_counter()
            found.append(
                planner(
                    model,
                    observations,
                    legal,
                    num_simulations=simulations,
                    noise_scale=1.0,
                    temperature=0.0,
                    rng=np.random.default_rng(0),
                )
            )
            seconds.append(time.perf_counter() - began)
            lost = model.lost
        print(f"{simulations} simulations, {options.positions} positions, {options.keep} of {agent.spec.num_actions}:")
        print(f"  prior lost below the root: mean {np.mean(lost):.4f}, median {np.median(lost):.4f}, 95% "
              f"{np.percentile(lost, 95):.4f}")  # fmt: skip
        print(f"  {differences(*found)}")
        print(f"  seconds with all actions {seconds[0]:.2f}, with candidates {seconds[1]:.2f}, the counting included")
    return 0


def positions(game: Game, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`[count, ...]` observations and `[count, A]` legal actions after 2 to 60 random moves."""
    rng = np.random.default_rng(0)
    observations, legal = [], []
    while len(observations) < count:
        observation, _ = game.reset(0)
        for _ in range(int(rng.integers(2, 60))):
            observation, _, terminated, truncated, _ = game.step(int(rng.choice(np.flatnonzero(game.legal_actions()))))
            if terminated or truncated:
                break
        else:
            observations.append(observation)
            legal.append(game.legal_actions())
    return np.stack(observations), np.stack(legal)


def differences(plain: SearchResult, bounded: SearchResult) -> str:
    """How far two searches of the same positions are apart."""
    policy = np.abs(plain.search_policies - bounded.search_policies).sum(axis=1) / 2
    visits = np.abs(plain.visit_counts - bounded.visit_counts).sum(axis=1) / 2 / plain.visit_counts[0].sum()
    same = (plain.actions == bounded.actions).mean()
    return (
        f"share of the search policy that moved: mean {policy.mean():.4f}, largest {policy.max():.4f}; "
        f"of the root's visits: {visits.mean():.4f}; same action in {same:.0%}"
    )


if __name__ == "__main__":
    sys.exit(main())
