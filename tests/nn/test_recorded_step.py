"""A step that is recorded does what it did before; on a CPU, and where it cannot be recorded, nothing is."""

import dataclasses
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from reference.batches import random_batch

from muzero_ray.core.config import Config, NetworkConfig, SystemConfig, TrainConfig
from muzero_ray.core.frames import stack_frames
from muzero_ray.core.game import GameSpec
from muzero_ray.core.types import Batch
from muzero_ray.nn.learner import Learner, NonFiniteLoss
from muzero_ray.nn.losses import TensorBatch
from muzero_ray.nn.recorded_step import RecordedStep

pytestmark = pytest.mark.usefixtures("exact_float32")

SPEC = GameSpec(observation_shape=(1, 20, 20), num_actions=4, observation_dtype="uint8", frame_stack=2)


def batches(count: int) -> list[Batch]:
    """Of frames, as a buffer hands them out."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        plain = random_batch(rng, batch_size=12, observation_shape=SPEC.input_shape, value_scale=1.0)
        frames = rng.integers(0, 256, (12, 2 + plain.actions.shape[1], *SPEC.observation_shape)).astype(np.uint8)
        stacks = stack_frames(frames, 2)
        views = {"observations": stacks[:, 0], "next_observations": stacks[:, 1:]}
        found.append(dataclasses.replace(plain, frames=frames, **views))
    return found


def learner(device: str, compile: str = "off") -> Learner:
    network = NetworkConfig(kind="image", channels=8, blocks=1, head_size=16)
    train = TrainConfig(batch_size=12, consistency_weight=1.0, learning_rate_warmup=5)
    system = SystemConfig(precision="float32", compile=compile)
    return Learner(Config(network=network, train=train, system=system), SPEC, seed=0, device=device)


def recording(device: str = "cuda") -> Learner:
    """Records its steps, and does not compile them, which takes long."""
    made = learner(device)
    made._do_step = RecordedStep(made._step_on_device, record=True, say=made._say)
    return made


def nearly_same(first: Learner, second: Learner) -> bool:
    ours, theirs = first.weights(), second.weights()
    return all(np.allclose(ours[name], theirs[name], rtol=0, atol=2e-4) for name in ours)


def test_nothing_is_recorded_unless_asked_for():
    seen: list[TensorBatch] = []

    def step(batch: TensorBatch) -> torch.Tensor:
        seen.append(batch)
        return torch.zeros(1)

    recorded = RecordedStep(step, record=False, say=pytest.fail)
    given = [TensorBatch.from_batch(batch) for batch in batches(6)]
    for batch in given:
        recorded(batch)
    assert [id(batch) for batch in seen] == [id(batch) for batch in given]


class Stream:
    """A stand-in for a GPU's."""

    def wait_stream(self, other: "Stream") -> None: ...


