"""The agent at one board: it thinks about a position and says what it would play, and why."""

import math
from dataclasses import dataclass

import numpy as np

from muzero_ray.mcts.model import SearchModel
from muzero_ray.mcts.planner import Planner
from muzero_ray.play.game_in_progress import GameInProgress

MAX_SIMULATIONS = 100_000
"""Of one search; as many as `search.num_simulations` may be."""
SUREST = 0.9999
"""Largest expectation that is told in centipawns: 400 log10(1.9999 / 0.0001) = 1720 of them."""


@dataclass(frozen=True)
class Thought:
    """What a search found out about one position."""

    action: int  # to play, always legal
    policy: np.ndarray  # [A] float32, the search's policy: sums to 1
    visit_shares: np.ndarray  # [A] float32, share of the simulations that began with each action: sums to 1
    value: float  # for the player to move
    num_simulations: int

    def best_actions(self, count: int) -> list[int]:
        """The `count` most probable actions, the one to play first."""
        order = np.argsort(-self.policy, kind="stable").tolist()
        likely = [action for action in order[: count + 1] if self.policy[action] > 0 and action != self.action]
        return [self.action, *likely][:count]


class Thinker:
    """Searches one position at a time, greedily: the same position gives the same thought.

    Args:
        planner: the search.
        model: the network that it plans with.
        num_simulations: of a search, unless told otherwise; None: as the planner is configured.

    Attributes:
        num_simulations: of a search; may be set.
    """

    def __init__(self, planner: Planner, model: SearchModel, num_simulations: int | None = None) -> None:
        self._planner = planner
        self._model = model
        self.num_simulations = planner.config.num_simulations if num_simulations is None else num_simulations

    def think(self, position: GameInProgress, num_simulations: int | None = None) -> Thought:
        """Searches the present state of a game that is not over.

        Args:
            position: the game; it is left as it is.
            num_simulations: of this search; None: as usual.
        """
        simulations = self.num_simulations if num_simulations is None else num_simulations
        result = self._planner(
            self._model,
            position.observation[None],
            position.game.legal_actions()[None],
            num_simulations=simulations,
            noise_scale=0.0,
            temperature=0.0,
            rng=np.random.default_rng(0),  # decides nothing without noise and temperature
        )
        visits = result.visit_counts[0]
        return Thought(
            action=int(result.actions[0]),
            policy=result.search_policies[0],
            visit_shares=(visits / visits.sum()).astype(np.float32),
            value=float(result.root_values[0]),
            num_simulations=simulations,
        )


def centipawns(value: float, value_bounds: tuple[float, float] | None) -> int:
    """A value as chess programs tell it: 100 times the logarithm of the odds, on the scale of Elo ratings.

        cp = 400 * log10((1 + v) / (1 - v)), with v the value stretched to [-1, 1] and held to +-0.9999

    so that the side with `cp` centipawns more scores as one with so many Elo points more. The scale is that of
    expected scores, not of material: 0 is even, 191 is v = 0.5, three points out of four.

    Args:
        value: for the player to move.
        value_bounds: of the game; none: -1 and 1.

    Source: the logistic curve of Elo ratings, score = 1 / (1 + 10^(-difference / 400)), with score = (1 + v) / 2.

    >>> centipawns(0.5, (-1.0, 1.0)), centipawns(-1.0, None)
    (191, -1720)
    """
    low, high = value_bounds or (-1.0, 1.0)
    expectation = min(SUREST, max(-SUREST, 2 * (value - low) / (high - low) - 1))
    return round(400 * math.log10((1 + expectation) / (1 - expectation)))
