"""What the chaos benchmark makes of the logs of a run."""

import json

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


def test_a_report_is_made_of_what_was_noted_and_of_the_folder_of_the_run(tmp_path, capsys):
    run = tmp_path / "results" / "cartpole" / "2026-01-02--03-04-05"
    (run / "logs").mkdir(parents=True)
    (run / "checkpoints" / "step_000000007").mkdir(parents=True)
    start = 1767323040.0  # 03:04:00

    def log(name: str, *lines: tuple[int, str]) -> None:
        text = "".join(f"2026-01-02T03:04:{second:02d}.000Z DEBUG   {name} {line}\n" for second, line in lines)
        (run / "logs" / f"{name}.log").write_text(text)

    started, stored = "started with 0 of {} env steps", "stored game {} from step 0: 8 steps"
    log("replay_buffer", (1, started.format(0)), (2, stored.format(1)), (9, stored.format(2)), (13, started.format(8)))
    log(
        "self_play_0",
        (2, "played 8 env steps in 1 pieces with weights 0"),
        (9, "played 8 env steps in 2 pieces with w"),
    )
    counters = [(1, 0), (8, 8), (16, 12)]
    notes = [{"time": start + at, "kind": "counters", "env_steps": n, "training_steps": -n} for at, n in counters]
    notes[1:1] = [{"time": start + 5, "kind": "kill", "actor": "self_play", "pid": 1}]
    notes[3:3] = [{"time": start + 10, "kind": "kill", "actor": "replay_buffer", "pid": 2}]
    notes.append({"time": start + 60, "kind": "end", "exit_code": 0, "left": []})
    (tmp_path / "chaos.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
    actors = {"self_play_0": {"restarts": 1}, "replay_buffer": {"restarts": 1}}
    (run / "status.json").write_text(json.dumps({"state": "finished", "cause": "", "actors": actors}))
    (run / "summary.json").write_text(json.dumps({"mean": 480.0, "finished": True}))
    (run / "checkpoints" / "step_000000007" / "manifest.json").write_text(json.dumps({"env_steps": 8}))

    found = chaos.describe(tmp_path)
    assert found["kills"] == 2
    assert found["recoveries"]["self_play"] == {"kills": 1, "recoveries": 1, "median": 4.0, "largest": 4.0}
    assert found["recoveries"]["replay_buffer"]["recoveries"] == 0, "it was started, and has stored nothing since"
    assert found["pieces"] == {
        "played": 3, "stored": 2, "counted": 1, "lost_on_the_way": 1, "lost_with_the_buffer": 1
    }  # fmt: skip
    assert found["env_steps"]["counted_by_the_run"] == found["env_steps"]["of_the_pieces"] == 8
    assert found["env_steps"]["lost_with_self_play_at_most"] == 8
    assert found["counters_going_back"] == {"env_steps": 0, "training_steps": 2}
    assert found["final"]["mean"] == 480.0
    chaos.print_report(found)
    assert "2 kills in 1.0 min; the run ended finished" in capsys.readouterr().out
