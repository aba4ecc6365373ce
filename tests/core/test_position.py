"""Positions to look ahead from: the same rules as the game's, and independent of it."""

import random

import numpy as np
import pytest
from reference.counting_game import CountingGame
from reference.toy_games import Noughts

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.checked_game import CheckedGame
from muzero_ray.core.game import Game
from muzero_ray.core.position import GamePosition, Position


class Plain(GamePosition):
    """Any game by way of its own `step`, also one that hands out something quicker."""


@pytest.mark.parametrize("name", ["tictactoe", "connect4", "othello", "go9"])
@pytest.mark.parametrize("seed", range(3))
def test_a_position_follows_its_game_to_the_end(name: str, seed: int) -> None:
    game = load_game(name)()
    game.reset(seed)
    position = game.position()
    rng = np.random.default_rng(seed)
    over = False
    while not over:
        assert not position.over
        assert position.to_play == game.to_play
        legal = np.flatnonzero(game.legal_actions()).tolist()
        assert sorted(position.legal()) == legal
        action = int(rng.choice(legal))
        _, reward, terminated, truncated, _ = game.step(action)
        over = terminated or truncated
        assert position.play(action) == reward
    assert position.over


@pytest.mark.parametrize("name", ["tictactoe", "connect4"])
def test_copies_go_on_independently_of_each_other_and_of_the_game(name: str) -> None:
    game = load_game(name)()
    game.reset(0)
    before = game.text()
    first = game.position()
    second = first.copy()
    assert first.playout(random.Random(0)) == game.position().playout(random.Random(0))
    assert first.over
    assert not second.over
    assert sorted(second.legal()) == np.flatnonzero(game.legal_actions()).tolist()
    assert game.text() == before


@pytest.mark.parametrize("name", ["connect4", "othello"])
def test_playing_out_in_the_engine_is_playing_out_by_the_games_own_steps(name: str) -> None:
    game = load_game(name)()
    game.reset(0)
    for seed in range(10):
        quick, slow = game.position(), Plain(game.clone())
        assert type(quick) is not Plain
        assert quick.playout(random.Random(seed)) == slow.playout(random.Random(seed))


def test_a_playout_adds_up_what_player_0_gets_less_what_player_1_gets() -> None:
    # Three steps t with action 0 give 10 t each: 0 to player 0, 10 to player 1, 20 to player 0.
    class First(random.Random):
        def random(self) -> float:
            return 0.0

    game = CountingGame(3, num_players=2)
    game.reset(0)
    assert game.position().playout(First()) == 0.0 - 10.0 + 20.0


def test_nothing_is_played_where_the_game_is_over() -> None:
    for game in (Noughts("XX./OO./..."), load_game("connect4")()):
        ended = _play_to_the_end(game)
        assert ended.playout(random.Random(0)) == 0.0


def _play_to_the_end(game: Game) -> Position:
    game.reset(0)
    position = game.position()
    while not position.over:
        position.play(position.legal()[0])
    return position


def test_a_truncated_game_is_over() -> None:
    game = CountingGame(2, num_players=2, truncates=True)
    game.reset(0)
    position = game.position()
    position.play(0)
    assert not position.over
    position.play(0)
    assert position.over


def test_the_clock_of_an_engines_game_runs_in_its_positions_too() -> None:
    from muzero_ray.adapters.open_spiel_game import OpenSpielGame

    game = OpenSpielGame("connect_four", max_moves=4)
    game.reset(0)
    game.step(3)
    position = game.position()
    assert position.copy().playout(random.Random(0)) == 0.0
    for column in (0, 1):
        position.play(column)
        assert not position.over
    position.play(2)
    assert position.over


def test_a_watched_game_hands_out_its_own_games_position() -> None:
    game = load_game("connect4")()
    watched = CheckedGame(game)
    watched.reset(0)
    assert type(watched.position()) is type(game.position()) is not GamePosition
