"""OpenSpiel's games come through with their rules, told from the side of who moved; others are refused."""

import random

import numpy as np
import pytest

from muzero_ray.adapters.loading import game_title, load_game
from muzero_ray.adapters.open_spiel_game import OpenSpielGame, turns_alternate
from muzero_ray.core.game_check import check_game
from muzero_ray.core.game_loader import GameLoadError, load_game_class
from muzero_ray.core.position import GamePosition


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("conect_four", "OpenSpiel knows no game 'conect_four'; did you mean connect_four"),
        ("go9(komi=1)", "OpenSpiel knows no game 'go9'; did you mean go"),
        ("zzz", r"OpenSpiel knows no game 'zzz'; pyspiel.registered_names\(\) lists all"),
        ("go(size=9)", r"OpenSpiel cannot load 'go\(size=9\)': Unknown parameter 'size'"),
        ("backgammon", "backgammon has moves of chance, and MuZero as it is here cannot plan in such games"),
        ("chess(chess960=True)", r"chess\(chess960=True\) has moves of chance"),
        ("kuhn_poker", "kuhn_poker hides something from its players"),
        ("goofspiel(imp_info=False)", "is not played in turns"),
        ("chinese_checkers(players=3)", "is for 3 players, not for one or two"),
        ("morpion_solitaire", "offers no observation tensor"),
    ],
)
def test_what_cannot_be_planned_in_is_refused_in_a_sentence(name: str, sentence: str) -> None:
    with pytest.raises(GameLoadError, match=sentence):
        load_game(f"open_spiel:{name}")


def test_a_start_that_is_no_position_is_refused() -> None:
    with pytest.raises(GameLoadError, match="chess: no position can be read from 'nonsense'"):
        OpenSpielGame("chess", start="nonsense")


@pytest.mark.parametrize(
    "name",
    [
        "breakthrough(rows=5,columns=5)",
        "cliff_walking",
        "dots_and_boxes",
        "mancala",
        "misere(game=tic_tac_toe())",
        "nim",
        "nine_mens_morris",
        "oware",
        "pentago",
        "quoridor(board_size=5)",
        "ultimate_tic_tac_toe",
    ],
)
def test_games_of_every_kind_keep_the_contract(name: str) -> None:
    assert check_game(load_game(f"open_spiel:{name}"), episodes=5) == []


def test_the_same_game_goes_like_our_own() -> None:
    ours, theirs = load_game("tictactoe")(), load_game("open_spiel:tic_tac_toe")()
    rng = np.random.default_rng(0)
    rewards = []
    for seed in range(50):
        ours.reset(seed)
        theirs.reset(seed)
        ended = False
        while not ended:
            np.testing.assert_array_equal(ours.legal_actions(), theirs.legal_actions())
            assert ours.to_play == theirs.to_play
            action = int(rng.choice(ours.legal_actions().nonzero()[0]))
            _, reward, ended, *_ = ours.step(action)
            assert theirs.step(action)[1:] == (reward, ended, False, {})
        rewards.append(reward)
    assert set(rewards) == {0.0, 1.0}


def test_who_makes_a_line_in_misere_tic_tac_toe_is_told_that_it_lost() -> None:
    game = load_game("open_spiel:misere(game=tic_tac_toe())")()
    game.reset(0)
    rewards = [game.step(action)[1] for action in (0, 3, 1, 4, 2)]  # X completes the first row
    assert rewards == [0.0, 0.0, 0.0, 0.0, -1.0]


def test_rewards_on_the_way_are_told_when_they_come() -> None:
    game = load_game("open_spiel:cliff_walking")()
    _, _ = game.reset(0)
    assert game.spec.num_players == 1
    assert game.spec.value_bounds is None  # part of a return is behind us, so it does not bound what is to come
    assert [game.step(action)[1] for action in (1, 1)] == [-1.0, -1.0]  # up twice


def test_a_second_move_in_a_row_is_found_out() -> None:
    game = load_game("open_spiel:dots_and_boxes")()
    assert not game.spec.alternating
    assert not turns_alternate("mancala")
    assert turns_alternate("othello")  # where passing is a move
    assert turns_alternate("cliff_walking")  # for one
    game.reset(0)
    # A box of a board with 2 rows and 2 columns: lines 0 and 2 lie above and below, 6 and 7 at its sides.
    movers = []
    for action in (0, 2, 6, 7):
        movers.append(game.to_play)
        game.step(action)
    assert movers == [0, 1, 0, 1]
    assert game.to_play == 1  # has closed the box, and moves again


def test_the_observation_says_whose_turn_it_is() -> None:
    boards = load_game("open_spiel:tic_tac_toe")()
    observation, _ = boards.reset(0)
    assert boards.spec.observation_shape == observation.shape == (4, 3, 3)
    assert (observation[3] == 1).all()
    observation, *_ = boards.step(4)
    assert (observation[3] == 0).all()
    assert observation[:3, 1, 1].tolist() == [0, 0, 1]  # OpenSpiel's planes: empty, O, X

    vectors = load_game("open_spiel:gomoku(size=3,connect=3)")()  # [3, 9]: not a board by its shape
    observation, _ = vectors.reset(0)
    assert observation.shape == (28,)
    assert observation[-1] == 1
    observation, *_ = vectors.step(4)
    assert observation[-1] == 0


