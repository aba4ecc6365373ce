"""What each role says of a stretch of its work: small, frozen, and all that the head gets to see.

Self-play's own report is beside the trajectories, in `core/types.py`.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from muzero_ray.core.types import Episode, Weights


class TrainerStart(NamedTuple):
    """What the trainer begins with."""

    training_steps: int
    notes: tuple[str, ...]  # where the machine cannot do what was asked for, what is done instead


@dataclass(frozen=True)
class TrainReport:
    """A stretch of training."""

    training_steps: int  # in all
    steps: int  # in this stretch
    train_seconds: float
    wait_seconds: float  # for batches
    finished: bool  # nothing is left to train on, and nothing will come
    metrics: dict[str, float] = field(default_factory=dict)  # of the newest training step
    batches_ready: int = 0  # that wait for the trainer at the end of the stretch


@dataclass(frozen=True)
class ReanalyzeReport:
    """A stretch of reanalysis."""

    positions: int
    search_seconds: float
    wait_seconds: float  # for positions
    finished: bool  # nothing is left to do, and nothing will come


class Pairing(NamedTuple):
    """How two players did against each other."""

    first: str
    second: str
    points: float  # of the first: its wins and half its draws
    games: int


@dataclass(frozen=True)
class Strength:
    """How strong an agent is in a game for two, in Elo, by all games of the run so far. The first anchor has 0.

    Plain numbers and tuples, so that JSON can hold it.
    """

    elo: float
    ci95: tuple[float, float]  # that holds the true strength with 95% confidence
    strongest: bool  # whether no earlier agent of the run is stronger
    ratings: dict[str, tuple[float, float, float]]  # Elo, low and high of everybody who played, by name
    pairings: tuple[Pairing, ...]  # how the agent did against each whom it met this time


@dataclass(frozen=True)
class EvaluationReport:
    """One evaluation of the greedy agent."""

    weights_version: int  # training steps behind the weights
    episodes: tuple[Episode, ...]  # the first return is the agent's
    seconds: float
    strength: Strength | None = None  # in games for two


@dataclass(frozen=True)
class BufferStatus:
    """How full the replay buffer is, and how the pace is held."""

    env_steps: int  # ever added
    num_steps: int  # held now
    memory_bytes: int
    held_ratios: dict[str, float]  # positions consumed per env step, by consumer
    # Since the last status:
    trajectories_added: int = 0  # games and pieces of games
    trajectories_left_out: int = 0  # they came again, or their beginning was lost
    trajectories_refused: int = 0  # malformed, or not finite, and set aside
    add_seconds: tuple[float, ...] = ()  # that each delivery took to be stored; its waiting does not count
    sample_seconds: tuple[float, ...] = ()  # that each batch took to be made
    # Of the newest batch: training steps between the newest weights and those behind its states, on average.
    weights_lag: float | None = None


@dataclass(frozen=True)
class TrainerState:
    """What a checkpoint keeps of the trainer."""

    training_steps: int
    learner: bytes  # torch's own format; tensors and numbers only
    weights: Weights
