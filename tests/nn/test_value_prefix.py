"""Rewards as differences of sums: the memory along a path, its targets, and what of it search and loss see."""

import dataclasses

import numpy as np
import pytest
import torch
from reference.batches import random_batch
from reference.naive_value_prefix import NaiveValuePrefix
from reference.networks import BOARD, PLAIN_BOARD, SUMMING_CONV, random_network

from muzero_ray.core.config import Config, NetworkConfig, TrainConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.gradients import GradientMaker
from muzero_ray.nn.inference import TorchModel
from muzero_ray.nn.learner import Learner
from muzero_ray.nn.losses import TensorBatch, unroll
from muzero_ray.nn.networks import build_network, load_weights, to_weights
from muzero_ray.nn.optimizer import make_optimizer
from muzero_ray.nn.value_prefix import ValuePrefix, prefix_targets

STATE = 2 * 3 * 3
"""Numbers of a state of the board: 3 planes of 2 x 3 cells."""
FRAMES = GameSpec(observation_shape=(1, 20, 20), num_actions=4, observation_dtype="uint8", frame_stack=2)


def boards(count, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 2, (count, 2, 2, 3)).astype(np.float32))


def adding(steps):
    """A prefix whose LSTM does nothing but add up: its gates are open, c grows by tanh(x), and h is tanh(c).

    Of its two bins, -1 and 1, the second has the logit 2 relu(h) and the first none: decode is tanh(relu(h)).
    """
    prefix = ValuePrefix(features=1, size=1, hidden=1, bins=torch.tensor([-1.0, 1.0]), steps=steps)
    with torch.no_grad():
        for parameter in prefix.parameters():
            parameter.zero_()
        prefix.lstm.bias_ih.copy_(torch.tensor([50.0, 50.0, 0.0, 50.0]))
        prefix.lstm.weight_ih[2] = 1.0
        prefix.head_1.weight.fill_(1.0)
        prefix.head_2.weight[1] = 2.0
    return prefix


def test_an_lstm_whose_gates_are_open_adds_up_and_starts_anew():
    prefix = adding(steps=2)
    memory, told = prefix.begin(torch.zeros(1, 4)), []
    for feature in (0.5, 1.0, 0.5):
        memory = prefix.advance(torch.tensor([[feature]]), memory)
        told.append(memory[0].tolist())
    # c: tanh(0.5) = 0.46212; + tanh(1) = 1.22371; anew, tanh(0.5). h = tanh(c): 0.43178, 0.84068.
    # Before: nothing; what h = 0.43178 stands for, tanh(0.43178) = 0.40681; nothing.
    np.testing.assert_allclose(told[0], [0.43178, 0.46212, 1, 0], atol=1e-4)
    np.testing.assert_allclose(told[1], [0.84068, 1.22371, 2, 0.40681], atol=1e-4)
    np.testing.assert_allclose(told[2], [0.43178, 0.46212, 1, 0], atol=1e-4)
    assert prefix.sum_logits(memory)[0].tolist() == pytest.approx([0, 2 * 0.43178], abs=1e-4)
    assert prefix.sum_before(memory).tolist() == [0]


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("spec", [BOARD, PLAIN_BOARD], ids=["drawn", "plain"])
def test_memory_and_rewards_agree_with_their_slow_twin(spec, steps):
    config = SUMMING_CONV.model_copy(update={"value_prefix_steps": steps})
    network = random_network(config, spec)
    twin = NaiveValuePrefix(to_weights(network), network.reward_bins.numpy(), steps)
    latents = network.represent(boards(1))
    assert (latents[0, STATE:] == 0).all()
    for action in (0, 2, 4, 4, 1, 3):
        latents = network.step(latents, torch.tensor([action]))
        logits = network.predict(latents).reward_logits
        expected = twin.reward(latents[0, :STATE].detach().double().view(6, 3).numpy())
        np.testing.assert_allclose(latents[0, STATE:-1].detach(), [*twin.hidden, *twin.cell, twin.count], atol=1e-5)
        np.testing.assert_allclose(logits[0].detach(), twin.logits(), atol=1e-5)
        assert network.decode_reward(logits, latents).item() == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_restart_forgets_all_that_was_before():
    network = random_network(SUMMING_CONV, BOARD)
    latents = network.represent(boards(2))
    twice = network.step(network.step(latents, torch.tensor([0, 1])), torch.tensor([2, 3]))
    fresh = torch.cat([twice[:, :STATE], torch.zeros_like(twice[:, STATE:])], dim=1)
    torch.testing.assert_close(network.step(twice, torch.tensor([4, 0])), network.step(fresh, torch.tensor([4, 0])))


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9])
def test_targets_agree_with_their_slow_twin(steps):
    rng = np.random.default_rng(steps)
    rewards = rng.normal(size=(4, 5)).astype(np.float32)
    mask = (rng.random((4, 5)) < 0.7).astype(np.float32)
    sums, known = prefix_targets(torch.from_numpy(rewards), torch.from_numpy(mask), steps)
    for b in range(4):
        for k in range(5):
            start = k - k % steps
            assert sums[b, k].item() == pytest.approx(sum(rewards[b, start : k + 1]), abs=1e-6)
            assert known[b, k].item() == float(all(mask[b, start : k + 1]))


