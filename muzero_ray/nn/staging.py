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
    tensors: Callable[[], TensorBatch]  # on the device, for work on the present stream; to be kept until that is done

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
        make = (lambda: batch) if isinstance(batch, Batch) else batch
        whole = self._thread.submit(make)  # apart: the batch is known whatever becomes of its copy
        copy = self._thread.submit(self._copy, whole, self._stream)
        return StagedBatch(whole.result, partial(self._arrived, copy))

    def _copy(self, whole: "Future[Batch]", stream: torch.cuda.Stream) -> tuple[TensorBatch, torch.cuda.Event]:
        with torch.cuda.stream(stream):
            return TensorBatch.from_batch(whole.result(), self._device), stream.record_event()

    def _arrived(self, copy: "Future[tuple[TensorBatch, torch.cuda.Event]]") -> TensorBatch:
        batch, copied = copy.result()
        torch.cuda.current_stream(self._device).wait_event(copied)
        return batch
