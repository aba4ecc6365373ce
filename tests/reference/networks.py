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