def test_what_is_said_of_a_path_does_not_depend_on_the_other_paths_of_a_search():
    network, model = (random_network(SUMMING_CONV, BOARD) for _ in range(2))
    model = TorchModel(model, discount=-1.0)
    observations = boards(2)
    model.initial(observations.numpy(), num_nodes=6)
    # Both games: 0 -> 1 -> 2 -> 4, and 0 -> 3 -> 5 between.
    for node, parent, action in ((1, 0, 2), (2, 1, 0), (3, 0, 4), (4, 2, 1), (5, 3, 3)):
        step = model.recurrent(np.full(2, parent, np.int32), np.full(2, action, np.int32), node)
        latents = network.represent(observations)
        for taken in {1: [2], 2: [2, 0], 3: [4], 4: [2, 0, 1], 5: [4, 3]}[node]:
            latents = network.step(latents, torch.full((2,), taken))
        heads = network.predict(latents)
        expected = network.decode_reward(heads.reward_logits, latents).detach()
        np.testing.assert_allclose(step.rewards, expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(step.values, network.decode_value(heads.value_logits).detach(), rtol=1e-4, atol=1e-4)


def test_a_memory_is_no_part_of_what_else_is_said_of_a_state():
    network = random_network(SUMMING_CONV, BOARD, consistency=True)
    latents = network.step(network.represent(boards(3)), torch.tensor([0, 1, 2]))
    other = torch.cat([latents[:, :STATE], torch.rand(3, network.latent_size - STATE)], dim=1)
    one, two = network.predict(latents), network.predict(other)
    assert not torch.equal(one.reward_logits, two.reward_logits)
    for said, still in ((one.value_logits, two.value_logits), (one.policy_logits, two.policy_logits)):
        assert torch.equal(said, still)
    assert torch.equal(network.project(latents), network.project(other))
    assert torch.equal(
        network.step(latents, torch.tensor([1, 1, 1]))[:, :STATE], network.step(other, torch.ones(3).long())[:, :STATE]
    )


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_the_gradient_of_a_sum_is_scaled_on_its_way_through_states_and_not_through_memories(factor):
    network = random_network(SUMMING_CONV, BOARD)
    actions = torch.tensor([[0, 3]])

    def of_last_sum(cut_memory):
        """Gradient by the dynamics: through the states alone, or through the memory of the first step as well."""
        network.zero_grad()
        latents = network.step(network.represent(boards(1)), actions[:, 0])
        memory = latents[:, STATE:].detach() if cut_memory else latents[:, STATE:]
        latents = network.step(
            torch.cat([torch.lerp(latents[:, :STATE].detach(), latents[:, :STATE], factor), memory], 1), actions[:, 1]
        )
        network.predict(latents).reward_logits[0, 3].backward()
        return network.dynamics_1.weight.grad.clone()

    latents = unroll(network, boards(1), actions, factor)
    network.zero_grad()
    network.predict(latents[:, 2]).reward_logits[0, 3].backward()
    got = network.dynamics_1.weight.grad.clone()
    torch.testing.assert_close(got, of_last_sum(cut_memory=False))
    assert not torch.allclose(got, of_last_sum(cut_memory=True), rtol=1e-3)


def test_an_untrained_network_expects_no_reward_wherever_it_is_on_its_way():
    network = build_network(SUMMING_CONV, BOARD, consistency=False)
    latents = network.represent(boards(2))
    for action in (0, 3, 4):
        latents = network.step(latents, torch.tensor([action, action]))
        assert network.decode_reward(network.predict(latents).reward_logits, latents).abs().max() < 1e-5


def test_weights_go_round_and_those_of_the_lstm_decay():
    source, target = (random_network(SUMMING_CONV, BOARD, seed=seed) for seed in (1, 2))
    load_weights(target, to_weights(source))
    actions = torch.tensor([1, 2])
    assert torch.equal(
        target.step(target.represent(boards(2)), actions), source.step(source.represent(boards(2)), actions)
    )
    decayed, others = make_optimizer(source, weight_decay=0.1).param_groups
    assert {id(source.value_prefix.lstm.weight_ih), id(source.value_prefix.lstm.weight_hh)} <= set(
        map(id, decayed["params"])
    )
    assert all(parameter.ndim == 1 for parameter in others["params"])


def test_in_mixed_precision_every_layer_has_its_gradient_and_sums_are_not_rounded():
    network, same = (random_network(SUMMING_CONV, PLAIN_BOARD, consistency=True) for _ in range(2))
    batch = TensorBatch.from_batch(
        random_batch(np.random.default_rng(0), num_actions=5, observation_shape=PLAIN_BOARD.observation_shape)
    )
    train = TrainConfig(consistency_weight=1.0)
    GradientMaker(network, train, dtype=torch.bfloat16, say=pytest.fail)(batch)
    GradientMaker(same, train, say=pytest.fail)(batch)
    for (name, parameter), expected in zip(network.named_parameters(), same.parameters(), strict=True):
        assert parameter.grad is not None, name
        if name.startswith("value_prefix."):
            assert (parameter.grad - expected.grad).norm() < 0.1 * expected.grad.norm(), name
    memories = torch.rand(64, network.value_prefix.memory_size)
    plain = network.value_prefix.sum_logits(memories)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(network.value_prefix.sum_logits(memories), plain)


def test_sums_of_frames_are_learnt_with_each_step_asked_for_what_came_before():
    network = NetworkConfig(
        kind="image", channels=8, blocks=1, head_size=32, value_prefix_steps=3, value_prefix_size=16,
        reward_support=(-3.0, 3.0), support_transform=False,
    )  # fmt: skip
    train = TrainConfig(batch_size=6, learning_rate=5e-3, learning_rate_warmup=5)
    learner = Learner(Config(network=network, train=train), FRAMES, seed=0)
    rng = np.random.default_rng(0)
    batch = random_batch(rng, observation_shape=FRAMES.input_shape)
    batch = dataclasses.replace(
        batch,
        observations=rng.integers(0, 256, batch.observations.shape).astype(np.uint8),
        target_rewards=np.tile(np.float32([1, 0, 1]), (6, 1)),
        reward_mask=np.ones((6, 3), np.float32),
    )
    for _ in range(150):
        learner.update(batch)
    model = TorchModel(learner.network, discount=0.9)
    model.initial(batch.observations, num_nodes=4)
    told = [
        model.recurrent(np.full(6, k, np.int32), np.ascontiguousarray(batch.actions[:, k]), k + 1).rewards
        for k in range(3)
    ]
    np.testing.assert_allclose(np.stack(told, axis=1), batch.target_rewards, atol=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"network": {"value_prefix_steps": 5}},
            r'value_prefix_steps \(5\) needs kind "conv" or "image", got "mlp"; set it to 0',
        ),
        (
            {"network": {"kind": "image", "value_prefix_steps": 5}, "train": {"unroll_steps": 3}},
            r"network.value_prefix_steps \(5\) must not exceed train.unroll_steps \(3\): longer sums are never trained",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config.model_validate(options)
