"""The supervisor against actors that die when they are told to, on a clock that is set by hand."""

from types import SimpleNamespace

import pytest
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError, RayTaskError

from muzero_ray.app import supervisor
from muzero_ray.app.errors import RunFailed
from muzero_ray.app.supervisor import Role, Supervisor


class FakeRay:
    """References are objects; what they come to is told by the test."""

    def __init__(self) -> None:
        self.came: dict[object, object] = {}
        self.ObjectRef = dict  # only ever named in annotations
        self.alive = ["here"]

    def nodes(self):
        return [{"NodeID": name, "Alive": True} for name in self.alive]

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


def test_an_actor_that_is_left_ends_nothing_by_its_other_calls(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=0)
    scene.supervisor.submit(scene.role, "measure", then=lambda value: None, resend=False, endless=True)
    with pytest.raises(RunFailed, match="self_play_0 failed in play"):
        scene.dies()
    scene.supervisor.leave([scene.role])
    scene.comes("measure", RayActorError())
    assert scene.supervisor.count("measure") == 0


def test_an_actor_that_is_left_while_it_is_restarted_is_not_waited_for(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=1)
    scene.dies()
    scene.passes(0.5)
    scene.supervisor.leave([scene.role])
    scene.passes(1000.0)
    scene.comes("__ray_ready__", RayActorError())
    scene.passes(1000.0)
    assert [name for name, _ in scene.actor.calls] == ["play", "__ray_ready__"]


def test_an_actor_that_is_left_while_it_is_restarted_is_given_no_work(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=1)
    scene.role.restore = lambda: scene.supervisor.submit(scene.role, "start", then=lambda value: None)
    scene.dies()
    scene.passes(0.5)
    scene.supervisor.leave([scene.role])
    scene.comes("__ray_ready__", None)
    assert [name for name, _ in scene.actor.calls] == ["play", "__ray_ready__"]


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


def test_a_death_between_two_calls_is_told_and_counted_once(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=5)
    saw = scene.supervisor.answered
    for process in (1, 1, 2, 1, 2, 0):  # an answer of the old one comes late, and one that does not say
        saw(scene.role, process)
    assert scene.told == ["self_play_0 died between two calls and was restarted (crash 1)"]
    assert (scene.role.crashes, scene.role.starts) == (1, 2)
    scene.dies()  # of this call it is not known which process it was sent to
    assert scene.role.crashes == 1
    scene.dies()  # it was sent again to the new one: seen by its call
    scene.comes_back()
    saw(scene.role, 3)
    assert (scene.role.crashes, scene.role.starts) == (2, 4)  # of two crashes in a row, one more may have gone unseen
    saw(scene.role, 4)
    assert (scene.role.crashes, scene.role.starts) == (3, 5)
    assert scene.told[-1] == "self_play_0 died between two calls and was restarted (crash 3)"


def test_a_death_is_counted_once_where_the_new_process_answers_before_it_is_said_to_be_back(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=5)
    scene.supervisor.answered(scene.role, 1)
    scene.dies()
    scene.supervisor.answered(scene.role, 2)
    scene.comes_back()
    scene.supervisor.answered(scene.role, 2)
    assert scene.role.crashes == 1
    scene.supervisor.answered(scene.role, 3)
    assert scene.role.crashes == 2


def test_a_death_is_counted_once_where_the_new_process_answers_before_a_call_of_the_old_one_has_failed(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=5)
    lost: list[str] = []
    call = {"then": lambda value: None, "resend": False, "lost": lambda: lost.append("measure")}
    scene.supervisor.submit(scene.role, "measure", **call)
    for process in (1, 2):
        scene.supervisor.answered(scene.role, process)
    scene.comes("measure", RayActorError())
    assert scene.told == ["self_play_0 died between two calls and was restarted (crash 1)"]
    assert lost == ["measure"]
    assert not scene.role.down
    scene.supervisor.submit(scene.role, "measure", **call)
    scene.comes("measure", RayActorError())  # of the new process
    assert scene.role.crashes == 2
    scene.passes(0.5)
    scene.comes("__ray_ready__", None)
    scene.passes(60.0)
    for process in (3, 4):
        scene.supervisor.answered(scene.role, process)
    assert scene.role.crashes == 3


