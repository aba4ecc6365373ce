"""Engines play by our rules, and whatever they do wrong is told in a sentence and leaves nothing running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from reference import fake_engine

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.checked_game import CheckedGame
from muzero_ray.core.game import Game
from muzero_ray.play import engine_process, engines
from muzero_ray.play.engine_process import EngineProcess, find_program
from muzero_ray.play.engines import EngineName, make_engine
from muzero_ray.play.opponent import OpponentError, OpponentResigned, UnknownOpponentError


def start(name: str) -> CheckedGame:
    game = CheckedGame(load_game(name)(), name=name)
    game.reset(0)
    return game


@pytest.fixture
def fake(tmp_path: Path):
    """Names an engine that does wrong what its mode says."""

    def name(protocol: str, mode: str, options: str = "") -> str:
        return f"{protocol}:{sys.executable} {fake_engine.__file__} {protocol} {mode} {tmp_path / 'log'}{options}"

    return name


@pytest.fixture
def told(tmp_path: Path):
    """What the fake engines were told."""
    return lambda: (tmp_path / "log").read_text().splitlines()


def play_out(
    game: Game, engine: engines.GtpEngine | engines.UciEngine, seat: int, seed: int
) -> tuple[float, list[int]]:
    """One game against random play: the engine's return, and the actions."""
    game.reset(0)
    rng = np.random.default_rng(seed)
    history: list[int] = []
    while True:
        mover = game.to_play
        if mover == seat:
            action = engine.choose(game, history, rng)
        else:
            action = int(rng.choice(np.flatnonzero(game.legal_actions())))
        _, reward, terminated, truncated, _ = game.step(action)
        history.append(action)
        if terminated or truncated:
            return (reward if mover == seat else -reward), history


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("mode", ["plays", "greets", "complains"])
def test_a_game_is_played_to_its_end_with_an_engine_that_greets_or_fills_its_standard_error(fake, mode: str) -> None:
    game = start("tictactoe")
    engine = make_engine(fake("gtp", mode), game)
    for seat in (0, 1):
        _, history = play_out(game, engine, seat, seed=seat)
        assert len(history) >= 5
    engine.close()


def test_gtp_is_told_what_is_new_and_everything_only_in_another_game(fake, told, rng) -> None:
    game = start("tictactoe")
    engine = make_engine(fake("gtp", "tells"), game)
    assert engine.choose(game, [], rng) == 0
    game.step(0)
    game.step(4)
    assert engine.choose(game, [0, 4], rng) == 1  # a1 and B2 are taken
    game.reset(0)
    game.step(8)
    assert engine.choose(game, [8], rng) == 0
    heard = [line for line in told() if not line.startswith(("set_random_seed", "protocol", "list"))]
    assert heard == [
        *("boardsize 3", "clear_board", "komi 7.5", "genmove b"),
        *("play w B2", "genmove b"),
        *("boardsize 3", "clear_board", "komi 7.5", "play b C3", "genmove w"),
    ]
    engine.close()


def test_a_game_that_was_not_continued_with_the_engines_own_move_is_told_anew(fake, told, rng) -> None:
    game = start("tictactoe")
    engine = make_engine(fake("gtp", "plays"), game)
    assert engine.choose(game, [], rng) == 0
    game.step(8)
    game.step(4)
    assert engine.choose(game, [8, 4], rng) == 0
    assert told()[-3:] == ["play b C3", "play w B2", "genmove b"]
    engine.close()


def test_the_engines_seed_comes_from_the_generator(fake, told) -> None:
    game = start("tictactoe")
    seeds = []
    for _ in range(2):
        engine = make_engine(fake("gtp", "plays"), game)
        engine.choose(game, [], np.random.default_rng(7))
        seeds += [line for line in told() if line.startswith("set_random_seed")]
        engine.close()
    assert seeds[0] == seeds[1] == f"set_random_seed {np.random.default_rng(7).integers(2**31 - 1)}"


