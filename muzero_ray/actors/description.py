"""A network in words. Apart from `build`, so that the trainer needs neither the game's libraries nor the search's."""

from muzero_ray.core.config import Config
from muzero_ray.core.game import GameSpec


def describe_network(config: Config, spec: GameSpec) -> str:
    """The network's parameters by name and shape, and how many they are, for people to read."""
    from muzero_ray.nn.networks import build_network

    network = build_network(config.network, spec, config.train.consistency_weight > 0, config.seed)
    shapes = [(name, tuple(parameter.shape)) for name, parameter in network.named_parameters()]
    total = sum(parameter.numel() for parameter in network.parameters())
    return "\n".join([f"{name:<40} {shape}" for name, shape in shapes] + [f"{total:,} parameters"])
