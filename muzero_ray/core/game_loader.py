"""Finds games by name and loads them from files, without registration and without configuration.

Games shipped with the package lie in `games/`: beside the package in a checkout, inside it in a wheel.
Names that need a library (`gymnasium:ENV_ID`, `open_spiel:NAME`, `atari:NAME`) are resolved one layer up, in
`adapters/loading.py`.
"""

import ast
import difflib
import functools
import importlib.util
import inspect
import sys
import zlib
from pathlib import Path
from types import ModuleType

from muzero_ray.core.game import Game

_PACKAGE = Path(__file__).resolve().parents[1]
_MODULE_PREFIX = "_muzero_ray_game_"


class GameLoadError(ValueError):
    """A game cannot be loaded; the message says why and what to do."""


def shipped_folder(name: str) -> Path:
    """The folder `games` or `configs`: inside the package in a wheel, else at the top of the checkout.

    Raises:
        GameLoadError: if neither exists.
    """
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise GameLoadError(f"no folder {name!r} inside or beside {_PACKAGE}; install muzero-ray again")


def games_folder() -> Path:
    """The folder of the shipped games; see `shipped_folder`."""
    return shipped_folder("games")


def shipped_games() -> list[str]:
    """Names of the shipped games, sorted."""
    return sorted(path.stem for path in games_folder().glob("*.py") if not path.stem.startswith("_"))


def game_title(name: str) -> str:
    """What a game is, in one line: the first line of its file's docstring, read without running the file.

    Raises:
        GameLoadError: if there is no such game or its file is not Python.
    """
    path = game_path(name)
    try:
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except SyntaxError as error:
        raise GameLoadError(f"{path}, line {error.lineno}: {error.msg}") from error
    return (docstring or path.stem).strip().splitlines()[0]


def is_path(name: str) -> bool:
    """Whether a game is named by a file rather than by one word."""
    return name.endswith(".py") or "/" in name or "\\" in name


def game_path(name: str) -> Path:
    """The file of a shipped game (`tictactoe`) or of a user's own (`path/to/mygame.py`).

    Raises:
        GameLoadError: if there is none; names the nearest ones.
    """
    if is_path(name):
        path = Path(name).expanduser().resolve()
        if not path.is_file():
            raise GameLoadError(f"game: no file {name!r} (looked for {path}); give the path of a game's .py file")
        if path.suffix != ".py":
            raise GameLoadError(f"game: a game's file must end in .py, got {name!r}")
        return path
    names = shipped_games()
    if name not in names:
        nearest = difflib.get_close_matches(name.lower(), names, n=2, cutoff=0.5)
        guess = f"did you mean {' or '.join(nearest)}? Choose" if nearest else "choose"
        raise GameLoadError(
            f"game: no game {name!r}; {guess} one of {', '.join(names)}, "
            "a file (path/to/mygame.py), gymnasium:ENV_ID, open_spiel:NAME or atari:NAME"
        )
    return games_folder() / f"{name}.py"


@functools.cache
def load_game_class(name: str) -> type[Game]:
    """The one `Game` subclass that a game's file defines.

    Args:
        name: a shipped game or a path, as for `game_path`. A path is relative to the working folder.

    Raises:
        GameLoadError: if there is no such file, if it cannot be imported (the cause is chained, with the
            traceback into the file), or if it defines no game, several, or one with methods missing.
    """
    path = game_path(name)
    module = _import_file(path)
    games = [
        value
        for value in vars(module).values()
        # Imported bases, such as GymnasiumGame, are not this file's game.
        if inspect.isclass(value) and issubclass(value, Game) and value.__module__ == module.__name__
    ]
    if len(games) != 1:
        found = " and ".join(game.__name__ for game in games) or "none"
        raise GameLoadError(f"{path}: a game file must define exactly one subclass of Game, got {found}")
    (game,) = games
    if inspect.isabstract(game):
        missing = " and ".join(sorted(game.__abstractmethods__))
        raise GameLoadError(f"{path}: {game.__name__} must define {missing}; see games/gridworld.py")
    return game


def raised_in_game(error: BaseException) -> bool:
    """Whether an exception passed through the code of a game's file."""
    frames = error.__traceback__
    while frames is not None:
        if frames.tb_frame.f_globals.get("__name__", "").startswith(_MODULE_PREFIX):
            return True
        frames = frames.tb_next
    return False


def _import_file(path: Path) -> ModuleType:
    # The number keeps two files of the same name apart; the module must be findable for dataclasses and pickle.
    module_name = f"{_MODULE_PREFIX}{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    if module_spec is None or module_spec.loader is None:
        raise GameLoadError(f"{path}: Python cannot import this file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        # What lies beside a game's file is not made importable: a module of the same name, of another game or of a
        # library (`chess`), would be taken in its place without a word.
        advice = (
            "a game is one file, and others beside it are not found: put what it imports into it, or install that as "
            "a package on every machine"
            if isinstance(error, ModuleNotFoundError)
            else f"a game's file must run on its own (python {path.name})"
        )
        raise GameLoadError(f"{path} cannot be imported: {type(error).__name__}: {error}; {advice}") from error
    return module