def test_uci_is_told_the_whole_game_before_every_move_and_of_new_games(fake, told, rng) -> None:
    game = start("chess")
    engine = make_engine(fake("uci", "plays", ":skill=3,nodes=50"), game)
    for moves in (["e2e4"], ["d2d4"]):
        game.reset(0)
        history = []
        for move in moves:
            history.append(game.string_to_action(move))
            game.step(history[-1])
        assert game.action_to_string(engine.choose(game, history, rng)) == "e7e5"
    assert told() == [
        *("uci", "setoption name Skill Level value 3", "isready"),
        *("ucinewgame", "isready", "position startpos moves e2e4", "go nodes 50"),
        *("ucinewgame", "isready", "position startpos moves d2d4", "go nodes 50"),
    ]
    engine.close()


@pytest.mark.parametrize(
    ("protocol", "mode", "message"),
    [
        ("gtp", "dies", "has ended; it said last: .*out of memory"),
        ("gtp", "nonsense", "answered 'banana': 'banana' is no legal move here; moves so far: A1\nX . ."),
        ("gtp", "illegal", "answered 'A1': 'A1' is no legal move here; moves so far: A1\nX . ."),
        ("gtp", "hangs", "did not answer in time and was stopped"),
        ("gtp", "talks", "did not answer in time and was stopped; it said last: .*and another thing"),
        ("gtp", "refuses", "refuses 'play b A1': illegal move"),
        ("uci", "dies", "has ended; it said last: .*out of memory"),
        ("uci", "nonsense", "answered 'banana': 'banana' is no legal move here; moves so far: e2e4\n"),
        ("uci", "illegal", "answered 'e2e5': 'e2e5' is no legal move here; moves so far: e2e4\n"),
        ("uci", "none", r"answered '\(none\)': "),
        ("uci", "empty", "answered '': "),
        ("uci", "hangs", "did not answer in time and was stopped"),
        ("uci", "talks", "did not answer in time and was stopped"),
    ],
)
def test_what_an_engine_does_wrong_is_told_and_ends_it(fake, protocol: str, mode: str, message: str, rng) -> None:
    game = start("tictactoe" if protocol == "gtp" else "chess")
    engine = make_engine(fake(protocol, mode), game)
    engine._timeout = 0.5 if mode in ("hangs", "talks") else 60.0
    pid = engine._process.pid
    action = game.string_to_action("A1" if protocol == "gtp" else "e2e4")
    game.step(action)
    with pytest.raises(OpponentError, match=f"(?s){message}") as caught:
        engine.choose(game, [action], rng)
    assert str(caught.value).startswith(f"{protocol}:")
    assert not is_running(pid)
    with pytest.raises(OpponentError, match="has ended"):
        engine.choose(game, [action], rng)
    engine.close()


def test_a_resignation_is_no_failure_and_the_next_game_can_be_played(fake, rng) -> None:
    game = start("tictactoe")
    engine = make_engine(fake("gtp", "resigns"), game)
    for _ in range(2):
        with pytest.raises(OpponentResigned, match="resigns"):
            engine.choose(game, [], rng)
    engine.close()


def test_usi_engines_may_resign(fake, rng, monkeypatch) -> None:
    game = start("shogi")
    engine = make_engine(fake("usi", "plays"), game)
    monkeypatch.setattr(engine, "_read_until", lambda word, extra=0.0: [f"{word} resign"])
    with pytest.raises(OpponentResigned):
        engine.choose(game, [], rng)
    engine.close()


@pytest.mark.parametrize("mode", ["plays", "stays", "leaves_a_child"])
def test_closing_ends_the_engine_and_what_it_started(fake, told, mode: str) -> None:
    engine = make_engine(fake("gtp", mode), start("tictactoe"))
    pid = engine._process.pid
    child = next((int(line.split()[1]) for line in told() if line.startswith("child")), pid)
    assert is_running(child)
    began = time.monotonic()
    engine.close()
    engine.close()
    assert time.monotonic() - began < engine_process.GRACE_SECONDS + 2
    assert not is_running(pid)
    assert not is_running(child)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # no zombie is left to wait for


