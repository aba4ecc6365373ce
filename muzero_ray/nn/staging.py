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

    batch: Batch  # as it was given
    tensors: Callable[[], TensorBatch]  # on the device, for use on the present stream; to be asked for once


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

    def stage(self, batch: Batch) -> StagedBatch:
        """Starts bringing a batch, which must not be changed from now on, to the device."""
        if self._stream is None:
            return StagedBatch(batch, partial(TensorBatch.from_batch, batch, self._device))
        return StagedBatch(batch, partial(self._arrived, self._thread.submit(self._copy, batch, self._stream)))

    def _copy(self, batch: Batch, stream: torch.cuda.Stream) -> tuple[TensorBatch, torch.cuda.Event]:
        with torch.cuda.stream(stream):
            return TensorBatch.from_batch(batch, self._device), stream.record_event()

    def _arrived(self, copy: "Future[tuple[TensorBatch, torch.cuda.Event]]") -> TensorBatch:
        batch, copied = copy.result()
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(copied)
        for tensor in batch.tensors():
            # They were allocated for the other stream, which could otherwise reuse their memory too early.
            tensor.record_stream(stream)
        return batch
