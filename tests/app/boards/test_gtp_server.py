"""GTP as the standard has it: every line is answered, mistakes by a question mark, and the board follows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.fake_thinker import FirstLegal

from muzero_ray.adapters.loading import load_game
from muzero_ray.app.boards.gtp_server import GtpServer
from muzero_ray.play.game_in_progress import GameInProgress


def serve(game: str) -> GtpServer:
    return GtpServer(GameInProgress(load_game(game)), FirstLegal())


def talk(server: GtpServer, *lines: str) -> list[str]:
    """The answers, without the empty lines that end them."""
    answers = [server.answer(line) for line in lines]
    assert all(answer.endswith("\n\n") for answer in answers)
    return [answer[:-2] for answer in answers]


def test_it_introduces_itself():
    server = serve("go9")
    assert talk(server, "protocol_version", "name", "known_command play", "known_command fly", "known_command") == [
        *("= 2", "= muzero-ray", "= true", "= false", "= false"),
    ]
    commands = talk(server, "list_commands")[0].removeprefix("= ").split("\n")
    assert {"version", "boardsize", "clear_board", "komi", "play", "genmove", "undo", "quit"} <= set(commands)
    assert not server.ended
    assert talk(server, "quit") == ["= "]
    assert server.ended


def test_answers_carry_the_number_of_the_command():
    assert talk(serve("go9"), "12 name", "3 fly", "4\tboardsize\t9") == ["=12 muzero-ray", "?3 unknown command", "=4 "]


def test_comments_control_characters_and_empty_lines_are_passed_over():
    server = serve("go9")
    assert [server.answer(line) for line in ("", "\n", "  # only a comment\n", "7\n", "\x07\r\n")] == [""] * 5
    assert server.answer("na\x07me # who?\r\n") == "= muzero-ray\n\n"


def test_a_game_is_played_shown_and_taken_back():
    server = serve("go9")
    assert talk(server, "boardsize 9", "komi 7.5", "play b E5", "genmove w", "genmove black") == [
        *("= ", "= ", "= ", "= A1", "= B1"),
    ]
    board = talk(server, "showboard")[0].splitlines()
    assert board[0] == "= "
    assert board[-2] == "1 O X . . . . . . . 1"
    assert talk(server, "undo", "undo", "undo", "undo") == ["= ", "= ", "= ", "? cannot undo"]
    assert "X" not in talk(server, "showboard")[0]
    assert talk(server, "play b a1", "clear_board", "undo") == ["= ", "= ", "? cannot undo"]


@pytest.mark.parametrize("wrong", ["play b E5", "play w E5", "play w Z9", "play w I5", "play w K1", "play w resign"])
def test_illegal_moves_are_refused_and_change_nothing(wrong):
    server = serve("go9")
    talk(server, "play b E5")
    before = talk(server, "showboard")
    assert talk(server, wrong)[0].startswith("? illegal move")
    assert talk(server, "showboard") == before
    assert talk(server, "genmove w") == ["= A1"]


@pytest.mark.parametrize(
    "wrong", ["play", "play b", "play green E5", "genmove", "genmove E5", "komi", "komi much", "boardsize"]
)
def test_malformed_commands_are_syntax_errors(wrong):
    assert talk(serve("go9"), wrong)[0].startswith("? syntax error")


def test_other_sizes_are_refused():
    assert talk(serve("go9"), "boardsize 19", "boardsize 9") == ["? unacceptable size", "= "]


def test_a_player_who_moves_twice_at_go_is_understood_as_a_pass_between():
    server = serve("go9")
    assert talk(server, "play b C3", "play b G7", "genmove b", "undo", "undo", "genmove w") == [
        *("= ", "= ", "= A1", "= ", "= ", "= A1"),
    ]


def test_without_passes_the_turn_is_kept():
    server = serve("tictactoe")
    assert talk(server, "play w A1", "play b A1", "genmove b") == [
        *("? illegal move: it is the other player's turn", "= ", "? illegal move: it is the other player's turn"),
    ]


def test_two_passes_end_a_game_of_go_after_which_it_only_passes():
    server = serve("go9")
    assert talk(server, "play b pass", "play w PASS", "genmove b", "reg_genmove w", "play b A1") == [
        *("= ", "= ", "= pass", "= pass", "? illegal move: the game is over"),
    ]
    assert talk(server, "undo", "genmove w") == ["= ", "= A1"]


def test_a_move_is_shown_without_being_played():
    server = serve("go9")
    assert talk(server, "reg_genmove b", "reg_genmove w", "genmove b") == ["= A1", "= A1", "= A1"]


def test_the_score_is_the_area_less_the_komi_that_was_told():
    server = serve("go9")
    # Black's lone stone reaches all 81 points.
    assert talk(server, "final_score", "play b E5", "final_score") == ["= W+7.5", "= ", "= B+73.5"]
    assert talk(server, "komi 81", "final_score", "komi 100", "final_score") == ["= ", "= 0", "= ", "= W+19"]


def test_other_games_are_scored_when_they_are_over():
    server = serve("tictactoe")
    told = talk(server, "play b A1", "play w B1", "play b A2", "play w B2", "final_score", "play b A3", "final_score")
    assert told[4:] == ["? cannot score: the game is not over", "= ", "= B+1"]
    assert talk(server, "genmove w") == ["? illegal move: the game is over"]


@pytest.mark.parametrize("game", ["gomoku", "hex", "othello"])
def test_other_board_games_are_served(game):
    server = serve(game)
    move = talk(server, "genmove b")[0].removeprefix("= ")
    assert talk(server, "clear_board", f"play b {move.upper()}", "undo") == ["= ", "= ", "= "]


def test_clocks_are_accepted():
    assert talk(serve("go9"), "time_settings 600 30 1", "time_left b 590 0") == ["= ", "= "]


WORDS = [
    "play",
    "genmove",
    "undo",
    "b",
    "w",
    "E5",
    "pass",
    "komi",
    "1",
    "-3",
    "final_score",
    "clear_board",
    "boardsize",
]


@given(st.lists(st.one_of(st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), st.text(max_size=30))))
def test_whatever_is_said_the_server_answers_and_goes_on(lines):
    server = serve("go9")
    for line in lines:
        answer = server.answer(line)
        assert answer == "" or (answer[0] in "=?" and answer.endswith("\n\n"))
    assert server.answer("clear_board") == "= \n\n"
