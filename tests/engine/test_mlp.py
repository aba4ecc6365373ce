import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from reference.networks import CAPTURES, SMALL, SPEC, random_network

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.engine.mlp import CompiledMLP
from muzero_ray.nn.inference import TorchModel
from muzero_ray.nn.networks import build_network, to_weights

CONFIGS = {
    "default": NetworkConfig(),
    "small": SMALL,
    "odd_sizes": NetworkConfig(latent_size=7, hidden_size=33, head_size=19),
    "plain_support": SMALL.model_copy(update={"support_transform": False}),
    "uneven_half_steps": SMALL.model_copy(
        update={"support_spacing": 0.5, "value_support": (-3.0, 15.5), "reward_support": (0.0, 1.0)}
    ),
    "scalar": SMALL.model_copy(update={"value_head": "scalar"}),
    "plain_observations": SMALL.model_copy(update={"normalize_observations": False}),
}
BOUNDED = dataclasses.replace(SPEC, value_bounds=(-2.0, 6.0))


def both_engines(config, spec=BOUNDED, seed=0):
    network = random_network(config, spec, seed=seed)
    compiled = CompiledMLP(config, spec, discount=0.9)
    compiled.set_weights(to_weights(network))
    return compiled, TorchModel(network, discount=0.9)


def assert_same(compiled_output, torch_output):
    for field in dataclasses.fields(torch_output):
        got, expected = getattr(compiled_output, field.name), getattr(torch_output, field.name)
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * scale, err_msg=field.name)
        assert got.shape == expected.shape
        assert got.dtype == expected.dtype


def search_with_both(compiled, reference, observations, simulations, num_actions, seed=0):
    """Walks both models through the same random tree and compares every answer."""
    rng = np.random.default_rng(seed)
    size = len(observations)
    assert_same(compiled.initial(observations, simulations + 1), reference.initial(observations, simulations + 1))
    for node in range(1, simulations + 1):
        parents = rng.integers(0, node, size).astype(np.int32)
        actions = rng.integers(0, num_actions, size).astype(np.int32)
        assert_same(compiled.recurrent(parents, actions, node), reference.recurrent(parents, actions, node))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_answers_are_those_of_the_torch_network(name, batch_size):
    compiled, reference = both_engines(CONFIGS[name])
    observations = np.random.default_rng(1).normal(size=(batch_size, 5)).astype(np.float32)
    search_with_both(compiled, reference, observations, simulations=8, num_actions=4)


@pytest.mark.parametrize("head", ["categorical", "scalar"])
def test_engines_agree_on_whose_turn_comes_next(head):
    config = SMALL.model_copy(update={"value_head": head})
    network = random_network(config, CAPTURES)
    observations = np.random.default_rng(1).normal(size=(32, 5)).astype(np.float32)
    actions = np.arange(32, dtype=np.int32) % 4
    latents = network.step(network.represent(torch.from_numpy(observations)), torch.from_numpy(actions))
    network.prediction_2.bias.data[-1] -= network.predict(latents).turn_logits.mean()  # so that both answers occur
    compiled = CompiledMLP(config, CAPTURES, discount=-0.9)
    compiled.set_weights(to_weights(network))
    search_with_both(compiled, TorchModel(network, -0.9), observations, simulations=8, num_actions=4)
    compiled.initial(observations, 2)
    discounts = compiled.recurrent(np.zeros(32, np.int32), actions, 1).discounts
    assert set(discounts.tolist()) == {np.float32(0.9).item(), np.float32(-0.9).item()}


@pytest.mark.parametrize("given", [0.9, -0.9])
def test_an_untrained_network_says_that_the_turn_passes(given):
    compiled = CompiledMLP(SMALL, CAPTURES, discount=given)
    compiled.set_weights(to_weights(build_network(SMALL, CAPTURES, consistency=False)))
    compiled.initial(np.ones((2, 5), np.float32), num_nodes=2)
    discounts = compiled.recurrent(np.zeros(2, np.int32), np.zeros(2, np.int32), 1).discounts
    assert discounts.tolist() == [np.float32(-0.9)] * 2


