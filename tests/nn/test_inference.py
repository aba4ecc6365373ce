import dataclasses

import numpy as np
import pytest
import torch
from reference.networks import BOARD, CAPTURES, PLAIN_BOARD, SMALL, SMALL_CONV, random_network

from muzero_ray.nn.inference import TorchModel
from muzero_ray.nn.networks import build_network, to_weights

OBSERVATIONS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)


def vector(*numbers):
    return np.array(numbers, dtype=np.int32)


def test_a_root_is_the_prediction_of_its_observation():
    network = random_network()
    root = TorchModel(random_network(), discount=0.9).initial(OBSERVATIONS, num_nodes=4)
    heads = network.predict(network.represent(torch.from_numpy(OBSERVATIONS)))
    np.testing.assert_allclose(root.values, network.decode_value(heads.value_logits).detach(), rtol=1e-5)
    np.testing.assert_allclose(root.policy_logits, heads.policy_logits.detach(), rtol=1e-5, atol=1e-6)


def test_each_row_steps_from_its_own_parent():
    network, model = random_network(), TorchModel(random_network(), discount=0.9)
    model.initial(OBSERVATIONS, num_nodes=4)
    model.recurrent(vector(0, 0, 0), vector(0, 1, 2), new_node=1)
    model.recurrent(vector(1, 0, 1), vector(3, 3, 3), new_node=2)
    step = model.recurrent(vector(2, 1, 0), vector(1, 2, 0), new_node=3)
    for row, path in enumerate([(0, 3, 1), (1, 2), (0,)]):  # the actions from the root to node 3
        latent = network.represent(torch.from_numpy(OBSERVATIONS[row : row + 1]))
        for action in path:
            latent = network.step(latent, torch.tensor([action]))
        heads = network.predict(latent)
        np.testing.assert_allclose(
            step.rewards[row], network.decode_reward(heads.reward_logits, latent).item(), rtol=1e-4
        )
        np.testing.assert_allclose(step.values[row], network.decode_value(heads.value_logits).item(), rtol=1e-4)
        np.testing.assert_allclose(step.policy_logits[row], heads.policy_logits[0].detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("spec", [BOARD, PLAIN_BOARD], ids=["drawn", "plain"])
def test_boards_are_searched_as_the_network_says(spec):
    network, model = random_network(SMALL_CONV, spec), TorchModel(random_network(SMALL_CONV, spec), discount=-1.0)
    observations = np.random.default_rng(0).integers(0, 2, (3, 2, 2, 3)).astype(np.float32)
    root = model.initial(observations, num_nodes=3)
    latents = network.represent(torch.from_numpy(observations))
    heads = network.predict(latents)
    np.testing.assert_allclose(root.values, network.decode_value(heads.value_logits).detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(root.policy_logits, heads.policy_logits.detach(), rtol=1e-4, atol=1e-5)
    model.recurrent(vector(0, 0, 0), vector(0, 1, 4), new_node=1)
    step = model.recurrent(vector(1, 0, 1), vector(3, 2, 4), new_node=2)
    after_one = network.step(latents, torch.tensor([0, 2, 4]))
    after_two = network.step(after_one, torch.tensor([3, 2, 4]))
    for row, reached in enumerate([after_two, after_one, after_two]):
        heads = network.predict(reached[row])
        np.testing.assert_allclose(
            step.rewards[row], network.decode_reward(heads.reward_logits, reached[row]).item(), rtol=1e-4
        )
        np.testing.assert_allclose(step.values[row], network.decode_value(heads.value_logits).item(), rtol=1e-4)
        np.testing.assert_allclose(step.policy_logits[row], heads.policy_logits.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("given", [0.9, -0.9])
def test_the_sign_of_a_discount_says_who_moves_next_where_turns_do_not_alternate(given):
    network = random_network(SMALL, CAPTURES)
    model = TorchModel(network, discount=given)
    observations = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32)
    model.initial(observations, num_nodes=2)
    actions = np.arange(32, dtype=np.int32) % 4
    discounts = model.recurrent(np.zeros(32, np.int32), actions, new_node=1).discounts
    latents = network.step(network.represent(torch.from_numpy(observations)), torch.from_numpy(actions))
    again = network.predict(latents).turn_logits[:, 0] > 0
    assert 0 < again.sum() < 32
    assert discounts.tolist() == [np.float32(0.9 if moves else -0.9) for moves in again]
    assert discounts.dtype == np.float32


@pytest.mark.parametrize("config", [SMALL, SMALL_CONV], ids=["mlp", "conv"])
def test_an_untrained_network_says_that_the_turn_passes(config):
    spec = dataclasses.replace(BOARD, alternating=False)
    model = TorchModel(build_network(config, spec, consistency=False), discount=1.0)
    model.initial(np.ones((2, 2, 2, 3), np.float32), num_nodes=2)
    assert model.recurrent(vector(0, 0), vector(0, 1), new_node=1).discounts.tolist() == [-1.0, -1.0]


def test_discounts_are_the_one_given():
    model = TorchModel(random_network(), discount=-1.0)
    model.initial(OBSERVATIONS, num_nodes=2)
    discounts = model.recurrent(vector(0, 0, 0), vector(0, 0, 0), new_node=1).discounts
    assert discounts.tolist() == [-1.0, -1.0, -1.0]
    assert discounts.dtype == np.float32


def test_new_weights_are_used_from_the_next_call_on():
    model = TorchModel(random_network(seed=1), discount=0.9)
    before = model.initial(OBSERVATIONS, num_nodes=1).values
    model.set_weights(to_weights(random_network(seed=2, consistency=True)))
    expected = TorchModel(random_network(seed=2), discount=0.9).initial(OBSERVATIONS, num_nodes=1).values
    after = model.initial(OBSERVATIONS, num_nodes=1).values
    np.testing.assert_array_equal(after, expected)
    assert not np.allclose(before, after)


def test_batch_size_and_number_of_nodes_may_change_between_searches():
    model = TorchModel(random_network(), discount=0.9)
    for rows, nodes in ((3, 2), (1, 2), (2, 5), (3, 3)):
        root = model.initial(OBSERVATIONS[:rows], num_nodes=nodes)
        step = model.recurrent(np.zeros(rows, np.int32), np.zeros(rows, np.int32), new_node=nodes - 1)
        assert root.policy_logits.shape == step.policy_logits.shape == (rows, 4)
        assert root.values.shape == step.rewards.shape == step.values.shape == step.discounts.shape == (rows,)


def test_read_only_observations_are_accepted():
    frozen = OBSERVATIONS.copy()
    frozen.setflags(write=False)
    assert np.isfinite(TorchModel(random_network(), discount=0.9).initial(frozen, num_nodes=1).values).all()
