"""Programs that play Go, chess or shogi as opponents, spoken to in their own protocols: GTP, UCI and USI.

They are named `PROTOCOL:PROGRAM[:OPTIONS]`:

    gtp:gnugo  gtp:gnugo:3  uci:stockfish:skill=3,movetime=50  usi:fairy-stockfish  gtp:"/path/to/engine --some args"

An engine is told the moves of the game, and what it answers is checked against the rules of ours.

Source: "GTP - Go Text Protocol, version 2", Farnebäck, draft 2; "Description of the universal chess interface",
Meyer-Kahlen, 2006; "The USI protocol", Romstad, of which shogi programs follow what is used here.
"""

import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from muzero_ray.core.checked_game import CheckedGame
from muzero_ray.core.game import Game
from muzero_ray.play.engine_process import EngineProcess, find_program
from muzero_ray.play.notation import COLOURS, KOMI, Protocol, Transcript, board_size, protocol_of, read_action
from muzero_ray.play.opponent import OpponentError, OpponentResigned, UnknownOpponentError

ANSWER_SECONDS = 60.0
"""Time for every answer, besides what an engine is given to think (`movetime`); option `timeout`."""
GNUGO_LEVEL = 10
UCI_NODES = 10_000
"""Positions that a UCI or USI engine looks at per move, unless an option says how long it may think.
A number of nodes plays the same on every machine; a time would not."""
DEBIAN_PACKAGES = ("gnugo", "pachi", "stockfish", "fairy-stockfish", "gnuchess")
"""Programs whose Debian package is called like them."""
_GNUGO = (
    "gnugo",
    "--mode",
    "gtp",
    "--chinese-rules",
    "--positional-superko",
    "--capture-all-dead",
    "--never-resign",
    "--level",
)
# Our Go counts stones that stay on the board as alive: it must take the dead ones before it passes. What it gives up
# before the end may be won yet, against an agent that does not know how.
_PROTOCOLS: dict[str, Protocol] = {"gtp": "gtp", "uci": "uci", "usi": "usi"}
_OPTION = re.compile(r"option name (.+?) type ")


@dataclass(frozen=True)
class EngineName:
    """What a user wrote: `uci:stockfish:skill=3,movetime=50`."""

    text: str
    protocol: Protocol
    command: tuple[str, ...]
    options: dict[str, str]

    @classmethod
    def read(cls, text: str) -> "EngineName":
        """Raises UnknownOpponentError if there is no protocol, no program or an option without a value."""
        protocol, _, rest = text.partition(":")
        if protocol not in _PROTOCOLS:
            raise UnknownOpponentError(f"{text}: wanted gtp:PROGRAM, uci:PROGRAM or usi:PROGRAM, got {protocol!r}")
        rest = rest.strip()
        if rest[:1] in ("'", '"') and rest[-1] == rest[0] and rest.count(rest[0]) == 2:
            rest = rest[1:-1]
        options: dict[str, str] = {}
        while match := re.fullmatch(r"(.+):([^:/\s]+=[^:]*|\d+)", rest):
            rest, told = match.groups()
            for option in (f"level={told}" if told.isdecimal() else told).split(","):
                key, _, value = option.partition("=")
                if not key.strip() or not value.strip():
                    raise UnknownOpponentError(f"{text}: wanted OPTION=VALUE with commas between, got {option!r}")
                options.setdefault(key.strip(), value.strip())
        try:
            command = tuple(shlex.split(rest))
        except ValueError as error:
            raise UnknownOpponentError(f"{text}: the command cannot be read: {error}") from error
        if not command:
            raise UnknownOpponentError(f"{text}: wanted a program after {protocol}:, got none; for example gtp:gnugo")
        return cls(text, _PROTOCOLS[protocol], command, options)

    def take_number(self, key: str, default: float, low: float, high: float) -> float:
        """Takes a number from the options; raises UnknownOpponentError if it is none or out of range."""
        text = self.options.pop(key, None)
        if text is None:
            return default
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise UnknownOpponentError(f"{self.text}: {key}: wanted a number from {low:g} to {high:g}, got {text!r}")
        return number


