"""What is computed from learning curves, on curves small enough to check by hand."""

import json
import os

import numpy as np
import pytest
from learning import start_up_bound
from learning_curves import (
    Curve,
    Row,
    bootstrap,
    censored_median,
    convert,
    curve_path,
    on_grid,
    reach,
    read_curve,
    read_curves,
    write_curve,
)
from learning_report import MAX_BYTES, draw, table


def curve(agent: str, seed: int, means: list[float], final: float | None, second: float = 1.0) -> Curve:
    """Evaluations at 10,000, 20,000, ... env steps, `second` apart; the final one follows at once."""
    rows = [Row(10_000 * n, second * n, mean, 0.0, (mean,) * 2) for n, mean in enumerate(means, start=1)]
    if final is not None:
        rows.append(Row(10_000 * len(means), second * len(means) + 0.5, final, 0.0, (final,) * 3, final=True))
    return Curve("cartpole", agent, seed, tuple(rows))


def evaluation(env_steps: int, seconds: float, mean: float) -> dict:
    """A line of a run's own curve."""
    returns = [mean - 1, mean + 1]
    return {
        "kind": "evaluation",
        "env_steps": env_steps,
        "training_steps": env_steps // 8,
        "seconds": seconds,
        "mean": mean,
        "std": 1.5,
        "returns": returns,
    }


def test_a_run_reaches_the_threshold_at_its_first_evaluation_at_or_above_it():
    run = curve("ppo", 0, [100.0, 475.0, 300.0, 500.0], final=490.0, second=2.0)
    assert reach(run, 475.0) == run.rows[1]
    assert (run.rows[1].env_steps, run.rows[1].seconds) == (20_000, 4.0)


def test_a_run_that_reaches_it_only_in_the_final_evaluation_is_censored():
    assert reach(curve("ppo", 0, [100.0, 474.9], final=500.0), 475.0) is None


@pytest.mark.parametrize(
    ("values", "median"),
    [
        ([3.0, 1.0, 2.0], 2.0),
        ([1.0, None, 2.0], 2.0),  # sorted: 1, 2, later
        ([None, 1.0, None], None),  # sorted: 1, later, later
        ([1.0, 3.0], 2.0),
        ([1.0, 2.0, None, None], None),  # between 2 and later
    ],
)
def test_a_censored_run_is_later_than_every_other(values, median):
    assert censored_median(values) == median


def test_the_bootstrap_of_equal_values_has_no_width():
    np.testing.assert_array_equal(bootstrap(np.array([7.0, 7.0, 7.0])), [7.0, 7.0])


def test_the_bootstrap_of_two_values_reaches_from_one_to_the_other():
    # Both draws are the same value with probability 1/4 for each, which is more than 2.5%.
    np.testing.assert_array_equal(bootstrap(np.array([0.0, 1.0])), [0.0, 1.0])


def test_the_bootstrap_agrees_with_the_normal_approximation_on_many_values():
    values = np.random.default_rng(0).normal(10.0, 2.0, size=400)
    half = 1.96 * values.std() / 20  # sqrt(400)
    np.testing.assert_allclose(bootstrap(values), [values.mean() - half, values.mean() + half], atol=0.02)


def test_the_bootstrap_is_the_same_every_time_and_by_column():
    values = np.random.default_rng(1).normal(size=(5, 3))
    interval = bootstrap(values)
    assert interval.shape == (2, 3)
    np.testing.assert_allclose(interval[:, 1], bootstrap(values[:, 1]), rtol=1e-12)
    np.testing.assert_array_equal(interval, bootstrap(values))


def test_the_bootstrap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="wanted at least one row, got none"):
        bootstrap(np.empty(0))


def test_our_curve_is_converted_with_the_start_up_in_its_seconds():
    lines = [
        {"kind": "episodes", "env_steps": 500, "count": 3, "mean": 20.0},
        evaluation(1000, 5.0, 30.0),
        evaluation(2000, 9.0, 40.0),
        {"kind": "episodes", "env_steps": 2000, "count": 3, "mean": 35.0},
    ]
    rows = convert(lines, {"finished": True}, seconds_before=4.5)
    assert rows == [
        Row(1000, 9.5, 30.0, 1.5, (29.0, 31.0), final=False),
        Row(2000, 13.5, 40.0, 1.5, (39.0, 41.0), final=True),
    ]


