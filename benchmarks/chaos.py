"""Does a run survive the death of any of its actors, again and again? Kills one at random every twenty seconds.

    python benchmarks/chaos.py run DIR [--minutes 30] [--every 20] [--seed 0] [-- OPTIONS OF train.py]
    python benchmarks/chaos.py report DIR

`run` starts `python train.py` over Ray and, once it has written a checkpoint, sends SIGKILL to one of its actors'
processes, each as likely as the others: self-play, reanalyze, evaluator, trainer, replay buffer, storage. It notes what
it killed, and the counters that the run shows each second, in DIR/chaos.jsonl. `report` compares that with what the run
says of itself in its folder:

* **recovery**: from the kill to the first line in the actor's log that says it works, see `WORKS`;
* **trajectories**: the logs say of each piece that was stored which steps of which game it holds, so that what is
  counted can be told piece by piece; a restored buffer has only what was stored before its checkpoint;
* **counters**: env steps and training steps as `muzero-ray status` shows them.

The run logs at level `debug` for this. Linux only; one replay shard.
"""

import argparse
import json
import os
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from memory import name_of
from soak import StartedRun

OPTIONS = ("--game", "cartpole", "--train.env-steps", "900000", "--system.checkpoint-seconds", "10")
"""A run of about half an hour on two threads while it is killed."""
NEEDED = ("--system.log-level", "debug")

CLASSES = {
    "SelfPlay": "self_play",
    "Reanalyze": "reanalyze",
    "Evaluator": "evaluator",
    "Trainer": "trainer",
    "ReplayBufferActor": "replay_buffer",
    "ReplayInLockstep": "replay_buffer",
    "SharedStorage": "shared_storage",
}
"""Actors by the names of their processes."""

WORKS = {
    "self_play": re.compile(r"played \d+ env steps"),
    "reanalyze": re.compile(r"searched \d+ positions"),
    "evaluator": re.compile(r"evaluates |evaluated weights"),  # it waits to be asked, which is seldom
    "trainer": re.compile(r"trained to step"),
    "replay_buffer": re.compile(r"stored game"),
    "shared_storage": re.compile(r"weights \d+ came"),
}
"""What an actor's log says when it has done its work, or, of the evaluator, when it is ready for it."""

_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z \w+ +\S+ (.*)")
_STORED = re.compile(r"stored game (\d+) from step (\d+): (\d+) steps")
_STARTED = re.compile(r"started with \d+ of (\d+) env steps")
_PLAYED = re.compile(r"played (\d+) env steps in (\d+) pieces")
_POLL_SECONDS = 1.0
_PATIENCE = 2.0
"""A run that has not ended after so many times its minutes is interrupted."""


@dataclass(frozen=True)
class Piece:
    """A game or a piece of one, as the buffer stored it."""

    game: int
    first_step: int
    steps: int


@dataclass(frozen=True)
class Ledger:
    """What became of every piece that the buffer stored."""

    counted: tuple[Piece, ...]
    """That the env steps at the end are made of."""
    lost: tuple[Piece, ...]
    """Stored, and lost with the buffer's process: no checkpoint had them."""
    misfits: tuple[str, ...]
    """Where a restored buffer counted something else than pieces that had been stored."""

    @property
    def env_steps(self) -> int:
        """Of the pieces that are counted."""
        return sum(piece.steps for piece in self.counted)


def keep_ledger(messages: Sequence[str]) -> Ledger:
    """Follows the buffer's log through its restarts.

    Args:
        messages: of the log, oldest first, without time and level.
    """
    counted: list[Piece] = []
    lost: list[Piece] = []
    misfits: list[str] = []
    total = 0
    for message in messages:
        if found := _STORED.fullmatch(message):
            counted.append(Piece(*map(int, found.groups())))
            total += counted[-1].steps
        elif found := _STARTED.fullmatch(message):
            restored = int(found[1])
            while total > restored:
                lost.append(counted.pop())
                total -= lost[-1].steps
            if total != restored:
                misfits.append(f"restored at {restored} env steps, between {total} and the next piece's end")
                total = restored
    return Ledger(tuple(counted), tuple(lost), tuple(misfits))


def counted_twice(pieces: Sequence[Piece]) -> int:
    """Env steps that more than one piece holds.

    >>> counted_twice([Piece(7, 0, 8), Piece(8, 0, 8), Piece(7, 8, 8), Piece(7, 12, 6)])
    4
    """
    games: defaultdict[int, list[Piece]] = defaultdict(list)
    for piece in pieces:
        games[piece.game].append(piece)
    twice = 0
    for found in games.values():
        end = 0
        for piece in sorted(found, key=lambda piece: piece.first_step):
            last = piece.first_step + piece.steps
            twice += max(0, min(end, last) - piece.first_step)
            end = max(end, last)
    return twice


def steps_back(values: Sequence[int]) -> int:
    """How often a counter was smaller than it had been just before.

    >>> steps_back([0, 5, 5, 3, 4])
    1
    """
    return sum(later < earlier for earlier, later in pairwise(values))


