"""The supervisor against actors that die when they are told to, on a clock that is set by hand."""

from types import SimpleNamespace

import pytest
from ray.exceptions import RayActorError

from muzero_ray.app import supervisor
from muzero_ray.app.errors import RunFailed
from muzero_ray.app.supervisor import Role, Supervisor


class FakeRay:
    """References are objects; what they come to is told by the test."""

    def __init__(self) -> None:
        self.came: dict[object, object] = {}
        self.ObjectRef = dict  # only ever named in annotations

    def wait(self, refs, num_returns, timeout):
        return [ref for ref in refs if ref in self.came], []

    def get(self, ref):
        if isinstance(self.came[ref], Exception):
            raise self.came[ref]
        return self.came[ref]


class FakeActor:
    """Remembers the references of its calls, by method."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def __getattr__(self, method):
        return SimpleNamespace(remote=lambda *args: self._call(method))

    def _call(self, method):
        self.calls.append((method, object()))
        return self.calls[-1][1]


class Scene:
    """A supervisor, one actor that is always asked to play, and the clock."""

    def __init__(self, monkeypatch, **options) -> None:
        self.now = 1000.0
        self.ray = FakeRay()
        monkeypatch.setattr(supervisor, "ray", self.ray)
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=lambda seconds: None)
        monkeypatch.setattr(supervisor, "time", clock)
        self.told: list[str] = []
        self.supervisor = Supervisor(stall_seconds=1e9, on_event=self.told.append, **options)
        self.actor = FakeActor()
        self.role = Role("self_play_0", self.actor, up_since=self.now)
        self.supervisor.submit(self.role, "play", then=lambda value: None)

    def newest(self, method):
        return [ref for name, ref in self.actor.calls if name == method][-1]

    def comes(self, method, value):
        self.ray.came[self.newest(method)] = value
        self.supervisor.step(0.0)

    def passes(self, seconds):
        self.now += seconds
        self.supervisor.step(0.0)

    def dies(self):
        self.comes("play", RayActorError())

    def comes_back(self):
        """Answers as soon as it is asked; the seconds until it is given work again."""
        began, calls = self.now, self._plays()
        self.passes(0.5)
        self.comes("__ray_ready__", None)
        while self._plays() == calls:
            self.passes(0.5)
        return self.now - began

    def _plays(self):
        return sum(name == "play" for name, _ in self.actor.calls)


def test_an_actor_that_works_between_its_crashes_is_not_in_a_crash_loop(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=2, forgive_seconds=10.0)
    for _ in range(20):
        scene.passes(10.0)
        scene.dies()
        scene.comes_back()
    assert scene.role.crashes == 20, "all of them are listed"
    assert scene.role.in_a_row == 1
    assert len([line for line in scene.told if "died and is restarted" in line]) == 20


def test_an_actor_that_crashes_again_and_again_without_working_long_ends_the_run(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=2, forgive_seconds=10.0)
    for _ in range(2):
        scene.passes(9.0)
        scene.dies()
        scene.comes_back()
    scene.passes(9.0)
    with pytest.raises(RunFailed, match="self_play_0 failed in play"):
        scene.dies()


def test_time_that_an_actor_needs_to_come_back_does_not_count_as_work(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=1, forgive_seconds=10.0)
    scene.dies()
    scene.passes(60.0)
    scene.comes("__ray_ready__", None)
    scene.passes(1.0)
    with pytest.raises(RunFailed):
        scene.dies()


def test_work_is_given_later_after_each_crash_in_a_row(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=20, forgive_seconds=1000.0)
    waits = []
    for _ in range(9):
        scene.dies()
        waits.append(scene.comes_back())
    # Half a second until it is asked whether it is there; then nothing, 1, 2, 4 ... seconds, 30 at most.
    assert waits == [0.5, 1.5, 2.5, 4.5, 8.5, 16.5, 30.5, 30.5, 30.5]


def test_every_process_that_may_have_started_is_counted_those_that_died_as_they_started_too(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=5, forgive_seconds=10.0)
    assert scene.role.starts == 1
    scene.dies()
    scene.passes(0.5)
    for _ in range(2):  # killed before they answered
        scene.comes("__ray_ready__", RayActorError())
        scene.passes(0.5)
    scene.comes("__ray_ready__", None)
    assert scene.role.crashes == 1
    assert scene.role.starts == 4, "a restored storage must give the next one a number that no earlier one had"
