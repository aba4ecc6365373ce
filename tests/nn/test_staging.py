"""Batches come to the device as they are, by whatever way."""

import pickle

import numpy as np
import pytest
import torch
from reference.batches import random_batch

from muzero_ray.core.frames import stack_frames
from muzero_ray.core.types import Batch
from muzero_ray.nn.losses import TensorBatch, host_copy
from muzero_ray.nn.staging import Stager

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def batch_of_frames(seed: int = 0) -> Batch:
    """Six windows of three steps, of which the network sees stacks of four frames with two planes each."""
    frames = np.random.default_rng(seed).integers(0, 256, (6, 4 + 3, 2, 5, 4)).astype(np.uint8)
    stacks = stack_frames(frames, 4)
    plain = random_batch(np.random.default_rng(seed))
    fields = {**vars(plain), "observations": stacks[:, 0], "next_observations": stacks[:, 1:], "frames": frames}
    return Batch(**fields)


def test_on_a_cpu_a_staged_batch_is_the_batch():
    batch = random_batch(np.random.default_rng(0))
    staged = Stager(torch.device("cpu")).stage(batch)
    assert staged.batch is batch
    for got, wanted in zip(staged.tensors().tensors(), TensorBatch.from_batch(batch).tensors(), strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("through_pickle", [False, True])
def test_stacks_are_made_of_frames_as_they_are_seen(through_pickle):
    batch = batch_of_frames()
    if through_pickle:
        batch = pickle.loads(pickle.dumps(batch))
    tensors = TensorBatch.from_batch(batch)
    assert tensors.observations.shape == (6, 8, 5, 4)
    assert tensors.next_observations.shape == (6, 3, 8, 5, 4)
    np.testing.assert_array_equal(tensors.observations, batch.observations)
    np.testing.assert_array_equal(tensors.next_observations, batch.next_observations)
    storages = {tensor.untyped_storage().data_ptr() for tensor in (tensors.observations, tensors.next_observations)}
    assert len(storages) == 1  # each frame travels once


def test_a_host_copy_is_of_its_own_type_and_memory():
    numbers = np.arange(6, dtype=np.int32).reshape(2, 3)
    numbers.setflags(write=False)
    copy = host_copy(numbers, np.dtype(np.int64), pinned=False)
    assert copy.dtype == torch.int64
    assert copy.tolist() == [[0, 1, 2], [3, 4, 5]]
    copy[0, 0] = 7
    assert numbers[0, 0] == 0


@pytest.mark.parametrize("device", DEVICES)
def test_staged_batches_arrive_whole_while_others_are_on_their_way(device):
    stager, batches = Stager(torch.device(device)), [batch_of_frames(seed) for seed in range(20)]
    staged = [stager.stage(batch) for batch in batches[:2]]
    for index, batch in enumerate(batches):
        tensors = staged.pop(0).tensors()
        staged += [stager.stage(later) for later in batches[index + 2 : index + 3]]
        copies = [tensor.clone() for tensor in tensors.tensors()]  # what is done with a batch while the next ones come
        for got, copy, wanted in zip(tensors.tensors(), copies, TensorBatch.from_batch(batch).tensors(), strict=True):
            assert got.device.type == device
            assert torch.equal(copy.cpu(), wanted)
            assert torch.equal(got.cpu(), wanted)


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_may_be_made_on_the_way(device):
    batch = batch_of_frames()
    staged = Stager(torch.device(device)).stage(lambda: batch)
    assert staged.batch is batch
    for got, wanted in zip(staged.tensors().tensors(), TensorBatch.from_batch(batch).tensors(), strict=True):
        assert torch.equal(got.cpu(), wanted)


def test_a_batch_on_the_device_is_copied_into_the_memory_of_another():
    first, second = TensorBatch.from_batch(batch_of_frames()), TensorBatch.from_batch(batch_of_frames())
    for tensor in second._own().values():
        tensor.zero_()
    third = second.clone()
    third.copy_(first)
    assert third.shapes() == first.shapes()
    for got, wanted, untouched in zip(third.tensors(), first.tensors(), second.tensors(), strict=True):
        assert (got.stride(), got.dtype) == (wanted.stride(), wanted.dtype)
        assert torch.equal(got, wanted)
        assert not untouched.any()
