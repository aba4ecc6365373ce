"""LunarLander-v3 of Gymnasium: land between two flags. Solved at a mean return of 200.

The environment as it is: its random start, its own rewards (nothing scaled), no wind, 1000 steps at most.
"""

from muzero_ray.adapters.gymnasium_game import GymnasiumGame


class LunarLander(GymnasiumGame):
    """Eight numbers in, four engine settings out; an episode is stopped (truncated) after 1000 steps."""

    def __init__(self) -> None:
        super().__init__("LunarLander-v3")

    def action_to_string(self, action: int) -> str:
        """Which engine fires."""
        return ("none", "left", "main", "right")[action]
