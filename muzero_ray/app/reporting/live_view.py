"""What the user sees while a run goes on: a live view on a terminal, plain lines elsewhere.

Fed with one `Status` now and then; measures and decides nothing. The numbers that it works out (time
left, bottleneck, sparkline) are pure functions.
"""

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from muzero_ray.app.reporting.curve import EvaluationPoint

_BARS = "▁▂▃▄▅▆▇█"
_LINE_SECONDS = 10.0
_MESSAGES_SHOWN = 4
_WAIT_WORTH_NAMING = 0.1


@dataclass(frozen=True)
class Status:
    """A run at one moment."""

    game: str
    env_steps: int
    budget: int
    """Env steps of the whole run."""
    training_steps: int
    seconds: float
    """Wall-clock seconds so far, over all resumptions."""
    seconds_left: float | None = None
    """Until the budget is spent at the present pace, where that is known."""
    env_steps_per_s: float = 0.0
    simulations_per_s: float = 0.0
    training_steps_per_s: float = 0.0
    replay_ratio_wanted: float = 0.0
    replay_ratio_held: float = 0.0
    buffer_steps: int = 0
    buffer_capacity: int = 0
    buffer_mb: float = 0.0
    memory_mb: float = 0.0
    """Of all processes of the run."""
    episode_returns: Sequence[float] = ()
    """Of the games that self-play finished lately, oldest first."""
    evaluations: Sequence[EvaluationPoint] = ()
    bottleneck: str = ""
    messages: Sequence[str] = ()
    """What happened lately, oldest first: "self_play_1 was restarted"."""


def sparkline(values: Sequence[float], width: int = 30) -> str:
    """The newest `width` values as bars between their smallest and largest; a blank for what is not finite.

    >>> sparkline([0.0, 1.0, 2.0, 7.0])
    '▁▂▃█'
    """
    shown = list(values)[-width:]
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return " " * len(shown)
    low, span = min(finite), max(finite) - min(finite)
    scaled = [(value - low) / span if span else 0.5 for value in shown]
    return "".join(_BARS[round(share * (len(_BARS) - 1))] if math.isfinite(share) else " " for share in scaled)


def bottleneck(waits: Mapping[str, tuple[float, str]]) -> str:
    """The one sentence that says what holds the run up now.

    Args:
        waits: by role, the share of its time that it waits, in [0, 1], and what for.

    Returns:
        The role that waits most; where nobody waits much, that all are busy.

    >>> bottleneck({"trainer": (0.43, "data"), "self-play": (0.05, "learning")})
    'trainer waits for data 43%'
    """
    if not waits:
        return ""
    role, (share, what) = max(waits.items(), key=lambda item: item[1][0])
    return f"{role} waits for {what} {share:.0%}" if share >= _WAIT_WORTH_NAMING else "nobody waits: all roles are busy"


def time_left(env_steps: int, budget: int, env_steps_per_s: float) -> float | None:
    """Seconds until the budget is played at the present rate; None if there is no rate yet."""
    if env_steps >= budget:
        return 0.0
    return (budget - env_steps) / env_steps_per_s if env_steps_per_s > 0 else None


def duration(seconds: float | None) -> str:
    """Seconds as a person says them.

    >>> duration(42), duration(187), duration(3723), duration(200_000), duration(None)
    ('42 s', '3 min 7 s', '1 h 2 min', '2 d 7 h', '?')
    """
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def new_messages(told: Sequence[str], messages: Sequence[str]) -> list[str]:
    """Those of the latest messages that come after the ones told, where the oldest may have been dropped."""
    for dropped in range(len(told) + 1):
        again = len(told) - dropped
        if list(told[dropped:]) == list(messages[:again]):
            return list(messages[again:])
    return list(messages)


class RecentRate:
    """How fast a counter has grown lately, over a window of time.

    Args:
        window: seconds looked back at.
    """

    def __init__(self, window: float = 30.0) -> None:
        self._window = window
        self._points: deque[tuple[float, float]] = deque()

    def update(self, seconds: float, count: float) -> float:
        """Takes the counter's value at a moment; returns its growth per second over the window."""
        self._points.append((seconds, count))
        while len(self._points) > 2 and self._points[1][0] <= seconds - self._window:
            self._points.popleft()
        (began, first), (ended, last) = self._points[0], self._points[-1]
        return (last - first) / (ended - began) if ended > began else 0.0


