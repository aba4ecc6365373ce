"""What a command line asks for: the configuration of a run, new or resumed, with every mistake told at once.

The words become options in `options`, files and options become a configuration in `config_io`; here is
decided which file counts, and what may change when a run is resumed.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from muzero_ray.app import config_io, options
from muzero_ray.app.config_io import ConfigFile
from muzero_ray.app.errors import UserError
from muzero_ray.app.run_folder import RunFolder, game_label
from muzero_ray.core.config import Config

DEFAULT_RESULTS = Config.model_fields["results"].default
DEFAULT_GAME = Config.model_fields["game"].default


@dataclass(frozen=True)
class RunRequest:
    """A run as it was asked for."""

    config: Config
    file: ConfigFile
    """The file that was read."""
    given: frozenset[str]
    """Dotted keys that the command line said otherwise."""
    run: RunFolder | None
    """The run to be resumed; None for a new one."""


def read_request(argv: list[str], prog: str, description: str) -> RunRequest:
    """Reads the options of a run.

    Args:
        argv: the words after the command's name.
        prog: name of program and command, for the help.
        description: first line of the help.

    Raises:
        UserError: with all mistakes of command line, file and game.
        SystemExit: after `--help`, or where an option lacks its value.
    """
    arguments = options.scan(argv)
    if arguments.config and arguments.resume:
        raise UserError("--config and --resume exclude each other: a resumed run has its own config.yaml")
    run, file = None, ConfigFile(None, {})
    if arguments.resume:
        run = _run_to_resume(arguments.resume, arguments.results, arguments.game)
        file = config_io.read_file(run.config)
    elif arguments.config:
        file = _with_game(config_io.read_file(Path(arguments.config)), arguments.game)
    else:
        file = config_io.game_file(arguments.game or DEFAULT_GAME)

    given = options.parse(arguments.options, file.values, prog, description)
    found = [
        *config_io.unknown_words(given.unknown),
        *_game_mistakes(given.values.get("game") or file.values.get("game")),
    ]
    config = config_io.make_config(file, given.values, found)
    if run is not None:
        _refuse_what_is_fixed(config_io.make_config(file), config)
    return RunRequest(config, file, frozenset(given.values), run)


def _run_to_resume(resume: str, results: str | None, game: str | None) -> RunFolder:
    if resume == options.NEWEST:
        return RunFolder.newest(results or DEFAULT_RESULTS, game)
    return RunFolder.open(resume)


def _with_game(file: ConfigFile, game: str | None) -> ConfigFile:
    """A file that names no game is of the game that it is called after, unless the command line names one."""
    if game or "game" in file.values:
        return file
    assert file.path is not None
    from muzero_ray.adapters.loading import shipped_games

    if file.path.stem not in shipped_games():
        raise UserError(f"{file.path} names no game: write `game: NAME` in it, or add --game NAME")
    return replace(file, values={"game": file.path.stem, **file.values})


def _game_mistakes(game: object) -> list[str]:
    """What is wrong with the game, if anything; a value that is no text is told by the configuration."""
    from muzero_ray.adapters.loading import GameLoadError, load_game

    try:
        load_game(str(game or DEFAULT_GAME))
    except GameLoadError as error:
        return [str(error)]
    return []


def _refuse_what_is_fixed(before: Config, after: Config) -> None:
    """What the weights and the buffer depend on cannot change on the way."""
    fixed = {f"network.{name}": (value, getattr(after.network, name)) for name, value in before.network}
    fixed["game"] = (game_label(before.game), game_label(after.game))
    fixed["train.consistency_weight > 0"] = (before.train.consistency_weight > 0, after.train.consistency_weight > 0)
    changed = [f"{key}: wanted {old!r}, got {new!r}" for key, (old, new) in fixed.items() if old != new]
    if changed:
        listed = "\n".join(f"  {line}" for line in changed)
        raise UserError(f"a resumed run keeps what its weights depend on; start a new run to change:\n{listed}")
