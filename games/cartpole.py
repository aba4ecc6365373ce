"""CartPole-v1 of Gymnasium: balance a pole on a cart. Reward 1 per step; solved at a mean return of 475."""

from muzero_ray.adapters.gymnasium_game import GymnasiumGame


class CartPole(GymnasiumGame):
    """Four numbers in, push left or right; an episode is stopped (truncated) after 500 steps."""

    def __init__(self) -> None:
        super().__init__("CartPole-v1")

    def action_to_string(self, action: int) -> str:
        """Where the cart is pushed."""
        return ("left", "right")[action]
