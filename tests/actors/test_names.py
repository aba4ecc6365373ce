"""What the Ray dashboard shows of an actor: its name, and its `repr` in front of every call."""

import pytest

from muzero_ray.actors.evaluator import Evaluator
from muzero_ray.actors.names import role_of
from muzero_ray.actors.reanalyze import Reanalyze
from muzero_ray.actors.replay_buffer import ReplayBufferActor
from muzero_ray.actors.self_play import SelfPlay
from muzero_ray.actors.shared_storage import SharedStorage
from muzero_ray.actors.trainer import Trainer


@pytest.mark.parametrize("actor", [Evaluator, Reanalyze, ReplayBufferActor, SelfPlay, SharedStorage, Trainer])
def test_every_actor_has_a_repr_of_its_own_so_that_no_call_is_shown_with_an_address(actor):
    assert "__repr__" in vars(actor)


@pytest.mark.parametrize(
    ("name", "role"),
    [("self_play_0", "self_play"), ("self_play_123", "self_play"), ("trainer", "trainer"), ("reanalyze", "reanalyze")],
)
def test_actors_that_there_are_several_of_share_a_role(name, role):
    assert role_of(name) == role
