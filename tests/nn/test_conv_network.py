"""The network for boards does what its docstring says, for every sample by itself."""

import dataclasses

import numpy as np
import pytest
import torch
from reference.naive_conv import NaiveConv, flat
from reference.networks import BOARD, PLAIN_BOARD, SMALL_CONV, random_network

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.blocks import normalize_channels_last
from muzero_ray.nn.conv_network import ConvNetwork
from muzero_ray.nn.networks import build_network, load_weights, to_weights
from muzero_ray.nn.optimizer import make_optimizer

GAMES = {
    "drawn_and_placed_actions": BOARD,
    "plain_actions": PLAIN_BOARD,
    "only_passes": dataclasses.replace(BOARD, action_cells=np.full(5, -1, np.int32)),
    # Two planes of moves on 6 cells, cell by cell, so that nothing needs to be picked.
    "actions_in_order": dataclasses.replace(
        PLAIN_BOARD, num_actions=12, action_cells=np.array([0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11], np.int32)
    ),
    "frames": dataclasses.replace(BOARD, observation_dtype="uint8"),
    # Each player sees the six cells from the other end.
    "turned_boards": dataclasses.replace(BOARD, turn_cells=np.arange(6)[::-1]),
    "turns_that_do_not_alternate": dataclasses.replace(BOARD, alternating=False),
}


def observations_of(spec, count, seed=0):
    stones = np.random.default_rng(seed).integers(0, 2, (count, *spec.observation_shape))
    return (stones * (255 if spec.observation_dtype == "uint8" else 1)).astype(spec.observation_dtype)


@pytest.mark.parametrize("head", ["scalar", "categorical"])
@pytest.mark.parametrize("name", GAMES)
def test_every_function_agrees_with_its_slow_twin(name, head):
    spec, config = GAMES[name], SMALL_CONV.model_copy(update={"value_head": head})
    network = random_network(config, spec)
    twin = NaiveConv(config, spec, to_weights(network))
    observations = observations_of(spec, 4)
    latents = network.represent(torch.from_numpy(observations))
    states = [twin.represent(observation) for observation in observations]
    for actions in ([0, 1, 2, 3], [4, 4, 0, 4]):
        np.testing.assert_allclose(latents.detach(), [flat(state) for state in states], atol=2e-5)
        heads = network.predict(latents)
        expected = [twin.predict(state) for state in states]
        scalars = torch.cat([heads.reward_logits, heads.value_logits, heads.turn_logits], dim=-1)
        np.testing.assert_allclose(scalars.detach(), [e["scalars"] for e in expected], atol=1e-4)
        np.testing.assert_allclose(heads.policy_logits.detach(), [e["policy"] for e in expected], atol=1e-4)
        latents = network.step(latents, torch.tensor(actions))
        states = [twin.step(state, action) for state, action in zip(states, actions, strict=True)]


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_the_dynamics_has_as_many_blocks_as_it_is_told(blocks):
    config = SMALL_CONV.model_copy(update={"dynamics_blocks": blocks})
    network = random_network(config, BOARD)
    assert (len(network.representation_blocks), len(network.dynamics_blocks)) == (2, blocks)
    twin = NaiveConv(config, BOARD, to_weights(network))
    observation = observations_of(BOARD, 1)
    reached = network.step(network.represent(torch.from_numpy(observation)), torch.tensor([3]))
    np.testing.assert_allclose(reached[0].detach(), flat(twin.step(twin.represent(observation[0]), 3)), atol=2e-5)


def test_rewards_can_be_told_from_the_largest_number_of_a_plane_wherever_it_is():
    # The reward's three logits read hidden number 0, which is 2 * the largest of plane 1 of w; w is the state itself.
    network = build_network(SMALL_CONV, BOARD, consistency=False)
    few, channels, cells = 16, 3, 6
    with torch.no_grad():
        for layer in (network.prediction_1, network.scalars_1, network.scalars_2):
            layer.weight.zero_()
            layer.bias.zero_()
        network.prediction_1.weight[-channels:] = torch.eye(channels)
        network.scalars_1.weight[0, cells * few + channels + 1] = 2.0
        network.scalars_2.weight[:3, 0] = torch.tensor([-1.0, 0.0, 1.0])
    for cell in range(cells):
        state = torch.zeros(1, cells, channels)
        state[0, cell, 1] = 0.75
        logits = network.predict(state.flatten(1)).reward_logits[:, :3]
        torch.testing.assert_close(logits, torch.tensor([[-1.5, 0.0, 1.5]]))


