"""The MuZero network: representation, dynamics, prediction, and how its weights travel.

`MuZeroNetwork` states the three functions of the paper for vector observations; it computes no loss
and keeps no search state. The arithmetic of representation, dynamics and prediction is written out
once, in that class's docstring: `engine` follows the same formulas from the published weights.
"""

from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.core.support import support_bins
from muzero_ray.core.types import Weights
from muzero_ray.nn.support import expectation

LATENT_EPSILON: Final = 1e-5
"""Added to the range of a latent state, so that a constant one becomes zeros rather than a division by 0."""

OBSERVATION_CLIP: Final = 5.0
"""Largest magnitude of a normalised observation: one unlike all before it must not drown the others."""

_CONSISTENCY_PREFIX: Final = "consistency_"


class Heads(NamedTuple):
    """What the prediction says of latent states, before it is decoded."""

    reward_logits: Tensor  # [..., S_r] of the transition that led here
    value_logits: Tensor  # [..., S_v], or [..., 1] where the value head is scalar
    policy_logits: Tensor  # [..., A]


class MuZeroNetwork(nn.Module):
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
                         [reward logits | value logits | policy logits] = P2 y + p2

    Where observations are not to be normalised, x = o; for uint8 frames x = o / 255.

    The dynamics is residual, because a step changes little, and adds a learned row E[a] per action,
    which is what a one-hot action fed to D1 amounts to. Reward, value and policy share one hidden
    layer and one output matrix, because many small products cost more than one larger. The output
    layer starts at zero, so that an untrained network predicts 0, 0 and a uniform policy.

    Parameters by name, for those who read the published weights: `representation_1` (R1, r1),
    `representation_norm`, `representation_2`, `representation_3`, `dynamics_1` (D1, d1),
    `action_rows` (E), `dynamics_norm`, `dynamics_2`, `prediction_1` and `prediction_2`, each with
    `.weight` (a linear layer's is `[out, in]`) and, but for `action_rows`, `.bias`. With them, where
    observations are normalised, travel the buffers `observation_mean` (m) and `observation_spread` (s).

    With `consistency`, a projector H-M-H and a predictor H-H/2-H (M = `hidden_size`) serve the
    self-supervised loss of EfficientZero, arXiv:2111.00210. They are never part of the weights
    published to actors.
    """

    reward_bins: Tensor  # [S_r]
    value_bins: Tensor  # [S_v]; unused where the value head is scalar
    observation_mean: Tensor
    observation_spread: Tensor

    def __init__(self, config: NetworkConfig, spec: GameSpec, consistency: bool) -> None:
        super().__init__()
        if config.value_head == "scalar" and spec.value_bounds is None:
            raise ValueError(
                "network.value_head: 'scalar' needs a game whose spec states value_bounds, got None; "
                "state them in the game's spec or choose 'categorical'"
            )
        latent, hidden, head = config.latent_size, config.hidden_size, config.head_size
        self.latent_size = latent
        self.num_actions = spec.num_actions
        frames = spec.observation_dtype == "uint8"
        self.observation_size = int(np.prod(spec.observation_shape))
        self.observation_scale = 1 / 255 if frames else 1.0
        self.normalizes_observations = config.normalize_observations and not frames
        reward_bins = support_bins(config.reward_support, config.support_spacing, config.support_transform)
        value_bins = support_bins(config.value_support, config.support_spacing, config.support_transform)
        self.value_bounds = spec.value_bounds
        self.value_is_scalar = config.value_head == "scalar"
        self._head_sizes = [len(reward_bins), 1 if self.value_is_scalar else len(value_bins), spec.num_actions]

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
        nn.init.zeros_(self.prediction_2.weight)
        nn.init.zeros_(self.prediction_2.bias)
        self.has_consistency = consistency
        if consistency:
            self.consistency_projector = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, latent))
            self.consistency_predictor = nn.Sequential(
                nn.Linear(latent, latent // 2), nn.ReLU(), nn.Linear(latent // 2, latent)
            )
        if self.normalizes_observations:
            self.register_buffer("observation_mean", torch.zeros(self.observation_size))
            self.register_buffer("observation_spread", torch.ones(self.observation_size))
        self.register_buffer("reward_bins", torch.from_numpy(reward_bins), persistent=False)
        self.register_buffer("value_bins", torch.from_numpy(value_bins), persistent=False)

    def normalize_by(self, mean: np.ndarray, spread: np.ndarray) -> None:
        """From now on normalises observations by these, each `[X]` float32 and spread above 0."""
        self.observation_mean.copy_(torch.from_numpy(mean))
        self.observation_spread.copy_(torch.from_numpy(spread))

    def represent(self, observations: Tensor) -> Tensor:
        """Encodes `[B, ...]` observations of the game's dtype as `[B, H]` latent states."""
        x = observations.flatten(1).float()
        if self.normalizes_observations:
            x = ((x - self.observation_mean) / self.observation_spread).clamp(-OBSERVATION_CLIP, OBSERVATION_CLIP)
        elif self.observation_scale != 1.0:
            x = x * self.observation_scale
        x = F.relu(self.representation_norm(self.representation_1(x)))
        x = F.relu(self.representation_2(x))
        return scale_latent(self.representation_3(x))

    def step(self, latents: Tensor, actions: Tensor) -> Tensor:
        """The dynamics: `[B, H]` latent states and `[B]` int actions to the `[B, H]` states reached."""
        x = self.dynamics_1(latents) + self.action_rows(actions)
        return scale_latent(latents + self.dynamics_2(F.relu(self.dynamics_norm(x))))

    def predict(self, latents: Tensor) -> Heads:
        """The prediction for `[..., H]` latent states.

        The reward is that of the transition that led to a state, told by the player who moved, and
        means nothing for a state that came from `represent`. The value is for the player to move.
        """
        outputs = self.prediction_2(F.relu(self.prediction_1(latents)))
        return Heads(*outputs.split(self._head_sizes, dim=-1))

    def decode_reward(self, reward_logits: Tensor) -> Tensor:
        """`[..., S_r]` to the `[...]` rewards they stand for."""
        return expectation(reward_logits, self.reward_bins)

    def decode_value(self, value_logits: Tensor) -> Tensor:
        """`[..., S_v]` to the `[...]` values they stand for; a scalar head's `[..., 1]` goes through tanh
        to the game's value bounds."""
        if not self.value_is_scalar:
            return expectation(value_logits, self.value_bins)
        assert self.value_bounds is not None
        low, high = self.value_bounds
        return (low + high) / 2 + (high - low) / 2 * value_logits.squeeze(-1).tanh()

    def project(self, latents: Tensor) -> Tensor:
        """`[..., H]` to `[..., H]`, where latent states are compared (consistency loss only)."""
        projection: Tensor = self.consistency_projector(latents)
        return projection

    def predict_projection(self, projections: Tensor) -> Tensor:
        """`[..., H]` projections of unrolled states to what the real states' projections should be."""
        prediction: Tensor = self.consistency_predictor(projections)
        return prediction


def build_network(config: NetworkConfig, spec: GameSpec, consistency: bool, seed: int = 0) -> MuZeroNetwork:
    """Builds the network that `config.kind` names, initialised from `seed` alone.

    torch's layers draw their initial weights from its global generator; its state is put back
    afterwards, so that building a network changes nothing else.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return MuZeroNetwork(config, spec, consistency)


def scale_latent(latents: Tensor) -> Tensor:
    """Brings every `[..., H]` latent state to [0, 1] by its own smallest and largest number.

    Source: MuZero, arXiv:1911.08265, appendix G: the hidden state takes the range of the actions.
    """
    low, high = torch.aminmax(latents, dim=-1, keepdim=True)
    return (latents - low) / (high - low + LATENT_EPSILON)


def to_weights(network: MuZeroNetwork) -> Weights:
    """Copies what inference needs: all of the network's state but the consistency layers, float32 on the CPU."""
    return {
        name: tensor.to("cpu", torch.float32, copy=True).numpy() for name, tensor in _published_state(network).items()
    }


def load_weights(network: MuZeroNetwork, weights: Weights) -> None:
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


def _published_state(network: MuZeroNetwork) -> dict[str, Tensor]:
    """The network's own parameters and buffers that inference needs, by name."""
    state: dict[str, Tensor] = network.state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith(_CONSISTENCY_PREFIX)}
