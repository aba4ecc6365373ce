"""What the benchmark of the board games reads out of a run's curves."""

import numpy as np
from boards import summarize, table
from candidates import differences

from muzero_ray.mcts.search import SearchResult


def test_a_run_is_summarized_by_its_curves():
    seconds = range(0, 1000, 100)
    falling = [(float(t), 4.0 - t / 300) for t in seconds]  # 4.0, 3.67, ... 1.0
    row = summarize(
        {
            "loss/policy": falling,
            "loss/value": falling,
            "system/memory": [(float(t), 1000.0 + t) for t in seconds],
            "replay/memory": [(float(t), t * 0.9) for t in seconds],
            "speed/simulations": [(float(t), 5000.0) for t in seconds],
            "speed/env_steps": [(float(t), 50.0) for t in seconds],
            "speed/training_steps": [(float(t), 12.34) for t in seconds],
            "progress/games": [(float(t), t / 10) for t in seconds],
            "self_play/length": [(0.0, 40.0), (900.0, 61.0)],
        }
    )
    assert row["loss/policy first fifth"] == round((4.0 + 4.0 - 1 / 3) / 2, 3)
    assert row["loss/value last fifth"] == round((4.0 - 8 / 3 + 1.0) / 2, 3)
    assert row["memory MB"] == 1900
    assert row["growth but for the buffer, second half, MB"] == ((1900 - 810) - (1500 - 450))
    assert (row["simulations/s"], row["env_steps/s"], row["training_steps/s"]) == (5000, 50, 12.3)
    assert row["games/hour"] == 360  # 90 games in 900 seconds
    assert row["moves per game"] == 61
    assert "| 360 |" in table([{"game": "go9", **row}])


def test_a_run_that_wrote_nothing_is_told_as_such():
    row = summarize({})
    assert set(row.values()) == {None}


def test_two_searches_are_compared_by_the_share_that_moved():
    def result(policy, visits, action):
        return SearchResult(
            actions=np.array([action], np.int32),
            search_policies=np.array([policy], np.float32),
            visit_counts=np.array([visits], np.int32),
            root_values=np.zeros(1, np.float32),
            raw_values=np.zeros(1, np.float32),
        )

    # A quarter of the policy, and 2 of 10 visits, are elsewhere.
    told = differences(result([0.5, 0.5, 0.0], [6, 4, 0], 0), result([0.5, 0.25, 0.25], [6, 2, 2], 0))
    assert "mean 0.2500, largest 0.2500; of the root's visits: 0.2000; same action in 100%" in told
