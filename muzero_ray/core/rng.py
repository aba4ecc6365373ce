"""Where randomness comes from: one independent stream per role, worker and restart, from the run's seed.

No module draws from a global generator; each is given one made from `role_seed`. Games are reset with
seeds from two disjoint ranges, so that no evaluation episode has ever been trained on.
"""

import json
import zlib
from typing import Any

import numpy as np

EVALUATION_SEEDS = (0, 2**31)
"""Half-open range of the seeds of evaluation games."""
TRAINING_SEEDS = (2**31, 2**32)
"""Half-open range of the seeds of training games."""


def role_seed(seed: int, role: str, index: int = 0, restart: int = 0) -> np.random.SeedSequence:
    """Returns the seed sequence of one worker: the same in every run, independent of all others.

    Args:
        seed: the run's seed, at least 0.
        role: what the worker does: "self_play", "reanalyze", ...
        index: which of the workers of that role it is.
        restart: how often it has been started before, so that a restarted worker plays new games.

    Raises:
        ValueError: if a number is negative, or `index` or `restart` is 2**32 or more.
    """
    if seed < 0 or not 0 <= index < 2**32 or not 0 <= restart < 2**32:
        raise ValueError(
            f"role_seed: seed must be at least 0, index and restart must lie in 0..2**32 - 1, "
            f"got seed={seed}, index={index}, restart={restart}"
        )
    # Python's own hash of a string changes from process to process; CRC-32 does not, and fills one word.
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(role.encode()), index, restart))


def training_seeds(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draws `[count]` int64 seeds for training games, from `TRAINING_SEEDS`."""
    return rng.integers(*TRAINING_SEEDS, size=count, dtype=np.int64)


def evaluation_seeds(seed: int, count: int) -> list[int]:
    """Returns the seeds of evaluation games, from `EVALUATION_SEEDS`: always the same for the same run seed.

    All evaluations of a run thus play the same episodes, and their results compare like with like. A
    longer list begins with the shorter ones.
    """
    rng = np.random.default_rng(role_seed(seed, "evaluation_games"))
    return [int(drawn) for drawn in rng.integers(*EVALUATION_SEEDS, size=count, dtype=np.int64)]


def pack_generator(rng: np.random.Generator) -> np.ndarray:
    """Returns the state of a `default_rng` generator as a uint8 array, to be stored without pickle."""
    return np.frombuffer(json.dumps(rng.bit_generator.state).encode(), dtype=np.uint8)


def unpack_generator(rng: np.random.Generator, packed: np.ndarray) -> None:
    """Sets `rng` to a state from `pack_generator`.

    Raises:
        ValueError: if the array holds no state of this kind of generator.
    """
    try:
        state: dict[str, Any] = json.loads(packed.tobytes())
        rng.bit_generator.state = state
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"generator state must come from pack_generator of a {type(rng.bit_generator).__name__}: {error}"
        ) from error
