"""The MuZero loss of one batch, as a pure function of network, batch and weights of its parts.

Order of reading: `compute_loss` -> `unroll` -> the parts. Nothing here steps an optimiser or knows
where batches come from; see `learner`.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from muzero_ray.core.config import TrainConfig
from muzero_ray.core.types import Batch
from muzero_ray.nn.base_network import Heads, Network
from muzero_ray.nn.support import is_clipped, two_hot
from muzero_ray.nn.value_prefix import prefix_targets

_VIEWS: Final = ("observations", "next_observations")
"""Fields that are stacks of a batch's frames, where it has frames."""
_AS_THEY_ARE: Final = (*_VIEWS, "frames")
"""Fields that travel in the numbers they have; actions travel as int64, all others as float32."""


@dataclass(frozen=True)
class TensorBatch:
    """A `Batch` on the learner's device; see `core.types.Batch` for what each field means."""

    observations: Tensor  # [B, ...]
    actions: Tensor  # [B, K] int64
    target_values: Tensor  # [B, K + 1]
    value_mask: Tensor  # [B, K + 1]
    target_rewards: Tensor  # [B, K]
    reward_mask: Tensor  # [B, K]
    target_policies: Tensor  # [B, K + 1, A]
    policy_mask: Tensor  # [B, K + 1]
    importance_weights: Tensor  # [B]
    next_observations: Tensor | None = None  # [B, K, ...]
    observation_mask: Tensor | None = None  # [B, K]
    same_player: Tensor | None = None  # [B, K]
    turn_mask: Tensor | None = None  # [B, K]
    frames: Tensor | None = None  # [B, n + K, C, H, W]; what both kinds of observations are views of, if they are

    @classmethod
    def from_batch(cls, batch: Batch, device: torch.device | str = "cpu") -> "TensorBatch":
        """Copies what the loss reads to `device`: actions as int64, all but the observations as float32.

        Copies to a GPU go by way of memory that it reads by itself, and may still be on their way when this returns:
        what follows them on the present stream comes after them.
        """
        device = torch.device(device)
        views = () if batch.frames is None else _VIEWS
        arrays = {field.name: getattr(batch, field.name) for field in fields(cls) if field.name not in views}
        tensors = {}
        for name, array in arrays.items():
            if array is not None:
                dtype = np.dtype(np.int64 if name == "actions" else np.float32)
                tensors[name] = _to_device(array, array.dtype if name in _AS_THEY_ARE else dtype, device)
        return cls._of(tensors)

    @classmethod
    def _of(cls, tensors: dict[str, Tensor]) -> "TensorBatch":
        """Of all tensors but those that are views of others."""
        if "frames" not in tensors:
            return cls(**tensors)
        stacks = _stacks(tensors["frames"], tensors["actions"].shape[1])
        return cls(**tensors, observations=stacks[:, 0], next_observations=stacks[:, 1:])

    def clone(self) -> "TensorBatch":
        """The same in memory of its own."""
        return self._of({name: tensor.clone() for name, tensor in self._own().items()})

    def copy_(self, other: "TensorBatch") -> None:
        """Takes over the numbers of another batch of the same shapes."""
        own = self._own()
        for name, tensor in other._own().items():
            own[name].copy_(tensor)

    def shapes(self) -> dict[str, torch.Size]:
        """Of all tensors, by name."""
        return {name: tensor.shape for name, tensor in self._own().items()}

    def _own(self) -> dict[str, Tensor]:
        """All tensors but those that are views of others, by name."""
        views = () if self.frames is None else _VIEWS
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in views}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def tensors(self) -> list[Tensor]:
        """All that there are, in the order of the fields."""
        found = (getattr(self, field.name) for field in fields(self))
        return [tensor for tensor in found if tensor is not None]


def _to_device(array: np.ndarray, dtype: np.dtype, device: torch.device) -> Tensor:
    if device.type == "cuda":
        return host_copy(array, dtype, pinned=True).to(device, non_blocking=True)
    array = array.astype(dtype, copy=False)
    # A batch that came through Ray is read-only, of which torch warns; a copy of one is not.
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def host_copy(array: np.ndarray, dtype: np.dtype, *, pinned: bool) -> Tensor:
    """A copy of an array, which may be read-only, as this type in the host's memory.

    Args:
        array: of any shape.
        dtype: NumPy's name for the copy's type.
        pinned: whether to lock the memory in its place, so that a GPU can read it while the CPU does other things.
    """
    copy = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, pin_memory=pinned)
    np.copyto(copy.numpy(), array, casting="same_kind")
    return copy


def _stacks(frames: Tensor, unroll_steps: int) -> Tensor:
    """`[B, n + K, C, H, W]` frames as the `[B, K + 1, n * C, H, W]` that are seen; see `core.frames.stack_frames`.

    A view, so that each frame travels to the device once, however many stacks it is in.
    """
    channels, stacked = frames.shape[2], (frames.shape[1] - unroll_steps) * frames.shape[2]
    return frames.flatten(1, 2).unfold(1, stacked, channels).permute(0, 1, 4, 2, 3)


