"""The whole system on one page: which actors there are, and who talks to whom.

     SelfPlay x n --trajectories--> ReplayBuffer --batches--> Trainer
          ^                          |       ^                   |
          |                positions |       | refreshed         | weights
          |                          v       |                   v
          +------- newest ------- Reanalyze ----- newest --- SharedStorage --- newest --> Evaluator

The head (`distributed_run.py`) asks each actor for short stretches of work, so that every one is visible
in the dashboard and any error comes back to it. Trajectories, batches and weights pass between the
actors as object references; the head sees only reports.
"""

from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from muzero_ray.actors import build, names
from muzero_ray.actors.evaluator import WATCH, Evaluator
from muzero_ray.actors.logs import Logs
from muzero_ray.actors.reanalyze import Reanalyze
from muzero_ray.actors.replay_buffer import ReplayBufferActor
from muzero_ray.actors.self_play import SelfPlay
from muzero_ray.actors.shared_storage import SharedStorage
from muzero_ray.actors.trainer import Trainer
from muzero_ray.adapters.loading import load_game
from muzero_ray.app.cluster import Plan
from muzero_ray.app.supervisor import Role
from muzero_ray.core.config import Config


@dataclass(frozen=True)
class Topology:
    """The actors of one run."""

    storage: Role
    buffer: Role
    trainer: Role
    self_play: tuple[Role, ...]
    reanalyze: Role | None
    evaluator: Role

    @property
    def roles(self) -> tuple[Role, ...]:
        """All of them, in the order in which they are to be stopped."""
        rest = (self.reanalyze,) if self.reanalyze else ()
        return (*self.self_play, *rest, self.evaluator, self.trainer, self.buffer, self.storage)


def launch(config: Config, plan: Plan, logs: Logs | None = None) -> Topology:
    """Creates every actor; returns at once, while their processes start.

    Storage, buffer and trainer wait for their `start`, which gives them what they continue from.

    Args:
        config: of the run.
        plan: how many of what.
        logs: where they log; None leaves their logging alone.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)

    def actor(name: str, cls: type, *args: Any, beside: dict[str, int] | None = None, **options: Any) -> Role:
        # Whatever dies is started again by Ray with the same arguments; the supervisor counts and restores.
        defaults = {"name": name, "num_cpus": 0, "max_restarts": -1, "max_task_retries": 0}
        made = ray.remote(concurrency_groups=beside or {})(cls)  # type: ignore[call-overload]  # Ray's hints lack it
        return Role(name, made.options(**{**defaults, **options}).remote(*args, logs))

    spec = build.game_spec(load_game(config.game))
    return Topology(
        # First, since everybody waits for its first weights, and it for torch.
        trainer=actor(
            *(names.TRAINER, Trainer, config, spec, plan.device, plan.trainer_threads),
            num_gpus=1 if plan.device == "cuda" else 0,
        ),
        storage=actor(names.STORAGE, SharedStorage, scheduling_strategy=here, max_concurrency=1000 + plan.num_actors),
        buffer=actor(
            *(names.BUFFER, ReplayBufferActor, config, plan.num_actors),
            scheduling_strategy=here,
            # Calls that wait in it at once: every delivery may, and others have to get past them.
            max_concurrency=1000 + plan.num_actors * config.system.max_pending,
        ),
        self_play=tuple(
            actor(names.self_play(index), SelfPlay, config, index, num_cpus=1, scheduling_strategy="SPREAD")
            for index in range(plan.num_actors)
        ),
        reanalyze=actor(names.REANALYZE, Reanalyze, config) if config.reanalyze.ratio > 0 else None,
        evaluator=actor(names.EVALUATOR, Evaluator, config, beside={WATCH: 1}),
    )
