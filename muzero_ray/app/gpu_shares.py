"""How the cluster's GPUs are divided: what the other roles ask for they have, and the trainer the rest."""

import math
from collections.abc import Sequence

from muzero_ray.app.errors import UserError
from muzero_ray.core.config import Config

_LEAST = 0.1
"""Share of a GPU below which a trainer is not worth starting."""


def trainer_share(config: Config, device: str, gpus: int, num_actors: int, nodes: int = 1) -> float:
    """GPUs that each trainer rank takes: one, or the most that the others leave of one to a single rank; 0 on CPUs.

    No share lies on two GPUs: what is left of several is not added up.

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
    ranks = config.train.num_gpus if device == "cuda" else 0
    if nodes > 1 and config.replay.shards > 1 and config.buffer_gpus > 0:
        raise UserError(
            f"replay.num_gpus {config.buffer_gpus:g}: {config.replay.shards} shards stay on one node, which may have "
            f"none left on a cluster of {nodes}; use replay.shards 1, or replay.num_gpus 0"
        )
    shards = [config.buffer_gpus] * config.replay.shards
    others = [config.self_play.num_gpus] * num_actors
    others += [config.reanalyze.num_gpus] * (config.reanalyze.ratio > 0) + [config.evaluate.num_gpus]
    # As `topology.launch` makes them; several shards come later, made by the buffer, and other ranks, by the trainer.
    others = shards + others if len(shards) == 1 else others + shards
    most = math.floor(100 * (1.0 - config.buffer_gpus * (nodes > 1)) + 1e-6) if ranks else 0
    least = round(100 * _LEAST) if ranks == 1 else most
    for hundredths in range(most, least - 1, -1):
        if _fit([hundredths / 100, *others, *[1.0] * (ranks - 1)], gpus):
            return hundredths / 100
    needed = _LEAST if ranks == 1 else ranks
    training = f", and the trainer needs {needed}" if ranks else ""
    one = ", and each must find its share on one of them" if sum(others) + needed <= gpus else ""
    raise UserError(
        f"{asked}: {num_actors} self-play actors, the replay buffer, reanalysis and evaluation take "
        f"{sum(others):g} GPUs{training}, but the cluster has {gpus}{one}; lower these shares, or --num-actors"
    )


def _fit(shares: Sequence[float], gpus: int) -> bool:
    """Whether each share, in this order, finds a GPU that has as much left.

    Ray counts in ten thousandths, and gives a share to the GPU of which it leaves least.
    """
    left = [10_000] * gpus
    for share in (round(10_000 * share) for share in shares if share > 0):
        room = [index for index in range(gpus) if left[index] >= share]
        if not room:
            return False
        left[min(room, key=lambda index: left[index])] -= share
    return True


def asked_for(config: Config) -> str:
    """The options that ask for shares of GPUs, with their values, for people to read; empty if none does."""
    shares = {
        "self_play": config.self_play.num_gpus,
        "replay": config.buffer_gpus,
        "reanalyze": config.reanalyze.num_gpus,
        "evaluate": config.evaluate.num_gpus,
    }
    return ", ".join(f"{name}.num_gpus {share:g}" for name, share in shares.items() if share > 0)
