"""UCI and USI as the standards have them: what is unknown is passed over, and the position is the one last told."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.fake_thinker import FirstLegal

from muzero_ray.adapters.loading import load_game
from muzero_ray.app.boards.uci_server import UciServer
from muzero_ray.play.game_in_progress import GameInProgress

START = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1"
MATE = "position startpos moves f2f3 e7e5 g2g4 d8h4"


def serve(game: str = "chess") -> UciServer:
    return UciServer(GameInProgress(load_game(game)), FirstLegal(), "usi" if game == "shogi" else "uci")


def talk(server: UciServer, *lines: str) -> list[str]:
    """All answers, the time of a search left out."""
    return [re.sub(r"time \d+ ", "", answer) for line in lines for answer in server.answers(line)]


def first_move(server: UciServer) -> str:
    return talk(server, "go")[-1]


def test_it_introduces_itself_in_its_dialect():
    uci = talk(serve(), "uci", "isready")
    assert uci[0].startswith("id name muzero-ray ")
    assert uci[2:] == ["option name Simulations type spin default 8 min 1 max 100000", "uciok", "readyok"]
    assert talk(serve("shogi"), "usi")[-1] == "usiok"
    assert talk(serve("shogi"), "uci") == ["info string unknown command uci"]


def test_a_move_comes_with_its_search():
    # A value of 0.5 is an expected score of 3/4: 400 log10(3) = 191.
    assert talk(serve(), "position startpos moves e2e4", "go") == [
        *("info depth 1 nodes 8 score cp 191 pv a7a6", "bestmove a7a6"),
    ]


def test_simulations_are_set_by_option_and_for_one_move_by_nodes():
    server = serve()
    assert talk(server, "setoption name Simulations value 50") == []
    assert [talk(server, go)[0].split()[4] for go in ("go", "go nodes 9 movetime 5", "go", "go nodes")] == [
        *("50", "9", "50", "50"),
    ]
    for wrong in ("0", "many", "100001", ""):
        assert "wanted a number from 1 to 100000" in talk(server, f"setoption name Simulations value {wrong}")[0]
    assert talk(server, "setoption name Hash value 64") == ["info string no option Hash"]


@pytest.mark.parametrize("go", ["go infinite", "go ponder wtime 1000 btime 1000"])
def test_a_search_without_end_holds_its_move_until_it_is_stopped(go):
    server = serve()
    assert len(talk(server, go)) == 1
    assert talk(server, "isready", "stop", "stop") == ["readyok", "bestmove a2a3"]


def test_the_position_grows_shrinks_and_changes_as_told():
    server = serve()
    for moves in ("", " moves e2e4 e7e5 g1f3", " moves e2e4 e7e5", " moves d2d4 d7d5", " moves d2d4 d7d5 a2a3"):
        assert talk(server, f"position startpos{moves}") == []
        played = [server._position.game.action_to_string(action) for action in server._position.history]
        assert len(played) == len(moves.split()[1:])
    assert first_move(server) == "bestmove a7a6"
    assert talk(server, "ucinewgame") == []
    assert first_move(server) == "bestmove a2a3"


@pytest.mark.parametrize(
    "wrong",
    [
        "position startpos moves e2e4 e7e5 e1e3",
        "position startpos moves d2d4 d2d4",
        "position startpos moves banana",
        MATE + " e2e4",
        "position fen 8/8/8/8/8/8/8/K1k5 w - - 0 1 moves a1a2",
        "position",
        "position somewhere",
    ],
)
def test_positions_that_cannot_be_are_told_and_the_last_one_is_kept(wrong):
    server = serve()
    talk(server, "position startpos moves e2e4 e7e5 g1f3")
    before = server._position.game.text()
    (answer,) = talk(server, wrong)
    assert answer.startswith("info string ")
    assert "kept" in answer
    assert server._position.game.text() == before
    assert talk(server, "position startpos moves e2e4 e7e5 g1f3 b8c6") == []
    assert server._position.game.text() != before


def test_the_start_may_be_written_out():
    server = serve()
    assert talk(server, f"position fen {START} moves e2e4") == []
    assert first_move(server) == "bestmove a7a6"
    shogi = serve("shogi")
    assert talk(shogi, "position sfen lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1 moves 7g7f") == []
    assert len(shogi._position.history) == 1


def test_there_is_no_move_after_the_end():
    assert talk(serve(), MATE, "go") == ["bestmove (none)"]
    server = serve("shogi")
    server._position.over = True
    assert talk(server, "go") == ["bestmove resign"]


def test_unknown_commands_are_told_empty_lines_are_not_and_quit_ends():
    server = serve()
    assert talk(server, "", "  ", "fly away", "debug on") == ["info string unknown command fly"]
    assert not server.ended
    assert talk(server, "quit") == []
    assert server.ended


WORDS = ["position", "startpos", "moves", "e2e4", "e7e5", "fen", "go", "nodes", "-1", "7", "setoption", "name", "stop"]


@given(st.lists(st.one_of(st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join), st.text(max_size=30))))
def test_whatever_is_said_the_server_goes_on(lines):
    server = serve()
    for line in lines:
        assert all("\n" not in answer for answer in server.answers(line))
    assert talk(server, "isready", "ucinewgame", "go") == [
        *("readyok", "info depth 1 nodes 8 score cp 191 pv a2a3", "bestmove a2a3"),
    ]
