"""The replay-buffer actor as a plain object: what a request is answered with."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reference.tiny_runs import tiny_config

from muzero_ray.actors import build
from muzero_ray.actors.replay_buffer import ReplayBufferActor
from muzero_ray.core.types import ReanalyzeResult, Trajectory, Weights
from muzero_ray.nn.networks import build_network, to_weights

RATIO = 32.0
"""Positions trained per env step: with batches of 16, two batches for each."""


def config_for(num_gpus: int = 1, **changes: Any):
    return tiny_config(
        train={"batch_size": 16, "replay_ratio": RATIO, "td_steps": 1, "off_policy_cut": 0.0, "num_gpus": num_gpus},
        replay={"min_steps": 0},
        **changes,
    )


def weights_of(seed: int) -> Weights:
    config = config_for()
    rng = np.random.default_rng(seed)
    network = build_network(config.network, build.Agent(config).spec, consistency=False)
    return {
        name: array + rng.normal(0, 0.1, array.shape).astype(np.float32) for name, array in to_weights(network).items()
    }


def game(length: int) -> Trajectory:
    """A running game in which every stored value is 7 and every reward 0."""
    rng = np.random.default_rng(length)
    return Trajectory(
        observations=rng.normal(size=(length + 1, 4)).astype(np.float32),
        actions=np.zeros(length, np.int32),
        rewards=np.zeros(length, np.float32),
        to_play=np.zeros(length + 1, np.int8),
        legal_actions=np.ones((length, 2), bool),
        search_policies=np.full((length, 2), 0.5, np.float32),
        root_values=np.full(length, 7.0, np.float32),
        terminated=False,
        truncated=False,
        final_value=0.0,
        weights_version=0,
        seed=0,
        game_id=0,
        first_step=0,
    )


async def started(config, length: int) -> ReplayBufferActor:
    actor = ReplayBufferActor(config, num_actors=1)
    await actor.start(None)
    adding = asyncio.create_task(actor.add([game(length)]))
    await asyncio.sleep(0)
    actor.adding = adding  # kept, or it may be collected
    return actor


def test_a_request_is_answered_with_as_many_batches_as_may_be_trained_and_no_more_than_asked():
    async def run() -> list[int]:
        actor = await started(config_for(), length=3)  # 96 positions: six batches
        counts = [len(await actor.sample(4)), len(await actor.sample(4))]
        waiting = asyncio.create_task(actor.sample(4))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await actor.close_intake()
        return [*counts, len(await waiting)]

    assert asyncio.run(run()) == [4, 2, 0]


@pytest.mark.parametrize("with_checkpoint", [True, False])
def test_what_was_asked_of_earlier_processes_reaches_no_state_of_one_that_came_in_their_place(with_checkpoint: bool):
    config = config_for()
    spoilt = np.tile(np.float32([1, 0]), (3, 1))

    async def run() -> list[np.ndarray]:
        given_out: list[np.ndarray] = []
        checkpoint = None
        if with_checkpoint:
            first = await started(config, length=3)
            checkpoint = await first.state()
            first.adding.cancel()
        for incarnation in range(3):  # all from the same checkpoint
            actor = ReplayBufferActor(config, num_actors=1)
            await actor.start(checkpoint, incarnation)
            adding = asyncio.create_task(actor.add([replace(game(3), game_id=1)]))
            await asyncio.sleep(0)
            for late in given_out:
                await actor.refresh(ReanalyzeResult(late, spoilt[: len(late)], np.full(len(late), 9.0, np.float32), 5))
                await actor.update_priorities(late, np.full(len(late), 1e6))
            batches = await actor.sample(4)
            assert all((batch.target_policies[:, 0] == 0.5).all() for batch in batches)
            assert all((batch.importance_weights == 1).all() for batch in batches)
            given_out += np.split(np.unique(np.concatenate([batch.indices for batch in batches])), [3])
            adding.cancel()
            assert int((await actor.state())["buffer"]["end_id"]) == 3 + 3 * with_checkpoint, "as if none had crashed"
        return given_out

    given_out = np.concatenate(asyncio.run(run()))
    assert len(np.unique(given_out)) == len(given_out) == 9 * (1 + with_checkpoint)


def test_every_rank_gets_its_share_of_every_batch_drawn_for_it_alone():
    # Of batches of 16 windows each of 2 ranks gets 8; the pace counts them together: 96 positions are six steps.
    config = config_for(num_gpus=2, num_actors=1)

    async def run():
        actor = await started(config, length=3)
        answers = [await actor.sample(4, None, 2), await actor.sample(4, None, 2)]
        await actor.close_intake()
        return [*answers, await actor.sample(4, None, 2)]

    answers = asyncio.run(run())
    assert [[len(own) for own in answer] for answer in answers] == [[4, 4], [2, 2], [0, 0]]
    first, second = answers[0]
    assert all(len(batch.actions) == 8 for batch in [*first, *second])
    assert any((a.indices != b.indices).any() for a, b in zip(first, second, strict=True))


def test_targets_bootstrap_from_stored_values_until_weights_come_and_from_theirs_then():
    config = config_for()
    spec = build.Agent(config).spec

    async def run() -> list[np.ndarray]:
        actor = await started(config, length=40)
        batches = await actor.sample(1)
        for seed in (1, 2):
            await actor.set_weights(weights_of(seed))
            batches += await actor.sample(1)
        return batches

    stored, *fresh = asyncio.run(run())
    discounted = (0.0, 7.0 * config.train.discount, 7.0)  # beyond the record, one step on, and at its end
    assert np.isin(stored.target_values.round(4), np.array(discounted, np.float32).round(4)).all()
    for seed, batch in zip((1, 2), fresh, strict=True):
        model = build.make_model(config, spec)
        model.set_weights(weights_of(seed))
        values = model.initial(game(40).observations, num_nodes=1).values
        reached = dict(zip(game(40).observations[:, 0].tolist(), np.append(values[1:], np.nan).tolist(), strict=True))
        wanted = [config.train.discount * reached[first] for first in batch.observations[:, 0].tolist()]
        inside = batch.observation_mask[:, 0] > 0 if batch.observation_mask is not None else batch.value_mask[:, 1] > 0
        assert inside.sum() > 5
        np.testing.assert_allclose(batch.target_values[inside, 0], np.array(wanted)[inside], rtol=1e-4, atol=1e-4)


def test_no_network_is_made_where_stored_values_are_wanted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "make_model", None)
    actor = ReplayBufferActor(config_for(reanalyze={"fresh_values": False}), num_actors=1)
    asyncio.run(actor.set_weights({}))


def test_whoever_waits_costs_nothing_until_its_turn_has_come(monkeypatch: pytest.MonkeyPatch):
    """Hundreds of deliveries wait, of two for each actor: to look at each of them for every batch is what a buffer
    would do most of its time."""
    looks = 0

    async def run() -> tuple[list[int], bool, int]:
        nonlocal looks
        actor = ReplayBufferActor(config_for(reanalyze={"ratio": 0.0}), num_actors=1)
        may_insert = actor._limiter.may_insert

        def counted() -> bool:
            nonlocal looks
            looks += 1
            return may_insert()

        monkeypatch.setattr(actor._limiter, "may_insert", counted)
        await actor.start(None)
        adding = [asyncio.create_task(actor.add([replace(game(8), game_id=number)])) for number in range(200)]
        await asyncio.sleep(0.05)
        # Of 1600 env steps 3200 batches are due; adding pauses while more than 64, of one delivery of the actor, are.
        assert not any(task.done() for task in adding[8:])
        seen = []
        for batches in (1, 1, 3):
            looks = 0
            await actor.sample(batches)
            await asyncio.sleep(0.05)
            seen.append(looks)
        await actor.sample(3200 - 64 - 5)
        await asyncio.sleep(0.05)
        return seen, all(task.done() for task in adding), looks

    seen, all_acknowledged, last = asyncio.run(run())
    assert seen == [1, 1, 1], "one look for all, whatever their number"
    assert all_acknowledged
    assert last <= 2 * 200, "each of them looks once more when its turn has come"


def test_a_call_that_was_given_up_leaves_the_others_their_turns():
    async def run() -> list[int]:
        actor = await started(config_for(), length=3)  # six batches
        assert len(await actor.sample(6)) == 6
        first, second = (asyncio.create_task(actor.sample(4)) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        more = asyncio.create_task(actor.add([replace(game(3), game_id=1)]))
        counts = [len(await second), len(await actor.sample(4))]
        await actor.close_intake()
        await more
        return counts

    assert asyncio.run(run()) == [4, 2]


def test_deliveries_of_one_sender_that_overtake_each_other_are_stored_in_the_order_of_play():
    pieces = [replace(game(4), first_step=first) for first in (4, 8, 0)]

    async def run():
        actor = ReplayBufferActor(config_for(system={"max_pending": 3}), num_actors=3)
        await actor.start(None)
        await actor.close_intake()  # nobody waits
        statuses = [await actor.add([piece], "self_play_0") for piece in pieces]
        return [status.num_steps for status in statuses], sum(status.trajectories_left_out for status in statuses)

    assert asyncio.run(run()) == ([0, 0, 12], 0)