def make_engine(name: str, game: Game) -> "GtpEngine | UciEngine":
    """Starts an engine as an opponent for a kind of game; to be closed.

    Args:
        name: `PROTOCOL:PROGRAM[:OPTIONS]`. OPTIONS are `key=value` with commas (or colons) between:
            of all engines `timeout`, seconds for an answer;
            of GTP engines `komi`, for a game of Go with another than ours;
            of gnugo `level`, 1 to 10, for which the number alone does;
            of UCI and USI engines `nodes`, `movetime` (milliseconds) or `depth` of a move, `skill` and `elo`, and
            every option that the engine itself names ("Hash=64").
        game: the game; it is left as it is.

    Raises:
        UnknownOpponentError: if the name cannot be read, or names an option or a kind of engine that does not fit.
        OpponentError: if the engine is not installed or does not start as its protocol says.
    """
    engine = EngineName.read(name)
    check_protocol(name, engine.protocol, game)
    return GtpEngine(engine, game) if engine.protocol == "gtp" else UciEngine(engine, game)


def check_protocol(name: str, protocol: Protocol, game: Game) -> None:
    """Raises UnknownOpponentError if the moves of a game cannot be told in a protocol."""
    fresh = game.clone()
    fresh.reset(0)
    fits = protocol_of(fresh)
    if fits != protocol:
        plays = {"gtp": "Go and other stones on a square board", "uci": "chess", "usi": "shogi"}[protocol]
        other = f"engines for this game speak {fits.upper()}" if fits else "no protocol of engines fits this game"
        raise UnknownOpponentError(f"{name}: {protocol.upper()} is for {plays}, not for {_title(game)}; {other}")


class _Engine:
    """What engines of all protocols share: the process, the moves told so far, and how answers are judged."""

    def __init__(self, name: EngineName, game: Game, timeout: float) -> None:
        self.name = name.text
        self._timeout = timeout
        self._transcript = Transcript(game)
        program, *arguments = name.command
        path = find_program(program)
        if path is None:
            advice = f": sudo apt install {program}" if program in DEBIAN_PACKAGES else ", or give its path"
            raise OpponentError(f"{self.name}: there is no program {program} on the PATH; install it{advice}")
        self._process = EngineProcess([path, *arguments], self.name)

    def close(self) -> None:
        """Ends the engine."""
        self._process.close(farewell="quit")
        self._transcript.close()

    def _read_answer(self, game: Game, answer: str) -> int:
        """The action that the engine chose; raises OpponentError if it is none."""
        try:
            return read_action(game, answer)
        except ValueError as error:
            self._process.close()
            moves = " ".join(self._transcript.moves) or "none"
            raise OpponentError(
                f"{self.name} answered {answer!r}: {error}; moves so far: {moves}\n{game.text()}"
            ) from error


class GtpEngine(_Engine):
    """An opponent that speaks GTP 2. It is told what is new since its last move, or all if that is another game."""

    def __init__(self, name: EngineName, game: Game) -> None:
        if name.command == ("gnugo",):
            level = name.take_number("level", GNUGO_LEVEL, 1, 10)
            name = replace(name, command=(*_GNUGO, f"{level:.0f}"))
        timeout = name.take_number("timeout", ANSWER_SECONDS, 0.01, 86_400)
        self._komi = name.take_number("komi", KOMI, -361, 361)
        if name.options:
            raise UnknownOpponentError(f"{name.text}: GTP engines have no option {', '.join(name.options)}")
        super().__init__(name, game, timeout)
        self._size = board_size(game)
        self._told: list[int] | None = None  # the moves that the engine has on its board; None: nobody knows which
        try:
            version = self._ask("protocol_version")
            if version != "2":
                raise OpponentError(f"{self.name}: wanted version 2 of GTP, got {version!r}")
            self._has_seed = "set_random_seed" in self._ask("list_commands").split()
        except OpponentError:
            self.close()
            raise

    def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
        """Chooses an action of the game's present state, to which these actions led from its start.

        Raises:
            OpponentResigned: if the engine gives the game up.
            OpponentError: if it dies, is silent for too long, or answers what is no legal move; it is of no use
                any more then.
        """
        self._transcript.follow(history)
        if self._told is None or list(history[: len(self._told)]) != self._told:
            self._start_game(rng)
            self._told = []
        moves = list(zip(self._transcript.movers, self._transcript.moves, strict=True))
        for mover, move in moves[len(self._told) :]:
            self._ask(f"play {COLOURS[mover]} {move}")
        answer = self._ask(f"genmove {COLOURS[game.to_play]}")
        if answer.lower() == "resign":
            self._told = None
            raise OpponentResigned(f"{self.name} resigns")
        action = self._read_answer(game, answer)
        self._told = [*history, action]
        return action

    def _start_game(self, rng: np.random.Generator) -> None:
        self._ask(f"boardsize {self._size}")
        self._ask("clear_board")
        self._ask(f"komi {self._komi:g}")
        if self._has_seed:  # gnugo's own, so that the opponent's play comes from the generator
            self._ask(f"set_random_seed {rng.integers(2**31 - 1)}")

    def _ask(self, command: str) -> str:
        """The answer to a command, without its "=": all lines up to an empty one."""
        deadline = time.monotonic() + self._timeout
        self._process.send(command)
        line = self._process.read_line(deadline)
        while not line.startswith(("=", "?")):  # a greeting
            line = self._process.read_line(deadline)
        lines = [line]
        while line := self._process.read_line(deadline).strip():
            lines.append(line)
        answer = "\n".join(lines)
        if answer.startswith("?"):
            self._process.close()
            raise OpponentError(f"{self.name} refuses {command!r}: {answer[1:].strip()}")
        return answer[1:].strip()


