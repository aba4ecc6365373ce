"""The learner: a network, its optimiser and its schedule, improved one batch at a time.

A plain object that runs in any process; `actors.trainer` feeds it. It draws nothing at random once
the network is built, so that two learners with one seed and the same batches agree to the bit.
"""

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from muzero_ray.core.config import Config
from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import Batch, Weights
from muzero_ray.nn.base_network import Network
from muzero_ray.nn.losses import Loss, TensorBatch, compute_loss
from muzero_ray.nn.networks import build_network, to_weights
from muzero_ray.nn.running_statistics import Statistics, mean_and_spread, merge, no_statistics, statistics_of


class NonFiniteLoss(ValueError):
    """A loss, gradient or priority was infinite or no number. The weights are those of before the batch.

    Attributes:
        batch: the batch that did it; see `batch_file.save_batch`.
    """

    def __init__(self, message: str, batch: Batch) -> None:
        super().__init__(message)
        self.batch = batch

    def __reduce__(self) -> tuple[type["NonFiniteLoss"], tuple[str, Batch]]:
        # An exception is unpickled from `args`, which lack the batch; Ray sends exceptions between processes.
        return NonFiniteLoss, (str(self), self.batch)


@dataclass(frozen=True)
class UpdateResult:
    """What one training step did."""

    metrics: dict[str, float]  # by "group/name"; the values before the step
    priorities: np.ndarray  # [B] float32, at least 0: |predicted - target value| of each window's first state


