"""The agent as a chess engine: answers UCI, or for shogi USI, for graphical boards and matches with other engines.

What it does not do: clocks (it thinks by simulations, whatever the time), thinking on the opponent's time, several
lines, positions that were not reached from the start. Its scores are those of `thinking.centipawns`.

Source: "Description of the universal chess interface", Meyer-Kahlen, 2006; "The USI protocol", Romstad.
"""

import time
from collections.abc import Callable
from importlib import metadata
from typing import Literal

from muzero_ray.play.game_in_progress import GameInProgress
from muzero_ray.play.notation import read_action
from muzero_ray.play.thinking import MAX_SIMULATIONS, Thinker, centipawns

_START = {
    "uci": ["fen", "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR", "w", "KQkq", "-"],
    "usi": ["sfen", "lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL", "b", "-"],
}
"""The start as boards may write it, up to the counts of moves; they may also say `startpos`."""


class UciServer:
    """Answers one command after another.

    The loop that calls it:

        for line in lines:
            for answer in server.answers(line):
                write(answer)
            if server.ended:
                break

    Args:
        position: the game, at its start. `protocol_of` it must be the dialect.
        thinker: the agent. Its number of simulations is the option `Simulations`.
        dialect: of the protocol.

    Attributes:
        ended: whether it has been told to quit.
    """

    def __init__(self, position: GameInProgress, thinker: Thinker, dialect: Literal["uci", "usi"]) -> None:
        self.ended = False
        self._position = position
        self._thinker = thinker
        self._dialect = dialect
        self._moves: list[str] = []  # that led to the position
        self._held: list[str] = []  # the answer that waits for `stop`
        self._commands: dict[str, Callable[[list[str]], list[str]]] = {
            dialect: self._introduce,
            "isready": lambda _: ["readyok"],
            "setoption": self._set_option,
            f"{dialect}newgame": self._new_game,
            "position": self._set_position,
            "go": self._go,
            "stop": self._stop,
            "ponderhit": self._stop,
            "quit": self._quit,
            "gameover": lambda _: [],
            "debug": lambda _: [],
        }

    def answers(self, line: str) -> list[str]:
        """The lines to write in answer to a line; none to one that is empty. What is unknown is told as `info`."""
        words = line.split()
        if not words:
            return []
        if words[0] not in self._commands:
            return [_info(f"unknown command {words[0][:40]}")]
        return self._commands[words[0]](words[1:])

    def _introduce(self, words: list[str]) -> list[str]:
        return [
            f"id name muzero-ray {metadata.version('muzero-ray')}",
            "id author the muzero-ray authors",
            f"option name Simulations type spin default {self._thinker.num_simulations} min 1 max {MAX_SIMULATIONS}",
            f"{self._dialect}ok",
        ]

    def _set_option(self, words: list[str]) -> list[str]:
        name, _, value = " ".join(words).removeprefix("name ").partition(" value")
        value = value.strip()
        if name.lower() != "simulations":
            return [_info(f"no option {name[:40]}")]
        if not value.isdecimal() or not 1 <= int(value) <= MAX_SIMULATIONS:
            return [_info(f"Simulations: wanted a number from 1 to {MAX_SIMULATIONS}, got {value[:40]}")]
        self._thinker.num_simulations = int(value)
        return []

    def _new_game(self, words: list[str]) -> list[str]:
        self._held, self._moves = [], []
        self._position.restart()
        return []

    def _set_position(self, words: list[str]) -> list[str]:
        split = words.index("moves") if "moves" in words else len(words)
        start, moves = words[:split], words[split + 1 :]
        wanted = _START[self._dialect]
        if start != ["startpos"] and start[: len(wanted)] != wanted:
            told = " ".join(start)[:100]
            return [_info(f"only positions reached from startpos are known, not {told}; the last one is kept")]
        position, before = self._position, list(self._position.history)
        common = _common_length(moves, self._moves)
        position.go_back_to(common)
        try:
            for move in moves[common:]:
                position.play(read_action(position.game, move))
        except ValueError as error:
            told = f"move {len(position.history) + 1}: {error}; the last position is kept"
            position.go_back_to(common)
            for action in before[common:]:
                position.play(action)
            return [_info(told)]
        self._moves = moves
        return []

    def _go(self, words: list[str]) -> list[str]:
        if self._position.over:
            return [f"bestmove {'(none)' if self._dialect == 'uci' else 'resign'}"]
        nodes = words[words.index("nodes") + 1 : words.index("nodes") + 2] if "nodes" in words else []
        wanted = int(nodes[0]) if nodes and nodes[0].isdecimal() else self._thinker.num_simulations
        began = time.perf_counter()
        thought = self._thinker.think(self._position, min(MAX_SIMULATIONS, max(1, wanted)))
        milliseconds = (time.perf_counter() - began) * 1000
        game = self._position.game
        move = game.action_to_string(thought.action)
        score = centipawns(thought.value, game.spec.value_bounds)
        told = [
            f"info depth 1 nodes {thought.num_simulations} time {milliseconds:.0f} score cp {score} pv {move}",
            f"bestmove {move}",
        ]
        if "infinite" in words or "ponder" in words:
            self._held = told[1:]
            return told[:1]
        return told

    def _stop(self, words: list[str]) -> list[str]:
        held, self._held = self._held, []
        return held

    def _quit(self, words: list[str]) -> list[str]:
        self.ended = True
        return []


def _info(text: str) -> str:
    return f"info string {text}"


def _common_length(first: list[str], second: list[str]) -> int:
    """How many words two lists begin with in common."""
    return next(
        (index for index, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
