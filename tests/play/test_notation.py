"""Moves are read as people and programs write them, and each game is spoken of in the protocol that fits."""

import pytest
from reference.toy_games import Noughts

from muzero_ray.adapters.loading import load_game
from muzero_ray.play.notation import Transcript, legal_moves, protocol_of, read_action


@pytest.mark.parametrize(
    ("game", "protocol"),
    [
        *(("go9", "gtp"), ("go19", "gtp"), ("gomoku", "gtp"), ("hex", "gtp"), ("othello", "gtp"), ("tictactoe", "gtp")),
        *(("chess", "uci"), ("shogi", "usi"), ("connect4", None), ("cartpole", None)),
    ],
)
def test_every_game_has_the_protocol_that_its_moves_fit(game, protocol):
    board = load_game(game)()
    board.reset(0)
    assert protocol_of(board) == protocol
    board.close()


def test_moves_are_read_in_other_letters_but_only_legal_ones():
    game = load_game("tictactoe")()
    game.reset(0)
    game.step(0)
    assert [read_action(game, text) for text in ("B2", "b2", " c3\n")] == [4, 4, 8]
    assert legal_moves(game) == ["A2", "A3", "B1", "B2", "B3", "C1", "C2", "C3"]
    for wrong in ("A1", "a1", "D4", ""):
        with pytest.raises(ValueError, match="is no legal move here"):
            read_action(game, wrong)


def after(game, moves):
    board = load_game(game)()
    board.reset(0)
    for move in moves.split():
        board.step(board.string_to_action(move))
    return board


@pytest.mark.parametrize(
    ("game", "moves", "texts"),
    [
        # A pawn may take on c3, a bishop may not: a capital that begins a move is a piece.
        ("chess", "e2e4 e7e5 d2d4 e5d4 c2c3 d4c3", ("Bxc3", "B2c3", "BXD3")),
        ("open_spiel:chess", "e4 e5 d4 exd4 c3 dxc3", ("Bxc3", "Axc3")),
        # A bishop may take on c3, a pawn may not.
        ("chess", "d2d4 g8f6 g1f3 d7d5 b1c3 e7e6 c1d2 f8b4 a2a3", ("bxc3+", "b4xc3")),
        # Both may take on c3: in capitals nobody knows which.
        ("chess", "e2e4 e7e5 d2d4 e5d4 c2c3 d4c3 c1d2 a7a6", ("BXC3",)),
        ("shogi", "", ("7G7E", "P*5e")),
    ],
)
def test_a_move_that_is_not_legal_does_not_become_another_in_other_letters(game, moves, texts):
    board = after(game, moves)
    for text in texts:
        with pytest.raises(ValueError, match="is no legal move here"):
            read_action(board, text)


@pytest.mark.parametrize(
    ("game", "moves", "text", "move"),
    [
        ("chess", "e2e4 e7e5 d2d4 e5d4 c2c3 d4c3", "bxc3", "b2c3"),
        ("chess", "e2e4 e7e5 d2d4 e5d4 c2c3 d4c3", "B2C3", "b2c3"),
        ("chess", "e2e4 e7e5 d2d4 e5d4 c2c3 d4c3 c1d2 a7a6", "Bxc3", "d2c3"),
        ("chess", "", "E2E4", "e2e4"),
        ("chess", "", "E4", "e2e4"),
        ("chess", "", "Nf3", "g1f3"),
        ("chess", "e2e4 e7e5 g1f3 b8c6 f1c4 f8c5", "o-o", "e1g1"),
        ("chess", "a2a4 b7b5 a4b5 a7a6 b5a6 b8c6 a6a7 a8b8", "a7b8Q", "a7b8q"),
        ("shogi", "", "7G7F", "7g7f"),
        ("go9", "", "d4", "D4"),
        ("go9", "", "Pass", "pass"),
        ("connect4", "", "4", "4"),
        ("open_spiel:tic_tac_toe", "", "X(1,1)", "x(1,1)"),
    ],
)
def test_a_move_is_read_in_other_letters_where_they_cannot_be_another_move(game, moves, text, move):
    board = after(game, moves)
    assert board.action_to_string(read_action(board, text)) == move


def test_a_name_that_is_an_action_which_is_not_legal_now_does_not_become_another():
    class Cases(Noughts):
        def action_to_string(self, action):
            return "aAbBcCdDe"[action]

    game = Cases()
    game.reset(0)
    game.step(game.string_to_action("a"))
    assert read_action(game, "A") == 1
    assert read_action(game, "E") == 8
    with pytest.raises(ValueError, match="'a' is no legal move here"):
        read_action(game, "a")


def test_a_transcript_grows_with_the_history_and_starts_anew_with_another():
    game = load_game("tictactoe")()
    game.reset(0)
    game.step(8)
    transcript = Transcript(game)
    seen = [(transcript.follow(history), *transcript.moves) for history in ([], [0], [0, 4], [0, 4], [0], [1, 2])]
    assert seen == [
        *((True,), (True, "A1"), (True, "A1", "B2"), (True, "A1", "B2")),
        *((False, "A1"), (False, "A2", "A3")),
    ]
    assert transcript.movers == [0, 1]
    assert not game.legal_actions()[8]
