"""Networks for tests: small, and with an output layer that is not zero, so that every head says something."""

import numpy as np
import torch

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.base_network import Network
from muzero_ray.nn.networks import build_network

SPEC = GameSpec(observation_shape=(5,), num_actions=4, value_bounds=(-1.0, 1.0))
SMALL = NetworkConfig(latent_size=8, hidden_size=12, head_size=16)
CAPTURES = GameSpec(observation_shape=(5,), num_actions=4, num_players=2, alternating=False, value_bounds=(-1.0, 1.0))
"""A game in which a player may move twice in a row."""

SMALL_CONV = NetworkConfig(kind="conv", channels=3, blocks=2, head_size=7)
SUMMING_CONV = SMALL_CONV.model_copy(update={"value_prefix_steps": 2, "value_prefix_size": 6})
"""Its reward logits are those of sums, which start anew every two steps."""
HEIGHT, WIDTH = 2, 3
_ACTION_PLANES = np.zeros((5, 2, HEIGHT, WIDTH), dtype=np.uint8)
for _action, _place in enumerate([(0, 0, 0), (0, 1, 2), (1, 0, 1), (1, 1, 0)]):
    _ACTION_PLANES[_action][_place] = 1
BOARD = GameSpec(
    observation_shape=(2, HEIGHT, WIDTH),
    num_actions=5,
    num_players=2,
    value_bounds=(-1.0, 1.0),
    action_planes=_ACTION_PLANES,
    # Plane 0 at (0, 0) and (1, 2), plane 1 at (0, 1) and (1, 0), (plane * 2 + row) * 3 + column; then a pass.
    action_cells=np.array([0, 5, 7, 9, -1], dtype=np.int32),
)
"""Two boards of stones, four moves of two kinds, and a pass, which has no place on the board."""

PLAIN_BOARD = GameSpec(observation_shape=(2, HEIGHT, WIDTH), num_actions=5, num_players=2, value_bounds=(-1.0, 1.0))
"""The same without pictures of the actions."""


def random_network(
    config: NetworkConfig = SMALL, spec: GameSpec = SPEC, *, consistency: bool = False, seed: int = 0
) -> Network:
    """A network whose every parameter, zeros and ones of fresh layers included, is moved at random.

    So is its normalisation of observations, of which some in a hundred normal ones are clipped.
    """
    network = build_network(config, spec, consistency, seed)
    generator, of_buffers = (torch.Generator().manual_seed(seed + i) for i in (1, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        if network.normalizes_observations:
            network.observation_mean.add_(torch.randn(network.observation_size, generator=of_buffers))
            network.observation_spread.mul_(torch.rand(network.observation_size, generator=of_buffers) + 0.2)
    return network
