"""The network for vectors, the choice of a network, and how the weights of any travel.

`MuZeroNetwork` states the three functions of the paper for vector observations; it computes no loss
and keeps no search state. Boards and frames have `conv_network.ConvNetwork`. The arithmetic of representation,
dynamics and prediction is written out once, in the class's docstring: `engine` follows the same
formulas from the published weights.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import Weights
from muzero_ray.nn.base_network import Heads, Network, scale_latent, zero_
from muzero_ray.nn.conv_network import ConvNetwork
from muzero_ray.nn.downsampling import Downsampling

OBSERVATION_CLIP: Final = 5.0
"""Largest magnitude of a normalised observation: one unlike all before it must not drown the others."""

_CONSISTENCY_PREFIX: Final = "consistency_"


class MuZeroNetwork(Network):
    """An MLP that plans in a latent state of H = `latent_size` numbers in [0, 1].

    With o the flattened observation, m and s the mean and standard deviation of those trained on, h a
    latent state, a an action, LN a LayerNorm and `scale` bringing the smallest number of a row to 0 and
    the largest to 1:

        scale(y)         = (y - min y) / (max y - min y + 1e-5)

        representation:  x  = clip((o - m) / s, -5, 5)
                         z1 = relu(LN(R1 x + r1))
                         z2 = relu(R2 z1 + r2)
                         h  = scale(R3 z2 + r3)
        dynamics:        h' = scale(h + D2 relu(LN(D1 h + d1 + E[a])) + d2)
        prediction:      y  = relu(P1 h + p1)
                         [reward logits | value logits | policy logits | turn logit] = P2 y + p2

    Where observations are not to be normalised, x = o; for uint8 frames x = o / 255. The turn logit is there
    only in games for two whose turns do not alternate.

    The dynamics is residual, because a step changes little, and adds a learned row E[a] per action,
    which is what a one-hot action fed to D1 amounts to. All heads share one hidden layer and one output
    matrix, because many small products cost more than one larger. The output layer starts at zero, so
    that an untrained network predicts 0, 0, a uniform policy and that the turn passes.

    Parameters by name, for those who read the published weights: `representation_1` (R1, r1),
    `representation_norm`, `representation_2`, `representation_3`, `dynamics_1` (D1, d1),
    `action_rows` (E), `dynamics_norm`, `dynamics_2`, `prediction_1` and `prediction_2`, each with
    `.weight` (a linear layer's is `[out, in]`) and, but for `action_rows`, `.bias`. With them, where
    observations are normalised, travel the buffers `observation_mean` (m) and `observation_spread` (s).

    With `consistency`, a projector H-M-H and a predictor H-H/2-H (M = `hidden_size`) serve the
    self-supervised loss of EfficientZero, arXiv:2111.00210. They are never part of the weights
    published to actors.
    """

    def __init__(self, config: NetworkConfig, spec: GameSpec, consistency: bool) -> None:
        latent, hidden, head = config.latent_size, config.hidden_size, config.head_size
        super().__init__(
            config,
            spec,
            state_size=latent,
            normalizes_observations=config.normalize_observations and spec.observation_dtype != "uint8",
            consistency=consistency,
        )
        self._head_sizes = [self.reward_size, self.value_size, spec.num_actions, self.turn_size]
        self.representation_1 = nn.Linear(self.observation_size, hidden)
        self.representation_norm = nn.LayerNorm(hidden)
        self.representation_2 = nn.Linear(hidden, hidden)
        self.representation_3 = nn.Linear(hidden, latent)
        self.dynamics_1 = nn.Linear(latent, hidden)
        self.action_rows = nn.Embedding(spec.num_actions, hidden)
        self.dynamics_norm = nn.LayerNorm(hidden)
        self.dynamics_2 = nn.Linear(hidden, latent)
        self.prediction_1 = nn.Linear(latent, head)
        self.prediction_2 = nn.Linear(head, sum(self._head_sizes))
        zero_(self.prediction_2)
        if consistency:
            self.consistency_projector = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, latent))
            self.consistency_predictor = nn.Sequential(
                nn.Linear(latent, latent // 2), nn.ReLU(), nn.Linear(latent // 2, latent)
            )

    def represent(self, observations: Tensor) -> Tensor:
        """See `Network.represent`."""
        x = observations.flatten(1).float()
        if self.normalizes_observations:
            x = ((x - self.observation_mean) / self.observation_spread).clamp(-OBSERVATION_CLIP, OBSERVATION_CLIP)
        elif self.observation_scale != 1.0:
            x = x * self.observation_scale
        x = F.relu(self.representation_norm(self.representation_1(x)))
        x = F.relu(self.representation_2(x))
        return scale_latent(self.representation_3(x))

    def step(self, latents: Tensor, actions: Tensor) -> Tensor:
        """See `Network.step`."""
        x = self.dynamics_1(latents) + self.action_rows(actions)
        return scale_latent(latents + self.dynamics_2(F.relu(self.dynamics_norm(x))))

    def predict(self, latents: Tensor) -> Heads:
        """See `Network.predict`."""
        outputs = self.prediction_2(F.relu(self.prediction_1(latents)))
        return Heads(*outputs.split(self._head_sizes, dim=-1))

    def project(self, latents: Tensor) -> Tensor:
        """See `Network.project`; n = H."""
        projection: Tensor = self.consistency_projector(latents)
        return projection

    def predict_projection(self, projections: Tensor) -> Tensor:
        """See `Network.predict_projection`."""
        prediction: Tensor = self.consistency_predictor(projections)
        return prediction


def build_network(config: NetworkConfig, spec: GameSpec, consistency: bool, seed: int = 0) -> Network:
    """Builds the network that `config.kind` names, initialised from `seed` alone.

    torch's layers draw their initial weights from its global generator; its state is put back
    afterwards, so that building a network changes nothing else.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if config.kind == "conv":
            return ConvNetwork(config, spec, consistency)
        if config.kind == "image":
            return ConvNetwork(config, spec, consistency, Downsampling(spec, config.channels, config.blocks))
        return MuZeroNetwork(config, spec, consistency)


def place(network: Network, device: torch.device) -> Network:
    """Moves the network to the device, on a GPU with the kernels of convolutions in the order that is fastest there."""
    network.to(device)
    if device.type == "cuda":
        lay_out_channels_last(network)
    return network


def lay_out_channels_last(network: Network) -> None:
    """Reorders kernels in memory: `ConvNetwork` keeps boards channels last, and each call would bring them to that."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def to_weights(network: Network) -> Weights:
    """Copies what inference needs: all of the network's state but the consistency layers, float32 on the CPU."""
    return {
        name: tensor.to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format).numpy()
        for name, tensor in _published_state(network).items()
    }


def load_weights(network: Network, weights: Weights) -> None:
    """Copies published weights into the network; layers of the consistency loss stay as they are.

    Raises:
        ValueError: if a name or a shape does not belong to this network.
    """
    wanted = _published_state(network)
    if wanted.keys() != weights.keys():
        raise ValueError(
            f"weights: must hold exactly {sorted(wanted)}, got {sorted(weights)}; "
            "were they trained with another network configuration?"
        )
    for name, tensor in wanted.items():
        if tensor.shape != weights[name].shape:
            raise ValueError(
                f"weights: {name} must have shape {tuple(tensor.shape)}, got {weights[name].shape}; "
                "were they trained with another network configuration?"
            )
    with torch.no_grad():
        for name, tensor in wanted.items():
            # A copy, because torch warns about (and could write to) arrays that Ray shares read-only.
            tensor.copy_(torch.from_numpy(weights[name].copy()))


def _published_state(network: Network) -> dict[str, Tensor]:
    """The network's own parameters and buffers that inference needs, by name."""
    state: dict[str, Tensor] = network.state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith(_CONSISTENCY_PREFIX)}
