"""Where the observations of the replay buffer lie: vectors and boards in one array, frames compressed, one by one.

Frames are kept once each; they are stacked when they are read (`core/frames.py`). Which slot holds what, and who
came before whom, is the business of `replay/ring.py`.
"""

import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import lz4.block
import numpy as np

from muzero_ray.core.game import GameSpec

COMPRESSED_FROM = 1024
"""Bytes from which a frame is compressed; a Python object for each is not worth it for less."""
MIN_SHARE = 1 / 64
"""The least that compression is expected to leave of a frame: Pong of 96 x 96 in colour comes to 1/38."""

_ROWS_AT_ONCE = 4096
"""Rows that are moved together when an array shrinks: what memory that takes is little."""


class ObservationStore(Protocol):
    """The observations of N slots."""

    @property
    def nbytes(self) -> int:
        """Memory taken now besides what every slot takes."""
        ...

    def write(self, slots: np.ndarray, observations: np.ndarray) -> None:
        """Puts `[n, ...]` observations into `[n]` slots, in the place of what was there."""
        ...

    def clear(self, slots: np.ndarray) -> None:
        """Frees the memory of `[n]` slots, which are not read any more."""
        ...

    def read(self, slots: np.ndarray) -> np.ndarray:
        """The observations in slots of any shape, `[*slots.shape, ...]`, as a new array."""
        ...

    def shrink(self, count: int, slots: np.ndarray, targets: np.ndarray) -> None:
        """Keeps the first `count` slots, after moving `[n]` slots beyond them to `[n]` free ones among them."""
        ...

    def state_dict(self, slots: np.ndarray) -> dict[str, np.ndarray]:
        """Copies of what is in `[n]` slots."""
        ...

    def load_state_dict(self, slots: np.ndarray, state: dict[str, np.ndarray]) -> None:
        """Puts the last n observations of a `state_dict` into `[n]` slots.

        Raises:
            ValueError: if they are of another game, or damaged.
        """
        ...


def make_store(spec: GameSpec, count: int) -> ObservationStore:
    """The store for `count` observations of a game."""
    return CompressedFrames(spec.observation_shape, count) if is_compressed(spec) else PlainObservations(spec, count)


def is_compressed(spec: GameSpec) -> bool:
    """Whether the observations of a game are frames that are compressed."""
    frames = spec.observation_dtype == "uint8" and len(spec.observation_shape) == 3
    return frames and math.prod(spec.observation_shape) >= COMPRESSED_FROM


class ObservationBytes(NamedTuple):
    """Memory that one observation takes."""

    slot: int
    """By its slot, whatever is in it."""
    least: int
    """Besides, as far as can be expected."""
    most: int
    """Besides, at most."""