@dataclass(frozen=True)
class Loss:
    """The loss of a batch and what there is to say about it. All but `total` carry no gradient."""

    total: Tensor  # [] what is minimised
    value: Tensor  # [] parts before they are weighted; each a mean over B of a sum over steps
    reward: Tensor  # []
    policy: Tensor  # []
    turn: Tensor  # [] or 0 where turns alternate
    consistency: Tensor  # [] in [-2, 2], or 0 where there is none
    priorities: Tensor  # [B] |predicted value - target value| of the first state; 0 where it is masked
    policy_entropy: Tensor  # [] nats; mean entropy of the predicted policy of the first state
    value_clipped: Tensor  # [] share of the value targets that count and lie beyond the support
    reward_clipped: Tensor  # [] the same of the reward targets


def compute_loss(network: Network, batch: TensorBatch, config: TrainConfig) -> Loss:
    """Unrolls the network along each window's actions and compares it with the targets.

    With c_0 = 1 and c_k = 1 / K for the unrolled steps k = 1..K, w_b the importance weight, and each
    term 0 where its mask is:

        total = 1/B sum_b w_b sum_k c_k (  value_weight  * l_v(b, k)
                                         + reward_weight * l_r(b, k)     (k >= 1 only)
                                         + policy_weight * l_p(b, k)
                                         + turn_weight   * l_t(b, k)     (k >= 1 only)
                                         + consistency_weight * l_c(b, k))  (k >= 1 only)

    `l_v` and `l_r` are cross-entropies with two-hot targets, or the squared error on [-1, 1] for a
    scalar value head; where the network tells sums of rewards, `l_r` and its mask are those of `prefix_targets`;
    `l_p` is the cross-entropy with the search policy; `l_t`, where the network learns turns, is the
    cross-entropy with whether the player who moved moves again; `l_c` is minus the cosine between the
    prediction from the unrolled state and the projection of the real one, whose side carries no
    gradient. Masked positions count as 0 and are not made up for: the mean is over B, so that a window
    near the end of a game weighs less, as in the published pseudocode.

    Heads and projector run once over all K + 1 states of all windows, which is faster than K + 1
    smaller calls.

    Raises:
        ValueError: if `consistency_weight` is not 0 and the batch lacks the states reached, or the
            network lacks the layers; if the network learns turns and the batch lacks them.

    Source: MuZero, arXiv:1911.08265, appendix G, and its pseudocode (`update_weights`); consistency:
    EfficientZero, arXiv:2111.00210, section 4.1.
    """
    unroll_steps = batch.actions.shape[1]
    latents = unroll(network, batch.observations, batch.actions, config.dynamics_gradient)
    # Logits that were computed in 16 bits become losses in 32.
    heads = Heads(*(logits.float() for logits in network.predict(latents)))
    # Made without writing a number into a tensor, which is a copy from the host that a recorded step must not wait for.
    per_step = torch.ones(unroll_steps + 1, device=latents.device)
    per_step[1:].fill_(1 / unroll_steps)
    # [B, K + 1]: the share of every position in the mean, before its mask.
    share = batch.importance_weights.unsqueeze(1) * per_step / len(latents)

    value = (share * batch.value_mask * value_loss(network, heads.value_logits, batch.target_values)).sum()
    # The state at k = 0 was reached by no action of this window: its reward is never trained.
    target_rewards, reward_mask = batch.target_rewards, batch.reward_mask
    if network.value_prefix_steps > 0:
        target_rewards, reward_mask = prefix_targets(target_rewards, reward_mask, network.value_prefix_steps)
    reward_losses = soft_cross_entropy(heads.reward_logits[:, 1:], two_hot(target_rewards, network.reward_bins))
    reward = (share[:, 1:] * reward_mask * reward_losses).sum()
    policy = (share * batch.policy_mask * soft_cross_entropy(heads.policy_logits, batch.target_policies)).sum()
    total = config.value_weight * value + config.reward_weight * reward + config.policy_weight * policy

    turn = torch.zeros((), device=latents.device)
    if network.learns_turns:
        turn = (share[:, 1:] * turn_loss(heads.turn_logits[:, 1:], batch)).sum()
        total = total + config.turn_weight * turn

    consistency = torch.zeros((), device=latents.device)
    if config.consistency_weight > 0:
        consistency = (share[:, 1:] * consistency_loss(network, latents[:, 1:], batch)).sum()
        total = total + config.consistency_weight * consistency

    with torch.no_grad():
        root_values = network.decode_value(heads.value_logits[:, 0])
        log_policy = heads.policy_logits[:, 0].log_softmax(dim=-1)
        return Loss(
            total=total,
            value=value.detach(),
            reward=reward.detach(),
            policy=policy.detach(),
            turn=turn.detach(),
            consistency=consistency.detach(),
            priorities=(root_values - batch.target_values[:, 0]).abs() * batch.value_mask[:, 0],
            policy_entropy=-(log_policy.exp() * log_policy).sum(dim=-1).mean(),
            value_clipped=_share_of(value_is_clipped(network, batch.target_values), batch.value_mask),
            reward_clipped=_share_of(is_clipped(target_rewards, network.reward_bins), reward_mask),
        )


