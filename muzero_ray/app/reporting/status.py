"""What a run is doing, or how it ended, from its folder alone: `muzero-ray status`.

Reads files, so it works from any machine that sees the folder, and disturbs nobody. Without a folder it
takes the newest run, and shows the actors of the Ray cluster, if one is meant.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from muzero_ray.app.clean_output import stdout_kept_clean
from muzero_ray.app.errors import UserError
from muzero_ray.app.invocation import PROGRAM, train_command
from muzero_ray.app.reporting import cluster_status
from muzero_ray.app.reporting.status_file import head_is_alive, read_status
from muzero_ray.app.saving.run_folder import RunFolder


@dataclass
class StatusOptions:
    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="RUN")] = None
    """Run folder, results/<game>/<date--time>; none: the newest, and the actors of the Ray cluster that RAY_ADDRESS
    names or `ray start` started here."""
    results: Path = Path("results")
    """Where to look for the newest run."""
    json: bool = False
    """Print one JSON object on standard output: "run" and "cluster"."""


def status(argv: list[str]) -> int:
    """Say what a run is doing, or how it ended."""
    chosen = tyro.cli(StatusOptions, args=argv, prog=f"{PROGRAM} status", description=status.__doc__)
    with stdout_kept_clean():
        cluster: dict[str, Any] | None = None
        trouble = ""
        if chosen.run is not None:
            run: dict[str, Any] | None = describe_run(RunFolder.open(chosen.run))
        else:
            run = _newest_run(chosen.results)
            cluster, trouble = _meant_cluster()
            if run is None and cluster is None:
                raise UserError(
                    trouble
                    or f"{chosen.results}: wanted a folder with runs, found none; say which run, or --results FOLDER, "
                    "or set RAY_ADDRESS to ask a cluster"
                )
    if chosen.json:
        print(json.dumps({"run": run, "cluster": cluster}))
        return 0
    for lines in (run_in_words(run) if run else [], actors_in_words(cluster) if cluster else [], [trouble]):
        for line in filter(None, lines):
            print(line)
    return 0


def _newest_run(results: Path) -> dict[str, Any] | None:
    return next((describe_run(folder) for folder in RunFolder.list_runs(results)), None)


def _meant_cluster() -> tuple[dict[str, Any] | None, str]:
    """The cluster that is meant, if one is and can be asked; else why not."""
    address = cluster_status.meant_cluster()
    if address is None:
        return None, ""
    try:
        return {"address": address, "actors": cluster_status.named_actors(address)}, ""
    except UserError as error:
        return None, str(error)


def describe_run(folder: RunFolder) -> dict[str, Any]:
    """All that a run's folder says, as JSON can hold it.

    "state" is running, finished, stopped, failed, or lost where the head is gone without a word, or unknown
    where there is nothing to tell it by. What is not known is None or not there.
    """
    told = read_status(folder.status)
    found: dict[str, Any] = {"path": str(folder.path), **(told or _from_summary(folder))}
    if told is not None:
        found["heard_seconds_ago"] = max(0.0, time.time() - told["updated"])
        if told["state"] == "running" and not head_is_alive(told):
            found["state"] = "lost"
    return {**found, **_evaluations(folder), "checkpoint": _newest_checkpoint(folder)}


def run_in_words(run: Mapping[str, Any]) -> list[str]:
    """A described run, line by line, for people."""
    rows = {"run": run["path"], "state": _state_in_words(run)}
    if "env_steps" in run:
        rows |= _progress_in_words(run)
    if evaluation := run["evaluation"]:
        rows["evaluation"] = f"{_strength(evaluation)} at env step {evaluation['env_steps']:,}"
        if evaluation["elo"] is None:
            rows["evaluation"] += f"; best {run['best']:z.1f}"
    else:
        rows["evaluation"] = "none yet"
    if checkpoint := run["checkpoint"]:
        from muzero_ray.app.reporting.live_view import duration

        rows["checkpoint"] = (
            f"training step {checkpoint['training_steps']:,}, {duration(checkpoint['seconds_ago'])} ago; "
            f"{checkpoint['path']}"
        )
    else:
        rows["checkpoint"] = "none yet"
    if "actors" in run:
        rows |= _actors_of_run(run)
    if run.get("messages"):
        rows["lately"] = "; ".join(run["messages"][-3:])
    return [f"{name:<16} {text}" for name, text in rows.items()]


def actors_in_words(cluster: Mapping[str, Any]) -> list[str]:
    """The actors of a cluster, line by line."""
    actors = cluster["actors"]
    lines = [f"{'cluster':<16} {cluster['address']}: {len(actors)} named actors"]
    for actor in actors:
        lines.append(
            f"  {actor['name']:<18} {actor['state'].lower():<12} restarts {actor['restarts']}, "
            f"open calls {actor['calls']}, pid {actor['pid']} on node {(actor['node'] or '?')[:8]}; {actor['is']}"
        )
    return lines


def _from_summary(folder: RunFolder) -> dict[str, Any]:
    """Of a run without a status, what its summary says, if it has one."""
    try:
        summary = json.loads(folder.summary.read_text(encoding="utf-8"))
        names = ("game", "env_steps", "training_steps", "seconds")
        return {"state": "finished" if summary["finished"] else "stopped", **{name: summary[name] for name in names}}
    except (OSError, ValueError, KeyError):
        return {"state": "unknown"}


def _evaluations(folder: RunFolder) -> dict[str, Any]:
    from muzero_ray.app.reporting.curve import read_evaluations  # here and below, so that --help needs no NumPy

    points = read_evaluations(folder.curve)
    if not points:
        return {"evaluation": None, "best": None}
    newest = points[-1]
    strength = newest.strength
    evaluation = {
        "env_steps": newest.env_steps,
        "training_steps": newest.training_steps,
        "mean": newest.mean,
        "std": newest.std,
        "elo": strength.elo if strength else None,
        "elo_ci95": list(strength.ci95) if strength else None,
    }
    return {"evaluation": evaluation, "best": max(point.mean for point in points)}


def _newest_checkpoint(folder: RunFolder) -> dict[str, Any] | None:
    """The newest by its name; whether it is whole is found out when it is read."""
    from muzero_ray.app.saving.checkpoint import list_checkpoints, steps_of

    for path in list_checkpoints(folder.checkpoints):
        try:
            written = path.stat().st_mtime
        except OSError:  # a newer one has just replaced it
            continue
        return {"path": str(path), "training_steps": steps_of(path), "seconds_ago": max(0.0, time.time() - written)}
    return None


def _state_in_words(run: Mapping[str, Any]) -> str:
    from muzero_ray.app.reporting.live_view import duration

    state = run["state"]
    heard = duration(run.get("heard_seconds_ago"))
    go_on = f"go on with: {train_command('--resume', run['path'])}" if run["checkpoint"] else "it has no checkpoint"
    if state == "running":
        return f"running, heard of {heard} ago"
    if state == "lost":
        return f"lost: process {run['pid']} on {run['host']} is gone or silent, heard of {heard} ago; {go_on}"
    if state == "failed":
        return f"failed: {run['cause']}; {go_on}"
    if state == "stopped":
        return f"stopped; {go_on}"
    if state == "unknown":
        return "unknown: it wrote no status.json; it is only starting, or stopped before it began"
    return str(state)


def _progress_in_words(run: Mapping[str, Any]) -> dict[str, str]:
    from muzero_ray.app.reporting.live_view import duration

    rows = {}
    progress = f"{run['env_steps']:,}"
    if "budget" in run:
        progress += f" of {run['budget']:,} env steps ({run['env_steps'] / run['budget']:.0%})"
    else:
        progress += " env steps"
    progress += f", {run['training_steps']:,} training steps, {duration(run['seconds'])}"
    if run["state"] == "running":
        progress += f", {duration(run['seconds_left'])} left"
        rows["speed"] = (
            f"{run['env_steps_per_s']:,.0f} env steps/s, {run['simulations_per_s']:,.0f} simulations/s, "
            f"{run['training_steps_per_s']:,.1f} training steps/s"
        )
        rows["bottleneck"] = run["bottleneck"]
        lag = run["weights_lag"]
        rows["replay"] = (
            f"{run['buffer_steps']:,} steps, {run['buffer_mb']:,.0f} MB; ratio {run['replay_ratio_held']:.1f} of "
            f"{run['replay_ratio_wanted']:g}; data " + ("?" if lag is None else f"{lag:,.0f}") + " training steps old"
        )
        if run["actors"]:
            rows["queues"] = (
                f"{run['deliveries_waiting']} deliveries wait for the buffer, "
                f"{run['batches_ready']} batches are ready for the trainer"
            )
    if run.get("episode_return") is not None:
        rows["self-play"] = f"return {run['episode_return']:z.1f}"
    return {"progress": progress, **rows}


def _actors_of_run(run: Mapping[str, Any]) -> dict[str, str]:
    actors = run["actors"]
    restarted = [f"{name} {actor['restarts']}" for name, actor in actors.items() if actor["restarts"]]
    rows = {"restarts": ", ".join(restarted) or "none"} if actors else {}
    if run["state"] == "running" and actors:
        down = [name for name, actor in actors.items() if actor["down"]]
        rows["actors"] = f"{len(actors)}" + (f"; down: {', '.join(down)}" if down else "")
    return rows


def _strength(evaluation: Mapping[str, Any]) -> str:
    if evaluation["elo"] is not None:
        low, high = evaluation["elo_ci95"]
        return f"Elo {evaluation['elo']:.0f} ({low:.0f} to {high:.0f})"
    return f"{evaluation['mean']:z.1f} ± {evaluation['std']:.1f}"
