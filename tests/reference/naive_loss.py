"""The slow twins of `nn.losses.compute_loss` and its priorities: one sample, step and bin at a time, in float64."""

import math

import numpy as np
import torch

from muzero_ray.core.config import TrainConfig
from muzero_ray.core.types import Batch
from muzero_ray.nn.base_network import Network


def h(x: float) -> float:
    """The value transform as published."""
    return math.copysign(math.sqrt(abs(x) + 1) - 1, x) + 0.001 * x


def h_inverse(y: float) -> float:
    """Its inverse as published."""
    e = 0.001
    return math.copysign(((math.sqrt(1 + 4 * e * (abs(y) + 1 + e)) - 1) / (2 * e)) ** 2 - 1, y)


def bins_of(low: float, high: float, spacing: float, transformed: bool) -> list[float]:
    """The values that the bins of a support stand for."""
    positions = [low + i * spacing for i in range(round((high - low) / spacing) + 1)]
    return [h_inverse(y) for y in positions] if transformed else positions


def two_hot(x: float, bins: list[float]) -> np.ndarray:
    """Finds the bin to the left, and shares 1 between it and the next."""
    x = min(max(x, bins[0]), bins[-1])
    left = max(i for i in range(len(bins) - 1) if bins[i] <= x)
    targets = np.zeros(len(bins))
    targets[left + 1] = (x - bins[left]) / (bins[left + 1] - bins[left])
    targets[left] = 1 - targets[left + 1]
    return targets


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    """-sum targets log softmax(logits)."""
    total = math.log(sum(math.exp(x - max(logits)) for x in logits)) + max(logits)
    return sum(t * (total - x) for x, t in zip(logits, targets, strict=True))


def naive_loss(network: Network, batch: Batch, config: TrainConfig) -> dict[str, float]:
    """The parts and the total of the loss, by a loop over samples and steps."""
    size, unroll = batch.actions.shape
    parts = dict.fromkeys(("value", "reward", "policy", "turn", "consistency"), 0.0)
    with torch.no_grad():
        for b in range(size):
            latent = network.represent(torch.from_numpy(batch.observations[b : b + 1]))
            for k in range(unroll + 1):
                if k > 0:
                    latent = network.step(latent, torch.tensor([int(batch.actions[b, k - 1])]))
                scale = (1.0 if k == 0 else 1.0 / unroll) * float(batch.importance_weights[b]) / size
                for name, loss in _step_losses(network, batch, config, latent, b, k).items():
                    parts[name] += scale * loss
    parts["total"] = (
        config.value_weight * parts["value"]
        + config.reward_weight * parts["reward"]
        + config.policy_weight * parts["policy"]
        + config.turn_weight * parts["turn"]
        + config.consistency_weight * parts["consistency"]
    )
    return parts


def naive_priorities(network: Network, batch: Batch) -> list[float]:
    """How far the value that the network predicts of each window's first state is from its target."""
    priorities = []
    with torch.no_grad():
        for b in range(len(batch.actions)):
            latent = network.represent(torch.from_numpy(batch.observations[b : b + 1]))
            logits = network.predict(latent).value_logits[0].double().tolist()
            distance = abs(_predicted_value(network, logits) - float(batch.target_values[b, 0]))
            priorities.append(distance if batch.value_mask[b, 0] else 0.0)
    return priorities


def _predicted_value(network: Network, logits: list[float]) -> float:
    if network.value_is_scalar:
        low, high = network.value_bounds
        return low + (high - low) * (math.tanh(logits[0]) + 1) / 2
    weights = [math.exp(x - max(logits)) for x in logits]
    return sum(w * x for w, x in zip(weights, network.value_bins.tolist(), strict=True)) / sum(weights)


def _reward_target(network, batch, b, k) -> float | None:
    """What the network should say of the k-th step, counted from 1: its reward, or the sum since the last restart."""
    total, known = 0.0, True
    for j in range(1, k + 1):
        if network.value_prefix_steps == 0 or (j - 1) % network.value_prefix_steps == 0:
            total, known = 0.0, True
        known = known and bool(batch.reward_mask[b, j - 1])
        total += float(batch.target_rewards[b, j - 1])
    return total if known else None


def _step_losses(network, batch, config, latent, b, k) -> dict[str, float]:
    heads = [logits[0].double().numpy() for logits in network.predict(latent)]
    reward_logits, value_logits, policy_logits, turn_logits = heads
    losses = {}
    if batch.value_mask[b, k]:
        target = float(batch.target_values[b, k])
        if network.value_is_scalar:
            low, high = network.value_bounds
            unit = min(max((target - low) / (high - low) * 2 - 1, -1.0), 1.0)
            losses["value"] = (math.tanh(value_logits[0]) - unit) ** 2
        else:
            losses["value"] = cross_entropy(value_logits, two_hot(target, network.value_bins.tolist()))
    if batch.policy_mask[b, k]:
        losses["policy"] = cross_entropy(policy_logits, batch.target_policies[b, k])
    if k > 0 and (target := _reward_target(network, batch, b, k)) is not None:
        losses["reward"] = cross_entropy(reward_logits, two_hot(target, network.reward_bins.tolist()))
    if k > 0 and network.learns_turns and batch.turn_mask[b, k - 1]:
        again = 1 / (1 + math.exp(-turn_logits[0]))
        losses["turn"] = -math.log(again if batch.same_player[b, k - 1] else 1 - again)
    if k > 0 and config.consistency_weight > 0 and batch.observation_mask[b, k - 1]:
        ours = network.predict_projection(network.project(latent))[0].double().numpy()
        seen = torch.from_numpy(batch.next_observations[b, k - 1 : k])
        real = network.project(network.represent(seen))[0].double().numpy()
        losses["consistency"] = -float(ours @ real) / math.sqrt(float(ours @ ours) * float(real @ real))
    return losses
