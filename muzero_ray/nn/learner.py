"""The learner: a network, its optimiser and its schedule, improved one batch at a time.

A plain object that runs in any process; `actors.trainer` feeds it. It draws nothing at random once
the network is built, so that two learners with one seed and the same batches agree to the bit.
"""

import io
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from muzero_ray.core.config import Config
from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import Batch, Weights
from muzero_ray.nn.gradients import GradientMaker
from muzero_ray.nn.hardware import compiles, memory_told, usable_device, usable_precision
from muzero_ray.nn.losses import Loss, TensorBatch
from muzero_ray.nn.networks import build_network, place, to_weights
from muzero_ray.nn.optimizer import learning_rate, load_optimizer, make_optimizer, set_learning_rate, step_if_finite
from muzero_ray.nn.parallel import Ranks
from muzero_ray.nn.recorded_step import RecordedStep
from muzero_ray.nn.running_statistics import (
    Statistics,
    from_numbers,
    mean_and_spread,
    merge,
    no_statistics,
    statistics_of,
    to_numbers,
)
from muzero_ray.nn.staging import StagedBatch, Stager


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
        config: the whole of a run's options; reads `network`, `train`, the budget, and of `system` how to compute.
        spec: the game's.
        seed: from which the network is initialised.
        device: "cpu", "cuda", or any other torch device.
        ranks: where several processes train one network: those, each with a learner that was built with the same
            arguments and goes on from the same state. Each `update` then waits for that of all the others, and the
            step is that of one learner with all of their batches, which must be of one size.

    Attributes:
        network: what is trained.
        notes: where the machine cannot do what was asked for, what is done instead, in sentences, which are printed,
            too.

    Raises:
        ValueError: if there is no such device.
    """

    def __init__(
        self, config: Config, spec: GameSpec, seed: int, device: str = "cpu", ranks: Ranks | None = None
    ) -> None:
        self.notes: list[str] = []
        self._train = config.train
        self._total_steps = config.total_training_steps
        self._device = usable_device(device)
        self._ranks = ranks
        network = build_network(config.network, spec, config.train.consistency_weight > 0, seed)
        self.network = place(network, self._device)
        precision = usable_precision(config.system.precision, self._device)
        if precision.note:
            self._say(precision.note)
        self._make_gradient = GradientMaker(
            self.network,
            config.train,
            dtype=precision.dtype,
            compiled=compiles(config.system.compile, self._device),
            say=self._say,
        )
        self._stager = Stager(self._device)
        self._parameters = list(self.network.parameters())
        self._optimizer = make_optimizer(self.network, config.train.weight_decay)
        self._told: tuple[str, ...] = ()  # names of what a step tells
        # On a GPU, whoever wants it fast wants it recorded. Ranks wait for each other in the midst of a step.
        self._do_step = RecordedStep(
            self._step_on_device,
            record=self._device.type == "cuda" and ranks is None and compiles(config.system.compile, self._device),
            say=self._say,
        )
        self._statistics = no_statistics(self.network.observation_size)  # of no rows forever, if not normalised
        self._training_steps = 0
        self._target_weights = to_weights(self.network)

    @property
    def training_steps(self) -> int:
        """Batches learnt from so far."""
        return self._training_steps

    @property
    def works_ahead(self) -> bool:
        """Whether staged batches are brought to the device while others are learnt from."""
        return self._stager.works_ahead

    def stage(self, batch: Batch | Callable[[], Batch]) -> StagedBatch:
        """Starts to bring a batch, which must not be changed any more, to the device: `update` will not wait for it.

        Args:
            batch: or what makes it, which costs the caller nothing where the learner works ahead.
        """
        return self._stager.stage(batch)

    def update(self, batch: Batch | StagedBatch) -> UpdateResult:
        """Takes one optimiser step on the batch, whose observations count for their normalisation from now on.

        Whatever it raises, the weights are unchanged, and so is the normalisation of observations.

        Raises:
            NonFiniteLoss: if anything that would change the weights is not finite; with several ranks, on all of them.
            OutOfGpuMemory: if the step does not fit into the GPU's memory.
            RankLost: if another rank does not answer.
        """
        staged = batch if isinstance(batch, StagedBatch) else self.stage(batch)
        # Before the loss, so that already the first batch is seen normalised.
        statistics = self._statistics_with(staged.batch)
        self._normalize_by(statistics)
        try:
            with memory_told(*self._what_fills_memory(staged.batch)):
                metrics, priorities = self._step(staged)
        except Exception:
            self._normalize_by(self._statistics)
            raise
        self._statistics = statistics
        self._training_steps += 1
        if self._training_steps % self._train.target_interval == 0:
            self._target_weights = to_weights(self.network)
        return UpdateResult(metrics, priorities)

    def _step(self, staged: StagedBatch) -> tuple[dict[str, float], np.ndarray]:
        """Changes the weights; returns metrics and priorities of before."""
        rate = learning_rate(
            self._training_steps,
            total_steps=self._total_steps,
            warmup_steps=self._train.learning_rate_warmup,
            peak=self._train.learning_rate,
            final=self._train.learning_rate_final,
        )
        set_learning_rate(self._optimizer, rate)
        batch = staged.tensors()
        told = self._do_step(batch).cpu().numpy().copy()  # where a GPU is waited for
        del batch  # not before: its memory is used again as soon as it is let go
        metrics = dict(zip(self._told, told[: len(self._told)].tolist(), strict=True))
        priorities = told[len(self._told) :]
        if not np.isfinite(told).all():
            wrong = [name for name, value in metrics.items() if not math.isfinite(value)] or ["priorities"]
            raise NonFiniteLoss(
                f"training step {self._training_steps}: {', '.join(wrong)} must be finite, got "
                f"{[metrics.get(name, math.nan) for name in wrong]}; look at the batch, which this error carries",
                staged.batch,
            )
        metrics.pop("priorities", None)
        return {**metrics, "train/learning_rate": rate}, priorities

    def _step_on_device(self, batch: TensorBatch) -> Tensor:
        """Changes the weights, if all that would change them is finite; returns what `_told` names, then priorities.

        Nothing in it waits for the device.
        """
        loss = self._make_gradient(batch)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        scalars = _scalars(loss, self.network.learns_turns)
        if self._ranks is not None:
            # Priorities stay where they are, but whether they are finite must be known to all.
            together = torch.stack([*scalars.values(), loss.priorities.sum()])
            self._ranks.average_([*gradients, together])
            scalars = dict(zip([*scalars, "priorities"], together, strict=True))
        gradient_norm = nn.utils.get_total_norm(gradients)
        scalars["train/gradient_norm"] = gradient_norm
        self._told = tuple(scalars)
        told = torch.cat([torch.stack(list(scalars.values())), loss.priorities])
        nn.utils.clip_grads_with_norm_(self._parameters, self._train.max_grad_norm, gradient_norm)
        step_if_finite(self._optimizer, told)
        return told

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
        load_optimizer(self._optimizer, state["optimizer"])
        self._do_step.forget()
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
            fresh = statistics_of(batch.observations.reshape(len(batch.observations), -1))
            if self._ranks is None:
                return merge(self._statistics, fresh)
            statistics = self._statistics
            for numbers in self._ranks.gather(to_numbers(fresh)):  # in one order, so that all ranks agree to the bit
                statistics = merge(statistics, from_numbers(numbers))
            return statistics

    def _what_fills_memory(self, batch: Batch) -> tuple[str, str]:
        """What a training step is called, and what to lower where it is too large."""
        size, unroll_steps = batch.actions.shape
        return (
            f"training step {self._training_steps} with a batch of {size} windows of {unroll_steps + 1} states",
            f"train.batch_size ({size}), train.unroll_steps ({unroll_steps}), network.channels or network.blocks",
        )

    def _say(self, note: str) -> None:
        self.notes.append(note)
        print(note, file=sys.stderr, flush=True)

    def _normalize_by(self, statistics: Statistics) -> None:
        if self.network.normalizes_observations:
            self.network.normalize_by(*mean_and_spread(statistics))


def use_threads(count: int) -> None:
    """Lets torch use so many CPU threads in this process; a small network is fastest with one or two."""
    torch.set_num_threads(count)


def _scalars(loss: Loss, with_turns: bool) -> dict[str, Tensor]:
    """What is told of a loss, each `[]`, by the name of its metric."""
    scalars = {
        "loss/total": loss.total.detach(),
        "loss/value": loss.value,
        "loss/reward": loss.reward,
        "loss/policy": loss.policy,
        "loss/consistency": loss.consistency,
        "train/policy_entropy": loss.policy_entropy,
        "train/value_clipped": loss.value_clipped,
        "train/reward_clipped": loss.reward_clipped,
    }
    if with_turns:
        scalars["loss/turn"] = loss.turn
    return scalars
