"""`muzero-ray match`: from a run's folder to a score, and every mistake in a sentence."""

import json
import logging
from pathlib import Path

import pytest
from reference.tiny_agents import make_agent_run

from muzero_ray.app.boards.match import match
from muzero_ray.app.errors import UserError
from muzero_ray.play import opponents
from muzero_ray.play.opponent import OpponentError, OpponentResigned


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_agent_run(tmp_path_factory.mktemp("match"), "tictactoe")


def answer(capfd: pytest.CaptureFixture[str], *words: object) -> dict:
    assert match([*map(str, words), "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def told(*words: object) -> str:
    with pytest.raises(UserError) as refused:
        match(list(map(str, words)))
    return str(refused.value)


def test_a_match_is_told_with_its_uncertainty(run, capfd) -> None:
    found = answer(capfd, run, "--opponent", "random", "--games", 20, "--opening-moves", 2)
    assert found["game"] == "tictactoe"
    assert found["wins"] + found["draws"] + found["losses"] == found["games"] == 20
    assert found["score"] == (found["wins"] + found["draws"] / 2) / 20
    low, high = found["score_ci95"]
    assert low < found["score"] < high
    assert found["elo_ci95"][0] < found["elo"] < found["elo_ci95"][1]
    assert found["forfeits"] == 0
    assert 5 <= found["length"] <= 9


def test_the_same_seed_plays_the_same_match(run, capfd) -> None:
    words = (run, "--opponent", "uct:10", "--games", 8, "--opening-moves", 2)
    first, again, other = (answer(capfd, *words, "--seed", seed) for seed in (1, 1, 2))
    del first["seconds"], again["seconds"], other["seconds"]
    assert first == again != other


def test_in_words_for_people(run, capfd) -> None:
    assert match([str(run), "--opponent", "alphabeta:2", "--games", "6", "--simulations", "2"]) == 0
    said = capfd.readouterr().out
    assert "lost against alphabeta:2\n" in said
    assert "95% confidence" in said
    assert "moving second" in said
    assert "moves per game" in said


def test_losing_everything_is_told_without_numbers_that_json_lacks(run, capfd, monkeypatch) -> None:
    def give_up(name, game):
        class Winner(opponents.ExpertOpponent):
            """Lets the agent win by resigning."""

            def choose(self, game, history, rng):
                raise OpponentResigned("resigns")

        return Winner()

    monkeypatch.setattr(opponents, "make_opponent", give_up)
    found = answer(capfd, run, "--opponent", "winner", "--games", 4)
    assert (found["wins"], found["elo"], found["elo_ci95"][1]) == (4, None, None)
    assert match([str(run), "--opponent", "winner", "--games", "4"]) == 0
    assert "Elo difference +∞, 95% confidence +" in capfd.readouterr().out


def test_another_run_is_an_opponent_and_so_is_an_earlier_checkpoint(run, tmp_path, capfd) -> None:
    other = make_agent_run(tmp_path, "tictactoe", network={"latent_size": 12})
    for opponent in (f"run:{other}", f"run:{other}@last", "run:@1"):
        found = answer(capfd, run, "--opponent", opponent, "--games", 4, "--opening-moves", 2)
        assert found["opponent"] == opponent
        assert found["games"] == 4
    # Against itself, with colours swapped.
    assert found["score"] == 0.5


def test_an_agent_of_another_game_is_refused(run, tmp_path) -> None:
    other = make_agent_run(tmp_path, "connect4")
    assert "wanted a run of the same game, got one of connect4" in told(run, "--opponent", f"run:{other}")


def test_a_run_that_is_not_there_is_refused_with_the_opponents_name(run) -> None:
    assert told(run, "--opponent", "run:nowhere@best").startswith("--opponent run:nowhere@best: ")
    assert "has no 99" in told(run, "--opponent", "run:@99")


def test_an_opponent_that_nobody_knows_is_refused_with_the_nearest(run) -> None:
    assert "--opponent: no opponent 'unct:100'; did you mean uct:ROLLOUTS?" in told(run, "--opponent", "unct:100")


def test_an_opponent_that_keeps_failing_ends_the_match_with_a_sentence(run, monkeypatch, caplog) -> None:
    class Broken(opponents.RandomOpponent):
        name = "broken"

        def choose(self, game, history, rng):
            raise OpponentError("the engine has gone")

    monkeypatch.setattr(opponents, "make_opponent", lambda name, game: Broken())
    with caplog.at_level(logging.WARNING):
        said = told(run, "--opponent", "broken", "--games", 10)
    assert said == "--opponent: broken forfeited 3 games in a row, the last one by: the engine has gone"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--games", "0"], "--games: wanted at least 1, got 0"),
        (["--simulations", "0"], "--simulations: wanted at least 1, got 0"),
        (["--opening-moves", "-1"], "--opening-moves: wanted at least 0, got -1"),
        (["--seed", "-1"], "--seed: wanted at least 0, got -1"),
        (["--opening-moves", "9"], "--opening-moves: "),
    ],
)
def test_numbers_out_of_range_are_refused(run, words, said) -> None:
    assert told(run, "--opponent", "random", *words).startswith(said)


def test_a_game_for_one_is_refused(tmp_path) -> None:
    one = make_agent_run(tmp_path, "cartpole")
    assert "match: wanted a game for 2 players, cartpole is for 1" in told(one, "--opponent", "random")