@pytest.mark.parametrize("given", [0.9, -0.9])
def test_discounts_are_the_one_given_where_turns_alternate(given):
    spec = dataclasses.replace(CAPTURES, alternating=True)
    compiled = CompiledMLP(SMALL, spec, discount=given)
    compiled.set_weights(to_weights(random_network(SMALL, spec)))
    compiled.initial(np.ones((2, 5), np.float32), num_nodes=2)
    discounts = compiled.recurrent(np.zeros(2, np.int32), np.zeros(2, np.int32), 1).discounts
    assert discounts.tolist() == [np.float32(given)] * 2


@pytest.mark.parametrize("size", [1e-3, 30.0])
def test_answers_agree_for_flat_and_for_extreme_distributions(size):
    network = random_network()
    network.prediction_2.weight.data.mul_(size)
    network.prediction_2.bias.data.mul_(size)
    compiled = CompiledMLP(SMALL, SPEC, discount=0.9)
    compiled.set_weights(to_weights(network))
    observations = np.random.default_rng(1).normal(size=(16, 5)).astype(np.float32)
    search_with_both(compiled, TorchModel(network, 0.9), observations, simulations=4, num_actions=4)


def test_an_untrained_network_predicts_nothing():
    compiled = CompiledMLP(SMALL, SPEC, discount=0.9)
    compiled.set_weights(to_weights(build_network(SMALL, SPEC, consistency=True)))
    root = compiled.initial(np.ones((2, 5), np.float32), num_nodes=2)
    step = compiled.recurrent(np.zeros(2, np.int32), np.zeros(2, np.int32), 1)
    assert (root.policy_logits == 0).all()
    np.testing.assert_allclose([root.values, step.rewards, step.values], 0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_observations_of_more_than_one_axis_are_flattened_and_frames_scaled(dtype):
    spec = GameSpec(observation_shape=(2, 3, 2), num_actions=3, observation_dtype=dtype)
    compiled, reference = both_engines(SMALL, spec)
    observations = np.random.default_rng(0).integers(0, 256, (4, 2, 3, 2)).astype(dtype)
    search_with_both(compiled, reference, observations, simulations=3, num_actions=3)


def test_observations_far_from_those_trained_on_are_clipped_alike():
    compiled, reference = both_engines(SMALL)
    observations = np.random.default_rng(0).normal(scale=20, size=(16, 5)).astype(np.float32)
    search_with_both(compiled, reference, observations, simulations=3, num_actions=4)
    high, higher = (compiled.initial(np.full((1, 5), x, np.float32), 1).values.item() for x in (1e3, 1e6))
    assert high == higher


def test_the_observations_given_are_not_written_to():
    compiled, _ = both_engines(SMALL)
    observations = np.ones((2, 5), np.float32)
    observations.setflags(write=False)
    compiled.initial(observations, num_nodes=1)
    assert (observations == 1).all()


def test_new_weights_replace_the_old_ones():
    compiled, _ = both_engines(SMALL, seed=1)
    network = random_network(SMALL, BOUNDED, seed=2)
    observations = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    before = compiled.initial(observations, 5).values.copy()
    compiled.set_weights(to_weights(network))
    search_with_both(compiled, TorchModel(network, discount=0.9), observations, simulations=4, num_actions=4)
    assert not np.allclose(before, compiled.initial(observations, 5).values)


def test_weights_are_copied():
    weights = to_weights(random_network())
    compiled = CompiledMLP(SMALL, SPEC, discount=0.9)
    compiled.set_weights(weights)
    observations = np.ones((1, 5), np.float32)
    before = compiled.initial(observations, 1).values.copy()
    for array in weights.values():
        array.fill(0)
    assert compiled.initial(observations, 1).values == before


def test_batch_size_and_number_of_nodes_may_change_between_searches():
    compiled, reference = both_engines(SMALL)
    for size, simulations in ((4, 3), (2, 3), (4, 9), (1, 1), (4, 3)):
        observations = np.random.default_rng(size).normal(size=(size, 5)).astype(np.float32)
        search_with_both(compiled, reference, observations, simulations, num_actions=4)


def test_observations_that_are_not_contiguous_are_accepted():
    compiled, reference = both_engines(SMALL)
    observations = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32).T[:4]
    search_with_both(compiled, reference, observations, simulations=2, num_actions=4)


