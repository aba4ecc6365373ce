"""What people and other programs call moves and positions: reading moves, and which protocol fits a game."""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from muzero_ray.core.game import Game

Protocol = Literal["gtp", "uci", "usi"]
"""GTP for stones on a square board (Go), UCI for chess, USI for shogi."""
VERTEX = re.compile("[A-Ta-t][1-9][0-9]?")
"""A point as GTP names it, column and row."""
COLOURS = ("b", "w")
"""GTP's names of player 0, who begins, and of player 1."""
KOMI = 7.5
"""Points that White gets for moving second in our games of Go."""


def read_action(game: Game, text: str) -> int:
    """The legal action that somebody names, if need be in other letters, where those name no other: "e5" for "E5".

    A capital before small letters stays one. In chess it is a piece: a bishop's Bxc3 is not a pawn's bxc3.

    Raises:
        ValueError: if it names none.
    """
    text = text.strip()
    action = _named(game, text)
    if action is None and (text.isupper() or not text[:1].isupper()):
        named = {_named(game, text.upper()), _named(game, text.lower())} - {None}
        # BXC3 may be either of the two.
        if len(named | {_named(game, text.capitalize())} - {None}) == 1:
            action = next(iter(named), None)
    if action is None or not game.legal_actions()[action]:
        raise ValueError(f"{text!r} is no legal move here")
    return action


def _named(game: Game, text: str) -> int | None:
    """The action that is written so, legal or not."""
    try:
        return game.string_to_action(text)
    except ValueError:
        return None


def legal_moves(game: Game) -> list[str]:
    """The legal moves in the game's notation, in the order of the actions."""
    return [game.action_to_string(int(action)) for action in np.flatnonzero(game.legal_actions())]


def protocol_of(game: Game) -> Protocol | None:
    """The protocol in which the moves of a game can be told, asked at its start; None if there is none."""
    if game.spec.num_players != 2:
        return None
    moves = set(legal_moves(game))
    if "e2e4" in moves:
        return "uci"
    if "7g7f" in moves:
        return "usi"
    points = all(VERTEX.fullmatch(move) for move in moves - {"pass"})
    return "gtp" if points and board_size(game) is not None else None


def board_size(game: Game) -> int | None:
    """Lines of a square board, by the shape of its planes; None where there is no such board."""
    shape = game.spec.observation_shape
    return shape[1] if len(shape) == 3 and shape[1] == shape[2] else None


class Transcript:
    """The moves of a game in its notation, for those who are told histories of actions that mostly grow.

    Args:
        game: of this kind; it is left as it is. Its start must be the same with every seed.
    """

    def __init__(self, game: Game) -> None:
        self._game = game.clone()
        self.restart()

    def restart(self) -> None:
        """Goes back to the start."""
        self._game.reset(0)
        self._actions: list[int] = []
        self.moves: list[str] = []
        self.movers: list[int] = []

    def follow(self, history: Sequence[int]) -> bool:
        """Brings `moves` and `movers` up to these actions; False if that took a new start.

        Raises:
            ValueError: if an action is not legal.
        """
        known = len(self._actions)
        grows = list(history[:known]) == self._actions
        if not grows:
            self.restart()
        for action in history[len(self._actions) :]:
            mover, move = self._game.to_play, self._game.action_to_string(action)
            self._game.step(action)
            self._actions.append(action)
            self.movers.append(mover)
            self.moves.append(move)
        return grows

    def close(self) -> None:
        """Frees the game."""
        self._game.close()
