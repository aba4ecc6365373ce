"""`TorchModel`: any network of `networks` as a `SearchModel`, on any device.

It steps and predicts for a search, and learns nothing. For an MLP on a CPU `engine.mlp.CompiledMLP`
gives the same numbers several times faster.
"""

import numpy as np
import torch
from torch import Tensor

from muzero_ray.core.types import Weights
from muzero_ray.mcts.model import RootOutput, StepOutput
from muzero_ray.nn.networks import MuZeroNetwork, load_weights


class TorchModel:
    """Keeps the latent states of a search on the device, in one tensor `[N, B, H]`.

    Per simulation, one copy of two int vectors goes over and one copy of the outputs comes back.

    Args:
        network: from here on this object's own: moved to the device and changed by `set_weights`.
        discount: what a value is worth one step earlier, to the player who moved: minus the
            configured discount where two players alternate.
        device: "cpu", "cuda", or any other torch device.
    """

    def __init__(self, network: MuZeroNetwork, discount: float, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._network = network.to(self._device).eval().requires_grad_(False)
        self._discount = discount
        self._discounts = np.empty(0, dtype=np.float32)
        self._latents = torch.empty(0, 0, network.latent_size, device=self._device)
        self._rows = torch.empty(0, dtype=torch.int64, device=self._device)

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
        latents = self._network.represent(torch.from_numpy(observations).to(self._device))
        self._latents[0] = latents
        heads = self._network.predict(latents)
        host = _to_host([self._network.decode_value(heads.value_logits).unsqueeze(1), heads.policy_logits])
        return RootOutput(values=host[:, 0], policy_logits=host[:, 1:])

    @torch.inference_mode()
    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        """See `SearchModel.recurrent`."""
        parents, moves = torch.from_numpy(np.stack([parent_nodes, actions]).astype(np.int64)).to(self._device)
        latents = self._network.step(self._latents[parents, self._rows], moves)
        self._latents[new_node] = latents
        heads = self._network.predict(latents)
        rewards = self._network.decode_reward(heads.reward_logits).unsqueeze(1)
        values = self._network.decode_value(heads.value_logits).unsqueeze(1)
        host = _to_host([rewards, values, heads.policy_logits])
        return StepOutput(rewards=host[:, 0], values=host[:, 1], policy_logits=host[:, 2:], discounts=self._discounts)

    def _make_room(self, num_nodes: int, batch_size: int) -> None:
        if self._latents.shape[1] == batch_size and len(self._latents) >= num_nodes:
            return
        self._latents = torch.empty(num_nodes, batch_size, self._network.latent_size, device=self._device)
        self._rows = torch.arange(batch_size, device=self._device)
        self._discounts = np.full(batch_size, self._discount, dtype=np.float32)


def _to_host(columns: list[Tensor]) -> np.ndarray:
    """Joins `[B, n]` tensors and copies them to the CPU at once."""
    host: np.ndarray = torch.cat(columns, dim=1).cpu().numpy()
    return host
