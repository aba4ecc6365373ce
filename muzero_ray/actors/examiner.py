"""Evaluates the greedy agent, without noise, on seeds that training never uses: what the evaluator actor is around.

A game for one is played alone. In a game for two the agent climbs a ladder: it meets the fixed opponents of
`evaluate.opponents` and earlier agents of its own run, with each side by turns.
"""

import time
from collections.abc import Callable, Sequence

from muzero_ray.actors import build
from muzero_ray.core.config import Config
from muzero_ray.core.reports import EvaluationReport, Pairing, Strength
from muzero_ray.core.rng import evaluation_seeds
from muzero_ray.core.types import Weights
from muzero_ray.play.evaluation import evaluate
from muzero_ray.play.fixtures import OpponentPlayer
from muzero_ray.play.ladder import Ladder
from muzero_ray.play.opponents import make_opponent


class Examiner:
    """Evaluates one version of a run's agent after another.

    Args:
        config: of the run.
        say: told in sentences what of a GPU cannot be used.

    Attributes:
        agent: the game, the search and the network.
    """

    def __init__(self, config: Config, say: Callable[[str], None] = lambda _: None) -> None:
        self.agent = build.Agent(config, gpus=config.evaluate.num_gpus, say=say)
        self._config = config
        self._ladder = make_ladder(config, self.agent, say) if self.agent.spec.num_players == 2 else None

    def evaluate(self, weights: Weights, version: int, episodes: int, pairings: Sequence[Pairing]) -> EvaluationReport:
        """Plays about so many episodes with these weights.

        Args:
            weights: kept, in a game for two, as an earlier agent; they must not change.
            version: of the weights.
            episodes: wanted; a ladder may need a few more.
            pairings: all results of the run so far, in a game for two: the ladder forgets them with its process.
        """
        began = time.perf_counter()
        agent, simulations = self.agent, self._config.evaluate.num_simulations
        agent.model.set_weights(weights)
        if self._ladder is None:
            seeds = evaluation_seeds(self._config.seed, episodes)
            played = evaluate(agent.make_game, agent.planner, agent.model, seeds, num_simulations=simulations)
            return EvaluationReport(version, tuple(played), time.perf_counter() - began)
        found = self._ladder.evaluate(agent.planner, agent.model, weights, version, episodes, pairings)
        strength = Strength(
            elo=found.rating.elo,
            ci95=(found.rating.low, found.rating.high),
            strongest=found.strongest == found.newest,
            ratings={name: (rating.elo, rating.low, rating.high) for name, rating in found.ratings.items()},
            pairings=found.pairings,
        )
        return EvaluationReport(version, found.episodes, time.perf_counter() - began, strength)


def make_ladder(config: Config, agent: build.Agent, say: Callable[[str], None]) -> Ladder:
    """The ladder of a game for two; its results are kept by who evaluates."""
    game = agent.make_game().evaluated()
    names = [name.strip() for name in config.evaluate.opponents.split(",") if name.strip()]
    return Ladder(
        agent.make_game,
        lambda: build.make_model(config, agent.spec, config.evaluate.num_gpus, say),
        [OpponentPlayer(lambda name=name: make_opponent(name, game)) for name in names],  # type: ignore[misc]
        earlier_agents=config.evaluate.earlier_agents,
        num_simulations=config.evaluate.num_simulations,
        seed=config.seed,
    )
