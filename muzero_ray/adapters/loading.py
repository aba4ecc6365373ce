"""Turns the name of a game into something that makes games: the one entry to all kinds of names.

Five kinds are known: a shipped game (`tictactoe`), a Python file (`path/to/mygame.py`), a Gymnasium
environment (`gymnasium:CartPole-v1`), a game of OpenSpiel (`open_spiel:breakthrough(rows=6,columns=6)`) and an
Atari game (`atari:Pong(preset=muzero)`).
"""

from dataclasses import dataclass

from muzero_ray.adapters.named_options import split_name
from muzero_ray.core import game_loader
from muzero_ray.core.game import Game
from muzero_ray.core.game_loader import GameLoadError, load_game_class, shipped_games

__all__ = ["GameFactory", "GameLoadError", "game_title", "load_game", "shipped_games"]

_GYMNASIUM = "gymnasium:"
_OPEN_SPIEL = "open_spiel:"
_ATARI = "atari:"


@dataclass(frozen=True)
class GameFactory:
    """Makes games of one name; calling it makes one.

    It holds nothing but the name and loads the game's code at the first call, so it can be sent to another
    process, where it loads that code again.
    """

    name: str

    def __call__(self) -> Game:
        """A new game, ready for `reset`."""
        if self.name.startswith(_GYMNASIUM):
            # Here, so that a game with its own engine needs no Gymnasium.
            from muzero_ray.adapters.gymnasium_game import GymnasiumGame

            return GymnasiumGame.named(self.name.removeprefix(_GYMNASIUM))
        if self.name.startswith(_OPEN_SPIEL):
            from muzero_ray.adapters.open_spiel_game import OpenSpielGame, turns_alternate

            name = self.name.removeprefix(_OPEN_SPIEL)
            return OpenSpielGame(name, alternating=turns_alternate(name))
        if self.name.startswith(_ATARI):
            from muzero_ray.adapters.atari_game import AtariGame

            name, options = split_name(self.name.removeprefix(_ATARI))
            return AtariGame(name, **options)
        return load_game_class(self.name)()


def load_game(name: str) -> GameFactory:
    """Finds a game by name; call the result to make one.

    Args:
        name: a shipped game, a path to a .py file with one `Game` subclass, `gymnasium:ENV_ID(options)`,
            `open_spiel:NAME(parameters)` or `atari:NAME(options)`.

    Raises:
        GameLoadError: if there is no such game or it cannot be made; the message says what to do.
    """
    factory = GameFactory(name)
    try:
        # A game that cannot be made is better refused here than in every actor.
        factory().close()
    except GameLoadError:
        raise
    except Exception as error:
        raise GameLoadError(f"game {name!r} cannot be made: {type(error).__name__}: {error}") from error
    return factory


def game_title(name: str) -> str:
    """What a game is, in one line. Raises GameLoadError if there is none of this name."""
    if name.startswith(_GYMNASIUM):
        return f"{name.removeprefix(_GYMNASIUM)}, a Gymnasium environment"
    if name.startswith(_OPEN_SPIEL):
        return f"{name.removeprefix(_OPEN_SPIEL)}, a game of OpenSpiel"
    if name.startswith(_ATARI):
        return f"{name.removeprefix(_ATARI)}, an Atari game"
    return game_loader.game_title(name)