def test_a_death_between_two_calls_is_seen_after_a_call_failed_whose_process_lived(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=5)
    scene.supervisor.answered(scene.role, 1)
    scene.dies()  # so it seemed: it could not be reached for a while
    scene.comes_back()
    scene.supervisor.answered(scene.role, 1)
    scene.supervisor.answered(scene.role, 2)
    assert scene.role.crashes == 2


def test_deaths_between_calls_are_crashes_in_a_row_and_tell_where_the_actor_is_now(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=1, forgive_seconds=100.0)
    scene.supervisor.locate(scene.role)
    scene.comes("__ray_call__", "here")
    for process in (1, 2):
        scene.supervisor.answered(scene.role, process)
    scene.comes("__ray_call__", "there")
    assert (scene.role.node, scene.role.in_a_row) == ("there", 1)
    scene.passes(101.0)
    scene.supervisor.answered(scene.role, 3)  # it had worked for long enough
    with pytest.raises(RunFailed, match="self_play_0 failed in a call: RuntimeError: its process died between two"):
        scene.supervisor.answered(scene.role, 4)


def test_an_actor_whose_node_is_lost_has_not_crashed_in_a_row(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=1, forgive_seconds=1000.0)
    scene.supervisor.locate(scene.role)
    scene.comes("__ray_call__", "here")
    for there in ("there", "elsewhere", "here"):
        scene.dies()
        scene.ray.alive = [there]
        scene.passes(500.0)  # longer than a process may take that has only crashed
        scene.comes("__ray_ready__", RayActorError())
        scene.passes(4.5)  # it is asked less often by now
        scene.comes_back()
        scene.comes("__ray_call__", there)
        assert (scene.role.node, scene.role.in_a_row) == (there, 0)
    assert "self_play_0 is back on another node: its own is gone" in scene.told
    assert scene.role.crashes == 3, "they are listed all the same"
    scene.dies()
    scene.comes_back()
    assert scene.role.in_a_row == 1, "its node is there: this was a crash"


def test_an_actor_that_the_run_needs_is_waited_for_longer_if_its_node_is_lost_but_not_for_ever(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=1)
    scene.supervisor.locate(scene.role)
    scene.comes("__ray_call__", "here")
    scene.dies()
    scene.ray.alive = []
    for seconds in (0.5, 800.0):
        scene.passes(seconds)
        scene.comes("__ray_ready__", RayActorError())
    scene.passes(101.0)
    with pytest.raises(RunFailed, match="its restart"):
        scene.comes("__ray_ready__", RayActorError())


class Team(Scene):
    """Two actors of which one is enough, each always asked to play once it is there."""

    def __init__(self, monkeypatch, **options) -> None:
        super().__init__(monkeypatch, **options)
        self.supervisor.forget("play")
        self.roles = [Role(f"self_play_{number}", FakeActor(), up_since=self.now) for number in (1, 2)]
        self.lost = 0
        for role in self.roles:
            role.restore = lambda role=role: self.plays(role)
        self.supervisor.begin(self.roles)
        self.passes(0.5)

    def plays(self, role) -> None:
        self.supervisor.submit(role, "play", then=lambda value: None, resend=False, lost=self.loses)

    def loses(self) -> None:
        self.lost += 1

    def of(self, role):
        self.actor = role.handle
        return self


def test_actors_that_may_be_missing_begin_when_there_is_a_place_for_them_and_nobody_says_they_are_back(monkeypatch):
    team = Team(monkeypatch, max_restarts=1)
    first, second = team.roles
    assert first.down
    team.of(first).comes("__ray_ready__", True)
    assert not first.down
    assert team.supervisor.count("play", first) == 1
    team.passes(1e6)
    assert second.down, "it waits as long as it takes"
    assert team.supervisor.count("play", second) == 0
    team.of(second).comes("__ray_ready__", True)
    assert team.supervisor.count("play", second) == 1
    assert team.told == []


