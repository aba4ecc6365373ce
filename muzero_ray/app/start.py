"""The two ways in which a run can be made: in this process, and over Ray.

Each is prepared first, which finds out whether the machine can do what is asked, and made when there is
somebody to watch it. What the run then does is `session`.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

from muzero_ray.actors import build
from muzero_ray.actors.description import describe_network
from muzero_ray.actors.logs import Logs
from muzero_ray.adapters.loading import load_game
from muzero_ray.app.clean_output import say
from muzero_ray.app.errors import UserError
from muzero_ray.app.gpu_shares import asked_for
from muzero_ray.app.local_run import LocalRun
from muzero_ray.app.reporting.monitor import Monitor
from muzero_ray.app.reporting.ray_metrics import RayMetrics
from muzero_ray.app.saving.checkpoint_reader import Checkpoint, CheckpointError, newest_checkpoint
from muzero_ray.app.saving.run_folder import RunFolder, game_label
from muzero_ray.app.saving.snapshot import Snapshot
from muzero_ray.core.config import Config
from muzero_ray.core.reports import EvaluationReport, Pairing
from muzero_ray.core.types import Weights
from muzero_ray.replay.ring import check_states


class Run(Protocol):
    """What `LocalRun` and `DistributedRun` have in common; see there."""

    @property
    def env_steps(self) -> int: ...
    @property
    def training_steps(self) -> int: ...
    @property
    def finished(self) -> bool: ...
    def step(self) -> None: ...
    def evaluate(
        self, episodes: int, pairings: Sequence[Pairing], then: Callable[[EvaluationReport, Weights], None]
    ) -> None: ...
    def take_snapshot(self, then: Callable[[Snapshot], None]) -> None: ...
    def pause(self, *, evaluating: bool = False) -> None: ...
    def close(self) -> None: ...


def one_process(config: Config) -> Callable[[Monitor, Snapshot | None], Run]:
    """A run in this process, to be made when there is a monitor.

    Raises:
        UserError: if a GPU is asked for that is not there.
    """
    import torch  # here, since the head of a run over Ray needs none

    device, threads = config.system.device, config.system.trainer_threads
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("system.device: cuda was asked for, but torch finds no GPU; use --system.device cpu")
    if (asked := asked_for(config)) and not torch.cuda.is_available():
        raise UserError(f"{asked}: torch finds no GPU; use 0")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    say(f"plan             everything in this process, training on {device}, threads: {threads}")

    def make_run(monitor: Monitor, snapshot: Snapshot | None) -> Run:
        run = LocalRun(config, threads, device, monitor, snapshot)
        if snapshot is None:
            monitor.description(describe_network(config, build.game_spec(load_game(config.game))))
        return run

    return make_run


def over_ray(config: Config, folder: RunFolder, opened: ExitStack) -> Callable[[Monitor, Snapshot | None], Run]:
    """A run on the cluster, which is joined or started here; to be made when there is a monitor.

    Raises:
        UserError: if the cluster cannot be joined, or lacks what is asked for.
    """
    from muzero_ray.app import cluster  # here and below, so that a run in one process needs no Ray
    from muzero_ray.app.distributed_run import DistributedRun

    joined = cluster.connect(config)
    opened.callback(cluster.leave, joined)
    joined = cluster.gather(config, joined, say)
    config = cluster.decide_lockstep(config, joined)
    plan = cluster.make_plan(config, joined)
    say(f"cluster          {joined}")
    if joined.dashboard:
        say(f"dashboard        {cluster.dashboard_hint(joined, terminal=sys.stderr.isatty())}")
    say(f"plan             {plan}{', in lockstep' if config.in_lockstep else ''}")
    if config.num_actors is not None and plan.num_actors < config.num_actors:
        say(f"                 {config.num_actors} self-play actors were asked for; the run starts with what fits")

    def newest() -> Snapshot | None:
        try:
            return read_snapshot(newest_checkpoint(folder))
        except CheckpointError:
            return None

    def make_run(monitor: Monitor, snapshot: Snapshot | None) -> Run:
        monitor.use_actors(plan.num_actors)
        monitor.export_to(RayMetrics(folder.path.name, game_label(config.game)))
        return DistributedRun(
            config, joined, plan, monitor, newest, snapshot, Logs(folder.logs, config.system.log_level)
        )

    return make_run


def say_protocol(config: Config) -> str:
    """Prints how the game is played, where it says so, and returns it; see `GameSpec.protocol`."""
    protocol = build.game_spec(load_game(config.game)).protocol
    if protocol:
        say(f"protocol         {protocol}")
    return protocol


def read_snapshot(checkpoint: Checkpoint) -> Snapshot:
    """Reads all of a checkpoint.

    Raises:
        CheckpointError: if a part of it cannot be read safely.
    """
    return Snapshot(
        env_steps=checkpoint.env_steps,
        training_steps=checkpoint.training_steps,
        learner=checkpoint.learner_bytes(),
        weights=checkpoint.weights(),
        buffer=checkpoint.buffer_state(),
        limiter=checkpoint.manifest["limiter"],
        starts=checkpoint.manifest["starts"],
    )


def check_same_game(config: Config, checkpoint: Checkpoint, snapshot: Snapshot) -> None:
    """Refuses to continue with a game that has other observations or actions than when it was stored.

    Raises:
        UserError: if it has.
    """
    spec = build.game_spec(load_game(config.game))
    try:
        check_states(snapshot.buffer, spec)
    except ValueError as error:
        raise UserError(
            f"{checkpoint.path}: the game {config.game} has changed since ({error}); bring back what it was, "
            "or start a new run"
        ) from error
