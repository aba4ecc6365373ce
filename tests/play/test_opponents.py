"""Opponents by name: each plays as it says, in games by turns and in others."""

import random
from typing import Any

import numpy as np
import pytest
from reference.counting_game import CountingGame
from reference.toy_games import Noughts, TakeAgain, take_again_values

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.game import Game
from muzero_ray.play.opponent import UnknownOpponentError
from muzero_ray.play.opponents import make_opponent
from muzero_ray.play.tree_opponents import alpha_beta, uct


def choices(name: str, game: Game, times: int = 30) -> set[int]:
    """What an opponent chooses in a position, with different random numbers."""
    opponent = make_opponent(name, game)
    return {opponent.choose(game, (), np.random.default_rng(seed)) for seed in range(times)}


def test_random_plays_every_legal_move_and_no_other() -> None:
    assert choices("random", Noughts("XO./.../..X"), 200) == {2, 3, 4, 5, 6, 7}


def test_oneply_takes_a_win_rather_than_parry() -> None:
    assert choices("oneply", Noughts("XX./OO./...")) == {2}


def test_oneply_parries_if_it_cannot_win() -> None:
    assert choices("oneply", Noughts("X../OO./X..")) == {5}


def test_oneply_plays_at_random_if_nothing_is_urgent_or_all_is_lost() -> None:
    assert choices("oneply", Noughts(), 200) == set(range(9))
    # O threatens at 2 and at 6: whichever X takes, O has the other.
    assert choices("oneply", Noughts("OO./OXX/.X."), 100) == {2, 6, 8}


def test_oneply_does_not_fear_a_reply_that_is_its_own() -> None:
    # With 4 stones: taking 3 leaves one, but it is the same player's turn, who takes it and wins.
    assert 2 in choices("oneply", TakeAgain(4), 100)


@pytest.mark.parametrize("stones", range(1, 12))
@pytest.mark.parametrize("player", [0, 1])
def test_alpha_beta_finds_what_trying_everything_finds_where_turns_do_not_alternate(stones: int, player: int) -> None:
    game = TakeAgain(stones, player)
    best = max(delayed_value(game, action) for action in np.flatnonzero(game.legal_actions()))
    expected = {
        int(action)
        for action in np.flatnonzero(game.legal_actions())
        if abs(delayed_value(game, action) - best) < 1e-12
    }
    assert set(alpha_beta(game.position(), 30)) == expected


def delayed_value(game: Game, action: int) -> float:
    """Slow twin: the value of an action with nothing cut off, each move's delay counting 0.99."""
    after = game.clone()
    mover = game.to_play
    _, reward, over, _, _ = after.step(int(action))
    if over:
        return reward
    best = max(delayed_value(after, each) for each in np.flatnonzero(after.legal_actions()))
    return reward + 0.99 * (best if after.to_play == mover else -best)


@pytest.mark.parametrize("seed", range(20))
def test_alpha_beta_finds_the_same_moves_as_minimax_in_tic_tac_toe(seed: int) -> None:
    rng = np.random.default_rng(seed)
    game = Noughts()
    for _ in range(3):
        game.step(int(rng.choice(np.flatnonzero(game.legal_actions()))))
    values = {int(action): delayed_value(game, action) for action in np.flatnonzero(game.legal_actions())}
    best = max(values.values())
    assert set(alpha_beta(game.position(), 9)) == {a for a, value in values.items() if abs(value - best) < 1e-12}


def test_alpha_beta_sees_no_further_than_its_depth() -> None:
    # X wins at 2 at once; looking one move ahead is enough for that, and two to parry O's threat.
    assert choices("alphabeta:1", Noughts("XX./OO./...")) == {2}
    assert choices("alphabeta:1", Noughts("X../OO./X..")) == {1, 2, 5, 7, 8}
    assert choices("alphabeta:2", Noughts("X../OO./X..")) == {5}


