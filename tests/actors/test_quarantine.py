"""Trajectories that cannot be stored are set aside, told of, and end a run only when there are too many."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from actors.test_replay_buffer import config_for, game

from muzero_ray.actors.logs import Logs
from muzero_ray.actors.quarantine import Quarantine
from muzero_ray.actors.replay_buffer import ReplayBufferActor

NAN = replace(game(3), root_values=np.array([7.0, np.nan, 7.0], np.float32), game_id=17, seed=123, first_step=0)
SHORT = replace(game(3), rewards=np.zeros(2, np.float32), game_id=18)


@pytest.fixture
def logs(tmp_path) -> Logs:
    (tmp_path / "logs").mkdir()
    return Logs(tmp_path / "logs")


def test_poisoned_trajectories_neither_kill_the_buffer_nor_reach_it_and_what_comes_with_them_is_stored(logs):
    async def run():
        actor = ReplayBufferActor(config_for(), num_actors=1, logs=logs)
        await actor.start(None)
        adding = asyncio.create_task(actor.add([NAN, game(5), SHORT]))
        await asyncio.sleep(0)
        batches = await actor.sample(1)
        await actor.close_intake()
        return batches, await adding

    batches, status = asyncio.run(run())
    assert (status.env_steps, status.trajectories_added) == (5, 1)
    assert (status.trajectories_refused, status.trajectories_left_out) == (2, 0)
    assert np.isfinite(batches[0].target_values).all()


def test_what_was_set_aside_can_be_looked_at_with_its_seed_and_the_reason(logs, tmp_path):
    quarantine = Quarantine(logs)
    quarantine.put(NAN, ValueError("root_values must be finite"))
    with np.load(tmp_path / "quarantine" / "game_17_step_0.npz", allow_pickle=False) as file:
        assert str(file["reason"]) == "root_values must be finite"
        assert (int(file["seed"]), int(file["game_id"])) == (123, 17)
        np.testing.assert_array_equal(file["root_values"], NAN.root_values)
        np.testing.assert_array_equal(file["observations"], NAN.observations)


def test_few_files_are_kept_and_too_many_trajectories_end_the_run_with_the_reason(logs, tmp_path):
    quarantine = Quarantine(logs)
    for number in range(100):
        quarantine.put(replace(NAN, game_id=number), ValueError("not finite"))
    assert len(list((tmp_path / "quarantine").iterdir())) == 20
    with pytest.raises(ValueError, match=r"101 trajectories could not be stored, the last one because: not finite"):
        quarantine.put(NAN, ValueError("not finite"))


def test_where_nothing_can_be_written_they_are_counted_all_the_same(logs, tmp_path):
    (tmp_path / "quarantine").write_text("a file where the folder would be")
    for quarantine in (Quarantine(logs), Quarantine(None)):
        quarantine.put(NAN, ValueError("not finite"))
        assert quarantine.count == 1