def recoveries(kills: Sequence[tuple[float, str]], lines: dict[str, list[tuple[float, str]]]) -> list[float | None]:
    """Seconds from each kill to the first line by which the actor works again; None where there is none.

    Args:
        kills: when, and which actor.
        lines: of each actor's log: when, and what.
    """
    found: list[float | None] = []
    for when, actor in kills:
        works = WORKS[_role(actor)]
        after = (time - when for time, message in lines.get(actor, ()) if time > when and works.match(message))
        found.append(next(after, None))
    return found


def keep_older_logs(logs: Path, folder: Path) -> None:
    """Keeps what the run itself throws away when its logs grow: each older file gets a second name in a folder."""
    for older in logs.glob("*.log.1"):
        folder.mkdir(exist_ok=True)
        kept = sorted(folder.glob(f"{older.stem}.*"))
        if not any(each.samefile(older) for each in kept):
            os.link(older, folder / f"{older.stem}.{len(kept):04d}")


def read_log(path: Path, older: Path) -> list[tuple[float, str]]:
    """The lines of an actor's log: seconds since 1970, and what it says.

    Args:
        path: of the log.
        older: the folder of `keep_older_logs`.
    """
    lines = []
    for part in (*sorted(older.glob(f"{path.name}.*")), path):
        if part.is_file():
            for line in part.read_text(encoding="utf-8", errors="replace").splitlines():
                if found := _LINE.fullmatch(line):
                    lines.append((datetime.fromisoformat(found[1] + "+00:00").timestamp(), found[2]))
    return lines


def run_under_fire(folder: Path, options: Sequence[str], minutes: float, every: float, seed: int) -> int:
    """Makes one run and kills its actors; answers its exit code."""
    run = StartedRun(folder, [*options, *NEEDED])
    rng = random.Random(seed)
    due: float | None = None
    kills_end = 0.0
    with (folder / "chaos.jsonl").open("w", encoding="utf-8") as file:

        def note(**values: Any) -> None:
            file.write(json.dumps({"time": time.time(), **values}) + "\n")
            file.flush()

        try:
            while run.exit_code is None:
                now = time.monotonic()
                run.find_processes()
                for logs in run.results.glob("*/*/logs"):
                    keep_older_logs(logs, folder / "older_logs")
                status = _status(run.results)
                if status is not None:
                    counters = {name: status[name] for name in ("env_steps", "training_steps")}
                    note(kind="counters", **counters)
                if due is None and any(run.results.glob("*/*/checkpoints/step_*")):
                    due, kills_end = now + every, now + minutes * 60
                elif due is not None and due <= now < kills_end:
                    due += every
                    if (victim := kill_one(run.head, rng)) is not None:
                        note(kind="kill", actor=victim[0], pid=victim[1])
                elif due is not None and now > kills_end + (_PATIENCE - 1) * minutes * 60:
                    note(kind="gave up")
                    run.end("interrupt")
                time.sleep(_POLL_SECONDS)
        except BaseException:
            run.end("interrupt")
            raise
        seconds, left = run.wait_until_gone()
        note(kind="end", exit_code=run.exit_code, seconds_until_gone=seconds, left=left)
    return int(run.exit_code or 0)


def kill_one(head: psutil.Process, rng: random.Random) -> tuple[str, int] | None:
    """Sends SIGKILL to one of the actors' processes that are there; answers the actor's name and process id.

    Of several self-play actors, the name says only what they are: their processes have no number.
    """
    actors = []
    for process in head.children(recursive=True):
        try:
            name = name_of(process, head.pid)
        except psutil.Error:  # it has just ended
            continue
        if name in CLASSES:
            actors.append((CLASSES[name], process))
    if not actors:
        return None
    actor, process = rng.choice(sorted(actors, key=lambda found: (found[0], found[1].pid)))
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return None
    return actor, process.pid


