"""Joining or starting a Ray cluster, and the plan of what runs on it.

Works the same on a laptop (a cluster of our own), with RAY_ADDRESS, on the head that `ray submit` runs on,
and under `ray job submit`.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from muzero_ray.actors import names
from muzero_ray.app import gpu_shares
from muzero_ray.app.errors import UserError
from muzero_ray.core.config import Config, SystemConfig

_ANSWER_SECONDS = 20.0
_POLL_SECONDS = 1.0
_CALLS_REMEMBERED = "10000"
"""Of actors, for the dashboard, by a cluster of our own."""


@dataclass(frozen=True)
class Cluster:
    """What was joined or started."""

    nodes: int
    cpus: int
    gpus: int
    dashboard: str  # URL, or an empty string
    ours: bool  # started by this process, and stopped with it
    may_grow: bool = False  # machines may join while it runs: it was joined by its address

    def __str__(self) -> str:
        where = "of our own" if self.ours else "joined"
        return f"{where}: {_count(self.nodes, 'node')}, {_count(self.cpus, 'CPU')}, {_count(self.gpus, 'GPU')}"


@dataclass(frozen=True)
class Plan:
    """What runs where."""

    num_actors: int
    trainer_threads: int
    device: str  # of the trainer: "cpu" or "cuda"
    trainer_ranks: int = 1
    max_actors: int = 0  # self-play actors when machines have joined; fewer than `num_actors`: none are added
    reserved_cpus: int = 0  # on the trainer's node, of which self-play may have none
    trainer_gpus: float = 0.0  # of each rank
    games_on_gpu: tuple[int, float] | None = None  # of each self-play actor, and its share of a GPU, if it has one

    @property
    def most_actors(self) -> int:
        """Self-play actors in all, those that wait for machines included."""
        return max(self.num_actors, self.max_actors)

    def __str__(self) -> str:
        actors, threads = _count(self.num_actors, "self-play actor"), _count(self.trainer_threads, "thread")
        if self.most_actors > self.num_actors:
            actors += f" (up to {self.most_actors} as machines come)"
        if self.games_on_gpu is not None:
            games, share = self.games_on_gpu
            actors += f" x {games} games on {share:g} GPU each"
        where = f"{self.trainer_gpus:g} GPU" if 0 < self.trainer_gpus < 1 else self.device
        if self.trainer_ranks == 1:
            return f"{actors}, trainer on {where} with {threads}"
        return f"{actors}, {self.trainer_ranks} trainer ranks on {where} with {threads} each"


def connect(config: Config) -> Cluster:
    """Joins the cluster that is meant, or starts one on this machine.

    Raises:
        UserError: if a cluster was named and cannot be joined.
    """
    # Every call's error reaches the supervisor; Ray would print those of calls with two answers once more.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    if ray.is_initialized():  # by the program or notebook that called
        return _describe("", ours=False)
    address = config.system.address or os.environ.get("RAY_ADDRESS") or _launcher_address()
    _expect_answer(address or "")
    try:
        if address:
            # Resources and dashboard are the cluster's own affair: Ray refuses to be told them here.
            context = _init(address=address)
        else:
            # Its own 100,000 would fill hundreds of MB with what the dashboard lists of calls that are long done.
            os.environ.setdefault("RAY_task_events_max_num_task_in_gcs", _CALLS_REMEMBERED)
            # Of a port that it is told, Ray insists; from its own it goes on to the next free one, for a second run.
            port = config.system.dashboard_port
            insists = config.system.dashboard and port != SystemConfig.model_fields["dashboard_port"].default
            context = _init(
                address="local",
                include_dashboard=config.system.dashboard,
                dashboard_host="127.0.0.1",
                dashboard_port=port if insists else None,
            )
    except (RayError, ConnectionError, ValueError, RuntimeError) as error:
        where = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
        raise UserError(
            f"cannot {'join' if address else 'start'} {where}: {str(error).splitlines()[0]}. "
            "If the cluster asks for a token, set RAY_AUTH_MODE=token and see `ray get-auth-token`; "
            "or run without Ray: --num-actors 0"
        ) from error
    return _describe(context.dashboard_url or "", ours=not address, may_grow=bool(address))


def _expect_answer(address: str) -> None:
    """Refuses host:port where nobody listens, soon; Ray would try for minutes, and say so in its own logs.

    Raises:
        UserError: if nobody does.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():  # "auto", "local", ray://host:port: Ray's own affair
        return
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
        except (OSError, OverflowError, ValueError) as error:
            if time.monotonic() < deadline:  # its head may be about to start
                time.sleep(_POLL_SECONDS)
                continue
            raise UserError(
                f"system.address: wanted a Ray cluster's host:port, but nothing answers at {address} ({error}): see "
                "whether it is up and can be reached from here, or leave out the address (and RAY_ADDRESS) to run here"
            ) from error
        return


def gather(config: Config, cluster: Cluster, say: Callable[[str], None]) -> Cluster:
    """Asks for the machines that the run lacks, and waits for them: an autoscaler starts them when it is asked.

    Args:
        config: of the run; `system.node_wait_seconds` says how long to wait.
        cluster: as it is now. One that cannot grow is not waited for.
        say: told what is waited for.

    Returns:
        The cluster as it is then; it may still lack some.
    """
    wanted = config.num_actors or 0
    if not cluster.may_grow or wanted <= cluster.cpus:
        return cluster
    say(
        f"waiting          for {_count(wanted, 'CPU')}, of which {cluster.cpus} are here, for "
        f"{config.system.node_wait_seconds:.0f} s at most (system.node_wait_seconds)"
    )
    _request_cpus(wanted)
    try:
        deadline = time.monotonic() + config.system.node_wait_seconds
        while cluster.cpus < wanted and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            cluster = _describe(cluster.dashboard.removeprefix("http://"), ours=False, may_grow=True)
    finally:
        _request_cpus(0)  # from now on the actors hold what they need, as long as they need it
    return cluster


