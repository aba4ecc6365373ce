"""`BatchMaker`: the batch of the windows that start in given states, with all that the loss compares.

Targets come from `batching`, observations from `stacking`; here they become a `core.types.Batch`.
"""

from collections.abc import Callable

import numpy as np

from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import Batch
from muzero_ray.replay.batching import Windows, make_windows
from muzero_ray.replay.ring import RESIGNED, TERMINATED, StateRing
from muzero_ray.replay.stacking import StackedStates

ValueFunction = Callable[[np.ndarray], np.ndarray]
"""`[n, ...]` observations, as the network sees them, to the `[n]` values of these states, each for the player to move
there."""


class BatchMaker:
    """Reads windows out of a ring.

    Args:
        ring: the states.
        stacks: the same as the network sees them.
        spec: of the game.
        unroll_steps: K, steps of a window.
        td_steps: rewards added up before a value target bootstraps.
        off_policy_cut: see `ReplayBuffer`.
        off_policy_cut_warmup: likewise.
        policy_smoothing: likewise.
        discount: in (0, 1].
        with_next_observations: whether batches hold the observations of all steps.

    Attributes:
        value_function: says what value targets bootstrap from; None: what the searches found.
    """

    def __init__(
        self,
        ring: StateRing,
        stacks: StackedStates,
        spec: GameSpec,
        *,
        unroll_steps: int,
        td_steps: int,
        off_policy_cut: float,
        off_policy_cut_warmup: int,
        policy_smoothing: float,
        discount: float,
        with_next_observations: bool,
    ) -> None:
        self._ring = ring
        self._stacks = stacks
        self._num_actions = spec.num_actions
        self._unroll_steps = unroll_steps
        self._td_steps = td_steps
        self._off_policy_cut = off_policy_cut
        self._off_policy_cut_warmup = off_policy_cut_warmup
        self._policy_smoothing = policy_smoothing
        self._discount = discount
        self._with_next_observations = with_next_observations
        self._with_turns = spec.num_players == 2 and not spec.alternating
        self.value_function: ValueFunction | None = None

    def __call__(
        self, indices: np.ndarray, importance_weights: np.ndarray, total_steps: int, rng: np.random.Generator
    ) -> Batch:
        """The windows that start in given states.

        Args:
            indices: `[B]` int64, of states that are held.
            importance_weights: `[B]` float32, to be passed on.
            total_steps: transitions that were ever added, by which the off-policy cut rises.
            rng: draws actions beyond the ends of games.
        """
        random_actions = rng.integers(self._num_actions, size=(len(indices), self._unroll_steps), dtype=np.int32)
        windows = make_windows(
            self._ring.states,
            self._ring.slots(indices),
            random_actions,
            discount=self._discount,
            td_steps=self._td_steps,
            off_policy_cut=self._present_cut(total_steps),
            policy_smoothing=self._policy_smoothing,
        )
        observations, next_observations, frames = self._observations(windows.slots)
        same_player, turn_mask = self._turns(windows) if self._with_turns else (None, None)
        return Batch(
            observations=observations,
            actions=windows.actions,
            target_values=windows.reward_sums + windows.bootstrap_weights * self._values(windows.bootstrap_slots),
            value_mask=windows.value_mask,
            target_rewards=windows.target_rewards,
            reward_mask=windows.reward_mask,
            target_policies=windows.target_policies,
            policy_mask=windows.policy_mask,
            importance_weights=importance_weights,
            indices=indices,
            next_observations=next_observations,
            observation_mask=windows.observation_mask if self._with_next_observations else None,
            same_player=same_player,
            turn_mask=turn_mask,
            frames=frames,
        )

    def _values(self, slots: np.ndarray) -> np.ndarray:
        """What value targets bootstrap from: `[B, K + 1]` values of the states in as many slots."""
        stored: np.ndarray = self._ring.states.root_values[slots]
        if self.value_function is None:
            return stored
        fresh = self.value_function(self._stacks.read(slots.ravel())).reshape(slots.shape)
        return np.where(self._ring.states.kinds[slots] == RESIGNED, stored, fresh)  # an outcome is no estimate

    def _observations(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """`observations`, `next_observations` and `frames` of a batch; `slots` of its windows are `[B, K + 1]`."""
        if self._with_next_observations:
            return self._stacks.read_windows(slots)
        return self._stacks.read(slots[:, 0]), None, None

    def _turns(self, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
        """`[B, K]` whether who moved moves again, and `[B, K]` where that counts: nobody moves in a finished game."""
        to_play, kinds = self._ring.states.to_play[windows.slots], self._ring.states.kinds[windows.slots]
        same_player = (to_play[:, 1:] == to_play[:, :-1]).astype(np.float32)
        return same_player, windows.observation_mask * (kinds[:, 1:] != TERMINATED)

    def _present_cut(self, total_steps: int) -> float:
        risen = min(1.0, total_steps / self._off_policy_cut_warmup) if self._off_policy_cut_warmup else 1.0
        return self._off_policy_cut * risen
