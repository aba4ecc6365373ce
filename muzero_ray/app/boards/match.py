"""The command `muzero-ray match`: a trained agent against an opponent, in a game for two."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from muzero_ray.app.agent import open_agent
from muzero_ray.app.clean_output import stdout_kept_clean
from muzero_ray.app.errors import UserError
from muzero_ray.app.invocation import PROGRAM
from muzero_ray.app.saving.run_folder import game_label
from muzero_ray.core.config import Config

if TYPE_CHECKING:
    from muzero_ray.actors.build import Agent
    from muzero_ray.play.fixtures import Player
    from muzero_ray.play.match import MatchResult

_RUN = "run:"


@dataclass
class MatchOptions:
    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder, results/<game>/<date--time>."""
    opponent: str
    """random, oneply, alphabeta:DEPTH, uct:ROLLOUTS, expert, perfect; gtp:PROGRAM, uci:PROGRAM or usi:PROGRAM, an
    engine; run:FOLDER@CHECKPOINT, another agent (run:@CHECKPOINT: of the same run)."""
    games: int = 200
    """Games; each opening is played twice, with colours swapped."""
    simulations: int | None = None
    """Simulations per move; none: as in the run's evaluations."""
    opening_moves: int = 4
    """Random moves before each game, of both players together, for variety."""
    seed: int = 0
    """Of openings and games."""
    checkpoint: str | None = None
    """best, last or a number of training steps; none: the best, or the last where there is none."""
    json: bool = False
    """Print one JSON object on standard output, everything else on standard error."""


def match(argv: list[str]) -> int:
    """Play a match in a game for two: the agent against an opponent, with the score and Elo that come of it."""
    chosen = tyro.cli(MatchOptions, args=argv, prog=f"{PROGRAM} match", description=match.__doc__)
    for option, value, least in (
        ("--games", chosen.games, 1),
        ("--simulations", chosen.simulations, 1),
        ("--opening-moves", chosen.opening_moves, 0),
        ("--seed", chosen.seed, 0),
    ):
        if value is not None and value < least:
            raise UserError(f"{option}: wanted at least {least}, got {value}")
    with stdout_kept_clean():
        config, agent = open_agent(chosen.run, chosen.checkpoint)
        name = game_label(config.game)
        if agent.spec.num_players != 2:
            raise UserError(
                f"match: wanted a game for 2 players, {name} is for 1; {PROGRAM} evaluate {chosen.run} measures it"
            )
        began = time.perf_counter()
        result = _play(chosen, config, agent)
        seconds = time.perf_counter() - began
    if chosen.json:
        print(json.dumps({"game": name, "opponent": chosen.opponent, **_as_json(result), "seconds": round(seconds, 3)}))
    else:
        print("\n".join(_as_text(name, chosen.opponent, result)))
        print(f"{chosen.run}, {seconds:.1f} s")
    return 0


def _play(chosen: MatchOptions, config: Config, agent: "Agent") -> "MatchResult":
    from muzero_ray.play.fixtures import AgentPlayer
    from muzero_ray.play.match import OpeningError, play_match
    from muzero_ray.play.opponent import OpponentError, UnknownOpponentError

    simulations = chosen.simulations or config.evaluate.num_simulations
    player = AgentPlayer("agent", agent.planner, agent.model, simulations)
    try:
        opponent = _opponent(chosen, agent)
        try:
            return play_match(
                agent.make_game,
                player,
                opponent,
                games=chosen.games,
                opening_moves=chosen.opening_moves,
                seed=chosen.seed,
            )
        finally:
            opponent.close()
    except (UnknownOpponentError, OpponentError) as error:
        raise UserError(f"--opponent: {error}") from error
    except OpeningError as error:
        raise UserError(f"--opening-moves: {error}") from error


def _opponent(chosen: MatchOptions, agent: "Agent") -> "Player":
    """Whom the agent plays; raises UserError if another agent is of another game, and as `make_opponent`."""
    from muzero_ray.play.fixtures import AgentPlayer, OpponentPlayer
    from muzero_ray.play.opponents import make_opponent

    if not chosen.opponent.startswith(_RUN):
        game = agent.make_game().evaluated()
        return OpponentPlayer(lambda: make_opponent(chosen.opponent, game))
    folder, at, which = chosen.opponent.removeprefix(_RUN).rpartition("@")
    if not at:
        folder, which = which, ""
    try:
        config, other = open_agent(Path(folder) if folder else chosen.run, which or None)
    except UserError as error:
        raise UserError(f"--opponent {chosen.opponent}: {error}") from error
    if other.spec != agent.spec:
        raise UserError(f"--opponent {chosen.opponent}: wanted a run of the same game, got one of {config.game}")
    simulations = chosen.simulations or config.evaluate.num_simulations
    return AgentPlayer(chosen.opponent, other.planner, other.model, simulations)


def _as_text(game: str, opponent: str, result: "MatchResult") -> list[str]:
    low, high = result.score_interval
    least, most = result.elo_interval
    first, second = result.score_by_seat
    sides = f"{first:.1%} moving first" + (f", {second:.1%} moving second" if second is not None else "")
    lines = [
        f"{game}: {result.wins} won, {result.draws} drawn, {result.losses} lost against {opponent}",
        f"score {result.score:.1%}, 95% confidence {low:.1%} to {high:.1%} ({sides})",
        f"Elo difference {_elo(result.elo)}, 95% confidence {_elo(least)} to {_elo(most)}",
        f"{result.length:.1f} moves per game",
    ]
    if result.forfeits:
        lines.append(f"{result.forfeits} of the games won were forfeited by {opponent}, which failed in them")
    return lines


def _elo(difference: float) -> str:
    return f"{difference:+.0f}" if math.isfinite(difference) else "+∞" if difference > 0 else "-∞"


def _as_json(result: "MatchResult") -> dict[str, object]:
    """JSON knows no infinity: null where a difference in Elo is infinite."""
    return {
        "games": len(result.scores),
        "wins": result.wins,
        "draws": result.draws,
        "losses": result.losses,
        "forfeits": result.forfeits,
        "score": result.score,
        "score_ci95": list(result.score_interval),
        "score_by_seat": list(result.score_by_seat),
        "elo": _finite(result.elo),
        "elo_ci95": [_finite(bound) for bound in result.elo_interval],
        "length": result.length,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
