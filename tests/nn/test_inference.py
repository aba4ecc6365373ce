import numpy as np
import torch
from reference.networks import random_network

from muzero_ray.nn.inference import TorchModel
from muzero_ray.nn.networks import to_weights

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
        np.testing.assert_allclose(step.rewards[row], network.decode_reward(heads.reward_logits).item(), rtol=1e-4)
        np.testing.assert_allclose(step.values[row], network.decode_value(heads.value_logits).item(), rtol=1e-4)
        np.testing.assert_allclose(step.policy_logits[row], heads.policy_logits[0].detach(), rtol=1e-4, atol=1e-6)


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
