"""Everything that a run continues from, in memory; `checkpoint.py` writes it to disk, `checkpoint_reader.py` reads
it back."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from muzero_ray.core.types import Weights


@dataclass(frozen=True)
class Snapshot:
    """The state of trainer, buffer and storage at about one moment."""

    env_steps: int
    training_steps: int
    learner: bytes  # weights, target weights, optimiser, schedule and counters, in torch's own format
    weights: Weights  # the newest, so that playing needs no torch
    buffer: dict[str, np.ndarray]  # with priorities, refreshed targets and the sampler's generator
    limiter: dict[str, Any]  # counts of the rate limiter
    starts: dict[str, int] = field(default_factory=dict)  # how often each role was started, for its seeds
