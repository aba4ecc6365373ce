"""The solver of connect four against trying everything, and against what is known."""

import numpy as np
import pytest

from muzero_ray.adapters.loading import load_game
from muzero_ray.play.connect4_board import CELLS, board_of, moves_text, plays_like_connect_four
from muzero_ray.play.connect4_solver import Connect4Solver, Outcome, outcome

SOLVER = Connect4Solver(table_size=1_000_003)


def random_moves(rng: np.random.Generator, count: int) -> list[int]:
    """So many random moves after which the game is not over."""
    while True:
        moves: list[int] = []
        columns = rng.permutation(np.repeat(np.arange(7), 6))[:count].tolist()
        for column in columns:
            moves.append(column)
            if board_of(moves)[2]:
                break
        else:
            return moves


def by_plain_minimax(moves: list[int]) -> dict[int, int]:
    """Slow twin: the score of every move, from a board of lists, without bits, bounds or memory of other positions."""
    grid = [[""] * 6 for _ in range(7)]
    for index, column in enumerate(moves):
        grid[column][grid[column].index("")] = "XO"[index % 2]

    def wins(column: int, row: int, stone: str) -> bool:
        for across, up in ((1, 0), (0, 1), (1, 1), (1, -1)):
            count = 1
            for sign in (1, -1):
                c, r = column + sign * across, row + sign * up
                while 0 <= c < 7 and 0 <= r < 6 and grid[c][r] == stone:
                    count += 1
                    c, r = c + sign * across, r + sign * up
            if count >= 4:
                return True
        return False

    def scores(played: int) -> dict[int, int]:
        found = {}
        for column in range(7):
            if "" not in grid[column]:
                continue
            row = grid[column].index("")
            stone = "XO"[played % 2]
            if wins(column, row, stone):
                found[column] = 22 - (played // 2 + 1)  # with its stone number played // 2 + 1 of 21, and one more
            elif played + 1 == CELLS:
                found[column] = 0
            else:
                grid[column][row] = stone
                found[column] = -max(scores(played + 1).values())
                grid[column][row] = ""
        return found

    return scores(len(moves))


@pytest.mark.parametrize("seed", range(40))
def test_late_positions_are_solved_as_by_trying_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    moves = random_moves(rng, int(rng.integers(33, 42)))
    expected = by_plain_minimax(moves)
    assert SOLVER.scores(moves) == expected
    assert SOLVER.best_actions(moves) == [
        column for column, score in expected.items() if score == max(expected.values())
    ]


@pytest.mark.parametrize("seed", range(20))
def test_moves_that_keep_the_outcome_are_those_with_its_sign(seed: int) -> None:
    moves = random_moves(np.random.default_rng(seed), 24)
    scores = SOLVER.scores(moves)
    best = max(np.sign(list(scores.values())))
    assert SOLVER.keeping_actions(moves) == [column for column, score in scores.items() if np.sign(score) == best]


@pytest.mark.parametrize("seed", range(10))
def test_a_position_is_worth_its_best_move_and_its_mirror_as_much(seed: int) -> None:
    moves = random_moves(np.random.default_rng(seed), 14)
    scores = SOLVER.scores(moves)
    assert SOLVER.score(moves) == max(scores.values())
    assert SOLVER.best_actions(moves) == [column for column, score in scores.items() if score == max(scores.values())]
    mirrored = SOLVER.scores([6 - column for column in moves])
    assert mirrored == {6 - column: score for column, score in scores.items()}


def test_a_table_too_small_to_remember_much_changes_nothing() -> None:
    forgetful = Connect4Solver(table_size=101)
    for seed in range(5):
        moves = random_moves(np.random.default_rng(seed), 22)
        assert forgetful.scores(moves) == SOLVER.scores(moves)


def test_outcomes_by_hand() -> None:
    # Three in a row on the bottom, 1 to 3, the other's stones above: the fourth wins at once.
    moves = [0, 0, 1, 1, 2, 2]
    assert SOLVER.score(moves) == 18  # the fourth stone of 21 wins: 17 are left, and one more
    assert SOLVER.best_actions(moves) == [3]
    assert outcome(SOLVER.score(moves), len(moves)) == Outcome(1, 1)
    # Open three in the middle of the bottom row: whatever the other does, the next stone wins.
    moves = [2, 2, 3, 3, 4]
    assert outcome(SOLVER.score(moves), len(moves)) == Outcome(-1, 2)


@pytest.mark.parametrize("seed", range(10))
def test_perfect_play_ends_in_as_many_plies_as_the_score_says(seed: int) -> None:
    moves = random_moves(np.random.default_rng(seed), 20)
    told = outcome(SOLVER.score(moves), len(moves))
    mover = len(moves) % 2
    plies = 0
    while True:
        moves.append(SOLVER.best_actions(moves)[0])
        plies += 1
        if board_of(moves)[2]:
            break
    assert plies == told.plies
    if told.value != 0:
        winner = (len(moves) - 1) % 2
        assert (winner == mover) == (told.value == 1)


@pytest.mark.parametrize("moves", [[7], [-1], [0] * 7, [0, 1, 0, 1, 0, 1, 0, 1]])
def test_moves_that_cannot_be_played_are_refused(moves: list[int]) -> None:
    with pytest.raises(ValueError, match="must be a column 0 to 6 with room, before the game is over"):
        SOLVER.score(moves)


def test_a_game_that_is_over_has_no_score() -> None:
    with pytest.raises(ValueError, match="connect four is over after 1212121: give a position with a move to make"):
        SOLVER.scores([0, 1, 0, 1, 0, 1, 0])


def test_moves_are_written_with_columns_from_one() -> None:
    assert moves_text([3, 3, 0, 6]) == "4417"


def test_connect_four_is_known_by_how_it_is_played() -> None:
    game = load_game("connect4")()
    game.reset(0)
    game.step(3)
    before = game.text()
    assert plays_like_connect_four(game)
    assert game.text() == before
    assert not plays_like_connect_four(load_game("tictactoe")())
    assert not plays_like_connect_four(load_game("cartpole")())


def test_another_game_with_seven_columns_is_not_connect_four() -> None:
    class Longer(type(load_game("connect4")())):  # type: ignore[misc]
        """Five in a row, so to say: a win is not told."""

        def step(self, action: int):  # type: ignore[no-untyped-def]
            observation, _, terminated, truncated, info = super().step(action)
            return observation, 0.0, terminated, truncated, info

    assert not plays_like_connect_four(Longer())
