"""The dashboard for Grafana asks for metrics that a run exports."""

import json
import re
import runpy
from pathlib import Path

from muzero_ray.app.reporting.metrics import METRICS
from muzero_ray.app.reporting.ray_metrics import COUNTERS, HISTOGRAMS, exported_name

DASHBOARD = Path(__file__).parents[1] / "docker/grafana/muzero_ray.json"


def test_every_metric_that_the_dashboard_asks_for_is_one_that_a_run_exports() -> None:
    text = DASHBOARD.read_text()
    exported = {f"ray_{exported_name(name)}" for name in METRICS}
    exported |= {f"ray_{exported_name(name)}_total" for name in COUNTERS}
    exported |= {f"ray_{exported_name(name)}_bucket" for name in HISTOGRAMS}
    asked = set(re.findall(r"\bray_muzero_\w+", text))
    assert asked - exported == set()
    assert len(asked) >= 40


def test_the_dashboard_is_what_its_maker_makes_of_the_metrics_there_are() -> None:
    made = runpy.run_path(str(DASHBOARD.with_name("make_dashboard.py")))["dashboard"]()
    assert json.loads(DASHBOARD.read_text()) == made, "run python docker/grafana/make_dashboard.py"


def test_panels_of_the_dashboard_have_places_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        cells = {(x + dx, y + dy) for dx in range(w) for dy in range(h)}
        assert x + w <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
