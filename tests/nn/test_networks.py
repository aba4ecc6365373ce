import numpy as np
import pytest
import torch
from reference.networks import SMALL, SPEC, random_network

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.base_network import scale_latent
from muzero_ray.nn.networks import build_network, load_weights, to_weights


def test_latents_fill_the_range_from_0_to_1():
    # (x - 1) / (5 - 1) for the first row; a constant row has no range and becomes zeros.
    scaled = scale_latent(torch.tensor([[1.0, 2.0, 5.0], [3.0, 3.0, 3.0]]))
    np.testing.assert_allclose(scaled.numpy(), [[0, 0.25, 1], [0, 0, 0]], atol=1e-5)


def test_shapes_of_every_function():
    network = random_network(consistency=True)
    latents = network.represent(torch.randn(3, 5))
    assert latents.shape == (3, 8)
    assert network.step(latents, torch.tensor([0, 3, 1])).shape == (3, 8)
    heads = network.predict(latents.unsqueeze(1).expand(3, 2, 8))
    assert [logits.shape for logits in heads] == [(3, 2, 25), (3, 2, 41), (3, 2, 4), (3, 2, 0)]
    assert network.predict_projection(network.project(latents)).shape == (3, 8)


def test_an_untrained_network_predicts_nothing_and_a_uniform_policy():
    network = build_network(SMALL, SPEC, consistency=False)
    latents = network.represent(torch.randn(3, 5))
    heads = network.predict(latents)
    assert network.decode_reward(heads.reward_logits, latents).abs().max() < 1e-5
    assert network.decode_value(heads.value_logits).abs().max() < 1e-5
    assert (heads.policy_logits == 0).all()


def test_the_dynamics_is_the_documented_formula():
    network = random_network()
    weights = {name: array.astype(np.float64) for name, array in to_weights(network).items()}
    latent, action = np.linspace(0, 1, 8), 2
    x = weights["dynamics_1.weight"] @ latent + weights["dynamics_1.bias"] + weights["action_rows.weight"][action]
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weights["dynamics_norm.weight"] + weights["dynamics_norm.bias"]
    y = latent + weights["dynamics_2.weight"] @ np.maximum(x, 0) + weights["dynamics_2.bias"]
    expected = (y - y.min()) / (y.max() - y.min() + 1e-5)
    got = network.step(torch.from_numpy(latent).float().unsqueeze(0), torch.tensor([action]))
    np.testing.assert_allclose(got.detach().numpy()[0], expected, atol=1e-5)


def test_observations_of_any_shape_are_flattened_and_frames_scaled():
    frames = GameSpec(observation_shape=(2, 3), num_actions=2, observation_dtype="uint8")
    floats = GameSpec(observation_shape=(6,), num_actions=2)
    pixels = torch.tensor([[[0, 51, 255], [1, 2, 3]]], dtype=torch.uint8)
    of_frames = random_network(SMALL, frames).represent(pixels)
    plain = SMALL.model_copy(update={"normalize_observations": False})
    of_floats = random_network(plain, floats).represent(pixels.float().flatten(1) / 255)
    torch.testing.assert_close(of_frames, of_floats)


def test_observations_are_normalised_and_clipped():
    # (o - m) / s of features 1 to 4: (3 - 1) / 4, (1 - 2) / 0.5, 41 / 8 beyond 5 and -6 / 0.01 beyond -5.
    network, plain = (random_network(SMALL.model_copy(update={"normalize_observations": on})) for on in (True, False))
    mean, std = np.array([[1, 2, 0, 6, 0], [4, 0.5, 8, 0.01, 1]], np.float32)
    network.normalize_by(mean, std)
    got = network.represent(torch.tensor([[3.0, 1.0, 41.0, 0.0, 0.0]]))
    torch.testing.assert_close(got, plain.represent(torch.tensor([[0.5, -2.0, 5.0, -5.0, 0.0]])))


def test_a_new_network_leaves_small_observations_as_they_are():
    network, plain = (
        build_network(SMALL.model_copy(update={"normalize_observations": on}), SPEC, False) for on in (True, False)
    )
    observations = torch.randn(3, 5)
    torch.testing.assert_close(network.represent(observations), plain.represent(observations))


def test_the_normalisation_travels_with_state_and_weights():
    source = random_network(seed=1)
    assert {"observation_mean", "observation_spread"} < source.state_dict().keys()
    by_state, by_weights = random_network(seed=2), random_network(seed=3)
    by_state.load_state_dict(source.state_dict())
    load_weights(by_weights, to_weights(source))
    observations = torch.randn(3, 5)
    for copy in (by_state, by_weights):
        assert torch.equal(copy.observation_mean, source.observation_mean)
        assert torch.equal(copy.represent(observations), source.represent(observations))


@pytest.mark.parametrize(("dtype", "on"), [("uint8", True), ("uint8", False), ("float32", False)])
def test_without_normalisation_nothing_travels(dtype, on):
    spec = GameSpec(observation_shape=(6,), num_actions=2, observation_dtype=dtype)
    network = build_network(SMALL.model_copy(update={"normalize_observations": on}), spec, consistency=False)
    assert to_weights(network).keys() == dict(network.named_parameters()).keys()


@pytest.mark.parametrize(("logit", "value"), [(0.0, 1.0), (50.0, 4.0), (-50.0, -2.0)])
def test_a_scalar_value_stays_within_the_bounds(logit, value):
    spec = GameSpec(observation_shape=(5,), num_actions=4, value_bounds=(-2.0, 4.0))
    network = build_network(NetworkConfig(value_head="scalar"), spec, consistency=False)
    assert network.decode_value(torch.tensor([[logit]])).tolist() == [value]


def test_a_scalar_value_head_needs_value_bounds():
    spec = GameSpec(observation_shape=(5,), num_actions=4)
    with pytest.raises(ValueError, match="value_bounds"):
        build_network(NetworkConfig(value_head="scalar"), spec, consistency=False)


def test_one_seed_gives_one_network_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first, second = (build_network(SMALL, SPEC, consistency=True, seed=7) for _ in range(2))
    other = build_network(SMALL, SPEC, consistency=True, seed=8)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.dynamics_1.weight, other.dynamics_1.weight)


def test_published_weights_are_copies_and_leave_out_the_consistency_layers():
    network = random_network(consistency=True)
    weights = to_weights(network)
    kept = weights["dynamics_1.weight"].copy()
    with torch.no_grad():
        network.dynamics_1.weight.zero_()
    np.testing.assert_array_equal(weights["dynamics_1.weight"], kept)
    assert not [name for name in weights if "consistency" in name]
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}


def test_loaded_weights_replace_all_but_the_consistency_layers():
    source, target = random_network(seed=1), random_network(consistency=True, seed=2)
    projector = target.consistency_projector[0].weight.clone()
    load_weights(target, to_weights(source))
    assert torch.equal(target.representation_3.bias, source.representation_3.bias)
    assert torch.equal(target.consistency_projector[0].weight, projector)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
def test_foreign_weights_are_refused(fault):
    weights = to_weights(random_network())
    if fault == "missing":
        del weights["prediction_1.bias"]
    elif fault == "unknown":
        weights["stranger"] = np.zeros(3, np.float32)
    else:
        weights["prediction_1.bias"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match=r"weights: .*another network configuration"):
        load_weights(random_network(), weights)
