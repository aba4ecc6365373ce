"""Models with known answers for tests of everything that searches: `SearchModel`s in a few lines of NumPy.

`TableModel` walks through a finite table of states, `RulesModel` plays the true rules of a `Game`, and
`ConstantModel` says the same of every state at no cost. None of them learns anything.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from muzero_ray.core.game import Game
from muzero_ray.mcts.model import RootOutput, StepOutput

IMPOSSIBLE = -1e9
"""Logit of an action that the true rules forbid: finite, and nothing after a softmax."""


@dataclass
class TableModel:
    """A model of S states: an observation is the number of a state, and so is a latent state."""

    next_states: np.ndarray  # [S, A] int
    rewards: np.ndarray  # [S, A]
    discounts: np.ndarray  # [S, A]; -1 where the mover changes, 0 where the game is over
    values: np.ndarray  # [S]
    policy_logits: np.ndarray  # [S, A]

    def initial(self, observations: np.ndarray, num_nodes: int) -> RootOutput:
        roots = np.asarray(observations).reshape(len(observations), -1)[:, 0].astype(np.int64)
        self.states = np.zeros((len(roots), num_nodes), np.int64)
        self.states[:, 0] = roots
        return RootOutput(_float32(self.values[roots]), _float32(self.policy_logits[roots]))

    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        states = self.states[np.arange(len(actions)), parent_nodes]
        reached = self.next_states[states, actions]
        self.states[:, new_node] = reached
        return StepOutput(
            rewards=_float32(self.rewards[states, actions]),
            values=_float32(self.values[reached]),
            policy_logits=_float32(self.policy_logits[reached]),
            discounts=_float32(self.discounts[states, actions]),
        )

    def scaled(self, factor: float) -> "TableModel":
        """The same model with all rewards and values multiplied by a factor."""
        return TableModel(
            self.next_states, self.rewards * factor, self.discounts, self.values * factor, self.policy_logits
        )

    def relabelled(self, order: np.ndarray) -> "TableModel":
        """The same model with its actions renamed: new action i is the old action `order[i]`."""
        return TableModel(
            self.next_states[:, order],
            self.rewards[:, order],
            self.discounts[:, order],
            self.values,
            self.policy_logits[:, order],
        )


def random_table(
    rng: np.random.Generator,
    num_states: int,
    num_actions: int,
    *,
    discounts: tuple[float, ...] = (0.997,),
    logit_scale: float = 1.0,
    reward_scale: float = 1.0,
) -> TableModel:
    """A table drawn at random; the discount of every edge is one of `discounts`. Ties are improbable."""
    shape = (num_states, num_actions)
    return TableModel(
        next_states=rng.integers(num_states, size=shape),
        rewards=_float32(reward_scale * rng.normal(size=shape)),
        discounts=_float32(rng.choice(discounts, size=shape)),
        values=_float32(rng.normal(size=num_states)),
        policy_logits=_float32(logit_scale * rng.normal(size=shape)),
    )


class RulesModel:
    """The true rules of a game as a model, which makes the search AlphaZero's.

    Every non-terminal state is worth `value(game)` (0 unless given) for the player to move, with equal
    logits for its legal actions. An illegal action loses at once (reward -1, game over); a finished
    game stays finished and pays nothing.
    """

    def __init__(
        self,
        restore: Callable[[np.ndarray], Game],
        *,
        discount: float = 1.0,
        value: Callable[[Game], float] = lambda game: 0.0,
    ) -> None:
        """`restore` turns one observation into a game in that state; the model never changes that game.

        To search from games at hand, let observations be their numbers:
        `RulesModel(lambda number: games[int(number)])` and `observations = np.arange(len(games))`.
        """
        self.restore = restore
        self.discount = discount
        self.value = value

    def initial(self, observations: np.ndarray, num_nodes: int) -> RootOutput:
        games: list[Game | None] = [self.restore(observation) for observation in observations]
        self.games = [[game] + [None] * (num_nodes - 1) for game in games]
        self.num_actions = games[0].spec.num_actions if games[0] is not None else 0
        return RootOutput(_float32([self._value(g) for g in games]), _float32([self._logits(g) for g in games]))

    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        rewards, discounts, reached = [], [], []
        for row, (node, action) in enumerate(zip(parent_nodes, actions, strict=True)):
            reward, discount, game = self._step(self.games[row][node], int(action))
            self.games[row][new_node] = game
            rewards.append(reward)
            discounts.append(discount)
            reached.append(game)
        return StepOutput(
            rewards=_float32(rewards),
            values=_float32([self._value(game) for game in reached]),
            policy_logits=_float32([self._logits(game) for game in reached]),
            discounts=_float32(discounts),
        )

    def _step(self, game: Game | None, action: int) -> tuple[float, float, Game | None]:
        if game is None:
            return 0.0, 0.0, None
        if not game.legal_actions()[action]:
            return -1.0, 0.0, None
        after = copy.deepcopy(game)
        mover = after.to_play
        _, reward, terminated, truncated, _ = after.step(action)
        if terminated or truncated:
            return reward, 0.0, None
        return reward, self.discount if after.to_play == mover else -self.discount, after

    def _value(self, game: Game | None) -> float:
        return 0.0 if game is None else self.value(game)

    def _logits(self, game: Game | None) -> np.ndarray:
        if game is None:
            return np.zeros(self.num_actions)
        return np.where(game.legal_actions(), 0.0, IMPOSSIBLE)


class ConstantModel:
    """Says the same of every state, from arrays made once: what remains is the cost of the search itself."""

    def __init__(self, num_actions: int, *, discount: float = 1.0, value: float = 0.0, reward: float = 0.0) -> None:
        self.num_actions = num_actions
        self.discount, self.value, self.reward = discount, value, reward

    def initial(self, observations: np.ndarray, num_nodes: int) -> RootOutput:
        size = len(observations)
        logits = np.zeros((size, self.num_actions), np.float32)
        values = np.full(size, self.value, np.float32)
        self.step = StepOutput(
            rewards=np.full(size, self.reward, np.float32),
            values=values,
            policy_logits=logits,
            discounts=np.full(size, self.discount, np.float32),
        )
        return RootOutput(values, logits)

    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        return self.step


def _float32(values: object) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)
