"""Networks for tests: small, and with an output layer that is not zero, so that every head says something."""

import torch

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.networks import MuZeroNetwork, build_network

SPEC = GameSpec(observation_shape=(5,), num_actions=4, value_bounds=(-1.0, 1.0))
SMALL = NetworkConfig(latent_size=8, hidden_size=12, head_size=16)


def random_network(
    config: NetworkConfig = SMALL, spec: GameSpec = SPEC, *, consistency: bool = False, seed: int = 0
) -> MuZeroNetwork:
    """A network whose every parameter, zeros and ones of fresh layers included, is moved at random."""
    network = build_network(config, spec, consistency, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network
