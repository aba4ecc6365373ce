"""Reading checkpoints: nothing in a file can run code, and a damaged or foreign one is refused in words.

Files are checked by size and SHA-256 before they are used, arrays are read without pickle, and torch
reads tensors and numbers only. So a checkpoint from a stranger is safe to load. Writing is `checkpoint`.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muzero_ray.app.errors import UserError
from muzero_ray.app.saving.checkpoint import (
    BUFFER,
    FORMAT,
    FORMAT_VERSION,
    LEARNER,
    MANIFEST,
    WEIGHTS,
    list_checkpoints,
    sha256_of,
    steps_of,
)
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.core.types import Weights

logger = logging.getLogger(__name__)


class CheckpointError(UserError):
    """A checkpoint that is refused, with the reason."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are all there and whole. Its parts are read when they are asked for."""

    path: Path
    manifest: dict[str, Any]

    @property
    def env_steps(self) -> int:
        return int(self.manifest["env_steps"])

    @property
    def training_steps(self) -> int:
        return int(self.manifest["training_steps"])

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of training up to here, over all resumptions."""
        return float(self.manifest["seconds"])

    def weights(self) -> Weights:
        """The network's parameters.

        Raises:
            CheckpointError: as for the other parts, if this one cannot be read safely.
        """
        return self._arrays(WEIGHTS)

    def buffer_state(self) -> dict[str, np.ndarray]:
        """The replay buffer's arrays."""
        return self._arrays(BUFFER)

    def learner_bytes(self) -> bytes:
        """The learner's state as it lies on the disk: to be read with torch's `weights_only`."""
        return self._file(LEARNER).read_bytes()

    def learner_state(self) -> dict[str, Any]:
        """The learner's state, its tensors on the CPU."""
        path = self._file(LEARNER)
        import torch  # here, so that evaluation with the compiled engine needs no torch

        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a stranger's file provokes, it is refused
            raise _refused(path, "wanted tensors and numbers only, got something else or a damaged file") from error
        return state

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        path = self._file(name)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except Exception as error:  # whatever a stranger's file provokes, it is refused
            raise _refused(path, "wanted arrays of numbers, got something else or a damaged file") from error

    def _file(self, name: str) -> Path:
        if name not in self.manifest["files"]:
            raise _refused(self.path / name, "wanted a file, got none: is this the best, which holds weights only?")
        return self.path / name


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Opens a checkpoint and checks that all of it is there.

    Raises:
        CheckpointError: if it is foreign, of a newer format, or damaged.
    """
    path = Path(path)
    manifest = read_manifest(path)
    for name, wanted in manifest["files"].items():
        file = path / Path(name).name
        if not file.is_file():
            raise _refused(file, "wanted a file, got none")
        if (size := file.stat().st_size) != wanted["bytes"]:
            cut = "; the file is cut off" if size < wanted["bytes"] else ""
            raise _refused(file, f"wanted {wanted['bytes']} bytes, got {size}{cut}")
        if sha256_of(file) != wanted["sha256"]:
            raise _refused(file, "its content is not what was written (SHA-256 differs)")
    return Checkpoint(path, manifest)


def newest_checkpoint(run: RunFolder) -> Checkpoint:
    """The newest checkpoint that is whole; a warning names every newer one that is not.

    Raises:
        CheckpointError: if there is none.
    """
    paths = list_checkpoints(run.checkpoints)
    for path in paths:
        try:
            return load_checkpoint(path)
        except CheckpointError as error:
            logger.warning("%s; trying the next older one", error)
    why = "none of its checkpoints can be used" if paths else "it stopped before its first checkpoint"
    raise CheckpointError(f"{run.path}: wanted a checkpoint, but {why}; start a new run")


def find_checkpoint(run: RunFolder, which: str | None = None) -> Checkpoint:
    """The checkpoint that a user names.

    Args:
        run: where to look.
        which: "best", "last" or a number of training steps; None: the best if there is one, else the last.

    Raises:
        CheckpointError: if it is not there or refused; says which other to take.
    """
    paths = list_checkpoints(run.checkpoints)
    best = list_checkpoints(run.best)
    if which is None:
        which = "best" if best else "last"
    if which == "best":
        chosen = best[:1]
    elif which == "last":
        chosen = paths[:1]
    elif which.isdecimal():
        chosen = [path for path in paths if steps_of(path) == int(which)][:1]
    else:
        raise CheckpointError(f"--checkpoint: wanted best, last or a number of training steps, got {which!r}")
    there = [str(steps_of(path)) for path in paths]
    if not chosen:
        others = ", ".join(dict.fromkeys([*(["best"] if best else []), *(["last"] if paths else []), *there]))
        raise CheckpointError(f"--checkpoint: {run.path} has no {which}; there is {others or 'none at all yet'}")
    try:
        return load_checkpoint(chosen[0])
    except CheckpointError as error:
        older = paths if which == "best" else paths[paths.index(chosen[0]) + 1 :]
        offer = f"try --checkpoint {steps_of(older[0])}" if older else "there is no older one"
        raise CheckpointError(f"{error}; {offer}") from error


def read_manifest(path: Path) -> dict[str, Any]:
    """What a checkpoint's folder is said to hold; whether it does, `load_checkpoint` finds out.

    Raises:
        CheckpointError: if it is foreign, of a newer format, or damaged.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise _refused(path, f"wanted a checkpoint's folder, which holds a {MANIFEST}, got none")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refused(file, "wanted JSON, got a damaged or foreign file") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise _refused(file, f"wanted a {FORMAT}, got a file of another program")
    version = manifest.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise _refused(
            file, f"wanted format {FORMAT_VERSION} or older, got {version!r}: update muzero_ray, which is older than it"
        )
    numbers = all(isinstance(manifest.get(name), int | float) for name in ("env_steps", "training_steps", "seconds"))
    files = manifest.get("files")
    whole = isinstance(files, dict) and all(
        isinstance(entry, dict) and {"bytes", "sha256"} <= entry.keys() for entry in files.values()
    )
    if not numbers or not whole:
        raise _refused(file, "wanted counters and a list of files, got a damaged file")
    return manifest


def _refused(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"checkpoint {path} is refused: {reason}")
