"""The command line: `muzero-ray COMMAND`, also `python -m muzero_ray.app.cli`.

Finds out what is wanted, has every mistake told in a sentence, and hands over to the modules that do the
work. Those are imported inside of the commands, so that help comes at once, without torch or Ray.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

# Before NumPy is imported anywhere: matrices here are small, and BLAS threads would only wait for each other,
# and for the cores that other roles need. The trainer's threads are torch's (`system.trainer_threads`).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import tyro

from muzero_ray.app import config_io
from muzero_ray.app.agent import make_agent, open_agent, open_checkpoint
from muzero_ray.app.boards.board_commands import gtp, play, uci
from muzero_ray.app.boards.match import match
from muzero_ray.app.boards.prove import prove
from muzero_ray.app.clean_output import say, stdout_kept_clean
from muzero_ray.app.errors import UserError, did_you_mean, game_in_words
from muzero_ray.app.invocation import PROGRAM
from muzero_ray.app.reporting.status import status
from muzero_ray.app.reporting.status_file import is_under_way
from muzero_ray.app.request import read_request
from muzero_ray.app.saving.run_folder import RunFolder, game_label, package_version


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns the process's exit code.

    That is 0, 1 for a run that failed or a game with problems, 2 for a user's mistake, 130 after Ctrl-C and
    143 after SIGTERM.
    """
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"{PROGRAM} {package_version(PROGRAM)}")
        return 0
    name, *rest = words
    try:
        if name not in COMMANDS:
            raise UserError(f"no command {name!r}{did_you_mean(name, list(COMMANDS))}; see {PROGRAM} --help")
        return COMMANDS[name](rest)
    except UserError as error:
        say(f"error: {error}")
        return 2
    except SystemExit as stop:  # tyro ends the process itself after help and after mistakes
        return stop.code if isinstance(stop.code, int) else 2 if stop.code else 0
    except KeyboardInterrupt:
        say("stopped")
        return 130
    except BrokenPipeError:  # whoever read the output, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that nothing complains at exit
        return 0
    except ValueError as error:
        told = game_in_words(error)
        if told is None:
            raise
        say(f"error: {told}")
        return 2


def train(argv: list[str]) -> int:
    """Train an agent; `muzero-ray train --help` lists every option with this game's default."""
    request = read_request(argv, f"{PROGRAM} train", "Train an agent. Options of `configs/<game>.yaml` are defaults.")
    from muzero_ray.app.run import train as run_training

    if request.remote is not None:
        return run_training(request.config, *request.remote.fetch(request.config))
    if request.run is not None and is_under_way(request.run.status):
        # Two would write to one folder, and remove each other's checkpoints.
        raise UserError(
            f"{request.run.path}: wanted a run that has ended, got one that goes on; stop it first, by Ctrl-C, or wait "
            f"for a minute if its machine was lost; `{PROGRAM} status {request.run.path}` tells"
        )
    run = request.run or RunFolder.create(request.config.results, request.config.game)
    return run_training(request.config, run, request.checkpoint)


@dataclass
class EvaluateOptions:
    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder, results/<game>/<date--time>."""
    checkpoint: str | None = None
    """best, last or a number of training steps; none: the best, or the last where there is none."""
    episodes: int | None = None
    """Episodes; none: evaluate.final_episodes of the run."""
    json: bool = False
    """Print one JSON object on standard output, everything else on standard error."""


def evaluate(argv: list[str]) -> int:
    """Measure a trained agent: mean, spread and confidence of its return, without exploration."""
    chosen = tyro.cli(EvaluateOptions, args=argv, prog=f"{PROGRAM} evaluate", description=evaluate.__doc__)
    if chosen.episodes is not None and chosen.episodes < 1:
        raise UserError(f"--episodes: wanted at least 1, got {chosen.episodes}")
    with stdout_kept_clean():
        config, checkpoint = open_checkpoint(chosen.run, chosen.checkpoint)
        from muzero_ray.app.reporting.curve import describe
        from muzero_ray.core.rng import evaluation_seeds
        from muzero_ray.play.evaluation import evaluate as play_episodes

        agent = make_agent(config, checkpoint)
        if agent.spec.num_players == 2:
            raise UserError(
                f"evaluate: wanted a game for one player, {game_label(config.game)} is for 2; "
                f"{PROGRAM} match {chosen.run} --opponent uct:100 measures it"
            )
        seeds = evaluation_seeds(config.seed, chosen.episodes or config.evaluate.final_episodes)
        began = time.perf_counter()
        episodes = play_episodes(
            agent.make_game, agent.planner, agent.model, seeds, num_simulations=config.evaluate.num_simulations
        )
        seconds = time.perf_counter() - began
    returns = [episode.returns[0] for episode in episodes]
    found = describe(returns)
    if chosen.json:
        result = {
            "mean": found.mean,
            "std": found.std,
            "ci95": list(found.ci95) if found.ci95 else None,
            "returns": returns,
            "seconds": round(seconds, 3),
            "checkpoint": str(checkpoint.path),
            "protocol": agent.spec.protocol or None,
        }
        print(json.dumps(result))
    else:
        interval = f", 95% confidence {found.ci95[0]:.2f} to {found.ci95[1]:.2f}" if found.ci95 else ""
        name = game_label(config.game)
        print(f"{name}: return {found.mean:.2f} ± {found.std:.2f} over {len(returns)} episodes{interval}")
        print(f"{checkpoint.path}, {seconds:.1f} s")
        if agent.spec.protocol:
            print(agent.spec.protocol)
    return 0


@dataclass
class WatchOptions:
    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder, results/<game>/<date--time>."""
    checkpoint: str | None = None
    """best, last or a number of training steps; none: the best, or the last where there is none."""
    episode: int = 0
    """Which of the evaluation's episodes to record."""
    output: Path | None = None
    """Video file without suffix; none: `video` in the run folder."""


