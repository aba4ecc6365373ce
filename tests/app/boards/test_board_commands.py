"""The agent as a program: served by GTP, UCI and USI, and at the board with a person."""

import contextlib
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reference.tiny_agents import make_agent_run

from muzero_ray.adapters.loading import load_game
from muzero_ray.app import config_io
from muzero_ray.app.agent import open_agent
from muzero_ray.app.boards import board_commands
from muzero_ray.app.errors import UserError
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.core.checked_game import CheckedGame
from muzero_ray.play.engine_process import find_program
from muzero_ray.play.engines import make_engine


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of untrained agents, by game."""
    folder = tmp_path_factory.mktemp("runs")
    made: dict[str, Path] = {}

    def run(game: str) -> Path:
        if game not in made:
            made[game] = make_agent_run(folder, game)
        return made[game]

    return run


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A command of `board_commands` as words to start; it prints on standard output, as a library may."""
    script = tmp_path_factory.mktemp("program") / "serve.py"
    script.write_text(
        "import os, sys\n"
        "from muzero_ray.app.boards import board_commands, gtp_server, uci_server\n"
        "for server in (gtp_server.GtpServer, uci_server.UciServer):\n"
        "    def loud(self, *args, _init=server.__init__, **kwargs):\n"
        "        print('printed from Python')\n"
        "        os.write(1, b'printed from C\\n')\n"
        "        _init(self, *args, **kwargs)\n"
        "    server.__init__ = loud\n"
        "sys.exit(getattr(board_commands, sys.argv[1])(sys.argv[2:]))\n"
    )
    return lambda command, *words: [sys.executable, str(script), command, *map(str, words)]


def say(command: list[str], text: bytes) -> subprocess.CompletedProcess:
    return subprocess.run(command, input=text, capture_output=True, timeout=120, check=False)


def test_gtp_answers_on_standard_output_and_nothing_else_is_there(program, runs):
    said = b"protocol_version\n2 play b \xff\xfe\n\ngenmove w\r\nquit\nname\n"
    done = say(program("gtp", runs("go9"), "--simulations", "3"), said)
    assert done.returncode == 0
    answers = done.stdout.decode().split("\n\n")
    assert answers[:2] == ["= 2", "?2 illegal move"]
    assert answers[2].startswith("= ")
    assert answers[3:] == ["= ", ""]
    assert b"printed from Python\nprinted from C\n" in done.stderr


def test_uci_answers_on_standard_output_and_ends_with_its_input(program, runs):
    done = say(program("uci", runs("chess"), "--simulations", "3"), b"uci\nisready\ngo\nnonsense \xff\ngo nodes 2")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert lines[:2] == [lines[0], "id author the muzero-ray authors"]
    assert lines[2] == "option name Simulations type spin default 3 min 1 max 100000"
    assert [line.split()[0] for line in lines[3:]] == [
        "uciok",
        "readyok",
        *["info", "bestmove"],
        "info",
        "info",
        "bestmove",
    ]
    assert b"printed from C" in done.stderr


@pytest.mark.parametrize(
    ("game", "protocol", "moves"), [("go9", "gtp", 200), ("chess", "uci", 60), ("shogi", "usi", 60)]
)
def test_two_of_our_own_agents_play_each_other_through_their_protocol(program, runs, game, protocol, moves):
    command = program("gtp" if protocol == "gtp" else "uci", runs(game))
    referee = CheckedGame(load_game(game)())
    referee.reset(0)
    options = "" if protocol == "gtp" else ":nodes=4"
    players = [make_engine(f"{protocol}:{' '.join(command)}{options}", referee) for _ in range(2)]
    history, rng = [], np.random.default_rng(0)
    over = False
    while not over and len(history) < moves:
        history.append(players[referee.to_play].choose(referee, history, rng))
        _, _, terminated, truncated, _ = referee.step(history[-1])
        over = terminated or truncated
    for player in players:
        player.close()
    assert over or len(history) == moves
    assert over or game != "go9"