def describe(folder: Path) -> dict[str, Any]:
    """Everything that `report` prints."""
    notes = [json.loads(line) for line in (folder / "chaos.jsonl").read_text(encoding="utf-8").splitlines()]
    [path] = (folder / "results").glob("*/*")
    keep_older_logs(path / "logs", folder / "older_logs")
    logs = {log.stem: read_log(log, folder / "older_logs") for log in (path / "logs").glob("*.log")}
    self_play = [name for name in logs if _role(name) == "self_play"]
    # With one self-play actor it is known which one was killed.
    names = {"self_play": self_play[0] if len(self_play) == 1 else "self_play"}
    kills = [(note["time"], names.get(note["actor"], note["actor"])) for note in notes if note["kind"] == "kill"]
    found = recoveries(kills, logs)
    by_role = defaultdict(list)
    for (_, actor), seconds in zip(kills, found, strict=True):
        by_role[_role(actor)].append(seconds)
    ledger = keep_ledger([message for _, message in logs["replay_buffer"]])
    played = [each for name in self_play for _, message in logs[name] if (each := _PLAYED.match(message))]
    pieces_played = sum(int(each[2]) for each in played)
    stretch = max((int(each[1]) for each in played), default=0)
    counters = [note for note in notes if note["kind"] == "counters"]
    status = json.loads((path / "status.json").read_text(encoding="utf-8"))
    summary_file = path / "summary.json"
    summary = json.loads(summary_file.read_text(encoding="utf-8")) if summary_file.is_file() else {}
    checkpoints = sorted(path.glob("checkpoints/step_*/manifest.json"))
    manifest = json.loads(checkpoints[-1].read_text(encoding="utf-8")) if checkpoints else {}
    return {
        "minutes": (notes[-1]["time"] - notes[0]["time"]) / 60.0,
        "kills": len(kills),
        "kills_until_the_end": _spread(kills),
        "recoveries": {role: _recovery(seconds) for role, seconds in sorted(by_role.items())},
        "all": _recovery(found),
        "restarts_listed": {name: actor["restarts"] for name, actor in status["actors"].items()},
        "pieces": {
            "played": pieces_played,
            "stored": len(ledger.counted) + len(ledger.lost),
            "counted": len(ledger.counted),
            "lost_on_the_way": pieces_played - len(ledger.counted) - len(ledger.lost),
            "lost_with_the_buffer": len(ledger.lost),
        },
        "env_steps": {
            "counted_by_the_run": manifest.get("env_steps"),
            "of_the_pieces": ledger.env_steps,
            "lost_with_the_buffer": sum(piece.steps for piece in ledger.lost),
            # What a process was in the middle of when it was killed, nobody has seen: a stretch, or nothing.
            "lost_with_self_play_at_most": stretch * len(by_role["self_play"]),
            "counted_twice": counted_twice(ledger.counted),
            "stored_twice": counted_twice([*ledger.counted, *ledger.lost]),
            "misfits": list(ledger.misfits),
        },
        "counters_going_back": {
            name: steps_back([note[name] for note in counters]) for name in ("env_steps", "training_steps")
        },
        "samples": len(counters),
        "state": status["state"],
        "cause": status["cause"],
        "final": {name: summary.get(name) for name in ("mean", "ci95", "finished", "env_steps", "training_steps")},
        "end": {name: value for name, value in notes[-1].items() if name in ("exit_code", "left")},
    }


def print_report(found: dict[str, Any]) -> None:
    """The same for people to read."""
    print(f"{found['kills']} kills in {found['minutes']:.1f} min; the run ended {found['state']} {found['cause']}")
    print(f"{'':<18}{'kills':>7}{'recoveries':>12}{'median s':>10}{'largest s':>11}{'restarts listed':>17}")
    listed: Counter[str] = Counter()
    for name, restarts in found["restarts_listed"].items():
        listed[_role(name)] += restarts
    for role, row in [*found["recoveries"].items(), ("all", found["all"])]:
        numbers = "".join(
            f"{'-' if row[key] is None else format(row[key], '.1f'):>{width}}"
            for key, width in (("median", 10), ("largest", 11))
        )
        restarts = sum(listed.values()) if role == "all" else listed[role]
        print(f"{role:<18}{row['kills']:>7}{row['recoveries']:>12}{numbers}{restarts:>17}")
    for title in ("pieces", "env_steps", "counters_going_back", "final", "end"):
        print(f"{title.replace('_', ' ')}: {json.dumps(found[title])}")


def main() -> int:
    """See the module."""
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    options = words[cut + 1 :] or OPTIONS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    run = kinds.add_parser("run", help="make a run and kill its actors; options of train.py after --")
    run.add_argument("--minutes", type=float, default=30.0, help="of killing; the run goes on to its end")
    run.add_argument("--every", type=float, default=20.0, help="seconds between two kills")
    run.add_argument("--seed", type=int, default=0, help="of who is killed")
    report = kinds.add_parser("report", help="print what came of it")
    report.add_argument("--json", action="store_true", help="one JSON object")
    for each in (run, report):
        each.add_argument("folder", type=Path)
    chosen = parser.parse_args(words[:cut])
    code = 0
    if chosen.kind == "run":
        code = run_under_fire(chosen.folder, options, chosen.minutes, chosen.every, chosen.seed)
    found = describe(chosen.folder)
    if chosen.kind == "report" and chosen.json:
        print(json.dumps(found))
    else:
        print_report(found)
    return code


def _role(actor: str) -> str:
    """An actor's name without its number."""
    return actor.rstrip("0123456789").rstrip("_")


def _recovery(seconds: Sequence[float | None]) -> dict[str, Any]:
    known = [each for each in seconds if each is not None]
    return {
        "kills": len(seconds),
        "recoveries": len(known),
        "median": median(known) if known else None,
        "largest": max(known, default=None),
    }


def _spread(kills: Sequence[tuple[float, str]]) -> float:
    """Minutes between the first kill and the last."""
    return (kills[-1][0] - kills[0][0]) / 60.0 if kills else 0.0


def _status(results: Path) -> dict[str, Any] | None:
    """What the run shows now; None while it shows nothing."""
    for path in results.glob("*/*/status.json"):
        try:
            status: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return status
    return None


if __name__ == "__main__":
    sys.exit(main())
