"""The folder of one run: where everything in it lies, and with what software it was made.

    results/<game>/<date--time>/
        config.yaml  versions.txt  summary.json  learning_curve.png  video.mp4  curve.jsonl  events.out.tfevents...
        status.json  logs/head.log  logs/trainer.log ...
        quarantine/game_17_step_32.npz ...
        checkpoints/step_000012345/
        best/step_000010000/

What the files hold is the business of the modules that write them.
"""

import os
import platform
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import muzero_ray
from muzero_ray.app.errors import UserError

_PACKAGES = ("muzero-ray", "torch", "ray", "numpy", "numba", "gymnasium")


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @classmethod
    def create(cls, results: str | Path, game: str) -> "RunFolder":
        """Makes a new folder, named by the present time, and proves that it can be written.

        Raises:
            UserError: if it cannot be.
        """
        parent = Path(results) / game_label(game)
        stamp = time.strftime("%Y-%m-%d--%H-%M-%S")
        told = "".join(f"{name}: {value}\n" for name, value in versions().items())  # first, since it takes a while
        folder = None
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder = cls(_make_unique(parent, stamp))
            for path in (folder.checkpoints, folder.best):
                path.mkdir()
            folder.versions.write_text(told)
        except OSError as error:
            if folder is not None:
                folder.remove()
            raise UserError(
                f"results: cannot write to {parent} ({error.strerror}); "
                "free the place or choose another with --results FOLDER"
            ) from error
        return folder

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """The run at a path.

        Raises:
            UserError: if there is none.
        """
        folder = cls(Path(path))
        if not folder.config.is_file():
            wanted = "wanted a run folder (results/<game>/<date--time>), which holds a config.yaml"
            if folder.path.is_dir():
                got = "a folder without"
            elif folder.path.is_file():
                own = cls(folder.path.parent).config.is_file()
                got = f"a file; did you mean {folder.path.parent}?" if own else "a file"
            else:
                got = "nothing there"
            raise UserError(f"{path}: {wanted}, got {got}")
        return folder

    @classmethod
    def is_copy(cls, path: str | Path) -> bool:
        """Whether a path holds a run's copies only, which lack what every run writes into its own folder."""
        folder = cls(Path(path))
        own = (folder.versions, folder.status, folder.logs, *folder.path.glob("events.out.tfevents*"))
        return folder.config.is_file() and not any(each.exists() for each in own)

    @classmethod
    def list_runs(cls, results: str | Path, game: str | None = None) -> list["RunFolder"]:
        """All runs, of one game or (None) of any, the one that was started last first."""
        games = Path(results).glob(game_label(game) if game else "*")
        runs = [run for folder in games for run in folder.glob("*") if (run / "config.yaml").is_file()]
        runs.sort(key=lambda run: (run.name.partition("_")[0], len(run.name), run.name), reverse=True)
        return [cls(run) for run in runs]

    def remove(self) -> None:
        """Removes the folder of a run that never began; one that holds a checkpoint stays."""
        if not any(self.checkpoints.glob("step_*")):
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def versions(self) -> Path:
        return self.path / "versions.txt"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def curve(self) -> Path:
        return self.path / "curve.jsonl"

    @property
    def status(self) -> Path:
        """What the run is doing, or how it ended: written every few seconds."""
        return self.path / "status.json"

    @property
    def logs(self) -> Path:
        """The folder of logs, made absolute: other processes may be elsewhere."""
        return self.path.absolute() / "logs"

    @property
    def learning_curve(self) -> Path:
        return self.path / "learning_curve.png"

    @property
    def video(self) -> Path:
        """Without its suffix, which depends on what can be written."""
        return self.path / "video"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        return self.path / "best"


def game_label(game: str) -> str:
    """A game as the name of a folder.

    >>> game_label("games/mygame.py"), game_label("gymnasium:CartPole-v1"), game_label("tictactoe")
    ('mygame', 'gymnasium-CartPole-v1', 'tictactoe')
    """
    name = Path(game).stem if game.endswith(".py") else game
    return re.sub(r"[^\w.-]+", "-", name)


def versions() -> dict[str, str]:
    """The software and the machine, by name."""
    found = {
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
    }
    found |= {package: package_version(package) for package in _PACKAGES}
    commit = _git_commit()
    return {**found, "git": commit} if commit else found


def package_version(name: str) -> str:
    """The version of a package, or that it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _make_unique(parent: Path, stamp: str) -> Path:
    number = 1
    while True:
        path = parent / (stamp if number == 1 else f"{stamp}_{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _git_commit() -> str:
    """The checkout's commit, marked if files differ from it; empty outside of a checkout."""
    folder = Path(muzero_ray.__file__).parent.parent
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
