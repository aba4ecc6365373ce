"""Storage of the replay buffer: a ring of game states in flat arrays, each linked to its neighbours in its game.

It knows what is stored where, in which order it leaves, and how the pieces of a game join. What is drawn
from it and how often is decided in `replay/priorities.py`, what is learnt from it in `replay/batching.py`;
observations lie in a store of their own (`replay/observation_store.py`).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import Trajectory
from muzero_ray.replay.observation_store import check_observations, make_store, shrink_array
from muzero_ray.replay.shards import parts_of, split_state

logger = logging.getLogger(__name__)

MOVE = 0
"""Kind of a state in which an action was played."""
TERMINATED = 1
"""Kind of the last state of a game that is over."""
TRUNCATED = 2
"""Kind of the last state of a game whose clock was stopped: what it is worth is an estimate."""
RESIGNED = 3
"""Kind of the last state of a game that was given up: what it is worth is the outcome."""

FIRST = 0
"""In the place of a link to the state before: there was none."""
LOST = -1
"""In the place of a link to the state before: there was one, which is not held."""


class States(NamedTuple):
    """N states side by side, as compiled code takes them too. What a last state lacks is 0 there."""

    actions: np.ndarray  # [N] int32; played in this state
    rewards: np.ndarray  # [N] float32; that followed, for the player who moved
    to_play: np.ndarray  # [N] int8; the player to move
    legal_actions: np.ndarray  # [N, A] bool; all True in a last state, of which nothing is recorded
    search_policies: np.ndarray  # [N, A] float32
    root_values: np.ndarray  # [N] float32, for the player to move; in a last state the game's final value
    weights_versions: np.ndarray  # [N] int64; of the network behind policy and value
    kinds: np.ndarray  # [N] uint8; MOVE, TERMINATED, TRUNCATED or RESIGNED
    successors: np.ndarray  # [N] int32; how many states later the next state of the same game came; 0: not known
    predecessors: np.ndarray  # [N] int32; how many states earlier the one before came, FIRST or LOST

    @classmethod
    def allocate(cls, spec: GameSpec, count: int) -> Self:
        """Makes room for `count` states. The operating system hands out the memory as it is written to."""
        return cls(
            actions=np.zeros(count, dtype=np.int32),
            rewards=np.zeros(count, dtype=np.float32),
            to_play=np.zeros(count, dtype=np.int8),
            legal_actions=np.zeros((count, spec.num_actions), dtype=bool),
            search_policies=np.zeros((count, spec.num_actions), dtype=np.float32),
            root_values=np.zeros(count, dtype=np.float32),
            weights_versions=np.zeros(count, dtype=np.int64),
            kinds=np.zeros(count, dtype=np.uint8),
            successors=np.zeros(count, dtype=np.int32),
            predecessors=np.zeros(count, dtype=np.int32),
        )

    @property
    def nbytes(self) -> int:
        """Size of all arrays together."""
        return sum(array.nbytes for array in self)


@dataclass
class OpenGame:
    """A game of which more is expected."""

    last_id: int  # of its newest state
    num_steps: int  # transitions so far


class StateRing:
    """The newest states, first in first out.

    A state is named by its *id*: ids count up from 0 over the whole run and are never used again. State
    `id` lies in slot `slots(id)`, and the next one in the slot behind it, until another state takes the slot; then the
    id is stale. Of a
    finished game T + 1 states are stored, of a running one only those in which an action was played.

    Successors always have larger ids and the smallest id leaves first, so the successor of a live state
    is live. The converse does not hold: what precedes a live state may be gone.

    Attributes:
        capacity: number of slots.
        states: what the slots hold.
        observations: what was seen in them.
        first_id: the oldest live id.
        end_id: one more than the newest live id.
        num_steps: live states of kind MOVE.
        num_games: live last states.
    """

    def __init__(self, spec: GameSpec, capacity: int) -> None:
        """Makes room for `capacity` states, at least 2: a transition and what it led to."""
        if capacity < 2:
            raise ValueError(f"replay: capacity must be at least 2 states, got {capacity}")
        self.capacity = capacity
        self.states = States.allocate(spec, capacity)
        self.observations = make_store(spec, capacity)
        self.first_id = 0
        self.end_id = 0
        self.num_steps = 0
        self.num_games = 0
        self._open_games: dict[int, OpenGame] = {}  # by game id, the one that waits longest first
        self._begun_at = 0  # the oldest id that ever was live here
        self._id_in_slot_0 = 0  # one of those that ever lie there

    @property
    def used_slots(self) -> int:
        """Slots that have been written to."""
        return min(self.capacity, self.end_id - self._begun_at)

    def slots(self, ids: np.ndarray) -> np.ndarray:
        """The `[n]` slots of `[n]` live ids."""
        return (ids - self._id_in_slot_0) % self.capacity

    def slot(self, live_id: int) -> int:
        """The slot of one live id."""
        return (live_id - self._id_in_slot_0) % self.capacity

    def ids(self, slots: np.ndarray) -> np.ndarray:
        """The `[n]` live ids in `[n]` slots in use."""
        return self.first_id + (slots - (self.first_id - self._id_in_slot_0)) % self.capacity

    def live_ids(self) -> np.ndarray:
        """All live ids, rising."""
        return np.arange(self.first_id, self.end_id)

    def is_live(self, ids: np.ndarray) -> np.ndarray:
        """`[n]` bool: which of `[n]` ids still name a state."""
        return (ids >= self.first_id) & (ids < self.end_id)

    def repeats(self, piece: Trajectory) -> bool:
        """Whether a piece begins before the end of what is stored of its running game."""
        before = self._open_games.get(piece.game_id)
        return before is not None and piece.first_step < before.num_steps

    def append(self, piece: Trajectory) -> np.ndarray:
        """Stores a piece of a game, in place of the oldest states where the ring is full.

        Of a piece with more states than the ring has slots, the newest are kept. A piece that does not
        directly continue what is stored of its game (some of it was lost, or has left) stands alone.

        Args:
            piece: checked.

        Returns:
            The rising ids of the stored states; all are of kind MOVE except, when the piece ends its
            game, the last.

        Raises:
            ValueError: if the piece repeats steps that are already stored.
        """
        steps, ended = piece.num_steps, piece.terminated or piece.truncated
        if self.repeats(piece):
            raise ValueError(
                f"replay: a piece of game {piece.game_id} came again, from step {piece.first_step}; "
                "deliver the pieces of a game once and in order"
            )
        skipped = max(0, steps + ended - self.capacity)
        ids = self._take(steps + ended - skipped)
        slots = self.slots(ids)
        self._write(piece, slots, skipped)
        self.states.predecessors[slots[0]] = FIRST if piece.first_step + skipped == 0 else LOST

        # Asked again, because `_take` drops the open games whose newest state has left: so it does when states are
        # skipped, as nothing older is left then.
        before = self._open_games.pop(piece.game_id, None)
        if before and before.num_steps == piece.first_step:
            link = ids[0] - before.last_id
            self.states.successors[self.slot(before.last_id)] = self.states.predecessors[slots[0]] = link
        if not ended:
            self._open_games[piece.game_id] = OpenGame(int(ids[-1]), piece.first_step + steps)
        self.num_steps += steps - skipped
        self.num_games += ended
        logger.debug("stored game %d from step %d: %d steps", piece.game_id, piece.first_step, steps)
        return ids

    def _take(self, count: int) -> np.ndarray:
        """Claims the next `count` ids, and lets the states go whose slots they need."""
        ids = np.arange(self.end_id, self.end_id + count)
        self._let_go(max(self.first_id, self.end_id + count - self.capacity))
        self.end_id += count
        return ids

    def shrink_to(self, observation_bytes: int) -> np.ndarray:
        """Lets the oldest states go until their observations take no more than so many bytes; returns their ids."""
        before = self.first_id
        while self.observations.nbytes > observation_bytes:
            self._let_go(self.first_id + 1)
        return np.arange(before, self.first_id)

    def halve(self) -> None:
        """Gives half of the slots back, with the memory behind them; the newest states stay, under their ids.

        Nothing is copied but states into slots that are free, one block at a time: whoever asks for this has no memory
        to spare.
        """
        capacity = self.capacity // 2
        self._let_go(max(self.first_id, self.end_id - capacity))
        ids = self.live_ids()
        slots = self.slots(ids)
        # They lie in a row, which may go on at slot 0. What of it lies beyond the slots that stay moves down: to slot 0
        # and on, or, where the row reaches the last slot of all, to the last of those that stay. Either is free.
        reaches_end = self.capacity - 1 in slots
        moved = slots[slots >= capacity]
        targets = moved - (self.capacity - capacity if reaches_end else capacity)
        if len(ids):
            newest_slot = targets[-1] if slots[-1] >= capacity else slots[-1]
            self._id_in_slot_0 = int((ids[-1] - newest_slot) % capacity)
        for array in self.states:
            shrink_array(array, capacity, moved, targets)
        self.observations.shrink(capacity, moved, targets)
        self.capacity = capacity
        self._begun_at = max(self._begun_at, self.end_id - capacity)

    def _let_go(self, first_id: int) -> None:
        """Forgets all states before `first_id`."""
        gone = self.slots(np.arange(self.first_id, min(first_id, self.end_id)))
        gone_steps = int((self.states.kinds[gone] == MOVE).sum())
        self.num_steps -= gone_steps
        self.num_games -= len(gone) - gone_steps
        self.observations.clear(gone)
        self.first_id = first_id
        while self._open_games:
            game_id, game = next(iter(self._open_games.items()))
            if game.last_id >= first_id:
                break
            del self._open_games[game_id]

    def _write(self, piece: Trajectory, slots: np.ndarray, skipped: int) -> None:
        """Writes the states of a piece, without the first `skipped`, to `slots`."""
        states, steps = self.states, piece.num_steps
        self.observations.write(slots, piece.observations[skipped : skipped + len(slots)])
        states.to_play[slots] = piece.to_play[skipped : skipped + len(slots)]
        states.weights_versions[slots] = piece.weights_version
        states.successors[slots] = 1
        states.successors[slots[-1]] = 0
        states.predecessors[slots] = 1

        moves = slots[: steps - skipped]
        states.kinds[moves] = MOVE
        states.actions[moves] = piece.actions[skipped:]
        states.rewards[moves] = piece.rewards[skipped:]
        states.legal_actions[moves] = piece.legal_actions[skipped:]
        states.search_policies[moves] = piece.search_policies[skipped:]
        states.root_values[moves] = piece.root_values[skipped:]

        if piece.terminated or piece.truncated:
            last = slots[-1]
            states.kinds[last] = RESIGNED if piece.resigned else TRUNCATED if piece.truncated else TERMINATED
            states.actions[last] = 0
            states.rewards[last] = 0
            states.legal_actions[last] = True
            states.search_policies[last] = 0
            states.root_values[last] = piece.final_value if piece.truncated else 0

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the live states in the order of their ids, and what else it takes to continue."""
        slots = self.slots(self.live_ids())
        state = {name: array[slots] for name, array in self.states._asdict().items()}
        state |= self.observations.state_dict(slots)
        open_games = [(game_id, game.last_id, game.num_steps) for game_id, game in self._open_games.items()]
        state["end_id"] = np.asarray(self.end_id, dtype=np.int64)
        state["open_games"] = np.asarray(open_games, dtype=np.int64).reshape(-1, 3)
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Takes over the newest states of a `state_dict`, as many as there are slots.

        Raises:
            ValueError: if the states are of another game, or damaged.
        """
        state = _with_predecessors(state)
        _check_arrays(state, self.states)
        kept = min(len(state["kinds"]), self.capacity)
        end_id = int(state["end_id"])
        slots = self.slots(np.arange(end_id - kept, end_id))
        self.observations.load_state_dict(slots, state)
        self.end_id = end_id
        self.first_id = self._begun_at = end_id - kept
        for name, array in self.states._asdict().items():
            array[slots] = state[name][len(state[name]) - kept :]
        self.num_steps = int((self.states.kinds[slots] == MOVE).sum())
        self.num_games = kept - self.num_steps
        self._open_games = {
            int(game_id): OpenGame(int(last_id), int(num_steps))
            for game_id, last_id, num_steps in state["open_games"]
            if last_id >= self.first_id
        }

    def check_valid(self) -> None:
        """Asserts what holds after every operation: the counts, and that links lead to where they should."""
        ids = self.live_ids()
        slots = self.slots(ids)
        kinds, successors = self.states.kinds[slots], self.states.successors[slots]
        predecessors = self.states.predecessors[slots]
        assert len(ids) <= self.capacity
        assert self.num_steps == (kinds == MOVE).sum()
        assert self.num_games == (kinds != MOVE).sum()
        assert (successors[kinds != MOVE] == 0).all(), "a last state has a successor"
        linked = successors > 0
        targets = (ids + successors)[linked]
        assert self.is_live(targets).all(), "a live state is linked to one that is gone"
        assert len(np.unique(targets)) == len(targets), "two states have the same successor"
        assert (predecessors[targets - self.first_id] == successors[linked]).all(), "a link leads one way only"
        back = (ids - predecessors)[predecessors > 0]
        assert set(back[self.is_live(back)]) == set(ids[linked]), "a link leads one way only"
        open_ends = sorted(game.last_id for game in self._open_games.values())
        assert (kinds[np.asarray(open_ends, dtype=np.int64) - self.first_id] == MOVE).all()
        assert set(open_ends) <= set(ids[~linked]), "a game goes on from a state that has a successor"
        assert list(open_ends) == [game.last_id for game in self._open_games.values()]


def _predecessors(successors: np.ndarray) -> np.ndarray:
    """The links back that belong to links forward, of states in a row; without one, a state may not be the first."""
    predecessors = np.full(len(successors), LOST, dtype=np.int32)
    linked = np.flatnonzero(successors)
    predecessors[linked + successors[linked]] = successors[linked]
    return predecessors


def check_states(state: Mapping[str, np.ndarray], spec: GameSpec) -> None:
    """Raises ValueError unless the states of a buffer's `state_dict`, of one part or several, can be of this game."""
    for part in split_state(state, parts_of(state)):
        _check_arrays(_with_predecessors(part), States.allocate(spec, 1))
        check_observations(part, spec)


def with_other_indices(state: Mapping[str, np.ndarray], further: int) -> dict[str, np.ndarray]:
    """A buffer's `state_dict`, of one part or several, whose states have indices that are larger by so much."""
    changed = dict(state)
    for name, array in state.items():
        if name.rpartition(".")[2] == "end_id":
            changed[name] = array + further
        elif name.rpartition(".")[2] == "open_games":
            changed[name] = array + np.array([0, further, 0])  # game, its last state, transitions
    return changed


def _check_arrays(state: Mapping[str, np.ndarray], wanted: States) -> None:
    """Raises ValueError unless arrays are as those of a game's states but for their number."""
    for name, array in wanted._asdict().items():
        if state[name].shape[1:] != array.shape[1:] or state[name].dtype != array.dtype:
            raise ValueError(
                f"replay: stored {name} must be {array.dtype} of shape {array.shape[1:]} each, got "
                f"{state[name].dtype} of shape {state[name].shape[1:]}; the file is of another game"
            )


def _with_predecessors(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A `state_dict` as it is, or of a version that stacked no frames with what that lacked."""
    if "predecessors" in state:
        return dict(state)
    return {**state, "predecessors": _predecessors(state["successors"])}
