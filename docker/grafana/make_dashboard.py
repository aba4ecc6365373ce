"""Makes the dashboard of Grafana from the names of the metrics: `python docker/grafana/make_dashboard.py`.

Writes muzero_ray.json beside this file. A metric that is new in `muzero_ray/app/reporting/metrics.py` has a panel after
that.
"""

import json
from pathlib import Path
from typing import Any

from muzero_ray.app.reporting.metrics import METRICS
from muzero_ray.app.reporting.ray_metrics import COUNTERS, HISTOGRAMS, exported_name

TARGET = Path(__file__).with_name("muzero_ray.json")
AT_A_GLANCE = (
    "progress/env_steps",
    "progress/training_steps",
    "evaluation/mean_return",
    "speed/env_steps",
    "speed/training_steps",
    "system/restarts",
)
UNITS = {"s": "s", "MB": "decmbytes", "share": "percentunit", "1/s": "cps"}
"""What Grafana calls them; the others are shown as plain numbers."""
NODES = (
    ("CPU of each node", "ray_node_cpu_utilization", "percent"),
    ("Memory used of each node", "ray_node_mem_used", "bytes"),
    ("GPU of each node", "ray_node_gpus_utilization", "percent"),
    ("Object store", "sum by (instance) (ray_object_store_memory)", "bytes"),
)
WIDTH = 24


def selected(name: str) -> str:
    """A series of ours, of the runs that are chosen at the top."""
    return f'ray_{exported_name(name)}{{run=~"$run"}}'


def panel(title: str, queries: dict[str, str], unit: str = "", meaning: str = "", kind: str = "timeseries") -> dict:
    """A panel without a place; `queries` by their legends."""
    targets = [
        {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": {"uid": "prometheus"}}
        for index, (legend, query) in enumerate(queries.items())
    ]
    about = {"title": title, "description": meaning, "type": kind, "datasource": {"uid": "prometheus"}}
    defaults = {"unit": UNITS.get(unit, unit if unit in ("percent", "bytes") else "short"), "custom": {}}
    if kind == "timeseries":
        defaults["custom"] = {"lineWidth": 2, "fillOpacity": 0}
    return {**about, "targets": targets, "fieldConfig": {"defaults": defaults, "overrides": []}}


def rows() -> dict[str, tuple[int, int, list[dict]]]:
    """Title of each row, with the width and height of its panels, and these."""
    found: dict[str, tuple[int, int, list[dict]]] = {}
    glance = [panel(name, {"{{run}}": selected(name)}, METRICS[name].unit, kind="stat") for name in AT_A_GLANCE]
    found["at a glance"] = (WIDTH // len(AT_A_GLANCE), 4, glance)
    for name, metric in METRICS.items():
        group = name.partition("/")[0].replace("_", "-")
        about = f"{metric.meaning} [{metric.unit}]"
        one = panel(name, {"{{run}}": selected(name)}, metric.unit, about)
        found.setdefault(group, (6, 6, []))[2].append(one)
    times = []
    for name, metric in HISTOGRAMS.items():
        buckets = f'sum by (le) (rate(ray_{exported_name(name)}_bucket{{run=~"$run"}}[1m]))'
        shares = {"median": 0.5, "99%": 0.99}
        queries = {legend: f"histogram_quantile({share}, {buckets})" for legend, share in shares.items()}
        times.append(panel(name, queries, metric.unit, metric.meaning))
    found["times"] = (8, 6, times)
    counts = []
    for name, metric in COUNTERS.items():
        by, legend = ("role", "{{role}}") if name == "restarts" else ("run", "{{run}}")
        query = f'sum by ({by}) (increase(ray_{exported_name(name)}_total{{run=~"$run"}}[5m]))'
        counts.append(panel(f"{name}, in five minutes", {legend: query}, meaning=metric.meaning))
    found["counts"] = (6, 6, counts)
    found["nodes"] = (6, 6, [panel(title, {"{{instance}}": query}, unit) for title, query, unit in NODES])
    return found


def dashboard() -> dict[str, Any]:
    """The whole of it, as Grafana reads it."""
    panels: list[dict] = []
    y = 0
    for title, (width, height, row) in rows().items():
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}, "panels": []})
        y += 1
        for index, one in enumerate(row):
            line, column = divmod(index, WIDTH // width)
            panels.append({**one, "gridPos": {"x": column * width, "y": y + line * height, "w": width, "h": height}})
        y += -(-len(row) // (WIDTH // width)) * height
    numbered = [{"id": number, **one} for number, one in enumerate(panels, start=1)]
    run = {
        "name": "run",
        "type": "query",
        "datasource": {"uid": "prometheus"},
        "query": "label_values(ray_muzero_progress_env_steps, run)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "title": "muzero_ray",
        "uid": "muzero-ray",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [run]},
        "panels": numbered,
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(dashboard(), indent=1) + "\n")
