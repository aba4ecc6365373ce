"""What an opponent of an agent is, and what can be wrong with one. Which there are is said in `opponents`."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from muzero_ray.core.game import Game


class OpponentError(RuntimeError):
    """An opponent died or answered nonsense: it loses that game, and a match goes on with a new one."""


class OpponentResigned(OpponentError):
    """An opponent gave a game up: it loses that game by the rules, and is ready for the next."""


class UnknownOpponentError(ValueError):
    """A name that no opponent of this game has; the message says which there are."""


class Opponent(Protocol):
    """One who chooses moves.

    The loop that calls it, for any number of games at the same time:

        opponent = make_opponent(name, game)
        action = opponent.choose(game, history, rng)    # wherever it is the opponent's turn
        opponent.close()
    """

    name: str
    """As it was asked for, "uct:100"."""

    def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
        """A legal action of the game's present state, which stays as it is.

        Args:
            game: where it is the opponent's turn.
            history: all actions since `reset`, those of a random opening included.
            rng: source of everything random, one per game.

        Raises:
            OpponentResigned: if the opponent gives the game up.
            OpponentError: if the opponent cannot answer any more.
        """
        ...

    def close(self) -> None:
        """Frees what the opponent holds. Most hold nothing."""
        return
