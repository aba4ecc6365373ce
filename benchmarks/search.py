"""The compiled search against DeepMind's mctx: `python benchmarks/search.py [--json FILE]`.

Both plan with one and the same network, an MLP 64 wide (8 observations, 4 actions, 21 bins), on one core. A search
is timed whole, from observations in NumPy to actions and policies in NumPy: root inference, noise, simulations and
read-out; compilation is not. The two take turns in one process, so that a machine that slows down slows both.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

# Libraries read these when they are imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import mctx
import numpy as np

from muzero_ray.app.bench import overrides_in_words, speed_overrides
from muzero_ray.core.config import NetworkConfig, SearchConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.core.support import support_bins
from muzero_ray.core.types import Weights
from muzero_ray.engine.mlp import CompiledMLP
from muzero_ray.mcts.planner import make_planner

Algorithm = Literal["gumbel", "muzero"]
ALGORITHMS: tuple[Algorithm, ...] = ("gumbel", "muzero")
SIMULATIONS = 50
DISCOUNT = 0.997
TOLERANCE = 1e-4
"""Largest difference of the two networks' rewards, values and logits."""
SPEC = GameSpec(observation_shape=(8,), num_actions=4)
NETWORK = NetworkConfig(
    latent_size=64, hidden_size=64, head_size=64, value_support=(-10.0, 10.0), reward_support=(-10.0, 10.0)
)
BINS = support_bins(NETWORK.value_support, NETWORK.support_spacing, NETWORK.support_transform)
"""`[21]`, the same for values and rewards."""
_OBSERVATIONS = 16
"""Batches of observations that the calls take in turn."""


def main() -> None:
    """Checks that the networks agree, then measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32, 64, 256], metavar="B")
    parser.add_argument("--repeats", type=int, default=5, help="stretches of each (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a stretch (default: 0.3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    core = pin_to_one_core()
    weights = make_weights()
    difference = check_networks_agree(weights)
    print(f"{cpu_name()}, " + ("one core" if core is not None else "not pinned to a core: this system cannot"))
    if overrides := speed_overrides():
        print(overrides_in_words(overrides))
    print(f"networks agree to {difference:.1e}; {SIMULATIONS} simulations; medians of {options.repeats} [min-max]\n")
    rows = []
    for size in options.batch_sizes:
        rows.append(measure(weights, size, options.repeats, options.seconds))
        if len(rows) == 1:
            print(HEADER)
        print(format_rows(rows[-1]), flush=True)
    print(LEGEND)
    if options.json:
        packages = {name: metadata.version(name) for name in ("muzero-ray", "numpy", "numba", "jax", "jaxlib", "mctx")}
        about = {
            "cpu": cpu_name(),
            "pinned": core is not None,
            "environment": overrides,
            "python": platform.python_version(),
            **packages,
        }
        figures = {"about": about, "simulations": SIMULATIONS, "difference": difference, "rows": rows}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def pin_to_one_core() -> int | None:
    """Keeps this process on the last core that it may use; returns which, None where the system cannot do that."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def cpu_name() -> str:
    """The processor's own name, where Linux tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def make_weights() -> Weights:
    """Random published weights. The output layer of a new network is zero; noise gives trees a trained one's shape."""
    from muzero_ray.nn.learner import use_threads
    from muzero_ray.nn.networks import build_network, to_weights

    use_threads(1)
    rng = np.random.default_rng(0)
    weights = to_weights(build_network(NETWORK, SPEC, consistency=False))
    return {name: value + rng.normal(0, 0.1, value.shape).astype(np.float32) for name, value in weights.items()}


def compiled_model(weights: Weights) -> CompiledMLP:
    """Our network."""
    model = CompiledMLP(NETWORK, SPEC, discount=DISCOUNT)
    model.set_weights(weights)
    return model


def jax_initial(weights: dict[str, jax.Array], observations: jax.Array) -> mctx.RootFnOutput:
    """`[B, 8]` to root outputs: the representation and prediction of `MuZeroNetwork`'s docstring."""
    x = (observations - weights["observation_mean"]) / weights["observation_spread"]
    x = jax.nn.relu(_norm(weights, "representation_norm", _linear(weights, "representation_1", jnp.clip(x, -5, 5))))
    x = jax.nn.relu(_linear(weights, "representation_2", x))
    latents = _scale(_linear(weights, "representation_3", x))
    _, values, policy_logits = _predict(weights, latents)
    return mctx.RootFnOutput(prior_logits=policy_logits, value=values, embedding=latents)