@pytest.mark.parametrize("summary", [{"finished": False}, {}])
def test_a_run_that_was_stopped_is_not_converted(summary):
    with pytest.raises(ValueError, match="wanted a finished run"):
        convert([evaluation(1000, 5.0, 30.0)], summary, seconds_before=0.0)


def test_the_start_of_a_runs_clock_is_told_by_its_newest_evaluation(tmp_path):
    path = tmp_path / "curve.jsonl"
    path.write_text(json.dumps({"kind": "episodes", "env_steps": 5, "count": 1, "mean": 9.0}) + "\n")
    assert start_up_bound(path) == float("inf")
    path.write_text("".join(f"{json.dumps(evaluation(1000 * n, 5.0 * n, 30.0))}\n" for n in (1, 2)))
    os.utime(path, (1_000_000.0, 1_000_000.0))
    assert start_up_bound(path) == 999_990.0  # 10 s before the file was changed


def test_a_curve_is_read_as_it_was_written(tmp_path):
    run = curve("muzero", 3, [1.0, 2.0], final=3.0)
    path = curve_path(tmp_path, "cartpole", "muzero", 3)
    write_curve(path, run.rows)
    assert read_curve(path) == run
    assert read_curves(tmp_path, "cartpole") == [run]
    assert read_curves(tmp_path, "lunarlander") == []


def test_a_curve_cut_off_in_a_line_is_not_finished(tmp_path):
    run = curve("ppo", 0, [1.0, 2.0], final=3.0)
    path = curve_path(tmp_path, "cartpole", "ppo", 0)
    write_curve(path, run.rows)
    path.write_text(path.read_text()[:-10])
    found = read_curve(path)
    assert found.rows == run.rows[:2]
    assert run.finished
    assert not found.finished


def test_means_are_taken_where_all_runs_have_values():
    # The second run's evaluations are 2 s apart: 2, 4 and (final) 4.5 s; the first ends at 3.5 s.
    runs = [curve("ppo", 0, [0.0, 10.0, 20.0], final=20.0), curve("ppo", 1, [0.0, 10.0], final=10.0, second=2.0)]
    grid, returns = on_grid(runs, "seconds", points=4)
    np.testing.assert_allclose(grid, [2.0, 2.5, 3.0, 3.5])
    np.testing.assert_allclose(returns, [[10.0, 15.0, 20.0, 20.0], [0.0, 2.5, 5.0, 7.5]])


def test_runs_that_do_not_overlap_have_no_mean():
    runs = [curve("ppo", 0, [0.0], final=1.0), curve("ppo", 1, [0.0], final=1.0, second=9.0)]
    grid, returns = on_grid(runs, "seconds")
    assert (grid.shape, returns.shape) == ((0,), (2, 0))


def test_the_table_names_censored_and_unfinished_runs():
    curves = [
        curve("ppo", 0, [100.0, 480.0], final=500.0, second=10.0),
        curve("ppo", 1, [480.0, 480.0], final=476.0, second=10.0),
        curve("ppo", 2, [100.0, 100.0], final=90.0, second=10.0),
        curve("ppo", 3, [100.0], final=None),
        curve("muzero", 0, [100.0, 200.0], final=250.0),
    ]
    head, rule, ours, ppo, _, unfinished = table("cartpole", curves).splitlines()
    assert head.startswith("| agent | seeds | env steps to 475 | seconds to 475 |")
    assert rule.count("---") == head.count("|") - 1
    assert ours == "| muzero | 1 | not reached | not reached | 0 | 0: 250.0 | 250.0 | 0 of 1 | 2 |"
    # Reached after 20,000, after 10,000 and never: the median is 20,000. Finals: (500 + 476 + 90) / 3 = 355.3.
    assert ppo == ("| ppo | 3 | 20,000 | 20 | 2 | 0: 500.0, 1: 476.0, 2: 90.0 | 355.3 [90.0, 500.0] | 2 of 3 | 20 |")
    assert unfinished == "Not finished, and left out: ppo 3."


def test_the_picture_is_small_even_of_noise(tmp_path):
    rng = np.random.default_rng(0)
    curves = [
        curve(agent, seed, (500 * rng.random(100)).tolist(), final=100.0)
        for agent in ("muzero", "ppo", "dqn")
        for seed in range(5)
    ]
    draw(tmp_path / "cartpole.png", "cartpole", curves)
    assert 10_000 < (tmp_path / "cartpole.png").stat().st_size <= MAX_BYTES
