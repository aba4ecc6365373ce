"""`RecordedStep`: a training step that a GPU is told at once, rather than kernel by kernel."""

import gc
from collections.abc import Callable

import torch
from torch import Tensor

from muzero_ray.nn.hardware import reason_of
from muzero_ray.nn.losses import TensorBatch

_STEPS_BEFORE = 3
"""Steps before the one that is recorded: in the first ones compilers work, and libraries choose their kernels."""


class RecordedStep:
    """Does a training step, on a GPU from the fourth on as a replay of what was recorded: a CUDA graph.

    A step of a small network is some five hundred kernels of a few microseconds each, and launching them one by one
    takes longer than they do.

    Args:
        step: takes a batch, changes tensors that stay where they are, and returns a tensor that tells of it. It must
            not wait for the GPU, nor decide anything by what the GPU has computed.
        record: whether to record.
        say: told in a sentence why nothing is recorded, where that fails.
    """

    def __init__(self, step: Callable[[TensorBatch], Tensor], *, record: bool, say: Callable[[str], None]) -> None:
        self._step = step
        self._records = record
        self._say = say
        self._steps = 0
        self._recording: _Recording | None = None
        self._stream: torch.cuda.Stream | None = None  # made by the first step: memory is used again on one only

    def __call__(self, batch: TensorBatch) -> Tensor:
        """The step with this batch, which is to be kept until what is returned has been read.

        What it returns is overwritten by the next one.
        """
        if not self._records:
            return self._step(batch)
        with torch.cuda.device(batch.actions.device):
            return self._recorded_or_not(batch)

    def _recorded_or_not(self, batch: TensorBatch) -> Tensor:
        if self._stream is None:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        if self._recording is None and self._steps >= _STEPS_BEFORE and not self._record(batch, self._stream):
            return self._step(batch)
        if self._recording is not None and self._recording.fits(batch):
            return self._recording.replay(batch)
        self._steps += 1
        return _beside(self._stream, lambda: self._step(batch))

    def _record(self, batch: TensorBatch, stream: torch.cuda.Stream) -> bool:
        """Whether the step could be recorded. Nothing has been computed; of a try that failed, nothing is left."""
        try:
            self._recording = _Recording(self._step, batch, stream)
            return True
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever cannot be recorded
            self._records = False
            self._say(f"training goes on without CUDA graphs, slower: {reason_of(error)}")
        gc.collect()  # only here is the error gone, whose traceback holds the batch, gradients and graph of the try
        return False

    def forget(self) -> None:
        """To be called where tensors that the step changes have been replaced: it is recorded anew."""
        self._recording, self._steps = None, 0


class _Recording:
    """A step, recorded with a batch whose memory is that of all later ones."""

    def __init__(self, step: Callable[[TensorBatch], Tensor], batch: TensorBatch, stream: torch.cuda.Stream) -> None:
        self._batch = batch.clone()
        self._graph = torch.cuda.CUDAGraph()
        # The batches to come are brought to the GPU by another thread meanwhile, which must not count as an error.
        # Where recording fails, torch leaves the stream on which it was tried to be the present one.
        usual = torch.cuda.stream(torch.cuda.current_stream())
        with usual, torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._told = step(self._batch)

    def fits(self, batch: TensorBatch) -> bool:
        return batch.shapes() == self._batch.shapes()

    def replay(self, batch: TensorBatch) -> Tensor:
        self._batch.copy_(batch)
        self._graph.replay()
        return self._told


def _beside(stream: torch.cuda.Stream, work: Callable[[], Tensor]) -> Tensor:
    """Does work that is to be recorded later, as torch asks for it: on a stream other than the usual one."""
    usual = torch.cuda.current_stream()
    stream.wait_stream(usual)
    with torch.cuda.stream(stream):
        told = work()
    usual.wait_stream(stream)
    return told