def jax_recurrent(
    weights: dict[str, jax.Array], rng_key: jax.Array, actions: jax.Array, latents: jax.Array
) -> tuple[mctx.RecurrentFnOutput, jax.Array]:
    """`[B]` actions and `[B, H]` latent states to what follows: the dynamics and prediction of that docstring."""
    x = _linear(weights, "dynamics_1", latents) + weights["action_rows.weight"][actions]
    x = jax.nn.relu(_norm(weights, "dynamics_norm", x))
    latents = _scale(latents + _linear(weights, "dynamics_2", x))
    rewards, values, policy_logits = _predict(weights, latents)
    discounts = jnp.full_like(values, DISCOUNT)
    output = mctx.RecurrentFnOutput(reward=rewards, discount=discounts, prior_logits=policy_logits, value=values)
    return output, latents


def _predict(weights: dict[str, jax.Array], latents: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    outputs = _linear(weights, "prediction_2", jax.nn.relu(_linear(weights, "prediction_1", latents)))
    reward_logits, value_logits, policy_logits = jnp.split(outputs, [len(BINS), 2 * len(BINS)], axis=-1)
    return jax.nn.softmax(reward_logits) @ BINS, jax.nn.softmax(value_logits) @ BINS, policy_logits


def _linear(weights: dict[str, jax.Array], name: str, x: jax.Array) -> jax.Array:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: dict[str, jax.Array], name: str, x: jax.Array) -> jax.Array:
    x = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _scale(x: jax.Array) -> jax.Array:
    low, high = x.min(-1, keepdims=True), x.max(-1, keepdims=True)
    return (x - low) / (high - low + 1e-5)


def check_networks_agree(weights: Weights, size: int = 64, steps: int = 10) -> float:
    """Returns the largest difference of the two networks over a root and a chain of random actions.

    Raises:
        SystemExit: if it is above `TOLERANCE`.
    """
    rng = np.random.default_rng(1)
    observations = rng.normal(size=(size, 8)).astype(np.float32)
    model, on_jax = compiled_model(weights), {name: jnp.asarray(value) for name, value in weights.items()}
    ours = model.initial(observations, num_nodes=steps + 1)
    theirs = jax.jit(jax_initial)(on_jax, observations)
    pairs = [(ours.values.copy(), theirs.value), (ours.policy_logits.copy(), theirs.prior_logits)]
    recurrent, latents = jax.jit(jax_recurrent), theirs.embedding
    for node in range(steps):
        actions = rng.integers(4, size=size).astype(np.int32)
        step = model.recurrent(np.full(size, node, np.int32), actions, node + 1)
        output, latents = recurrent(on_jax, jax.random.PRNGKey(0), actions, latents)
        pairs.append((step.rewards.copy(), output.reward))
        pairs.append((step.values.copy(), output.value))
        pairs.append((step.policy_logits.copy(), output.prior_logits))
    difference = max(float(np.max(np.abs(one - np.asarray(two)))) for one, two in pairs)
    if not difference <= TOLERANCE:
        raise SystemExit(f"networks: wanted outputs equal to {TOLERANCE}, got a difference of {difference:.1e}")
    return difference


def our_search(weights: Weights, algorithm: Algorithm, batches: list[np.ndarray]) -> Callable[[], object]:
    """One search of ours per call."""
    model, rng = compiled_model(weights), np.random.default_rng(2)
    planner = make_planner(SearchConfig(algorithm=algorithm, num_simulations=SIMULATIONS), None)
    legal = np.ones((len(batches[0]), 4), dtype=bool)
    next_batch = _turns(batches)

    def search() -> object:
        result = planner(model, next_batch(), legal, noise_scale=1.0, temperature=1.0, rng=rng)
        return result.actions, result.search_policies

    return search


def mctx_search(weights: Weights, algorithm: Algorithm, batches: list[np.ndarray]) -> Callable[[], object]:
    """One search of mctx per call, in one compiled function with its root inference and its random keys."""
    on_jax = {name: jnp.asarray(value) for name, value in weights.items()}
    config = SearchConfig()

    @jax.jit
    def compiled(parameters: Any, call: Any, observations: Any) -> tuple[jax.Array, jax.Array]:
        key = jax.random.fold_in(jax.random.PRNGKey(2), call)
        root = jax_initial(parameters, observations)
        if algorithm == "gumbel":
            output = mctx.gumbel_muzero_policy(
                parameters, key, root, jax_recurrent, SIMULATIONS, max_num_considered_actions=16, gumbel_scale=1.0
            )
        else:
            output = mctx.muzero_policy(
                parameters, key, root, jax_recurrent, SIMULATIONS,
                dirichlet_fraction=config.exploration_fraction, dirichlet_alpha=config.dirichlet_alpha,
                pb_c_init=config.pb_c_init, pb_c_base=config.pb_c_base, temperature=1.0,
            )  # fmt: skip
        return output.action, output.action_weights

    next_batch = _turns(batches)
    calls = 0

    def search() -> object:
        nonlocal calls
        calls += 1
        actions, policies = compiled(on_jax, np.uint32(calls), jnp.asarray(next_batch()))
        return np.asarray(actions), np.asarray(policies)  # which waits for them

    return search


