"""`Stager`: brings batches to the learner's device before they are needed, so that a GPU never waits for them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch

from muzero_ray.core.types import Batch
from muzero_ray.nn.losses import TensorBatch


@dataclass(frozen=True)
class StagedBatch:
    """A batch that is on its way to a device."""

    whole: Callable[[], Batch]  # in the host's memory
    tensors: Callable[[], TensorBatch]  # on the device, for use on the present stream; to be asked for once

    @property
    def batch(self) -> Batch:
        """As it was given, or made by what was given."""
        return self.whole()


class Stager:
    """Starts the copies of batches; on a CPU there is nothing to start.

    A thread copies each batch to pinned memory, and from there the GPU fetches it on a stream of its own, while it
    computes on another. As many batches may be on their way as there is memory for; they arrive in their order.

    Args:
        device: where the batches are to be.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="staging")  # started by its first batch

    @property
    def works_ahead(self) -> bool:
        """Whether batches are brought to the device while others are learnt from."""
        return self._stream is not None

    def stage(self, batch: Batch | Callable[[], Batch]) -> StagedBatch:
        """Starts bringing a batch, which must not be changed from now on, to the device.

        Args:
            batch: or what makes it, which the thread then does.
        """
        if self._stream is None:
            made = batch if isinstance(batch, Batch) else batch()
            return StagedBatch(lambda: made, partial(TensorBatch.from_batch, made, self._device))
        copy = self._thread.submit(self._copy, batch, self._stream)
        return StagedBatch(lambda: copy.result()[0], partial(self._arrived, copy))

    def _copy(
        self, batch: Batch | Callable[[], Batch], stream: torch.cuda.Stream
    ) -> tuple[Batch, TensorBatch, torch.cuda.Event]:
        made = batch if isinstance(batch, Batch) else batch()
        with torch.cuda.stream(stream):
            return made, TensorBatch.from_batch(made, self._device), stream.record_event()

    def _arrived(self, copy: "Future[tuple[Batch, TensorBatch, torch.cuda.Event]]") -> TensorBatch:
        _, batch, copied = copy.result()
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(copied)
        for tensor in batch.tensors():
            # They were allocated for the other stream, which could otherwise reuse their memory too early.
            tensor.record_stream(stream)
        return batch
