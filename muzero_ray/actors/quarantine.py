"""Where trajectories go that the replay buffer cannot take: to files, with their seeds, so that the run goes on.

One that is malformed or holds numbers that are not finite says something about a game or a network, and nothing about
the others. Many of them say that nothing right is being played: then the run has to end.
"""

import logging
from dataclasses import fields
from pathlib import Path

import numpy as np

from muzero_ray.actors.logs import Logs
from muzero_ray.core.types import Trajectory

logger = logging.getLogger(__name__)

_FILES_KEPT = 20
_MOST = 100
"""Trajectories set aside in a run after which it ends."""


class Quarantine:
    """Trajectories that were refused, counted and kept for a look at them.

    Args:
        logs: of the run, in whose folder `quarantine/` is made when there is something to keep; None keeps no files.

    Attributes:
        count: trajectories set aside so far by this process.
    """

    def __init__(self, logs: Logs | None) -> None:
        self.folder = logs.folder.parent / "quarantine" if logs is not None and logs.folder.is_dir() else None
        self.count = 0

    def put(self, trajectory: Trajectory, reason: ValueError) -> None:
        """Sets a trajectory aside.

        Raises:
            ValueError: if that was one too many.
        """
        self.count += 1
        where = self._keep(trajectory, reason) if self.count <= _FILES_KEPT else None
        logger.error("%s; set aside%s", reason, f" in {where}" if where else "")
        if self.count > _MOST:
            raise ValueError(
                f"{self.count} trajectories could not be stored, the last one because: {reason}; "
                f"look at those in {self.folder or 'the log of the replay buffer'}"
            ) from reason

    def _keep(self, trajectory: Trajectory, reason: ValueError) -> Path | None:
        """Writes a trajectory and why it is there; None if that was not possible, which ends nothing."""
        if self.folder is None:
            return None
        path = self.folder / f"game_{trajectory.game_id}_step_{trajectory.first_step}.npz"
        arrays = {field.name: getattr(trajectory, field.name) for field in fields(Trajectory)}
        try:
            self.folder.mkdir(exist_ok=True)
            with path.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, reason=str(reason), **arrays)
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be written: %s", path, error)
            return None
        return path
