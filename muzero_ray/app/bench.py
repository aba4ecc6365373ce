"""`muzero-ray bench`: how fast search, self-play and the learner are on this machine.

Medians over several repetitions; beside search and self-play a floor from the same run: the bare matrix products
of the network, the games without any search. Prints; asserts nothing.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
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

Reset = Callable[[int], object]
Step = Callable[[int], tuple[Any, ...]]

_BATCH_SIZES = (1, 8, 32, 64, 256)
_SIMULATIONS = 50
_REPEATS = 5
_SPEED_VARIABLES = ("OPENBLAS_CORETYPE", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT", "NUMBA_DISABLE_JIT")
"""What in the environment takes the choice of machine code from OpenBLAS and numba."""
_SPEC = GameSpec(observation_shape=(8,), num_actions=4)
_NETWORK = NetworkConfig(
    latent_size=64, hidden_size=64, head_size=64, value_support=(-10.0, 10.0), reward_support=(-10.0, 10.0)
)


def main(what: str, as_json: bool) -> int:
    """Runs one benchmark and prints its rows, as a table or as one JSON object; returns the exit code."""
    rows = {"search": bench_search, "selfplay": bench_selfplay, "learner": bench_learner}[what]()
    overrides = speed_overrides()
    if as_json:
        print(json.dumps({"bench": what, "cores": os.cpu_count(), "environment": overrides, "rows": rows}))
        return 0
    if overrides:
        print(overrides_in_words(overrides))
    names = list(rows[0])
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    for line in cells:
        print("  ".join(f"{text:>{width}}" for text, width in zip(line, widths, strict=True)))
    return 0


def speed_overrides() -> dict[str, str]:
    """Variables of the environment that say which machine code runs, with their values.

    An `OPENBLAS_CORETYPE` of an older processor, as some shells and containers export it, makes matrix products
    more than twice as slow; figures are then not those of the machine.
    """
    return {name: os.environ[name] for name in _SPEED_VARIABLES if os.environ.get(name)}


def overrides_in_words(overrides: dict[str, str]) -> str:
    """A sentence about these variables, for whoever reads the figures."""
    told = ", ".join(f"{name}={value}" for name, value in overrides.items())
    return f"not the machine's own choice, but set in the environment: {told}"


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
    """Env steps/s of self-play on one thread, beside the same games stepped with random actions.

    "bare" steps what `gymnasium.make` returns, "adapter" our games around it. The three take turns, so that
    their ratios hold on a machine that has other work too.
    """
    rows = []
    for game, env_id in (("lunarlander", "LunarLander-v3"), ("cartpole", "CartPole-v1")):
        config = Config(game=game)
        player = build.make_self_player(config, 0, 0)
        spec = build.Agent(config).spec
        player.set_weights(_initial_weights(config, spec), 0)
        num_actions = spec.num_actions
        moves, count = config.self_play.segment_moves, config.self_play.games_per_actor
        rates = _rates(
            (
                partial(player.play, moves),
                _random_play(partial(_bare_environment, env_id), num_actions, count, moves),
                _random_play(partial(_adapted_environment, game), num_actions, count, moves),
            ),
            moves * count,
        )
        playing, bare, adapter = (statistics.median(turns) for turns in zip(*rates, strict=True))
        rows.append(
            {
                "game": game,
                "simulations": config.search.num_simulations,
                "games at once": count,
                "env steps/s": round(playing),
                "simulations/s": round(playing * config.search.num_simulations),
                "random, bare": round(bare),
                "random, adapter": round(adapter),
                "share of bare": round(statistics.median(turn[0] / turn[1] for turn in rates), 2),
                "share of adapter": round(statistics.median(turn[0] / turn[2] for turn in rates), 2),
            }
        )
    return rows


def bench_learner() -> list[dict[str, Any]]:
    """Milliseconds per training step on one thread, batch 256 and K = 5, with sampling apart.

    "of it values" is what sampling spends on the network's present values, from which the targets bootstrap.
    """
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
            stored = 1e3 / _rate(buffer.sample, 1)
            fresh_values = build.FreshValues(config)
            fresh_values.set_weights(learner.weights())
            buffer.bootstrap_from(fresh_values)
            batch: Batch = buffer.sample()
            sampling = 1e3 / _rate(buffer.sample, 1)
            updating = 1e3 / _rate(partial(learner.update, batch), 1)
            rows.append(
                {
                    "width": width,
                    "consistency": consistency > 0,
                    "sample ms": round(sampling, 2),
                    "of it values": round(sampling - stored, 2),
                    "update ms": round(updating, 2),
                    "both ms": round(sampling + updating, 2),
                }
            )
    return rows


def _rate(work: Callable[[], object], amount: int) -> float:
    """`amount` per second: median of several stretches of a fifth of a second, after a warm-up."""
    return statistics.median(rate for (rate,) in _rates((work,), amount))


def _rates(works: Sequence[Callable[[], object]], amount: int) -> list[list[float]]:
    """`amount` per second of each work, for several rounds in which each has a fifth of a second in turn."""
    for work in works:
        work()
    return [[_stretch(work, amount) for work in works] for _ in range(_REPEATS)]


def _stretch(work: Callable[[], object], amount: int) -> float:
    began, calls = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < 0.2:
        work()
        calls += 1
    return amount * calls / elapsed


def _bare_environment(env_id: str) -> tuple[Reset, Step]:
    import gymnasium

    env = gymnasium.make(env_id)
    return lambda seed: env.reset(seed=seed), env.step


def _adapted_environment(game: str) -> tuple[Reset, Step]:
    adapted = load_game(game)()
    return adapted.reset, adapted.step


def _random_play(
    make: Callable[[], tuple[Reset, Step]], num_actions: int, count: int, moves: int
) -> Callable[[], None]:
    """Plays `moves` random moves of `count` environments; either kind draws the same actions and seeds."""
    environments = [make() for _ in range(count)]
    rng = np.random.default_rng(role_seed(0, "bench"))
    for reset, _ in environments:
        reset(int(training_seeds(rng, 1)[0]))

    def play() -> None:
        for actions in rng.integers(num_actions, size=(moves, count)):
            for (reset, step), action in zip(environments, actions.tolist(), strict=True):
                _, _, terminated, truncated, _ = step(action)
                if terminated or truncated:
                    reset(int(training_seeds(rng, 1)[0]))

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