def leave(cluster: Cluster) -> None:
    """Ends what this run has left on the cluster, and the cluster if it is our own; again does no harm."""
    if not ray.is_initialized():
        return
    if cluster.ours:
        ray.shutdown()
        return
    ours = {names.STORAGE, names.BUFFER, names.TRAINER, names.REANALYZE, names.EVALUATOR}
    for name in ray.util.list_named_actors():
        if name in ours or name.startswith(names.self_play(0)[:-1]):
            with suppress(ValueError):  # it is gone since: it may be ending by itself
                ray.kill(ray.get_actor(name))


def dashboard_hint(cluster: Cluster, terminal: bool) -> str:
    """Where the dashboard is, and how to get in.

    Args:
        cluster: with a dashboard.
        terminal: whether a person reads this, who may see the token itself; logs must not hold it.
    """
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return cluster.dashboard
    token = _token() if terminal else ""
    return f"{cluster.dashboard}  (it asks for a token: {token or '`ray get-auth-token` prints it'})"


def decide_lockstep(config: Config, cluster: Cluster) -> Config:
    """The options with `system.lockstep` on or off where it was auto.

    On where all of it is on the CPUs of a machine of our own and nothing stands against it. There is one self-play
    actor then, if it is not said how many: a round has a delivery of each, played with weights that are a round older.
    """
    if config.system.lockstep != "auto":
        return config
    device = config.system.device
    on_gpu = device == "cuda" or (device == "auto" and cluster.gpus > 0) or gpu_shares.asked_for(config)
    on = cluster.ours and not on_gpu and not config.lockstep_obstacles()
    system = config.system.model_copy(update={"lockstep": "on" if on else "off"})
    num_actors = 1 if on and config.num_actors is None else config.num_actors
    return config.model_copy(update={"system": system, "num_actors": num_actors})


def make_plan(config: Config, cluster: Cluster) -> Plan:
    """Fits the run to the cluster: one CPU for each self-play actor, the trainer on what is left.

    On a cluster that may grow, and has not, there are as many self-play actors as it has CPUs for. More begin when it
    has grown, up to `max_actors`, or to the `num_actors` that were asked for.

    Raises:
        UserError: if more actors are asked for than a cluster of one's own has CPUs, or GPUs that there are not.
    """
    device = config.system.device
    if device == "cuda" and cluster.gpus == 0:
        raise UserError("system.device: cuda was asked for, but the cluster has no GPU; use --system.device cpu")
    if device == "auto":
        device = "cuda" if cluster.gpus else "cpu"
    ranks = config.train.num_gpus
    if device == "cuda" and ranks > cluster.gpus:
        raise UserError(
            f"train.num_gpus: {ranks} were asked for, but the cluster has {_count(cluster.gpus, 'GPU')}; "
            f"use --train.num-gpus {cluster.gpus}"
        )
    spare = 1 if device == "cpu" else 0
    most = config.max_actors or config.num_actors or 0
    num_actors = config.num_actors if config.num_actors is not None else max(1, cluster.cpus - spare)
    if config.max_actors is not None:
        num_actors = min(num_actors, config.max_actors)
    if num_actors > cluster.cpus and cluster.may_grow:
        num_actors = max(1, cluster.cpus)
    if num_actors > cluster.cpus:
        raise UserError(
            f"num_actors: {num_actors} self-play actors need {num_actors} CPUs, but the cluster has {cluster.cpus} "
            f"on {_count(cluster.nodes, 'node')}; use --num-actors {cluster.cpus} or fewer"
        )
    plan = Plan(
        num_actors,
        config.system.trainer_threads,
        device,
        ranks,
        trainer_gpus=gpu_shares.trainer_share(config, device, cluster.gpus, num_actors, cluster.nodes),
        games_on_gpu=(config.self_play.games_per_actor, share) if (share := config.self_play.num_gpus) > 0 else None,
    )
    if not cluster.may_grow:
        return plan
    reserved = spare if num_actors + spare <= cluster.cpus else 0
    return replace(plan, max_actors=most, reserved_cpus=reserved)


def _request_cpus(count: int) -> None:
    """Tells the autoscaler, if there is one, how many CPUs are needed until it is told otherwise."""
    from ray.autoscaler.sdk import request_resources  # here, since it is slow to import

    request_resources(num_cpus=count)


def _describe(dashboard_url: str, ours: bool, may_grow: bool = False) -> Cluster:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return Cluster(
        nodes=sum(node["Alive"] for node in ray.nodes()),  # type: ignore[no-untyped-call]
        cpus=int(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)),
        dashboard=f"http://{dashboard_url}" if dashboard_url else "",
        ours=ours,
        may_grow=may_grow,
    )


def _token() -> str:
    """Ray's token, from where Ray itself looks for it; empty if there is none."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    try:
        return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser().read_text().strip()
    except OSError:
        return ""


def _init(**arguments: Any) -> Any:
    """`ray.init`, which installs signal handlers of its own: those of before are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return ray.init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
    except BaseException:
        ray.shutdown()  # what had been started when a signal came
        raise
    finally:
        if threading.current_thread() is threading.main_thread():  # others can install none
            for number, handler in before.items():
                signal.signal(number, handler)


def _launcher_address() -> str | None:
    """On a head started by Ray's cluster launcher the cluster is there, though no variable says so."""
    return "auto" if Path("~/ray_bootstrap_config.yaml").expanduser().exists() else None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
