"""A match: one player against another, over openings that each are played twice, with colours swapped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from muzero_ray.core.checked_game import CheckedGame
from muzero_ray.core.game import Game
from muzero_ray.core.rng import evaluation_seeds, role_seed
from muzero_ray.play.elo import elo_difference, wilson_interval
from muzero_ray.play.fixtures import Fixture, Player, play_fixtures

_OPENING_TRIES = 1_000


class OpeningError(ValueError):
    """There are no openings of so many moves; the message says why."""


def draw_openings(game: Game, seed: int, count: int, moves: int) -> list[tuple[int, tuple[int, ...]]]:
    """Seeds and random openings of games, the same ones for the same arguments.

    Args:
        game: one that is played with, as its results are reported; it is left in any state.
        seed: of the openings, at least 0.
        count: openings wanted.
        moves: of each, of both players together; 0 for none.

    Returns:
        `count` pairs of the seed that a game is reset with, and the actions. After none is the game over. They
        differ from each other as far as a thousand tries find enough.

    Raises:
        OpeningError: if games are over after so many moves.
    """
    game = CheckedGame(game)
    rng = np.random.default_rng(role_seed(seed, "openings"))
    openings: list[tuple[int, tuple[int, ...]]] = []
    drawn: set[tuple[int, ...]] = set()
    for game_seed in evaluation_seeds(seed, count):
        found: tuple[int, ...] | None = None
        for _ in range(_OPENING_TRIES):
            opening = _random_moves(game, game_seed, moves, rng)
            if opening is not None:
                found = opening
                if moves == 0 or opening not in drawn:
                    break
        if found is None:
            raise OpeningError(f"opening_moves: wanted fewer, got {moves}: games of {_OPENING_TRIES} were over by then")
        drawn.add(found)
        openings.append((game_seed, found))
    return openings


def _random_moves(game: Game, seed: int, moves: int, rng: np.random.Generator) -> tuple[int, ...] | None:
    """So many random moves from the start; None if they end the game."""
    game.reset(seed)
    actions = []
    for _ in range(moves):
        action = int(rng.choice(np.flatnonzero(game.legal_actions())))
        _, _, terminated, truncated, _ = game.step(action)
        if terminated or truncated:
            return None
        actions.append(action)
    return tuple(actions)


@dataclass(frozen=True)
class MatchResult:
    """What a match says of the first player, told from its side."""

    scores: tuple[float, ...]
    """Points of each game: 1, 1/2 or 0; it has the first move in the first game, the second in the next, and so on."""
    forfeits: int
    """Games that it won since the other failed."""
    length: float
    """Mean moves of a game."""

    @property
    def wins(self) -> int:
        return self.scores.count(1.0)

    @property
    def draws(self) -> int:
        return self.scores.count(0.5)

    @property
    def losses(self) -> int:
        return self.scores.count(0.0)

    @property
    def score(self) -> float:
        """Points per game, in [0, 1]."""
        return sum(self.scores) / len(self.scores)

    @property
    def score_by_seat(self) -> tuple[float, float | None]:
        """Points per game as player 0, and as player 1; None if there was but one game."""
        first, second = self.scores[::2], self.scores[1::2]
        return sum(first) / len(first), sum(second) / len(second) if second else None

    @property
    def score_interval(self) -> tuple[float, float]:
        """Wilson's, with 95% confidence."""
        return wilson_interval(sum(self.scores), len(self.scores))

    @property
    def elo(self) -> float:
        """By how much it is stronger; infinite where it won or lost every game."""
        return elo_difference(self.score)

    @property
    def elo_interval(self) -> tuple[float, float]:
        """That of the score, as differences in strength."""
        low, high = self.score_interval
        return elo_difference(low), elo_difference(high)


def play_match(
    make_game: Callable[[], Game],
    player: Player,
    opponent: Player,
    *,
    games: int,
    opening_moves: int = 0,
    seed: int = 0,
    max_games: int = 64,
) -> MatchResult:
    """Plays a match: both have the first move equally often, and each opening once.

    Args:
        make_game: makes one more game, for two.
        player: whose result it is.
        opponent: the other.
        games: at least 1; an even number treats both alike.
        opening_moves: random moves before every game, for variety; one opening serves for two games.
        seed: of openings and games.
        max_games: at once; see `play_fixtures`.

    Raises:
        ValueError: if the game is not for two.
        OpeningError: if there are no openings of so many moves.
        OpponentError: if the opponent forfeits three games in a row.
        GameError: if the game breaks its contract.
    """
    game = make_game().evaluated()
    try:
        if game.spec.num_players != 2:
            raise ValueError(f"play_match: wanted a game for 2 players, got one for {game.spec.num_players}")
        openings = draw_openings(game, seed, (games + 1) // 2, opening_moves)
    finally:
        game.close()
    results = play_fixtures(make_game, paired(player, opponent, openings)[:games], max_games=max_games)
    return MatchResult(
        tuple(result.score(index % 2) for index, result in enumerate(results)),
        sum(result.forfeited and result.lost_by == 1 - index % 2 for index, result in enumerate(results)),
        sum(result.length for result in results) / len(results),
    )


def paired(player: Player, opponent: Player, openings: Sequence[tuple[int, tuple[int, ...]]]) -> list[Fixture]:
    """Two games for every opening: the player has the first move in the one, the opponent in the other."""
    return [
        Fixture(players, seed, opening)
        for seed, opening in openings
        for players in ((player, opponent), (opponent, player))
    ]
