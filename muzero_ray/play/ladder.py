"""The strength of an agent that learns, in Elo: it meets fixed opponents, and earlier agents of its own run.

Fixed opponents alone tell little once they are always beaten; an agent's own past grows with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from muzero_ray.core.game import Game
from muzero_ray.core.reports import Pairing
from muzero_ray.core.types import Episode, Weights
from muzero_ray.mcts.model import SearchModel
from muzero_ray.mcts.planner import Planner
from muzero_ray.play.acting_model import ActingModel
from muzero_ray.play.elo import Rating, fit_elo
from muzero_ray.play.fixtures import AgentPlayer, Fixture, Player, Result, play_fixtures
from muzero_ray.play.match import OpeningError, draw_openings, paired


@dataclass(frozen=True)
class LadderResult:
    """What an evaluation found."""

    newest: str
    """Name of the agent that was evaluated."""
    rating: Rating
    """Of it."""
    ratings: dict[str, Rating]
    """Of everybody who ever played, by name, from all games so far. The first anchor has 0."""
    pairings: tuple[Pairing, ...]
    """How the newest did against each whom it met this time."""
    episodes: tuple[Episode, ...]
    """The games; the first return is the newest agent's score, from 1 for a win to -1 for a loss."""

    @property
    def strongest(self) -> str:
        """The agent with the largest rating; the newest of equals."""
        agents = [name for name in self.ratings if is_agent(name)]
        return max(reversed(agents), key=lambda name: self.ratings[name].elo)


class Ladder:
    """Evaluates one agent of a run after another.

    The loop that calls it:

        ladder = Ladder(make_game, make_model, anchors, ...)
        while training:
            result = ladder.evaluate(planner, model, weights, version, games, pairings)
            pairings += result.pairings
            is_strongest = result.strongest == result.newest

    It remembers weights but no results, so that those of a run outlive its process.

    Args:
        make_game: makes one more game, for two.
        make_model: makes one more model, for an earlier agent. As many as meet at once are made, and used ever after:
            on a GPU, each claims memory.
        anchors: the fixed opponents, at least one; the first has the rating 0.
        earlier_agents: how many earlier agents are kept, and met each time.
        num_simulations: of every agent, per move; None: as the planner is configured.
        opening_moves: random moves before each game, fewer where games would be over by then; each opening is played
            twice, with colours swapped.
        seed: of openings and games. Every evaluation plays others.
        max_games: games at once.
    """

    def __init__(
        self,
        make_game: Callable[[], Game],
        make_model: Callable[[], ActingModel],
        anchors: Sequence[Player],
        *,
        earlier_agents: int,
        num_simulations: int | None = None,
        opening_moves: int = 2,
        seed: int = 0,
        max_games: int = 64,
    ) -> None:
        if not anchors:
            raise ValueError("ladder: wanted an anchor at least, got none")
        self._make_game = make_game
        self._make_model = make_model
        self._anchors = list(anchors)
        self._keep = earlier_agents
        self._num_simulations = num_simulations
        self._opening_moves = opening_moves
        self._seed = seed
        self._max_games = max_games
        self._earlier: dict[int, Weights] = {}
        self._models: list[ActingModel] = []  # of the earlier agents, one each while they play

    def evaluate(
        self,
        planner: Planner,
        model: SearchModel,
        weights: Weights,
        version: int,
        games: int,
        pairings: Sequence[Pairing] = (),
    ) -> LadderResult:
        """Measures the agent with these weights, and keeps them as an earlier agent.

        Args:
            planner: the search of all agents.
            model: the network, with the weights set.
            weights: of it; kept, so they must not change.
            version: of the weights, rising from call to call.
            games: in all; they are spread over the opponents, two at least with each, so there may be a few more.
            pairings: all results of the run before.

        Raises:
            OpponentError: if an anchor forfeits three games in a row.
            GameError: if the game breaks its contract.
        """
        newest = AgentPlayer(agent_name(version), planner, model, self._num_simulations)
        # Other seeds for every evaluation: results that all enter one fit should be independent.
        seed = int(np.random.SeedSequence([self._seed, version, len(pairings)]).generate_state(1)[0])
        fixtures = self._fixtures(newest, [*self._anchors, *self._earlier_players(planner, version)], games, seed)
        results = play_fixtures(self._make_game, fixtures, max_games=self._max_games)
        met = _pairings(newest, results)
        self._keep_weights(weights, version)
        ratings = fit_elo([*pairings, *met], self._anchors[0].name)
        episodes = tuple(_episode(newest, result) for result in results)
        return LadderResult(newest.name, ratings[newest.name], ratings, tuple(met), episodes)

    def close(self) -> None:
        """Frees what the anchors hold."""
        for anchor in self._anchors:
            anchor.close()

    def _earlier_players(self, planner: Planner, version: int) -> list[Player]:
        """The earlier agents, the newest first."""
        players: list[Player] = []
        for index, earlier in enumerate(sorted(self._earlier.keys() - {version}, reverse=True)):
            if index == len(self._models):
                self._models.append(self._make_model())
            model = self._models[index]
            model.set_weights(self._earlier[earlier])
            players.append(AgentPlayer(agent_name(earlier), planner, model, self._num_simulations))
        return players

    def _fixtures(self, newest: Player, opponents: Sequence[Player], games: int, seed: int) -> list[Fixture]:
        """Two games for every opening; as many openings with each opponent as can be."""
        pairs = max(len(opponents), games // 2)
        counts = [pairs // len(opponents) + (index < pairs % len(opponents)) for index in range(len(opponents))]
        openings = self._draw_openings(seed, pairs)
        fixtures = []
        for opponent, count in zip(opponents, counts, strict=True):
            fixtures += paired(newest, opponent, openings[:count])
            openings = openings[count:]
        return fixtures

    def _draw_openings(self, seed: int, count: int) -> list[tuple[int, tuple[int, ...]]]:
        """See `draw_openings`; all have as many moves, as many as wanted if games last so long."""
        game = self._make_game().evaluated()
        moves = self._opening_moves
        try:
            while True:
                try:
                    return draw_openings(game, seed, count, moves)
                except OpeningError:
                    moves -= 1  # down to 0 at the most: no game is over at its start
        finally:
            game.close()

    def _keep_weights(self, weights: Weights, version: int) -> None:
        """Keeps these weights; if there are too many, those leave that lie closest between their neighbours, so
        that the rest are spread over the run."""
        self._earlier[version] = weights
        while len(self._earlier) > self._keep:
            versions = [0, *sorted(self._earlier)]
            # The newest stays, as those with about the same strength tell most.
            gaps = {versions[i]: versions[i + 1] - versions[i - 1] for i in range(1, len(versions) - 1)}
            del self._earlier[min(gaps, key=lambda each: gaps[each], default=version)]


def agent_name(version: int) -> str:
    """Name of a run's agent in results."""
    return f"agent:{version}"


def is_agent(name: str) -> bool:
    """Whether this is the name of a run's agent, rather than of an anchor."""
    return name.startswith("agent:")


def _pairings(newest: Player, results: Sequence[Result]) -> list[Pairing]:
    points: dict[str, list[float]] = {}
    for result in results:
        seat = result.fixture.players.index(newest)
        points.setdefault(result.fixture.players[1 - seat].name, []).append(result.score(seat))
    return [Pairing(newest.name, name, sum(scores), len(scores)) for name, scores in points.items()]


def _episode(newest: Player, result: Result) -> Episode:
    outcome = 2.0 * result.score(result.fixture.players.index(newest)) - 1.0
    return Episode((outcome, 0.0 - outcome), result.length, result.fixture.seed, result.truncated)
