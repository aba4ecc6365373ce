"""Games between players, many at once, and what they say of a player's strength.

A player is an agent, whose searches for all the games in which it is its turn are one batch, or an opponent from
`opponents`, which moves in one game after another. Every opening is played twice, with colours swapped.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from muzero_ray.core.checked_game import CheckedGame
from muzero_ray.core.game import Game
from muzero_ray.core.rng import evaluation_seeds, role_seed
from muzero_ray.mcts.model import SearchModel
from muzero_ray.mcts.planner import Planner
from muzero_ray.play.elo import elo_difference, wilson_interval
from muzero_ray.play.evaluation import greedy
from muzero_ray.play.opponents import Opponent, OpponentError, OpponentResigned

logger = logging.getLogger(__name__)

MAX_FORFEITS = 3
"""Forfeits of one player, with no other game ended in between, after which nothing more is expected of it."""
_OPENING_TRIES = 1_000


class OpeningError(ValueError):
    """There are no openings of so many moves; the message says why."""


class Player(Protocol):
    """One who plays many games at the same time."""

    name: str

    def choose(self, tables: Sequence["Table"]) -> Sequence[int | OpponentError]:
        """A legal action for every table, at all of which it is this player's turn; an error in the place of an
        action loses that game, as resigned or forfeited."""
        ...

    def close(self) -> None:
        """Frees what the player holds."""
        ...


class AgentPlayer(Player):
    """An agent: searches without noise and plays the best move.

    Args:
        name: in results.
        planner: the search.
        model: the network that it plans with.
        num_simulations: per move; None: as the planner is configured.
    """

    def __init__(self, name: str, planner: Planner, model: SearchModel, num_simulations: int | None = None) -> None:
        self.name = name
        self._choose = greedy(planner, model, num_simulations)

    def choose(self, tables: Sequence["Table"]) -> Sequence[int | OpponentError]:
        """See `Player`."""
        # Batches are filled up to a power of two: planner and model keep memory for each size.
        size = 1 << (len(tables) - 1).bit_length()
        rows = [*tables, *[tables[0]] * (size - len(tables))]
        actions = self._choose(
            np.stack([table.observation for table in rows]), np.stack([table.game.legal_actions() for table in rows])
        )
        chosen: list[int] = actions[: len(tables)].tolist()
        return chosen

    def close(self) -> None:
        """Nothing is held."""


class OpponentPlayer(Player):
    """An opponent, made anew whenever it has failed.

    Args:
        make_opponent: makes the opponent; called once at once, so that one that cannot be made is told of here.

    Raises:
        OpponentError: from the constructor.
    """

    def __init__(self, make_opponent: Callable[[], Opponent]) -> None:
        self._make_opponent = make_opponent
        self._opponent: Opponent | None = make_opponent()
        self.name = self._opponent.name

    def choose(self, tables: Sequence["Table"]) -> Sequence[int | OpponentError]:
        """See `Player`."""
        return [self._answer(table) for table in tables]

    def close(self) -> None:
        """See `Player`."""
        if self._opponent is not None:
            self._opponent.close()
            self._opponent = None

    def _answer(self, table: "Table") -> int | OpponentError:
        try:
            if self._opponent is None:
                self._opponent = self._make_opponent()
            action = self._opponent.choose(table.game, tuple(table.history), table.rng)
            legal = table.game.legal_actions()
            if not 0 <= action < len(legal) or not legal[action]:
                raise OpponentError(f"{self.name}: wanted a legal action, got {action}")
        except OpponentResigned as resigned:
            return resigned
        except OpponentError as error:
            self.close()
            return error
        return action


@dataclass(frozen=True)
class Fixture:
    """A game to be played."""

    players: tuple[Player, Player]
    """Player 0 and player 1 of the game."""
    seed: int
    opening: tuple[int, ...] = ()
    """Actions that are played before the players are asked."""


@dataclass(frozen=True)
class Result:
    """A game that was played."""

    fixture: Fixture
    outcome: float
    """What player 0 got in all; 0 where the game was truncated or given up."""
    length: int
    """Moves, the opening's included."""
    truncated: bool
    lost_by: int | None
    """The player who resigned or failed to answer, and lost thereby."""
    forfeited: bool
    """Whether that player failed."""

    def score(self, seat: int) -> float:
        """Points of player 0 or 1: 1 for a win, 1/2 for a draw or a truncated game, 0 for a loss."""
        if self.lost_by is not None:
            return float(self.lost_by != seat)
        mine = self.outcome if seat == 0 else -self.outcome
        return 0.5 + 0.5 * float(np.sign(mine))


