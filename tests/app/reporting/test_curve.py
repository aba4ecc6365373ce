"""The learning curve: its statistics, and that it goes on where it stopped."""

import errno
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muzero_ray.app.reporting.curve import Curve, EvaluationPoint, Statistics, describe
from muzero_ray.app.saving.files import PatientFile
from muzero_ray.core.reports import Pairing, Strength


def test_statistics_of_four_returns_by_hand():
    # mean 2, deviations -1 -1 1 1: variance 4 / 3; t(3 degrees of freedom, 97.5%) = 3.1824, std / sqrt(4) = 0.57735.
    found = describe([1.0, 1.0, 3.0, 3.0])
    assert found.mean == 2.0
    assert found.std == pytest.approx(math.sqrt(4 / 3))
    assert found.ci95 == pytest.approx((2 - 3.1824 * 0.57735, 2 + 3.1824 * 0.57735), abs=1e-4)


def test_one_return_has_no_spread_and_no_interval():
    assert describe([5.0]) == Statistics(5.0, 0.0, None)
    with pytest.raises(ValueError, match="returns: wanted at least one, got none"):
        describe([])


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30))
def test_interval_holds_the_mean_and_moves_with_the_returns(returns):
    found, moved = describe(returns), describe([value + 10 for value in returns])
    assert found.ci95[0] <= found.mean <= found.ci95[1]
    assert moved.std == pytest.approx(found.std, abs=1e-6)
    assert moved.ci95[0] == pytest.approx(found.ci95[0] + 10, abs=1e-6)


def point(env_steps: int, *returns: float) -> EvaluationPoint:
    return EvaluationPoint.of(env_steps, env_steps // 8, env_steps / 100, returns)


def test_best_is_the_largest_mean_and_the_earliest_of_equals(tmp_path):
    curve = Curve(tmp_path / "curve.jsonl")
    assert curve.best is None
    assert [curve.add_evaluation(point(step, value)) for step, value in [(1, 5.0), (2, 7.0), (3, 7.0), (4, 6.0)]] == [
        *(True, True),
        *(False, False),
    ]
    assert curve.best.env_steps == 2


def test_resumed_curve_keeps_what_was_checkpointed_and_forgets_the_rest(tmp_path):
    path = tmp_path / "curve.jsonl"
    curve = Curve(path)
    curve.add_episodes(50, [1.0, 3.0])
    curve.add_evaluation(point(100, 10.0, 20.0))
    curve.add_evaluation(point(200, 30.0))
    curve.add_episodes(210, [9.0])
    curve.add_episodes(210, [])
    # The process is killed in the middle of a line, without closing the file.
    with path.open("a") as file:
        file.write('{"kind": "evalua')
    resumed = Curve(path, resume_at=150)
    assert resumed.evaluations == [point(100, 10.0, 20.0)]
    assert resumed.episodes == [(50, 2.0)]
    resumed.add_evaluation(point(180, 5.0))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["env_steps"] for row in rows] == [50, 100, 180]


def strength(elo: float, strongest: bool) -> Strength:
    ratings = {"random": (0.0, 0.0, 0.0), "agent:7": (elo, elo - 50, elo + 50)}
    return Strength(elo, (elo - 50, elo + 50), strongest, ratings, (Pairing("agent:7", "random", 3.5, 4),))


def rated(env_steps: int, elo: float, strongest: bool) -> EvaluationPoint:
    return EvaluationPoint.of(env_steps, env_steps // 8, 1.0, [0.0, 1.0], strength(elo, strongest))


def test_best_of_a_game_for_two_is_the_strongest_not_the_newest_nor_that_of_the_largest_mean(tmp_path):
    curve = Curve(tmp_path / "curve.jsonl")
    assert curve.add_evaluation(rated(100, 10.0, True))
    # Of both, the second is the stronger by all games so far, though its rating was lower when it came.
    assert curve.add_evaluation(rated(200, 5.0, True))
    assert not curve.add_evaluation(rated(300, 50.0, False))
    assert curve.best.env_steps == 200


def test_resumed_curve_knows_all_results_of_a_game_for_two(tmp_path):
    path = tmp_path / "curve.jsonl"
    curve = Curve(path)
    curve.add_evaluation(rated(100, 10.0, True))
    curve.add_evaluation(rated(200, 20.0, False))
    curve.close()
    resumed = Curve(path, resume_at=200)
    assert resumed.evaluations == [rated(100, 10.0, True), rated(200, 20.0, False)]
    assert resumed.pairings == (Pairing("agent:7", "random", 3.5, 4),) * 2
    assert Curve(path, resume_at=100).pairings == (Pairing("agent:7", "random", 3.5, 4),)


def test_new_curve_begins_empty_even_where_a_file_lies(tmp_path):
    Curve(tmp_path / "curve.jsonl").add_evaluation(point(1, 1.0))
    assert Curve(tmp_path / "curve.jsonl").evaluations == []
    assert (tmp_path / "curve.jsonl").read_text() == ""


def test_curve_that_cannot_be_written_on_resuming_is_left_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "curve.jsonl"
    curve = Curve(path)
    curve.add_evaluation(point(100, 10.0))
    curve.add_evaluation(point(200, 20.0))
    curve.close()
    before = path.read_text()
    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        Curve(path, resume_at=150)
    assert path.read_text() == before


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_costs_no_evaluation(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("muzero_ray.app.reporting.curve.PatientFile", lambda path: PatientFile(Path("/dev/full")))
    curve = Curve(tmp_path / "curve.jsonl")
    assert curve.add_evaluation(point(100, 10.0))
    curve.add_episodes(120, [1.0])
    curve.close()
    assert [each.env_steps for each in curve.evaluations] == [100]
    assert len(caplog.records) == 1
