"""Copies of a run's newest checkpoints somewhere else, as the run goes on: on a mounted disk, or in cloud storage.

    <system.copy_checkpoints_to>/<game>/<date--time>/
        config.yaml  curve.jsonl  checkpoints/step_000012345/...  best/step_000010000/...

They lie as in the run's folder; what is drawn or recorded there is not copied. Of a checkpoint the manifest comes last
and leaves first, and names the SHA-256 of everything else, so that half a copy is never taken for a whole one. Reading
is `remote_run`.
"""

import logging
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from muzero_ray.app.errors import UserError
from muzero_ray.app.saving.checkpoint import MANIFEST, list_checkpoints, newest_first
from muzero_ray.app.saving.remote_place import Place, reason, told_to_user
from muzero_ray.app.saving.run_folder import RunFolder, game_label

logger = logging.getLogger(__name__)

OPTION = "system.copy_checkpoints_to"


def find_copies(to: str, folder: RunFolder, game: str, *, new: bool) -> Place:
    """Where a run's copies lie, once it is known that they can be written there.

    Args:
        to: the option's value.
        folder: of the run.
        game: of the run.
        new: whether the run is; if not, its earlier copies may be there.

    Raises:
        UserError: if they cannot, or if another run has its copies there.
    """
    place = Place.find(to, OPTION).child(game_label(game), folder.path.name)
    if place.local is not None and place.local.resolve() == folder.path.resolve():
        raise UserError(f"{OPTION}: wanted a place other than that of the run itself, got {to}; name another, or none")
    with told_to_user(f"{OPTION}: {place.uri} cannot be written"):
        if new and place.names():
            raise UserError(f"{OPTION}: {place.uri} holds another run's copies; start again, or name another place")
        place.prove_writable()
    return place


class RemoteCopies:
    """Copies the newest checkpoint, the best weights, the curve and the configuration of a run, in its own thread.

    The loop that calls it:

        copies = RemoteCopies(folder, place, keep=3)
        while running:
            save_checkpoint(folder, ..., spare=copies.source)
            copies.request()
            for text in copies.news(): tell(text)
        copies.request()
        copied = copies.wait(seconds)
        copies.close()

    A copy that fails is told of, and the next request tries again. Where copying takes longer than the time between two
    checkpoints, those in between are left out.

    Args:
        folder: of the run.
        place: where to.
        keep: newest checkpoints to keep there.
    """

    def __init__(self, folder: RunFolder, place: Place, keep: int) -> None:
        self.source: Path | None = None
        """The checkpoint that is being copied and must not be removed meanwhile."""
        self._folder = folder
        self._place = place
        self._keep = keep
        self._copied: dict[str, Path] = {}  # by the folder it lies in
        self._configured = False
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._failing = False
        self._changed = threading.Condition()
        self._asked = self._served = 0
        self._closed = False
        # A daemon, so that a store which never answers does not keep the process from ending.
        threading.Thread(target=self._serve, name="remote copies", daemon=True).start()

    @property
    def uri(self) -> str:
        """Where the copies lie."""
        return self._place.uri

    @property
    def failing(self) -> bool:
        """Whether the newest copy failed."""
        return self._failing

    def request(self) -> None:
        """There is something new to copy."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Waits for what was requested; whether it was tried in that time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._served == self._asked, seconds)

    def news(self) -> Iterator[str]:
        """What there is to tell since it was last asked for: that copies fail, or that they succeed again."""
        while not self._told.empty():
            yield self._told.get()

    def close(self) -> None:
        """Nothing more is copied than what is under way."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._asked > self._served)
                if self._closed:
                    return
                asked = self._asked
            try:
                self._copy_all()
            except Exception as error:  # of whatever kind a store's client raises: the next request tries again
                logger.debug("no copy at %s", self.uri, exc_info=error)
                if not self._failing:
                    self._told.put(
                        f"checkpoints cannot be copied to {self.uri}: {reason(error)}; the run goes on, and each new "
                        "checkpoint is tried"
                    )
                self._failing = True
            else:
                if self._failing:
                    self._told.put(f"checkpoints are copied to {self.uri} again")
                self._failing = False
            with self._changed:
                self._served = asked
                self._changed.notify_all()

    def _copy_all(self) -> None:
        # What a checkpoint cannot be resumed without is there before it.
        if not self._configured:
            self._place.put_whole(self._folder.config)
            self._configured = True
        self._place.put_whole(self._folder.curve)
        self._copy_newest(self._folder.checkpoints, self._keep)
        self._copy_newest(self._folder.best, 1)

    def _copy_newest(self, folder: Path, keep: int) -> None:
        newest = next(iter(list_checkpoints(folder)), None)
        if newest is None or newest == self._copied.get(folder.name):
            return
        target = self._place.child(folder.name)
        self.source = newest
        try:
            copy_checkpoint(newest, target.child(newest.name))
        except FileNotFoundError:
            if newest.is_dir():
                raise
            return  # it has made way for a newer one, for which there is a request of its own
        finally:
            self.source = None
        self._copied[folder.name] = newest
        remove_others(target, newest.name, keep)


def copy_checkpoint(source: Path, target: Place) -> None:
    """Copies a checkpoint, unless it is there: what it is known by, its manifest, comes last."""
    if MANIFEST in target.names():
        if target.read(MANIFEST) == (source / MANIFEST).read_bytes():
            return
        target.remove(MANIFEST)  # it is of training that was given up when an older checkpoint was resumed
    for path in sorted(source.iterdir()):
        if path.name != MANIFEST:
            target.put(path)
    target.put_whole(source / MANIFEST)


def remove_others(folder: Place, newest: str, keep: int) -> None:
    """Keeps the newest checkpoint and the whole ones before it, `keep` in all; see `checkpoint` for those after it."""
    names = newest_first(folder.names())
    kept = 0
    for name in names:
        place = folder.child(name)
        whole = MANIFEST in place.names()
        if name == newest or (0 < kept < keep and whole):
            kept += 1
            continue
        if whole:
            place.remove(MANIFEST)
        place.remove_all()
