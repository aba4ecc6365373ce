"""Learning curves of muzero_ray, PPO and DQN, run one after the other, and the report on them.

    python benchmarks/learning.py run DIR --game cartpole --seeds 0 1 2 --agents muzero ppo dqn
    python benchmarks/learning.py report DIR

A run that was stopped is run again from its start; one whose curve is complete is not.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from learning_curves import THRESHOLDS, Curve, convert, curve_path, parse_lines, read_curve, read_curves, write_curve

ROOT = Path(__file__).resolve().parents[1]
AGENTS = ("muzero", "ppo", "dqn")
_SHORT = {
    "muzero": ["--train.env-steps", "3000", "--evaluate.interval", "1000", "--evaluate.final-episodes", "20"],
    "peer": ["--env-steps", "6000"],
}
"""What `--short` adds to the commands."""

Job = tuple[str, str, int]
"""Game, agent, seed."""


def main() -> int:
    """The command line; returns 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run agents over seeds")
    run.add_argument("folder", type=Path, metavar="DIR", help="where the curves are collected")
    run.add_argument("--game", choices=list(THRESHOLDS), required=True)
    run.add_argument("--agents", nargs="+", choices=AGENTS, default=list(AGENTS))
    run.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    run.add_argument("--parallel", type=int, default=1, help="PPO and DQN runs at once, each on a core of its own")
    run.add_argument("--short", action="store_true", help="a few thousand steps, to try it; into another DIR")
    report = commands.add_parser("report", help="print the tables and draw a picture per game")
    report.add_argument("folder", type=Path, metavar="DIR")
    options = parser.parse_args()
    if options.command == "report":
        return report_on(options.folder)
    if not 1 <= options.parallel <= len(_cores()):
        parser.error(f"--parallel: wanted 1 to {len(_cores())}, the cores of this machine, got {options.parallel}")
    jobs = [(options.game, agent, seed) for agent in options.agents for seed in options.seeds]
    jobs = [job for job in jobs if not _is_finished(curve_path(options.folder, *job))]
    failed = [job for job in jobs if job[1] == "muzero" and not run_muzero(options.folder, job, options.short)]
    failed += run_peers(options.folder, [job for job in jobs if job[1] != "muzero"], options.parallel, options.short)
    for job in failed:
        print(f"failed: {' '.join(map(str, job))}; its output is {_log_path(options.folder, job)}", file=sys.stderr)
    return 1 if failed else 0


def run_muzero(folder: Path, job: Job, short: bool) -> bool:
    """Runs `train.py` on all cores as a user would, and converts its curve; returns whether it succeeded."""
    game, _, seed = job
    results = (folder / "runs" / f"{game}-{seed}").resolve()
    command = [sys.executable, "train.py", "--game", game, "--seed", str(seed), "--results", str(results)]
    _say(job, "begins")
    seconds_before = math.inf
    with _open_log(folder, job) as log:
        began = time.time()
        process = subprocess.Popen(
            [*command, *(_SHORT["muzero"] if short else [])], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            time.sleep(0.25)
            for curve_file in _newer(results, "curve.jsonl", began):
                seconds_before = min(seconds_before, start_up_bound(curve_file) - began)
    summaries = _newer(results, "summary.json", began)
    if process.returncode or not summaries or math.isinf(seconds_before):
        return False
    lines = parse_lines(summaries[0].with_name("curve.jsonl").read_text(encoding="utf-8"))
    summary = json.loads(summaries[0].read_text(encoding="utf-8"))
    write_curve(curve_path(folder, *job), convert(lines, summary, seconds_before))
    _say(job, f"done in {time.time() - began:.0f} s, of which start-up {seconds_before:.1f} s")
    return True


def start_up_bound(curve_file: Path) -> float:
    """The latest time (of the epoch, in seconds) at which the clock of a running muzero_ray run can have begun.

    It is exact where an evaluation is the last thing that was written to the curve; infinite before the first one.
    """
    lines = parse_lines(curve_file.read_text(encoding="utf-8"))
    changed = curve_file.stat().st_mtime  # after reading: never earlier than what was read
    seconds = [line["seconds"] for line in lines if line["kind"] == "evaluation"]
    return changed - seconds[-1] if seconds else math.inf


def run_peers(folder: Path, jobs: Sequence[Job], parallel: int, short: bool) -> list[Job]:
    """Runs PPO and DQN, `parallel` at once, each on one core; returns those that failed."""
    waiting, failed = list(jobs), []
    free = list(_cores()[-parallel:])
    running: list[tuple[subprocess.Popen[bytes], Job, int | None]] = []
    try:
        while waiting or running:
            while waiting and free:
                job, core = waiting.pop(0), free.pop()
                _say(job, "begins")
                running.append((_start_peer(folder, job, core, short), job, core))
            time.sleep(0.2)
            for process, job, core in [entry for entry in running if entry[0].poll() is not None]:
                running.remove((process, job, core))
                free.append(core)
                _say(job, "done" if process.returncode == 0 else "failed")
                if process.returncode:
                    failed.append(job)
    finally:
        for process, _, _ in running:
            process.terminate()
    return failed


def report_on(folder: Path) -> int:
    """Prints the table of each game and draws `DIR/<game>.png`."""
    from learning_report import LEGEND, draw, table

    games: dict[str, list[Curve]] = {game: read_curves(folder, game) for game in THRESHOLDS}
    if not any(curve.finished for curves in games.values() for curve in curves):
        print(f"{folder}: wanted <game>/<agent>-<seed>.jsonl with a final row, got none; run some first")
        return 1
    for game, curves in games.items():
        if any(curve.finished for curve in curves):
            picture = folder / f"{game}.png"
            draw(picture, game, curves)
            print(f"## {game}\n\n{table(game, curves)}\n\n![{game}]({picture.name})\n")
    print(LEGEND)
    return 0


def _newer(results: Path, name: str, began: float) -> list[Path]:
    """Files of the runs of muzero_ray in a folder that have been written since then."""
    return [path for path in results.glob(f"*/*/{name}") if path.stat().st_mtime >= began]


def _start_peer(folder: Path, job: Job, core: int | None, short: bool) -> subprocess.Popen[bytes]:
    game, agent, seed = job
    script, out = ROOT / "benchmarks" / "agents" / "baselines.py", curve_path(folder, *job)
    command = [sys.executable, str(script), agent, "--game", game, "--seed", str(seed), "--out", str(out)]
    command += [*(["--core", str(core)] if core is not None else []), *(_SHORT["peer"] if short else [])]
    with _open_log(folder, job) as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def _open_log(folder: Path, job: Job) -> BinaryIO:
    path = _log_path(folder, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _log_path(folder: Path, job: Job) -> Path:
    return folder / "logs" / "-".join(map(str, job))


def _is_finished(path: Path) -> bool:
    return path.is_file() and read_curve(path).finished


def _cores() -> Sequence[int | None]:
    """The cores that this process may use; None for each where the system cannot pin to one."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return [None] * (os.cpu_count() or 1)


def _say(job: Job, text: str) -> None:
    game, agent, seed = job
    print(f"{time.strftime('%H:%M:%S')}  {agent} on {game}, seed {seed}: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