def our_network(weights: Weights, batches: list[np.ndarray]) -> Callable[[], object]:
    """The inferences of one search of ours per call, and nothing else."""
    model, rng, size = compiled_model(weights), np.random.default_rng(3), len(batches[0])
    nodes = range(1, SIMULATIONS + 1)
    parents = [rng.integers(node, size=size).astype(np.int32) for node in nodes]
    actions = [rng.integers(4, size=size).astype(np.int32) for _ in nodes]
    next_batch = _turns(batches)

    def infer() -> None:
        model.initial(next_batch(), num_nodes=SIMULATIONS + 1)
        for node in nodes:
            model.recurrent(parents[node - 1], actions[node - 1], node)

    return infer


def our_products(weights: Weights, size: int) -> Callable[[], object]:
    """The bare matrix products of the recurrent inferences of one search per call."""
    once = compiled_model(weights).matrix_products_only(size)

    def multiply() -> None:
        for _ in range(SIMULATIONS):
            once()

    return multiply


def measure(weights: Weights, size: int, repeats: int, seconds: float) -> dict[str, Any]:
    """Times everything at one batch size, in turns.

    Returns:
        `B` and, for each of "gumbel ours", "gumbel mctx", "muzero ours", "muzero mctx", "network" and "products", the
        milliseconds of one search as [median, min, max]; for each algorithm a "ratio", mctx to ours of the same turn.
    """
    rng = np.random.default_rng(4)
    batches = [rng.normal(size=(size, 8)).astype(np.float32) for _ in range(_OBSERVATIONS)]
    works: dict[str, Callable[[], object]] = {}
    for algorithm in ALGORITHMS:
        works[f"{algorithm} ours"] = our_search(weights, algorithm, batches)
        works[f"{algorithm} mctx"] = mctx_search(weights, algorithm, batches)
    works |= {"network": our_network(weights, batches), "products": our_products(weights, size)}
    for work in works.values():
        work()
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(1e3 * _seconds_per_call(work, seconds))
    for algorithm in ALGORITHMS:
        pairs = zip(times[f"{algorithm} ours"], times[f"{algorithm} mctx"], strict=True)
        times[f"{algorithm} ratio"] = [theirs / ours for ours, theirs in pairs]
    spans = {name: [statistics.median(found), min(found), max(found)] for name, found in times.items()}
    return {"B": size, **spans}


def _seconds_per_call(work: Callable[[], object], seconds: float) -> float:
    calls, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        work()
        calls += 1
    return elapsed / calls


def _turns(batches: list[np.ndarray]) -> Callable[[], np.ndarray]:
    calls = 0

    def next_batch() -> np.ndarray:
        nonlocal calls
        calls += 1
        return batches[calls % len(batches)]

    return next_batch


_WIDTHS = (5, 8, 25, 25, 18, 11, 10, 10, 10)


def _line(cells: tuple[str, ...]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))


HEADER = _line(("B", "search", "ours ms", "mctx ms", "mctx / ours", "our sims/s", "products", "network", "tree"))
LEGEND = f"""
ms: one search of B roots with {SIMULATIONS} simulations. products, network, tree: where our time goes, in % of it.
network: one `initial` and {SIMULATIONS} `recurrent` of the same shapes, timed alone; products: the bare matrix products
within it; tree: the rest, which is tree, noise, checks and read-out."""


def format_rows(row: dict[str, Any]) -> str:
    """The two lines of the table for one batch size."""

    def span(name: str, digits: int) -> str:
        middle, low, high = (f"{number:.{digits}f}" for number in row[name])
        return f"{middle} [{low}-{high}]"

    lines = []
    for algorithm in ALGORITHMS:
        ours = row[f"{algorithm} ours"][0]
        products, network = (row[name][0] / ours for name in ("products", "network"))
        lines.append(
            _line(
                (
                    str(row["B"]),
                    {"gumbel": "gumbel", "muzero": "pUCT"}[algorithm],
                    span(f"{algorithm} ours", 3),
                    span(f"{algorithm} mctx", 3),
                    span(f"{algorithm} ratio", 2),
                    f"{row['B'] * SIMULATIONS / ours * 1e3:,.0f}",
                    f"{products:.0%}",
                    f"{network:.0%}",
                    f"{1 - network:.0%}",
                )
            )
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
