"""What the trainer's process does when it was started in place of one whose death nobody saw."""

from unittest.mock import Mock

import numpy as np
import pytest
from reference.tiny_runs import tiny_config

from muzero_ray.actors import build, trainer
from muzero_ray.adapters.loading import load_game


class Exited(BaseException):
    """In the place of the end of the process."""


@pytest.fixture
def make_trainer(monkeypatch):
    def exit_process(code):
        raise Exited(code)

    monkeypatch.setattr(trainer.os, "_exit", exit_process)
    monkeypatch.setattr(trainer, "ray", Mock())

    def make(**changes):
        config = tiny_config(**changes)
        return trainer.Trainer(config, build.game_spec(load_game(config.game)), "cpu", 1)

    return make


@pytest.mark.parametrize(("method", "arguments"), [("train", (0.1,)), ("state", ()), ("publish", ())])
def test_a_process_that_was_not_told_what_to_continue_from_ends_and_gives_nothing_out(make_trainer, method, arguments):
    with pytest.raises(Exited):
        getattr(make_trainer(), method)(*arguments)


def test_once_it_has_started_it_gives_its_state(make_trainer):
    made = make_trainer()
    made.start(None)
    assert made.state().training_steps == 0


def test_a_start_that_failed_half_way_is_none(make_trainer):
    made = make_trainer()
    made._others = Mock(start=Mock(side_effect=RuntimeError("a rank is not there yet")))
    with pytest.raises(RuntimeError):
        made.start(None)
    with pytest.raises(Exited):
        made.state()


def test_in_lockstep_it_has_one_call_for_batches_under_way_as_two_might_overtake_each_other(make_trainer):
    made = make_trainer(system={"lockstep": "on", "prefetch": 3})
    made.start(None, incarnation=2)
    made._ask_for_batches()
    made._ask_for_batches()
    sample = made._buffer.sample.options.return_value.remote
    sample.assert_called_once_with(4, 0, 1, 2)


def test_in_lockstep_priorities_are_told_with_the_weights_that_are_published_after_them(make_trainer):
    made = make_trainer(system={"lockstep": "on"}, replay={"prioritized": True})
    made.start(None)
    told = (np.arange(2), np.ones(2))
    made._tell_priorities(*told)
    made.publish()
    made.publish()
    first, second, third = (call.args[0] for call in made._buffer.published.remote.call_args_list)
    assert first.priorities == ()
    assert second.priorities == (told,)
    assert third.priorities == ()
    made._buffer.update_priorities.remote.assert_not_called()
