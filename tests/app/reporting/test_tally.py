from dataclasses import replace

import pytest

from muzero_ray.app.reporting.tally import Tally
from muzero_ray.core.reports import BufferStatus, ReanalyzeReport, TrainReport
from muzero_ray.core.types import Episode, SelfPlayReport

STATUS = BufferStatus(env_steps=640, num_steps=600, memory_bytes=2_000_000, held_ratios={"train": 2.0})


def played(*, seconds=4.0, env_steps=80, **changes):
    return SelfPlayReport(
        env_steps, 10 * env_steps, 0, seconds={"search": seconds / 2, "games": seconds / 2}, **changes
    )


def after_ten_seconds(tally, *reports):
    tally.measure_speeds(0.0)
    for report in reports:
        {SelfPlayReport: tally.self_play, TrainReport: tally.training, ReanalyzeReport: tally.reanalysis}[type(report)](
            report
        )
    tally.measure_speeds(10.0)
    return tally


def test_speeds_and_waits_are_of_the_time_that_passed():
    tally = Tally(segment_moves=8)
    tally.num_actors = 2
    after_ten_seconds(tally, played(), played(), TrainReport(30, 30, 7.0, 3.0, False))
    assert [tally.speed(what) for what in ("env_steps", "simulations", "training_steps")] == [16, 160, 3]
    # Two actors played for 8 of their 20 seconds; the trainer waited for 3 of its 10.
    assert tally.waits() == pytest.approx({"trainer": 0.3, "self-play": 0.6})
    assert tally.bottleneck() == "self-play waits for training 60%"


def test_one_process_says_what_takes_most_of_its_time():
    tally = after_ten_seconds(Tally(8), played(seconds=3.0), TrainReport(30, 30, 5.0, 0.0, False))
    assert tally.bottleneck() == "one process: training takes 50% of the time"


def test_before_training_the_buffer_is_filled():
    assert after_ten_seconds(Tally(8), played()).bottleneck() == "filling the replay buffer before training starts"


def test_time_left_is_told_when_training_has_set_the_pace_for_a_while():
    tally, left = Tally(segment_moves=8), []
    for second in range(120):
        filling = second < 30
        tally.self_play(played(env_steps=1000 if filling else 20))
        if not filling:
            tally.training(TrainReport(second, 1, 1.0, 0.0, False))
        tally.buffer(replace(STATUS, env_steps=30_000 + 20 * (second - 29) if not filling else 1000 * (second + 1)))
        tally.measure_speeds(float(second))
        left.append(tally.seconds_left(31_820))
    assert left[:40] == [None] * 40
    assert left[40:] == pytest.approx([91.0 - second + 29 for second in range(40, 120)])
    assert left[-1] == pytest.approx(1)
    assert tally.seconds_left(30_000) == 0


def test_what_is_written_is_a_mean_of_what_is_new_and_counts_are_of_all():
    tally = Tally(segment_moves=8)
    tally.self_play(played(seconds=16.0, episodes=(Episode((10.0,), 5, 0, False), Episode((20.0,), 7, 0, False))))
    first = tally.metrics(STATUS)
    assert (first["self_play/return"], first["self_play/length"], first["progress/games"]) == (15, 6, 2)
    assert first["self_play/search_seconds"] == 1.0  # half of 16 s, in 8 moves
    tally.forget_new()
    assert tally.metrics(STATUS).keys() == first.keys() - {
        "self_play/return",
        "self_play/length",
        "self_play/search_seconds",
    }
    tally.self_play(played(episodes=(Episode((4.0,), 9, 0, False),)))
    assert tally.metrics(STATUS)["self_play/return"] == 4
    assert tally.metrics(STATUS)["progress/games"] == 3
    assert list(tally.returns) == [10, 20, 4]


def test_resignations_are_shares_of_new_games_and_of_all_that_were_tested():
    tally = Tally(segment_moves=8)
    assert tally.resignations() == {}
    games = tuple(Episode((1.0,), 5, 0, False) for _ in range(4))
    tally.self_play(played(episodes=games, resigned=3))
    assert tally.resignations() == {"self_play/resigned": 0.75}
    tally.forget_new()
    tally.self_play(played(episodes=games, resigned=1, resignations_tested=5, resignations_false=1))
    assert tally.resignations() == {"self_play/resigned": 0.25, "self_play/false_resignations": 0.2}
    tally.forget_new()
    tally.self_play(played(episodes=games, resignations_tested=5))
    assert tally.resignations() == {"self_play/resigned": 0, "self_play/false_resignations": 0.1}