def test_alpha_beta_draws_from_equal_moves() -> None:
    assert choices("alphabeta:2", Noughts(), 200) == set(range(9))


@pytest.mark.parametrize(("board", "move"), [("XX./OO./...", 2), ("X../OO./X..", 5)])
def test_uct_wins_and_parries(board: str, move: int) -> None:
    assert choices("uct:500", Noughts(board), 5) == {move}


@pytest.mark.parametrize(("stones", "player"), [(2, 0), (3, 1), (5, 0), (6, 1), (7, 0)])
def test_uct_finds_the_best_move_where_turns_do_not_alternate(stones: int, player: int) -> None:
    game = TakeAgain(stones, player)
    values = take_again_values(stones)
    assert values[uct(game.position(), 2000, random.Random(stones))] == max(values.values())


def test_more_rollouts_play_better_and_hold_perfect_play_to_draws() -> None:
    make_game = load_game("tictactoe")
    lost = {}
    for rollouts in (5, 800):
        game = make_game()
        opponent, expert = make_opponent(f"uct:{rollouts}", game), make_opponent("expert", game)
        lost[rollouts] = sum(play(game, [expert, opponent], seed) > 0 for seed in range(8))
    assert lost[5] > 3
    assert lost[800] == 0


def play(game: Game, players: list[Any], seed: int) -> float:
    """Plays one game; returns what player 0 got."""
    rng = np.random.default_rng(seed)
    game.reset(seed)
    history: list[int] = []
    total, over = 0.0, False
    while not over:
        mover = game.to_play
        history.append(players[mover].choose(game, tuple(history), rng))
        _, reward, over, _, _ = game.step(history[-1])
        total += reward if mover == 0 else -reward
    return total


@pytest.mark.parametrize("name", ["random", "oneply", "alphabeta:3", "uct:30", "expert", "perfect"])
def test_a_choice_is_legal_repeatable_and_leaves_the_game_alone(name: str) -> None:
    game = load_game("tictactoe")()
    opponent = make_opponent(name, game)
    game.reset(0)
    history = (4, 0, 8)
    for action in history:
        game.step(action)
    before = game.text()
    first, second = (opponent.choose(game, history, np.random.default_rng(3)) for _ in range(2))
    assert first == second
    assert game.text() == before
    assert game.legal_actions()[first]
    opponent.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("randon", "no opponent 'randon'; did you mean random? Choose one of random, oneply, alphabeta:DEPTH"),
        ("alfabeta:3", "did you mean alphabeta:DEPTH?"),
        ("nobody-knows", "no opponent 'nobody-knows'; choose one of"),
        ("uct", "opponent 'uct': wanted uct:ROLLOUTS with a number from 1 on, such as uct:1000"),
        ("uct:0", "opponent 'uct:0': wanted uct:ROLLOUTS with a number from 1 on"),
        ("alphabeta:deep", "opponent 'alphabeta:deep': wanted alphabeta:DEPTH with a number from 1 on"),
    ],
)
def test_names_that_nobody_has_are_refused_with_the_nearest(name: str, said: str) -> None:
    with pytest.raises(UnknownOpponentError) as refused:
        make_opponent(name, load_game("tictactoe")())
    assert said in str(refused.value)


def test_a_game_without_an_expert_has_none_as_an_opponent() -> None:
    with pytest.raises(UnknownOpponentError, match="opponent 'expert': Noughts knows no expert; choose another"):
        make_opponent("expert", Noughts())


def test_a_game_for_one_has_no_opponents() -> None:
    with pytest.raises(UnknownOpponentError, match="needs a game for 2 players, got one for 1"):
        make_opponent("random", CountingGame(3))


def test_names_of_opponents_are_those_asked_for() -> None:
    game = load_game("tictactoe")()
    for name in ("random", "oneply", "alphabeta:3", "uct:30", "expert", "perfect"):
        assert make_opponent(name, game).name == name