@pytest.mark.parametrize("spec", [BOARD, PLAIN_BOARD], ids=["drawn", "plain"])
def test_what_is_said_of_a_state_does_not_depend_on_those_beside_it(spec):
    network = random_network(SMALL_CONV, spec)
    observations, actions = torch.from_numpy(observations_of(spec, 17)), torch.arange(17) % 5

    def everything(rows):
        latents = network.represent(observations[rows])
        heads = network.predict(network.step(latents, actions[rows]))
        return torch.cat([*heads, latents], dim=-1)

    together = everything(slice(None))
    for row in range(17):
        torch.testing.assert_close(everything(slice(row, row + 1))[0], together[row], rtol=1e-4, atol=1e-5)


def test_heads_of_many_steps_are_those_of_each():
    network = random_network(SMALL_CONV, BOARD)
    latents = torch.rand(4, 3, network.latent_size)
    for together, alone in zip(network.predict(latents), network.predict(latents[2, 1]), strict=True):
        torch.testing.assert_close(together[2, 1], alone)


def test_the_picture_of_an_action_is_all_that_is_seen_of_it():
    pictures = BOARD.action_planes.copy()
    pictures[3] = pictures[1]
    network = random_network(SMALL_CONV, dataclasses.replace(BOARD, action_planes=pictures))
    latents = torch.rand(1, network.latent_size).expand(5, -1)
    reached = network.step(latents, torch.arange(5))
    assert torch.equal(reached[1], reached[3])
    others = [reached[action] for action in (0, 1, 2, 4)]
    assert all((a - b).abs().max() > 1e-3 for i, a in enumerate(others) for b in others[:i])


def test_a_pass_whose_picture_is_empty_adds_nothing_to_the_state():
    network = random_network(SMALL_CONV, BOARD)
    latents = torch.rand(1, network.latent_size)
    before = network.step(latents, torch.tensor([4]))
    with torch.no_grad():
        network.dynamics_1.weight[:, 3:] = 100.0  # what is made of the two planes of the picture
    torch.testing.assert_close(network.step(latents, torch.tensor([4])), before)


def test_actions_without_pictures_have_a_vector_each():
    network = random_network(SMALL_CONV, PLAIN_BOARD)
    assert network.action_rows.weight.shape == (5, 3)
    reached = network.step(torch.rand(1, network.latent_size).expand(5, -1), torch.arange(5))
    assert (reached[0] - reached[1]).abs().max() > 1e-3


def test_every_action_reads_its_own_cell_and_plane():
    # Hidden planes are the three of the state. Plane 0 of moves is 1 * plane 0 of the state, plane 1 is 10 * plane 1,
    # a pass is 100 * the mean of plane 2. In cell i plane c of the state holds (i + c) / 10.
    network = build_network(SMALL_CONV, BOARD, consistency=False)
    with torch.no_grad():
        network.prediction_1.weight.zero_()
        network.prediction_1.bias.zero_()
        network.prediction_1.weight[:3] = torch.eye(3)
        network.policy.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 10.0, 0]]))
        network.policy_off_board.weight.copy_(torch.tensor([[0, 0, 100.0]]))
    state = torch.tensor([[(cell + plane) / 10 for cell in range(6) for plane in range(3)]])
    # Cells 0 and 5 in plane 0: 0 / 10 and 5 / 10. 7 and 9 are cells 1 and 3 in plane 1: 10 * 2 / 10 and 10 * 4 / 10.
    # The pass: 100 * (2 + 3 + 4 + 5 + 6 + 7) / 6 / 10 = 45.
    torch.testing.assert_close(network.predict(state).policy_logits, torch.tensor([[0.0, 0.5, 2.0, 4.0, 45.0]]))


@pytest.mark.parametrize("name", GAMES)
def test_an_untrained_network_predicts_nothing_and_a_uniform_policy(name):
    network = build_network(SMALL_CONV, GAMES[name], consistency=False)
    latents = network.represent(torch.from_numpy(observations_of(GAMES[name], 3)))
    heads = network.predict(latents)
    assert network.decode_reward(heads.reward_logits, latents).abs().max() < 1e-5
    assert network.decode_value(heads.value_logits).abs().max() < 1e-5
    assert (heads.policy_logits == 0).all()
    assert (heads.turn_logits == 0).all()


