"""A game as someone who only looks ahead needs it: its rules, without observations.

Opponents that search or play out thousands of games per move would spend most of their time on observations
that nobody reads. `Game.position` hands them one of these instead.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from muzero_ray.core.game import Game


class Position(ABC):
    """A state from which one can look ahead.

    The loop that calls it:

        ahead = position.copy()
        while not ahead.over:
            reward = ahead.play(choose(ahead.legal()))
    """

    @property
    @abstractmethod
    def to_play(self) -> int:
        """The player whose turn it is, 0 or 1. Means nothing once the game is over."""

    @property
    @abstractmethod
    def over(self) -> bool:
        """Whether the game has ended, by its rules or by the clock."""

    @abstractmethod
    def legal(self) -> Sequence[int]:
        """The legal actions, at least one unless the game is over."""

    @abstractmethod
    def play(self, action: int) -> float:
        """Plays a legal action; returns the reward of the player who made the move."""

    @abstractmethod
    def copy(self) -> Self:
        """The same state, to go on from independently."""

    def playout(self, rng: random.Random) -> float:
        """Plays random moves to the end, each legal one equally likely; returns the rewards of player 0 less those
        of player 1 on the way. 0 if the game is over already."""
        total = 0.0
        while not self.over:
            actions = self.legal()
            mover = self.to_play
            reward = self.play(actions[int(rng.random() * len(actions))])
            total += reward if mover == 0 else -reward
        return total


class GamePosition(Position):
    """The position of any game, by way of its own `step`.

    Args:
        game: a copy that nobody else uses, not over.
    """

    def __init__(self, game: "Game", over: bool = False) -> None:
        self._game = game
        self._over = over

    @property
    def to_play(self) -> int:
        """See `Position`."""
        return self._game.to_play

    @property
    def over(self) -> bool:
        """See `Position`."""
        return self._over

    def legal(self) -> Sequence[int]:
        """See `Position`."""
        actions: list[int] = np.flatnonzero(self._game.legal_actions()).tolist()
        return actions

    def play(self, action: int) -> float:
        """See `Position`."""
        _, reward, terminated, truncated, _ = self._game.step(action)
        self._over = bool(terminated or truncated)
        return float(reward)

    def copy(self) -> Self:
        """See `Position`."""
        return type(self)(self._game.clone(), self._over)
