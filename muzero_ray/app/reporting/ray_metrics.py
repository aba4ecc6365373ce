"""A run's numbers on Ray's metrics ports, for Prometheus and Grafana.

Only for runs over Ray, and only from the head, which is told of everything already: nothing is sent to an
actor or measured for this. What the numbers are is `metrics`; all have the tags `run` and `game`. Ray puts
`ray_` in front of their names: `loss/total` becomes the gauge `ray_muzero_loss_total`, the counter
`restarts` becomes `ray_muzero_restarts_total`.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from muzero_ray.app.reporting.metrics import METRICS, Metric

logger = logging.getLogger(__name__)

COUNTERS: dict[str, Metric] = {
    "restarts": Metric("processes", "actors' processes started again after a crash, by role"),
    "trajectories_added": Metric("pieces", "games and pieces of games that the buffer took"),
    "trajectories_left_out": Metric("pieces", "those that it left out: they came again, or their beginning was lost"),
    "evaluations": Metric("evaluations", "evaluations of the greedy agent"),
}
"""Every counter, by name: it counts from the start of the head. That of restarts has one more tag, `role`."""

HISTOGRAMS: dict[str, Metric] = {
    "add_latency_seconds": Metric("s", "time that the buffer took to store a delivery, its waiting not included"),
    "sample_latency_seconds": Metric("s", "time that the buffer took to make a batch"),
    "search_latency_seconds": Metric("s", "time of the searches of one move of all games of an actor"),
}
"""Every histogram, by name. Ray takes the middle of its bucket for each value, so sums are approximate."""

_BUCKETS = [round(first * 10.0**power, 6) for power in range(-4, 1) for first in (1.0, 2.0, 5.0)]
"""Upper bounds in seconds, from 0.1 ms to 5 s."""


def exported_name(name: str) -> str:
    """A metric's name as Ray is told it.

    >>> exported_name("replay/weights_lag")
    'muzero_replay_weights_lag'
    """
    return "muzero_" + name.replace("/", "_")


class RayMetrics:
    """Exports the numbers of one run; a failure in here is told once and costs the run nothing.

    Args:
        run: name of the run's folder.
        game: what is played.
    """

    def __init__(self, run: str, game: str) -> None:
        self._tags = {"run": run, "game": game}
        self._made: dict[str, Any] = {}
        self._held: dict[str, float] = {}
        self._counted: dict[tuple[str, str], int] = {}
        self._told = False

    def set(self, values: Mapping[str, float]) -> None:
        """Sets gauges, by their names in `METRICS`, and all others once more; leaves out what is not finite.

        Ray forgets a gauge that is not set for some seconds: an evaluation would be seen for as long only.
        """
        from ray.util.metrics import Gauge  # here and below, so that a run in one process needs no Ray

        def work() -> None:
            known = {**self._held, **values}
            self._held = {name: float(value) for name, value in known.items() if math.isfinite(value)}
            for name, value in self._held.items():
                self._metric(name, METRICS[name], lambda *about: Gauge(*about)).set(value, self._tags)

        self._quietly(work)

    def count_to(self, name: str, total: int, role: str = "") -> None:
        """Brings a counter of `COUNTERS` to a total since the head was started; `role` is for restarts alone."""
        from ray.util.metrics import Counter

        def work() -> None:
            tags = {**self._tags, "role": role} if role else self._tags
            counter = self._metric(name, COUNTERS[name], lambda *about: Counter(*about), tags)
            if total > self._counted.get((name, role), 0):
                counter.inc(total - self._counted.get((name, role), 0), tags)
                self._counted[name, role] = total

        self._quietly(work)

    def observe(self, name: str, values: Iterable[float]) -> None:
        """Adds values to a histogram of `HISTOGRAMS`."""
        from ray.util.metrics import Histogram

        def work() -> None:
            histogram = self._metric(
                name, HISTOGRAMS[name], lambda name, about, tags: Histogram(name, about, _BUCKETS, tags)
            )
            for value in values:
                histogram.observe(float(value), self._tags)

        self._quietly(work)

    def _metric(
        self, name: str, metric: Metric, make: Callable[..., Any], tags: Mapping[str, str] | None = None
    ) -> Any:
        if name not in self._made:
            about = f"{metric.meaning} [{metric.unit}]"
            self._made[name] = make(exported_name(name), about, tuple(tags or self._tags))
        return self._made[name]

    def _quietly(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # numbers for a dashboard are no reason to lose a run
            if not self._told:
                self._told = True
                logger.warning("the metrics for Prometheus are incomplete: %s: %s", type(error).__name__, error)
                logger.debug("where it came from", exc_info=error)
