"""What the buffer tells an operator: how old its data is, and how fast it answers."""

import asyncio
from dataclasses import replace

import numpy as np
from actors.test_replay_buffer import config_for, game

from muzero_ray.actors import build
from muzero_ray.actors.buffer_meter import BufferMeter
from muzero_ray.actors.replay_buffer import ReplayBufferActor
from muzero_ray.core.types import ReanalyzeResult


def parts():
    config = config_for()
    return BufferMeter(), build.make_replay_buffer(config), build.make_rate_limiter(config, num_actors=1)


def test_what_was_counted_and_timed_is_told_once():
    meter, buffer, limiter = parts()
    meter.added(3, 1, 0.25)
    meter.added(2, 0, 0.5)
    meter.sampled(np.array([10, 20]), 20, 0.125)
    first, second = meter.status(buffer, limiter), meter.status(buffer, limiter)
    assert (first.trajectories_added, first.trajectories_left_out) == (5, 1)
    assert (first.add_seconds, first.sample_seconds) == ((0.25, 0.5), (0.125,))
    assert (second.trajectories_added, second.trajectories_left_out) == (0, 0)
    assert (second.add_seconds, second.sample_seconds) == ((), ())
    assert first.weights_lag == second.weights_lag == 5.0, "20 minus the mean of 10 and 20"


def test_the_lag_is_unknown_until_a_batch_is_made_for_somebody_who_knows_the_newest_version():
    meter, buffer, limiter = parts()
    meter.sampled(np.array([10, 20]), None, 0.125)
    assert meter.status(buffer, limiter).weights_lag is None


def test_latencies_between_two_statuses_are_bounded():
    meter, buffer, limiter = parts()
    for number in range(1500):
        meter.added(1, 0, float(number))
    assert meter.status(buffer, limiter).add_seconds == tuple(float(number) for number in range(500, 1500))


def test_versions_of_states_are_those_that_played_them_until_they_are_searched_again():
    _, buffer, _ = parts()
    buffer.add(replace(game(4), weights_version=7))
    indices = np.array([0, 1, 2, 3])
    assert buffer.weights_versions(indices).tolist() == [7, 7, 7, 7]
    buffer.refresh(ReanalyzeResult(np.array([2]), np.full((1, 2), 0.5, np.float32), np.zeros(1, np.float32), 19))
    assert buffer.weights_versions(indices).tolist() == [7, 7, 19, 7]


def test_the_buffer_tells_how_much_older_than_the_newest_weights_a_batch_is_and_what_it_left_out():
    async def run():
        actor = ReplayBufferActor(config_for(), num_actors=1)
        await actor.start(None)
        piece = replace(game(3), weights_version=100)
        adding = [asyncio.create_task(actor.add([delivered])) for delivered in (piece, piece)]  # it came twice
        await asyncio.sleep(0)
        await actor.sample(2, 140)
        await actor.close_intake()
        return [await task for task in adding] + [await actor.status()]

    statuses = asyncio.run(run())
    assert statuses[-1].weights_lag == 40.0
    assert sum(status.trajectories_added for status in statuses) == 1
    assert sum(status.trajectories_left_out for status in statuses) == 1
    times = [(*status.add_seconds, *status.sample_seconds) for status in statuses]
    assert sum(map(len, times)) == 4, "two deliveries and two batches, each told once"
    assert min(map(min, filter(None, times))) > 0
