"""How fast each board game trains on this machine: every one for a few minutes from its shipped configuration.

    python benchmarks/boards.py DIR --games go9 gomoku othello hex chess shogi --seconds 180

A run is stopped by SIGTERM, without a final evaluation. What it wrote to TensorBoard is read back: whether losses
fall, whether memory grows, how many simulations a second and games an hour. Prints a table; asserts nothing.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).resolve().parents[1]
GAMES = ("go9", "gomoku", "othello", "hex", "chess", "shogi")
_LOSSES = ("loss/policy", "loss/value")


def main() -> int:
    """The command line; returns 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the runs are left")
    parser.add_argument("--games", nargs="+", default=list(GAMES))
    parser.add_argument("--seconds", type=float, default=180.0, help="of training, from the first training step on")
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    options = parser.parse_args()
    rows = [measure(game, options.folder.resolve(), options.seconds) for game in options.games]
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return int(any(row["exit code"] not in (0, 128 + signal.SIGTERM) for row in rows))


def measure(game: str, folder: Path, seconds: float) -> dict[str, Any]:
    """Trains a game for so many seconds and says what came of it."""
    command = [sys.executable, "train.py", "--game", game, "--results", str(folder), "--evaluate.no-video"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{game}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        began = None
        while process.poll() is None and (began is None or time.time() - began < seconds):
            time.sleep(1.0)
            if began is None and _newest_run(folder, game) and "loss/policy" in _scalars(folder, game):
                began = time.time()
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    row = {"game": game, "exit code": code, **summarize(_scalars(folder, game))}
    print(row, flush=True)
    return row


def summarize(scalars: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """What the curves of a run say; values by name, each `(seconds of the clock, value)`."""
    row: dict[str, Any] = {}
    for name in _LOSSES:
        values = [value for _, value in scalars.get(name, [])]
        part = max(1, len(values) // 5)
        row[f"{name} first fifth"] = round(sum(values[:part]) / part, 3) if values else None
        row[f"{name} last fifth"] = round(sum(values[-part:]) / part, 3) if values else None
    memory = [value for _, value in scalars.get("system/memory", [])]
    # The buffer fills during so short a run: what else grows would be a leak.
    held = [value for _, value in scalars.get("replay/memory", [])]
    half = len(memory) // 2
    row["memory MB"] = round(memory[-1]) if memory else None
    row["growth but for the buffer, second half, MB"] = (
        round((memory[-1] - held[-1]) - (memory[half] - held[half])) if len(memory) > 1 else None
    )
    for name, digits in (("speed/simulations", 0), ("speed/env_steps", 0), ("speed/training_steps", 1)):
        values = sorted(value for _, value in scalars.get(name, [])[half:])
        row[name.removeprefix("speed/") + "/s"] = round(values[len(values) // 2], digits) if values else None
    games, length = scalars.get("progress/games", []), scalars.get("self_play/length", [])
    hours = (games[-1][0] - games[0][0]) / 3600 if len(games) > 1 else 0.0
    row["games/hour"] = round((games[-1][1] - games[0][1]) / hours) if hours else None
    row["moves per game"] = round(length[-1][1]) if length else None
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _newest_run(folder: Path, game: str) -> Path | None:
    runs = sorted((folder / game).glob("*/"))
    return runs[-1] if runs else None


def _scalars(folder: Path, game: str) -> dict[str, list[tuple[float, float]]]:
    run = _newest_run(folder, game)
    if run is None:
        return {}
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    return {
        name: [(event.wall_time, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]
    }


if __name__ == "__main__":
    sys.exit(main())
