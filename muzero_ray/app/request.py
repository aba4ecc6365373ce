"""What a command line asks for: the configuration of a run, new or resumed, with every mistake told at once.

The words become options in `options`, files and options become a configuration in `config_io`; here is
decided which file counts, and what may change when a run is resumed.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muzero_ray.app import config_io, options
from muzero_ray.app.config_io import ConfigFile
from muzero_ray.app.errors import UserError
from muzero_ray.app.misfits import game_mistakes, misfits, opponent_misfits
from muzero_ray.app.saving.remote_place import is_uri
from muzero_ray.app.saving.run_folder import RunFolder, game_label
from muzero_ray.core.config import Config
from muzero_ray.core.game import GameSpec

if TYPE_CHECKING:
    from muzero_ray.app.saving.checkpoint_reader import Checkpoint
    from muzero_ray.app.saving.remote_run import RemoteRun

logger = logging.getLogger(__name__)

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
    checkpoint: "Checkpoint | None"
    """What it continues from."""
    remote: "RemoteRun | None" = None
    """The copies of a run that it continues from instead, which are still to be fetched."""


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
    run, checkpoint, remote, file = None, None, None, ConfigFile(None, {})
    named = arguments.resume if arguments.resume != options.NEWEST else None
    if named and (is_uri(named) or RunFolder.is_copy(named)):
        from muzero_ray.app.saving.remote_run import RemoteRun  # here, so that --help needs no NumPy

        remote = RemoteRun.open(named)
        file = remote.config_file()
    elif arguments.resume:
        run, checkpoint = _run_to_resume(arguments.resume, arguments.results, arguments.game)
        file = _where_it_lies(run, config_io.read_file(run.config), arguments.results if named else None)
    elif arguments.config:
        file = _with_game(config_io.read_file(Path(arguments.config)), arguments.game)
    else:
        file = config_io.game_file(arguments.game or DEFAULT_GAME)
    if arguments.resume and arguments.game:
        _refuse_another_game(arguments.resume, file, arguments.game)
    file = replace(file, values=_with_whole_path(file.values))

    given = options.parse(arguments.options, file.values, prog, description)
    values = _with_whole_path(given.values)
    game = values.get("game", file.values.get("game"))
    spec, wrong_game = game_mistakes(game if isinstance(game, str) else DEFAULT_GAME)  # what is no text is told below
    config = config_io.make_config(
        file,
        values,
        [*options.explain_unknown(given.unknown, arguments.options), *wrong_game],
        lambda config: _all_misfits(config, spec) if spec else [],
    )
    if arguments.resume:
        _refuse_what_is_fixed(config_io.make_config(file), config)
    return RunRequest(config, file, frozenset(values), run, checkpoint, remote)


def _all_misfits(config: Config, spec: GameSpec) -> list[str]:
    return misfits(config, spec) + (opponent_misfits(config) if spec.num_players == 2 else [])


def _run_to_resume(resume: str, results: str | None, game: str | None) -> "tuple[RunFolder, Checkpoint]":
    """The run that was named, or the newest one that has a checkpoint to continue from."""
    from muzero_ray.app.saving.checkpoint_reader import CheckpointError, newest_checkpoint

    if resume != options.NEWEST:
        run = RunFolder.open(resume)
        return run, newest_checkpoint(run)
    results = results or DEFAULT_RESULTS
    if is_uri(results):
        raise UserError(
            f"--results: wanted a local folder, got {results!r}; to go on from a run's copies name them, --resume "
            f"{results}/GAME/DATE--TIME"
        )
    for run in RunFolder.list_runs(results, game):
        if RunFolder.is_copy(run.path):
            logger.warning("passed over: %s holds a run's copies; --resume %s goes on from them", run.path, run.path)
            continue
        try:
            return run, newest_checkpoint(run)
        except CheckpointError as error:
            logger.warning("passed over: %s", error)
    of_game = f" of {game}" if game else ""
    raise UserError(
        f"no run{of_game} in {results} that could be resumed; name one with --resume RUN, or start one without --resume"
    )


def _where_it_lies(run: RunFolder, file: ConfigFile, results: str | None) -> ConfigFile:
    """The file of a run to be resumed, whose `results` are where its folder is: it may have been moved, or be started
    from another folder than before.

    Args:
        run: to be resumed.
        file: its configuration.
        results: of the command line that names the run; another place would hold nothing of it.

    Raises:
        UserError: if they are elsewhere.
    """
    of_game = run.path.resolve().parent
    if results is not None and Path(results).resolve() != of_game.parent:
        raise UserError(f"--results: {run.path} goes on in its own folder, got {results}; leave out --results")
    said = str(file.values.get("results", DEFAULT_RESULTS))
    if of_game.name != _label_of(file) or Path(said).resolve() == of_game.parent:
        return file
    return replace(file, values={**file.values, "results": str(of_game.parent)})


def _label_of(file: ConfigFile) -> str:
    return game_label(str(file.values.get("game", DEFAULT_GAME)))


def _refuse_another_game(resume: str, file: ConfigFile, game: str) -> None:
    """Alone, before all other mistakes: whatever does not fit the other game is none of this run's."""
    own = _label_of(file)
    if own != game_label(game):
        raise UserError(
            f"--game: {resume} is of {own}, got {game}; leave out --game, or start a new run without --resume"
        )


def _with_whole_path(values: dict[str, Any]) -> dict[str, Any]:
    """Options in which a game's file is named by its whole path: it is found again from every folder."""
    game = values.get("game")
    if not isinstance(game, str) or not game.endswith(".py"):
        return values
    return {**values, "game": str(Path(game).expanduser().absolute())}


def _with_game(file: ConfigFile, game: str | None) -> ConfigFile:
    """A file that names no game is of the game that it is called after, unless the command line names one."""
    if game or "game" in file.values:
        return file
    assert file.path is not None
    from muzero_ray.adapters.loading import shipped_games

    if file.path.stem not in shipped_games():
        raise UserError(f"{file.path} names no game: write `game: NAME` in it, or add --game NAME")
    return replace(file, values={"game": file.path.stem, **file.values})


def _refuse_what_is_fixed(before: Config, after: Config) -> None:
    """What the weights and the buffer depend on cannot change on the way."""
    fixed = {f"network.{name}": (value, getattr(after.network, name)) for name, value in before.network}
    fixed["train.consistency_weight > 0"] = (before.train.consistency_weight > 0, after.train.consistency_weight > 0)
    changed = [f"{key}: wanted {old!r}, got {new!r}" for key, (old, new) in fixed.items() if old != new]
    if changed:
        listed = "\n".join(f"  {line}" for line in changed)
        raise UserError(f"a resumed run keeps what its weights depend on; start a new run to change:\n{listed}")
