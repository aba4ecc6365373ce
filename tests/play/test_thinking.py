"""What the agent at a board thinks is what its search found."""

import numpy as np
import pytest
from reference.fake_planner import FakeModel

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.config import SearchConfig
from muzero_ray.mcts.model import RootOutput, StepOutput
from muzero_ray.mcts.planner import make_planner
from muzero_ray.mcts.search import SearchResult
from muzero_ray.play.game_in_progress import GameInProgress
from muzero_ray.play.thinking import Thinker, Thought, centipawns


class KnownPlanner:
    """Finds what it was told to find, and remembers what it was asked."""

    config = SearchConfig(num_simulations=6)

    def __call__(self, model, observations, legal_actions, **asked) -> SearchResult:
        self.asked = {"observations": observations, "legal_actions": legal_actions, **asked}
        policy = np.array([[0.1, 0, 0.6, 0, 0.2, 0.1, 0, 0, 0]], np.float32)
        visits = np.array([[1, 0, 3, 0, 2, 0, 0, 0, 0]], np.int32)
        return SearchResult(np.array([4]), policy, visits, np.array([-0.25], np.float32), np.zeros(1, np.float32))


def test_a_thought_tells_what_the_search_found():
    planner, position = KnownPlanner(), GameInProgress(load_game("tictactoe"))
    thought = Thinker(planner, FakeModel()).think(position)
    assert (thought.action, thought.value, thought.num_simulations) == (4, -0.25, 6)
    np.testing.assert_allclose(thought.visit_shares[[0, 2, 4]], [1 / 6, 3 / 6, 2 / 6])
    np.testing.assert_allclose(thought.policy[[0, 2, 4, 5]], [0.1, 0.6, 0.2, 0.1])
    np.testing.assert_array_equal(planner.asked["observations"], position.observation[None])
    assert planner.asked["legal_actions"].all()
    assert (planner.asked["noise_scale"], planner.asked["temperature"]) == (0.0, 0.0)


def test_simulations_are_the_planners_the_thinkers_or_those_of_one_thought():
    planner, position = KnownPlanner(), GameInProgress(load_game("tictactoe"))
    asked = []
    for thinker, simulations in (
        (Thinker(planner, FakeModel()), None),
        (Thinker(planner, FakeModel(), 9), None),
        (Thinker(planner, FakeModel(), 9), 2),
    ):
        thinker.think(position, simulations)
        asked.append(planner.asked["num_simulations"])
    assert asked == [6, 9, 2]


def test_the_action_to_play_is_the_first_of_the_best_whatever_its_policy():
    thought = Thinker(KnownPlanner(), FakeModel()).think(GameInProgress(load_game("tictactoe")))
    assert thought.best_actions(3) == [4, 2, 0]
    assert thought.best_actions(9) == [4, 2, 0, 5]  # the others have no share of the policy
    assert Thought(0, np.array([1.0, 0.0]), np.array([1.0, 0.0]), 0.0, 1).best_actions(5) == [0]


class EvenModel:
    """Every state is worth nothing, every action as likely as the next."""

    def initial(self, observations, num_nodes):
        size = len(observations)
        return RootOutput(np.zeros(size, np.float32), np.zeros((size, 9), np.float32))

    def recurrent(self, parent_nodes, actions, new_node):
        zeros = np.zeros(len(actions), np.float32)
        return StepOutput(zeros, zeros, np.zeros((len(actions), 9), np.float32), zeros - 1)


@pytest.mark.parametrize("algorithm", ["gumbel", "muzero"])
def test_a_real_search_plays_a_legal_move_and_the_same_one_again(algorithm):
    planner = make_planner(SearchConfig(algorithm=algorithm, num_simulations=8), (-1.0, 1.0))
    position = GameInProgress(load_game("tictactoe"))
    position.play(0)
    thoughts = [Thinker(planner, EvenModel()).think(position) for _ in range(2)]
    assert thoughts[0].action == thoughts[1].action != 0
    assert thoughts[0].policy[0] == thoughts[0].visit_shares[0] == 0
    assert thoughts[0].visit_shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("value", "bounds", "expected"),
    [
        (0.0, None, 0),
        (0.5, (-1.0, 1.0), 191),  # 400 log10(1.5 / 0.5)
        (-0.5, (-1.0, 1.0), -191),
        (2.5, (0.0, 10.0), -191),  # -0.5 on the scale from -1 to 1
        (1.0, (-1.0, 1.0), 1720),  # 400 log10(1.9999 / 0.0001)
        (7.0, (-1.0, 1.0), 1720),
        (-7.0, None, -1720),
    ],
)
def test_centipawns_are_elo_points_of_the_expected_score(value, bounds, expected):
    assert centipawns(value, bounds) == expected
