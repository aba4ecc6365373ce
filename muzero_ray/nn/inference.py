"""`TorchModel`: any network of `networks` as a `SearchModel`, on the CPU.

It steps and predicts for a search, and learns nothing. For an MLP `engine.mlp.CompiledMLP` gives the same numbers
several times faster; `resident.ResidentModel` searches on a GPU.
"""

import numpy as np
import torch
from torch import Tensor

from muzero_ray.core.types import Weights
from muzero_ray.mcts.model import RootOutput, StepOutput
from muzero_ray.nn.base_network import Network
from muzero_ray.nn.networks import load_weights


class TorchModel:
    """Keeps the latent states of a search in one tensor `[N, B, H]`.

    Args:
        network: from here on this object's own: changed by `set_weights`.
        discount: what a value is worth one step earlier, to the player who moved: minus the
            configured discount where two players alternate. Where the network learns whose turn comes
            next, that decides the sign.
    """

    def __init__(self, network: Network, discount: float) -> None:
        self._network = network.eval().requires_grad_(False)
        self._discount = discount
        self._discounts = np.empty(0, dtype=np.float32)
        self._latents = torch.empty(0, 0, network.latent_size)
        self._rows = torch.empty(0, dtype=torch.int64)

    def set_weights(self, weights: Weights) -> None:
        """Uses these published weights from the next call on.

        Raises:
            ValueError: if they belong to another network configuration.
        """
        load_weights(self._network, weights)

    @torch.inference_mode()
    def initial(self, observations: np.ndarray, num_nodes: int) -> RootOutput:
        """See `SearchModel.initial`."""
        batch_size = len(observations)
        self._make_room(num_nodes, batch_size)
        observations = observations if observations.flags.writeable else observations.copy()
        latents = self._network.represent(torch.from_numpy(observations))
        self._latents[0] = latents
        heads = self._network.predict(latents)
        return RootOutput(
            values=_array(self._network.decode_value(heads.value_logits)), policy_logits=_array(heads.policy_logits)
        )

    @torch.inference_mode()
    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        """See `SearchModel.recurrent`."""
        parents, moves = torch.from_numpy(np.stack([parent_nodes, actions]).astype(np.int64))
        latents = self._network.step(self._latents[parents, self._rows], moves)
        self._latents[new_node] = latents
        heads = self._network.predict(latents)
        if self._network.learns_turns:
            self._discounts = discounts_by_turn(_array(heads.turn_logits), self._discount)
        return StepOutput(
            rewards=_array(self._network.decode_reward(heads.reward_logits, latents)),
            values=_array(self._network.decode_value(heads.value_logits)),
            policy_logits=_array(heads.policy_logits),
            discounts=self._discounts,
        )

    def _make_room(self, num_nodes: int, batch_size: int) -> None:
        if self._latents.shape[1] == batch_size and len(self._latents) >= num_nodes:
            return
        self._latents = torch.empty(num_nodes, batch_size, self._network.latent_size)
        self._rows = torch.arange(batch_size)
        self._discounts = np.full(batch_size, self._discount, dtype=np.float32)


def discounts_by_turn(turn_logits: np.ndarray, discount: float) -> np.ndarray:
    """`[B]` float32 discounts of `[B, 1]` turn logits: positive where the player who moved moves again."""
    return np.where(turn_logits[:, 0] > 0, abs(discount), -abs(discount)).astype(np.float32)


def _array(output: Tensor) -> np.ndarray:
    array: np.ndarray = output.contiguous().numpy()  # thousands of policy logits are not copied
    return array
