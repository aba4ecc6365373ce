"""The network for images: a small board made of frames, and on it what the network for boards does."""

import dataclasses

import numpy as np
import pytest
import torch
from reference.batches import random_batch
from reference.naive_conv import flat
from reference.naive_downsampling import NaiveImageNetwork
from reference.networks import random_network

from muzero_ray.core.config import Config, NetworkConfig, TrainConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.conv_network import ConvNetwork
from muzero_ray.nn.inference import TorchModel
from muzero_ray.nn.learner import Learner
from muzero_ray.nn.networks import build_network, load_weights, to_weights
from muzero_ray.nn.optimizer import make_optimizer

SMALL_IMAGE = NetworkConfig(kind="image", channels=4, blocks=1, head_size=7)
FRAMES = GameSpec(observation_shape=(3, 20, 36), num_actions=5, observation_dtype="uint8", frame_stack=2)
"""Six planes of 20 x 36 as the network sees them, of which a board of 2 x 3 cells remains."""


def frames_of(spec, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *spec.input_shape)).astype(np.uint8)


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_every_function_agrees_with_its_slow_twin(blocks):
    config = SMALL_IMAGE.model_copy(update={"blocks": blocks})
    network = random_network(config, FRAMES)
    twin = NaiveImageNetwork(config, FRAMES, to_weights(network))
    frames = frames_of(FRAMES, 3)
    latents = network.represent(torch.from_numpy(frames))
    states = [twin.represent(frame) for frame in frames]
    for actions in ([0, 1, 2], [4, 4, 0]):
        np.testing.assert_allclose(latents.detach(), [flat(state) for state in states], atol=5e-5)
        heads = network.predict(latents)
        expected = [twin.predict(state) for state in states]
        scalars = torch.cat([heads.reward_logits, heads.value_logits], dim=-1)
        np.testing.assert_allclose(scalars.detach(), [e["scalars"] for e in expected], atol=1e-4)
        np.testing.assert_allclose(heads.policy_logits.detach(), [e["policy"] for e in expected], atol=1e-4)
        latents = network.step(latents, torch.tensor(actions))
        states = [twin.step(state, action) for state, action in zip(states, actions, strict=True)]


@pytest.mark.parametrize(
    ("size", "board"),
    # 96, 48, 24, 12, 6; 84, 42, 21, 11, 6; 64, 32, 16, 8, 4; 210, 105, 53, 27, 14; 160, 80, 40, 20, 10; 17, 9, 5, 3, 2.
    [((96, 96), (6, 6)), ((84, 84), (6, 6)), ((64, 64), (4, 4)), ((210, 160), (14, 10)), ((17, 20), (2, 2))],
)
def test_each_of_four_halvings_rounds_up(size, board):
    spec = GameSpec(observation_shape=(1, *size), num_actions=2, observation_dtype="uint8")
    network = build_network(SMALL_IMAGE, spec, consistency=False)
    assert network.downsampling.board == board
    assert network.latent_size == board[0] * board[1] * 4
    assert network.represent(torch.from_numpy(frames_of(spec, 1))).shape == (1, network.latent_size)


@pytest.mark.parametrize(
    ("blocks", "stages"), [(1, (1, 1, 1)), (2, (2, 2, 2)), (3, (2, 3, 3)), (16, (2, 3, 3))], ids=str
)
def test_the_way_down_has_the_papers_blocks_or_as_many_as_the_towers(blocks, stages):
    network = build_network(SMALL_IMAGE.model_copy(update={"blocks": blocks}), FRAMES, consistency=False)
    down = network.downsampling
    assert (len(down.blocks_1), len(down.blocks_2), len(down.blocks_3)) == stages
    assert len(network.representation_blocks) == len(network.dynamics_blocks) == blocks


