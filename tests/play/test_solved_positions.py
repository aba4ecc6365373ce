"""Solved positions on file: they are what they say, and an agent's choices are counted by them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from reference.fake_planner import FakeModel

from muzero_ray.adapters.loading import load_game
from muzero_ray.play.connect4_solver import Connect4Solver
from muzero_ray.play.solved_positions import Share, SolvedPosition, measure, read_positions

POSITIONS = read_positions()
SOLVER = Connect4Solver(1_000_003)


def test_there_are_forty_positions_of_every_stratum() -> None:
    strata = [position.stratum for position in POSITIONS]
    counts = {stratum: strata.count(stratum) for stratum in dict.fromkeys(strata)}
    assert counts == dict.fromkeys(
        ("begin-easy", "begin-medium", "begin-hard", "middle-easy", "middle-medium", "end-easy"), 40
    )
    assert len({position.moves for position in POSITIONS}) == 240


def test_lines_are_read_as_they_are_written() -> None:
    for position in POSITIONS:
        assert SolvedPosition.from_line(position.to_line()) == position


@pytest.mark.parametrize("position", [each for each in POSITIONS if len(each.moves) >= 18][::8])
def test_positions_are_what_the_solver_says(position: SolvedPosition) -> None:
    scores = SOLVER.scores(position.moves)
    assert position.score == max(scores.values())
    assert position.best == tuple(column for column, score in scores.items() if score == position.score)
    sign = np.sign(position.score)
    assert position.keeping == tuple(column for column, score in scores.items() if np.sign(score) == sign)
    # There is something to be given away, and nothing is lost yet.
    assert position.score >= 0
    assert len(position.keeping) < len(scores)


def test_strata_by_hand() -> None:
    # A score of 1 after 12 moves: the mover's stone number 21 wins, the 15th from now, after 14 of the other: 29 plies.
    assert SolvedPosition((0,) * 6 + (1,) * 6, 1, (3,), (3,)).stratum == "begin-hard"
    # 4 after 14: stone number 18, the eleventh from now: 21 plies.
    assert SolvedPosition((0,) * 14, 4, (3,), (3,)).stratum == "middle-medium"
    assert SolvedPosition((0,) * 30, 2, (3,), (3,)).stratum == "end-easy"


@dataclass(frozen=True)
class Chosen:
    actions: np.ndarray


class Knowing:
    """A planner that plays the answers, in the order of the positions."""

    def __init__(self, answers: list[int]) -> None:
        self.answers = answers

    def __call__(self, model: Any, observations: np.ndarray, legal_actions: np.ndarray, **options: Any) -> Chosen:
        count = len(observations)
        answers, self.answers = self.answers[:count], self.answers[count:]
        assert all(legal[answer] for legal, answer in zip(legal_actions, answers, strict=False))
        return Chosen(np.array(answers + [0] * (count - len(answers))))


def test_choices_are_counted_by_stratum() -> None:
    game = load_game("connect4")()
    best = measure(game, Knowing([each.best[0] for each in POSITIONS]), FakeModel(7), POSITIONS)
    assert set(best.values()) == {Share(40, 40, 40)}
    slow = [each for each in POSITIONS if set(each.keeping) - set(each.best)]
    choices = [min(set(each.keeping) - set(each.best)) for each in slow]
    for share in measure(game, Knowing(choices), FakeModel(7), slow).values():
        assert (share.keeping, share.best) == (share.positions, 0)
    lost = [_loser(each) for each in POSITIONS]
    for share in measure(game, Knowing(lost), FakeModel(7), POSITIONS).values():
        assert (share.keeping, share.best) == (0, 0)


def _loser(position: SolvedPosition) -> int:
    free = (column for column in range(7) if position.moves.count(column) < 6)
    return next(column for column in free if column not in position.keeping)
