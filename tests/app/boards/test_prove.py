"""`muzero-ray prove`: a verdict on a run's agent where the truth can be known, a sentence elsewhere."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from reference.tiny_agents import make_agent_run

from muzero_ray.app.boards import prove as command
from muzero_ray.app.boards.prove import prove
from muzero_ray.app.errors import UserError


def test_an_untrained_agent_can_be_beaten_and_a_game_that_it_loses_is_told(tmp_path, capfd) -> None:
    run = make_agent_run(tmp_path, "tictactoe")
    assert prove([str(run)]) == 1
    said = capfd.readouterr().out
    assert "tictactoe: 5,478 positions, in 4,520 of them a move is to be made; the agent's is optimal in" in said
    assert "as second player:" in said
    assert "it can be beaten: " in said
    assert prove([str(run), "--json"]) == 1
    found = json.loads(capfd.readouterr().out)
    assert (found["positions"], found["decisions"]) == (5478, 4520)
    assert found["losses"] == found["as_first"]["losses"] + found["as_second"]["losses"] > 0
    assert found["share_optimal"] == found["optimal"] / 4520
    for seat in (found["as_first"], found["as_second"]):
        assert seat["games"] == seat["wins"] + seat["draws"] + seat["losses"]
    lost = (found["as_first"]["lost_game"] or found["as_second"]["lost_game"]).split()
    assert set(lost) <= {row + column for row in "ABC" for column in "123"}
    assert len(lost) >= 5


def test_an_agent_that_plays_perfectly_is_proved(tmp_path, capfd, monkeypatch) -> None:
    run = make_agent_run(tmp_path, "tictactoe")
    config, agent = command.open_agent(run, None)

    def perfect(model, observations, legal_actions, **options):
        return SimpleNamespace(actions=np.array([_expert(agent, observation) for observation in observations]))

    agent.planner = perfect
    monkeypatch.setattr(command, "open_agent", lambda *_: (config, agent))
    assert prove([str(run)]) == 0
    said = capfd.readouterr().out
    assert "is optimal in 4,520 (100.00%)" in said
    assert "proved: it cannot be beaten" in said


def _expert(agent, observation) -> int:
    game = agent.make_game()
    game.reset(0)
    mine, other = observation.reshape(2, 9)
    signs = "XO" if mine.sum() == other.sum() else "OX"
    game._board = "".join(signs[0] if m else signs[1] if o else "." for m, o in zip(mine, other, strict=True))
    return game.expert_action()


def test_connect_four_is_compared_with_solved_positions(tmp_path, capfd) -> None:
    run = make_agent_run(tmp_path, "connect4")
    assert prove([str(run), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["solved_positions"] == sum(each["positions"] for each in found["strata"].values())
    assert 0.0 < found["share_keeping"] < 1.0
    assert prove([str(run)]) == 0
    said = capfd.readouterr().out
    assert said.startswith("connect4: too large to be proved; in ")
    assert "begin-hard" in said


def test_games_that_are_too_large_or_for_one_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="othello: wanted a game of at most 500 positions, but it has more; muzero-ray"):
        prove([str(make_agent_run(tmp_path, "othello")), "--max-positions", "500"])
    with pytest.raises(UserError, match="wanted a game for 2 players, got one for 1"):
        prove([str(make_agent_run(tmp_path, "cartpole"))])


def test_numbers_out_of_range_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="--simulations: wanted at least 1, got 0"):
        prove([str(tmp_path), "--simulations", "0"])