class FakeGpu:
    """Stands in for torch's streams and graphs: a graph that is replayed does nothing.

    Attributes:
        streams: all that were made.
        used: the stream of everything that was done on another one than the usual, in order.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streams: list[Stream] = []
        self.used: list[Stream] = []
        usual = Stream()
        stand_ins = {
            "device": lambda _: nullcontext(),
            "current_stream": lambda: usual,
            "Stream": self._make_stream,
            "stream": lambda stream: nullcontext() if stream is usual else self._use(stream),
            "graph": lambda graph, stream=None, **_: self._use(stream),
            "CUDAGraph": Graph,
        }
        for name, stand_in in stand_ins.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)

    def _make_stream(self) -> Stream:
        self.streams.append(Stream())
        return self.streams[-1]

    @contextmanager
    def _use(self, stream: Stream) -> Iterator[None]:
        self.used.append(stream)
        yield


class Graph:
    def replay(self) -> None: ...


@pytest.fixture
def fake_gpu(monkeypatch) -> FakeGpu:
    return FakeGpu(monkeypatch)


def test_steps_before_recording_and_recording_itself_share_one_stream_whose_memory_is_used_again(fake_gpu):
    steps: list[TensorBatch] = []

    def step(batch: TensorBatch) -> torch.Tensor:
        steps.append(batch)
        return torch.zeros(1)

    recorded = RecordedStep(step, record=True, say=pytest.fail)
    assert fake_gpu.streams == []
    for _ in range(2):
        for batch in batches(6):
            recorded(TensorBatch.from_batch(batch))
        recorded.forget()
    assert len(steps) == 2 * (3 + 1)
    assert len(fake_gpu.streams) == 1
    assert fake_gpu.used == fake_gpu.streams * len(steps)


def test_where_recording_fails_the_reason_is_told_once_and_training_goes_on(monkeypatch, fake_gpu):
    class Broken:
        def __init__(self) -> None:
            raise RuntimeError("CUDA error: out of luck\nand a page of advice")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Broken)
    plain, broken = learner("cpu"), recording("cpu")
    for batch in batches(6):
        assert broken.update(batch).metrics == plain.update(batch).metrics
    assert broken.notes == ["training goes on without CUDA graphs, slower: CUDA error: out of luck"]


def test_a_failed_recording_leaves_no_memory_behind_for_the_step_that_follows_and_may_fail_without_a_word(
    monkeypatch, fake_gpu
):
    recording_now, used, still_used = [False], [], []

    class Tape:
        """What the step has in hand while it is recorded; it refers to itself, as what torch records may."""

        def __init__(self) -> None:
            self.itself = self
            used.append(weakref.ref(self))

    @contextmanager
    def recording_that_fails(graph, **_):
        recording_now[0] = True
        yield
        raise RuntimeError

    def step(batch: TensorBatch) -> torch.Tensor:
        tape = Tape() if recording_now[0] and not used else None
        still_used.append(len(used) > 0 and tape is None and used[0]() is not None)
        if tape is not None:
            raise RuntimeError
        return torch.zeros(1)

    monkeypatch.setattr(torch.cuda, "graph", recording_that_fails)
    told: list[str] = []
    recorded = RecordedStep(step, record=True, say=told.append)
    for batch in batches(5):
        recorded(TensorBatch.from_batch(batch))
    assert len(used) == 1
    assert still_used == [False] * 6  # three before, one that is recorded, that one again, and the last
    assert told == ["training goes on without CUDA graphs, slower: RuntimeError"]


@pytest.mark.gpu
def test_a_recorded_step_teaches_what_its_kernels_do():
    plain, recorded = learner("cuda"), recording()
    for batch in batches(12):
        staged = recorded.stage(batch)
        ours, theirs = recorded.update(staged), plain.update(batch)
        assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-2, abs=1e-3)
        np.testing.assert_allclose(ours.priorities, theirs.priorities, rtol=1e-2, atol=1e-2)
    assert recorded._do_step._recording is not None
    assert recorded.notes == []
    assert nearly_same(plain, recorded)


@pytest.mark.gpu
def test_a_recorded_step_with_what_is_not_finite_changes_nothing():
    recorded = recording()
    first, *others = batches(8)
    for batch in others:
        recorded.update(batch)
    before = recorded.weights()
    wrong = np.full_like(first.target_values, np.nan)
    with pytest.raises(NonFiniteLoss, match="loss/value"):
        recorded.update(dataclasses.replace(first, target_values=wrong))
    after = recorded.weights()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert recorded.training_steps == 7
    assert recorded.update(first).metrics["loss/total"] < 20  # the next one is taken
    assert recorded._do_step._recording is not None


@pytest.mark.gpu
def test_a_batch_of_another_size_and_another_state_are_learnt_from_after_recording():
    plain, recorded = learner("cuda"), recording()
    for batch in batches(6):
        plain.update(batch)
        recorded.update(batch)
    state = plain.to_bytes()
    half = [
        dataclasses.replace(batch, **{name: array[:6] for name, array in vars(batch).items() if array is not None})
        for batch in batches(2)
    ]
    for batch in [*half, *batches(6)]:
        plain.update(batch)
        recorded.update(batch)
    assert nearly_same(plain, recorded)
    plain.load_bytes(state)
    recorded.load_bytes(state)
    for batch in batches(6):
        plain.update(batch)
        recorded.update(batch)
    assert recorded._do_step._recording is not None
    assert nearly_same(plain, recorded)


@pytest.mark.gpu
def test_a_step_that_cannot_be_recorded_goes_on_without_using_more_and_more_memory():
    plain, waiting = learner("cuda"), recording()
    step = waiting._do_step._step

    def step_that_waits(batch: TensorBatch) -> torch.Tensor:
        told = step(batch)
        if torch.cuda.is_current_stream_capturing():
            told.cpu()  # which a step must not do
        return told

    waiting._do_step._step = step_that_waits
    usual, used = torch.cuda.current_stream(), []
    for batch in batches(6) * 8:
        waiting.update(waiting.stage(batch))
        plain.update(batch)
        used.append(torch.cuda.memory_allocated())
    assert len(waiting.notes) == 1
    assert "training goes on without CUDA graphs, slower:" in waiting.notes[0]
    assert torch.cuda.current_stream() == usual
    assert used[-1] <= used[8]
    assert nearly_same(plain, waiting)
