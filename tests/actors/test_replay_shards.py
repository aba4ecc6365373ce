"""Shards of the replay buffer draw, learn and are stored as if they were one buffer."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import OutOfMemoryError, RayActorError
from reference.local_shards import LocalShard, Ref, delivery, use_local_refs
from reference.tiny_runs import tiny_config

from muzero_ray.actors import build, replay_buffer, replay_shards
from muzero_ray.actors.by_reference import received_batches, received_request
from muzero_ray.actors.replay_buffer import ReplayBufferActor
from muzero_ray.actors.replay_shards import Shards
from muzero_ray.app.saving.checkpoint import write_arrays
from muzero_ray.core.types import Batch, ReanalyzeResult, Trajectory

EXPONENTS = {"priority_exponent": 0.6, "importance_exponent": 0.4}
LENGTHS = [1, 2, 30, 7, 11, 3]
"""Of the games of six players: 54 states."""


@pytest.fixture(autouse=True)
def local_refs(monkeypatch):
    use_local_refs(monkeypatch)


def config_for(shards: int, **changes: Any):
    sections: dict[str, Any] = {
        "num_actors": 1,
        "train": {"batch_size": 64, "td_steps": 1, "off_policy_cut": 0.0, "replay_ratio": 32.0},
        "replay": {"min_steps": 0, "prioritized": True, "shards": shards, **EXPONENTS},
        "reanalyze": {"fresh_values": False},
    }
    return tiny_config(**{key: {**sections.get(key, {}), **value} for key, value in (sections | changes).items()
                          if isinstance(value, dict)}, num_actors=1)  # fmt: skip


def game(game_id: int, length: int, first_step: int = 0, ended: bool = True) -> Trajectory:
    """A game whose observations begin with its name: (game, step, 0, 0)."""
    steps = np.arange(first_step, first_step + length + 1)
    return Trajectory(
        observations=np.stack([np.full(length + 1, game_id), steps, 0 * steps, 0 * steps], axis=1).astype(np.float32),
        actions=np.zeros(length, np.int32),
        rewards=np.zeros(length, np.float32),
        to_play=np.zeros(length + 1, np.int8),
        legal_actions=np.ones((length, 2), bool),
        search_policies=np.full((length, 2), 0.5, np.float32),
        root_values=np.zeros(length, np.float32),
        terminated=ended,
        truncated=False,
        final_value=0.0,
        weights_version=0,
        seed=0,
        game_id=game_id,
        first_step=first_step,
    )


def handles(config) -> list[LocalShard]:
    return [LocalShard(config, number) for number in range(config.replay.shards)]


def stored(parts: list[LocalShard]) -> dict[tuple[int, int], dict[str, Any]]:
    """What all shards hold, by (game, step): "index" among all, "priority" and "value"."""
    found = {}
    for number, part in enumerate(parts):
        state = part.actor.ask("state")[0]
        first = int(state["end_id"]) - len(state["kinds"])
        for i, observation in enumerate(state["observations"]):
            name = int(observation[0]), int(observation[1])
            found[name] = {
                "index": (first + i) * len(parts) + number,
                "priority": float(state["priorities"][i]),
                "value": float(state["root_values"][i]),
            }
    return found


async def filled(parts: list[LocalShard], errors: dict[tuple[int, int], float] | None = None) -> Shards:
    """Shards with the games of six players, whose values were so wrong."""
    shards = Shards(config_for(len(parts)), parts)
    for number, length in enumerate(LENGTHS):
        await shards.add(delivery(game(number, length)), f"self_play_{number}")
    if errors:
        held = stored(parts)
        indices = np.array([held[name]["index"] for name in errors])
        await shards.update_priorities(indices, np.array(list(errors.values())))
    return shards


def names_in(batch: Batch) -> list[tuple[int, int]]:
    return [(int(game), int(step)) for game, step, *_ in batch.observations]


def random_errors(seed: int = 0) -> dict[tuple[int, int], float]:
    rng = np.random.default_rng(seed)
    return {(number, step): float(rng.exponential()) for number, length in enumerate(LENGTHS) for step in range(length)}


@pytest.mark.parametrize("count", [2, 3])
def test_every_state_is_drawn_and_weighted_as_from_one_buffer(count):
    errors = random_errors()
    one = build.make_replay_buffer(config_for(1))
    for number, length in enumerate(LENGTHS):
        one.add(game(number, length))
    one.update_priorities(
        np.array([sum(LENGTHS[:number]) + number + step for number, step in errors]), np.array(list(errors.values()))
    )
    parts = handles(config_for(count))

    async def run() -> list[Batch]:
        shards = await filled(parts, errors)
        return [received_batches(drawn)[0] for drawn in [(await shards.sample(1, None, 1))[0] for _ in range(800)]]

    batches = asyncio.run(run())
    powers = {name: (error + 1e-6) ** 0.6 for name, error in errors.items()}
    total = sum(powers.values())
    held = stored(parts)
    assert {name: entry["priority"] for name, entry in held.items() if entry["priority"]} == pytest.approx(powers)

    def shares(drawn: list[Batch]) -> dict[tuple[int, int], float]:
        drawn_names = [name for batch in drawn for name in names_in(batch)]
        return {name: drawn_names.count(name) / len(drawn_names) for name in powers}

    wanted = {name: power / total for name, power in powers.items()}
    assert shares(batches) == pytest.approx(wanted, abs=0.003)
    assert shares([one.sample() for _ in range(800)]) == pytest.approx(wanted, abs=0.003)
    for batch in batches[:50]:
        batch.check()
        assert len(batch.actions) == 64
        raw = np.array([(1 / (len(powers) * wanted[name])) ** 0.4 for name in names_in(batch)])
        np.testing.assert_allclose(batch.importance_weights, raw / raw.max(), rtol=1e-4)
        assert batch.indices.tolist() == [held[name]["index"] for name in names_in(batch)]


def test_without_priorities_every_state_is_equally_likely_however_unequal_the_shards():
    config = config_for(2, replay={"prioritized": False})
    parts = handles(config)

    async def run() -> list[tuple[int, int]]:
        shards = await filled(parts)
        drawn = received_batches((await shards.sample(500, None, 1))[0])
        assert all((batch.importance_weights == 1).all() for batch in drawn)
        return [name for batch in drawn for name in names_in(batch)]

    names = asyncio.run(run())
    assert [part.actor.ask("status")[0].num_steps for part in parts] == [1 + 30 + 11, 2 + 7 + 3]
    counts = [names.count((number, step)) for number, length in enumerate(LENGTHS) for step in range(length)]
    np.testing.assert_allclose(np.array(counts) / len(names), 1 / 54, rtol=0.1)


def test_every_rank_gets_batches_of_its_own():
    config = config_for(2, train={"num_gpus": 2})

    async def run():
        shards = Shards(config, parts)
        for number, length in enumerate(LENGTHS):
            await shards.add(delivery(game(number, length)), str(number))
        return [received_batches(drawn) for drawn in await shards.sample(3, None, 2)]

    parts = handles(config)
    first, second = asyncio.run(run())
    assert [len(batch.actions) for batch in (*first, *second)] == [32] * 6
    assert any((a.indices != b.indices).any() for a, b in zip(first, second, strict=True))


def test_pieces_of_a_game_meet_in_one_shard_and_are_joined():
    parts = handles(config_for(2))

    async def run() -> None:
        shards = Shards(config_for(2), parts)
        for first_step in (0, 3, 6):
            for number in range(4):
                piece = game(number, 3, first_step, ended=first_step == 6)
                assert await shards.add(delivery(piece), f"self_play_{number}") == 3

    asyncio.run(run())
    for part in parts:
        assert part.asked == ["add"] * 6
        state = part.actor.ask("state")[0]
        assert (state["predecessors"] == 0).sum() == 2, "two whole games, and no part of another"
        assert len(state["kinds"]) == 2 * 10


def test_new_states_enter_with_the_largest_priority_that_any_shard_knows():
    parts = handles(config_for(2))

    async def run() -> None:
        shards = Shards(config_for(2), parts)
        await shards.add(delivery(game(0, 2)), "a")
        await shards.add(delivery(game(1, 2)), "b")
        await shards.update_priorities(np.array([stored(parts)[0, 0]["index"]]), np.array([9.0]))
        await shards.add(delivery(game(2, 1)), "b")

    asyncio.run(run())
    held = {name: entry["priority"] for name, entry in stored(parts).items()}
    assert held[2, 0] == held[0, 0] == pytest.approx((9.0 + 1e-6) ** 0.6)
    assert held[1, 0] == 1.0


def test_what_a_repeated_search_found_reaches_the_states_that_it_was_asked_of():
    parts = handles(config_for(3))

    async def run() -> tuple[dict[tuple[int, int], float], list[int]]:
        shards = await filled(parts)
        asked: list[int] = []
        values: dict[tuple[int, int], float] = {}
        for turn in range(60):
            request = received_request(await shards.reanalyze_request(4))
            names = [(int(g), int(s)) for g, s, *_ in request.observations]
            values |= {name: float(100 * name[0] + name[1] + 1) for name in names}
            asked += request.indices.tolist()
            found = np.array([values[name] for name in names], np.float32)
            await shards.refresh(ReanalyzeResult(request.indices, np.tile(np.float32([0, 1]), (4, 1)), found, turn + 1))
        return values, asked

    values, asked = asyncio.run(run())
    held = stored(parts)
    assert {index % 3 for index in asked} == {0, 1, 2}, "all shards were asked"
    assert {name: held[name]["value"] for name in values} == values
    assert all(entry["value"] == 0 for name, entry in held.items() if name not in values)


def test_a_snapshot_of_shards_restores_each_of_them(tmp_path):
    before, after = handles(config_for(2)), handles(config_for(2))

    async def run() -> list[list[Batch]]:
        shards = await filled(before, random_errors())
        write_arrays(tmp_path / "buffer.npz", await shards.state())
        with np.load(tmp_path / "buffer.npz", allow_pickle=False) as file:
            state = {name: file[name] for name in file.files}
        again = Shards(config_for(2), after)
        await again.load(state)
        again._rng = np.random.default_rng(3)
        shards._rng = np.random.default_rng(3)
        assert replace(again.status(), add_seconds=()) == replace(shards.status(), add_seconds=(), trajectories_added=0)
        return [received_batches((await each.sample(2, None, 1))[0]) for each in (shards, again)]

    one, other = asyncio.run(run())
    assert stored(before) == stored(after)
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first.indices, second.indices)
        np.testing.assert_array_equal(first.importance_weights, second.importance_weights)


def test_what_happened_in_shards_is_told_once():
    parts = handles(config_for(2))

    async def run():
        shards = await filled(parts)
        piece = game(7, 2, ended=False)
        await shards.add(delivery(replace(piece, rewards=np.full(2, np.nan, np.float32))), "bad")
        for _ in range(2):
            await shards.add(delivery(piece), "twice")
        drawn = (await shards.sample(3, 40, 1))[0]
        assert len(received_batches(drawn)) == 3
        return shards.status(), shards.status()

    first, second = asyncio.run(run())
    assert (first.num_steps, first.env_steps) == (56, 56)
    counts = [(s.trajectories_added, s.trajectories_left_out, s.trajectories_refused) for s in (first, second)]
    assert counts == [(7, 1, 1), (0, 0, 0)]
    assert len(first.add_seconds) == 9
    assert len(first.sample_seconds) == 6, "three batches, of two parts each"
    assert (second.add_seconds, second.sample_seconds) == ((), ())
    assert first.weights_lag == second.weights_lag == 40.0


def test_capacities_are_of_all_shards_together():
    config = config_for(4, replay={"capacity_steps": 1000})
    buffers = [build.make_replay_buffer(config, number) for number in range(4)]
    assert [buffer.capacity for buffer in buffers] == [250] * 4
    assert len({buffer.state_dict()["rng"].tobytes() for buffer in buffers}) == 4


def test_weights_are_put_once_for_all_shards():
    parts = handles(config_for(3))
    put: list[Any] = []

    async def run() -> None:
        replay_shards.ray.put = lambda weights: put.append(weights) or Ref(weights)
        await Shards(config_for(3), parts).set_weights({"w": np.zeros(2)})

    asyncio.run(run())
    assert len(put) == 1
    assert [part.asked for part in parts] == [["set_weights"]] * 3


@pytest.mark.parametrize("loss", [RayActorError(), OutOfMemoryError("Ray killed it for want of memory")])
def test_the_actor_ends_where_a_shard_was_lost_so_that_all_start_anew_from_one_checkpoint(monkeypatch, loss):
    class Exited(BaseException):
        pass

    def leave(code: int) -> None:
        raise Exited(code)

    monkeypatch.setattr(replay_shards.os, "_exit", leave)
    parts = handles(config_for(2))

    async def run() -> None:
        shards = await filled(parts)
        parts[1].ask.remote = lambda *_: (Ref(loss), Ref(loss))
        await shards.sample(1, None, 1)

    with pytest.raises(Exited):
        asyncio.run(run())


def test_the_pace_of_shards_is_one(monkeypatch):
    config = config_for(2, train={"batch_size": 16, "replay_ratio": 32.0})
    monkeypatch.setattr(replay_buffer, "make_store", lambda *_: Shards(config, handles(config)))

    async def run():
        actor = ReplayBufferActor(config, num_actors=1)
        await actor.start(None)
        adding = [asyncio.create_task(actor.add(delivery(game(n, length)), str(n))) for n, length in ((0, 1), (1, 2))]
        await asyncio.gather(*adding)
        counts = [len(received_batches(await actor.sample(4))), len(received_batches(await actor.sample(4)))]
        waiting = asyncio.create_task(actor.sample(4))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await actor.close_intake()
        return [*counts, len(await waiting)], await actor.state(), await actor.status()

    counts, state, status = asyncio.run(run())
    assert counts == [4, 2, 0], "three env steps are six batches, as in one buffer"
    assert state["limiter"]["inserted"] == status.env_steps == 3
    assert status.held_ratios["train"] == 32.0
