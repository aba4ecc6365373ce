"""An engine for tests, started as a program: `fake_engine.py gtp|uci|usi MODE LOG`. It needs no rules.

In GTP it plays tic-tac-toe, on the first free square; in UCI it answers e2e4, or e7e5 after a move. What else it
does, at the moment when it is to move, is its mode. What it is told goes to the file LOG.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

SQUARES = [row + column for row in "ABC" for column in "123"]


def main(protocol: str, mode: str, log: str) -> None:
    with Path(log).open("a", buffering=1) as told:
        listen(protocol, mode, told)


def listen(protocol: str, mode: str, told: TextIO) -> None:
    if mode == "greets":
        say("Welcome to the fake engine!", "")
    if mode == "leaves_a_child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("child", child.pid, file=told)
    taken: list[str] = []
    for line in sys.stdin:
        print(line, end="", file=told)
        words = line.split()
        if protocol == "gtp":
            gtp(words, mode, taken)
        else:
            uci(words, mode, taken)
        if words == ["quit"] and mode != "stays":
            return
    if mode == "stays":
        time.sleep(600)


def gtp(words: list[str], mode: str, taken: list[str]) -> None:
    command, answer = words[0], ""
    if command == "protocol_version":
        answer = "1" if mode == "old" else "2"
    elif command == "list_commands":
        answer = "play\ngenmove\nset_random_seed"
    elif command == "clear_board":
        taken.clear()
    elif command == "play":
        if mode == "refuses":
            say("? illegal move", "")
            return
        taken.append(words[2])
    elif command == "genmove":
        misbehave(mode)
        free = next(square for square in SQUARES if square not in taken)
        answer = {"nonsense": "banana", "illegal": "A1", "resigns": "RESIGN"}.get(mode, free.lower())
        taken.append(free)
    say(f"= {answer}", "")


def uci(words: list[str], mode: str, taken: list[str]) -> None:
    if words[0] in ("uci", "usi"):
        say("id name fake", "option name Skill Level type spin default 20 min 0 max 20", f"{words[0]}ok")
    elif words[0] == "isready":
        say("readyok")
    elif words[0] == "position":
        taken[:] = words[3:]
    elif words[0] == "go":
        misbehave(mode)
        move = "e7e5" if taken else "e2e4"
        wrong = {
            "nonsense": "bestmove banana",
            "illegal": "bestmove e2e5",
            "none": "bestmove (none)",
            "empty": "bestmove",
        }
        say("info depth 1 score cp 0", wrong.get(mode, f"bestmove {move} ponder e2e4"))


def misbehave(mode: str) -> None:
    if mode == "dies":
        print("out of memory", file=sys.stderr, flush=True)
        sys.exit(3)
    if mode == "hangs":
        time.sleep(600)
    if mode == "talks":
        while True:
            say("info string and another thing")
    if mode == "complains":
        print("a line of complaint\n" * 100_000, file=sys.stderr, flush=True)


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
