"""Checkpoints, written so that a crash at any moment leaves either the older ones or the new one whole.

    checkpoints/step_000012345/        the number is training steps
        learner.pt       torch's format, tensors and numbers only
        buffer.npz       arrays
        weights.npz      the newest published weights: what evaluation needs, without torch
        manifest.json    format, counters, the pace's counts, starts of each role; size and SHA-256 of each file

A checkpoint is written into a directory beside its own, which is renamed when every byte is on the disk.
Reading is `checkpoint_reader`; what the states mean is the business of those who give and take them.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from muzero_ray.app.saving.files import to_disk
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.core.types import Weights

logger = logging.getLogger(__name__)

FORMAT = "muzero_ray checkpoint"
FORMAT_VERSION = 1

LEARNER, BUFFER, WEIGHTS, MANIFEST = "learner.pt", "buffer.npz", "weights.npz", "manifest.json"
_TEMPORARY = ".unfinished-"
_NAME = re.compile(r"step_(\d+)(?:-(\d+))?")


def save_checkpoint(
    run: RunFolder,
    *,
    learner_state: bytes | Mapping[str, Any],
    weights: Weights,
    buffer_state: Mapping[str, np.ndarray],
    manifest: Mapping[str, Any],
    keep: int,
    spare: Path | None = None,
    is_best: bool = False,
) -> bool:
    """Writes a checkpoint; a full disk costs this checkpoint, never the run.

    Args:
        run: where to.
        learner_state: tensors, numbers, strings and dictionaries of them, or their bytes in torch's format.
        weights: the newest published ones.
        buffer_state: the buffer's arrays.
        manifest: counters and whatever else JSON can hold; `env_steps`, `training_steps` and `seconds` at least.
        keep: newest checkpoints to keep.
        spare: one that is not removed this time, as it is in use.
        is_best: whether these weights are the best so far, to be kept apart as well.

    Returns:
        Whether it was written. If not, a warning says why, and the older checkpoints are as they were.
    """
    with CheckpointWriter(run.checkpoints, manifest, keep, spare) as writer:
        write_learner(writer.directory / LEARNER, learner_state)
        write_arrays(writer.directory / BUFFER, buffer_state)
        write_arrays(writer.directory / WEIGHTS, weights)
        writer.commit()
    if is_best:
        save_best(run, weights, manifest)
    return writer.committed


def save_best(run: RunFolder, weights: Weights, manifest: Mapping[str, Any]) -> bool:
    """Puts these weights in the place of the best so far; returns as `save_checkpoint` does."""
    with CheckpointWriter(run.best, manifest, keep=1) as writer:
        write_arrays(writer.directory / WEIGHTS, weights)
        writer.commit()
    return writer.committed


class CheckpointWriter:
    """A checkpoint being written, by whoever has a part of it.

        with CheckpointWriter(run.checkpoints, manifest, keep=3) as writer:
            write_arrays(writer.directory / BUFFER, arrays)
            writer.commit()

    Without `commit` nothing remains. An `OSError` inside of the block (a full disk) is told in a warning
    and goes no further; see `committed`.

    Args:
        folder: `run.checkpoints` or `run.best`.
        manifest: as for `save_checkpoint`.
        keep: newest checkpoints to keep in the folder.
        spare: as for `save_checkpoint`.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], keep: int, spare: Path | None = None) -> None:
        self._folder = folder
        self._manifest = manifest
        self._keep = keep
        self._spare = spare
        self._name = f"step_{int(manifest['training_steps']):09d}"
        self._temporary = folder / f"{_TEMPORARY}{self._name}-{os.getpid()}"
        self.committed = False

    def __enter__(self) -> Self:
        return self

    @property
    def directory(self) -> Path:
        """Where the parts are to be written; made when it is first asked for."""
        self._temporary.mkdir(parents=True, exist_ok=True)
        return self._temporary

    def commit(self) -> None:
        """Makes the directory a checkpoint, once all of it is on the disk; removes those no longer kept."""
        directory = self.directory
        files = sorted(path for path in directory.iterdir() if path.name != MANIFEST)
        manifest = {
            **self._manifest,
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "files": {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in files},
        }
        (directory / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for path in [*files, directory / MANIFEST, directory]:
            to_disk(path)
        target = _free_place(self._folder / self._name)
        os.rename(directory, target)
        to_disk(self._folder)
        self.committed = True
        _prune(self._folder, target, self._keep, self._spare)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        shutil.rmtree(self._temporary, ignore_errors=True)
        if isinstance(error, OSError):
            logger.warning("%s", _not_written(self._folder / self._name, error))
            return True
        return False


def write_learner(path: Path, state: bytes | Mapping[str, Any]) -> None:
    """Writes a learner's state in torch's format."""
    if isinstance(state, bytes):
        path.write_bytes(state)
        return
    import torch  # here, so that writing bytes and reading weights need no torch

    torch.save(dict(state), path)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name, uncompressed, as an .npz file.

    Raises:
        ValueError: if one holds Python objects, which could not be read back safely.
    """
    with zipfile.ZipFile(path, "w") as archive:  # as np.savez does, which gives some names a meaning of their own
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `run.checkpoints` or `run.best`, newest first, whatever state they are in."""
    return [folder / name for name in newest_first(path.name for path in folder.glob("step_*"))]


def newest_first(names: Iterable[str]) -> list[str]:
    """Those of these names that checkpoints have, newest first.

    >>> newest_first(["step_000000900", "step_000001000", "step_000001000-2", "manifest.json"])
    ['step_000001000-2', 'step_000001000', 'step_000000900']
    """
    return sorted((name for name in names if _NAME.fullmatch(name)), key=_age, reverse=True)


def remove_leftovers(run: RunFolder) -> None:
    """Removes what crashes left behind. Only for the process that is about to write to this run."""
    for folder in (run.checkpoints, run.best):
        for path in folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)


def steps_of(path: Path) -> int:
    """Training steps of a checkpoint, by its name."""
    return _age(path.name)[0]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _age(name: str) -> tuple[int, int]:
    match = _NAME.fullmatch(name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)


def _free_place(path: Path) -> Path:
    """The path, or with a number behind: a checkpoint is never replaced, since that takes two renames."""
    number, place = 1, path
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}-{number}")
    return place


def _prune(folder: Path, newest: Path, keep: int, spare: Path | None) -> None:
    """Keeps the newest `keep`. What is further on than the newest is of a run that was given up when
    an older checkpoint was resumed."""
    places = list_checkpoints(folder)
    at = places.index(newest)
    for path in [*places[:at], *places[at + keep :]]:
        if path == spare:
            continue
        doomed = path.with_name(f"{_TEMPORARY}{path.name}-removed")
        try:
            os.rename(path, doomed)  # at once, so that no half-removed checkpoint is ever found
        except OSError as error:
            logger.warning("checkpoint %s could not be removed: %s", path, error.strerror)
        shutil.rmtree(doomed, ignore_errors=True)


def _not_written(path: Path, error: OSError) -> str:
    return (
        f"checkpoint {path} was not written: {error.strerror or error}; training goes on, older checkpoints are "
        "as they were: make room on that disk"
    )
