"""`ResidentModel`: any network of `networks` as a `SearchModel` that lives on a GPU, for hundreds of games at once.

For each number of games, all that a simulation asks of the GPU is recorded once as a CUDA graph and replayed from then
on: launching its hundred small kernels one by one would take longer than they do.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from muzero_ray.core.types import Weights
from muzero_ray.mcts.model import RootOutput, StepOutput
from muzero_ray.nn.base_network import Network
from muzero_ray.nn.hardware import memory_told, reason_of, usable_device
from muzero_ray.nn.inference import discounts_by_turn
from muzero_ray.nn.networks import load_weights, place

_MAX_SHAPES = 16
"""Shapes of searches whose memory and graphs are kept, for evaluations with fewer and fewer games."""
_capturing = threading.Lock()  # only one thread of a process may record


class ResidentModel:
    """Keeps the latent states of a search on the device; per simulation, one small copy goes each way.

    Several threads may search at once, each with a model of its own: each has a stream of its own, so that the GPU
    works for one while the other's trees are searched on the CPU.

    Args:
        network: from here on this object's own: moved to the device and changed by `set_weights`.
        discount: as for `TorchModel`.
        device: "cuda", or any other torch device, where all but the graphs is the same.
        dtype: in which linear layers and convolutions multiply; latent states and outputs are float32.
        record: whether to record graphs, on a GPU.
        say: told in a sentence why graphs are not used, where they fail.

    Raises:
        ValueError: if there is no such device.
    """

    def __init__(
        self,
        network: Network,
        discount: float,
        device: str = "cuda",
        *,
        dtype: torch.dtype = torch.float32,
        record: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._device = usable_device(device)
        self._network = place(network, self._device).eval().requires_grad_(False)
        self._discount = discount
        self._dtype = dtype
        self._record = record and self._device.type == "cuda"
        self._say = say
        self._stream: torch.cuda.Stream | None = None
        if self._device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._searches: dict[tuple[Any, ...], _Search] = {}
        self._search: _Search | None = None

    def set_weights(self, weights: Weights) -> None:
        """Uses these published weights from the next call on; graphs read them from where they are.

        Raises:
            ValueError: if they belong to another network configuration.
        """
        with self._queue():
            load_weights(self._network, weights)

    @torch.inference_mode()
    def initial(self, observations: np.ndarray, num_nodes: int) -> RootOutput:
        """See `SearchModel.initial`.

        Raises:
            OutOfGpuMemory: if a search of so many games does not fit into the GPU's memory.
        """
        shape = (observations.shape, observations.dtype.str)
        with self._queue(), memory_told(*_what_fills_memory(len(observations), num_nodes)):
            search = self._searches.pop(shape, None)
            if search is None or search.num_nodes < num_nodes:
                search = _Search(self, observations, num_nodes)
            self._searches[shape] = self._search = search  # the newest last
            while len(self._searches) > _MAX_SHAPES:
                del self._searches[next(iter(self._searches))]
            values, policy_logits = search.root(observations)
        return RootOutput(values=values[:, 0], policy_logits=policy_logits)

    @torch.inference_mode()
    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        """See `SearchModel.recurrent`.

        Raises:
            OutOfGpuMemory: as `initial`; the first simulation needs memory of its own, and without graphs every one.
        """
        assert self._search is not None, "initial comes first"
        with self._queue(), memory_told(*self._search.what_fills_memory):
            rewards, values, policy_logits, turn_logits = self._search.step(parent_nodes, actions, new_node)
        if self._network.learns_turns:
            discounts = discounts_by_turn(turn_logits, self._discount)
        else:
            discounts = np.full(len(actions), self._discount, dtype=np.float32)
        return StepOutput(rewards=rewards[:, 0], values=values[:, 0], policy_logits=policy_logits, discounts=discounts)

    @torch.inference_mode()
    def exchange(self) -> None:
        """Copies what is copied for a simulation, there and back, and computes nothing: to measure what that takes."""
        assert self._search is not None, "initial comes first"
        with self._queue():
            self._search.exchange()

    def represent(self, observations: Tensor) -> tuple[Tensor, list[Tensor]]:
        """`[B, ...]` observations to `[B, H]` latent states, and `[B, n]` values and policy logits, on the device."""
        with self._mixed_precision():
            latents = self._network.represent(observations)
            heads = self._network.predict(latents)
        value = self._network.decode_value(heads.value_logits.float())
        return latents, [value.unsqueeze(1), heads.policy_logits.float()]

    def advance(self, latents: Tensor, actions: Tensor) -> tuple[Tensor, list[Tensor]]:
        """`[B, H]` latent states and `[B]` int64 actions to the states reached, and `[B, n]` rewards, values, policy
        and turn logits, on the device."""
        with self._mixed_precision():
            latents = self._network.step(latents, actions)
            heads = self._network.predict(latents)
        reward = self._network.decode_reward(heads.reward_logits.float(), latents)
        value = self._network.decode_value(heads.value_logits.float())
        logits = [heads.policy_logits.float(), heads.turn_logits.float()]
        return latents, [reward.unsqueeze(1), value.unsqueeze(1), *logits]

    def recorded(self, work: Callable[[], None], written: Sequence[Tensor]) -> Callable[[], None]:
        """What does the work again: a graph of it, or where that fails, the work itself.

        Args:
            work: reads and writes tensors that stay where they are; done twice, it writes the same.
            written: what it writes; a graph must write the same.
        """
        if not self._record:
            return work
        assert self._stream is not None
        try:
            with _capturing:
                for _ in range(3):  # libraries choose their kernels and claim their memory
                    work()
                expected = [tensor.clone() for tensor in written]
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                    work()
                for tensor in written:
                    tensor.zero_()  # so that a graph that does nothing is found out
                graph.replay()
                if not all(torch.allclose(*pair, rtol=1e-2, atol=1e-3) for pair in zip(written, expected, strict=True)):
                    raise RuntimeError("a graph does not compute what its kernels do")
        except RuntimeError as error:
            # For good, also where memory ran out: every graph keeps memory of its own, and a search without needs less.
            self._record = False
            self._say(f"searching goes on without CUDA graphs, slower: {reason_of(error)}")
            return work
        return graph.replay

    def pinned(self, like: np.ndarray) -> Tensor:
        """Room on the host for such an array, from which a GPU can read by itself."""
        dtype = torch.from_numpy(np.empty(0, like.dtype)).dtype
        return torch.zeros(like.shape, dtype=dtype, pin_memory=self._device.type == "cuda")

    def on_device(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Zeros on the device."""
        return torch.zeros(shape, dtype=dtype, device=self._device)

    def wait(self) -> None:
        """Until the device has done all that this model asked of it."""
        if self._stream is not None:
            self._stream.synchronize()

    @property
    def latent_size(self) -> int:
        """H."""
        return self._network.latent_size

    def _queue(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _mixed_precision(self) -> AbstractContextManager[Any]:
        if self._dtype == torch.float32:
            return nullcontext()
        # Without a cache of rounded weights: a graph has to round the present ones each time.
        return torch.autocast(self._device.type, dtype=self._dtype, cache_enabled=False)


class _Search:
    """The memory of searches of one shape: everything has a fixed place, so that a graph can be replayed."""

    def __init__(self, model: ResidentModel, observations: np.ndarray, num_nodes: int) -> None:
        size = len(observations)
        self._model = model
        self.num_nodes = num_nodes
        self.what_fills_memory = _what_fills_memory(size, num_nodes)
        self._latents = model.on_device(num_nodes, size, model.latent_size)
        self._rows = torch.arange(size, device=self._latents.device)
        # What is asked: the observations; or for each game parent node, action, and the node to be written.
        self._seen = model.pinned(observations)
        self._asked = model.pinned(np.empty((3, size), np.int64))
        self._seen_there = self._seen.to(self._latents.device)
        self._asked_there = self._asked.to(self._latents.device)
        self._put(self._seen, observations)
        self._seen_there.copy_(self._seen)
        _, root = model.represent(self._seen_there)
        self._root = _Answer(model, root)
        self._do_root = model.recorded(self._evaluate_roots, [self._root.there, self._latents[0]])
        # Made by the first simulation: whoever only wants to know what roots are worth needs none.
        self._step: _Answer | None = None
        self._do_step: Callable[[], None] = self._prepare_step

    def root(self, observations: np.ndarray) -> list[np.ndarray]:
        """`[B, 1]` values and `[B, A]` policy logits of the roots, whose latent states become node 0."""
        self._put(self._seen, observations)
        self._seen_there.copy_(self._seen, non_blocking=True)
        self._do_root()
        return self._root.fetch()

    def step(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> list[np.ndarray]:
        """`[B, 1]` rewards and values, `[B, A]` policy logits, `[B, 0 or 1]` turn logits of the states reached."""
        asked = self._asked.numpy()
        asked[0], asked[1], asked[2] = parent_nodes, actions, new_node
        self._asked_there.copy_(self._asked, non_blocking=True)
        self._do_step()
        assert self._step is not None
        return self._step.fetch()

    def exchange(self) -> None:
        """See `ResidentModel.exchange`."""
        assert self._step is not None, "recurrent comes first"
        self._asked_there.copy_(self._asked, non_blocking=True)
        self._step.fetch()

    def _evaluate_roots(self) -> None:
        latents, outputs = self._model.represent(self._seen_there)
        self._latents[0].copy_(latents)
        self._root.write(outputs)

    def _prepare_step(self) -> None:
        """Records the simulation that has been asked for, and does it."""
        _, outputs = self._model.advance(self._latents[0], self._asked_there[1])
        self._step = _Answer(self._model, outputs)
        # Done again it writes the same: a node is never its own parent.
        written = [self._step.there, self._latents[int(self._asked[2, 0])]]
        self._do_step = self._model.recorded(self._evaluate_step, written)
        self._do_step()

    def _evaluate_step(self) -> None:
        assert self._step is not None
        parents, actions, new_nodes = self._asked_there
        latents, outputs = self._model.advance(self._latents[parents, self._rows], actions)
        # By an index on the device: the number of the node is not part of the graph.
        self._latents.index_copy_(0, new_nodes[:1], latents.unsqueeze(0))
        self._step.write(outputs)

    @staticmethod
    def _put(room: Tensor, array: np.ndarray) -> None:
        np.copyto(room.numpy(), array)


def _what_fills_memory(size: int, num_nodes: int) -> tuple[str, str]:
    """What a search is called, and what to lower where it is too large."""
    if num_nodes == 1:
        return f"the evaluation of {size} positions", f"the number of positions ({size}) or the network"
    lower = f"the number of games or positions ({size}), the simulations ({num_nodes - 1}) or the network"
    return f"a search of {size} games with {num_nodes} nodes each", lower


class _Answer:
    """Outputs of the network side by side, on the device and on the host."""

    def __init__(self, model: ResidentModel, outputs: list[Tensor]) -> None:
        self._model = model
        self._widths = [output.shape[1] for output in outputs]
        self.there = model.on_device(len(outputs[0]), sum(self._widths))
        self._here = model.pinned(np.empty(self.there.shape, np.float32))

    def write(self, outputs: list[Tensor]) -> None:
        """Puts the outputs, `[B, n]` each, in their place on the device."""
        torch.cat(outputs, dim=1, out=self.there)

    def fetch(self) -> list[np.ndarray]:
        """Brings them to the host, when all before it is done: arrays of its own."""
        self._here.copy_(self.there, non_blocking=True)
        self._model.wait()
        parts = np.split(self._here.numpy(), np.cumsum(self._widths[:-1]), axis=1)
        return [part.copy() for part in parts]