class Table:
    """A place where one game after another is played; for players to look at.

    Attributes:
        game: in its present state.
        observation: the newest, for the player to move.
        history: all actions since `reset`.
        rng: source of everything random at this game.
    """

    def __init__(self, make_game: Callable[[], Game]) -> None:
        self.game = CheckedGame(make_game())

    def start(self, index: int, fixture: Fixture) -> None:
        """Starts game number `index` and plays its opening."""
        self.index = index
        self.fixture = fixture
        self.result: Result | None = None
        self._outcome = 0.0
        self.history: list[int] = []
        self.rng = np.random.default_rng([fixture.seed, index])
        self.observation, _ = self.game.reset(fixture.seed)
        for action in fixture.opening:
            self.play(action)

    @property
    def player(self) -> Player:
        """Whose turn it is."""
        return self.fixture.players[self.game.to_play]

    def play(self, action: int) -> None:
        """Plays an action; `result` is there once the game is over."""
        mover = self.game.to_play
        self.observation, reward, terminated, truncated, _ = self.game.step(action)
        self.history.append(action)
        self._outcome += reward if mover == 0 else -reward
        if terminated:
            self.result = Result(self.fixture, self._outcome, len(self.history), False, None, False)
        elif truncated:
            self.result = Result(self.fixture, 0.0, len(self.history), True, None, False)

    def give_up(self, *, forfeited: bool) -> None:
        """Ends the game; the player to move loses it, by resigning or because it failed to answer."""
        self.result = Result(self.fixture, 0.0, len(self.history), False, self.game.to_play, forfeited)


def play_fixtures(make_game: Callable[[], Game], fixtures: Sequence[Fixture], *, max_games: int = 64) -> list[Result]:
    """Plays games, and returns their results in the same order.

    Args:
        make_game: makes one more game, for two.
        fixtures: the games.
        max_games: at once. An agent's results may differ in the last bits of a float with another number.

    Raises:
        OpponentError: if a player forfeits three games in a row.
        GameError: if the game breaks its contract.
    """
    tables = [Table(make_game) for _ in range(min(max_games, len(fixtures)))]
    try:
        results = _play_all(tables, fixtures)
    finally:
        for table in tables:
            table.game.close()
    return [results[index] for index in range(len(fixtures))]


def _play_all(tables: list[Table], fixtures: Sequence[Fixture]) -> dict[int, Result]:
    """Results by number of the game; a table whose game is over takes the next."""
    waiting = list(enumerate(fixtures))[::-1]
    free, running = list(tables), list[Table]()
    results: dict[int, Result] = {}
    players = _players(fixtures)
    forfeits = dict.fromkeys(map(id, players), 0)
    while waiting or running:
        while waiting and free:
            table = free.pop()
            table.start(*waiting.pop())
            running.append(table)
        for player in players:
            _move(player, [table for table in running if table.result is None and table.player is player], forfeits)
        for table in running:
            if table.result is not None:
                results[table.index] = table.result
                free.append(table)
        running = [table for table in running if table.result is None]
    return results


def _players(fixtures: Sequence[Fixture]) -> list[Player]:
    """Every player once, in the order in which they move: who plays in most games last, when it is its turn in most
    of them, so that its batches are full."""
    players = {id(player): player for fixture in fixtures for player in fixture.players}
    games = dict.fromkeys(players, 0)
    for fixture in fixtures:
        for player in fixture.players:
            games[id(player)] += 1
    # An agent comes after an opponent with as many games.
    return sorted(players.values(), key=lambda player: (games[id(player)], isinstance(player, AgentPlayer)))


def _move(player: Player, tables: list[Table], forfeits: dict[int, int]) -> None:
    """Has a player move at these tables; counts forfeits in a row."""
    if not tables:
        return
    for table, action in zip(tables, player.choose(tables), strict=True):
        if not isinstance(action, OpponentError):
            table.play(action)
        elif isinstance(action, OpponentResigned):
            table.give_up(forfeited=False)
        else:
            table.give_up(forfeited=True)
            forfeits[id(player)] += 1
            told = f"{player.name} forfeits game {table.index + 1} after {len(table.history)} moves: {action}"
            logger.warning(told)
            if forfeits[id(player)] == MAX_FORFEITS:
                raise OpponentError(f"{player.name} forfeited {MAX_FORFEITS} games in a row, the last one by: {action}")
        if table.result is not None and not table.result.forfeited:
            for each in table.fixture.players:
                forfeits[id(each)] = 0


def draw_openings(game: Game, seed: int, count: int, moves: int) -> list[tuple[int, tuple[int, ...]]]:
    """Seeds and random openings of games, the same ones for the same arguments.

    Args:
        game: one that is played with; it is left in any state.
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
    game = make_game()
    if game.spec.num_players != 2:
        raise ValueError(f"play_match: wanted a game for 2 players, got one for {game.spec.num_players}")
    openings = draw_openings(game, seed, (games + 1) // 2, opening_moves)
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
