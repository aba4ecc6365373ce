"""How much self-play the head of a distributed run asks for, with actors that answer when the test says so."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from reference.tiny_runs import tiny_config

from muzero_ray.app import distributed_run
from muzero_ray.app.play_flow import PlayFlow
from muzero_ray.app.supervisor import Role
from muzero_ray.core.reports import BufferStatus
from muzero_ray.core.types import SelfPlayReport

DELIVERY = 4 * 8  # games per actor times moves of a segment, in tiny_config


class ScriptedSupervisor:
    """Keeps the calls of the head until the test answers them."""

    def __init__(self, *_, **__):
        self.open = []

    def begin(self, roles):
        for role in roles:
            role.down = False
            role.restore()

    def locate(self, role):
        pass

    def answered(self, role, process):
        pass

    def submit(self, role, method, *args, then, **_):
        self.open.append((role, method, then))

    def count(self, method, role=None):
        return sum(m == method and role in (None, r) for r, m, _ in self.open)

    def answer(self, method, *answer):
        """Answers the call of a method that has waited longest."""
        call = next(call for call in self.open if call[1] == method)
        self.open.remove(call)
        call[2](*answer)


@pytest.fixture
def head(monkeypatch):
    """A head with a budget of two deliveries, one of which may be under way; and its supervisor."""
    names = ("buffer", "trainer", "storage", "evaluator", "self-play")
    roles = [Role(name, None) for name in names]
    actors = SimpleNamespace(
        **dict(zip(names[:4], roles, strict=False)), self_play=[roles[4]], reanalyze=None, reserve=None, roles=roles
    )
    monkeypatch.setattr(distributed_run, "launch", lambda *_: actors)
    monkeypatch.setattr(distributed_run, "Supervisor", ScriptedSupervisor)
    config = tiny_config(train={"env_steps": 2 * DELIVERY}, replay={"min_steps": 8}, system={"max_pending": 1})
    run = distributed_run.DistributedRun(config, Mock(), Mock(num_actors=1), Mock(), lambda: None, None)
    run.script = run._supervisor
    return run


def deliver(head, env_steps_after):
    head.script.answer("play", ["reference"], SelfPlayReport(DELIVERY, 0, 0))
    head.script.answer("add", BufferStatus(env_steps_after, env_steps_after, 0, {}))


def test_play_ends_and_intake_closes_with_the_budget(head):
    deliver(head, DELIVERY)
    assert head.script.count("play") == 1
    assert head.script.count("close_intake") == 0
    deliver(head, 2 * DELIVERY)
    assert head.script.count("play") == 0
    assert head.script.count("close_intake") == 1


def test_what_the_buffer_leaves_out_is_played_anew(head):
    deliver(head, DELIVERY)
    deliver(head, DELIVERY)  # a piece came again, as after a crash, and was left out
    assert head.script.count("play") == 1
    assert head.script.count("close_intake") == 0
    deliver(head, 2 * DELIVERY)
    assert head.script.count("close_intake") == 1


def test_a_buffer_that_goes_back_to_nothing_is_filled_again(head):
    deliver(head, DELIVERY)
    deliver(head, 2 * DELIVERY)
    head.script.answer("close_intake", None)
    head._actors.buffer.restore()
    assert head.env_steps == 0
    assert head.script.count("play") == 1
    deliver(head, DELIVERY)
    deliver(head, 2 * DELIVERY)
    assert head.script.count("close_intake") == 1


def test_in_lockstep_those_planned_begin_together_and_those_without_a_place_are_not_waited_for():
    config = tiny_config(train={"env_steps": 100 * DELIVERY}, system={"lockstep": "on"})
    roles = [Role(f"self_play_{number}", None, down=True) for number in range(3)]
    actors = SimpleNamespace(self_play=roles, buffer=Role("replay_buffer", None))
    supervisor = ScriptedSupervisor()
    PlayFlow(config, actors, supervisor, Mock(), planned_actors=2, env_steps=0)
    playing = []
    for role in roles:
        role.down = False
        role.restore()
        playing.append(supervisor.count("play"))
    assert playing == [0, 2, 3]
    for role in roles[:2]:
        supervisor.answer("play", role.name, SelfPlayReport(DELIVERY, 0, 0))
    assert supervisor.count("add_round") == 0
    supervisor.answer("play", roles[2].name, SelfPlayReport(DELIVERY, 0, 0))
    assert supervisor.count("add_round") == 1
    supervisor.answer("add_round", "weights", BufferStatus(3 * DELIVERY, 3 * DELIVERY, 0, {}))
    assert supervisor.count("play") == 3
