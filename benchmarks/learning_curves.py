"""Learning curves of any agent, and what is computed from them. Runs nothing, draws nothing.

A curve is a JSONL file `<folder>/<game>/<agent>-<seed>.jsonl`. A row is one evaluation of the greedy agent:
`env_steps`, `seconds` (wall clock since the command began, start-up and evaluations included), `mean`, `std` and
`returns` of its episodes, and `final`, which is true in the last row of a run that came to its end.
"""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

THRESHOLDS = {"lunarlander": 200.0, "cartpole": 475.0}
"""Mean return at which a game counts as solved."""


@dataclass(frozen=True)
class Row:
    """One evaluation."""

    env_steps: int
    seconds: float
    mean: float
    std: float
    returns: tuple[float, ...]
    final: bool = False


@dataclass(frozen=True)
class Curve:
    """One run of one agent on one game."""

    game: str
    agent: str
    seed: int
    rows: tuple[Row, ...]

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.rows) and self.rows[-1].final

    @property
    def final(self) -> Row:
        """The last evaluation of a finished run, over more episodes than the others."""
        return self.rows[-1]


def curve_path(folder: Path, game: str, agent: str, seed: int) -> Path:
    """Where a curve lies."""
    return folder / game / f"{agent}-{seed}.jsonl"


def read_curve(path: Path) -> Curve:
    """Reads a curve, finished or not; a last line that was cut off is left out.

    Raises:
        FileNotFoundError: if there is none.
    """
    agent, _, seed = path.stem.rpartition("-")
    rows = [
        Row(**{**found, "returns": tuple(found["returns"])}) for found in parse_lines(path.read_text(encoding="utf-8"))
    ]
    return Curve(path.parent.name, agent, int(seed), tuple(rows))


def read_curves(folder: Path, game: str) -> list[Curve]:
    """All curves of a game, by agent and seed."""
    curves = [read_curve(path) for path in (folder / game).glob("*-*.jsonl")]
    return sorted(curves, key=lambda curve: (curve.agent, curve.seed))


def write_curve(path: Path, rows: Sequence[Row]) -> None:
    """Writes a curve, in one piece."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".unfinished")
    temporary.write_text("".join(f"{json.dumps(asdict(row))}\n" for row in rows), encoding="utf-8")
    temporary.replace(path)


def parse_lines(text: str) -> list[dict[str, Any]]:
    """The objects of a JSONL text, without a last line that was cut off."""
    lines = text.splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def convert(lines: Sequence[dict[str, Any]], summary: dict[str, Any], seconds_before: float) -> list[Row]:
    """Brings a muzero_ray run to the common format.

    Args:
        lines: of the run's `curve.jsonl`.
        summary: its `summary.json`.
        seconds_before: of the command's start-up, before the run's own clock began.

    Raises:
        ValueError: if the run did not come to its end.
    """
    evaluations = [line for line in lines if line["kind"] == "evaluation"]
    if not summary.get("finished") or not evaluations:
        raise ValueError("summary.json: wanted a finished run with evaluations, got one that was stopped; run it again")
    return [
        Row(
            line["env_steps"],
            round(line["seconds"] + seconds_before, 3),
            line["mean"],
            line["std"],
            tuple(line["returns"]),
            line is evaluations[-1],
        )
        for line in evaluations
    ]


def reach(curve: Curve, threshold: float) -> Row | None:
    """The first evaluation at or above the threshold; None if there was none (a censored run).

    The final evaluation does not count: it has more episodes than the others and comes when the budget is spent.
    """
    return next((row for row in curve.rows if not row.final and row.mean >= threshold), None)


def censored_median(values: Sequence[float | None]) -> float | None:
    """The median where None stands for more than was observed; None if the median itself was not observed.

    >>> censored_median([3.0, None, 1.0])
    3.0
    >>> censored_median([3.0, None])

    """
    found = statistics.median(math.inf if value is None else value for value in values)
    return None if math.isinf(found) else found


def bootstrap(values: np.ndarray, resamples: int = 10_000, level: float = 0.95, seed: int = 0) -> np.ndarray:
    """The percentile bootstrap interval of a mean over seeds.

    Args:
        values: `[n]` or `[n, P]`, one row per seed; columns are resampled together.
        resamples: how often n rows are drawn with replacement.
        level: in (0, 1); share of the resampled means that lies inside.
        seed: of the draws: the same values always give the same interval.

    Returns:
        `[2]` or `[2, P]`: low and high.

    Raises:
        ValueError: if there is no row.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    if len(values) == 0:
        raise ValueError("values: wanted at least one row, got none")
    count = len(values)
    # How often each row was drawn; its product with the rows is all resampled means at once.
    counts = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    tail = 50 * (1 - level)
    interval: np.ndarray = np.percentile(counts @ np.asarray(values, np.float64) / count, [tail, 100 - tail], axis=0)
    return interval


def on_grid(curves: Sequence[Curve], axis: str, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Interpolates the means of several runs linearly, where all of them have values.

    Args:
        curves: at least one.
        axis: "env_steps" or "seconds".
        points: P, of the grid.

    Returns:
        The grid `[P]`, from the latest first evaluation to the earliest last one, and returns `[len(curves), P]`. Where
        the runs do not overlap, both are empty.
    """
    lines = [np.array([(getattr(row, axis), row.mean) for row in curve.rows]) for curve in curves]
    low, high = max(line[0, 0] for line in lines), min(line[-1, 0] for line in lines)
    if low > high:
        return np.empty(0), np.empty((len(lines), 0))
    grid = np.linspace(low, high, points)
    return grid, np.stack([np.interp(grid, *line.T) for line in lines])
