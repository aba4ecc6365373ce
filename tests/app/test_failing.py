"""What a run saves when an actor fails: everything that can still be had, and no waiting for what cannot."""

from types import SimpleNamespace

import numpy as np
import pytest
from reference.tiny_runs import tiny_config

from muzero_ray.app.errors import RunFailed
from muzero_ray.app.reporting.curve import Curve
from muzero_ray.app.saving.checkpoint_reader import newest_checkpoint
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.app.saving.snapshot import Snapshot
from muzero_ray.app.session import Session
from muzero_ray.app.stopping import StopRequest


class FailingRun:
    """Fails at its first step; hands out a snapshot at once, and remembers whether it was asked for one."""

    env_steps, training_steps, finished = 200, 30, False

    def __init__(self, error: RunFailed) -> None:
        self.error = error
        self.asked = False

    def step(self) -> None:
        raise self.error

    def pause(self) -> None:
        pass

    def take_snapshot(self, then) -> None:
        self.asked = True
        then(Snapshot(200, 30, b"", {"w": np.ones(1)}, {}, {"inserted": 200}))


@pytest.mark.parametrize("role", ["trainer", "replay_buffer", "shared_storage", "self_play_0"])
@pytest.mark.parametrize("gone", [False, True])
def test_a_failed_run_is_saved_unless_a_holder_of_its_state_is_gone(tmp_path, role, gone):
    config = tiny_config(results=str(tmp_path))
    folder = RunFolder.create(config.results, config.game)
    active = FailingRun(RunFailed(role, "train", ValueError("the batch was bad"), gone=gone))
    told = []
    monitor = SimpleNamespace(seconds=1.0, event=lambda text: None, ended=lambda *how: told.append(how))
    session = Session(config, folder, active, monitor, Curve(folder.curve), StopRequest())
    assert session.run() == 1
    assert active.asked == (role == "self_play_0" or not gone)
    if active.asked:
        assert newest_checkpoint(folder).training_steps == 30
    assert any("the batch was bad" in line for line in session.outcome)
    assert told == [("failed", f"{role} failed in train: ValueError: the batch was bad")]
