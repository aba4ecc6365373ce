"""The names of all metrics, and their way to TensorBoard.

Scalars are drawn against env steps; training steps and wall time are scalars themselves, so that any
curve can be read against either. Nothing here computes a metric.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muzero_ray.app.reporting.curve import EvaluationPoint
from muzero_ray.app.saving.files import PatientFile
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.core.config import Config


@dataclass(frozen=True)
class Metric:
    """What a number is."""

    unit: str
    meaning: str


METRICS: dict[str, Metric] = {
    "progress/env_steps": Metric("steps", "env steps so far, in the buffer's count"),
    "progress/training_steps": Metric("steps", "training steps so far"),
    "progress/seconds": Metric("s", "wall-clock time so far, over all resumptions"),
    "progress/games": Metric("games", "games that self-play has finished"),
    "evaluation/count": Metric("evaluations", "evaluations since the head was started"),
    "evaluation/mean_return": Metric("return", "mean over the episodes of the greedy agent"),
    "evaluation/std_return": Metric("return", "standard deviation over these episodes"),
    "evaluation/elo": Metric("Elo", "strength in a game for two; the first of evaluate.opponents has 0"),
    "evaluation/elo_low": Metric("Elo", "lower bound of the 95% interval of that strength"),
    "evaluation/elo_high": Metric("Elo", "upper bound of the 95% interval of that strength"),
    "evaluation/seconds": Metric("s", "time that the evaluation took"),
    "self_play/return": Metric("return", "mean over the games finished since the last report"),
    "self_play/length": Metric("moves", "mean length of these games"),
    "self_play/resigned": Metric("share", "games given up, of those finished since the last report"),
    "self_play/false_resignations": Metric("share", "games not lost, of those that would have been given up so far"),
    "self_play/weights_lag": Metric("steps", "training steps between the newest weights and those that play"),
    "self_play/search_seconds": Metric("s", "time of the searches of one move of all games of an actor"),
    "loss/total": Metric("nats", "weighted sum of the parts: what is minimised"),
    "loss/value": Metric("nats", "value loss, summed over the unrolled steps"),
    "loss/reward": Metric("nats", "reward loss, summed over the unrolled steps"),
    "loss/policy": Metric("nats", "policy loss, summed over the unrolled steps"),
    "loss/consistency": Metric("1", "negative cosine of predicted and encoded next states"),
    "loss/turn": Metric("nats", "loss of whose turn comes next, summed over the unrolled steps"),
    "train/policy_entropy": Metric("nats", "entropy of the network's policy"),
    "train/value_clipped": Metric("share", "value targets beyond the support: widen network.value_support"),
    "train/reward_clipped": Metric("share", "reward targets beyond the support: widen network.reward_support"),
    "train/gradient_norm": Metric("1", "norm of the gradient before it is clipped"),
    "train/learning_rate": Metric("1", "learning rate"),
    "replay/steps": Metric("steps", "transitions held"),
    "replay/memory": Metric("MB", "memory of the buffer"),
    "replay/ratio": Metric("1", "trained positions per env step, held so far"),
    "replay/weights_lag": Metric(
        "steps", "training steps between the newest weights and those behind a batch's states"
    ),
    "replay/trajectories": Metric("pieces", "games and pieces of games taken since the head was started"),
    "replay/left_out": Metric("pieces", "those left out, since they came again or their beginning was lost"),
    "replay/refused": Metric("pieces", "those that could not be stored and were set aside, in quarantine/"),
    "replay/add_seconds": Metric("s", "time that a delivery took to be stored, its waiting not included"),
    "replay/sample_seconds": Metric("s", "time that a batch took to be made"),
    "reanalyze/ratio": Metric("1", "positions searched again per env step, held so far"),
    "speed/env_steps": Metric("1/s", "transitions played"),
    "speed/simulations": Metric("1/s", "simulations of self-play"),
    "speed/training_steps": Metric("1/s", "training steps"),
    "speed/trainer_waits": Metric("share", "of its time that the trainer waits for data"),
    "speed/self_play_waits": Metric("share", "of its time that self-play waits for learning"),
    "queue/deliveries": Metric("deliveries", "of self-play, that wait for the buffer to take them or to go on"),
    "queue/batches": Metric("batches", "that are ready for the trainer"),
    "system/restarts": Metric("processes", "actors' processes started again since the head was started"),
    "system/memory_share": Metric("share", "of its memory that is in use on the fullest machine, 1 being all"),
    "system/memory_shed": Metric("times", "that the replay buffer gave half of its room back, for want of memory"),
    "system/memory": Metric("MB", "memory of all processes of the run, what they share counted once"),
}
"""Every metric there is, by name: `group/what`."""


def evaluation_values(point: EvaluationPoint) -> dict[str, float]:
    """What an evaluation found, by name."""
    values = {"evaluation/mean_return": point.mean, "evaluation/std_return": point.std}
    if point.strength is not None:
        low, high = point.strength.ci95
        values |= {"evaluation/elo": point.strength.elo, "evaluation/elo_low": low, "evaluation/elo_high": high}
    return values


_SCHEME = "muzero-ray"
"""In front of a path: tells tensorboardX to open it by `_PatientFiles`."""


class _PatientFiles:
    """How tensorboardX comes to its files."""

    @staticmethod
    def directory_check(path: str) -> None:
        """The folder of a run is there already."""

    @staticmethod
    def open(path: str) -> PatientFile:
        return PatientFile(Path(path.removeprefix(f"{_SCHEME}:")))


class MetricsWriter:
    """Writes to TensorBoard's event files in the run folder.

    Args:
        run: where to.
        resume_at: env steps at which the run continues; what an earlier process wrote beyond is hidden.
    """

    def __init__(self, run: RunFolder, resume_at: int | None = None) -> None:
        with _torch_hidden():
            from tensorboardX import SummaryWriter  # here, since it is slow to import
            from tensorboardX.record_writer import register_writer_factory

        # tensorboardX writes in a thread of its own, and a full disk would end it: the run would then wait for
        # that thread for ever. So the file that it writes to is one that never fails.
        register_writer_factory(_SCHEME, _PatientFiles)
        purge = None if resume_at is None else resume_at + 1
        # The file's name holds a second, so a resumed run needs more to have a file of its own.
        suffix = f".{resume_at or 0:012d}"
        self._writer = SummaryWriter(
            logdir=f"{_SCHEME}:{run.path}", purge_step=purge, flush_secs=10, filename_suffix=suffix
        )

    def write(self, env_steps: int, values: Mapping[str, float]) -> None:
        """Writes values by name at a point of the run; what is not finite is left out.

        Raises:
            ValueError: if a name is not in `METRICS`.
        """
        for name, value in values.items():
            if name not in METRICS:
                raise ValueError(f"metric {name}: wanted a name of muzero_ray/app/reporting/metrics.py; add it there")
            if math.isfinite(value):
                self._writer.add_scalar(name, value, env_steps)

    def write_evaluation(self, point: EvaluationPoint) -> None:
        """Writes an evaluation, and when it was."""
        when = {"progress/training_steps": point.training_steps, "progress/seconds": point.seconds}
        self.write(point.env_steps, {**evaluation_values(point), **when})

    def write_description(self, config: Config, model_summary: str, env_steps: int = 0) -> None:
        """Writes the hyper-parameters, as a table, and the model's layers, as text."""
        rows = "\n".join(f"| {key} | {value} |" for key, value in _flat(config.model_dump(mode="json")).items())
        self._writer.add_text("hyper-parameters", f"| option | value |\n| --- | --- |\n{rows}", env_steps)
        indented = "\n".join(f"    {line}" for line in model_summary.splitlines())
        self._writer.add_text("model summary", indented, env_steps)

    def flush(self) -> None:
        """Brings everything to the disk, as before a checkpoint."""
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


@contextmanager
def _torch_hidden() -> Iterator[None]:
    """Keeps tensorboardX from importing torch, which it does where it can, for tensors that it is never given here."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # which makes `import torch` an ImportError
    try:
        yield
    finally:
        del sys.modules["torch"]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = json.dumps(value)
    return flat
