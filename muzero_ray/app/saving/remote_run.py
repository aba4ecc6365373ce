"""A run of which only the copies are left: read back from there, into a run folder of its own.

Whatever comes from there is checked as any checkpoint is: by size and SHA-256, without running anything of it.
"""

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from muzero_ray.app import config_io
from muzero_ray.app.config_io import ConfigFile
from muzero_ray.app.errors import UserError
from muzero_ray.app.saving.checkpoint import MANIFEST, newest_first
from muzero_ray.app.saving.checkpoint_reader import Checkpoint, CheckpointError, load_checkpoint, read_manifest
from muzero_ray.app.saving.remote_place import Place, told_to_user
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.core.config import Config

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteRun:
    """The copies of a run, as `remote_copies` left them."""

    place: Place

    @classmethod
    def open(cls, uri: str) -> "RemoteRun":
        """The copies at an address.

        Raises:
            UserError: if there are none.
        """
        place = Place.find(uri, "--resume")
        with told_to_user(f"--resume: {uri} cannot be read"):
            if "config.yaml" not in place.names():
                raise UserError(f"--resume: wanted a run's copies, which hold a config.yaml, got nothing such at {uri}")
        return cls(place)

    def config_file(self) -> ConfigFile:
        """The configuration that the run had.

        Raises:
            UserError: if it cannot be read.
        """
        with told_to_user(f"--resume: {self.place.uri} cannot be read"), tempfile.TemporaryDirectory() as folder:
            self.place.get("config.yaml", Path(folder))
            return replace(config_io.read_file(Path(folder) / "config.yaml"), path=Path(self.place.uri, "config.yaml"))

    def fetch(self, config: Config) -> tuple[RunFolder, Checkpoint]:
        """Makes a new run folder with the newest checkpoint that is whole, the best weights, and the curve up to now.

        Args:
            config: of the run that is to continue; says where its folder is to be.

        Raises:
            UserError: if there is no checkpoint, or no way to it.
        """
        run = RunFolder.create(config.results, config.game)
        try:
            with told_to_user(f"--resume: {self.place.uri} cannot be read"):
                checkpoint = self._fetch_newest(run.checkpoints)
                if checkpoint is None:
                    raise CheckpointError(f"--resume: {self.place.uri} has no checkpoint that is whole")
                self._fetch_newest(run.best)
                for file in (run.curve, run.config):
                    if file.name in self.place.names():
                        self.place.get(file.name, run.path)
        except BaseException:
            shutil.rmtree(run.path, ignore_errors=True)
            raise
        return run, checkpoint

    def _fetch_newest(self, folder: Path) -> Checkpoint | None:
        """Fetches the newest checkpoint that is whole, to the folder of its kind; None if there is none."""
        there = self.place.child(folder.name)
        for name in newest_first(there.names()):
            unfinished = folder / f".unfinished-{name}-{os.getpid()}"
            unfinished.mkdir()
            try:
                manifest = _fetch_checkpoint(there.child(name), unfinished).manifest
            except (CheckpointError, FileNotFoundError) as error:
                logger.warning("%s/%s is passed over: %s", there.uri, name, error)
                shutil.rmtree(unfinished)
            else:
                return Checkpoint(unfinished.rename(folder / name), manifest)
        return None


def _fetch_checkpoint(place: Place, folder: Path) -> Checkpoint:
    """Fetches what a checkpoint's manifest names.

    Raises:
        CheckpointError: if it is not whole.
        FileNotFoundError: likewise.
    """
    place.get(MANIFEST, folder)
    for name in read_manifest(folder)["files"]:
        place.get(Path(name).name, folder)
    return load_checkpoint(folder)
