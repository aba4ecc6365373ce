"""Plays games between players, many at once: whoever is to move at several of them chooses for all together.

A player is an agent, whose searches are one batch, or an opponent from `opponents`, which moves in one game after
another. Who plays whom from which opening, and what the results say, is `match` and `ladder`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from muzero_ray.core.checked_game import CheckedGame
from muzero_ray.core.game import Game
from muzero_ray.mcts.model import SearchModel
from muzero_ray.mcts.planner import Planner
from muzero_ray.play.evaluation import greedy
from muzero_ray.play.opponent import Opponent, OpponentError, OpponentResigned

logger = logging.getLogger(__name__)

MAX_FORFEITS = 3
"""Forfeits of one player, with no other game ended in between, after which nothing more is expected of it."""


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
        game: as its results are reported, in its present state.
        observation: the newest, for the player to move.
        history: all actions since `reset`.
        rng: source of everything random at this game.
    """

    def __init__(self, make_game: Callable[[], Game]) -> None:
        self.game = CheckedGame(make_game().evaluated())

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
