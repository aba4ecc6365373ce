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
from muzero_ray.replay.batching import Windows, make_windows
from muzero_ray.replay.observation_store import observation_bytes
from muzero_ray.replay.ring import MOVE, TERMINATED, StateRing, States
from muzero_ray.replay.shards import split_state
from muzero_ray.replay.stacking import StackedStates
from muzero_ray.replay.sum_tree import SumTree, stratified

ValueFunction = Callable[[np.ndarray], np.ndarray]
"""`[n, ...]` observations, as the network sees them, to the `[n]` values of these states, each for the player to move
there."""

PRIORITY_EPSILON = 1e-6
"""Added to every TD error, so that a state without error is drawn again one day."""


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
            rng: decides every draw; the buffer keeps it.

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
        self._unroll_steps = unroll_steps
        self._td_steps = td_steps
        self._off_policy_cut = off_policy_cut
        self._off_policy_cut_warmup = off_policy_cut_warmup
        self._policy_smoothing = policy_smoothing
        self._discount = discount
        self._prioritized = prioritized
        self._priority_exponent = priority_exponent
        self._importance_exponent = importance_exponent
        self._with_next_observations = with_next_observations
        self._with_turns = spec.num_players == 2 and not spec.alternating
        self._augmenter = Augmenter(spec.symmetries) if augment and spec.symmetries else None
        self._rng = rng
        self._value_function: ValueFunction | None = None
        self._slot_bytes = slot_bytes
        slots = capacity_bytes // (slot_bytes + observation_bytes(spec).least)
        self._ring = StateRing(spec, min(capacity_steps, slots))
        # All slots are paid for from the start, so that what fits does not depend on how many have been used.
        self._observation_bytes = capacity_bytes - self._ring.capacity * slot_bytes
        self._stacks = StackedStates(self._ring, spec)
        self._tree = SumTree(self._ring.capacity)
        self._max_priority = 1.0
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
        self._tree.set(slots, np.where(self._ring.states.kinds[slots] == MOVE, self._max_priority, 0.0))
        self._total_steps += trajectory.num_steps
        self._keep_within_budget()
        return True

    @property
    def mass(self) -> float:
        """The sum of the priorities by which states are drawn."""
        return self._tree.total

    @property
    def max_priority(self) -> float:
        """The largest priority yet, with which new states enter."""
        return self._max_priority

    def raise_max_priority(self, priority: float) -> None:
        """Has new states enter with at least this priority, for it has been seen elsewhere."""
        self._max_priority = max(self._max_priority, priority)

    def bootstrap_from(self, value_function: ValueFunction) -> None:
        """Value targets bootstrap from these values from now on, rather than from those that the searches found.

        The function is always called for the B (K + 1) states of a batch at once.
        """
        self._value_function = value_function

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
        drawn = self._tree.find(fractions)
        slots = self._draw(drawn, lambda count: self._tree.sample(count, self._rng), len(fractions))
        probabilities = share * self._tree.priorities(slots) / self._tree.total
        weights = (1.0 / probabilities) ** self._importance_exponent
        batch = self.windows(self._ring.ids(slots), weights.astype(np.float32))
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
        shape = (len(indices), self._unroll_steps)
        random_actions = self._rng.integers(self._spec.num_actions, size=shape, dtype=np.int32)
        windows = make_windows(
            self._ring.states,
            self._ring.slots(indices),
            random_actions,
            discount=self._discount,
            td_steps=self._td_steps,
            off_policy_cut=self._present_cut(),
            policy_smoothing=self._policy_smoothing,
        )
        if self._value_function is None:
            values = self._ring.states.root_values[windows.bootstrap_slots]
        else:
            bootstraps = self._stacks.read(windows.bootstrap_slots.ravel())
            values = self._value_function(bootstraps).reshape(windows.bootstrap_slots.shape)
        observations, next_observations, frames = self._observations_of(windows.slots)
        same_player, turn_mask = self._turns(windows) if self._with_turns else (None, None)
        return Batch(
            observations=observations,
            actions=windows.actions,
            target_values=windows.reward_sums + windows.bootstrap_weights * values,
            value_mask=windows.value_mask,
            target_rewards=windows.target_rewards,
            reward_mask=windows.reward_mask,
            target_policies=windows.target_policies,
            policy_mask=windows.policy_mask,
            importance_weights=np.ones(len(indices), np.float32) if importance_weights is None else importance_weights,
            indices=indices,
            next_observations=next_observations,
            observation_mask=windows.observation_mask if self._with_next_observations else None,
            same_player=same_player,
            turn_mask=turn_mask,
            frames=frames,
        )

    def weights_versions(self, indices: np.ndarray) -> np.ndarray:
        """`[n]` int64, of the networks behind the policies and values of `[n]` states that are held now."""
        versions: np.ndarray = self._ring.states.weights_versions[self._ring.slots(indices)]
        return versions

    def _observations_of(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """`observations`, `next_observations` and `frames` of a batch; `slots` of its windows are `[B, K + 1]`."""
        if self._with_next_observations:
            return self._stacks.read_windows(slots)
        return self._stacks.read(slots[:, 0]), None, None

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

    def _turns(self, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
        """`[B, K]` whether who moved moves again, and `[B, K]` where that counts: nobody moves in a finished game."""
        to_play, kinds = self._ring.states.to_play[windows.slots], self._ring.states.kinds[windows.slots]
        same_player = (to_play[:, 1:] == to_play[:, :-1]).astype(np.float32)
        return same_player, windows.observation_mask * (kinds[:, 1:] != TERMINATED)

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
        if not self._prioritized:
            return
        slots = self._ring.slots(indices)
        wanted = self._ring.is_live(indices) & (self._ring.states.kinds[slots] == MOVE)
        powers = (priorities[wanted] + PRIORITY_EPSILON) ** self._priority_exponent
        self._max_priority = max(self._max_priority, float(powers.max(initial=0.0)))
        self._tree.set(slots[wanted], powers)

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
            slots = ring.slots(self._rng.integers(ring.first_id, ring.end_id, size=batch_size))
            worthwhile: np.ndarray = slots[ring.states.kinds[slots] != TERMINATED]
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
            & (states.kinds[slots] != TERMINATED)
        )
        slots = slots[wanted]
        states.search_policies[slots] = result.search_policies[wanted]
        states.root_values[slots] = result.root_values[wanted]
        states.weights_versions[slots] = result.weights_version

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all that is held, arrays by name, to be stored without pickle."""
        state = self._ring.state_dict()
        state["priorities"] = self._tree.priorities(self._ring.slots(self._ring.live_ids()))
        state["max_priority"] = np.asarray(self._max_priority)
        state["total_steps"] = np.asarray(self._total_steps, dtype=np.int64)
        state["rng"] = pack_generator(self._rng)
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
        if not self._prioritized:
            priorities = np.where(self._ring.states.kinds[slots] == MOVE, 1.0, 0.0)
        self._max_priority = float(state["max_priority"]) if self._prioritized else 1.0
        self._tree = SumTree(self._ring.capacity)
        self._tree.set(slots, priorities)
        self._keep_within_budget()
        self._total_steps = int(state["total_steps"])
        unpack_generator(self._rng, state["rng"])

    def halve(self, at_least: int = 0) -> bool:
        """Gives half of its room and of its memory back, and lets the oldest states go: whether it did.

        Indices and counts go on as before. It does not if there would be room for fewer than so many states, or for
        none to learn from.
        """
        room = self._ring.capacity // 2
        if room < max(2, at_least):
            return False
        ids_before = self._ring.live_ids()
        priorities = self._tree.priorities(self._ring.slots(ids_before))
        self._ring.halve()
        self._observation_bytes //= 2
        self._tree = SumTree(self._ring.capacity)
        self._tree.set(self._ring.slots(self._ring.live_ids()), priorities[self._ring.is_live(ids_before)])
        self._keep_within_budget()
        return True

    def check_valid(self) -> None:
        """Asserts what holds after every operation; for tests."""
        self._ring.check_valid()
        slots = self._ring.slots(self._ring.live_ids())
        priorities = self._tree.priorities(slots)
        moves = self._ring.states.kinds[slots] == MOVE
        assert (priorities[moves] > 0).all(), "a transition can never be drawn"
        assert (priorities[~moves] == 0).all(), "a state without a transition can be drawn"
        assert np.isclose(self._tree.total, priorities.sum()), "a state that has left can be drawn"
        assert self._total_steps >= self.num_steps

    def _keep_within_budget(self) -> None:
        """Lets the oldest states go where compressed observations take more memory than there is."""
        gone = self._ring.shrink_to(self._observation_bytes)
        if len(gone):
            self._tree.set(self._ring.slots(gone), np.zeros(len(gone)))

    def _present_cut(self) -> float:
        risen = min(1.0, self._total_steps / self._off_policy_cut_warmup) if self._off_policy_cut_warmup else 1.0
        return self._off_policy_cut * risen

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


def _bytes_per_slot(spec: GameSpec) -> int:
    """Memory that one slot takes, its priority included, besides what the store of observations takes for it."""
    return States.allocate(spec, 1).nbytes + SumTree.BYTES_PER_SLOT + observation_bytes(spec).slot
