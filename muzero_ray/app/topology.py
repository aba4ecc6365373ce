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
from ray.util.placement_group import PlacementGroup, placement_group

from muzero_ray.actors import build, names
from muzero_ray.actors.evaluator import WATCH, Evaluator
from muzero_ray.actors.logs import Logs
from muzero_ray.actors.reanalyze import Reanalyze
from muzero_ray.actors.replay_buffer import ReplayBufferActor
from muzero_ray.actors.replay_in_lockstep import ReplayInLockstep
from muzero_ray.actors.self_play import SelfPlay
from muzero_ray.actors.shared_storage import SharedStorage
from muzero_ray.actors.trainer import Trainer
from muzero_ray.adapters.loading import load_game
from muzero_ray.app import placement
from muzero_ray.app.cluster import Plan
from muzero_ray.app.supervisor import Role
from muzero_ray.core.config import Config

_RESERVE_SECONDS = 5.0
"""How long CPUs that are there may take to be reserved."""


@dataclass(frozen=True)
class Topology:
    """The actors of one run.

    `self_play` are as many as there will ever be; those for which there is no place yet wait for it.
    """

    storage: Role
    buffer: Role
    trainer: Role
    self_play: tuple[Role, ...]
    reanalyze: Role | None
    evaluator: Role
    reserve: PlacementGroup | None = None  # CPUs that self-play may not have

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
    head = ray.get_runtime_context().get_node_id()
    where = placement.place(ray.nodes(), head, plan.device)  # type: ignore[no-untyped-call]

    def actor(name: str, cls: type, *args: Any, beside: dict[str, int] | None = None, **options: Any) -> Role:
        # Whatever dies is started again by Ray with the same arguments; the supervisor counts and restores.
        defaults = {"name": name, "num_cpus": 0, "max_restarts": -1, "max_task_retries": 0}
        made = ray.remote(concurrency_groups=beside or {})(cls)  # type: ignore[call-overload]  # Ray's hints lack it
        return Role(name, made.options(**{**defaults, **options}).remote(*args, logs))

    def self_play(index: int) -> Role:
        return actor(
            *(names.self_play(index), SelfPlay, config, index),
            num_cpus=1,
            num_gpus=config.self_play.num_gpus,
            scheduling_strategy="SPREAD",
            **where.work,
        )

    spec = build.game_spec(load_game(config.game))
    return Topology(
        # First, since everybody waits for its first weights, and it for torch.
        trainer=actor(
            *(names.TRAINER, Trainer, config, spec, plan.device, plan.trainer_threads),
            num_gpus=plan.trainer_gpus,
            **where.state,
        ),
        storage=actor(names.STORAGE, SharedStorage, max_concurrency=1000 + plan.most_actors, **where.state),
        buffer=actor(
            *(names.BUFFER, ReplayInLockstep if config.in_lockstep else ReplayBufferActor, config, plan.num_actors),
            # Calls that wait in it at once: every delivery may, and others have to get past them.
            max_concurrency=1000 + plan.most_actors * config.system.max_pending,
            num_gpus=config.buffer_gpus if config.replay.shards == 1 else 0,  # else its shards take it
            **where.state,
        ),
        reserve=_reserve(plan.reserved_cpus, where.home) if plan.reserved_cpus else None,
        self_play=tuple(self_play(index) for index in range(plan.most_actors)),
        reanalyze=(
            actor(names.REANALYZE, Reanalyze, config, num_gpus=config.reanalyze.num_gpus, **where.work)
            if config.reanalyze.ratio > 0
            else None
        ),
        evaluator=actor(
            *(names.EVALUATOR, Evaluator, config),
            num_gpus=config.evaluate.num_gpus,
            beside={WATCH: 1},
            **where.examination,
        ),
    )


def _reserve(cpus: int, node: str) -> PlacementGroup:
    """Keeps CPUs of a node from actors that take any: trainer and buffer take none, so that they have a place on every
    node when theirs is lost, and need some all the same."""
    group: PlacementGroup = placement_group([{"CPU": cpus}], bundle_label_selector=[{placement.NODE: node}])
    group.wait(_RESERVE_SECONDS)
    return group