def test_latents_fill_the_range_from_0_to_1():
    network = random_network(SMALL_CONV, BOARD)
    latents = network.represent(torch.from_numpy(observations_of(BOARD, 8)))
    assert latents.shape == (8, 3 * 2 * 3)
    for states in (latents, network.step(latents, torch.arange(8) % 5)):
        torch.testing.assert_close(states.amin(dim=1), torch.zeros(8))
        torch.testing.assert_close(states.amax(dim=1), torch.ones(8), rtol=0, atol=1e-4)


def test_weights_go_round_and_leave_out_pictures_and_consistency_layers():
    source, target = (random_network(SMALL_CONV, BOARD, consistency=True, seed=seed) for seed in (1, 2))
    projector = target.consistency_projector[0].weight.clone()
    weights = to_weights(source)
    assert weights.keys() == {name for name, _ in source.named_parameters() if "consistency" not in name}
    load_weights(target, weights)
    observations = torch.from_numpy(observations_of(BOARD, 3))
    assert torch.equal(target.represent(observations), source.represent(observations))
    assert torch.equal(target.consistency_projector[0].weight, projector)


def test_one_seed_gives_one_network():
    first, second, other = (build_network(SMALL_CONV, BOARD, consistency=True, seed=seed) for seed in (7, 7, 8))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.dynamics_1.weight, other.dynamics_1.weight)


def test_weights_of_convolutions_and_linear_layers_decay_and_nothing_else():
    network = build_network(SMALL_CONV, PLAIN_BOARD, consistency=True)
    decayed, others = make_optimizer(network, weight_decay=0.1).param_groups
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    kept = {names[id(parameter)] for parameter in others["params"]}
    assert all(name.endswith(".bias") or "norm" in name or name == "action_rows.weight" for name in kept)
    assert all(parameter.ndim in (2, 4) for parameter in decayed["params"])
    assert len(decayed["params"]) + len(kept) == len(names)


def test_the_kind_of_network_is_the_configured_one():
    assert isinstance(build_network(SMALL_CONV, BOARD, consistency=False), ConvNetwork)
    assert not isinstance(build_network(NetworkConfig(), BOARD, consistency=False), ConvNetwork)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation_shape": (12,), "action_planes": None}, r"network.kind: 'conv' needs observations \[C, H, W\]"),
        ({"observation_shape": (2, 3, 2)}, r"spec.action_planes: must have shape \[5, P, 3, 2\], got \(5, 2, 2, 3\)"),
        ({"num_actions": 6}, r"spec.action_planes: must have shape \[6, P, 2, 3\]"),
        ({"turn_cells": np.zeros(6, int)}, r"spec.turn_cells: must hold each of the 6 cells once"),
        ({"turn_cells": np.arange(6), "alternating": False}, r"spec.turn_cells: needs a game whose turns alternate"),
        ({"action_cells": np.zeros(4, np.int32)}, r"spec.action_cells: must have shape \[5\], got \(4,\)"),
    ],
)
def test_what_is_no_board_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build_network(SMALL_CONV, dataclasses.replace(BOARD, **changes), consistency=False)


def test_a_scalar_value_head_needs_value_bounds():
    spec = GameSpec(observation_shape=(2, 2, 3), num_actions=5)
    with pytest.raises(ValueError, match="value_bounds"):
        build_network(NetworkConfig(kind="conv", value_head="scalar"), spec, consistency=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_samples_are_normalised_as_by_group_normalisation_with_one_group(dtype):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(3, 6, 4, 5, generator=rng).mul(3).add(1).to(dtype).contiguous(memory_format=torch.channels_last)
    factors, offsets = torch.randn(2, 6, generator=rng)
    got = normalize_channels_last(x, factors, offsets, 1e-5)
    assert (got.shape, got.dtype) == (x.shape, dtype)
    wanted = torch.nn.functional.group_norm(x.float(), 1, factors, offsets, 1e-5)
    torch.testing.assert_close(got.float(), wanted, atol=1e-5 if dtype == torch.float32 else 0.04, rtol=0.01)
