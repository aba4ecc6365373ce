"""What a network sees in stored states: frames are kept once each, and stacked when they are read.

How they are stacked is said in `core/frames.py`. Here it is found out which frames lie before a state, and whether
they are still there.
"""

import numpy as np
from numba import njit

from muzero_ray.core.frames import stack_frames
from muzero_ray.core.game import GameSpec
from muzero_ray.replay.ring import LOST, StateRing


class StackedStates:
    """Reads the observations in a ring as a network sees them, `spec.input_shape`.

    A state is *whole* if all frames of its stack are held. Where nothing is stacked, every state is.

    Args:
        ring: the states.
        spec: of the game.
    """

    def __init__(self, ring: StateRing, spec: GameSpec) -> None:
        self._ring = ring
        self._frame_stack = spec.frame_stack
        self._input_shape = spec.input_shape

    def is_whole(self, slots: np.ndarray) -> np.ndarray:
        """`[n]` bool: which of the states in `[n]` slots are whole."""
        if self._frame_stack == 1:
            return np.ones(len(slots), dtype=bool)
        whole: np.ndarray = self._history(slots)[:, 0] >= 0
        return whole

    def read(self, slots: np.ndarray) -> np.ndarray:
        """What the network sees in the states in `[n]` slots: `[n, ...]`.

        Raises:
            ValueError: if a state is not whole.
        """
        if self._frame_stack == 1:
            return self._ring.observations.read(slots)
        return self._ring.observations.read(self._whole_history(slots)).reshape(len(slots), *self._input_shape)

    def read_windows(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """What the network sees in K + 1 states that follow each other, every frame read once.

        Args:
            slots: `[B, K + 1]`. A slot that repeats the one before, past the end of a game, makes a stack that means
                nothing.

        Returns:
            `[B, ...]` for the first states, `[B, K, ...]` for the others, and the `[B, frame_stack + K, C, H, W]`
            frames that both are read-only views of, or None where nothing is stacked.

        Raises:
            ValueError: if a first state is not whole.
        """
        read, first, others = self._ring.observations.read, slots[:, 0], slots[:, 1:]
        if self._frame_stack == 1:
            return read(first), read(others), None
        frames = read(np.concatenate([self._whole_history(first), others], axis=1))
        stacks = stack_frames(frames, self._frame_stack)
        return stacks[:, 0], stacks[:, 1:], frames

    def _history(self, slots: np.ndarray) -> np.ndarray:
        """`[n, frame_stack]` slots of the frames that make up the stacks of the states in `[n]` slots, -1 where one is
        gone, and in all places before that."""
        oldest_slot = self._ring.slot(self._ring.first_id)
        return _walk_back(self._ring.states.predecessors, slots, oldest_slot, self._frame_stack)

    def _whole_history(self, slots: np.ndarray) -> np.ndarray:
        history = self._history(slots)
        gone = history[:, 0] < 0
        if gone.any():
            raise ValueError(
                f"replay: state {self._ring.ids(slots[gone])[0]} cannot be stacked, as not all of the "
                f"{self._frame_stack - 1} frames before it are held; draw states by `sample` or `reanalyze_request`"
            )
        return history


@njit(cache=True, nogil=True)
def _walk_back(predecessors: np.ndarray, slots: np.ndarray, oldest_slot: int, length: int) -> np.ndarray:
    """See `StackedStates._history`. A game's first state, whose link is 0, stands for those before it."""
    capacity = len(predecessors)
    history = np.full((len(slots), length), -1, dtype=np.int64)
    for i in range(len(slots)):
        slot = slots[i]
        age = (slot - oldest_slot) % capacity  # how many states in the ring are older
        history[i, length - 1] = slot
        for k in range(length - 2, -1, -1):
            link = predecessors[slot]
            if link == LOST or link > age:
                break
            slot = (slot - link) % capacity
            age -= link
            history[i, k] = slot
    return history
