"""What curves say: a Markdown table and a picture per game."""

import io
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from learning_curves import THRESHOLDS, Curve, bootstrap, censored_median, on_grid, reach
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

STYLES = {"muzero": ("#0072B2", "-"), "ppo": ("#D55E00", "--"), "dqn": ("#009E73", "-.")}
"""Colours that the colour-blind can tell apart (Okabe and Ito), and lines for those who print in grey."""

MAX_BYTES = 150_000
"""Largest size of a picture."""

LEGEND = """\
Threshold: the first evaluation of 20 episodes whose mean reaches it; medians over all seeds, a censored run (one that
never did) counting as later than every other. Final: means over 100 episodes at the end of the budget, by seed; their
mean, with a 95% percentile bootstrap interval over seeds (10,000 resamples). Solved: final mean at or above the
threshold. Seconds: wall clock from the start of the command, start-up and evaluations included."""


def by_agent(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Groups curves by agent, ours first."""
    known = list(STYLES)
    agents = sorted({curve.agent for curve in curves}, key=lambda agent: (known.index(agent), agent))
    return {agent: [curve for curve in curves if curve.agent == agent] for agent in agents}


def table(game: str, curves: Sequence[Curve]) -> str:
    """The Markdown table of a game, a row per agent; runs that did not finish are named below it.

    Args:
        game: a key of `THRESHOLDS`.
        curves: of all agents and seeds.
    """
    threshold = THRESHOLDS[game]
    head = [
        "agent", "seeds", f"env steps to {threshold:.0f}", f"seconds to {threshold:.0f}", "censored seeds",
        "final mean of each seed", "final mean [95%]", "solved", "seconds in all (median)",
    ]  # fmt: skip
    finished = by_agent([curve for curve in curves if curve.finished])
    body = [_cells(agent, runs, threshold) for agent, runs in finished.items()]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *body)]
    unfinished = [f"{curve.agent} {curve.seed}" for curve in curves if not curve.finished]
    if unfinished:
        lines += ["", f"Not finished, and left out: {', '.join(unfinished)}."]
    return "\n".join(lines)


def _cells(agent: str, runs: Sequence[Curve], threshold: float) -> list[str]:
    reached = [reach(curve, threshold) for curve in runs]
    steps = censored_median([row.env_steps if row else None for row in reached])
    seconds = censored_median([row.seconds if row else None for row in reached])
    censored = [str(curve.seed) for curve, row in zip(runs, reached, strict=True) if row is None]
    finals = np.array([curve.final.mean for curve in runs])
    mean = f"{finals.mean():.1f}"
    if len(finals) > 1:
        low, high = bootstrap(finals)
        mean += f" [{low:.1f}, {high:.1f}]"
    return [
        agent,
        str(len(runs)),
        "not reached" if steps is None else f"{steps:,.0f}",
        "not reached" if seconds is None else f"{seconds:,.0f}",
        ", ".join(censored) or "none",
        ", ".join(f"{curve.seed}: {curve.final.mean:.1f}" for curve in runs),
        mean,
        f"{np.count_nonzero(finals >= threshold)} of {len(finals)}",
        f"{statistics.median(curve.final.seconds for curve in runs):,.0f}",
    ]


def draw(path: Path, game: str, curves: Sequence[Curve]) -> None:
    """Draws return over env steps and over wall clock, side by side, as a PNG.

    A thin line per seed, whatever became of it; thick the mean over seeds, where all of them have values,
    interpolated linearly between evaluations; its band is the bootstrap interval at each point.
    """
    finished = by_agent([curve for curve in curves if curve.finished])
    figure = Figure(figsize=(10, 4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_panel(left, finished, "env_steps", THRESHOLDS[game], "env steps")
    _draw_panel(right, finished, "seconds", THRESHOLDS[game], "seconds since the command, evaluations included")
    left.set_ylabel("return of the greedy agent")
    left.legend(frameon=False, fontsize="small", loc="best")
    figure.suptitle(f"{game}: thin a seed, thick the mean over seeds with its 95% interval", fontsize="medium")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    path.write_bytes(_compress(Image.open(drawn).convert("RGB")))


def _compress(picture: Image.Image) -> bytes:
    """As a PNG with as many colours as `MAX_BYTES` has room for, but at least 16."""
    for colours in (256, 128, 64, 32, 16):
        packed = io.BytesIO()
        picture.quantize(colours).save(packed, format="png", optimize=True)
        if packed.tell() <= MAX_BYTES:
            break
    return packed.getvalue()


def _draw_panel(axes: Axes, agents: dict[str, list[Curve]], axis: str, threshold: float, label: str) -> None:
    ends = []
    for agent, runs in agents.items():
        colour, style = STYLES[agent]
        for curve in runs:
            x = [getattr(row, axis) for row in curve.rows]
            ends.append(x[-1])
            axes.plot(x, [row.mean for row in curve.rows], color=colour, linewidth=0.7, alpha=0.45)
        grid, returns = on_grid(runs, axis)
        if len(runs) > 1:
            axes.fill_between(grid, *bootstrap(returns), color=colour, alpha=0.2, linewidth=0)
        name = f"{agent} ({len(runs)} seed{'s' * (len(runs) > 1)})"
        axes.plot(grid, returns.mean(axis=0), style, color=colour, linewidth=2.2, label=name)
    axes.axhline(threshold, color="0.3", linestyle=(0, (4, 3)), linewidth=1)
    wide = bool(ends) and max(ends) > 4 * min(ends)
    if wide:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(lambda *_: "")
    else:
        axes.locator_params(axis="x", nbins=6)  # more labels would run into each other
    axes.set_xlabel(f"{label} (log scale)" if wide else label)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