def watch(argv: list[str]) -> int:
    """Write a video (mp4, or gif) of one episode of a trained agent."""
    chosen = tyro.cli(WatchOptions, args=argv, prog=f"{PROGRAM} watch", description=watch.__doc__)
    if chosen.episode < 0:
        raise UserError(f"--episode: wanted at least 0, got {chosen.episode}")
    with stdout_kept_clean():
        config, agent = open_agent(chosen.run, chosen.checkpoint)
        from muzero_ray.app.reporting.video import record_video

        stem = chosen.output or RunFolder(chosen.run).video
        try:
            path = record_video(config, agent, stem, chosen.episode)
        except OSError as error:
            raise UserError(f"the video cannot be written: {error.strerror or error}; choose --output FILE") from error
    if path is None:
        raise UserError(f"{config.game} has neither render() nor text(): give it one of them to watch it")
    print(path)
    return 0


@dataclass
class NoOptions:
    pass


def games(argv: list[str]) -> int:
    """List the games that come with muzero_ray."""
    tyro.cli(NoOptions, args=argv, prog=f"{PROGRAM} games", description=games.__doc__)
    from muzero_ray.adapters.loading import game_title, shipped_games

    names = shipped_games()
    width = max(map(len, names), default=0)
    for name in names:
        print(f"{name:<{width}}  {game_title(name)}")
    return 0


@dataclass
class CheckGameOptions:
    game: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="GAME")]
    """A Python file, a game of `muzero-ray games`, gymnasium:ENV_ID, open_spiel:NAME or atari:NAME."""
    episodes: int = 10
    """Episodes to play at random."""


def check_game(argv: list[str]) -> int:
    """Play a game at random and explain everything that is wrong with it."""
    chosen = tyro.cli(CheckGameOptions, args=argv, prog=f"{PROGRAM} check-game", description=check_game.__doc__)
    if chosen.episodes < 1:
        raise UserError(f"--episodes: wanted at least 1, got {chosen.episodes}")
    from muzero_ray.adapters.loading import load_game
    from muzero_ray.core.game_check import check_game as find_problems

    problems = find_problems(load_game(chosen.game), episodes=chosen.episodes)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{chosen.game}: no problem found in {chosen.episodes} episodes")
    return 1 if problems else 0


def show_config(argv: list[str]) -> int:
    """Show every option of a run, its value, and where it comes from; takes the options of `train`."""
    request = read_request(argv, f"{PROGRAM} show-config", "Show what these options come to.")
    rows = config_io.resolved_with_origin(request.config, request.file, request.given)
    widths = [max(len(str(row[column])) for row in rows) for column in (0, 1)]
    for key, value, origin in rows:
        print(f"{key:<{widths[0]}}  {value!s:<{widths[1]}}  {origin}")
    return 0


@dataclass
class BenchOptions:
    what: tyro.conf.Positional[Literal["search", "selfplay", "learner"]]
    """What to measure."""
    json: bool = False
    """Print one JSON object on standard output."""


def bench(argv: list[str]) -> int:
    """Measure the speed of search, self-play or learner on this machine."""
    chosen = tyro.cli(BenchOptions, args=argv, prog=f"{PROGRAM} bench", description=bench.__doc__)
    from muzero_ray.app import bench as benchmarks

    return int(benchmarks.main(chosen.what, as_json=chosen.json))


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "status": status,
    "evaluate": evaluate,
    "watch": watch,
    "match": match,
    "prove": prove,
    "play": play,
    "gtp": gtp,
    "uci": uci,
    "games": games,
    "check-game": check_game,
    "show-config": show_config,
    "bench": bench,
}


def _overview() -> str:
    lines = [f"usage: {PROGRAM} COMMAND [OPTIONS]", "", "MuZero, trained on your game with Ray.", ""]
    for name, command in COMMANDS.items():
        lines.append(f"  {name:<12} {(command.__doc__ or '').splitlines()[0]}")
    return "\n".join([*lines, "", f"{PROGRAM} COMMAND --help says more, {PROGRAM} --version which one this is."])


if __name__ == "__main__":
    sys.exit(main())
