"""What the trainer does when another rank was lost."""

from types import SimpleNamespace

import pytest
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError

from muzero_ray.actors import trainer_rank
from muzero_ray.actors.trainer_rank import OtherRanks
from muzero_ray.nn.parallel import RankLost

LOST = RankLost("rank 0 of 3: another rank did not answer")


class Exited(BaseException):
    """In the place of the end of the process."""


def failed(cause: Exception) -> RayTaskError:
    return RayTaskError("update", "traceback", cause)


@pytest.fixture
def give_up(monkeypatch):
    """Gives up with ranks whose calls have ended as said; None stands for a call that is not answered."""

    def get(answer):
        raise answer

    fake = SimpleNamespace(wait=lambda refs, **_: ([ref for ref in refs if ref is not None], []), get=get)
    monkeypatch.setattr(trainer_rank, "ray", fake)

    def exit_process(code):
        raise Exited(code)

    monkeypatch.setattr(trainer_rank.os, "_exit", exit_process)

    def run(*answers):
        ranks = OtherRanks.__new__(OtherRanks)
        ranks._open = list(answers)
        ranks.give_up(LOST)

    return run


@pytest.mark.parametrize("answers", [(), (None,), (RayActorError(),), (failed(RankLost("rank 2")), None)])
def test_the_process_ends_to_be_started_anew_where_nobody_says_what_went_wrong(give_up, answers):
    with pytest.raises(Exited):
        give_up(*answers)


def test_what_a_living_rank_failed_of_is_the_error_of_the_trainer_even_if_another_one_is_gone(give_up):
    with pytest.raises(RayTaskError) as caught:
        give_up(RayActorError(), failed(RankLost("rank 1")), failed(ValueError("out of memory")))
    assert str(caught.value.cause) == "out of memory"


@pytest.mark.parametrize("loss", [RayActorError(), OutOfMemoryError("Ray killed it")])
def test_a_rank_that_is_lost_before_it_has_begun_ends_the_process_too(monkeypatch, loss):
    def get(refs):
        raise loss

    monkeypatch.setattr(trainer_rank, "ray", SimpleNamespace(put=lambda state: state, get=get))

    def exit_process(code):
        raise Exited(code)

    monkeypatch.setattr(trainer_rank.os, "_exit", exit_process)
    ranks = OtherRanks.__new__(OtherRanks)
    ranks._actors = [SimpleNamespace(start=SimpleNamespace(remote=lambda state: "ref"))]
    with pytest.raises(Exited):
        ranks.start(None)
