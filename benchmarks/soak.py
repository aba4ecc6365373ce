"""Does a run stay as large as it is, and does it leave nothing behind? Follows `python train.py ...` for an hour.

    python benchmarks/soak.py run DIR [--minutes 60] [--end finish|interrupt|kill] -- --game connect4
    python benchmarks/soak.py report DIR
    python benchmarks/soak.py exits DIR

`run` writes a line of JSON every ten seconds to DIR/soak.jsonl, then ends the run and looks for what is left of it.
`report` prints what became of each process's memory, and of what Ray keeps on disk and in shared memory. `exits` ends
three short runs in three ways. For RSS, PSS and USS see `memory.py`. Linux only.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from memory import is_daemon, look

_MB = 1e6
_SAMPLE_SECONDS = 10.0
_LEFT_SECONDS = 90.0
"""How long what was started may take to be gone after the run's end."""
_WARM_UP_SHARE, _WARM_UP_SECONDS = 0.25, 300.0
_FEWEST_SAMPLES = 10
"""Of a process after the warm-up, for a slope."""
_SESSION = re.compile(r"--session-dir=(\S+)")
_LASTING = ("--game", "tictactoe", "--train.env-steps", "100000000")
_SHORT = ("--game", "tictactoe", "--train.env-steps", "4000", "--evaluate.final-episodes", "10")


class StartedRun:
    """`python train.py` with options, its output in a file, and all processes that were ever seen to come from it.

    Args:
        folder: for its output and its results; made if it is not there.
        options: of `train.py`.
    """

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.results = folder / "results"
        train = Path(__file__).resolve().parent.parent / "train.py"
        command = [sys.executable, str(train), *options, "--results", str(self.results)]
        self.began = time.monotonic()
        with (folder / "output.txt").open("w") as output:
            # A group of its own, as a shell gives it, to which Ctrl-C goes as a whole.
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        self.head = psutil.Process(self._process.pid)
        self.session: Path | None = None
        self._seen: dict[int, psutil.Process] = {}

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def sample(self) -> dict[str, Any]:
        """Everything at this moment, as `soak.jsonl` keeps it."""
        self.find_processes()
        found = look(self.head, self.began)
        return {
            "seconds": found.seconds,
            "processes": [
                {"pid": pid, "name": name, **vars(memory)} for (pid, name), memory in found.processes.items()
            ],
            "ray_folder_bytes": folder_bytes(self.session) if self.session else 0,
            "shared_memory_bytes": psutil.disk_usage("/dev/shm").used,
        }

    def find_processes(self) -> None:
        """Notes every process that has come from the run by now, and where Ray keeps its files for it."""
        try:
            children = self.head.children(recursive=True)
        except psutil.Error:  # it has just ended
            return
        for process in children:
            if process.pid not in self._seen:
                self._seen[process.pid] = process
                self.session = self.session or _session_of(process)

    def end(self, how: str) -> None:
        """Interrupts it as Ctrl-C does, or kills its head alone, and waits for its end."""
        self.find_processes()
        if how == "interrupt":
            os.killpg(self._process.pid, signal.SIGINT)
        elif how == "kill":
            self._process.kill()
        self._process.wait()

    def left_over(self) -> list[psutil.Process]:
        """What came from the run and still runs."""
        seen = [process for process in self._seen.values() if _runs(process)]
        others = [process for process in psutil.process_iter() if self.session and _belongs_to(process, self.session)]
        return list({process.pid: process for process in [*seen, *others]}.values())

    def wait_until_gone(self) -> tuple[float, list[str]]:
        """Waits for all to be gone; the seconds that took, and what is still there when patience ends, in words."""
        began = time.monotonic()
        while (left := self.left_over()) and time.monotonic() - began < _LEFT_SECONDS:
            time.sleep(0.2)
        return time.monotonic() - began, [_in_words(process) for process in left]


