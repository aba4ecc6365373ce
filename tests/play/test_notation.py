"""Moves are read as people and programs write them, and each game is spoken of in the protocol that fits."""

import pytest

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