def test_planes_are_halved_until_the_second_convolution():
    network = build_network(NetworkConfig(kind="image", channels=64, blocks=1), FRAMES, consistency=False)
    down = network.downsampling
    assert down.convolution_1.weight.shape == (32, 6, 3, 3)
    assert down.blocks_1[0].convolution_1.weight.shape == (32, 32, 3, 3)
    assert down.convolution_2.weight.shape == (64, 32, 3, 3)
    assert network.dynamics_1.weight.shape == (64, 64, 3, 3)


def test_a_learned_row_per_action_is_a_one_hot_plane_seen_by_a_convolution_of_one_cell():
    network = random_network(SMALL_IMAGE, FRAMES)
    boards = torch.rand(5, 4, 2, 3)
    planes = torch.eye(5)[:, :, None, None].expand(5, 5, 2, 3)  # the plane of action a is all ones, the others zeros
    kernel = torch.zeros(4, 9, 3, 3)
    kernel[:, :4] = network.dynamics_1.weight
    kernel[:, 4:, 1, 1] = network.action_rows.weight.T
    seen = torch.nn.functional.conv2d(torch.cat([boards, planes], dim=1), kernel, network.dynamics_1.bias, padding=1)
    added = network.dynamics_1(boards) + network.action_rows(torch.arange(5))[:, :, None, None]
    torch.testing.assert_close(seen, added)


def test_what_is_said_of_frames_does_not_depend_on_those_beside_them():
    network = random_network(SMALL_IMAGE, FRAMES)
    frames, actions = torch.from_numpy(frames_of(FRAMES, 9)), torch.arange(9) % 5

    def everything(rows):
        latents = network.represent(frames[rows])
        heads = network.predict(network.step(latents, actions[rows]))
        return torch.cat([*heads, latents], dim=-1)

    together = everything(slice(None))
    for row in range(9):
        torch.testing.assert_close(everything(slice(row, row + 1))[0], together[row], rtol=1e-4, atol=1e-5)


def test_frames_are_divided_by_255_and_floats_taken_as_they_are():
    of_floats = random_network(SMALL_IMAGE, dataclasses.replace(FRAMES, observation_dtype="float32"))
    frames = torch.from_numpy(frames_of(FRAMES, 2))
    of_frames = random_network(SMALL_IMAGE, FRAMES)
    torch.testing.assert_close(of_frames.represent(frames), of_floats.represent(frames / 255))


def test_an_untrained_network_predicts_nothing_and_a_uniform_policy():
    network = build_network(SMALL_IMAGE, FRAMES, consistency=False)
    latents = network.represent(torch.from_numpy(frames_of(FRAMES, 3)))
    heads = network.predict(latents)
    assert network.decode_reward(heads.reward_logits, latents).abs().max() < 1e-5
    assert network.decode_value(heads.value_logits).abs().max() < 1e-5
    assert (heads.policy_logits == 0).all()


def test_latents_fill_the_range_from_0_to_1():
    network = random_network(SMALL_IMAGE, FRAMES)
    latents = network.represent(torch.from_numpy(frames_of(FRAMES, 8)))
    for states in (latents, network.step(latents, torch.arange(8) % 5)):
        torch.testing.assert_close(states.amin(dim=1), torch.zeros(8))
        torch.testing.assert_close(states.amax(dim=1), torch.ones(8), rtol=0, atol=1e-4)


def test_frames_are_searched_as_the_network_says():
    network, model = (random_network(SMALL_IMAGE, FRAMES) for _ in range(2))
    model = TorchModel(model, discount=0.9)
    frames = frames_of(FRAMES, 3)
    root = model.initial(frames, num_nodes=3)
    step = model.recurrent(np.zeros(3, np.int32), np.array([0, 2, 4], np.int32), new_node=1)
    latents = network.represent(torch.from_numpy(frames))
    stepped = network.step(latents, torch.tensor([0, 2, 4]))
    reached = network.predict(stepped)
    np.testing.assert_allclose(root.policy_logits, network.predict(latents).policy_logits.detach(), atol=1e-5)
    np.testing.assert_allclose(step.policy_logits, reached.policy_logits.detach(), atol=1e-5)
    np.testing.assert_allclose(step.values, network.decode_value(reached.value_logits).detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        step.rewards, network.decode_reward(reached.reward_logits, stepped).detach(), rtol=1e-4, atol=1e-5
    )


