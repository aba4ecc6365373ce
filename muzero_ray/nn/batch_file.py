"""A `Batch` on disk, without pickle: how a batch that broke training is kept for a look at it."""

from dataclasses import fields
from pathlib import Path

import numpy as np

from muzero_ray.core.types import Batch


def save_batch(path: Path | str, batch: Batch) -> None:
    """Writes every field that the batch has to an `.npz` file, non-finite numbers included."""
    arrays = {field.name: getattr(batch, field.name) for field in fields(Batch)}
    # A file object, because `np.savez` would append ".npz" to a path without it.
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **{name: array for name, array in arrays.items() if array is not None})


def load_batch(path: Path | str) -> Batch:
    """Reads what `save_batch` wrote.

    Raises:
        ValueError: if the file holds anything but the fields of a batch, or needs pickle to be read.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    try:
        return Batch(**arrays)
    except TypeError as error:
        raise ValueError(f"{path}: must hold the fields of a batch, got {sorted(arrays)}") from error
