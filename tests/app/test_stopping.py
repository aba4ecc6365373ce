"""Ctrl-C once, twice and three times, and SIGTERM: what a run still does, what it says, and what is kept."""

import json
from signal import SIGINT, SIGTERM
from types import SimpleNamespace

import numpy as np
import pytest
from reference.tiny_runs import tiny_config

from muzero_ray.app import stopping
from muzero_ray.app.reporting.curve import Curve, EvaluationPoint
from muzero_ray.app.saving.checkpoint import list_checkpoints
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.app.saving.snapshot import Snapshot
from muzero_ray.app.session import Session
from muzero_ray.app.stopping import StopRequest, Wish

ONCE = "stopping: a last checkpoint, then the final evaluation; Ctrl-C again leaves without that"
TWICE = "stopping: a last checkpoint, and no final evaluation; Ctrl-C once more leaves at once, without both"
TWICE_SAVED = "leaving without the final evaluation; the last checkpoint is written"
FINAL = "final evaluation over 3 episodes (Ctrl-C leaves without it)"


class ScriptedRun:
    """A run to which signals come while it does certain things.

    Over Ray, states and evaluations come during a later step; in one process they are there at once.

    Args:
        stop: what the signals go to.
        during: signals that come during a "step" of training, a "snapshot" and an "evaluation", the first one each.
        in_one_process: whether everything is there at once.
        training_steps: that it has done.
        finished: whether its budget is spent.
    """

    env_steps = 200

    def __init__(self, stop, during, *, in_one_process, training_steps=30, finished=False) -> None:
        self.stop, self.during, self.in_one_process = stop, dict(during), in_one_process
        self.training_steps, self.finished = training_steps, finished
        self.did: list[str] = []
        self.under_way = []

    def signals(self, what: str) -> None:
        for number in self.during.pop(what, ()):
            self.stop.on_signal(number, None)

    def step(self) -> None:
        due, self.under_way = self.under_way, []
        for work in due:
            work()
        if not due:
            self.signals("step")

    def pause(self, *, evaluating=False) -> None:
        self.did.append("pause for an evaluation" if evaluating else "pause")

    def take_snapshot(self, then) -> None:
        self._do("snapshot", lambda: then(Snapshot(200, 30, b"", {"w": np.ones(1)}, {}, {"inserted": 200})))

    def evaluate(self, episodes, pairings, then) -> None:
        self._do("evaluation", lambda: then(SimpleNamespace(weights_version=30, episodes=episodes), {"w": np.ones(1)}))

    def _do(self, what, finish) -> None:
        def work():
            self.signals(what)
            self.did.append(what)
            finish()

        if self.in_one_process:
            work()
        else:
            self.under_way.append(work)


def make_session(tmp_path, during, *, in_one_process, **run):
    """A session with a scripted run; what it says is in `session.told`."""
    config = tiny_config(results=str(tmp_path))
    folder = RunFolder.create(config.results, config.game)
    stop = StopRequest()
    active = ScriptedRun(stop, during, in_one_process=in_one_process, **run)
    curve, told, ends = Curve(folder.curve), [], []

    def evaluation(env_steps, report) -> bool:
        return curve.add_evaluation(EvaluationPoint.of(env_steps, 30, 1.0, [1.0, 2.0, 3.0][: report.episodes]))

    monitor = SimpleNamespace(
        seconds=1.0,
        tick=lambda: None,
        event=told.append,
        announce=told.append,
        evaluation=evaluation,
        ended=ends.append,
    )
    session = Session(config, folder, active, monitor, curve, stop)
    session.told, session.ends, session.folder, session.active = told, ends, folder, active
    return session


@pytest.fixture(autouse=True)
def presses_count_however_close(monkeypatch):
    monkeypatch.setattr(stopping, "_ONE_PRESS_SECONDS", 0.0)


in_both = pytest.mark.parametrize("in_one_process", [False, True])


@in_both
def test_ctrl_c_once_writes_a_checkpoint_and_then_evaluates(tmp_path, in_one_process):
    session = make_session(tmp_path, {"step": [SIGINT]}, in_one_process=in_one_process)
    assert session.run() == 130
    assert session.active.did == ["pause for an evaluation", "snapshot", "evaluation"]
    assert session.told == [ONCE, FINAL]
    assert session.outcome[0].startswith("final evaluation 2.0")
    assert session.outcome[-2] == "saved at env step 200, training step 30"
    assert "--resume" in session.outcome[-1]
    summary = json.loads(session.folder.summary.read_text())
    assert (summary["returns"], summary["finished"]) == ([1.0, 2.0, 3.0], False)
    assert session.ends == ["stopped"]


@in_both
def test_ctrl_c_again_during_the_evaluation_leaves_without_it(tmp_path, in_one_process):
    during = {"step": [SIGINT], "evaluation": [SIGINT]}
    session = make_session(tmp_path, during, in_one_process=in_one_process)
    if not in_one_process:  # over Ray it is still under way when the signal comes
        session.active.evaluate = lambda *_: session.active.under_way.append(
            lambda: session.active.signals("evaluation")
        )
    assert session.run() == 130
    assert session.active.did == ["pause for an evaluation", "snapshot"]
    assert session.told == [ONCE, FINAL, TWICE_SAVED]
    assert session.outcome[0] == "saved at env step 200, training step 30"
    assert session.ends == ["stopped"]


