"""The rules of the grid world, the template of a game for one."""

import numpy as np
import pytest

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.game import Game

UP, DOWN, LEFT, RIGHT = range(4)


def game_at(row: int, column: int) -> Game:
    """A game that starts in this row and column, found by trying seeds."""
    game = load_game("gridworld")()
    for seed in range(1000):
        observation, _ = game.reset(seed)
        if observation.reshape(8, 8)[row, column]:
            return game
    raise AssertionError(f"no episode starts in row {row}, column {column}")


def test_the_grid_is_shown_with_the_agent_in_it() -> None:
    assert game_at(6, 1).text().splitlines() == [
        "########",
        "#....#G#",
        "#.##.#.#",
        "#.O....#",
        "#..#.#.#",
        "##.#.O.#",
        "#A.....#",
        "########",
    ]


def test_the_agent_sees_where_it_stands_and_nothing_else() -> None:
    observation, *_ = game_at(1, 1).step(RIGHT)
    assert np.flatnonzero(observation).tolist() == [8 * 1 + 2]
    assert observation.sum() == 1.0


@pytest.mark.parametrize(
    ("row", "column", "action"),
    [(1, 1, UP), (1, 1, LEFT), (1, 4, RIGHT), (6, 1, UP), (6, 3, DOWN), (3, 6, RIGHT), (6, 3, UP)],
)
def test_walls_stop_the_agent_and_the_step_counts(row: int, column: int, action: int) -> None:
    observation, reward, terminated, truncated, _ = game_at(row, column).step(action)
    assert observation.reshape(8, 8)[row, column] == 1.0
    assert (reward, terminated, truncated) == (-1.0, False, False)


def test_every_direction_leads_there_and_back() -> None:
    game = game_at(1, 1)
    cells = [int(np.flatnonzero(game.step(action)[0])[0]) for action in (RIGHT, LEFT, DOWN, UP)]
    assert cells == [10, 9, 17, 9]  # row 1, column 1 is cell 9


def test_the_goal_ends_with_a_reward() -> None:
    #  #....#G#      From the corner: right, right, right, down, down,
    #  #.##.#.#      right, right, up
    #  #.O....#      and up to the goal.
    game = game_at(1, 1)
    results = [game.step(action)[1:4] for action in (RIGHT, RIGHT, RIGHT, DOWN, DOWN, RIGHT, RIGHT, UP, UP)]
    assert results == [(-1.0, False, False)] * 8 + [(10.0, True, False)]


def test_a_pit_ends_with_a_loss() -> None:
    assert game_at(3, 1).step(RIGHT)[1:4] == (-50.0, True, False)


def test_the_fiftieth_step_truncates() -> None:
    game = game_at(1, 1)
    results = [game.step(UP)[1:4] for _ in range(50)]
    assert results == [(-1.0, False, False)] * 49 + [(-1.0, False, True)]


def test_the_goal_in_the_fiftieth_step_terminates() -> None:
    game = game_at(2, 6)
    for _ in range(49):
        game.step(RIGHT)
    assert game.step(UP)[1:4] == (10.0, True, False)


def test_a_seed_fixes_the_start_and_seeds_draw_every_free_cell() -> None:
    game, another = load_game("gridworld")(), load_game("gridworld")()
    starts = set()
    for seed in range(200):
        observation, _ = game.reset(seed)
        np.testing.assert_array_equal(observation, another.reset(seed)[0])
        starts.add(int(observation.argmax()))
    assert len(starts) == game.text().count(".") + 1 == 25  # the agent hides one


@pytest.mark.parametrize("last", [(1, 1, UP, 50), (3, 1, RIGHT, 1), (2, 6, UP, 1)], ids=["clock", "pit", "goal"])
def test_nothing_can_be_played_after_the_end(last: tuple[int, int, int, int]) -> None:
    row, column, action, times = last
    game = game_at(row, column)
    for _ in range(times):
        game.step(action)
    with pytest.raises(ValueError, match="over: True"):
        game.step(UP)
    game.reset(0)
    game.step(UP)  # a new episode may be played


def test_nothing_can_be_played_before_the_first_reset() -> None:
    with pytest.raises(ValueError, match="over: True"):
        load_game("gridworld")().step(UP)


@pytest.mark.parametrize("action", [-1, 4])
def test_there_are_four_actions(action: int) -> None:
    with pytest.raises(ValueError, match=f"action {action} is not legal"):
        game_at(1, 1).step(action)
