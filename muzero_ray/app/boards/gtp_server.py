"""The agent as a Go engine: answers GTP 2, for graphical boards and for matches with other engines.

Every game on a square board whose moves are points can be served; passing and scoring are Go's. What it does
not do: handicap, other board sizes than the game's, clocks (it thinks by simulations, whatever the time).

Source: "GTP - Go Text Protocol, version 2", Farnebäck, draft 2.
"""

import math
from collections.abc import Callable
from importlib import metadata

from muzero_ray.play.game_in_progress import GameInProgress
from muzero_ray.play.go_score import area_score
from muzero_ray.play.notation import KOMI, VERTEX, Transcript, board_size, legal_moves, read_action
from muzero_ray.play.thinking import Thinker

_COLUMNS = "ABCDEFGHJKLMNOPQRST"
_PLAYERS = {"b": 0, "black": 0, "w": 1, "white": 1}


class GtpError(Exception):
    """A command that fails; the message is told after the question mark."""


class GtpServer:
    """Answers one command after another.

    The loop that calls it:

        for line in lines:
            write(server.answer(line))
            if server.ended:
                break

    Args:
        position: the game, at its start. `protocol_of` it must be "gtp".
        thinker: the agent.

    Attributes:
        ended: whether it has been told to quit.
    """

    def __init__(self, position: GameInProgress, thinker: Thinker) -> None:
        self.ended = False
        self._position = position
        self._thinker = thinker
        self._size = board_size(position.game) or 0
        self._komi = KOMI
        self._is_go = "pass" in legal_moves(position.game)
        self._lengths: list[int] = []  # of the history before each move told or asked for, to go back to
        self._commands: dict[str, Callable[[list[str]], str]] = {
            "protocol_version": lambda _: "2",
            "name": lambda _: "muzero-ray",
            "version": lambda _: metadata.version("muzero-ray"),
            "known_command": lambda words: str(bool(words) and words[0] in self._commands).lower(),
            "list_commands": lambda _: "\n".join(self._commands),
            "quit": self._quit,
            "boardsize": self._boardsize,
            "clear_board": self._clear_board,
            "komi": self._set_komi,
            "play": self._play,
            "genmove": self._genmove,
            "reg_genmove": self._reg_genmove,
            "undo": self._undo,
            "showboard": self._showboard,
            "final_score": self._final_score,
            "time_settings": lambda _: "",
            "time_left": lambda _: "",
        }

    def answer(self, line: str) -> str:
        """What to write in answer to a line, its empty line at the end included; nothing for an empty line."""
        line = "".join(" " if letter == "\t" else letter for letter in line if letter == "\t" or letter.isprintable())
        words = line.partition("#")[0].split()
        number = words.pop(0) if words and words[0].isdecimal() else ""
        if not words:
            return ""
        try:
            if words[0] not in self._commands:
                raise GtpError("unknown command")
            return f"={number} {self._commands[words[0]](words[1:])}\n\n"
        except GtpError as error:
            return f"?{number} {error}\n\n"

    def _quit(self, words: list[str]) -> str:
        self.ended = True
        return ""

    def _boardsize(self, words: list[str]) -> str:
        if self._number(words) != self._size:
            raise GtpError("unacceptable size")
        return self._clear_board([])

    def _clear_board(self, words: list[str]) -> str:
        self._position.restart()
        self._lengths.clear()
        return ""

    def _set_komi(self, words: list[str]) -> str:
        self._komi = self._number(words)  # for final_score; the agent plays as it was trained
        return ""

    def _play(self, words: list[str]) -> str:
        player = self._player(words, 2)
        length = len(self._position.history)
        self._let_move(player)
        try:
            self._position.play(read_action(self._position.game, words[1]))
        except ValueError as error:
            self._position.go_back_to(length)
            raise GtpError("illegal move") from error
        self._lengths.append(length)
        return ""

    def _genmove(self, words: list[str]) -> str:
        player = self._player(words, 1)
        if self._position.over and self._is_go:
            return "pass"  # there is nothing to win any more
        length = len(self._position.history)
        self._let_move(player)
        action = self._thinker.think(self._position).action
        move = self._position.game.action_to_string(action)
        self._position.play(action)
        self._lengths.append(length)
        return move

    def _reg_genmove(self, words: list[str]) -> str:
        lengths = list(self._lengths)
        move = self._genmove(words)
        if len(self._lengths) > len(lengths):
            self._undo([])
        return move

    def _undo(self, words: list[str]) -> str:
        if not self._lengths:
            raise GtpError("cannot undo")
        self._position.go_back_to(self._lengths.pop())
        return ""

    def _showboard(self, words: list[str]) -> str:
        # An empty line would end the answer.
        return "\n".join(["", *(line for line in self._position.game.text().splitlines() if line.strip())])

    def _final_score(self, words: list[str]) -> str:
        position = self._position
        if self._is_go:
            transcript = Transcript(position.game)
            transcript.follow(position.history)
            points = [_point(move) for move in transcript.moves]
            score = area_score(self._size, zip(transcript.movers, points, strict=True)) - self._komi
        elif position.over:
            score = position.returns[0]
        else:
            raise GtpError("cannot score: the game is not over")
        return f"{'B' if score > 0 else 'W'}+{abs(score):g}" if score else "0"

    def _let_move(self, player: int) -> None:
        """Makes it a player's turn: at Go the other one passes, as where stones are set up for a handicap."""
        if self._position.over:
            raise GtpError("illegal move: the game is over")
        if self._position.game.to_play == player:
            return
        length = len(self._position.history)
        if self._is_go:
            self._position.play(read_action(self._position.game, "pass"))
        if self._position.over or self._position.game.to_play != player:
            self._position.go_back_to(length)
            raise GtpError("illegal move: it is the other player's turn")

    @staticmethod
    def _player(words: list[str], count: int) -> int:
        """The player that the first of `count` words names."""
        if len(words) != count or words[0].lower() not in _PLAYERS:
            raise GtpError("syntax error: invalid color or coordinate")
        return _PLAYERS[words[0].lower()]

    @staticmethod
    def _number(words: list[str]) -> float:
        try:
            number = float(words[0])
        except (IndexError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise GtpError("syntax error: wanted a number")
        return number


def _point(move: str) -> tuple[int, int] | None:
    """Row and column of a vertex, from 0; none of a pass."""
    if not VERTEX.fullmatch(move):
        return None
    return int(move[1:]) - 1, _COLUMNS.index(move[0].upper())
