"""A thinker whose thoughts are known, for those that only hand them on."""

import numpy as np

from muzero_ray.play.game_in_progress import GameInProgress
from muzero_ray.play.thinking import Thought


class FirstLegal:
    """Plays the first legal action with three quarters of the policy and of the visits; finds every state worth 0.5."""

    num_simulations = 8

    def think(self, position: GameInProgress, num_simulations: int | None = None) -> Thought:
        legal = position.game.legal_actions()
        actions = np.flatnonzero(legal)
        policy = np.zeros(len(legal), np.float32)
        policy[actions[:2]] = (0.75, 0.25) if len(actions) > 1 else 1.0
        return Thought(int(actions[0]), policy, policy, 0.5, num_simulations or self.num_simulations)
