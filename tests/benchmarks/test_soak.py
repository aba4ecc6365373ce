"""What the soak benchmark makes of its samples, and whether it sees what is left of a run."""

import json
import subprocess
import sys

import numpy as np
import psutil
import pytest
import soak


def sample(seconds: float, rss: float, name: str = "Trainer", pid: int = 7):
    process = {"pid": pid, "name": name, "rss": int(rss * 1e6), "pss": int(rss * 1e6), "uss": int(rss * 5e5)}
    return {
        "seconds": seconds,
        "processes": [process, {"pid": 8, "name": "raylet", "rss": 10_000_000, "pss": 10_000_000, "uss": 10_000_000}],
        "ray_folder_bytes": int(1e6 + 1e3 * seconds),
        "shared_memory_bytes": 5_000_000,
    }


def test_the_slope_is_that_of_least_squares_with_its_standard_error():
    # Means 1.5 and 2; deviations -1.5 -.5 .5 1.5 and -1 -1 1 1: sum of products 4, of squares 5, so 0.8 per second;
    # residuals .2 -.6 .6 -.2, their squares 0.8; sqrt(0.8 / 2 / 5).
    rise, error = soak.slope([0, 1, 2, 3], [1, 1, 3, 3])
    assert rise == pytest.approx(0.8)
    assert error == pytest.approx(0.08**0.5)


def test_the_standard_error_is_how_far_slopes_of_noise_lie_apart():
    rng = np.random.default_rng(0)
    seconds = np.arange(60.0)
    found = [soak.slope(seconds, 2.0 * seconds + rng.normal(size=60)) for _ in range(500)]
    rises, errors = np.transpose(found)
    assert rises.mean() == pytest.approx(2.0, abs=0.01)
    assert errors.mean() == pytest.approx(rises.std(), rel=0.1)


def test_two_points_have_no_slope_that_could_be_trusted():
    with pytest.raises(ValueError, match="at least 3 points, got 2"):
        soak.slope([0, 1], [0, 1])


def test_the_warm_up_is_left_out_of_the_slope():
    # An hour: 900 s of growth by 0.1 MB a second, then 2 MB per hour.
    hour = [sample(t, 0.1 * t if t < 900 else 90 + (t - 900) * 2 / 3600) for t in range(0, 3601, 10)]
    rows = {(row["name"], row["measure"]): row for row in soak.rows(hour)}
    trainer = rows["Trainer 7", "rss"]
    assert trainer["start"] == 0.0
    assert trainer["warm"] == 90.0
    assert trainer["end"] == pytest.approx(91.5, abs=1e-3)
    assert trainer["slope"] == pytest.approx(2.0, abs=1e-3)
    assert rows["Trainer 7", "uss"]["slope"] == pytest.approx(1.0, abs=1e-3)
    assert rows["head and actors", "pss"]["slope"] == pytest.approx(2.0, abs=1e-3)
    assert rows["Ray's own processes", "pss"]["slope"] == 0.0
    assert rows["Ray's folder", "bytes"]["slope"] == pytest.approx(3.6)
    assert rows["shared memory", "bytes"]["end"] == 5.0


def test_a_process_that_came_late_or_left_early_has_a_row_without_a_slope():
    samples = [sample(t, 10.0, pid=7 if t < 300 else 9) for t in range(0, 361, 10)]
    rows = {row["name"]: row for row in soak.rows(samples) if row["measure"] == "rss"}
    assert rows["Trainer 7"]["slope"] is None
    assert rows["Trainer 9"]["slope"] is None
    assert rows["raylet 8"]["end"] == 10.0


def test_the_report_is_made_from_a_folder_with_samples_alone(tmp_path, capsys, monkeypatch):
    lines = [json.dumps(sample(t, 50.0)) for t in range(0, 1201, 10)]
    (tmp_path / "soak.jsonl").write_text("\n".join(lines) + '\n{"seconds": 12')
    monkeypatch.setattr(sys, "argv", ["soak.py", "report", str(tmp_path)])
    assert soak.main() == 0
    told = capsys.readouterr().out
    assert "20 min, 121 samples" in told
    assert "Trainer 7" in told
    assert "+0.00" in told


def test_a_file_without_samples_is_refused(tmp_path):
    (tmp_path / "soak.jsonl").write_text("")
    with pytest.raises(ValueError, match="wanted samples"):
        soak.read_samples(tmp_path / "soak.jsonl")


def test_a_process_that_writes_into_the_folder_of_a_session_belongs_to_it(tmp_path):
    with (tmp_path / "worker.out").open("w") as output:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=output)
    try:
        seen = psutil.Process(process.pid)
        assert soak._belongs_to(seen, tmp_path)
        assert not soak._belongs_to(seen, tmp_path / "other")
    finally:
        process.communicate(b"\n")
    assert not soak._belongs_to(seen, tmp_path)


def test_sizes_of_files_add_up_and_links_count_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"x" * 1000)
    (tmp_path / "two").write_bytes(b"x" * 24)
    (tmp_path / "link").symlink_to(tmp_path / "two")
    assert soak.folder_bytes(tmp_path) == 1024
