"""`Network`: what loss, learner and search ask of a network, and what all networks share.

It knows how logits become rewards, values and turns, and no layers: those are in `networks` (for vectors)
and `conv_network` (for boards).
"""

import math
from abc import ABC, abstractmethod
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.core.support import support_bins
from muzero_ray.nn.support import expectation

LATENT_EPSILON: Final = 1e-5
"""Added to the range of a latent state, so that a constant one becomes zeros rather than a division by 0."""


class Heads(NamedTuple):
    """What the prediction says of latent states, before it is decoded."""

    reward_logits: Tensor  # [..., S_r] of the transition that led here, or of a sum, see `Network.value_prefix_steps`
    value_logits: Tensor  # [..., S_v], or [..., 1] where the value head is scalar
    policy_logits: Tensor  # [..., A]
    turn_logits: Tensor  # [..., 1] that whoever moved to come here moves again; [..., 0] where turns alternate


class Network(nn.Module, ABC):
    """Representation, dynamics and prediction over latent states of H = `latent_size` numbers.

    The loop that calls it:

        latents = network.represent(observations)        # [B, ...] to [B, H]
        for k in range(unroll_steps):
            latents = network.step(latents, actions[:, k])
        heads = network.predict(all_latents)             # of all states at once, [B, K + 1, H]
        values = network.decode_value(heads.value_logits)

    Attributes:
        latent_size: H; what a latent state's numbers mean is the network's own affair.
        state_size: how many of them, the first, are the state itself, in [0, 1]; the others are what a value prefix
            remembers of the way there.
        value_prefix_steps: steps after which sums of rewards start anew, where reward logits are of such a sum and not
            of one reward; else 0. See `value_prefix.ValuePrefix`.
        observation_size: numbers in one observation.
        observation_scale: what observations are multiplied by where they are not normalised: 1/255 for uint8.
        normalizes_observations: whether observations are to be normalised, see `normalize_by`.
        value_is_scalar: whether the value head is one number within `value_bounds`, not a distribution.
        learns_turns: whether the network learns whose turn comes next, as it must in a game for two whose
            turns do not alternate.
        has_consistency: whether it has the layers of the consistency loss.
    """

    reward_bins: Tensor  # [S_r]
    value_bins: Tensor  # [S_v]; unused where the value head is scalar
    observation_mean: Tensor  # [X]; there is none where observations are not normalised
    observation_spread: Tensor  # [X], the same

    def __init__(
        self,
        config: NetworkConfig,
        spec: GameSpec,
        *,
        state_size: int,
        normalizes_observations: bool,
        consistency: bool,
    ) -> None:
        super().__init__()
        if config.value_head == "scalar" and spec.value_bounds is None:
            raise ValueError(
                "network.value_head: 'scalar' needs a game whose spec states value_bounds, got None; "
                "state them in the game's spec or choose 'categorical'"
            )
        self.state_size = self.latent_size = state_size
        self.value_prefix_steps = config.value_prefix_steps
        self.observation_size = math.prod(spec.input_shape)
        self.observation_scale = 1 / 255 if spec.observation_dtype == "uint8" else 1.0
        self.normalizes_observations = normalizes_observations
        self.num_actions = spec.num_actions
        self.value_bounds = spec.value_bounds
        self.value_is_scalar = config.value_head == "scalar"
        self.learns_turns = spec.num_players == 2 and not spec.alternating
        self.has_consistency = consistency
        reward_bins = support_bins(config.reward_support, config.support_spacing, config.support_transform)
        value_bins = support_bins(config.value_support, config.support_spacing, config.support_transform)
        self.reward_size = len(reward_bins)
        self.value_size = 1 if self.value_is_scalar else len(value_bins)
        self.turn_size = int(self.learns_turns)
        if normalizes_observations:
            self.register_buffer("observation_mean", torch.zeros(self.observation_size))
            self.register_buffer("observation_spread", torch.ones(self.observation_size))
        self.register_buffer("reward_bins", torch.from_numpy(reward_bins), persistent=False)
        self.register_buffer("value_bins", torch.from_numpy(value_bins), persistent=False)

    @abstractmethod
    def represent(self, observations: Tensor) -> Tensor:
        """Encodes `[B, ...]` observations of the game's dtype as `[B, H]` latent states."""

    @abstractmethod
    def step(self, latents: Tensor, actions: Tensor) -> Tensor:
        """The dynamics: `[B, H]` latent states and `[B]` int actions to the `[B, H]` states reached."""

    @abstractmethod
    def predict(self, latents: Tensor) -> Heads:
        """The prediction for `[..., H]` latent states.

        Reward and turn are those of the transition that led to a state, the reward told by the player who
        moved (or a sum of rewards, see `decode_reward`), and mean nothing for a state that came from
        `represent`. The value is for the player to move.
        """

    @abstractmethod
    def project(self, latents: Tensor) -> Tensor:
        """`[..., H]` to `[..., n]`, where latent states are compared (consistency loss only)."""

    @abstractmethod
    def predict_projection(self, projections: Tensor) -> Tensor:
        """`[..., n]` projections of unrolled states to what the real states' projections should be."""

    def normalize_by(self, mean: np.ndarray, spread: np.ndarray) -> None:
        """From now on normalises observations by these, each `[X]` float32 and spread above 0."""
        self.observation_mean.copy_(torch.from_numpy(mean))
        self.observation_spread.copy_(torch.from_numpy(spread))

    def decode_reward(self, reward_logits: Tensor, latents: Tensor) -> Tensor:
        """`[..., S_r]` that were predicted for `[..., H]` latent states to the `[...]` rewards they stand for."""
        del latents  # read where rewards are told as differences of sums
        return expectation(reward_logits, self.reward_bins)

    def decode_value(self, value_logits: Tensor) -> Tensor:
        """`[..., S_v]` to the `[...]` values they stand for; a scalar head's `[..., 1]` goes through tanh
        to the game's value bounds."""
        if not self.value_is_scalar:
            return expectation(value_logits, self.value_bins)
        assert self.value_bounds is not None
        low, high = self.value_bounds
        return (low + high) / 2 + (high - low) / 2 * value_logits.squeeze(-1).tanh()


def scale_latent(latents: Tensor) -> Tensor:
    """Brings every `[..., H]` latent state to [0, 1] by its own smallest and largest number.

    Source: MuZero, arXiv:1911.08265, appendix G: the hidden state takes the range of the actions.
    """
    latents = latents.float()  # states stay float32 where layers compute in 16 bits, of which 8 would be left in [0, 1]
    # Two passes: torch.aminmax over the last axis takes six times as long for the states of a board.
    low, high = latents.amin(dim=-1, keepdim=True), latents.amax(dim=-1, keepdim=True)
    return (latents - low) / (high - low + LATENT_EPSILON)


def zero_(*layers: nn.Linear) -> None:
    """Sets weights and biases to 0, so that an untrained head predicts nothing and a uniform policy."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
