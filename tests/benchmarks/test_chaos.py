"""What the chaos benchmark makes of the logs of a run."""

import chaos
import pytest
from chaos import Piece

STORED = "stored game {} from step {}: {} steps"


def test_a_buffer_that_never_died_counts_all_it_stored():
    log = ["started with 0 of 0 env steps", STORED.format(1, 0, 8), STORED.format(2, 0, 3), "something else"]
    ledger = chaos.keep_ledger(log)
    assert ledger.counted == (Piece(1, 0, 8), Piece(2, 0, 3))
    assert ledger.lost == ledger.misfits == ()
    assert ledger.env_steps == 11


def test_pieces_stored_after_the_checkpoint_are_lost_with_the_buffer():
    log = [
        "started with 0 of 0 env steps",
        *(STORED.format(1, first, 8) for first in (0, 8, 16)),
        "started with 8 of 8 env steps",
        STORED.format(1, 24, 8),
        STORED.format(5, 0, 2),
        "started with 10 of 16 env steps",
    ]
    ledger = chaos.keep_ledger(log)
    assert ledger.counted == (Piece(1, 0, 8), Piece(1, 24, 8))
    assert set(ledger.lost) == {Piece(1, 8, 8), Piece(1, 16, 8), Piece(5, 0, 2)}
    assert ledger.misfits == ()


def test_a_checkpoint_that_counts_what_was_not_stored_is_told():
    log = ["started with 0 of 0 env steps", STORED.format(1, 0, 8), "started with 5 of 5 env steps"]
    [misfit] = chaos.keep_ledger(log).misfits
    assert "restored at 5 env steps" in misfit


@pytest.mark.parametrize(
    ("pieces", "twice"),
    [
        ([], 0),
        ([(1, 0, 8), (1, 8, 8), (2, 0, 8)], 0),
        ([(1, 0, 8), (1, 0, 8)], 8),
        ([(1, 0, 8), (1, 0, 8), (1, 0, 8)], 16),
        ([(1, 8, 8), (1, 0, 20)], 8),
        ([(1, 0, 20), (1, 4, 2), (1, 10, 20)], 12),
    ],
)
def test_env_steps_in_more_than_one_piece_are_found(pieces, twice):
    assert chaos.counted_twice([Piece(*each) for each in pieces]) == twice


def test_a_counter_that_stands_still_does_not_go_back():
    assert chaos.steps_back([]) == 0
    assert chaos.steps_back([1, 1, 2, 2]) == 0
    assert chaos.steps_back([5, 4, 6, 1]) == 2


def test_an_actor_has_recovered_when_its_log_says_that_it_works():
    lines = {
        "self_play_0": [
            (9.0, "played 128 env steps in 20 pieces with weights 3"),
            (12.0, "plays cartpole, started before: 1 times"),
            (14.5, "played 128 env steps in 17 pieces with weights 5"),
        ],
        "replay_buffer": [(20.0, "started with 1 of 1 env steps")],
    }
    kills = [(10.0, "self_play_0"), (19.0, "replay_buffer"), (19.0, "trainer")]
    assert chaos.recoveries(kills, lines) == [4.5, None, None]


def test_logs_are_read_with_all_files_that_the_run_has_thrown_away_since(tmp_path):
    logs, older = tmp_path / "logs", tmp_path / "older"
    logs.mkdir()
    line = "2026-01-02T03:04:05.678Z DEBUG   trainer trained to step {}"
    for step in range(3):  # as logging's RotatingFileHandler does with one backup
        (logs / "trainer.log").write_text(line.format(step) + "\n")
        (logs / "trainer.log").rename(logs / "trainer.log.1")
        for _ in range(2):
            chaos.keep_older_logs(logs, older)
    (logs / "trainer.log").write_text(line.format(3) + "\nTraceback (most recent call last):\n")
    found = chaos.read_log(logs / "trainer.log", older)
    assert found == [(1767323045.678, f"trained to step {step}") for step in range(4)]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("muzero_ray.actors.self_play", "self_play"),
        ("muzero_ray.actors.reanalyze", "reanalyze"),
        ("muzero_ray.actors.evaluator", "evaluator"),
        ("muzero_ray.actors.trainer", "trainer"),
        ("muzero_ray.actors.shared_storage", "shared_storage"),
        ("muzero_ray.replay.ring", "replay_buffer"),
    ],
)
def test_the_words_that_are_looked_for_are_in_the_code(module, name):
    import importlib
    import inspect
    import re

    source = inspect.getsource(importlib.import_module(module))
    messages = re.findall(r"\"([^\"\n]*%[ds][^\"\n]*)\"", source)
    told = [re.sub(r"%\.?\d*[dsf]", "7", message) for message in messages]
    assert any(chaos.WORKS[name].match(message) for message in told)
