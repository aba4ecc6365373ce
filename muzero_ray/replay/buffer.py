"""The replay buffer: remembers games as they come in, and hands out what to learn from and what to search again.

One plain object for one thread. It does not know how fast it is filled and emptied (`core/rate_limiter.py`).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from muzero_ray.core.game import GameSpec
from muzero_ray.core.rng import pack_generator, unpack_generator
from muzero_ray.core.types import Batch, ReanalyzeRequest, ReanalyzeResult, Trajectory
from muzero_ray.replay.augment import Augmenter
from muzero_ray.replay.batch_maker import BatchMaker, ValueFunction
from muzero_ray.replay.observation_store import observation_bytes
from muzero_ray.replay.priorities import Priorities
from muzero_ray.replay.ring import MOVE, TRUNCATED, StateRing, States
from muzero_ray.replay.shards import split_state
from muzero_ray.replay.stacking import StackedStates
from muzero_ray.replay.sum_tree import SumTree, stratified


class ReplayBuffer:
    """The newest states of all games, with their searches, priorities and refreshed targets.

    The loop that calls it:

        buffer.add(trajectory)                                  # whole games, or pieces of them in order
        batch = buffer.sample()
        buffer.update_priorities(batch.indices, td_errors)      # if prioritized
        request = buffer.reanalyze_request(batch_size)
        buffer.refresh(search_again(request))                   # any time later

    States are named by *indices* that are never used again, so what is written back late reaches the
    state it was meant for, or none if that has left.

    Every state in which an action was played is equally likely to be drawn, whatever the length of its
    game; if `prioritized`, in proportion to (|TD error| + epsilon)^priority_exponent, new states with the
    largest such value yet, and the importance weights of a batch correct for it.

    Observations are handed out as a network sees them, `spec.input_shape`: frames are kept once each and stacked
    here. A state of which an earlier frame is gone, though its game had one, is not drawn.

    Source: prioritized replay as in Schaul et al., arXiv:1511.05952.
    """

    def __init__(
        self,
        spec: GameSpec,
        *,
        capacity_steps: int,
        capacity_bytes: int,
        batch_size: int,
        unroll_steps: int,
        td_steps: int,
        off_policy_cut: float,
        off_policy_cut_warmup: int,
        policy_smoothing: float,
        discount: float,
        prioritized: bool,
        priority_exponent: float,
        importance_exponent: float,
        with_next_observations: bool,
        augment: bool = False,
        rng: np.random.Generator,
    ) -> None:
        """Starts empty.

        Args:
            spec: of the game.
            capacity_steps: states kept, the oldest leave first. The last state of a finished game is one
                of them, so there is room for a few transitions less.
            capacity_bytes: memory for them; the smaller of the two limits holds. Where observations are compressed,
                it is their true sizes that count.
            batch_size: B, windows in a batch.
            unroll_steps: K, steps of a window.
            td_steps: rewards added up before a value target bootstraps.
            off_policy_cut: in [0, 1]; rewards are added up only along actions at least so many times as likely as
                the likeliest, by the newest search policy of their state.
            off_policy_cut_warmup: transitions, of all ever added, over which that number rises evenly from 0.
            policy_smoothing: in [0, 1]; share of every policy target that is spread evenly over the legal actions.
            discount: in (0, 1].
            prioritized: whether to draw by priority rather than uniformly.
            priority_exponent: alpha; 0 draws uniformly, 1 in proportion to the TD error.
            importance_exponent: beta; 0 leaves the bias of such draws, 1 corrects all of it.
            with_next_observations: whether batches hold the observations of all steps.
            augment: whether `sample` turns and mirrors windows, where the game has symmetries.
            rng: decides every draw; the buffer keeps it. What is searched again is drawn by a child of it, so that the
                two are independent of the order in which they are asked for.

        Raises:
            ValueError: if there is not room for two states.
        """
        bytes_per_state, slot_bytes = self.bytes_per_state(spec), _bytes_per_slot(spec)
        if capacity_bytes < 2 * bytes_per_state:
            raise ValueError(
                f"replay: capacity_bytes must hold at least 2 states of {bytes_per_state} bytes, got {capacity_bytes}"
            )
        self._spec = spec
        self._batch_size = batch_size
        self._importance_exponent = importance_exponent
        self._augmenter = Augmenter(spec.symmetries) if augment and spec.symmetries else None
        self._rng = rng
        self._reanalyze_rng = rng.spawn(1)[0]
        self._slot_bytes = slot_bytes
        slots = capacity_bytes // (slot_bytes + observation_bytes(spec).least)
        self._ring = StateRing(spec, min(capacity_steps, slots))
        # All slots are paid for from the start, so that what fits does not depend on how many have been used.
        self._observation_bytes = capacity_bytes - self._ring.capacity * slot_bytes
        self._stacks = StackedStates(self._ring, spec)
        self._make_batch = BatchMaker(
            self._ring,
            self._stacks,
            spec,
            unroll_steps=unroll_steps,
            td_steps=td_steps,
            off_policy_cut=off_policy_cut,
            off_policy_cut_warmup=off_policy_cut_warmup,
            policy_smoothing=policy_smoothing,
            discount=discount,
            with_next_observations=with_next_observations,
        )
        self._priorities = Priorities(self._ring.capacity, by_error=prioritized, exponent=priority_exponent)
        self._total_steps = 0

    @staticmethod
    def bytes_per_state(spec: GameSpec) -> int:
        """Memory that one state of a game takes at most, its priority included."""
        return _bytes_per_slot(spec) + observation_bytes(spec).most

    @property
    def capacity(self) -> int:
        """States that there is room for, at most."""
        return self._ring.capacity

    @property
    def num_steps(self) -> int:
        """Transitions held now."""
        return self._ring.num_steps

    @property
    def total_steps(self) -> int:
        """Transitions ever added."""
        return self._total_steps

    @property
    def num_games(self) -> int:
        """Finished games whose last state is held now."""
        return self._ring.num_games

    @property
    def memory_bytes(self) -> int:
        """Memory that is taken now."""
        return self._ring.used_slots * self._slot_bytes + self._ring.observations.nbytes

    def add(self, trajectory: Trajectory) -> bool:
        """Stores a game or a piece of one; windows and returns run across the pieces of a game.

        Of a trajectory with more states than there is room for, the newest are kept.

        Returns:
            Whether it was stored. A piece that begins before the end of what is stored of its running
            game is left out: it came again, or so much too late that nobody waited for it (`piece_order.py`).

        Raises:
            ValueError: if the trajectory is malformed, or of another game. The buffer is then unchanged.
        """
        trajectory.check(self._spec.num_actions)
        shape, dtype = trajectory.observations.shape[1:], trajectory.observations.dtype
        if shape != self._spec.observation_shape or dtype != self._spec.observation_dtype:
            raise ValueError(
                f"replay: observations of game {trajectory.game_id} must be {self._spec.observation_dtype} of shape "
                f"{self._spec.observation_shape}, got {dtype} of shape {shape}"
            )
        if self._ring.repeats(trajectory):
            return False
        slots = self._ring.slots(self._ring.append(trajectory))
        self._priorities.enter(slots, self._ring.states.kinds[slots] == MOVE)
        self._total_steps += trajectory.num_steps
        self._keep_within_budget()
        return True

    @property
    def mass(self) -> float:
        """The sum of the priorities by which states are drawn."""
        return self._priorities.total

    @property
    def max_priority(self) -> float:
        """The largest priority yet, with which new states enter."""
        return self._priorities.largest

    def raise_max_priority(self, priority: float) -> None:
        """Has new states enter with at least this priority, for it has been seen elsewhere."""
        self._priorities.raise_largest(priority)

    def bootstrap_from(self, value_function: ValueFunction) -> None:
        """Value targets bootstrap from these values from now on, rather than from those that the searches found.

        The function is always called for the B (K + 1) states of a batch at once.
        """
        self._make_batch.value_function = value_function

    def sample(self) -> Batch:
        """Draws B windows, each starting from a state in which an action was played.

        Raises:
            ValueError: if the buffer is empty.
        """
        batch = self.sample_at(stratified(self._batch_size, self._rng))
        return replace(batch, importance_weights=batch.importance_weights / batch.importance_weights.max())

    def sample_at(self, fractions: np.ndarray, share: float = 1.0) -> Batch:
        """Draws a window for each of given fractions of `mass`; `sample` for a buffer that is only a part of one.

        Args:
            fractions: `[B]` float64 in [0, 1]; see `SumTree.find`.
            share: of the mass of all parts that this one has, in (0, 1].

        Returns:
            A batch whose importance weights are those of draws from all parts, P(i)^-importance_exponent, yet to be
            divided by the largest of all: so the number of states, which is the same for all, need not be known.

        Raises:
            ValueError: if the buffer is empty.
        """
        self._check_not_empty()
        drawn = self._priorities.find(fractions)
        slots = self._draw(drawn, lambda count: self._priorities.sample(count, self._rng), len(fractions))
        weights = self._priorities.importance_weights(slots, share, self._importance_exponent)
        batch = self.windows(self._ring.ids(slots), weights)
        return batch if self._augmenter is None else self._augmenter(batch, self._rng)

    def windows(self, indices: np.ndarray, importance_weights: np.ndarray | None = None) -> Batch:
        """Returns the windows that start in given states; `sample` without the drawing.

        Args:
            indices: `[B]` int64, of states that are held now.
            importance_weights: `[B]` float32, to be passed on; 1 if none are given.

        Raises:
            ValueError: if a state has left.
        """
        if not self._ring.is_live(indices).all():
            raise ValueError(f"replay: indices must lie in {self._ring.first_id}..{self._ring.end_id - 1}")
        weights = np.ones(len(indices), np.float32) if importance_weights is None else importance_weights
        return self._make_batch(indices, weights, self._total_steps, self._rng)

    def weights_versions(self, indices: np.ndarray) -> np.ndarray:
        """`[n]` int64, of the networks behind the policies and values of `[n]` states that are held now."""
        versions: np.ndarray = self._ring.states.weights_versions[self._ring.slots(indices)]
        return versions

    def _draw(self, drawn: np.ndarray, again: Callable[[int], np.ndarray], count: int) -> np.ndarray:
        """`[count]` of the drawn slots, others in the place of those whose earlier frames are gone.

        Args:
            drawn: `[n]` slots.
            again: draws about so many more.
            count: slots wanted.

        Raises:
            ValueError: if there are none that could be drawn.
        """
        slots: np.ndarray = drawn[self._stacks.is_whole(drawn)]
        while len(slots) < count:
            if len(slots) == 0:
                self._check_any_whole()
            drawn = again(count - len(slots))
            slots = np.concatenate([slots, drawn[self._stacks.is_whole(drawn)]])
        return slots[:count]

    def update_priorities(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        """Notes how wrong the value of each trained state was; ignores states that have left.

        Args:
            indices: `[n]` int64, from a batch.
            priorities: `[n]` TD errors, at least 0; 0 is fine.

        Raises:
            ValueError: if a priority is negative or not finite, or the lengths disagree.
        """
        priorities = np.asarray(priorities, dtype=np.float64)
        if priorities.shape != indices.shape:
            raise ValueError(f"replay: {indices.shape} indices need as many priorities, got {priorities.shape}")
        wrong = ~(np.isfinite(priorities) & (priorities >= 0))
        if wrong.any():
            raise ValueError(
                f"replay: priorities must be finite and at least 0, got {priorities[wrong][0]} for index "
                f"{indices[wrong][0]}; look for a loss that is not finite"
            )
        slots = self._ring.slots(indices)
        wanted = self._ring.is_live(indices) & (self._ring.states.kinds[slots] == MOVE)
        self._priorities.note_errors(slots[wanted], priorities[wanted])

    def reanalyze_request(self, batch_size: int) -> ReanalyzeRequest:
        """Draws states to be searched again, uniformly from all that are worth something.

        Those are all states in which an action was played, and the last states of truncated games, whose
        value the returns before them bootstrap from. Which actions are legal in the latter is not
        recorded; all are said to be.

        Raises:
            ValueError: if the buffer is empty.
        """
        self._check_not_empty()
        ring = self._ring

        def draw(_: int) -> np.ndarray:
            # Few states are turned down: at most every second one is the last of its game.
            slots = ring.slots(self._reanalyze_rng.integers(ring.first_id, ring.end_id, size=batch_size))
            worthwhile: np.ndarray = slots[_is_estimated(ring.states.kinds[slots])]
            return worthwhile

        slots = self._draw(draw(batch_size), draw, batch_size)
        return ReanalyzeRequest(ring.ids(slots), self._stacks.read(slots), ring.states.legal_actions[slots])

    def refresh(self, result: ReanalyzeResult) -> None:
        """Replaces policies and values by those of a repeated search, where what is stored is not newer.

        Priorities stay as they are. States that have left are ignored.

        Raises:
            ValueError: if shapes are wrong or a number is not finite.
        """
        count, num_actions = len(result.indices), self._spec.num_actions
        if result.search_policies.shape != (count, num_actions) or result.root_values.shape != (count,):
            raise ValueError(
                f"replay: {count} refreshed states need policies {(count, num_actions)} and values {(count,)}, "
                f"got {result.search_policies.shape} and {result.root_values.shape}"
            )
        if not (np.isfinite(result.search_policies).all() and np.isfinite(result.root_values).all()):
            raise ValueError(f"replay: refreshed policies and values must be finite (weights {result.weights_version})")
        states = self._ring.states
        slots = self._ring.slots(result.indices)
        wanted = (
            self._ring.is_live(result.indices)
            & (states.weights_versions[slots] <= result.weights_version)
            & _is_estimated(states.kinds[slots])
        )
        slots = slots[wanted]
        states.search_policies[slots] = result.search_policies[wanted]
        states.root_values[slots] = result.root_values[wanted]
        states.weights_versions[slots] = result.weights_version

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all that is held, arrays by name, to be stored without pickle."""
        state = self._ring.state_dict()
        state["priorities"] = self._priorities.of(self._ring.slots(self._ring.live_ids()))
        state["max_priority"] = np.asarray(self._priorities.largest)
        state["total_steps"] = np.asarray(self._total_steps, dtype=np.int64)
        state["rng"] = pack_generator(self._rng)
        state["reanalyze_rng"] = pack_generator(self._reanalyze_rng)
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Replaces all that is held by a `state_dict`; of one that is too large, the newest states are kept.

        With the same capacity and options, what is drawn from then on is what would have been drawn.

        Raises:
            ValueError: if the states are of another game, or of several buffers.
        """
        [state] = split_state(state, 1)
        self._ring.load_state_dict(state)
        slots = self._ring.slots(self._ring.live_ids())
        priorities = state["priorities"][len(state["priorities"]) - len(slots) :]
        self._priorities.load(self._ring.capacity, slots, priorities, largest=float(state["max_priority"]))
        self._keep_within_budget()
        self._total_steps = int(state["total_steps"])
        unpack_generator(self._rng, state["rng"])
        if "reanalyze_rng" in state:  # older checkpoints lack it
            unpack_generator(self._reanalyze_rng, state["reanalyze_rng"])

    def halve(self, at_least: int = 0) -> bool:
        """Gives half of its room and of its memory back, and lets the oldest states go: whether it did.

        Indices and counts go on as before. It does not if there would be room for fewer than so many states, or for
        none to learn from.
        """
        room = self._ring.capacity // 2
        if room < max(2, at_least):
            return False
        ids_before = self._ring.live_ids()
        priorities = self._priorities.of(self._ring.slots(ids_before))
        self._ring.halve()
        self._observation_bytes //= 2
        left = priorities[self._ring.is_live(ids_before)]
        self._priorities.restart(self._ring.capacity, self._ring.slots(self._ring.live_ids()), left)
        self._keep_within_budget()
        return True

    def check_valid(self) -> None:
        """Asserts what holds after every operation; for tests."""
        self._ring.check_valid()
        slots = self._ring.slots(self._ring.live_ids())
        priorities = self._priorities.of(slots)
        moves = self._ring.states.kinds[slots] == MOVE
        assert (priorities[moves] > 0).all(), "a transition can never be drawn"
        assert (priorities[~moves] == 0).all(), "a state without a transition can be drawn"
        assert np.isclose(self._priorities.total, priorities.sum()), "a state that has left can be drawn"
        assert self._total_steps >= self.num_steps

    def _keep_within_budget(self) -> None:
        """Lets the oldest states go where compressed observations take more memory than there is."""
        gone = self._ring.shrink_to(self._observation_bytes)
        if len(gone):
            self._priorities.leave(self._ring.slots(gone))

    def _check_not_empty(self) -> None:
        if self.num_steps == 0:
            raise ValueError("replay: nothing can be drawn from an empty buffer; add a trajectory first")

    def _check_any_whole(self) -> None:
        slots = self._ring.slots(self._ring.live_ids())
        if not self._stacks.is_whole(slots[self._ring.states.kinds[slots] == MOVE]).any():
            raise ValueError(
                f"replay: nothing can be drawn: there is no state of which the {self._spec.frame_stack - 1} frames "
                "before it are held; raise replay.capacity_mb or replay.capacity_steps"
            )


def _is_estimated(kinds: np.ndarray) -> np.ndarray:
    """`[n]` bool: whether values of states of these kinds are estimates, which a search makes better."""
    estimated: np.ndarray = (kinds == MOVE) | (kinds == TRUNCATED)
    return estimated


def _bytes_per_slot(spec: GameSpec) -> int:
    """Memory that one slot takes, its priority included, besides what the store of observations takes for it."""
    return States.allocate(spec, 1).nbytes + SumTree.BYTES_PER_SLOT + observation_bytes(spec).slot