def unroll(network: Network, observations: Tensor, actions: Tensor, dynamics_gradient: float) -> Tensor:
    """Returns the latent states along K actions, `[B, K + 1, H]`; the first is the representation.

    The heads read each state itself, and only what enters the next dynamics step is scaled: the
    gradient of a state is that of its heads plus `dynamics_gradient` times that of the next step.
    Hooks on the state, as several public implementations have them, would also halve the heads'.

    Args:
        network: the network.
        observations: `[B, ...]`.
        actions: `[B, K]` int64.
        dynamics_gradient: in [0, 1]; 1/2 in MuZero.

    Source: MuZero, arXiv:1911.08265, appendix G: the gradient is scaled "at the start of the
    dynamics function".
    """
    latent = network.represent(observations)
    states = [latent]
    for action in actions.unbind(dim=1):
        latent = network.step(_scaled_state(latent, network.state_size, dynamics_gradient), action)
        states.append(latent)
    return torch.stack(states, dim=1)


def _scaled_state(latents: Tensor, state_size: int, factor: float) -> Tensor:
    """Scales the gradient of the state alone; what a value prefix remembers is added up over the steps as it is."""
    if latents.shape[-1] == state_size:
        return scale_gradient(latents, factor)
    return torch.cat([scale_gradient(latents[..., :state_size], factor), latents[..., state_size:]], dim=-1)


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """Returns x, of any shape, unchanged; the gradient that passes back is multiplied by `factor`."""
    return torch.lerp(x.detach(), x, factor)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns -sum_i targets_i log softmax(logits)_i over the last axis: `[..., n]` twice to `[...]`.

    A row of targets that is all 0 costs 0.
    """
    return -(targets * logits.log_softmax(dim=-1)).sum(dim=-1)


def value_loss(network: Network, value_logits: Tensor, target_values: Tensor) -> Tensor:
    """Loss of every value: `[..., S_v]` or `[..., 1]` logits and `[...]` targets to `[...]`.

    A scalar head is compared on [-1, 1], to which the game's value bounds are stretched and its
    targets clipped, so that the loss has one scale in all games.
    """
    if not network.value_is_scalar:
        return soft_cross_entropy(value_logits, two_hot(target_values, network.value_bins))
    assert network.value_bounds is not None
    low, high = network.value_bounds
    targets = ((2 * target_values - (low + high)) / (high - low)).clamp(-1, 1)
    return (value_logits.squeeze(-1).tanh() - targets).square()


def value_is_clipped(network: Network, target_values: Tensor) -> Tensor:
    """`[...]` bool: True where a value target cannot be expressed and counts as the nearest that can."""
    if not network.value_is_scalar:
        return is_clipped(target_values, network.value_bins)
    assert network.value_bounds is not None
    low, high = network.value_bounds
    slack = 1e-5 * max(abs(low), abs(high))
    return (target_values < low - slack) | (target_values > high + slack)


def turn_loss(turn_logits: Tensor, batch: TensorBatch) -> Tensor:
    """Binary cross-entropy of whether the mover moves again: `[B, K, 1]` logits to `[B, K]`, 0 where it is not known.

    With p = 1 / (1 + e^-logit), the probability that the player who moved moves again, it is -log p where that
    player does and -log(1 - p) where the turn passes.
    """
    if batch.same_player is None or batch.turn_mask is None:
        raise ValueError(
            "turns of this game do not alternate: the loss needs batches with same_player and turn_mask, got none; "
            "let the buffer deliver them, or say alternating=True in the game's spec"
        )
    losses = F.binary_cross_entropy_with_logits(turn_logits.squeeze(-1), batch.same_player, reduction="none")
    return losses * batch.turn_mask


def consistency_loss(network: Network, latents: Tensor, batch: TensorBatch) -> Tensor:
    """Minus the cosine of unrolled and real states: `[B, K, H]` unrolled states to `[B, K]` in [-1, 1].

    0 where no state was recorded. The real states are encoded and projected without gradient, or
    both sides would agree on a constant.
    """
    if not network.has_consistency:
        raise ValueError(
            "train.consistency_weight: needs a network built with consistency=True, got one without its layers"
        )
    if batch.next_observations is None or batch.observation_mask is None:
        raise ValueError(
            "train.consistency_weight: needs batches with next_observations and observation_mask, got none; "
            "set it to 0 or let the buffer deliver them"
        )
    predicted = network.predict_projection(network.project(latents)).float()
    with torch.no_grad():
        real = network.project(network.represent(batch.next_observations.flatten(0, 1))).float().view_as(predicted)
    return -F.cosine_similarity(predicted, real, dim=-1) * batch.observation_mask


def _share_of(condition: Tensor, mask: Tensor) -> Tensor:
    """Share of the positions that count (mask above 0) for which the condition holds; 0 if none count."""
    counts = mask > 0
    return (condition & counts).sum() / counts.sum().clamp(min=1)
