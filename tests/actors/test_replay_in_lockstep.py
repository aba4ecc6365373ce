"""The replay buffer of a run in lockstep: what comes when makes no difference to what is given out."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from actors.test_replay_buffer import game, weights_of
from reference.tiny_runs import tiny_config

from muzero_ray.actors.replay_in_lockstep import Publication, ReplayInLockstep
from muzero_ray.core.types import ReanalyzeResult


def lockstep_config(**changes):
    """Each game of 8 moves makes four batches and two repeated searches due; a turn is two batches."""
    return tiny_config(
        train={"batch_size": 16, "replay_ratio": 8.0, "td_steps": 1, "publish_interval": 2},
        reanalyze={"ratio": 4.0, "batch_size": 16},
        system={"lockstep": "on"},
        **changes,
    )


def publication(version: int) -> Publication:
    weights = weights_of(version)
    return Publication(version, weights, weights)


def found(assignment) -> ReanalyzeResult:
    count = len(assignment.request.indices)
    policies = np.tile(np.float32([1, 0]), (count, 1))
    values = np.full(count, 9.0, np.float32)
    return ReanalyzeResult(assignment.request.indices, policies, values, assignment.version)


async def begun(**replay) -> ReplayInLockstep:
    actor = ReplayInLockstep(lockstep_config(replay={"min_steps": 0, **replay}), num_actors=2)
    await actor.start(None)
    await actor.published(publication(0))
    return actor


async def pause() -> None:
    await asyncio.sleep(0.01)


def test_a_round_is_stored_in_the_order_of_its_senders_and_the_next_one_when_all_has_been_learnt_from():
    async def run() -> None:
        actor = await begun()
        (version, weights), status = await actor.add_round(["self_play_0"], [game(8)])
        assert version == 0
        assert weights.keys() == weights_of(0).keys()
        assert status.env_steps == 8
        waiting = asyncio.create_task(actor.add_round(["self_play_0"], [replace(game(4), game_id=1)]))
        assert [bool(batch.publish_after) for batch in await actor.sample(4)] == [False, True], "a turn"
        await actor.published(publication(2))
        assert [bool(batch.publish_after) for batch in await actor.sample(4)] == [False, True]
        await pause()
        assert not waiting.done()
        await actor.published(publication(4))
        (version, _), status = await waiting
        assert version == 4
        assert status.env_steps == 12

    asyncio.run(run())


def test_a_turn_waits_for_what_was_learnt_from_the_one_before_and_takes_its_fresh_values_from_that():
    async def run() -> None:
        actor = await begun()
        await actor.add_round(["self_play_0"], [game(8)])
        [early, _] = await actor.sample(4)
        asked = asyncio.create_task(actor.sample(4))
        await pause()
        assert not asked.done()
        await actor.published(publication(2))
        [late, _] = await asked
        present = lambda batch: actor._store._shard._buffer.windows(batch.indices).target_values  # noqa: E731
        assert np.array_equal(present(late), late.target_values)
        assert not np.array_equal(present(early), early.target_values)

    asyncio.run(run())


def test_a_turn_that_the_trainer_takes_in_parts_is_published_once_when_all_of_it_is_learnt():
    async def run() -> None:
        actor = await begun()
        await actor.add_round(["self_play_0"], [game(8)])
        assert [bool(batch.publish_after) for batch in await actor.sample(1)] == [False]
        assert [bool(batch.publish_after) for batch in await actor.sample(4)] == [True]

    asyncio.run(run())


def test_priorities_come_with_what_was_published_and_decide_the_next_turn():
    async def run() -> None:
        actor = await begun(prioritized=True, priority_exponent=1.0)
        await actor.add_round(["self_play_0"], [game(8)])
        [first, _] = await actor.sample(4)
        states = np.unique(first.indices)
        errors = np.where(states == states[0], 1e6, 1.0)
        await actor.published(publication(2)._replace(priorities=((states, errors),)))
        assert all((batch.indices == states[0]).mean() > 0.9 for batch in await actor.sample(4))

    asyncio.run(run())


def test_what_was_found_is_stored_at_the_beginning_of_the_turn_after_the_next_whenever_it_comes():
    async def run(early: bool) -> list[np.ndarray]:
        actor = await begun()
        await actor.add_round(["self_play_0"], [game(8)])
        drawn = await actor.sample(4)
        assignment = await actor.assignment(-1, process=0)
        if early:
            await actor.searched_again(assignment.number, found(assignment))
        await actor.published(publication(2))
        drawn += await actor.sample(4)
        if not early:
            await actor.searched_again(assignment.number, found(assignment))
        await actor.published(publication(4))
        await actor.add_round(["self_play_0"], [replace(game(8), game_id=1)])
        drawn += await actor.sample(4)
        changed = [bool((batch.target_policies[:, 0] > 0.6).any()) for batch in drawn]
        assert changed == [False] * 4 + [True] * 2
        return [array for batch in drawn for array in (batch.indices, batch.target_policies, batch.target_values)]

    for early, late in zip(asyncio.run(run(early=True)), asyncio.run(run(early=False)), strict=True):
        assert np.array_equal(early, late)


def test_a_turn_waits_for_what_is_searched_again_since_the_turn_before_last_but_not_for_a_process_that_is_gone():
    async def run() -> None:
        actor = await begun()
        await actor.add_round(["self_play_0"], [game(8)])
        await actor.sample(4)
        lost = await actor.assignment(-1, process=0)
        await actor.published(publication(2))
        await actor.sample(4)
        kept = await actor.assignment(0, process=0)
        await actor.published(publication(4))
        await actor.add_round(["self_play_0"], [replace(game(8), game_id=1)])
        asked = asyncio.create_task(actor.sample(4))
        await pause()
        assert not asked.done()
        again = asyncio.create_task(actor.assignment(-1, process=1))
        assert len(await asked) == 2
        await actor.searched_again(lost.number, found(lost))
        await actor.searched_again(kept.number, found(kept))
        assert not actor._results, "nobody waits for them any more"
        assert (await again).version == 4

    asyncio.run(run())


@pytest.mark.parametrize("first", ["published", "asked"])
def test_what_a_trainer_that_is_gone_still_waits_for_is_not_drawn(first):
    async def run() -> None:
        actor = await begun()
        await actor.add_round(["self_play_0"], [game(8)])
        await actor.sample(4)
        dead = asyncio.create_task(actor.sample(4))
        await pause()
        # The next process publishes, which begins another turn, and asks. Either may come first.
        if first == "published":
            await actor.published(publication(0), process=1)
            await pause()
        living = asyncio.create_task(actor.sample(4, process=1))
        await pause()
        await actor.published(publication(0), process=1)
        assert await dead == []
        assert [bool(batch.publish_after) for batch in await living] == [False, True]

    asyncio.run(run())


def test_once_intake_is_closed_and_all_is_out_nobody_waits():
    async def run() -> None:
        actor = await begun()
        await actor.add_round(["self_play_0"], [game(8)])
        await actor.close_intake()
        for turn in (1, 2):
            assert len(await actor.sample(4)) == 2
            assert await actor.assignment(-1, process=0) is not None
            await actor.published(publication(2 * turn))
        assert await actor.sample(4) == []
        assert await actor.assignment(-1, process=0) is None

    asyncio.run(run())
