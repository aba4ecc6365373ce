"""A planner and a model without search or network, whose answers are functions of the observation.

What they answer can be computed again from a recorded observation, so a test can tell whether an answer
was stored beside the state it belongs to.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from muzero_ray.core.types import Weights
from muzero_ray.mcts.model import RootOutput, StepOutput


@dataclass(frozen=True)
class FakeResult:
    """The fields of the search's result that callers use."""

    actions: np.ndarray
    search_policies: np.ndarray
    visit_counts: np.ndarray
    root_values: np.ndarray
    raw_values: np.ndarray


class FakeModel:
    """Values an observation at `scale` times its sum, where the weights say what `scale` is."""

    def __init__(self, num_actions: int = 3) -> None:
        self.num_actions = num_actions
        self.scale = 0.0
        self.batch_sizes: list[int] = []

    def set_weights(self, weights: Weights) -> None:
        self.scale = float(weights["scale"][0])

    def initial(self, observations: np.ndarray, num_nodes: int) -> RootOutput:
        self.batch_sizes.append(len(observations))
        values = self.scale * observations.reshape(len(observations), -1).sum(axis=1)
        return RootOutput(values.astype(np.float32), np.zeros((len(observations), self.num_actions), np.float32))

    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        raise AssertionError("the fake planner never asks for this")


def policy_of(observation: np.ndarray, legal: np.ndarray) -> np.ndarray:
    """`[A]` search policy that the fake planner finds for one observation."""
    weights = legal * (1.0 + (observation.sum() + np.arange(len(legal))) % 4)
    return weights / weights.sum()


@dataclass
class FakePlanner:
    """Answers `policy_of`; the action is drawn from it if there is noise, and its largest one if there is none."""

    num_simulations: int = 4
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(
        self,
        model: FakeModel,
        observations: np.ndarray,
        legal_actions: np.ndarray,
        *,
        num_simulations: int | None = None,
        noise_scale: float | np.ndarray,
        temperature: float | np.ndarray,
        rng: np.random.Generator,
        gumbel: np.ndarray | None = None,
    ) -> FakeResult:
        self.calls.append(
            {
                "observations": observations.copy(),
                "num_simulations": num_simulations,
                "noise_scale": np.copy(noise_scale),
                "temperature": np.copy(temperature),
                "gumbel": None if gumbel is None else gumbel.copy(),
            }
        )
        raw = model.initial(observations, num_nodes=1).values
        policies = np.array([policy_of(row, legal) for row, legal in zip(observations, legal_actions, strict=True)])
        noisy = np.broadcast_to(noise_scale, len(policies)) > 0
        drawn = [int(rng.choice(len(policy), p=policy)) for policy in policies]
        actions = np.where(noisy, drawn, policies.argmax(axis=1)).astype(np.int32)
        visits = np.zeros(policies.shape, np.int32)
        visits[:, 0] = num_simulations or self.num_simulations
        return FakeResult(actions, policies.astype(np.float32), visits, raw + 0.5, raw.copy())
