"""Memory of a run: `python benchmarks/memory.py` starts a short one and follows it and everything it starts.

Prints each process at the moment when head and actors together are largest. RSS counts a page that several
processes share once for each of them, PSS divides it among them, USS leaves it out. Linux only.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

_MB = 1e6
_ACTOR = re.compile(r"ray::(\w+)")
_DAEMONS = {
    "gcs_server": "gcs",
    "raylet/raylet": "raylet",
    "dashboard/agent.py": "dashboard agent",
    "dashboard/dashboard.py": "dashboard",
    "runtime_env/agent/main.py": "runtime env agent",
    "log_monitor.py": "log monitor",
    "monitor.py": "autoscaler monitor",
    "ray::DashboardAgent": "dashboard agent",
    "ray::RuntimeEnvAgent": "runtime env agent",
    "ray-dashboard-": "dashboard module",
    "multiprocessing": "dashboard helper",
    "ray::IDLE": "idle worker",
    "default_worker.py": "starting worker",
}
"""What Ray starts for itself, by what its command line holds; the first that fits counts."""


@dataclass(frozen=True)
class Memory:
    """Of one process, in bytes."""

    rss: int
    pss: int
    uss: int


@dataclass(frozen=True)
class Sample:
    """All processes of a run at one moment."""

    seconds: float
    """Since the command."""
    processes: dict[tuple[int, str], Memory]
    """By process id and name."""

    def total(self, daemons: bool = False) -> Memory:
        """Of head and actors together, or of Ray's own processes."""
        chosen = [memory for (_, name), memory in self.processes.items() if is_daemon(name) == daemons]
        return Memory(*(sum(getattr(memory, field) for memory in chosen) for field in ("rss", "pss", "uss")))


def is_daemon(name: str) -> bool:
    """Whether a process is Ray's own affair, rather than the head, an actor, or what one of them started."""
    return name in _DAEMONS.values()


def name_of(process: psutil.Process, head: int) -> str:
    """What a process is: "head", an actor's class, or one of Ray's own."""
    if process.pid == head:
        return "head"
    command = " ".join(process.cmdline())
    for part, name in _DAEMONS.items():
        if part in command:
            return name
    actor = _ACTOR.match(command)
    return actor[1] if actor else process.name()


def look(head: psutil.Process, began: float) -> Sample:
    """Measures a process and all its descendants."""
    found = {}
    for process in (head, *head.children(recursive=True)):
        try:
            memory = process.memory_full_info()
            found[process.pid, name_of(process, head.pid)] = Memory(memory.rss, memory.pss, memory.uss)
        except psutil.Error:  # it has just ended
            continue
    return Sample(time.monotonic() - began, found)


def follow(command: list[str], interval: float) -> tuple[list[Sample], list[str], int]:
    """Runs a command to its end, looking every `interval` seconds; answers what it wrote and its exit code too."""
    began = time.monotonic()
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.stdout is not None
    output = run.stdout
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(output), daemon=True)
    reader.start()
    head, samples = psutil.Process(run.pid), []
    while run.poll() is None:
        samples.append(look(head, began))
        time.sleep(interval)
    reader.join(timeout=10.0)
    return samples, [line.rstrip() for line in lines], run.returncode


def summarize(samples: list[Sample]) -> dict[str, object]:
    """What is printed, in MB."""
    peak = max(samples, key=lambda sample: sample.total().rss)
    own_peaks: Counter[tuple[int, str]] = Counter()
    for sample in samples:
        for key, memory in sample.processes.items():
            own_peaks[key] = max(own_peaks[key], memory.rss)
    rows = [
        {"name": name, **_in_mb(memory), "peak_rss": round(own_peaks[pid, name] / _MB)}
        for (pid, name), memory in sorted(peak.processes.items(), key=lambda item: (is_daemon(item[0][1]), item[0]))
    ]
    return {
        "at_seconds": round(peak.seconds, 1),
        "processes": rows,
        "head_and_actors": _in_mb(peak.total()),
        "ray": _in_mb(peak.total(daemons=True)),
        "peaks": {
            "head_and_actors": {
                field: round(max(getattr(sample.total(), field) for sample in samples) / _MB)
                for field in ("rss", "pss", "uss")
            },
            "head_rss": round(max(size for (_, name), size in own_peaks.items() if name == "head") / _MB),
        },
    }


def print_table(summary: dict[str, object], first_steps: str) -> None:
    """The same for people to read."""
    print(f"at its peak, {summary['at_seconds']} s after the command; MB{' ' * 9}RSS     PSS     USS   own peak RSS")
    for row in summary["processes"]:  # type: ignore[attr-defined]
        print(f"  {row['name']:<44}{row['rss']:>7} {row['pss']:>7} {row['uss']:>7} {row['peak_rss']:>14}")
    for key, name in (("head_and_actors", "head and actors"), ("ray", "Ray's own processes")):
        total = summary[key]
        print(f"{name:<46}{total['rss']:>7} {total['pss']:>7} {total['uss']:>7}")  # type: ignore[index]
    print(f"peaks: {json.dumps(summary['peaks'])}")
    print(first_steps)


def main() -> int:
    """Measures one run; other words of the command line are options of `train.py`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interval", type=float, default=0.5, help="seconds between two looks")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as results:
        options = options or ["--game", "lunarlander", "--train.env-steps", "6000"]
        train = Path(__file__).resolve().parent.parent / "train.py"
        command = [sys.executable, str(train), *options, "--results", results]
        samples, lines, code = follow(command, chosen.interval)
    summary = summarize(samples)
    first_steps = next((line for line in lines if line.startswith("the first env steps")), "no env step was played")
    if chosen.json:
        print(json.dumps({**summary, "first_steps": first_steps, "exit_code": code}))
    else:
        print_table(summary, first_steps)
    if code:
        print("\n".join(lines), file=sys.stderr)
    return code


def _in_mb(memory: Memory) -> dict[str, int]:
    return {"rss": round(memory.rss / _MB), "pss": round(memory.pss / _MB), "uss": round(memory.uss / _MB)}


if __name__ == "__main__":
    sys.exit(main())
