"""When a game for two is given up, and how often that was wrong. Plays nothing."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ResignationCounts:
    """What became of games that were, or would have been, given up."""

    resigned: int = 0
    played_on: int = 0  # exempt games that would have been given up
    false: int = 0  # those of them that the player who would have given up did not lose


class Resignations:
    """Says which of G games to give up. A share of the games is exempt, and tells how many of the others were held.

    The loop that calls it:

        resignations.start(row)                                       # whenever a game begins
        giving_up = resignations.ask(root_values, to_play)            # before every move
        resignations.end(row, return_of_player_0, resigned)           # whenever a game ends

    Args:
        threshold: a player gives up where the search's value for him is below minus this.
        exempt: in [0, 1]; share of the games that are never given up.
        num_games: G.
        rng: decides which games are exempt.

    Source: Silver et al., "Mastering the game of Go without human knowledge", Nature 550, 2017: 10% of the games are
    played on, and the threshold is such that fewer than 5% of the games given up could have been held.
    """

    def __init__(self, threshold: float, exempt: float, num_games: int, rng: np.random.Generator) -> None:
        self._threshold = threshold
        self._exempt_share = exempt
        self._rng = rng
        self._exempt = np.zeros(num_games, bool)
        self._would_resign = np.full(num_games, -1, np.int8)  # the player, in exempt games; -1: none yet
        self._counts = ResignationCounts()

    def start(self, row: int) -> None:
        """A game begins in a row."""
        self._exempt[row] = self._rng.random() < self._exempt_share
        self._would_resign[row] = -1

    def ask(self, root_values: np.ndarray, to_play: np.ndarray) -> np.ndarray:
        """`[G]` bool: the games that their player to move gives up.

        Args:
            root_values: `[G]`, of the search, for the player to move.
            to_play: `[G]`.
        """
        hopeless = root_values < -self._threshold
        noted = hopeless & self._exempt & (self._would_resign < 0)
        self._would_resign[noted] = to_play[noted]
        giving_up: np.ndarray = hopeless & ~self._exempt
        return giving_up

    def end(self, row: int, return_of_player_0: float, resigned: bool) -> None:
        """The game of a row has ended."""
        loser = int(self._would_resign[row])
        gained = return_of_player_0 if loser == 0 else -return_of_player_0
        self._counts = ResignationCounts(
            resigned=self._counts.resigned + resigned,
            played_on=self._counts.played_on + (loser >= 0),
            false=self._counts.false + (loser >= 0 and gained >= 0),
        )

    def take_counts(self) -> ResignationCounts:
        """The counts since the last call."""
        counts, self._counts = self._counts, ResignationCounts()
        return counts
