"""`Ranks`: several processes that train one network together, each on batches of its own.

What they do together: average gradients and metrics, and exchange what they know of observations. All ranks
then take the same optimiser step, so that their weights stay equal to the bit. Who starts the processes, and
anew after one has died, is not said here.
"""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import torch
from torch import Tensor, distributed

from muzero_ray.nn.hardware import usable_device


class RankLost(RuntimeError):
    """Another rank did not answer. The weights are those of the last step that all took; all must start anew."""


class Ranks:
    """The group as one rank sees it. Every rank must call the same methods in the same order.

    Attributes:
        rank: this process, from 0 on.
        size: how many there are.
    """

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank = rank
        self.size = size
        self._device = device

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Puts into each tensor the mean of what it is on all ranks; they are the same on all of them afterwards.

        The loss is a mean over the windows of a batch, importance weights included: the mean of the gradients of
        batches of one size is the gradient of all of them together. All travel as one flat tensor.
        """
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._sum_(flat)
        flat /= self.size
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def gather(self, numbers: np.ndarray) -> np.ndarray:
        """`[n]` float64 of every rank, as `[size, n]` in their order, on all of them."""
        rows = torch.zeros(self.size, len(numbers), dtype=torch.float64)
        rows[self.rank] = torch.from_numpy(numbers)
        rows = rows.to(self._device)
        self._sum_(rows)
        return rows.cpu().numpy()

    def leave(self) -> None:
        """Ends the group on this rank."""
        distributed.destroy_process_group()

    def _sum_(self, numbers: Tensor) -> None:
        try:
            distributed.all_reduce(numbers)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise RankLost(
                f"rank {self.rank} of {self.size}: another rank of the trainer did not answer ({error}); "
                "restart all ranks from the last checkpoint"
            ) from error


def join(rank: int, size: int, address: str, device: str = "cpu", timeout_seconds: float = 600.0) -> Ranks:
    """Joins the group; returns when all ranks have. A process can be in one group at a time.

    Args:
        rank: this process, 0 to size - 1.
        size: how many ranks there are.
        address: host:port where rank 0 listens, the same on all.
        device: where this rank's learner is: "cpu" for gloo, "cuda" (the first GPU that it sees) or "cuda:1" for nccl.
        timeout_seconds: how long a rank waits for the others, here and in every later call.

    Raises:
        ValueError: if there is no such rank or device.
        RankLost: if the others do not come.
    """
    if not 0 <= rank < size:
        raise ValueError(f"rank: must lie in 0..{size - 1}, got {rank}")
    place = usable_device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place.index or 0)  # which refuses a device without a number
    try:
        distributed.init_process_group(
            "nccl" if place.type == "cuda" else "gloo",
            init_method=f"tcp://{address}",
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=timeout_seconds),
        )
    except RuntimeError as error:
        raise RankLost(f"rank {rank} of {size}: the others did not come to {address}: {error}") from error
    return Ranks(rank, size, place)
