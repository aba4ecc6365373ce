"""What the user sees: numbers in words, and a view that fits the terminal."""

import errno
import io
import math
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from muzero_ray.app.reporting.curve import EvaluationPoint
from muzero_ray.app.reporting.live_view import (
    LiveView,
    RecentRate,
    Status,
    bottleneck,
    duration,
    new_messages,
    plain_line,
    render,
    sparkline,
    time_left,
)
from muzero_ray.core.reports import Strength


def status(**changes) -> Status:
    values = {
        "game": "lunarlander",
        "env_steps": 38_200,
        "budget": 100_000,
        "training_steps": 4_775,
        "seconds": 312.0,
        "seconds_left": 100.0,
        "env_steps_per_s": 618.0,
        "simulations_per_s": 9_888.0,
        "training_steps_per_s": 77.2,
        "replay_ratio_wanted": 32.0,
        "replay_ratio_held": 31.8,
        "buffer_steps": 37_200,
        "buffer_capacity": 200_000,
        "buffer_mb": 12.3,
        "memory_mb": 1_234.0,
        "episode_returns": [-150.0, -50.0, 50.0],
        "evaluations": [EvaluationPoint.of(10_000, 1_250, 80.0, [100.0, 140.0])],
        "bottleneck": "trainer waits for data 43%",
        "messages": ["self_play_1 is back"],
    }
    return Status(**{**values, **changes})


def shown(present: Status, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(render(present))
    return console.file.getvalue()


def test_a_game_for_two_shows_its_strength_instead_of_returns():
    strength = Strength(150.0, (100.0, 200.0), True, {"random": (0.0, 0.0, 0.0)}, ())
    present = status(evaluations=[EvaluationPoint.of(10_000, 1_250, 80.0, [1.0, -1.0], strength)])
    assert "150 (100 to 200)" in shown(present)
    assert "Elo 150" in plain_line(present)


def test_sparkline_goes_from_the_smallest_to_the_largest():
    # 0, 3, 7 on a scale of 7 steps are the bars 0, 3 and 7.
    assert sparkline([0.0, 3.0, 7.0]) == "▁▄█"
    assert sparkline([-1.0, 1.0]) == "▁█"


def test_sparkline_of_equal_values_is_level_and_of_none_is_empty():
    assert len(set(sparkline([4.0, 4.0, 4.0]))) == 1
    assert sparkline([]) == ""


def test_sparkline_shows_the_newest_values_and_a_blank_for_what_is_not_finite():
    assert sparkline([9.0, 0.0, 1.0], width=2) == "▁█"
    assert sparkline([0.0, math.nan, 1.0, math.inf]) == "▁ █ "
    assert sparkline([math.nan]) == " "


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=50))
def test_sparkline_has_one_character_per_value(values):
    assert len(sparkline(values)) == min(30, len(values))


def test_bottleneck_names_the_role_that_waits_most():
    waits = {"trainer": (0.43, "data"), "self-play": (0.2, "training")}
    assert bottleneck(waits) == "trainer waits for data 43%"
    assert bottleneck({**waits, "self-play": (0.9, "training")}) == "self-play waits for training 90%"


def test_bottleneck_is_silent_about_short_waits():
    assert bottleneck({"trainer": (0.03, "data")}) == "nobody waits: all roles are busy"
    assert bottleneck({}) == ""


def test_time_left_follows_from_the_rate():
    assert time_left(25_000, 100_000, 500.0) == 150.0
    assert time_left(100, 100, 0.0) == 0.0
    assert time_left(120, 100, 5.0) == 0.0
    assert time_left(0, 100, 0.0) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"), (86_400, "1 d 0 h"), (None, "?")],
)
def test_durations_are_said_as_a_person_says_them(seconds, text):
    assert duration(seconds) == text


def test_recent_rate_looks_at_its_window_only():
    rate = RecentRate(window=10.0)
    assert rate.update(0.0, 0.0) == 0.0
    assert rate.update(5.0, 500.0) == 100.0
    # From 5 s to 20 s: the point at 5 s is the newest that spans the window.
    assert rate.update(20.0, 530.0) == pytest.approx(30 / 15)
    assert rate.update(30.0, 560.0) == pytest.approx(30 / 10)


@pytest.mark.parametrize(
    "present",
    [
        status(),
        Status("tictactoe", 0, 1_000, 0, 0.0),
        status(env_steps=10**9, budget=10**9, simulations_per_s=1e7, memory_mb=1e6, buffer_mb=1e6, game="x" * 60),
        status(messages=["a long message " * 20]),
    ],
)
def test_view_fits_eighty_columns(present):
    assert all(len(line) <= 80 for line in shown(present).splitlines())


def test_view_tells_all_that_is_promised():
    text = shown(status())
    for part in (
        *("lunarlander", "38,200 / 100,000", "5 min 12 s, 1 min 40 s left", "120.0 ± 28.3", "-50.0", "▁▅█"),
        *("618", "9,888", "77.2", "31.8 of 32", "19%, 12 MB", "1,234 MB", "trainer waits for data 43%", "4,775"),
        "self_play_1 is back",
    ):
        assert part in text


def test_without_a_terminal_there_are_plain_lines_now_and_then(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    console = Console(file=io.StringIO(), width=40)
    with LiveView(console) as view:
        for moment in range(0, 25):
            now = 100.0 + moment
            view.update(status(env_steps=moment * 1000))
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "self_play_1 is back"
    assert [line.split(" of ")[0] for line in lines[1:]] == ["0", "10,000", "20,000"]
    assert "\x1b" not in console.file.getvalue()


def test_plain_line_tells_progress_results_and_bottleneck():
    assert plain_line(status()) == (
        "38,200 of 100,000 env steps (38%), 1 min 40 s left; 4,775 training steps; 618 env steps/s; "
        "episode return -50.0; evaluation 120.0; trainer waits for data 43%"
    )


def test_messages_are_told_once_even_if_the_oldest_are_dropped():
    assert new_messages([], ["a", "b"]) == ["a", "b"]
    assert new_messages(["a", "b"], ["a", "b"]) == []
    assert new_messages(["a", "b"], ["b", "c"]) == ["c"]
    assert new_messages(["a"], ["b"]) == ["b"]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_view_that_cannot_be_written_for_a_while_costs_nothing_but_itself(terminal):
    class Disk(io.StringIO):
        full = True

        def write(self, text):
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(text)

    disk = Disk()
    with LiveView(Console(file=disk, force_terminal=terminal, width=120)) as view:
        view.update(status(messages=["self_play_1 is back"]))
        disk.full = False
        view.update(status(messages=["self_play_1 is back", "trainer is back"]))
    assert "self_play_1 is back" in disk.getvalue()
    assert "trainer is back" in disk.getvalue()


@pytest.mark.parametrize("broken", ["pipe", "disk"])
def test_a_program_whose_standard_error_takes_nothing_goes_on_to_its_end(broken):
    program = """
import sys
from muzero_ray.app.reporting.live_view import LiveView, Status
from muzero_ray.app.start import say
with LiveView() as view:
    for step in range(3):
        view.update(Status("cartpole", step, 3, 0, 1.0, messages=[f"message {n}" for n in range(step)]))
        say("a line")
print("done")
"""
    reader, writer = os.pipe()
    os.close(reader)
    target = writer if broken == "pipe" else os.open("/dev/full", os.O_WRONLY)
    found = subprocess.run(
        [sys.executable, "-c", program], stderr=target, stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert found.stdout == "done\n"