def folder_bytes(folder: Path) -> int:
    """What the files in a folder take, as far as they can be read; sockets and links take nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            try:
                total += path.lstat().st_size if path.is_file() and not path.is_symlink() else 0
            except OSError:  # it has just gone
                continue
    return total


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The samples in a file; a last line that is only half there is left out."""
    samples = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            samples.append(json.loads(line))
        except ValueError:
            continue
    if not samples:
        raise ValueError(f"{path}: wanted samples, a line of JSON each, got none")
    return samples


def warm_up_seconds(seconds: float) -> float:
    """The part of a run that counts as its warm-up: a quarter, and five minutes at least.

    >>> warm_up_seconds(3600), warm_up_seconds(600)
    (900.0, 300.0)
    """
    return max(_WARM_UP_SHARE * seconds, _WARM_UP_SECONDS)


def slope(seconds: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """The straight line through points by least squares: how much it rises per second, and the standard error of that.

    The error takes the points to be independent of each other; neighbouring samples of memory are not, so it is too
    small rather than too large.

    >>> slope([0.0, 1.0, 2.0], [5.0, 7.0, 9.0])
    (2.0, 0.0)
    """
    if len(seconds) < 3:
        raise ValueError(f"slope: wanted at least 3 points, got {len(seconds)}")
    x, y = np.asarray(seconds) - np.mean(seconds), np.asarray(values) - np.mean(values)
    spread = float(x @ x)
    rise = float(x @ y) / spread
    residual = y - rise * x
    return rise, float(np.sqrt(residual @ residual / (len(x) - 2) / spread))


def rows(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each thing that was followed: MB at first, after the warm-up and at last, and MB per hour since then.

    A process that was not there for long after the warm-up has no slope.
    """
    series: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    order: dict[str, tuple[bool, str]] = {}
    for sample in samples:
        for process in sample["processes"]:
            name = f"{process['name']} {process['pid']}"
            order[name] = (is_daemon(process["name"]), name)
            for measure in ("rss", "uss"):
                series[name, measure].append((sample["seconds"], process[measure] / _MB))
        for name, daemons in (("head and actors", False), ("Ray's own processes", True)):
            total = sum(each["pss"] for each in sample["processes"] if is_daemon(each["name"]) == daemons)
            series[name, "pss"].append((sample["seconds"], total / _MB))
        series["Ray's folder", "bytes"].append((sample["seconds"], sample["ray_folder_bytes"] / _MB))
        series["shared memory", "bytes"].append((sample["seconds"], sample["shared_memory_bytes"] / _MB))
    began, ended = samples[0]["seconds"], samples[-1]["seconds"]
    warm = began + warm_up_seconds(ended - began)
    names = sorted(series, key=lambda key: (order.get(key[0], (True, "~")), key[1]))
    return [{"name": name, "measure": measure, **_row(series[name, measure], warm)} for name, measure in names]


def _row(points: list[tuple[float, float]], warm: float) -> dict[str, float | None]:
    late = [point for point in points if point[0] >= warm]
    found: dict[str, float | None] = {"start": points[0][1], "warm": None, "end": points[-1][1], "slope": None}
    if len(late) >= _FEWEST_SAMPLES:
        rise, error = slope(*zip(*late, strict=True))
        found |= {"warm": late[0][1], "slope": rise * 3600.0, "error": error * 3600.0}
    return found


def print_report(samples: Sequence[dict[str, Any]]) -> None:
    """The table for people to read."""
    seconds = samples[-1]["seconds"] - samples[0]["seconds"]
    print(
        f"{seconds / 60:.0f} min, {len(samples)} samples; MB, and MB/hour after {warm_up_seconds(seconds) / 60:.0f} min"
    )
    print(f"{'':<32}{'':<6}{'start':>9}{'warm':>9}{'end':>9}{'MB/hour':>10}   standard error")
    for row in rows(samples):
        numbers = "".join("        -" if row[key] is None else f"{row[key]:>9.1f}" for key in ("start", "warm", "end"))
        rise = f"{'-':>10}" if row["slope"] is None else f"{row['slope']:>+10.2f}   ±{row['error']:.2f}"
        print(f"{row['name']:<32}{row['measure']:<6}{numbers}{rise}")


def follow(run: StartedRun, path: Path, until: Callable[[], bool]) -> None:
    """Samples a run into a file until it ends, or until it is to be ended."""
    with path.open("w", encoding="utf-8") as file:
        sampled = -_SAMPLE_SECONDS
        while run.exit_code is None and not until():
            if time.monotonic() - run.began >= sampled + _SAMPLE_SECONDS:
                sampled = time.monotonic() - run.began
                file.write(json.dumps(run.sample()) + "\n")
                file.flush()
            time.sleep(0.5)
            run.find_processes()


def soak(folder: Path, options: Sequence[str], minutes: float, how: str) -> dict[str, Any]:
    """Makes one run, follows it and ends it; what it ended with, and what was left of it."""
    run = StartedRun(folder, options)
    try:
        follow(run, folder / "soak.jsonl", lambda: how != "finish" and time.monotonic() - run.began > minutes * 60)
    except BaseException:
        run.end("interrupt")
        raise
    run.end(how)
    seconds, left = run.wait_until_gone()
    found = {
        "end": how,
        "exit_code": run.exit_code,
        "seconds_until_gone": round(seconds, 1),
        "left": left,
        "ray_folder_mb": round(folder_bytes(run.session) / _MB, 1) if run.session else 0.0,
    }
    (folder / "end.json").write_text(json.dumps(found, indent=1))
    return found


def exits(folder: Path, minutes: float, options: Iterable[str]) -> int:
    """Three short runs: one that spends its budget, one that is interrupted, and one whose head is killed."""
    code = 0
    for how in ("finish", "interrupt", "kill"):
        chosen = [*(_SHORT if how == "finish" else _LASTING), *options]
        found = soak(folder / how, chosen, minutes, how)
        print(json.dumps(found), flush=True)
        code |= bool(found["left"])
    return code


def main() -> int:
    """See the module."""
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    options = words[cut + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    run = kinds.add_parser("run", help="follow a run; options of train.py after --")
    run.add_argument("--minutes", type=float, default=60.0, help="before it is ended, unless it finishes")
    run.add_argument("--end", choices=("finish", "interrupt", "kill"), default="interrupt")
    report = kinds.add_parser("report", help="print the table")
    ends = kinds.add_parser("exits", help="end three short runs in three ways")
    ends.add_argument("--minutes", type=float, default=0.75, help="before each is ended")
    for each in (run, report, ends):
        each.add_argument("folder", type=Path)
    chosen = parser.parse_args(words[:cut])
    if chosen.kind == "exits":
        return exits(chosen.folder, chosen.minutes, options)
    code = 0
    if chosen.kind == "run":
        found = soak(chosen.folder, options or _LASTING, chosen.minutes, chosen.end)
        print(json.dumps(found))
        code = int(bool(found["left"]))
    print_report(read_samples(chosen.folder / "soak.jsonl"))
    return code


def _session_of(process: psutil.Process) -> Path | None:
    """Ray's folder for a run, if a process of the run names it."""
    try:
        found = _SESSION.search(" ".join(process.cmdline()))
    except psutil.Error:
        return None
    return Path(found[1]) if found else None


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _belongs_to(process: psutil.Process, session: Path) -> bool:
    """Whether a process names Ray's folder of a run, or writes there: Ray's workers name themselves anew."""
    try:
        if not _runs(process):
            return False
        return str(session) in " ".join(process.cmdline()) or os.readlink(f"/proc/{process.pid}/fd/1").startswith(
            str(session)
        )
    except (psutil.Error, OSError):
        return False


def _in_words(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline()).strip()[:100] or process.name()}"
    except psutil.Error:
        return f"{process.pid} (just gone)"


if __name__ == "__main__":
    sys.exit(main())
