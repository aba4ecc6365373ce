"""The rules of tic-tac-toe, and its expert."""

import numpy as np
import pytest

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.game import Game


def game_after(*squares: str) -> tuple[Game, list[tuple[float, bool]]]:
    """A game after these squares have been played, and reward and end of every move."""
    game = load_game("tictactoe")()
    game.reset(0)
    results = []
    for square in squares:
        _, reward, terminated, truncated, _ = game.step(game.string_to_action(square))
        assert not truncated
        results.append((reward, terminated))
    return game, results


def test_a_played_line() -> None:
    #     1 2 3
    #  A  X O .      X takes A1, O A2, X B2, O B1,
    #  B  O X .      and X completes the diagonal
    #  C  . . X      with C3.
    game, results = game_after("A1", "A2", "B2", "B1", "C3")
    assert results == [(0.0, False)] * 4 + [(1.0, True)]
    assert game.text() == "X O .\nO X .\n. . X"


def test_a_draw_rewards_nobody() -> None:
    #  X O X
    #  X O O
    #  O X X
    game, results = game_after("A1", "A2", "A3", "B2", "B1", "B3", "C2", "C1", "C3")
    assert results == [(0.0, False)] * 8 + [(0.0, True)]
    assert game.text() == "X O X\nX O O\nO X X"


@pytest.mark.parametrize(
    "line", ["A1 A2 A3", "B1 B2 B3", "C1 C2 C3", "A1 B1 C1", "A2 B2 C2", "A3 B3 C3", "A1 B2 C3", "A3 B2 C1"]
)
def test_every_line_wins_for_the_second_player_too(line: str) -> None:
    squares = [row + column for row in "ABC" for column in "123"]
    own = line.split()
    # X never has three in a row among the squares that O leaves free, if it picks the right three.
    free = [square for square in squares if square not in own]
    for others in ([free[0], free[1], free[3]], [free[0], free[2], free[5]]):
        game, results = game_after(others[0], own[0], others[1], own[1], others[2])
        if not results[-1][1]:
            _, reward, terminated, _, _ = game.step(game.string_to_action(own[2]))
            assert (reward, terminated) == (1.0, True)
            return
    raise AssertionError("no line of play was found")


def test_the_player_to_move_sees_its_own_stones_first() -> None:
    game, _ = game_after("A1", "B2")
    #  X . .      X is to move: plane 0 holds A1, plane 1 holds B2.
    #  . O .
    #  . . .
    observation, *_ = game.step(game.string_to_action("C3"))
    # O is to move: plane 0 holds B2, plane 1 holds A1 and C3.
    assert observation[0].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert observation[1].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert game.to_play == 1


def test_taken_squares_are_illegal_and_raise() -> None:
    game, _ = game_after("A1", "B2")
    assert np.flatnonzero(~game.legal_actions()).tolist() == [0, 4]
    with pytest.raises(ValueError, match=r"action 4 is not legal on X\.\.\.O"):
        game.step(4)
    with pytest.raises(ValueError, match="action 9 is not legal"):
        game.step(9)


def test_nothing_can_be_played_after_the_end() -> None:
    game, _ = game_after("A1", "A2", "B2", "B1", "C3")
    with pytest.raises(ValueError, match="over: True"):
        game.step(2)


def test_squares_are_named_by_row_and_column() -> None:
    game, _ = game_after()
    assert [game.action_to_string(action) for action in range(9)] == [
        "A1",
        "A2",
        "A3",
        "B1",
        "B2",
        "B3",
        "C1",
        "C2",
        "C3",
    ]
    with pytest.raises(ValueError, match="'D1' names no action"):
        game.string_to_action("D1")


@pytest.mark.parametrize(
    ("squares", "best"),
    [
        (["A1", "B1", "A2", "B2"], "A3"),  # takes the win rather than blocks B3
        (["A1", "B2", "A2"], "A3"),  # blocks the row
        (["B2", "A2"], "A1"),  # the first of the moves that force a win by a fork
    ],
)
def test_the_expert_finds_the_move(squares: list[str], best: str) -> None:
    game, _ = game_after(*squares)
    assert game.action_to_string(game.expert_action()) == best


def test_the_expert_never_loses_to_random_play_in_200_games() -> None:
    rng = np.random.default_rng(0)
    results = []
    for seed in range(200):
        game, expert = load_game("tictactoe")(), seed % 2
        game.reset(seed)
        terminated = False
        while not terminated:
            player = game.to_play
            action = game.expert_action() if player == expert else int(rng.choice(np.flatnonzero(game.legal_actions())))
            _, reward, terminated, _, _ = game.step(action)
        results.append(reward if player == expert else -reward)
    assert min(results) >= 0
    assert sum(results) > 150


def test_two_experts_draw() -> None:
    game, _ = game_after()
    rewards, terminated = [], False
    while not terminated:
        _, reward, terminated, _, _ = game.step(game.expert_action())
        rewards.append(reward)
    assert rewards == [0.0] * 9
