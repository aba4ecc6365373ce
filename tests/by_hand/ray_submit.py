"""A real `ray up`, `ray submit` and `ray down` on one machine, to be run by hand:

    python tests/by_hand/ray_submit.py            # CartPole to a mean return of 475, some ten minutes on two cores

configs/cluster/on_premises.yaml is filled in with three addresses of this machine: a head and two workers. What
Ray's launcher and autoscaler do is real: the commands of the file, rsync, the token, the older autoscaler that
starts the workers, `train.py` on the head. Two things stand in, in this folder: `ssh`, which runs its command here
with another home and another /tmp, and `ray`, which gives each machine ports of its own and stops no other Ray. The
file's `pip install` is left out: machines run this Python on their own copy of the checkout.

Needs rsync. Exit code 0: the cluster came up with three nodes, the head ran its own copy of the package, self-play ran
on all of them (three actors, and one CPU on each), and the agent reached the target. The log lies beside this file.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from processes import end_processes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SAYS_NOTHING = re.compile(
    r"bash: |.*To ensure this mount updates|VV?INFO|VWARN|WARN (docker|commands)\.py|INFO (node_provider|log_timer)"
    r"|.*Fetched IP|sending incremental|[\w/.-]+\.(py|yaml|txt|toml|md)$|[\w/.-]+/$|auth_token$|LICENSE$"
)
"""Of a shell without a terminal, of Ray's launcher at length, and of rsync file by file."""
HEAD, *WORKERS = ADDRESSES = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]


class Log:
    """Prints, and keeps what was printed without what says nothing: colours, folders of this machine."""

    def __init__(self, path: Path, machines: Path) -> None:
        self._file = path.open("w")
        self._hidden = {str(machines): "/machines", str(ROOT): "~/muzero-ray"}
        self._began = time.monotonic()

    def write(self, line: str) -> None:
        line = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line.rstrip())
        line = re.sub(r"^\d{4}-\d\d-\d\d [\d:,]+\s+", "", line)
        for folder, name in self._hidden.items():
            line = line.replace(folder, name)
        if not line.strip() or SAYS_NOTHING.match(line):
            return
        print(line, flush=True)
        print(f"{time.monotonic() - self._began:6.1f}  {line}", file=self._file, flush=True)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--target", type=float, default=475.0, help="mean return to be reached")
    options.add_argument("--log", type=Path, default=HERE / "ray_submit.log")
    options.add_argument("rest", nargs="*", help="further options of train.py, after --")
    chosen = options.parse_args()
    if shutil.which("rsync") is None:
        print("ray up needs rsync: sudo apt install rsync", file=sys.stderr)
        return 2
    machines = Path(tempfile.mkdtemp(prefix="mz"))  # short: Ray's sockets have paths of 107 characters at most
    log = Log(chosen.log, machines)
    try:
        return run(machines, log, chosen.target, chosen.rest)
    finally:
        end_processes({"MACHINES": str(machines)})
        shutil.rmtree(machines, ignore_errors=True)


def run(machines: Path, log: Log, target: float, options: list[str]) -> int:
    user = prepare(machines)

    def call(*words: str) -> str:
        return follow(log, user, *words)

    call("ray", "get-auth-token", "--generate")
    cluster = fill_in(machines)
    call("ray", "up", "-y", cluster)
    wait_for_nodes(log, user, cluster, count=len(ADDRESSES))
    where = call("ray", "exec", cluster, "python -c 'import muzero_ray; print(muzero_ray.__file__)'")
    assert f"/{HEAD}/muzero-ray/muzero_ray/" in where, "the head runs its own copy of the package"

    training = ["--game", "cartpole", "--num-actors", "3", "--seed", "0", *options]
    call("ray", "submit", cluster, "train.py", "--", *training)
    (summary,) = (machines / HEAD).glob("results/cartpole/*/summary.json")
    reached = json.loads(summary.read_text())["mean"]
    curve = [json.loads(line) for line in summary.with_name("curve.jsonl").read_text().splitlines()]
    log.write(f"evaluations: {[point['mean'] for point in curve if point['kind'] == 'evaluation']}")
    call("ray", "down", "-y", cluster)
    log.write(f"the final evaluation: {reached}; wanted: {target}")
    return 0 if reached >= target else 1


def prepare(machines: Path) -> dict[str, str]:
    """Makes the homes of the machines and of the user; returns the user's environment."""
    shutil.copy(HERE / "processes.py", machines)
    for address in ADDRESSES:
        programs = machines / address / "venv" / "bin"
        programs.mkdir(parents=True)
        (machines / address / "tmp").mkdir()
        for name in ("ssh", "ray"):
            shutil.copy(HERE / name, programs / name)
            (programs / name).chmod(0o755)
        (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (programs / "python").chmod(0o755)
    home = machines / "user"
    for folder in (home / ".ssh", home / "bin", home / "tmp"):
        folder.mkdir(parents=True)
    (home / ".ssh" / "id_ed25519").write_text("no key: nobody asks for it\n")
    shutil.copy(HERE / "ssh", home / "bin" / "ssh")
    (home / "bin" / "ssh").chmod(0o755)
    return {
        "HOME": str(home),
        "USER": "user",
        "PATH": f"{home}/bin:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "RAY_TMPDIR": str(home / "tmp"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "MACHINES": str(machines),
        "PYTHON": sys.executable,
        "TERM": "dumb",
    }


def fill_in(machines: Path) -> str:
    """Writes the shipped file with this test's machines in it, and without the installation; returns its path."""
    text = (ROOT / "configs/cluster/on_premises.yaml").read_text()
    for name, value in zip(("HEAD", "WORKER-1", "WORKER-2", "USER"), (*ADDRESSES, "user"), strict=True):
        text = text.replace(f"FILL-IN-{name}", value)
    config = yaml.safe_load(text)
    kept = [
        command for command in config["setup_commands"] if "pip install" not in command and "warm_up" not in command
    ]
    assert len(kept) == len(config["setup_commands"]) - 2
    path = machines / "cluster.yaml"
    path.write_text(yaml.safe_dump({**config, "setup_commands": kept}))
    return str(path)


def wait_for_nodes(log: Log, user: dict[str, str], cluster: str, count: int) -> None:
    """Waits until the autoscaler has started the workers."""
    for _ in range(30):
        if f" {count} local.cluster.node" in follow(log, user, "ray", "exec", cluster, "ray status"):
            return
        time.sleep(10.0)
    follow(log, user, "ray", "exec", cluster, "tail -n 60 $RAY_TMPDIR/ray/session_latest/logs/monitor.out")
    raise SystemExit(f"the cluster has no {count} nodes after some minutes; see the log")


def follow(log: Log, user: dict[str, str], *words: str) -> str:
    """Runs a command as the user, from the checkout; returns what it printed."""
    log.write("$ " + " ".join(words))
    process = subprocess.Popen(
        words, cwd=ROOT, env=user, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    printed = []
    secret = words[1:2] == ("get-auth-token",)
    for line in process.stdout:
        printed.append(line)
        log.write("(the token)" if secret and re.fullmatch(r"[0-9a-f]{64}\s*", line) else line)
    if process.wait() != 0:
        raise SystemExit(f"{words[:2]} ended with {process.returncode}; see the log")
    return "".join(printed)


if __name__ == "__main__":
    sys.exit(main())