@in_both
@pytest.mark.parametrize("during", [{"step": [SIGINT, SIGINT]}, {"step": [SIGINT], "snapshot": [SIGINT]}])
def test_ctrl_c_twice_before_the_checkpoint_is_written_writes_it_and_leaves(tmp_path, in_one_process, during):
    session = make_session(tmp_path, during, in_one_process=in_one_process)
    assert session.run() == 130
    assert session.active.did[1:] == ["snapshot"]
    assert len(list_checkpoints(session.folder.checkpoints)) == 1
    assert session.told[-1] in (TWICE, TWICE_SAVED)
    assert session.outcome[0] == "saved at env step 200, training step 30"


@in_both
def test_third_ctrl_c_leaves_at_once(tmp_path, in_one_process):
    session = make_session(tmp_path, {"step": [SIGINT, SIGINT], "snapshot": [SIGINT]}, in_one_process=in_one_process)
    with pytest.raises(KeyboardInterrupt):
        session.run()
    assert session.told == [TWICE]
    assert list_checkpoints(session.folder.checkpoints) == []


@in_both
@pytest.mark.parametrize("signals", [[SIGTERM], [SIGTERM, SIGTERM, SIGTERM], [SIGINT, SIGTERM]])
def test_sigterm_writes_a_checkpoint_and_leaves_without_an_evaluation(tmp_path, in_one_process, signals):
    session = make_session(tmp_path, {"step": signals}, in_one_process=in_one_process)
    assert session.run() == 143
    assert session.active.did == ["pause", "snapshot"]
    assert session.told == [TWICE]
    assert len(list_checkpoints(session.folder.checkpoints)) == 1


@in_both
def test_ctrl_c_after_the_budget_is_spent_leaves_without_the_final_evaluation(tmp_path, in_one_process):
    session = make_session(tmp_path, {"snapshot": [SIGINT]}, in_one_process=in_one_process, finished=True)
    assert session.run() == 130
    assert session.active.did == ["snapshot", "pause"]
    assert len(list_checkpoints(session.folder.checkpoints)) == 1


@in_both
def test_once_the_budget_is_spent_only_who_gives_the_snapshot_and_evaluates_still_counts(tmp_path, in_one_process):
    session = make_session(tmp_path, {}, in_one_process=in_one_process, finished=True)
    assert session.run() == 0
    assert session.active.did == ["snapshot", "pause for an evaluation", "evaluation"]


def test_what_a_trainer_lost_that_died_after_its_last_report_is_made_up_for_before_the_end(tmp_path):
    session = make_session(tmp_path, {}, in_one_process=False, finished=True)
    active, steps_left = session.active, [3]
    take_snapshot, step = active.take_snapshot, active.step

    def dies(then) -> None:
        active.take_snapshot = take_snapshot
        active.finished, active.training_steps = False, 20
        active.under_way.append(lambda: then(Snapshot(200, 20, b"", {"w": np.ones(1)}, {}, {"inserted": 200})))

    def trains() -> None:
        step()
        if not active.finished:
            steps_left[0] -= 1
            if steps_left[0] == 0:
                active.finished, active.training_steps = True, 30

    active.take_snapshot, active.step = dies, trains
    assert session.run() == 0
    assert [path.name for path in list_checkpoints(session.folder.checkpoints)] == ["step_000000030", "step_000000020"]
    assert active.did == ["snapshot", "pause for an evaluation", "evaluation"]
    assert json.loads(session.folder.summary.read_text())["finished"] is True


@in_both
def test_nothing_is_evaluated_before_anything_is_trained(tmp_path, in_one_process):
    session = make_session(tmp_path, {"step": [SIGINT]}, in_one_process=in_one_process, training_steps=0)
    assert session.run() == 130
    assert session.active.did == ["pause", "snapshot"]
    assert session.told == [TWICE]


def test_presses_of_a_key_that_is_held_down_are_one(monkeypatch):
    now = [0.1]
    monkeypatch.setattr(stopping, "_ONE_PRESS_SECONDS", 0.5)
    monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: now[0]))
    stop = StopRequest()
    wishes = []
    for _ in range(7):  # at 0.1, 0.2, ... 0.7
        stop.on_signal(SIGINT, None)
        wishes.append(stop.wish)
        now[0] = round(now[0] + 0.1, 1)
    assert wishes == [Wish.EVALUATE] * 5 + [Wish.SAVE] * 2


def test_what_is_tidied_up_after_an_interruption_is_left_in_peace():
    stop, did = StopRequest(), []

    def work() -> None:
        with stop.interrupted_by(Wish.EVALUATE):
            try:
                stop.on_signal(SIGTERM, None)
                did.append("went on")
            finally:
                stop.on_signal(SIGTERM, None)  # again at once, as `timeout` sends it
                did.append("tidied up")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert did == ["tidied up"]


def test_inner_block_says_what_interrupts_it_and_gives_way_to_the_outer_one_again():
    stop, did = StopRequest(), []

    def work() -> None:
        with stop.interrupted_by(Wish.EVALUATE):
            with stop.interrupted_by(Wish.LEAVE):
                stop.on_signal(SIGINT, None)
                did.append("finished the inner one")
            stop.on_signal(SIGINT, None)
            did.append("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert did == ["finished the inner one"]
    assert stop.wish == Wish.SAVE


def test_block_is_not_entered_when_what_interrupts_it_is_wished_already():
    stop = StopRequest()
    stop.on_signal(SIGTERM, None)
    with pytest.raises(KeyboardInterrupt), stop.interrupted_by(Wish.SAVE):
        pytest.fail("entered")
