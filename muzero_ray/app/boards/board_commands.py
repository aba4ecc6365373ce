"""The commands that seat the agent at a board: `muzero-ray gtp`, `uci` and `play`.

They open a run and say what does not fit; the conversations are `gtp_server`, `uci_server` and `board_session`.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from muzero_ray.app.agent import open_agent
from muzero_ray.app.boards.protocol_lines import protocol_lines
from muzero_ray.app.errors import UserError
from muzero_ray.app.invocation import PROGRAM
from muzero_ray.app.saving.run_folder import game_label

if TYPE_CHECKING:
    from muzero_ray.play.game_in_progress import GameInProgress
    from muzero_ray.play.thinking import Thinker


@dataclass
class ServeOptions:
    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder, results/<game>/<date--time>."""
    checkpoint: str | None = None
    """best, last or a number of training steps; none: the best, or the last where there is none."""
    simulations: int | None = None
    """Simulations per move; none: as in the run's evaluations."""


def gtp(argv: list[str]) -> int:
    """Serve a trained agent by GTP on standard input and output, for Go boards and engine matches."""
    chosen = tyro.cli(ServeOptions, args=argv, prog=f"{PROGRAM} gtp", description=gtp.__doc__)
    with protocol_lines() as (lines, write):
        position, thinker = _seat(chosen, "gtp")
        from muzero_ray.app.boards.gtp_server import GtpServer

        server = GtpServer(position, thinker)
        for line in lines:
            write(server.answer(line))
            if server.ended:
                break
    return 0


def uci(argv: list[str]) -> int:
    """Serve a trained agent by UCI (chess) or USI (shogi) on standard input and output, for boards and matches."""
    chosen = tyro.cli(ServeOptions, args=argv, prog=f"{PROGRAM} uci", description=uci.__doc__)
    with protocol_lines() as (lines, write):
        position, thinker = _seat(chosen, "uci")
        from muzero_ray.app.boards.uci_server import UciServer
        from muzero_ray.play.notation import protocol_of

        server = UciServer(position, thinker, "usi" if protocol_of(position.game) == "usi" else "uci")
        for line in lines:
            for answer in server.answers(line):
                write(f"{answer}\n")
            if server.ended:
                break
    return 0


@dataclass
class PlayOptions(ServeOptions):
    side: Literal["first", "second", "random"] = "first"
    """Who you are: the player who begins, the other, or either by chance."""


def play(argv: list[str]) -> int:
    """Play against a trained agent in the terminal."""
    chosen = tyro.cli(PlayOptions, args=argv, prog=f"{PROGRAM} play", description=play.__doc__)
    position, thinker = _seat(chosen, "play")
    from rich.console import Console

    from muzero_ray.app.boards.board_session import BoardSession

    with contextlib.suppress(ImportError):  # where it is there, `input` lets a line be edited
        import readline  # noqa: F401
    BoardSession(position, thinker, Console(highlight=False), side=chosen.side).run()
    return 0


def _seat(chosen: ServeOptions, command: Literal["gtp", "uci", "play"]) -> "tuple[GameInProgress, Thinker]":
    """The game at its start, and the agent; raises UserError if the command is not for such games."""
    from muzero_ray.play.thinking import MAX_SIMULATIONS, Thinker

    if chosen.simulations is not None and not 1 <= chosen.simulations <= MAX_SIMULATIONS:
        raise UserError(f"--simulations: wanted a number from 1 to {MAX_SIMULATIONS}, got {chosen.simulations}")
    config, agent = open_agent(chosen.run, chosen.checkpoint)
    from muzero_ray.play.game_in_progress import GameInProgress
    from muzero_ray.play.notation import protocol_of

    name = game_label(config.game)
    if agent.spec.num_players != 2:
        raise UserError(
            f"{command}: {name} is a game for one player; {PROGRAM} watch {chosen.run} shows the agent at it"
        )
    position = GameInProgress(agent.make_game)
    protocol = protocol_of(position.game)
    if command == "gtp" and protocol != "gtp":
        other = f"{PROGRAM} uci {chosen.run} serves it" if protocol else f"{PROGRAM} play {chosen.run} plays it"
        raise UserError(f"gtp: is for Go and other stones on a square board, not for {name}; {other}")
    if command == "uci" and protocol not in ("uci", "usi"):
        other = f"{PROGRAM} gtp {chosen.run} serves it" if protocol else f"{PROGRAM} play {chosen.run} plays it"
        raise UserError(f"uci: is for chess and shogi, not for {name}; {other}")
    thinker = Thinker(agent.planner, agent.model, chosen.simulations or config.evaluate.num_simulations)
    thinker.think(position, 1)  # whatever happens at first use happens now, not on somebody's clock
    return position, thinker