def test_weights_go_round_without_consistency_layers_and_decay_but_for_rows_biases_and_norms():
    source, target = (random_network(SMALL_IMAGE, FRAMES, consistency=True, seed=seed) for seed in (1, 2))
    weights = to_weights(source)
    assert weights.keys() == {name for name, _ in source.named_parameters() if "consistency" not in name}
    load_weights(target, weights)
    frames = torch.from_numpy(frames_of(FRAMES, 2))
    assert torch.equal(target.represent(frames), source.represent(frames))
    decayed, others = make_optimizer(source, weight_decay=0.1).param_groups
    assert {parameter.ndim for parameter in decayed["params"]} == {2, 4}
    assert max(parameter.ndim for parameter in others["params"] if parameter is not source.action_rows.weight) == 1


def test_a_batch_of_frames_is_learnt_with_consistency():
    network = SMALL_IMAGE.model_copy(update={"channels": 8, "head_size": 32})
    train = TrainConfig(batch_size=6, consistency_weight=2.0, learning_rate=5e-3, learning_rate_warmup=5)
    learner = Learner(Config(network=network, train=train), FRAMES, seed=0)
    batch = random_batch(np.random.default_rng(0), num_actions=5, observation_shape=FRAMES.input_shape)
    rng = np.random.default_rng(1)
    batch = dataclasses.replace(
        batch,
        observations=rng.integers(0, 256, batch.observations.shape).astype(np.uint8),
        next_observations=rng.integers(0, 256, batch.next_observations.shape).astype(np.uint8),
    )
    first = learner.update(batch).metrics
    for _ in range(60):
        last = learner.update(batch).metrics
    assert last["loss/value"] < 0.7 * first["loss/value"]
    # Every cosine 1: the mean over 6 windows of their weight times 1/3 for each of 3 recorded states.
    least = -(batch.importance_weights[:, None] * batch.observation_mask).sum() / 6 / 3
    assert first["loss/consistency"] > 0.3 * least
    assert last["loss/consistency"] < 0.7 * least


def test_the_kind_of_network_is_the_configured_one():
    network = build_network(SMALL_IMAGE, FRAMES, consistency=False)
    assert isinstance(network, ConvNetwork)
    assert network.downsampling is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation_shape": (12,), "frame_stack": 1}, r"network.kind: 'image' needs frames \[C, H, W\], got shape"),
        (
            {"observation_shape": (3, 16, 40)},
            "network.kind: 'image' needs frames of at least 17 x 17, of which 2 x 2 cells remain, got 16 x 40; "
            "choose 'conv'",
        ),
        ({"action_cells": np.zeros(5, np.int32)}, "network.kind: 'image' keeps no board on which spec.action_cells"),
    ],
)
def test_what_is_no_frame_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build_network(SMALL_IMAGE, dataclasses.replace(FRAMES, **changes), consistency=False)


@pytest.mark.parametrize("seed", range(5))
def test_a_new_network_leaves_every_head_a_gradient_of_frames_that_are_much_alike(seed):
    spec = GameSpec(observation_shape=(2, 40, 40), num_actions=5, observation_dtype="uint8")
    network = build_network(SMALL_IMAGE.model_copy(update={"channels": 64}), spec, consistency=True, seed=seed)
    frames = torch.full((8, 2, 40, 40), 87, dtype=torch.uint8)
    for i in range(8):
        frames[i, :, 4 * i : 4 * i + 4, 7:11] = 236  # a ball
    with torch.no_grad():
        cells = network.represent(frames).view(8, 9, 64)
        for_policy, for_scalars = network.prediction_1(cells)[..., :32].amax(dim=(0, 1)).split(16)
        for_consistency = network.consistency_planes(cells).amax(dim=(0, 1))
    for planes in (for_policy, for_scalars, for_consistency):
        assert (planes > 0).sum() >= 2
