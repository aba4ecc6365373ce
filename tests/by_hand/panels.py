"""Whether every panel of the Grafana dashboard has something to show: `python tests/by_hand/panels.py PORT`.

Starts Prometheus (of that name on the PATH; Debian has it), lets it ask a node of Ray for its numbers at PORT, as
docker/prometheus.yaml does, and puts to it the query of every panel of docker/grafana/muzero_ray.json, with all runs
chosen. Prints what each answers, and at the end the panels that stay empty. Some should: of a game for one player
there is no Elo, and of a machine without a GPU no use of it. The port of a run's own cluster is in `ray.nodes()`, as
`MetricsExportPort`; a cluster of `ray start --metrics-export-port=8080` has that one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

DASHBOARD = Path(__file__).resolve().parents[2] / "docker" / "grafana" / "muzero_ray.json"
SCRAPES = """\
global: {{scrape_interval: 5s}}
scrape_configs:
  - job_name: ray
    static_configs: [{{targets: ["{node}"]}}]
"""


def queries() -> list[tuple[str, str]]:
    """Title and query of every panel."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        (panel["title"], target["expr"].replace('"$run"', '".*"'))
        for panel in panels
        for target in panel.get("targets", ())
    ]


def ask(server: str, query: str) -> list[str]:
    """The values that a query has now, one for each series."""
    url = f"{server}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        result = json.load(answer)
    if result["status"] != "success":
        raise RuntimeError(f"{query}: {result}")
    return [series["value"][1] for series in result["data"]["result"] if series["value"][1] != "NaN"]


def main() -> int:
    """Asks, prints, and returns 1 if Prometheus got nothing at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("node", help="HOST:PORT, or PORT on this machine")
    parser.add_argument("--seconds", type=float, default=90, help="how long to let numbers come in (default: 90)")
    parser.add_argument("--port", type=int, default=9090, help="of Prometheus itself (default: 9090)")
    chosen = parser.parse_args()
    node = chosen.node if ":" in chosen.node else f"127.0.0.1:{chosen.node}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "prometheus.yaml")
        config.write_text(SCRAPES.format(node=node))
        options = [f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
        address = f"127.0.0.1:{chosen.port}"
        server = subprocess.Popen(
            ["prometheus", *options, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL
        )
        try:
            time.sleep(chosen.seconds)
            answers = [(title, query, ask(f"http://{address}", query)) for title, query in queries()]
        finally:
            server.terminate()
            server.wait()
    for title, query, values in answers:
        print(f"{title:36} {', '.join(values[:3]) or '-':40} {query}")
    empty = [title for title, _, values in answers if not values]
    print(f"{len(answers) - len(empty)} of {len(answers)} queries have an answer; none: {', '.join(empty) or 'no one'}")
    return 0 if len(empty) < len(answers) else 1


if __name__ == "__main__":
    sys.exit(main())
