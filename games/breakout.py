"""Breakout of the Atari 2600, by the protocol of Atari-100k, but for five minutes a game: break two walls of bricks.

In evaluation a game is stopped after 5 minutes rather than 30: an agent that has not learnt to serve (FIRE) after a
lost ball would stand there for the rest of them.
"""

from muzero_ray.adapters.atari_game import AtariGame


class Breakout(AtariGame):
    """Frames in, four actions out; in training a lost ball, of which there are five, ends the episode."""

    def __init__(self) -> None:
        super().__init__("Breakout", max_frames=18_000)
