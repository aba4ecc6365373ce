"""Two ranks with a batch each are one learner with both. Two processes do all there is to do, for they start slowly."""

import dataclasses
import pickle
import socket

import numpy as np
import pytest
import torch
import torch.multiprocessing as processes
from reference.batches import random_batch
from reference.networks import PLAIN_BOARD, SMALL, SMALL_CONV, SPEC
from reference.rank_workers import Job, train_in_turn

from muzero_ray.core.config import Config, ReplayConfig, TrainConfig
from muzero_ray.core.types import Batch
from muzero_ray.nn.learner import Learner
from muzero_ray.nn.parallel import join

REFUSED = 1
"""Step whose batch is not finite on rank 1, in the job of that name."""


def make_job(network, spec) -> Job:
    train = TrainConfig(env_steps=2000, batch_size=6, consistency_weight=1.0, learning_rate_warmup=2)
    config = Config(network=network, replay=ReplayConfig(min_steps=1000), train=train)
    batches = []
    for rank in (0, 1):
        rng, shape = np.random.default_rng(rank), spec.observation_shape
        batches.append(
            [random_batch(rng, num_actions=spec.num_actions, observation_shape=shape) for _ in range(5)],
        )
    return Job(config, spec, batches)


JOBS = {"mlp": make_job(SMALL, SPEC), "conv": make_job(SMALL_CONV, PLAIN_BOARD), "refused": make_job(SMALL, SPEC)}
JOBS["refused"].batches[1][REFUSED].target_values[0] = np.inf


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What both ranks found, in the order of the jobs; rank 0 also how it lost the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # of the processes that are started
        folder = tmp_path_factory.mktemp("ranks")
        processes.spawn(train_in_turn, (free_address(), list(JOBS.values()), folder), nprocs=2)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in (0, 1)]


def joined(first: Batch, second: Batch) -> Batch:
    fields = [field.name for field in dataclasses.fields(Batch) if getattr(first, field.name) is not None]
    return Batch(**{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in fields})


@pytest.mark.parametrize("name", JOBS)
def test_all_ranks_have_the_same_weights_and_statistics_to_the_bit(name, found):
    first, second = (outcomes[list(JOBS).index(name)] for outcomes in found)
    for one, other in ((first.weights, second.weights), (first.statistics, second.statistics)):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[each], other[each]) for each in one)
    assert first.steps == second.steps


@pytest.mark.parametrize("name", JOBS)
def test_two_ranks_learn_what_one_learns_from_both_their_batches(name, found):
    job, outcome = JOBS[name], found[0][list(JOBS).index(name)]
    alone = Learner(job.config, job.spec, seed=0)
    for step, pair in enumerate(zip(*job.batches, strict=True)):
        if name == "refused" and step == REFUSED:
            continue
        expected = alone.update(joined(*pair)).metrics
        for each in ("loss/total", "loss/value", "loss/consistency", "train/gradient_norm", "train/policy_entropy"):
            assert outcome.steps[step][each] == pytest.approx(expected[each], rel=1e-4), each
    for each, array in alone.weights().items():
        np.testing.assert_allclose(outcome.weights[each], array, atol=1e-5, err_msg=each)
    known = alone.state_dict()["observation_statistics"]
    for each in known:
        np.testing.assert_allclose(outcome.statistics[each], known[each], rtol=1e-12, err_msg=each)


def test_a_batch_that_one_rank_refuses_is_refused_by_all(found):
    for outcomes in found:
        told = outcomes[list(JOBS).index("refused")].steps
        assert [type(step) for step in told] == [dict, str, dict, dict, dict]
        assert told[REFUSED].startswith("training step 1: loss/total")


def test_a_rank_that_loses_another_says_so_and_keeps_its_weights(found):
    loss = found[0][-1]
    assert loss.unchanged
    assert loss.training_steps == 1
    assert loss.told.startswith("rank 0 of 2: another rank of the trainer did not answer (")
    assert loss.told.endswith("); restart all ranks from the last checkpoint")


def test_a_rank_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"rank: must lie in 0..1, got 2"):
        join(2, 2, "127.0.0.1:1")


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:1", 1)])
def test_a_rank_works_on_the_gpu_that_is_named_and_on_its_first_where_none_is(monkeypatch, device, index):
    used, joined_with = [], []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    # As torch's own, it refuses a GPU without a number.
    number_of = torch.cuda._utils._get_device_index
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: used.append(number_of(device)))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **_: joined_with.append(backend))
    join(0, 2, "127.0.0.1:1", device)
    assert used == [index]
    assert joined_with == ["nccl"]


@pytest.mark.gpu
def test_a_rank_on_a_gpu_averages_and_gathers():
    ranks = join(0, 1, free_address(), "cuda")
    try:
        numbers = torch.arange(3.0, device="cuda")
        ranks.average_([numbers])
        assert numbers.tolist() == [0.0, 1.0, 2.0]
        assert ranks.gather(np.array([4.0, 5.0])).tolist() == [[4.0, 5.0]]
    finally:
        ranks.leave()