class LiveView:
    """Shows a run, on a terminal as a view that redraws itself, otherwise as a line every ten seconds.

        with LiveView() as view:
            while running:
                view.update(status)

    Where nothing can be shown, as the disk is full to which it is redirected, or nobody reads on, the run goes on.

    Args:
        console: where to; standard error, so that standard output stays for results, unless told otherwise.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _StandardError()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._last_line = -math.inf
        self._told: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        if self._live is not None:
            try:
                self._live.start()
            except OSError:  # lines, as soon as the terminal takes any
                self._live = None
        return self

    def update(self, status: Status) -> None:
        """Shows the present state; cheap enough to be called several times a second."""
        if self._live is not None:
            try:
                self._live.update(render(status), refresh=True)
                return
            except OSError:  # the terminal is gone; rich would keep each view for it
                with suppress(OSError):
                    self._live.stop()
                self._live = None
        for message in new_messages(self._told, status.messages):
            self._print(message)
        self._told = tuple(status.messages)
        if time.monotonic() - self._last_line >= _LINE_SECONDS:
            self._last_line = time.monotonic()
            self._print(plain_line(status))

    def _print(self, line: str) -> None:
        with suppress(OSError):  # the console keeps it for the next time
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            with suppress(OSError):
                self._live.stop()


class _StandardError(Console):
    def __init__(self) -> None:
        super().__init__(stderr=True)

    def on_broken_pipe(self) -> None:
        """Says no more; rich would end the process."""
        self.quiet = True


def plain_line(status: Status) -> str:
    """A run at one moment in one line, for logs."""
    left = duration(status.seconds_left)
    parts = [
        f"{status.env_steps:,} of {status.budget:,} env steps ({status.env_steps / status.budget:.0%}), {left} left",
        f"{status.training_steps:,} training steps",
        f"{status.env_steps_per_s:,.0f} env steps/s",
    ]
    if status.episode_returns:
        parts.append(f"episode return {_mean(status.episode_returns):z.1f}")
    if status.evaluations:
        parts.append(_told(status.evaluations[-1]))
    if status.bottleneck:
        parts.append(status.bottleneck)
    return "; ".join(parts)


def render(status: Status) -> Panel:
    """A run at one moment as a panel of at most 80 columns."""
    rows: list[Table | Text] = [_progress(status), Text(), _returns(status), Text(), _numbers(status)]
    if status.bottleneck:
        rows += [Text(), Text(status.bottleneck, style="yellow")]
    rows += [Text(message, style="dim") for message in list(status.messages)[-_MESSAGES_SHOWN:]]
    title = f"[bold]muzero_ray[/bold] · {status.game}"
    return Panel(Group(*rows), title=title, title_align="left", width=80, padding=(1, 2), border_style="cyan")


def _progress(status: Status) -> Table:
    grid = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=status.budget, completed=min(status.env_steps, status.budget), width=24)
    left = duration(status.seconds_left)
    steps = f"{status.env_steps:,} / {status.budget:,}"
    grid.add_row(bar, Text(steps, style="bold"), Text(f"{duration(status.seconds)}, {left} left", style="dim"))
    return grid


def _returns(status: Status) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=11)
    grid.add_column(width=22)
    grid.add_column()
    if status.episode_returns:
        now = f"{_mean(status.episode_returns):z.1f}"
        grid.add_row("self-play", Text(now, style="bold"), Text(sparkline(status.episode_returns), style="blue"))
    else:
        grid.add_row("self-play", Text("no game finished yet", style="dim"))
    if status.evaluations:
        newest = status.evaluations[-1]
        if newest.strength is not None:
            elos = [point.strength.elo for point in status.evaluations if point.strength]
            low, high = newest.strength.ci95
            now = f"{newest.strength.elo:.0f} ({low:.0f} to {high:.0f})"
            grid.add_row("Elo", Text(now, style="bold green"), Text(sparkline(elos), style="green"))
            return grid
        means = [point.mean for point in status.evaluations]
        now = f"{newest.mean:z.1f} ± {newest.std:.1f}"
        grid.add_row("evaluation", Text(now, style="bold green"), Text(sparkline(means), style="green"))
        grid.add_row("best", f"{max(means):z.1f}")
    else:
        grid.add_row("evaluation", Text("none yet", style="dim"))
    return grid


def _numbers(status: Status) -> Table:
    grid = Table.grid(padding=(0, 2))
    for width, justify in ((14, "left"), (12, "right"), (2, "left"), (14, "left"), (18, "right")):
        grid.add_column(width=width, justify=justify)  # type: ignore[arg-type]
    full = status.buffer_steps / status.buffer_capacity if status.buffer_capacity else 0.0
    left = {
        "env steps/s": f"{status.env_steps_per_s:,.0f}",
        "simulations/s": f"{status.simulations_per_s:,.0f}",
        "train steps/s": f"{status.training_steps_per_s:,.1f}",
    }
    right = {
        "replay ratio": f"{status.replay_ratio_held:.1f} of {status.replay_ratio_wanted:g}",
        "buffer": f"{full:.0%}, {status.buffer_mb:,.0f} MB",
        "memory": f"{status.memory_mb:,.0f} MB",
    }
    for (name, value), (other_name, other) in zip(left.items(), right.items(), strict=True):
        grid.add_row(Text(name, style="dim"), value, "", Text(other_name, style="dim"), other)
    grid.add_row(Text("train steps", style="dim"), f"{status.training_steps:,}")
    return grid


def _told(point: EvaluationPoint) -> str:
    if point.strength is not None:
        return f"Elo {point.strength.elo:.0f}"
    return f"evaluation {point.mean:z.1f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
