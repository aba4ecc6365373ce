"""Memory that runs short: when the buffer is to become smaller, who is named, and that a run goes on."""

import re

import pytest
from reference.tiny_runs import tiny_config

from muzero_ray.actors.memory import Memory
from muzero_ray.app import config_io, memory_watch, run
from muzero_ray.app.memory_watch import Decision, MemoryWatch
from muzero_ray.app.saving.checkpoint_reader import newest_checkpoint
from muzero_ray.app.saving.run_folder import RunFolder

NOTHING = Decision()
HALVE = Decision(halve_buffer=True)


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(clock):
    return MemoryWatch(0.9, clock)


def full(own, node="a") -> Memory:
    return Memory(own=own, used=95, limit=100, node=node)


def test_nothing_is_done_while_there_is_room(watch):
    assert watch.told("replay_buffer", Memory(80, 90, 100, "a"), buffer_bytes=80) == NOTHING
    assert watch.fullest == 0.9


def test_buffer_is_halved_and_then_given_time_for_that_to_show(watch, clock):
    assert watch.told("replay_buffer", full(60), buffer_bytes=50) == HALVE
    watch.told("trainer", full(70))
    clock.seconds += 29
    assert watch.told("replay_buffer", full(60), buffer_bytes=50) == NOTHING
    clock.seconds += 2
    assert watch.told("replay_buffer", full(60), buffer_bytes=25) == HALVE


def test_buffer_that_holds_little_is_not_halved(watch):
    assert watch.told("replay_buffer", full(8), buffer_bytes=9).halve_buffer is False
    assert watch.told("replay_buffer", full(8), buffer_bytes=10) == HALVE


def test_buffer_that_cannot_become_smaller_is_not_asked_again(watch, clock):
    assert watch.told("replay_buffer", full(60), buffer_bytes=50) == HALVE
    watch.buffer_is_smallest()
    clock.seconds += 1000
    decision = watch.told("replay_buffer", full(60), buffer_bytes=50)
    assert not decision.halve_buffer
    assert "use a smaller replay.capacity_mb" in decision.warning
    watch.buffer_restored()
    clock.seconds += 1000
    assert watch.told("replay_buffer", full(60), buffer_bytes=50) == HALVE, "it is another one, as large as at first"


def test_whoever_holds_most_on_a_full_machine_is_named_once_with_what_to_change(watch):
    for name, own in (("self_play_0", 20), ("self_play_1", 10)):
        assert watch.told(name, full(own)) == NOTHING, "others may hold more, who have not told yet"
    assert watch.told("self_play_1", full(10)) == NOTHING
    assert watch.told("self_play_0", full(20)).warning != ""
    assert watch.told("self_play_0", full(21)) == NOTHING
    gigabytes = Memory(own=6_000_000_000, used=9_400_000_000, limit=10_000_000_000, node="b")
    watch.told("trainer", gigabytes)
    assert watch.told("trainer", gigabytes).warning == (
        "b has 94% of its 10.0 GB of memory in use, of which trainer holds most, 6.0 GB: "
        "use a smaller train.batch_size or network"
    )
    assert "use fewer self-play actors" in watch.told("self_play_1", full(30)).warning


def test_buffer_is_not_halved_for_want_of_memory_on_another_machine(watch):
    assert watch.told("self_play_0", full(20, "b")).halve_buffer is False
    assert watch.told("replay_buffer", Memory(50, 60, 100, "a"), buffer_bytes=50) == NOTHING
    assert watch.fullest == 0.95


def test_memory_is_measured_once_in_a_while(watch, clock):
    assert watch.due()
    assert not watch.due()
    clock.seconds += 5
    assert watch.due()
    assert not watch.due()


def run_that_is_short_of_memory(tmp_path, monkeypatch, env_steps=640, **changes):
    """Runs to the end with less memory than anybody has; returns the run's folder."""
    monkeypatch.setattr(memory_watch, "_SHARE_WORTH_SHEDDING", 0.0)
    monkeypatch.setattr(memory_watch, "_MEASURE_SECONDS", 0.2)
    monkeypatch.setattr(memory_watch, "_QUIET_SECONDS", 1000.0)
    config = tiny_config(
        results=str(tmp_path),
        replay={"capacity_steps": 400, **changes.pop("replay", {})},
        train={"env_steps": env_steps},
        system={"memory_fraction": 1e-9},
        **changes,
    )
    folder = RunFolder.create(config.results, config.game)
    config_io.write_config(folder.config, config)
    assert run.train(config, folder, None) == 0
    return folder


def assert_went_on_with_half_of_its_buffer(folder, told) -> None:
    assert re.search(r"memory is short .* the replay buffer gives half of its room back", told)
    checkpoint = newest_checkpoint(folder)
    assert checkpoint.env_steps >= 640
    assert 100 < len(checkpoint.buffer_state()["rewards"]) <= 200
    assert checkpoint.training_steps * 16 == checkpoint.manifest["limiter"]["consumed"]["train"]


def test_run_whose_memory_is_short_goes_on_with_half_of_its_buffer(tmp_path, monkeypatch, capsys):
    folder = run_that_is_short_of_memory(tmp_path, monkeypatch)
    assert_went_on_with_half_of_its_buffer(folder, capsys.readouterr().err)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("shards", [1, 2])
def test_actors_say_what_they_hold_and_the_buffer_gives_way(tmp_path, monkeypatch, capsys, shards):
    replay = {"shards": shards}
    # Long enough for the trainer, which is busy, to tell twice.
    folder = run_that_is_short_of_memory(tmp_path, monkeypatch, env_steps=2560, num_actors=1, replay=replay)
    told = capsys.readouterr().err
    assert "of which trainer holds most" in told, "it alone has imported torch"
    assert re.search(r"memory is short .* the replay buffer gives half of its room back", told)
    if shards == 1:
        assert_went_on_with_half_of_its_buffer(folder, told)
