"""What each role says of a stretch of its work: small, frozen, and all that the head gets to see.

Self-play's own report is beside the trajectories, in `core/types.py`.
"""

from dataclasses import dataclass, field

from muzero_ray.core.types import Episode, Weights


@dataclass(frozen=True)
class TrainReport:
    """A stretch of training."""

    training_steps: int  # in all
    steps: int  # in this stretch
    train_seconds: float
    wait_seconds: float  # for batches
    finished: bool  # nothing is left to train on, and nothing will come
    metrics: dict[str, float] = field(default_factory=dict)  # of the newest training step


@dataclass(frozen=True)
class ReanalyzeReport:
    """A stretch of reanalysis."""

    positions: int
    search_seconds: float
    wait_seconds: float  # for positions
    finished: bool  # nothing is left to do, and nothing will come


@dataclass(frozen=True)
class EvaluationReport:
    """One evaluation of the greedy agent."""

    weights_version: int  # training steps behind the weights
    episodes: tuple[Episode, ...]
    seconds: float


@dataclass(frozen=True)
class BufferStatus:
    """How full the replay buffer is, and how the pace is held."""

    env_steps: int  # ever added
    num_steps: int  # held now
    memory_bytes: int
    held_ratios: dict[str, float]  # positions consumed per env step, by consumer


@dataclass(frozen=True)
class TrainerState:
    """What a checkpoint keeps of the trainer."""

    training_steps: int
    learner: bytes  # torch's own format; tensors and numbers only
    weights: Weights
