"""What the processes of `tests/nn/test_parallel.py` do: a rank each, with learners that have batches of their own."""

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from muzero_ray.core.config import Config
from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import Batch, Weights
from muzero_ray.nn.learner import Learner, NonFiniteLoss
from muzero_ray.nn.parallel import RankLost, Ranks, join


@dataclass(frozen=True)
class Job:
    """What both ranks learn from."""

    config: Config
    spec: GameSpec
    batches: Sequence[Sequence[Batch]]  # of each rank


@dataclass(frozen=True)
class Outcome:
    """What one rank has learnt of a job."""

    steps: list[Any]  # metrics of each batch, or the sentence with which it was refused
    weights: Weights
    statistics: dict[str, Any]


@dataclass(frozen=True)
class Loss:
    """How a rank ends whose partner is gone."""

    told: str
    unchanged: bool
    training_steps: int


def train_in_turn(rank: int, address: str, jobs: Sequence[Job], folder: Path) -> None:
    """Does all jobs, then the first once more, in which rank 1 leaves without a word after the first batch.

    What came of it is in `folder`, a pickle for each rank: a list of outcomes, and for rank 0 a `Loss` behind them.
    """
    torch.set_num_threads(1)
    ranks = join(rank, 2, address, timeout_seconds=120.0)
    found: list[Any] = [_do(job, ranks) for job in jobs]
    learner = Learner(jobs[0].config, jobs[0].spec, seed=0, ranks=ranks)
    first, second, *_ = jobs[0].batches[rank]
    learner.update(first)
    if rank == 0:
        before = learner.weights()
        try:
            learner.update(second)
        except RankLost as error:
            after = learner.weights()
            unchanged = all(np.array_equal(before[name], after[name]) for name in before)
            found.append(Loss(str(error), unchanged, learner.training_steps))
        ranks.leave()
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(found))
    if rank == 1:
        os._exit(0)  # gone as a killed process is: an orderly exit with the group open sometimes aborts


def _do(job: Job, ranks: Ranks) -> Outcome:
    learner = Learner(job.config, job.spec, seed=0, ranks=ranks)
    steps: list[Any] = []
    for batch in job.batches[ranks.rank]:
        try:
            steps.append(learner.update(learner.stage(batch)).metrics)
        except NonFiniteLoss as error:
            steps.append(str(error))
    statistics = learner.state_dict()["observation_statistics"]
    return Outcome(steps, learner.weights(), {name: np.asarray(value) for name, value in statistics.items()})
