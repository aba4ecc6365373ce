"""Those whom an agent can be measured against in a game for two, besides itself."""

from collections.abc import Callable

import numpy as np

from muzero_ray.core.game import Game

Opponent = Callable[[Game, np.random.Generator], int]
"""Chooses a legal action of the game's present state; draws only from the generator given."""


def random_opponent(game: Game, rng: np.random.Generator) -> int:
    """Any legal action, all with the same probability."""
    return int(rng.choice(np.flatnonzero(game.legal_actions())))


def expert_opponent(game: Game, rng: np.random.Generator) -> int:
    """The game's own expert; the same action in the same state."""
    return game.expert_action()
