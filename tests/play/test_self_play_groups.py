"""Games in several groups are played like those of as many players, whatever their threads do."""

import threading
from typing import Any

import numpy as np
from reference.counting_game import CountingGame
from reference.fake_planner import FakeModel, FakePlanner

from muzero_ray.core.types import SelfPlayReport
from muzero_ray.play.self_play import SelfPlayer
from muzero_ray.play.self_play_groups import SelfPlayGroups, merged

WEIGHTS = {"scale": np.array([3.0], np.float32)}


class WaitingPlanner(FakePlanner):
    """Waits in each search until so many others wait in theirs."""

    def __init__(self, together: threading.Barrier) -> None:
        super().__init__()
        self._together = together

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._together.wait(timeout=30.0)
        return super().__call__(*args, **options)


def player(seed: int, planner: Any = None) -> SelfPlayer:
    made = SelfPlayer(
        CountingGame,
        planner or FakePlanner(),
        FakeModel(),
        num_games=3,
        seed=np.random.SeedSequence(seed),
        game_id_start=100 * seed,
    )
    made.set_weights(WEIGHTS, 7)
    return made


def test_what_is_played_is_what_each_group_would_have_played_alone():
    groups = SelfPlayGroups([player(1), player(2)])
    alone = [player(1), player(2)]
    for _ in range(3):
        pieces, report = groups.play(5)
        expected = [piece for each in alone for piece in each.play(5)[0]]
        assert [piece.game_id for piece in pieces] == [piece.game_id for piece in expected]
        for piece, wanted in zip(pieces, expected, strict=True):
            np.testing.assert_array_equal(piece.observations, wanted.observations)
            np.testing.assert_array_equal(piece.actions, wanted.actions)
        assert report.env_steps == 2 * 3 * 5


def test_groups_search_at_the_same_time():
    together = threading.Barrier(3)
    groups = SelfPlayGroups([player(seed, WaitingPlanner(together)) for seed in range(3)])
    assert groups.play(4)[1].env_steps == 3 * 3 * 4, "or each would have waited for the others in vain"


def test_new_weights_reach_every_group():
    groups = SelfPlayGroups([player(1), player(2)])
    groups.set_weights({"scale": np.array([5.0], np.float32)}, 9)
    pieces, report = groups.play(2)
    assert {piece.weights_version for piece in pieces} == {9}
    assert report.weights_version == 9
    assert all(
        (piece.root_values == 5.0 * (piece.first_step + np.arange(piece.num_steps)) + 0.5).all() for piece in pieces
    )


def test_of_several_reports_counts_are_added_and_times_are_means():
    one = SelfPlayReport(10, 100, 3, {"search": 2.0, "games": 1.0}, (), 1, 2, 3, ("a",))
    other = SelfPlayReport(20, 300, 3, {"search": 4.0}, (), 4, 5, 6, ("b",))
    assert merged([one, other]) == SelfPlayReport(30, 400, 3, {"search": 3.0, "games": 0.5}, (), 5, 7, 9, ("a", "b"))
