"""The learning curve of a run: every evaluation, and the returns of the games that self-play finished.

Kept in memory and, line by line, in `curve.jsonl`, so that it outlives the process and other tools can
read it. Drawing it is `report`.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from muzero_ray.app.saving.files import PatientFile, write_whole
from muzero_ray.core.reports import Pairing, Strength


@dataclass(frozen=True)
class Statistics:
    """What a sample of returns says of the agent."""

    mean: float
    std: float
    """Of single returns, estimated with n - 1; 0 for one return."""
    ci95: tuple[float, float] | None
    """Interval that holds the true mean with 95% confidence; None for one return."""


def describe(returns: Sequence[float]) -> Statistics:
    """Mean, spread and Student's confidence interval of returns.

    Args:
        returns: at least one.

    Raises:
        ValueError: if there is none.

    >>> describe([1.0, 1.0])
    Statistics(mean=1.0, std=0.0, ci95=(1.0, 1.0))
    """
    if len(returns) == 0:
        raise ValueError("returns: wanted at least one, got none")
    count = len(returns)
    mean = float(np.mean(returns))
    if count == 1:
        return Statistics(mean, 0.0, None)
    std = float(np.std(returns, ddof=1))
    half = float(stdtrit(count - 1, 0.975)) * std / math.sqrt(count)
    return Statistics(mean, std, (mean - half, mean + half))


@dataclass(frozen=True)
class EvaluationPoint:
    """One evaluation of the greedy agent."""

    env_steps: int
    training_steps: int
    seconds: float
    """Wall-clock seconds of training before it, over all resumptions."""
    mean: float
    std: float
    returns: tuple[float, ...]
    strength: Strength | None = None
    """In a game for two, as of this evaluation."""

    @classmethod
    def of(
        cls,
        env_steps: int,
        training_steps: int,
        seconds: float,
        returns: Sequence[float],
        strength: Strength | None = None,
    ) -> "EvaluationPoint":
        """The point of these returns."""
        found = describe(returns)
        values = tuple(float(value) for value in returns)
        return cls(env_steps, training_steps, seconds, found.mean, found.std, values, strength)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "EvaluationPoint":
        """The inverse of `dataclasses.asdict`, after JSON."""
        told = values.get("strength")
        if told is not None:
            told = Strength(
                elo=told["elo"],
                ci95=(told["ci95"][0], told["ci95"][1]),
                strongest=told["strongest"],
                ratings={name: (elo, low, high) for name, (elo, low, high) in told["ratings"].items()},
                pairings=tuple(Pairing(*pairing) for pairing in told["pairings"]),
            )
        return cls(**{**values, "returns": tuple(values["returns"]), "strength": told})


class Curve:
    """A run's curve, appended to its file as it grows.

    Args:
        path: the file; made if it is not there.
        resume_at: env steps at which the run continues: what lies beyond was never checkpointed, will be
            played again, and is forgotten. None for a new run, which begins with an empty file.

    Raises:
        OSError: if the file cannot be written now; it is then as it was. A disk that is full later stops nothing.
    """

    def __init__(self, path: Path, resume_at: int | None = None) -> None:
        self.evaluations: list[EvaluationPoint] = []
        self.episodes: list[tuple[int, float]] = []
        """(env steps, mean return) of the games that self-play finished between two reports."""
        rows = _read_rows(path) if resume_at is not None else []
        kept = [row for row in rows if row["env_steps"] <= (resume_at or 0)]
        for row in kept:
            if row["kind"] == "evaluation":
                values = {name: value for name, value in row.items() if name != "kind"}
                self.evaluations.append(EvaluationPoint.from_dict(values))
            else:
                self.episodes.append((row["env_steps"], row["mean"]))
        write_whole(path, "".join(f"{json.dumps(row)}\n" for row in kept))
        self._file = PatientFile(path)

    @property
    def best(self) -> EvaluationPoint | None:
        """The evaluation with the largest mean, the earliest of equals; in a game for two, that of the agent which was
        the strongest of all when it came, and of which no later one has been stronger."""
        strongest = [point for point in self.evaluations if point.strength is not None and point.strength.strongest]
        if strongest:
            return strongest[-1]
        return max(self.evaluations, key=lambda point: point.mean, default=None)

    @property
    def pairings(self) -> tuple[Pairing, ...]:
        """All results of a game for two."""
        return tuple(pairing for point in self.evaluations if point.strength for pairing in point.strength.pairings)

    def add_evaluation(self, point: EvaluationPoint) -> bool:
        """Appends an evaluation; returns whether it is the best so far."""
        self.evaluations.append(point)
        self._append({"kind": "evaluation", **asdict(point)})
        return self.best is point

    def add_episodes(self, env_steps: int, returns: Sequence[float]) -> None:
        """Appends games that self-play finished since the last report; none is fine."""
        if len(returns) == 0:
            return
        mean = float(np.mean(returns))
        self.episodes.append((env_steps, mean))
        self._append({"kind": "episodes", "env_steps": env_steps, "count": len(returns), "mean": mean})

    def close(self) -> None:
        self._file.close()

    def _append(self, row: dict[str, Any]) -> None:
        self._file.write(f"{json.dumps(row)}\n".encode())


def read_evaluations(path: Path) -> list[EvaluationPoint]:
    """The evaluations in a curve's file, oldest first; it may be written meanwhile."""
    rows = [row for row in _read_rows(path) if row["kind"] == "evaluation"]
    return [EvaluationPoint.from_dict({key: value for key, value in row.items() if key != "kind"}) for row in rows]


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; a last line that a crash cut off is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