def test_an_engine_ends_with_the_process_that_forgot_it(fake) -> None:
    code = f"""
from muzero_ray.adapters.loading import load_game
from muzero_ray.play.engines import make_engine
print(make_engine({fake("gtp", "stays")!r}, load_game("tictactoe")())._process.pid)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not is_running(int(done.stdout))


@pytest.mark.parametrize(
    ("name", "game", "message"),
    [
        ("gtp:", "tictactoe", "wanted a program after gtp:, got none"),
        ("gtp:'unclosed", "tictactoe", "the command cannot be read: No closing quotation"),
        ("gtp:gnugo:level=11", "go9", "level: wanted a number from 1 to 10, got '11'"),
        ("gtp:gnugo:level=low", "go9", "level: wanted a number from 1 to 10, got 'low'"),
        ("gtp:gnugo:speed=3", "go9", "GTP engines have no option speed"),
        ("gtp:gnugo:level=3,fast", "go9", "wanted OPTION=VALUE with commas between, got 'fast'"),
        ("uci:stockfish", "go9", "UCI is for chess, not for go9; engines for this game speak GTP"),
        ("gtp:gnugo", "chess", "GTP is for Go and other stones on a square board, not for chess; .* speak UCI"),
        ("usi:fairy-stockfish", "connect4", "USI is for shogi, not for connect4; no protocol of engines fits"),
    ],
)
def test_names_that_cannot_be_used_are_told(name: str, game: str, message: str) -> None:
    with pytest.raises(UnknownOpponentError, match=message):
        make_engine(name, start(game))


def test_an_option_that_the_engine_does_not_have_is_told(fake) -> None:
    with pytest.raises(UnknownOpponentError, match="the engine has no option hash; it has Skill Level"):
        make_engine(fake("uci", "plays", ":hash=4"), start("chess"))


def test_an_engine_that_is_not_there_is_told_with_its_package(monkeypatch) -> None:
    monkeypatch.setattr(engines, "find_program", lambda name: None)
    with pytest.raises(OpponentError, match="no program gnugo on the PATH; install it: sudo apt install gnugo"):
        make_engine("gtp:gnugo", start("go9"))
    with pytest.raises(OpponentError, match="no program mygo on the PATH; install it, or give its path"):
        make_engine("gtp:mygo --fast", start("go9"))


def test_programs_that_speak_another_protocol_are_told(fake) -> None:
    with pytest.raises(OpponentError, match="wanted version 2 of GTP, got '1'"):
        make_engine(fake("gtp", "old"), start("tictactoe"))
    with pytest.raises(OpponentError, match="has ended; it said last: nothing"):
        make_engine("gtp:true", start("tictactoe"))
    with pytest.raises(OpponentError, match="did not answer in time"):
        make_engine("uci:sleep 60:timeout=0.2", start("chess"))


def test_a_file_that_is_no_program_is_told(tmp_path: Path) -> None:
    (tmp_path / "engine").write_text("\0")
    (tmp_path / "engine").chmod(0o755)
    with pytest.raises(OpponentError, match="cannot be started: Exec format error"):
        make_engine(f"gtp:{tmp_path}/engine", start("tictactoe"))


def test_names_are_read_into_command_and_options() -> None:
    read = EngineName.read
    assert read('gtp:"/opt/my engine/x" --fast').command == ("/opt/my engine/x", "--fast")
    assert read('gtp:"/opt/engine --fast"').command == ("/opt/engine", "--fast")
    assert read("gtp:'/opt/my engine' 'a b'").command == ("/opt/my engine", "a b")
    assert read("uci:stockfish:EvalFile=/nets/a.nnue").options == {"EvalFile": "/nets/a.nnue"}
    assert read("gtp:gnugo:3").options == {"level": "3"}
    colons = read("uci:stockfish:skill=3:movetime=50")
    assert colons.command == ("stockfish",)
    assert colons.options == read("uci:stockfish:skill=3,movetime=50").options == {"skill": "3", "movetime": "50"}
    assert read("uci:/opt/engine:UCI_Elo=1500").command == ("/opt/engine",)
    assert read("gtp:/opt/engine --config=/a:b/c=d").command == ("/opt/engine", "--config=/a:b/c=d")


@pytest.mark.parametrize(
    ("options", "go"),
    [("", "go nodes 10000"), (":movetime=50", "go movetime 50"), (":depth=3,nodes=9", "go nodes 9 depth 3")],
)
def test_uci_engines_are_told_how_long_to_think(options: str, go: str) -> None:
    assert engines._take_limits(EngineName.read(f"uci:stockfish{options}"))[0] == go


def test_usi_engines_are_given_the_time_of_a_move_as_byoyomi() -> None:
    assert engines._take_limits(EngineName.read("usi:x:movetime=50")) == ("go btime 0 wtime 0 byoyomi 50", 0.05)


def test_elo_limits_the_strength() -> None:
    assert engines._engine_options({"elo": "1500"}) == {"UCI_LimitStrength": "true", "UCI_Elo": "1500"}


def test_lines_are_whole_however_they_arrive() -> None:
    code = "import sys; [(sys.stdout.write(p), sys.stdout.flush(), __import__('time').sleep(.05)) for p in %r]"
    process = EngineProcess([sys.executable, "-c", code % (["ab", "c\r\nde", "f\nlast"],)], "it")
    deadline = time.monotonic() + 30
    assert [process.read_line(deadline) for _ in range(3)] == ["abc", "def", "last"]
    with pytest.raises(OpponentError, match=r"it has ended; it said last: abc \| def \| last"):
        process.read_line(deadline)


needs_gnugo = pytest.mark.skipif(find_program("gnugo") is None, reason="gnugo is not installed")
needs_stockfish = pytest.mark.skipif(find_program("stockfish") is None, reason="stockfish is not installed")
needs_fairy = pytest.mark.skipif(find_program("fairy-stockfish") is None, reason="fairy-stockfish is not installed")


@needs_gnugo
def test_gnugo_beats_random_play_by_our_rules_with_both_colours() -> None:
    game = start("go9")
    engine = make_engine("gtp:gnugo:1", game)
    assert [play_out(game, engine, seat, seed=0)[0] for seat in (0, 1)] == [1.0, 1.0]
    engine.close()


@needs_gnugo
def test_gnugo_plays_the_same_games_from_the_same_seeds() -> None:
    game = start("go9")
    histories = []
    for _ in range(2):
        engine = make_engine("gtp:gnugo:1", game)
        histories.append(play_out(game, engine, 0, seed=3)[1])
        engine.close()
    assert histories[0] == histories[1]


@needs_stockfish
def test_stockfish_beats_random_play_with_both_colours() -> None:
    game = start("chess")
    engine = make_engine("uci:stockfish:skill=20,nodes=500", game)
    assert [play_out(game, engine, seat, seed=0)[0] for seat in (0, 1)] == [1.0, 1.0]
    engine.close()


@needs_fairy
def test_fairy_stockfish_beats_random_play_at_shogi() -> None:
    game = start("shogi")
    engine = make_engine("usi:fairy-stockfish:nodes=500", game)
    assert [play_out(game, engine, seat, seed=0)[0] for seat in (0, 1)] == [1.0, 1.0]
    engine.close()


def is_running(pid: int) -> bool:
    """Whether a process is there and not only waited for; given a moment to die."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return False
        if state == "Z":
            return False
        time.sleep(0.01)
    return True


def test_a_child_that_is_killed_is_not_running() -> None:
    process = subprocess.Popen(["sleep", "60"])
    assert is_running(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not is_running(process.pid)
