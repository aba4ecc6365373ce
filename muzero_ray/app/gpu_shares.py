"""How the cluster's GPUs are divided: what the other roles ask for they have, and the trainer the rest."""

import math

from muzero_ray.app.errors import UserError
from muzero_ray.core.config import Config

_LEAST = 0.1
"""Share of a GPU below which a trainer is not worth starting."""


def trainer_share(config: Config, device: str, gpus: int, num_actors: int, nodes: int = 1) -> float:
    """GPUs that each trainer rank takes: one, or what the others leave of the only one; 0 on CPUs.

    On several nodes a trainer leaves to the replay buffer what that asks for, so that both fit on one.

    Args:
        config: of the run.
        device: of the trainer, "cpu" or "cuda".
        gpus: of the cluster.
        num_actors: self-play actors that begin with the run.
        nodes: of the cluster.

    Raises:
        UserError: if more is asked for than there is, with what to lower; if shards of the buffer, all of which are on
            one node, ask for GPUs where there are several.
    """
    asked = asked_for(config)
    if asked and gpus == 0:
        raise UserError(f"{asked}: the cluster has no GPU; use 0")
    reanalyze = config.reanalyze.num_gpus if config.reanalyze.ratio > 0 else 0.0
    others = reanalyze + config.evaluate.num_gpus + config.replay.shards * config.buffer_gpus
    acting = num_actors * config.self_play.num_gpus + others
    ranks = config.train.num_gpus if device == "cuda" else 0
    left = math.floor(100 * (gpus - acting) + 1e-6) / 100  # Ray knows shares of a hundredth, and rounding errors do not
    if nodes > 1 and config.replay.shards > 1 and config.buffer_gpus > 0:
        raise UserError(
            f"replay.num_gpus {config.buffer_gpus:g}: {config.replay.shards} shards stay on one node, which may have "
            f"none left on a cluster of {nodes}; use replay.shards 1, or replay.num_gpus 0"
        )
    if left >= ranks:
        return round(1.0 - config.buffer_gpus * (nodes > 1), 2) if ranks else 0.0
    if ranks == 1 and left >= _LEAST:
        return left
    training = f", and the trainer needs {ranks if ranks > 1 else _LEAST}" if ranks else ""
    raise UserError(
        f"{asked}: {num_actors} self-play actors, the replay buffer, reanalysis and evaluation take {acting:g} GPUs"
        f"{training}, but the cluster has {gpus}; lower these shares, or --num-actors"
    )


def asked_for(config: Config) -> str:
    """The options that ask for shares of GPUs, with their values, for people to read; empty if none does."""
    shares = {
        "self_play": config.self_play.num_gpus,
        "replay": config.buffer_gpus,
        "reanalyze": config.reanalyze.num_gpus,
        "evaluate": config.evaluate.num_gpus,
    }
    return ", ".join(f"{name}.num_gpus {share:g}" for name, share in shares.items() if share > 0)
