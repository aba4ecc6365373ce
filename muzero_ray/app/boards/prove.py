"""The command `muzero-ray prove`: a trained agent held against the truth, where the truth can be known.

In games small enough, such as tic-tac-toe, every game that can be played against it is played. Connect four is too
large for that; there its moves are compared with a solver's in positions on file.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from muzero_ray.app.agent import open_agent
from muzero_ray.app.clean_output import stdout_kept_clean
from muzero_ray.app.errors import UserError
from muzero_ray.app.invocation import PROGRAM
from muzero_ray.app.saving.run_folder import game_label

if TYPE_CHECKING:
    from muzero_ray.actors.build import Agent
    from muzero_ray.play.proof import Proof, SeatProof
    from muzero_ray.play.solved_positions import Share


@dataclass
class ProveOptions:
    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder, results/<game>/<date--time>."""
    checkpoint: str | None = None
    """best, last or a number of training steps; none: the best, or the last where there is none."""
    simulations: int | None = None
    """Simulations per move; none: as in the run's evaluations."""
    max_positions: int = 20_000
    """A game with more positions is refused."""
    json: bool = False
    """Print one JSON object on standard output, everything else on standard error."""


def prove(argv: list[str]) -> int:
    """Try every reply against the agent in a game small enough (tic-tac-toe); exit code 1 if it can be beaten.

    In connect four, compare its moves with a solver's in some hundreds of positions instead.
    """
    chosen = tyro.cli(ProveOptions, args=argv, prog=f"{PROGRAM} prove", description=prove.__doc__)
    for option, value in (("--simulations", chosen.simulations), ("--max-positions", chosen.max_positions)):
        if value is not None and value < 1:
            raise UserError(f"{option}: wanted at least 1, got {value}")
    with stdout_kept_clean():
        config, agent = open_agent(chosen.run, chosen.checkpoint)
        from muzero_ray.play.connect4_board import plays_like_connect_four

        simulations = chosen.simulations or config.evaluate.num_simulations
        began = time.perf_counter()
        is_connect_four = plays_like_connect_four(agent.make_game().evaluated())
        lines, result, code = (
            _compare(agent, simulations) if is_connect_four else _prove(agent, simulations, chosen.max_positions)
        )
        seconds = time.perf_counter() - began
    name = game_label(config.game)
    if chosen.json:
        print(json.dumps({"game": name, **result, "seconds": round(seconds, 3)}))
    else:
        print("\n".join([f"{name}: {lines[0]}", *lines[1:], f"{chosen.run}, {seconds:.1f} s"]))
    return code


def _prove(agent: "Agent", simulations: int | None, limit: int) -> tuple[list[str], dict[str, Any], int]:
    """Text, JSON and exit code."""
    from muzero_ray.core.checked_game import CheckedGame
    from muzero_ray.play.perfect_play import TooLargeError
    from muzero_ray.play.proof import prove as prove_agent

    game = CheckedGame(agent.make_game().evaluated())
    try:
        proof = prove_agent(game, agent.planner, agent.model, num_simulations=simulations, limit=limit)
    except TooLargeError as error:
        raise UserError(f"prove: {error}; {PROGRAM} match measures an agent in any game for two") from error
    lost = [_in_words(agent, seat) for seat in proof.seats]
    return _proof_text(proof, lost), _proof_json(proof, lost), int(proof.losses > 0)


def _proof_text(proof: "Proof", lost: list[str | None]) -> list[str]:
    share = proof.optimal / proof.decisions
    lines = [
        f"{proof.positions:,} positions, in {proof.decisions:,} of them a move is to be made; "
        f"the agent's is optimal in {proof.optimal:,} ({share:.2%})"
    ]
    for name, seat in zip(("first", "second"), proof.seats, strict=True):
        lines.append(
            f"as {name} player: {seat.positions:,} positions, {seat.games:,} games: {seat.wins:,} won, "
            f"{seat.draws:,} drawn, {seat.losses:,} lost; wins missed in {seat.missed_wins:,} positions"
        )
    examples = [game for game in lost if game]
    lines.append(f"it can be beaten: {examples[0]}" if examples else "proved: it cannot be beaten")
    return lines


def _proof_json(proof: "Proof", lost: list[str | None]) -> dict[str, Any]:
    seats = [
        {**asdict(seat), "games": seat.games, "lost_game": game} for seat, game in zip(proof.seats, lost, strict=True)
    ]
    return {
        "positions": proof.positions,
        "decisions": proof.decisions,
        "optimal": proof.optimal,
        "share_optimal": proof.optimal / proof.decisions,
        "losses": proof.losses,
        "as_first": seats[0],
        "as_second": seats[1],
    }


def _in_words(agent: "Agent", seat: "SeatProof") -> str | None:
    """A lost game in the game's notation."""
    if seat.lost_game is None:
        return None
    game = agent.make_game()
    game.reset(0)
    words = []
    for action in seat.lost_game:
        words.append(game.action_to_string(action))
        game.step(action)
    return " ".join(words)


def _compare(agent: "Agent", simulations: int | None) -> tuple[list[str], dict[str, Any], int]:
    """Text, JSON and exit code, for connect four."""
    from muzero_ray.play.solved_positions import measure, read_positions

    shares = measure(agent.make_game(), agent.planner, agent.model, read_positions(), num_simulations=simulations)
    total = sum(share.positions for share in shares.values())
    keeping = sum(share.keeping for share in shares.values())
    lines = [f"too large to be proved; in {total} solved positions the agent keeps the win or draw in {keeping}"]
    width = max(map(len, shares))
    for stratum, share in shares.items():
        lines.append(f"{stratum:<{width}}  {_share_text(share)}")
    result = {
        "solved_positions": total,
        "share_keeping": keeping / total,
        "strata": {stratum: asdict(share) for stratum, share in shares.items()},
    }
    return lines, result, 0


def _share_text(share: "Share") -> str:
    return (
        f"{share.keeping / share.positions:.0%} of {share.positions} kept, "
        f"{share.best / share.positions:.0%} in the quickest way"
    )
