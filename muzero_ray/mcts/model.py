"""The seam between search and model: the search owns node numbers, the model owns latent states.

A search over B roots with n simulations numbers the nodes of every tree 0 (the root) to n. The model
keeps one latent state per root and node, on its own device, and is told by number which to read and
which to write. Nothing but numbers crosses, so a model on a GPU costs one small copy each way per
simulation, a fake in a test is ten lines of NumPy, and the true rules of a game make it AlphaZero.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class RootOutput:
    """What a model says of B observations. The arrays may be reused by the model's next call."""

    values: np.ndarray  # [B] float32, for the player to move
    policy_logits: np.ndarray  # [B, A] float32


@dataclass(frozen=True)
class StepOutput:
    """What a model says of B transitions. The arrays, or the whole object, may be reused by the model's next call."""

    rewards: np.ndarray  # [B] float32, for the player who moved
    values: np.ndarray  # [B] float32, of the state reached, for the player to move there
    policy_logits: np.ndarray  # [B, A] float32, of the state reached
    discounts: np.ndarray  # [B] float32: the state reached counts `discount * value` for the player who
    # moved. Negative where the mover changes, 0 where the game is known to be over.


class SearchModel(Protocol):
    """A model that a search can plan with.

    The loop that calls it:

        root = model.initial(observations, num_nodes=num_simulations + 1)   # latent of row b saved as node 0
        for simulation in range(num_simulations):
            parent_nodes, actions = select(tree)                            # [B] int32 each
            step = model.recurrent(parent_nodes, actions, new_node=simulation + 1)
            expand_and_backup(tree, step)
    """

    def initial(self, observations: np.ndarray, num_nodes: int) -> RootOutput:
        """Encodes `[B, ...]` observations, saves the latent states as node 0 and makes room for
        `num_nodes` nodes per row."""

    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        """Steps row b from node `parent_nodes[b]` (`[B]` int32) with `actions[b]` (`[B]` int32) and
        saves the latent state reached as node `new_node`, the same number in every row."""
