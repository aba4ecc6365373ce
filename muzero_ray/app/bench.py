"""`muzero-ray bench`: how fast search, self-play and the learner are on this machine.

Medians over several repetitions, with a floor from the same run beside each: the bare matrix products of
the network, the games without any search. Prints; asserts nothing.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from muzero_ray.actors import build
from muzero_ray.adapters.loading import load_game
from muzero_ray.core.config import Config, NetworkConfig, SearchConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.core.rng import role_seed, training_seeds
from muzero_ray.core.types import Batch, Trajectory
from muzero_ray.engine.mlp import CompiledMLP
from muzero_ray.mcts.planner import make_planner

_BATCH_SIZES = (1, 8, 32, 64, 256)
_SIMULATIONS = 50
_REPEATS = 5
_SPEC = GameSpec(observation_shape=(8,), num_actions=4)
_NETWORK = NetworkConfig(
    latent_size=64, hidden_size=64, head_size=64, value_support=(-10.0, 10.0), reward_support=(-10.0, 10.0)
)


def main(what: str, as_json: bool) -> int:
    """Runs one benchmark and prints its rows, as a table or as one JSON object; returns the exit code."""
    rows = {"search": bench_search, "selfplay": bench_selfplay, "learner": bench_learner}[what]()
    if as_json:
        print(json.dumps({"bench": what, "cores": os.cpu_count(), "rows": rows}))
        return 0
    names = list(rows[0])
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    for line in cells:
        print("  ".join(f"{text:>{width}}" for text, width in zip(line, widths, strict=True)))
    return 0


def bench_search() -> list[dict[str, Any]]:
    """Simulations/s of whole searches over B roots, network included, on one thread.

    The network is an MLP 64 wide (8 observations, 4 actions, 21 bins); 50 simulations. "products" is the
    floor: the same number of evaluations of the bare matrix products, without tree, activation or decoding.
    """
    from muzero_ray.nn.inference import TorchModel
    from muzero_ray.nn.learner import use_threads
    from muzero_ray.nn.networks import build_network, to_weights

    use_threads(1)
    network = build_network(_NETWORK, _SPEC, consistency=False)
    rng = np.random.default_rng(0)
    # The output layer starts at zero; random numbers give the trees the shape of a trained network's.
    weights = {
        name: value + rng.normal(0, 0.1, value.shape).astype(np.float32) for name, value in to_weights(network).items()
    }
    compiled = CompiledMLP(_NETWORK, _SPEC, discount=0.997)
    torch_model = TorchModel(network, discount=0.997)
    for model in (compiled, torch_model):
        model.set_weights(weights)
    rows = []
    for size in _BATCH_SIZES:
        observations = rng.normal(size=(size, 8)).astype(np.float32)
        legal = np.ones((size, 4), dtype=bool)
        row: dict[str, Any] = {"B": size}
        for algorithm in ("gumbel", "muzero"):
            planner = make_planner(SearchConfig(algorithm=algorithm, num_simulations=_SIMULATIONS), None)
            for engine, model in (("compiled", compiled), ("torch", torch_model)):
                search = partial(planner, model, observations, legal, noise_scale=1.0, temperature=1.0, rng=rng)
                row[f"{algorithm} {engine}"] = round(_rate(search, size * _SIMULATIONS))
        row["products"] = round(_rate(compiled.matrix_products_only(size), size))
        row["share of floor"] = round(row["gumbel compiled"] / row["products"], 2)
        rows.append(row)
    return rows


def bench_selfplay() -> list[dict[str, Any]]:
    """Env steps/s of self-play on one thread, beside the same games stepped with random actions."""
    rows = []
    for game in ("lunarlander", "cartpole"):
        config = Config(game=game)
        player = build.make_self_player(config, 0, 0)
        spec = build.Agent(config).spec
        player.set_weights(_initial_weights(config, spec), 0)
        steps = config.self_play.segment_moves * config.self_play.games_per_actor
        playing = _rate(partial(player.play, 16), steps)
        alone = _rate(_random_play(game, config.self_play.games_per_actor, 16), steps)
        rows.append(
            {
                "game": game,
                "simulations": config.search.num_simulations,
                "games at once": config.self_play.games_per_actor,
                "env steps/s": round(playing),
                "simulations/s": round(playing * config.search.num_simulations),
                "random play": round(alone),
                "share of random play": round(playing / alone, 2),
            }
        )
    return rows


def bench_learner() -> list[dict[str, Any]]:
    """Milliseconds per training step on one thread, batch 256 and K = 5, with sampling apart."""
    from muzero_ray.nn.learner import Learner, use_threads

    use_threads(1)
    rows = []
    for width in (64, 128):
        for consistency in (0.0, 2.0):
            config = Config.model_validate(
                {
                    "network": {"latent_size": 64, "hidden_size": width, "head_size": width},
                    "train": {"batch_size": 256, "consistency_weight": consistency},
                    "replay": {"capacity_steps": 50_000},
                }
            )
            buffer = build.make_replay_buffer(config)
            _fill(buffer, np.random.default_rng(0), steps=20_000)
            learner = Learner(config, _SPEC, seed=0)
            batch: Batch = buffer.sample()
            sampling = 1e3 / _rate(buffer.sample, 1)
            updating = 1e3 / _rate(partial(learner.update, batch), 1)
            rows.append(
                {
                    "width": width,
                    "consistency": consistency > 0,
                    "sample ms": round(sampling, 2),
                    "update ms": round(updating, 2),
                    "both ms": round(sampling + updating, 2),
                }
            )
    return rows


def _rate(work: Callable[[], object], amount: int) -> float:
    """`amount` per second: median of several stretches of a fifth of a second, after a warm-up."""
    work()
    rates = []
    for _ in range(_REPEATS):
        began, calls = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - began) < 0.2:
            work()
            calls += 1
        rates.append(amount * calls / elapsed)
    return statistics.median(rates)


def _random_play(game: str, count: int, moves: int) -> Callable[[], None]:
    make_game = load_game(game)
    games = [make_game() for _ in range(count)]
    rng = np.random.default_rng(role_seed(0, "bench"))
    for each in games:
        each.reset(int(training_seeds(rng, 1)[0]))
    num_actions = games[0].spec.num_actions

    def play() -> None:
        for actions in rng.integers(num_actions, size=(moves, count)):
            for each, action in zip(games, actions.tolist(), strict=True):
                _, _, terminated, truncated, _ = each.step(action)
                if terminated or truncated:
                    each.reset(int(training_seeds(rng, 1)[0]))

    return play


def _initial_weights(config: Config, spec: GameSpec) -> dict[str, np.ndarray]:
    from muzero_ray.nn.networks import build_network, to_weights

    return to_weights(build_network(config.network, spec, consistency=False, seed=0))


def _fill(buffer: Any, rng: np.random.Generator, steps: int) -> None:
    """Random games of 200 steps, with 8 observations and 4 actions."""
    for game_id in range(steps // 200):
        policies = rng.dirichlet(np.ones(4), size=200).astype(np.float32)
        buffer.add(
            Trajectory(
                observations=rng.normal(size=(201, 8)).astype(np.float32),
                actions=rng.integers(4, size=200).astype(np.int32),
                rewards=rng.normal(size=200).astype(np.float32),
                to_play=np.zeros(201, np.int8),
                legal_actions=np.ones((200, 4), bool),
                search_policies=policies,
                root_values=rng.normal(size=200).astype(np.float32),
                terminated=True,
                truncated=False,
                final_value=0.0,
                weights_version=0,
                seed=0,
                game_id=game_id,
                first_step=0,
            )
        )


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--json" in sys.argv))
