"""`GradientMaker`: loss and gradient of a batch, as fast as the device can.

What is computed is said by `losses`; here is only in which numbers, and whether by torch's compiler.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from muzero_ray.core.config import TrainConfig
from muzero_ray.nn.base_network import Network
from muzero_ray.nn.losses import Loss, TensorBatch, compute_loss


class GradientMaker:
    """Makes gradients of one network, one batch after the other.

    Args:
        network: on its device.
        config: says the loss.
        dtype: in which linear layers and convolutions multiply. Weights, latent states, losses and gradients are
            float32 whatever it is; softmax is left to torch's rules for mixed precision, norms see `SampleNorm`.
        compiled: whether to compile network and loss into one piece. The first batch then takes a minute or two; all
            batches should be of one size, for each new one is compiled anew.
        say: told in a sentence why nothing is compiled, where that fails.
    """

    def __init__(
        self,
        network: Network,
        config: TrainConfig,
        *,
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
        say: Callable[[str], None],
    ) -> None:
        self._network = network
        self._config = config
        self._dtype = dtype
        self._say = say
        self._compiled: Callable[[TensorBatch], Loss] | None = None
        self._works = False
        if compiled:
            self._compiled = torch.compile(self._loss, dynamic=False)

    def __call__(self, batch: TensorBatch) -> Loss:
        """The loss of a batch, whose gradient is left in the network's parameters in place of what was there."""
        if self._compiled is not None:
            if self._works:
                return self._differentiate(self._compiled, batch)
            try:
                loss = self._differentiate(self._compiled, batch)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # whatever a compiler, or the lack of one, raises; an error of ours comes again
                self._compiled = None
                reason = " ".join(str(error).split("\n")[:2])  # the first may say only which part of torch failed
                self._say(
                    "system.compile: training goes on without the compiler, which failed with "
                    f"{type(error).__name__}: {reason}"
                )
            else:
                self._works = True
                return loss
        return self._differentiate(self._loss, batch)

    def _differentiate(self, function: Callable[[TensorBatch], Loss], batch: TensorBatch) -> Loss:
        self._network.zero_grad(set_to_none=True)
        with self._mixed_precision():
            loss = function(batch)
        loss.total.backward()  # type: ignore[no-untyped-call]
        return loss

    def _loss(self, batch: TensorBatch) -> Loss:
        return compute_loss(self._network, batch, self._config)

    def _mixed_precision(self) -> AbstractContextManager[Any]:
        if self._dtype == torch.float32:
            return nullcontext()
        device = self._network.reward_bins.device
        return torch.autocast(device.type, dtype=self._dtype)