def test_what_an_actor_was_playing_is_told_as_lost_and_not_kept_for_its_return(monkeypatch):
    team = Team(monkeypatch, max_restarts=1)
    [first, _] = team.roles
    team.of(first).comes("__ray_ready__", True)
    team.of(first).dies()
    assert (team.lost, team.supervisor.count("play")) == (1, 0)
    team.passes(3600.0)
    team.of(first).comes("__ray_ready__", RayActorError())
    team.passes(5.0)
    team.of(first).comes("__ray_ready__", True)
    assert team.supervisor.count("play", first) == 1
    assert team.told[-1] == "self_play_1 is back"


def test_a_delivery_whose_content_was_lost_with_its_node_is_given_up(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=1)
    lost: list[str] = []
    for method, resend in (("add", False), ("state", True)):
        scene.supervisor.submit(
            *(scene.role, method), then=lambda value: None, resend=resend, lost=lambda: lost.append("add")
        )
        scene.comes(method, ObjectLostError("ab" * 28, None, ""))
    scene.passes(0.5)
    assert lost == ["add"]
    assert (scene.supervisor.count("add"), scene.supervisor.count("state")) == (0, 1)


def test_a_run_in_which_no_actor_has_a_place_says_so_and_ends(monkeypatch):
    team = Team(monkeypatch, max_restarts=1)
    team.supervisor._stall_seconds = 100.0
    team.passes(101.0)
    team.passes(50.0)
    assert team.told == ["neither self_play_1 nor another has had a place for 102 s: is there a CPU for it?"]
    with pytest.raises(RunFailed, match="self_play_1 failed in its start"):
        team.passes(50.0)


def test_a_call_that_another_actor_hinders_is_sent_again_for_as_long_as_that_one_may_take_to_come_back(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=1)
    hindered = RayTaskError("work", "traceback", RayActorError()).as_instanceof_cause()
    for _ in range(8):
        scene.comes("play", hindered)
        scene.passes(110.0)
        assert scene.supervisor.count("play") == 1
    scene.passes(110.0)
    with pytest.raises(RunFailed, match="self_play_0 failed in play") as failed:
        scene.comes("play", hindered)
    assert not failed.value.gone, "it answers, and can be asked for its state"
    assert scene.role.crashes == 0


@pytest.mark.parametrize("of_another", [False, True])
def test_a_process_that_was_killed_for_want_of_memory_is_one_that_died(monkeypatch, of_another):
    scene = Scene(monkeypatch, max_restarts=1)
    error = OutOfMemoryError("Ray killed it for want of memory")
    scene.comes("play", RayTaskError("work", "traceback", error).as_instanceof_cause() if of_another else error)
    scene.passes(0.5)
    assert scene.role.crashes == int(not of_another)
    assert scene.supervisor.count("play") == 1


def test_asking_whether_an_actor_of_a_lost_node_is_back_starts_no_process(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=1)
    scene.supervisor.locate(scene.role)
    scene.comes("__ray_call__", "here")
    scene.dies()
    starts = scene.role.starts
    scene.ray.alive = []
    for _ in range(10):
        scene.passes(10.0)
        scene.comes("__ray_ready__", RayActorError())
    assert scene.role.starts == starts


def test_hindrances_of_before_and_after_a_crash_do_not_add_up(monkeypatch):
    scene = Scene(monkeypatch, max_restarts=1)
    hindered = RayTaskError("work", "traceback", RayActorError()).as_instanceof_cause()
    scene.comes("play", hindered)
    scene.passes(1000.0)
    scene.dies()
    scene.comes_back()
    scene.comes("play", hindered)
    scene.passes(0.5)
    assert scene.supervisor.count("play") == 1
