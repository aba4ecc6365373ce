"""Pong of the Atari 2600, by the protocol of Atari-100k: 21 points win, from -21 (all lost) to 21."""

from muzero_ray.adapters.atari_game import AtariGame


class Pong(AtariGame):
    """Frames in, six actions out: up is RIGHT, down is LEFT."""

    def __init__(self) -> None:
        super().__init__("Pong")