def observation_bytes(spec: GameSpec) -> ObservationBytes:
    """Memory that one observation of a game takes."""
    size = math.prod(spec.observation_shape) * np.dtype(spec.observation_dtype).itemsize
    if not is_compressed(spec):
        return ObservationBytes(size, 0, 0)
    # LZ4 adds a byte in 255, and a little, to what cannot be compressed. A list holds a pointer to each.
    return ObservationBytes(8, _held_bytes(int(size * MIN_SHARE)), _held_bytes(size + size // 255 + 16))


class PlainObservations:
    """Observations side by side in one array. The operating system hands out the memory as it is written to."""

    nbytes = 0  # all is counted by the slot

    def __init__(self, spec: GameSpec, count: int) -> None:
        self._array = np.zeros((count, *spec.observation_shape), dtype=spec.observation_dtype)

    def write(self, slots: np.ndarray, observations: np.ndarray) -> None:
        """See `ObservationStore`."""
        self._array[slots] = observations

    def clear(self, slots: np.ndarray) -> None:
        """Frees nothing: other observations take the place."""

    def read(self, slots: np.ndarray) -> np.ndarray:
        """See `ObservationStore`."""
        observations: np.ndarray = self._array[slots]
        return observations

    def shrink(self, count: int, slots: np.ndarray, targets: np.ndarray) -> None:
        """See `ObservationStore`."""
        shrink_array(self._array, count, slots, targets)

    def state_dict(self, slots: np.ndarray) -> dict[str, np.ndarray]:
        """See `ObservationStore`."""
        return {"observations": self._array[slots]}

    def load_state_dict(self, slots: np.ndarray, state: dict[str, np.ndarray]) -> None:
        """See `ObservationStore`."""
        self._array[slots] = _plain_state(state, self._array.shape[1:], self._array.dtype, len(slots))


class CompressedFrames:
    """Frames `[C, H, W]` uint8, each compressed by LZ4 on its own, so that any of them is read alone.

    Of the ways to compress that were measured, LZ4 is the fastest to read by far (2 microseconds a frame of Pong, 7 of
    Ms. Pac-Man), and memory is not what is short: 100,000 such frames are 80 MB and 570 MB.
    """

    def __init__(self, shape: tuple[int, ...], count: int) -> None:
        self._shape = shape
        self._size = math.prod(shape)
        self._packed = [b""] * count
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """See `ObservationStore`."""
        return self._nbytes

    def write(self, slots: np.ndarray, observations: np.ndarray) -> None:
        """See `ObservationStore`."""
        for slot, frame in zip(slots.tolist(), observations, strict=True):
            self._put(slot, lz4.block.compress(np.ascontiguousarray(frame), store_size=False))

    def clear(self, slots: np.ndarray) -> None:
        """See `ObservationStore`."""
        for slot in slots.tolist():
            self._put(slot, b"")

    def read(self, slots: np.ndarray) -> np.ndarray:
        """See `ObservationStore`."""
        frames = np.empty((*slots.shape, *self._shape), dtype=np.uint8)
        flat, size = frames.reshape(-1).data, self._size
        for i, slot in enumerate(slots.ravel().tolist()):
            frame = lz4.block.decompress(self._packed[slot], uncompressed_size=size)
            flat[i * size : (i + 1) * size] = frame
        return frames

    def shrink(self, count: int, slots: np.ndarray, targets: np.ndarray) -> None:
        """See `ObservationStore`."""
        for slot, target in zip(slots.tolist(), targets.tolist(), strict=True):
            self._packed[target], self._packed[slot] = self._packed[slot], b""
        del self._packed[count:]

    def state_dict(self, slots: np.ndarray) -> dict[str, np.ndarray]:
        """See `ObservationStore`; the frames stay compressed, one behind the other."""
        packed = [self._packed[slot] for slot in slots.tolist()]
        return {
            "frames": np.frombuffer(b"".join(packed), dtype=np.uint8),
            "frame_lengths": np.array([len(frame) for frame in packed], dtype=np.int64),
            "frame_shape": np.array(self._shape, dtype=np.int64),
        }

    def load_state_dict(self, slots: np.ndarray, state: dict[str, np.ndarray]) -> None:
        """See `ObservationStore`; observations that were not compressed are, now."""
        if "frames" in state:
            packed = self._frames_of(state)[-len(slots) :]
        else:
            plain = _plain_state(state, self._shape, np.dtype(np.uint8), len(slots))
            packed = [lz4.block.compress(np.ascontiguousarray(frame), store_size=False) for frame in plain]
        self._packed = [b""] * len(self._packed)
        self._nbytes = 0
        for slot, frame in zip(slots.tolist(), packed, strict=True):
            self._put(slot, frame)

    def _put(self, slot: int, packed: bytes) -> None:
        """Keeps a compressed frame, or none, in the place of what was there."""
        for frame, sign in ((self._packed[slot], -1), (packed, 1)):
            if frame:
                self._nbytes += sign * _held_bytes(len(frame))
        self._packed[slot] = packed

    def _frames_of(self, state: dict[str, np.ndarray]) -> list[bytes]:
        """The compressed frames of a `state_dict`, each of which is sure to be read."""
        _check_frame_shape(state, self._shape)
        ends = np.cumsum(state["frame_lengths"])
        blob = state["frames"].tobytes()
        frames = [blob[end - length : end] for end, length in zip(ends, state["frame_lengths"], strict=True)]
        for number, frame in enumerate(frames):
            try:
                size = len(lz4.block.decompress(frame, uncompressed_size=self._size))
            except lz4.block.LZ4BlockError as error:
                raise ValueError(
                    f"replay: stored frame {number} cannot be decompressed: the file is damaged"
                ) from error
            if size != self._size:
                raise ValueError(
                    f"replay: stored frame {number} must have {self._size} bytes, got {size}: the file is damaged"
                )
        return frames


def shrink_array(array: np.ndarray, count: int, rows: np.ndarray, targets: np.ndarray) -> None:
    """Keeps the first `count` rows of an array, in place, after moving `[n]` rows beyond them to `[n]` among them.

    The memory of the others goes back to the operating system, where the array is large. There may be no views of it.
    """
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        array[targets[block]] = array[rows[block]]
    # NumPy would refuse this, since it cannot know that other references to the array are no views of its memory.
    array.resize((count, *array.shape[1:]), refcheck=False)


def _held_bytes(length: int) -> int:
    """Memory for a compressed frame of so many bytes, as a Python object."""
    return length + sys.getsizeof(b"") + 16  # what malloc rounds up by, and notes


def check_observations(state: Mapping[str, np.ndarray], spec: GameSpec) -> None:
    """Raises ValueError unless the observations of a `state_dict` are of this game's form. Reads none of them."""
    if is_compressed(spec) and "frames" in state:
        _check_frame_shape(state, spec.observation_shape)
    else:
        _plain_state(state, spec.observation_shape, np.dtype(spec.observation_dtype), 0)


def _check_frame_shape(state: Mapping[str, np.ndarray], wanted: tuple[int, ...]) -> None:
    if (got := tuple(state["frame_shape"].tolist())) != wanted:
        raise ValueError(f"replay: stored frames must be of shape {wanted}, got {got}; the file is of another game")


def _plain_state(
    state: Mapping[str, np.ndarray], shape: tuple[int, ...], dtype: np.dtype[Any], count: int
) -> np.ndarray:
    """The last `count` of stored observations that are not compressed."""
    stored = state.get("observations")
    if stored is None or stored.shape[1:] != shape or stored.dtype != dtype:
        got = "compressed frames" if stored is None else f"{stored.dtype} of shape {stored.shape[1:]}"
        raise ValueError(
            f"replay: stored observations must be {dtype} of shape {shape} each, got {got}; the file is of another game"
        )
    return stored[len(stored) - count :]