class UciEngine(_Engine):
    """An opponent that speaks UCI, or its Japanese sister USI. It is told the whole game before every move."""

    def __init__(self, name: EngineName, game: Game) -> None:
        self._dialect = name.protocol
        timeout = name.take_number("timeout", ANSWER_SECONDS, 0.01, 86_400)
        self._go, self._think_seconds = _take_limits(name)
        super().__init__(name, game, timeout)
        self._started = False
        try:
            self._set_options(_engine_options(name.options))
        except (OpponentError, UnknownOpponentError):
            self.close()
            raise

    def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
        """See `GtpEngine.choose`; the engine's randomness is its own."""
        grows = self._transcript.follow(history)
        if not (grows and self._started):
            self._process.send("ucinewgame" if self._dialect == "uci" else "usinewgame")
            self._wait_until_ready()
            self._started = True
        moves = self._transcript.moves
        self._process.send(" ".join(["position startpos", *(["moves", *moves] if moves else [])]))
        self._process.send(self._go)
        answer = " ".join(self._read_until("bestmove", self._think_seconds)[-1].split()[1:2])
        if answer == "resign":  # USI
            self._started = False
            raise OpponentResigned(f"{self.name} resigns")
        return self._read_answer(game, answer)

    def _set_options(self, wanted: dict[str, str]) -> None:
        self._process.send(self._dialect)
        offers = [_OPTION.match(line) for line in self._read_until(f"{self._dialect}ok")]
        known = {offer[1].lower(): offer[1] for offer in offers if offer}
        for key, value in wanted.items():
            if key.lower() not in known:
                names = ", ".join(known.values()) or "none"
                raise UnknownOpponentError(f"{self.name}: the engine has no option {key}; it has {names}")
            self._process.send(f"setoption name {known[key.lower()]} value {value}")
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        self._process.send("isready")
        self._read_until("readyok")

    def _read_until(self, word: str, extra_seconds: float = 0.0) -> list[str]:
        """All lines up to one that begins with a word."""
        deadline = time.monotonic() + self._timeout + extra_seconds
        lines = [self._process.read_line(deadline)]
        while lines[-1].split()[:1] != [word]:
            lines.append(self._process.read_line(deadline))
        return lines


def _take_limits(name: EngineName) -> tuple[str, float]:
    """Takes from the options how long to think: the command that says so, and the seconds that it may take."""
    limits = {key: name.take_number(key, 0, 1, 1e12) for key in ("nodes", "movetime", "depth")}
    if not any(limits.values()):
        limits["nodes"] = UCI_NODES
    words = ["go"]
    for key, number in limits.items():
        if number:
            # USI knows no movetime; the time for a move when the clock has run down is the same.
            told = "btime 0 wtime 0 byoyomi" if (key, name.protocol) == ("movetime", "usi") else key
            words.append(f"{told} {number:.0f}")
    return " ".join(words), limits["movetime"] / 1000


def _engine_options(given: dict[str, str]) -> dict[str, str]:
    """Options as UCI engines name them; `skill` and `elo` are Stockfish's ways to play weaker."""
    options = {}
    for key, value in given.items():
        if key == "skill":
            options["Skill Level"] = value
        elif key == "elo":
            options |= {"UCI_LimitStrength": "true", "UCI_Elo": value}
        else:
            options[key] = value
    return options


def _title(game: Game) -> str:
    return game.name if isinstance(game, CheckedGame) else type(game).__name__.lower()