class Learner:
    """Trains the network of a configuration.

    Args:
        config: the whole of a run's options; reads `network`, `train` and the budget.
        spec: the game's.
        seed: from which the network is initialised.
        device: "cpu", "cuda", or any other torch device.
    """

    def __init__(self, config: Config, spec: GameSpec, seed: int, device: str = "cpu") -> None:
        self._train = config.train
        self._total_steps = config.total_training_steps
        self._device = torch.device(device)
        self.network = build_network(config.network, spec, config.train.consistency_weight > 0, seed).to(self._device)
        self._parameters = list(self.network.parameters())
        self._optimizer = make_optimizer(self.network, config.train.weight_decay)
        self._statistics = no_statistics(self.network.observation_size)  # of no rows forever, if not normalised
        self._training_steps = 0
        self._target_weights = to_weights(self.network)

    @property
    def training_steps(self) -> int:
        """Batches learnt from so far."""
        return self._training_steps

    def update(self, batch: Batch) -> UpdateResult:
        """Takes one optimiser step on the batch, whose observations count for their normalisation from now on.

        Raises:
            NonFiniteLoss: if anything that would change the weights is not finite. They are unchanged,
                and so is the normalisation of observations.
        """
        # Before the loss, so that already the first batch is seen normalised.
        statistics = self._statistics_with(batch)
        self._normalize_by(statistics)
        loss = compute_loss(self.network, TensorBatch.from_batch(batch, self._device), self._train)
        self._optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        gradient_norm = nn.utils.get_total_norm(gradients)

        metrics, priorities = _to_host(loss, gradient_norm, self.network.learns_turns)
        if not (all(map(math.isfinite, metrics.values())) and np.isfinite(priorities).all()):
            self._normalize_by(self._statistics)
            wrong = [name for name, value in metrics.items() if not math.isfinite(value)] or ["priorities"]
            raise NonFiniteLoss(
                f"training step {self._training_steps}: {', '.join(wrong)} must be finite, got "
                f"{[metrics.get(name, math.nan) for name in wrong]}; look at the batch, which this error carries",
                batch,
            )

        nn.utils.clip_grads_with_norm_(self._parameters, self._train.max_grad_norm, gradient_norm)
        metrics["train/learning_rate"] = self._set_learning_rate()
        self._optimizer.step()
        self._statistics = statistics
        self._training_steps += 1
        if self._training_steps % self._train.target_interval == 0:
            self._target_weights = to_weights(self.network)
        return UpdateResult(metrics, priorities)

    def weights(self) -> Weights:
        """A copy of what inference needs; see `networks.to_weights`."""
        return to_weights(self.network)

    def target_weights(self) -> Weights:
        """The weights as they were at the last multiple of `target_interval`. Not to be written to."""
        return self._target_weights

    def state_dict(self) -> dict[str, Any]:
        """Everything that training depends on, as tensors and numbers: `torch.load(weights_only=True)` reads it."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "target_weights": {name: torch.from_numpy(array) for name, array in self._target_weights.items()},
            "observation_statistics": {
                "count": self._statistics.count,
                "mean": torch.from_numpy(self._statistics.mean),
                "squares": torch.from_numpy(self._statistics.squares),
                "low": torch.from_numpy(self._statistics.low),
                "high": torch.from_numpy(self._statistics.high),
            },
            "training_steps": self._training_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from `state_dict()`; further training agrees to the bit with training that never stopped.

        Raises:
            RuntimeError: if the state belongs to another network configuration.
        """
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._target_weights = {name: tensor.cpu().numpy().copy() for name, tensor in state["target_weights"].items()}
        known = dict(state["observation_statistics"])
        count = int(known.pop("count"))
        self._statistics = Statistics(count, **{name: tensor.cpu().numpy().copy() for name, tensor in known.items()})
        self._training_steps = int(state["training_steps"])

    def to_bytes(self) -> bytes:
        """`state_dict()` in torch's file format, so that processes without torch can carry it."""
        file = io.BytesIO()
        torch.save(self.state_dict(), file)
        return file.getvalue()

    def load_bytes(self, state: bytes) -> None:
        """Continues from `to_bytes()`, running no code from it."""
        self.load_state_dict(torch.load(io.BytesIO(state), map_location=self._device, weights_only=True))

    def _statistics_with(self, batch: Batch) -> Statistics:
        """Those of all observations so far and of the states from which the batch's windows start."""
        if not self.network.normalizes_observations:
            return self._statistics
        # An infinite observation makes statistics that are no number, and those a loss that is reported.
        with np.errstate(invalid="ignore"):
            return merge(self._statistics, statistics_of(batch.observations.reshape(len(batch.observations), -1)))

    def _normalize_by(self, statistics: Statistics) -> None:
        if self.network.normalizes_observations:
            self.network.normalize_by(*mean_and_spread(statistics))

    def _set_learning_rate(self) -> float:
        rate = learning_rate(
            self._training_steps,
            total_steps=self._total_steps,
            warmup_steps=self._train.learning_rate_warmup,
            peak=self._train.learning_rate,
            final=self._train.learning_rate_final,
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return rate


def learning_rate(step: int, *, total_steps: int, warmup_steps: int, peak: float, final: float) -> float:
    """Returns the learning rate of training step `step`, counted from 0.

    It rises in equal parts to `peak` at step warmup_steps - 1, and falls from there to `final` at step
    total_steps - 1 along half a cosine; it stays `final` beyond the budget.

    >>> [round(learning_rate(s, total_steps=7, warmup_steps=2, peak=1.0, final=0.0), 3) for s in range(8)]
    [0.5, 1.0, 0.905, 0.655, 0.345, 0.095, 0.0, 0.0]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    start = max(warmup_steps - 1, 0)
    progress = min(1.0, (step - start) / max(1, total_steps - 1 - start))
    return final + (peak - final) * (1 + math.cos(math.pi * progress)) / 2


def make_optimizer(network: Network, weight_decay: float) -> torch.optim.AdamW:
    """AdamW, fused into one kernel, with decay on the weights of linear layers and convolutions only.

    Biases and norms only shift and stretch, and a row of `action_rows` gets a gradient only when
    its action is drawn: decay would pull all of these towards 0 for no gain.
    """
    decayed = [module.weight for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    names = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in network.parameters() if id(parameter) not in names]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, fused=True)


def use_threads(count: int) -> None:
    """Lets torch use so many CPU threads in this process; a small network is fastest with one or two."""
    torch.set_num_threads(count)


def _to_host(loss: Loss, gradient_norm: Tensor, with_turns: bool) -> tuple[dict[str, float], np.ndarray]:
    """Metrics and priorities in one copy: on a GPU, every copy waits for all work before it."""
    scalars = {
        "loss/total": loss.total.detach(),
        "loss/value": loss.value,
        "loss/reward": loss.reward,
        "loss/policy": loss.policy,
        "loss/consistency": loss.consistency,
        "train/gradient_norm": gradient_norm,
        "train/policy_entropy": loss.policy_entropy,
        "train/value_clipped": loss.value_clipped,
        "train/reward_clipped": loss.reward_clipped,
    }
    if with_turns:
        scalars["loss/turn"] = loss.turn
    host = torch.cat([torch.stack(list(scalars.values())), loss.priorities]).cpu().numpy()
    return dict(zip(scalars, host[: len(scalars)].tolist(), strict=True)), host[len(scalars) :]
