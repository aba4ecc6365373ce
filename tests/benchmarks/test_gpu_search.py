"""The benchmark of searches on a GPU runs where there is none, and its figures are those of what was searched."""

import json
import subprocess
import sys
from pathlib import Path

import gpu_search
import pytest


@pytest.mark.slow
def test_each_way_to_search_has_a_line_whose_shares_add_up(tmp_path):
    script = Path(gpu_search.__file__)
    options = ["--device", "cpu", "--games", "4", "--simulations", "3", "--seconds", "0.05", "--repeats", "2"]
    command = [sys.executable, script.name, *options, "--json", str(tmp_path / "found.json")]
    ended = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["how"] for row in rows] == ["float32 eager", "float32 eager x 2"]
    assert rows[0]["times plain"] == 1.0
    for row in rows:
        assert row["simulations/s"] > 0
        assert row["tree"] + row["network"] + row["copies"] == pytest.approx(1.0, abs=0.01)
        assert row["notes"] == []
    assert all(gpu_search.line_of(row) in ended.stdout for row in rows)