def test_white_begins_and_is_player_0_in_chess() -> None:
    game = load_game("open_spiel:chess")()
    game.reset(0)
    movers, rewards = [], []
    for move in ("f3", "e5", "g4", "Qh4#"):
        movers.append(game.to_play)
        rewards.append(game.step(game.string_to_action(move))[1])
    assert movers == [0, 1, 0, 1]
    assert rewards == [0.0, 0.0, 0.0, 1.0]


def test_moves_are_read_among_the_legal_ones_alone() -> None:
    game = load_game("open_spiel:chess")()
    game.reset(0)
    assert game.action_to_string(game.string_to_action("Nf3")) == "Nf3"
    with pytest.raises(ValueError, match="chess: 'Nf6' is no legal move here; moves are written "):
        game.string_to_action("Nf6")
    assert game.action_to_string(0) == "0"  # nothing that can be played now


def test_illegal_actions_and_moves_after_the_end_raise() -> None:
    game = OpenSpielGame("tic_tac_toe", max_moves=2)
    with pytest.raises(ValueError, match="the episode is over; call reset first"):
        game.step(0)
    game.reset(0)
    game.step(0)
    for action in (0, 9, -1):
        with pytest.raises(ValueError, match=f"tic_tac_toe: action {action} is not legal after 1 moves"):
            game.step(action)
    assert game.step(1)[2:4] == (False, True)  # stopped by max_moves, not ended
    with pytest.raises(ValueError, match="the episode is over"):
        game.step(2)


def test_a_game_that_ends_with_its_last_move_is_not_stopped() -> None:
    game = OpenSpielGame("tic_tac_toe", max_moves=5)
    game.reset(0)
    assert [game.step(action)[1:4] for action in (0, 3, 1, 4, 2)][-1] == (1.0, True, False)


def test_the_title_names_the_library() -> None:
    assert game_title("open_spiel:go(board_size=9)") == "go(board_size=9), a game of OpenSpiel"


def test_a_game_file_of_ones_own_takes_a_few_lines(tmp_path) -> None:
    path = tmp_path / "mygame.py"
    path.write_text(
        "from muzero_ray.adapters.open_spiel_game import OpenSpielGame\n\n\n"
        "class Breakthrough(OpenSpielGame):\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__('breakthrough(rows=5,columns=5)', max_moves=100)\n"
    )
    assert check_game(load_game(str(path)), episodes=3) == []
    assert load_game_class(str(path))().spec.observation_shape == (4, 5, 5)


@pytest.mark.parametrize("name", ["shogi", "chess", "othello", "open_spiel:dots_and_boxes", "open_spiel:cliff_walking"])
def test_a_position_goes_like_its_game(name: str) -> None:
    game, rng = load_game(name)(), np.random.default_rng(0)
    game.reset(0)
    position = game.position()
    for _ in range(300):
        assert sorted(position.legal()) == game.legal_actions().nonzero()[0].tolist()
        assert position.to_play == game.to_play
        action = int(rng.choice(position.legal()))
        copy = position.copy()
        _, reward, terminated, truncated, _ = game.step(action)
        assert position.play(action) == reward
        assert position.over == (terminated or truncated)
        assert not copy.over  # a copy goes on independently
        if position.over:
            break


def test_a_position_knows_when_the_game_is_stopped() -> None:
    game = OpenSpielGame("tic_tac_toe", max_moves=3)
    game.reset(0)
    game.step(0)
    position = game.position()
    position.play(1)
    assert not position.over
    assert position.copy().playout(random.Random(0)) == 0.0  # one move more, and nobody has won
    position.play(2)
    assert position.over


def test_playouts_are_told_from_the_side_of_player_0() -> None:
    game = load_game("open_spiel:tic_tac_toe")()
    game.reset(0)
    for action in (0, 3, 1, 4, 8):  # O is to move: 5 wins for it, elsewhere X may win with 2
        game.step(action)
    outcomes = [game.position().playout(random.Random(seed)) for seed in range(100)]
    assert set(outcomes) == {-1.0, 0.0, 1.0}
    slow_twin = [GamePosition(game.clone()).playout(random.Random(seed)) for seed in range(100)]
    assert outcomes == slow_twin


def test_a_playout_from_the_end_pays_nothing() -> None:
    game = load_game("chess")()  # whose player 0 is OpenSpiel's player 1
    game.reset(0)
    for move in ("f2f3", "e7e5", "g2g4"):
        game.step(game.string_to_action(move))
    position = game.position()
    assert position.play(game.string_to_action("d8h4")) == 1.0
    assert position.over
    assert position.playout(random.Random(0)) == 0.0