def test_a_row_of_a_large_batch_is_that_row_alone():
    compiled, _ = both_engines(SMALL)
    observations = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    together = compiled.initial(observations, 1).values.copy()
    alone = [compiled.initial(observations[row : row + 1], 1).values.item() for row in range(9)]
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("parents", "actions", "new_node"),
    [
        ([0, 3], [0, 0], 1),
        ([0, -1], [0, 0], 1),
        ([0, 0], [0, 4], 1),
        ([0, 0], [-1, 0], 1),
        ([0, 0], [0, 0], 3),
        ([0], [0], 1),
    ],
    ids=["parent_above", "parent_below", "action_above", "action_below", "new_node", "batch_size"],
)
def test_indices_out_of_range_are_refused(parents, actions, new_node):
    compiled, _ = both_engines(SMALL)
    compiled.initial(np.zeros((2, 5), np.float32), num_nodes=3)
    with pytest.raises(IndexError):
        compiled.recurrent(np.array(parents, np.int32), np.array(actions, np.int32), new_node)


@pytest.mark.parametrize("fault", ["missing", "shape", "not finite"])
def test_foreign_or_broken_weights_are_refused(fault):
    weights = to_weights(random_network())
    if fault == "missing":
        del weights["prediction_1.bias"]
    elif fault == "shape":
        weights["prediction_1.bias"] = np.zeros(3, np.float32)
    else:
        weights["prediction_1.bias"][0] = np.nan
    with pytest.raises(ValueError, match="weights: "):
        CompiledMLP(SMALL, SPEC, discount=0.9).set_weights(weights)


def test_a_model_without_weights_says_so():
    with pytest.raises(RuntimeError, match="set_weights"):
        CompiledMLP(SMALL, SPEC, discount=0.9).initial(np.zeros((1, 5), np.float32), 1)


def test_a_scalar_value_head_needs_value_bounds():
    with pytest.raises(ValueError, match="value_bounds"):
        CompiledMLP(NetworkConfig(value_head="scalar"), dataclasses.replace(SPEC, value_bounds=None), discount=0.9)


def test_the_bare_products_are_those_of_a_step():
    compiled, _ = both_engines(SMALL)
    compiled.matrix_products_only(batch_size=4)()
    compiled.initial(np.ones((2, 5), np.float32), num_nodes=2)
    before = compiled.recurrent(np.zeros(2, np.int32), np.zeros(2, np.int32), 1).values.copy()
    compiled.matrix_products_only(batch_size=2)()  # works on room of its own
    np.testing.assert_array_equal(compiled.recurrent(np.zeros(2, np.int32), np.zeros(2, np.int32), 1).values, before)


def test_the_engine_never_imports_torch():
    code = "import sys, muzero_ray.engine.mlp; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ANSWERS = """
import numpy as np
from reference.networks import SMALL, SPEC, random_network
from muzero_ray.engine.mlp import CompiledMLP
from muzero_ray.nn.networks import to_weights

engine = CompiledMLP(SMALL, SPEC, discount=0.9)
engine.set_weights(to_weights(random_network(SMALL, SPEC, seed=0)))
rng = np.random.default_rng(1)
root = engine.initial(rng.normal(size=(9, 5)).astype(np.float32), 2)
print(*root.values, *root.policy_logits.ravel())
step = engine.recurrent(np.zeros(9, np.int32), np.arange(9, dtype=np.int32) % SPEC.num_actions, 1)
print(*step.values, *step.rewards, *step.policy_logits.ravel())
"""


def answers_of_a_process(**environment):
    """What one root inference and one step answer in a process of their own, as printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run([sys.executable, "-c", ANSWERS], env=environment, capture_output=True, text=True, check=True)
    numbers = done.stdout.split()
    assert len(numbers) == 9 * (1 + SPEC.num_actions) + 9 * (2 + SPEC.num_actions)
    return numbers


def test_plain_python_for_a_debugger_answers_as_the_compiled_code():
    compiled = np.array(answers_of_a_process(NUMBA_DISABLE_JIT="0"), dtype=np.float64)
    plain = np.array(answers_of_a_process(NUMBA_DISABLE_JIT="1"), dtype=np.float64)
    np.testing.assert_allclose(plain, compiled, rtol=0, atol=1e-5 * np.abs(compiled).max())


def test_a_process_that_compiles_the_kernels_answers_to_the_bit_as_one_that_loads_them(tmp_path):
    compiling = answers_of_a_process(NUMBA_CACHE_DIR=str(tmp_path))
    assert list(tmp_path.rglob("kernels.recurrent*.nbc")), "kept for the next process"
    assert answers_of_a_process(NUMBA_CACHE_DIR=str(tmp_path)) == compiling
