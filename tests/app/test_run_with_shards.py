"""Whole runs whose replay buffer is divided among processes, and what happens when one of them dies."""

import pytest
from app.test_distributed_run import kill_once_trained, start

from muzero_ray.app.saving.checkpoint_reader import newest_checkpoint
from muzero_ray.replay.shards import parts_of

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

SHARDS = {"shards": 2, "prioritized": True}


def test_a_run_with_shards_holds_its_ratio_and_is_resumed_with_all_of_them(tmp_path):
    code, folder = start(tmp_path, num_actors=2, replay=SHARDS)
    assert code == 0
    before = newest_checkpoint(folder)
    consumed = before.manifest["limiter"]["consumed"]["train"]
    due = (before.env_steps - 64) * 2.0
    assert due - 16 < consumed <= due
    assert before.training_steps * 16 == consumed
    buffer = before.buffer_state()
    assert parts_of(buffer) == 2
    held = [int(buffer[f"shard{number}.total_steps"]) for number in range(2)]
    assert min(held) > 0, "each holds the games of one actor"
    assert sum(held) >= before.env_steps
    code, _ = start(tmp_path, resume=before, folder=folder, num_actors=2, replay=SHARDS, train={"env_steps": 640})
    assert code == 0
    assert newest_checkpoint(folder).env_steps >= 640


def test_a_lost_shard_continues_from_its_part_of_the_checkpoint(tmp_path, capsys):
    killer = kill_once_trained(tmp_path, "ShardActor")
    code, folder = start(
        tmp_path, num_actors=1, replay=SHARDS, train={"env_steps": 3200}, system={"checkpoint_seconds": 1.0}
    )
    killer.join(timeout=60)
    assert killer.killed
    told = capsys.readouterr().err
    assert code == 0, told
    assert "replay_buffer died and is restarted" in told
    assert newest_checkpoint(folder).env_steps >= 3200
