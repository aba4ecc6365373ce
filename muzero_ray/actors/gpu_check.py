"""Whether a GPU is worth its share: how long a search takes on it, and on a CPU."""

import gc
import statistics
import time

import numpy as np

from muzero_ray.actors import build
from muzero_ray.adapters.loading import load_game
from muzero_ray.core.config import Config
from muzero_ray.core.types import Weights
from muzero_ray.play.acting_model import ActingModel

_SIMULATIONS = 8
_REPEATS = 3


def slower_on_gpu(config: Config, weights: Weights) -> str:
    """A sentence for the user if self-play would be faster on a CPU; empty if not. Takes a few searches on each.

    The memory of these searches is free again when this returns.
    """
    spec = build.game_spec(load_game(config.game))
    size = -(-config.self_play.games_per_actor // config.self_play.groups)
    observations = np.zeros((size, *spec.input_shape), spec.observation_dtype)
    seconds = []
    for share in (config.self_play.num_gpus, 0.0):
        model = build.make_model(config, spec, share)
        model.set_weights(weights)
        seconds.append(_seconds_per_simulation(model, observations, spec.num_actions))
        del model
        gc.collect()  # it and its searches refer to each other
    on_gpu, on_cpu = seconds
    if on_gpu <= on_cpu:
        return ""
    return (
        f"self_play.num_gpus: a simulation of {size} games takes {1e3 * on_gpu:.2f} ms on the GPU and "
        f"{1e3 * on_cpu:.2f} ms on a CPU; use 0, more self_play.games_per_actor or a larger network"
    )


def _seconds_per_simulation(model: ActingModel, observations: np.ndarray, num_actions: int) -> float:
    """Of a model that is asked as in a search, along random trees."""
    rng, size = np.random.default_rng(0), len(observations)
    times = []
    for repeat in range(_REPEATS + 1):
        model.initial(observations, _SIMULATIONS + 1)
        began = time.perf_counter()
        for node in range(1, _SIMULATIONS + 1):
            parents = rng.integers(0, node, size, dtype=np.int32)
            model.recurrent(parents, rng.integers(0, num_actions, size, dtype=np.int32), node)
        if repeat > 0:  # the first one prepares
            times.append((time.perf_counter() - began) / _SIMULATIONS)
    return statistics.median(times)
