"""`TorchModel`: any network of `networks` as a `SearchModel`, on any device.

It steps and predicts for a search, and learns nothing. For an MLP on a CPU `engine.mlp.CompiledMLP`
gives the same numbers several times faster.
"""

import numpy as np
import torch
from torch import Tensor

from muzero_ray.core.types import Weights
from muzero_ray.mcts.model import RootOutput, StepOutput
from muzero_ray.nn.base_network import Network
from muzero_ray.nn.hardware import usable_device
from muzero_ray.nn.networks import load_weights, place


class TorchModel:
    """Keeps the latent states of a search on the device, in one tensor `[N, B, H]`.

    Per simulation, one copy of two int vectors goes over and one copy of the outputs comes back.

    Args:
        network: from here on this object's own: moved to the device and changed by `set_weights`.
        discount: what a value is worth one step earlier, to the player who moved: minus the
            configured discount where two players alternate. Where the network learns whose turn comes
            next, that decides the sign.
        device: "cpu", "cuda", or any other torch device.

    Raises:
        ValueError: if there is no such device.
    """

    def __init__(self, network: Network, discount: float, device: str = "cpu") -> None:
        self._device = usable_device(device)
        self._network = place(network, self._device).eval().requires_grad_(False)
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
        values, policy_logits = _to_host([self._network.decode_value(heads.value_logits), heads.policy_logits])
        return RootOutput(values=values, policy_logits=policy_logits)

    @torch.inference_mode()
    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        """See `SearchModel.recurrent`."""
        parents, moves = torch.from_numpy(np.stack([parent_nodes, actions]).astype(np.int64)).to(self._device)
        latents = self._network.step(self._latents[parents, self._rows], moves)
        self._latents[new_node] = latents
        heads = self._network.predict(latents)
        rewards, values, policy_logits, turn_logits = _to_host(
            [
                self._network.decode_reward(heads.reward_logits),
                self._network.decode_value(heads.value_logits),
                heads.policy_logits,
                heads.turn_logits,
            ]
        )
        if self._network.learns_turns:
            discount = abs(self._discount)
            self._discounts = np.where(turn_logits[:, 0] > 0, discount, -discount).astype(np.float32)
        return StepOutput(rewards=rewards, values=values, policy_logits=policy_logits, discounts=self._discounts)

    def _make_room(self, num_nodes: int, batch_size: int) -> None:
        if self._latents.shape[1] == batch_size and len(self._latents) >= num_nodes:
            return
        self._latents = torch.empty(num_nodes, batch_size, self._network.latent_size, device=self._device)
        self._rows = torch.arange(batch_size, device=self._device)
        self._discounts = np.full(batch_size, self._discount, dtype=np.float32)


def _to_host(outputs: list[Tensor]) -> list[np.ndarray]:
    """Copies `[B]` and `[B, n]` tensors to the CPU: at once, for each copy from a GPU waits for all work before it."""
    if outputs[0].device.type == "cpu":
        return [output.contiguous().numpy() for output in outputs]  # thousands of policy logits are not copied
    columns = [output.reshape(len(output), -1) for output in outputs]
    host = torch.cat(columns, dim=1).cpu().numpy()
    parts = np.split(host, np.cumsum([column.shape[1] for column in columns[:-1]]), axis=1)
    return [np.ascontiguousarray(part).reshape(output.shape) for part, output in zip(parts, outputs, strict=True)]