@pytest.mark.skipif(find_program("gnugo") is None, reason="gnugo is not installed")
def test_gnugo_beats_an_untrained_agent_and_both_agree_on_the_score(program, runs):
    referee = CheckedGame(load_game("go9")())
    referee.reset(0)
    agent = make_engine(f"gtp:{' '.join(program('gtp', runs('go9')))}", referee)
    gnugo = make_engine("gtp:gnugo:1", referee)
    history, rng, over, reward = [], np.random.default_rng(0), False, 0.0
    while not over:
        player = (agent, gnugo)[referee.to_play]
        history.append(player.choose(referee, history, rng))
        mover = referee.to_play
        _, reward, over, _, _ = referee.step(history[-1])
    assert (reward if mover == 1 else -reward) == 1.0
    # Each has heard of all moves but the last one, which was a pass.
    assert gnugo._ask("final_score").startswith("W+")
    assert agent._ask("final_score") == gnugo._ask("final_score")
    agent.close()
    gnugo.close()


@pytest.mark.parametrize(
    ("command", "game", "message"),
    [
        ("gtp", "cartpole", "gtp: cartpole is a game for one player; muzero-ray watch .* shows the agent at it"),
        ("uci", "cartpole", "uci: cartpole is a game for one player"),
        ("play", "cartpole", "play: cartpole is a game for one player; muzero-ray watch "),
        ("uci", "go9", "uci: is for chess and shogi, not for go9; muzero-ray gtp .* serves it"),
        (
            "gtp",
            "chess",
            "gtp: is for Go and other stones on a square board, not for chess; muzero-ray uci .* serves it",
        ),
        ("gtp", "connect4", "not for connect4; muzero-ray play .* plays it"),
        ("uci", "connect4", "uci: is for chess and shogi, not for connect4; muzero-ray play .* plays it"),
    ],
)
def test_runs_of_games_that_do_not_fit_are_refused(runs, command, game, message):
    with pytest.raises(UserError, match=message):
        getattr(board_commands, command)([str(runs(game))])


@pytest.mark.parametrize("command", ["gtp", "uci", "play"])
def test_mistakes_are_told(runs, command, tmp_path):
    run = getattr(board_commands, command)
    with pytest.raises(UserError, match="wanted a run folder"):
        run([str(tmp_path)])
    with pytest.raises(UserError, match=r"--checkpoint: .* has no 77; there is last, 1"):
        run([str(runs("tictactoe")), "--checkpoint", "77"])
    with pytest.raises(UserError, match="--simulations: wanted a number from 1 to 100000, got 0"):
        run([str(runs("tictactoe")), "--simulations", "0"])


def test_weights_of_another_game_are_refused(tmp_path):
    run = RunFolder.open(make_agent_run(tmp_path, "tictactoe"))
    config_io.write_config(run.config, config_io.read_config(run.config).model_copy(update={"game": "connect4"}))
    with pytest.raises(UserError, match=r"its weights do not fit the game connect4 and the network in .*config\.yaml"):
        open_agent(run.path, None)


def test_an_agent_is_opened_with_its_weights(runs):
    config, agent = open_agent(runs("tictactoe"), None)
    assert config.game == "tictactoe"
    assert agent.model.initial(np.zeros((1, 2, 3, 3), np.float32), num_nodes=1).policy_logits.shape == (1, 9)


def test_a_person_plays_from_a_pipe(program, runs):
    done = say(program("play", runs("tictactoe"), "--side", "second", "--simulations", "2"), b"moves\nhint\nquit\n")
    assert done.returncode == 0
    assert b"You play second; the agent thinks 2 simulations per move." in done.stdout
    assert done.stdout.endswith(b"Goodbye.\n")
    assert done.stderr == b""


@pytest.mark.parametrize("key", [b"\x03", b"\x04"])  # Ctrl-C, Ctrl-D
def test_a_person_leaves_a_terminal_by_a_key(program, runs, key):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        program("play", runs("tictactoe")),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        preexec_fn=_take_terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(follower)
    seen = b""
    while b"your move:" not in seen:
        seen += os.read(leader, 1000)
    with contextlib.suppress(OSError):  # so Linux says that nobody has the terminal open any more
        os.write(leader, key)
        while True:
            while b"Goodbye." not in seen and not select.select([leader], [], [], 2.0)[0]:
                os.write(leader, key)  # as a person would: Python misses a signal just before it waits for a line
            if not (piece := os.read(leader, 1000)):
                break
            seen += piece
    os.close(leader)
    assert process.wait(timeout=60) == 0
    assert seen.rstrip().endswith(b"Goodbye.")
    assert b"Traceback" not in seen


def _take_terminal() -> None:
    """Makes standard input the terminal that controls this process, so that Ctrl-C reaches it."""
    import fcntl
    import signal
    import termios

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which is ignored where the tests run in the background of a shell
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
