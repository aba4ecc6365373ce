import dataclasses

import numpy as np
import pytest
import torch
from reference.batches import random_batch
from reference.naive_loss import naive_loss, naive_priorities
from reference.networks import BOARD, CAPTURES, PLAIN_BOARD, SMALL, SMALL_CONV, SPEC, SUMMING_CONV, random_network

from muzero_ray.core.config import NetworkConfig, TrainConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.losses import TensorBatch, compute_loss, consistency_loss, scale_gradient, unroll

CONFIG = TrainConfig(value_weight=0.5, consistency_weight=2.0)


def loss_of(network, batch, config=CONFIG):
    return compute_loss(network, TensorBatch.from_batch(batch), config)


def only(part, **changes):
    """A configuration in which one part of the loss counts."""
    weights = {f"{name}_weight": float(name == part) for name in ("value", "reward", "policy", "turn", "consistency")}
    return CONFIG.model_copy(update=weights | changes)


def head_gradients(network, batch, config):
    """Gradients of the total loss by reward, value, policy and turn logits, `[B, K + 1, n]` each."""
    kept = []
    predict = network.predict

    def recording(latents):
        heads = predict(latents)
        for logits in heads:
            logits.retain_grad()
        kept.extend(heads)
        return heads

    network.predict = recording
    loss_of(network, batch, config).total.backward()
    return [torch.zeros_like(logits) if logits.grad is None else logits.grad for logits in kept]


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        SMALL.model_copy(update={"support_transform": False, "support_spacing": 0.5}),
        SMALL.model_copy(update={"value_head": "scalar"}),
    ],
    ids=["transformed", "plain_half_steps", "scalar"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_agrees_with_its_slow_twin(config, seed):
    network = random_network(config, consistency=True, seed=seed)
    value_scale = 0.8 if config.value_head == "scalar" else 10.0
    batch = random_batch(np.random.default_rng(seed), batch_size=7, value_scale=value_scale)
    loss, twin = loss_of(network, batch), naive_loss(network, batch, CONFIG)
    for part, expected in twin.items():
        assert getattr(loss, part).item() == pytest.approx(expected, rel=1e-4, abs=1e-5), part


@pytest.mark.parametrize(
    ("config", "spec"),
    [
        (SMALL, CAPTURES),
        (SMALL_CONV, BOARD),
        (SMALL_CONV.model_copy(update={"value_head": "scalar"}), PLAIN_BOARD),
        (SMALL_CONV, dataclasses.replace(BOARD, alternating=False)),
        (SUMMING_CONV, BOARD),
        (SUMMING_CONV.model_copy(update={"value_prefix_steps": 3}), PLAIN_BOARD),
    ],
    ids=["captures", "board", "plain_board", "board_with_captures", "sums_of_two", "sums_of_three"],
)
def test_loss_agrees_with_its_slow_twin_on_boards_and_where_turns_are_learnt(config, spec):
    network = random_network(config, spec, consistency=True)
    batch = random_batch(
        np.random.default_rng(0),
        batch_size=7,
        num_actions=spec.num_actions,
        observation_shape=spec.observation_shape,
        value_scale=0.8,
    )
    weights = CONFIG.model_copy(update={"turn_weight": 0.3})
    loss, twin = loss_of(network, batch, weights), naive_loss(network, batch, weights)
    assert (twin["turn"] > 0) == (not spec.alternating)
    for part, expected in twin.items():
        assert getattr(loss, part).item() == pytest.approx(expected, rel=1e-4, abs=1e-5), part


def test_one_uniform_prediction_costs_the_logarithm_of_its_choices():
    # An untrained network is uniform over 41 value bins, 25 reward bins and 4 actions. With K = 2, all
    # masks and weights 1: values log 41 * (1 + 1/2 + 1/2), rewards log 25 * (1/2 + 1/2), policies log 4 * 2.
    network = random_network()
    torch.nn.init.zeros_(network.prediction_2.weight)
    torch.nn.init.zeros_(network.prediction_2.bias)
    batch = random_batch(np.random.default_rng(0), batch_size=1, unroll_steps=2)  # kind 0 runs on: nothing masked
    batch = dataclasses.replace(batch, importance_weights=np.ones(1, np.float32))
    loss = loss_of(network, batch, only(None))
    assert loss.value.item() == pytest.approx(2 * np.log(41), rel=1e-5)
    assert loss.reward.item() == pytest.approx(np.log(25), rel=1e-5)
    assert loss.policy.item() == pytest.approx(2 * np.log(4), rel=1e-5)
    assert loss.policy_entropy.item() == pytest.approx(np.log(4), rel=1e-5)


@pytest.mark.parametrize("part", ["value", "reward", "policy", "consistency"])
def test_every_part_reaches_the_representation(part):
    network = random_network(consistency=True)
    loss_of(network, random_batch(np.random.default_rng(0)), only(part)).total.backward()
    assert network.representation_1.weight.grad.abs().max() > 0


@pytest.mark.parametrize("part", ["value", "reward", "policy", "turn", "consistency"])
@pytest.mark.parametrize("spec", [BOARD, PLAIN_BOARD], ids=["board", "plain_board"])
def test_every_part_reaches_the_representation_of_a_board(part, spec):
    # A predictor of so few numbers may be dead in a network that is drawn at random: of seeds 0 to 11 in 2, 8 and 9.
    network = random_network(SMALL_CONV, dataclasses.replace(spec, alternating=False), consistency=True, seed=0)
    batch = random_batch(np.random.default_rng(0), num_actions=5, observation_shape=(2, 2, 3))
    loss_of(network, batch, only(part)).total.backward()
    assert network.representation_1.weight.grad.abs().max() > 1e-6


def test_masked_positions_have_exactly_no_gradient():
    batch = random_batch(np.random.default_rng(0), batch_size=12)
    reward, value, policy, _ = head_gradients(
        random_network(), batch, only(None, value_weight=1, reward_weight=1, policy_weight=1)
    )
    for gradient, mask in ((value, batch.value_mask), (policy, batch.policy_mask), (reward[:, 1:], batch.reward_mask)):
        has_gradient = (gradient != 0).any(dim=-1).numpy()
        assert (mask == 0).any()
        np.testing.assert_array_equal(has_gradient, mask == 1)


def test_beyond_a_termination_value_and_reward_are_trained_and_the_policy_is_not():
    batch = random_batch(np.random.default_rng(0), batch_size=12)
    terminated = np.arange(12) % 3 == 1
    past_end = (batch.policy_mask == 0) & terminated[:, None]
    assert past_end.any()
    _, value, policy, _ = head_gradients(random_network(), batch, only(None, value_weight=1, policy_weight=1))
    assert (policy.numpy()[past_end] == 0).all()
    assert (np.abs(value.numpy()[past_end]).max(axis=-1) > 0).all()
    assert (batch.target_values[past_end] == 0).all()


def test_the_reward_of_the_first_state_is_never_trained():
    reward, _, _, _ = head_gradients(random_network(), random_batch(np.random.default_rng(0)), only("reward"))
    assert (reward[:, 0] == 0).all()
    assert (reward[:, 1:] != 0).any()


def test_unrolled_steps_weigh_one_kth_of_the_first():
    batch = random_batch(np.random.default_rng(0), batch_size=1, unroll_steps=4)
    network = random_network()
    torch.nn.init.zeros_(network.prediction_2.weight)  # the same logits, hence the same loss, at every step
    same = np.broadcast_to(batch.target_policies[:, :1], batch.target_policies.shape).copy()
    _, _, policy, _ = head_gradients(network, dataclasses.replace(batch, target_policies=same), only("policy"))
    for step in range(1, 5):
        torch.testing.assert_close(policy[:, step], policy[:, 0] / 4)


def test_importance_weights_scale_each_window():
    batch = random_batch(np.random.default_rng(0))
    alone = []
    for row in range(6):
        weights = np.eye(6, dtype=np.float32)[row]
        alone.append(
            loss_of(random_network(consistency=True), dataclasses.replace(batch, importance_weights=weights)).total
        )
    weighted = sum(w * loss for w, loss in zip(batch.importance_weights.tolist(), alone, strict=True))
    torch.testing.assert_close(loss_of(random_network(consistency=True), batch).total, weighted)


class LinearWorld:
    """State 0 is the observation, and a step changes nothing: gradients can be followed by hand."""

    state_size = 1

    def represent(self, observations):
        return observations

    def step(self, latents, actions):
        return latents


@pytest.mark.parametrize(
    ("factor", "expected"),
    # Heads give state 0 a gradient of 3, state 1 of 10 and state 2 of 4: 3 + f * (10 + f * 4).
    [(0.5, 9.0), (1.0, 17.0), (0.0, 3.0)],
)
def test_only_what_enters_the_dynamics_is_scaled(factor, expected):
    observation = torch.zeros(1, 1, requires_grad=True)
    states = unroll(LinearWorld(), observation, torch.zeros(1, 2, dtype=torch.int64), factor)
    (states * torch.tensor([3.0, 10.0, 4.0]).view(1, 3, 1)).sum().backward()
    assert observation.grad.item() == expected


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_the_configured_share_of_the_gradient_passes_each_dynamics_step_backwards(factor):
    # Of one step, rewards reach the representation through the dynamics alone, and not at all if it lets nothing pass.
    batch = random_batch(np.random.default_rng(0), unroll_steps=1)
    gradients = []
    for share in (factor, 1.0):
        network = random_network()
        loss_of(network, batch, only("reward", dynamics_gradient=share)).total.backward()
        gradients.append(network.representation_1.weight.grad)
    assert gradients[1].abs().max() > 0
    torch.testing.assert_close(gradients[0], factor * gradients[1])


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_the_configured_share_of_the_gradient_passes_a_step_on_a_board(factor):
    batch = random_batch(np.random.default_rng(0), unroll_steps=1, num_actions=5, observation_shape=(2, 2, 3))
    gradients = []
    for share in (factor, 1.0):
        network = random_network(SMALL_CONV, BOARD)
        loss_of(network, batch, only("reward", dynamics_gradient=share)).total.backward()
        gradients.append(network.representation_1.weight.grad)
    assert gradients[1].abs().max() > 1e-6
    torch.testing.assert_close(gradients[0], factor * gradients[1])


def test_scaling_a_gradient_leaves_the_number_itself_alone():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(scale_gradient(x, 0.3), x)


def turn_batch(same_player, turn_mask):
    batch = random_batch(np.random.default_rng(0), batch_size=1, unroll_steps=2)
    return dataclasses.replace(
        batch,
        importance_weights=np.ones(1, np.float32),
        same_player=np.array([same_player], np.float32),
        turn_mask=np.array([turn_mask], np.float32),
    )


@pytest.mark.parametrize(
    ("same_player", "turn_mask", "expected"),
    [
        # The mover moves again with 3 in 4, and each of two steps counts half: (log 4/3 + log 4) / 2.
        ([1, 0], [1, 1], (np.log(4 / 3) + np.log(4)) / 2),
        ([1, 0], [1, 0], np.log(4 / 3) / 2),
        ([1, 0], [0, 1], np.log(4) / 2),
        ([0, 0], [0, 0], 0.0),
    ],
)
def test_a_turn_costs_the_logarithm_of_its_probability(same_player, turn_mask, expected):
    network = random_network(SMALL, CAPTURES)
    torch.nn.init.zeros_(network.prediction_2.weight)
    network.prediction_2.bias.data[-1] = np.log(3)  # 3 / (3 + 1)
    loss = loss_of(network, turn_batch(same_player, turn_mask), only("turn", turn_weight=0.5))
    assert loss.turn.item() == pytest.approx(expected, rel=1e-5)
    assert loss.total.item() == pytest.approx(expected / 2, rel=1e-5)


def test_the_turn_of_the_first_state_and_masked_turns_are_never_trained():
    batch = random_batch(np.random.default_rng(0), batch_size=12)
    _, _, _, turn = head_gradients(random_network(SMALL, CAPTURES), batch, only("turn"))
    assert (turn[:, 0] == 0).all()
    assert (batch.turn_mask == 0).any()
    np.testing.assert_array_equal((turn[:, 1:, 0] != 0).numpy(), batch.turn_mask == 1)


def test_a_network_that_learns_turns_refuses_batches_without_them():
    batch = dataclasses.replace(random_batch(np.random.default_rng(0)), same_player=None, turn_mask=None)
    with pytest.raises(ValueError, match="same_player and turn_mask"):
        loss_of(random_network(SMALL, CAPTURES), batch)


def test_where_turns_alternate_they_are_not_asked_for():
    batch = random_batch(np.random.default_rng(0))
    without = dataclasses.replace(batch, same_player=None, turn_mask=None)
    network = random_network(consistency=True)
    assert loss_of(network, without).total == loss_of(network, batch).total
    assert loss_of(network, batch).turn == 0


def test_the_real_state_of_the_consistency_loss_has_no_gradient():
    network = random_network(consistency=True)
    batch = TensorBatch.from_batch(random_batch(np.random.default_rng(0)))
    consistency_loss(network, torch.rand(6, 3, 8), batch).sum().backward()
    assert network.representation_1.weight.grad is None
    assert network.consistency_projector[0].weight.grad.abs().max() > 0


def test_consistency_is_best_where_prediction_and_real_state_agree():
    network = random_network(consistency=True)
    network.predict_projection = lambda projections: projections
    batch = dataclasses.replace(random_batch(np.random.default_rng(0)), observation_mask=np.ones((6, 3), np.float32))
    tensors = TensorBatch.from_batch(batch)
    real = network.represent(tensors.next_observations.flatten(0, 1)).view(6, 3, 8)
    torch.testing.assert_close(consistency_loss(network, real, tensors), torch.full((6, 3), -1.0))


def test_consistency_without_its_observations_or_layers_is_refused():
    batch = dataclasses.replace(random_batch(np.random.default_rng(0)), next_observations=None)
    with pytest.raises(ValueError, match="next_observations"):
        loss_of(random_network(consistency=True), batch)
    with pytest.raises(ValueError, match="consistency=True"):
        loss_of(random_network(consistency=False), random_batch(np.random.default_rng(0)))


@pytest.mark.parametrize("head", ["categorical", "scalar"])
def test_priorities_are_the_distance_of_predicted_and_target_root_values(head):
    network = random_network(SMALL.model_copy(update={"value_head": head}))
    batch = random_batch(np.random.default_rng(0))
    batch.value_mask[5, 0] = 0
    priorities = loss_of(network, batch, only("value")).priorities
    np.testing.assert_allclose(priorities, naive_priorities(network, batch), rtol=1e-4)
    assert priorities[5] == 0
    assert (priorities[:5] > 0).all()


def test_the_share_of_clipped_targets_counts_unmasked_positions_only():
    batch = random_batch(np.random.default_rng(0), batch_size=2, unroll_steps=1)
    batch = dataclasses.replace(
        batch,
        # h(422.4) = 20 is the support's end: 500 is beyond it. Of three that count, one is clipped.
        target_values=np.array([[500, 400], [-900, 0]], np.float32),
        value_mask=np.array([[1, 1], [0, 1]], np.float32),
        target_rewards=np.array([[1000], [0]], np.float32),
        reward_mask=np.array([[1], [1]], np.float32),
    )
    loss = loss_of(random_network(), batch, only("value"))
    assert loss.value_clipped.item() == pytest.approx(1 / 3)
    assert loss.reward_clipped.item() == pytest.approx(1 / 2)


def test_targets_beyond_the_bounds_of_a_scalar_head_count_as_clipped():
    network = random_network(NetworkConfig(value_head="scalar"))
    batch = random_batch(np.random.default_rng(0), batch_size=1, unroll_steps=1)  # bounds -1 and 1
    batch = dataclasses.replace(batch, target_values=np.array([[1.0, 1.5]], np.float32))
    assert loss_of(network, batch, only("value")).value_clipped.item() == pytest.approx(1 / 2)


def test_a_batch_in_which_nothing_counts_costs_nothing():
    batch = random_batch(np.random.default_rng(0))
    nothing = {
        name: np.zeros_like(getattr(batch, name))
        for name in ("value_mask", "reward_mask", "policy_mask", "observation_mask")
    }
    loss = loss_of(random_network(consistency=True), dataclasses.replace(batch, **nothing))
    assert loss.total.item() == 0
    assert loss.value_clipped.item() == 0


def test_read_only_arrays_are_accepted_and_frames_keep_their_type():
    spec = GameSpec(observation_shape=(2, 2), num_actions=4, observation_dtype="uint8")
    batch = random_batch(np.random.default_rng(0), observation_shape=(2, 2))
    batch = dataclasses.replace(batch, observations=np.full((6, 2, 2), 200, np.uint8))
    for array in vars(batch).values():
        if array is not None:
            array.setflags(write=False)
    assert TensorBatch.from_batch(batch).observations.dtype == torch.uint8
    assert loss_of(random_network(SMALL, spec), batch, only("policy")).total.isfinite()


def test_the_number_of_actions_and_bounds_come_from_the_spec():
    network = random_network(SMALL, dataclasses.replace(SPEC, num_actions=9))
    batch = random_batch(np.random.default_rng(0), num_actions=9)
    assert naive_loss(network, batch, only("policy"))["total"] == pytest.approx(
        loss_of(network, batch, only("policy")).total.item(), rel=1e-4
    )
