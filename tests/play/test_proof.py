"""Trying everything against an agent: perfect play is proved, a planted mistake is found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from reference.fake_planner import FakeModel, FakePlanner
from reference.toy_games import TakeAgain, take_again_values

from muzero_ray.adapters.loading import load_game
from muzero_ray.play.perfect_play import TooLargeError
from muzero_ray.play.proof import prove


@dataclass(frozen=True)
class Chosen:
    actions: np.ndarray


class PlannerOf:
    """A planner that plays what a function of an observation and its legal actions says."""

    def __init__(self, choose: Callable[[np.ndarray, np.ndarray], int]) -> None:
        self._choose = choose
        self.batch_sizes: list[int] = []

    def __call__(self, model: Any, observations: np.ndarray, legal_actions: np.ndarray, **options: Any) -> Chosen:
        assert (options["noise_scale"], options["temperature"]) == (0.0, 0.0)
        self.batch_sizes.append(len(observations))
        chosen = [self._choose(row, legal) for row, legal in zip(observations, legal_actions, strict=True)]
        return Chosen(np.array(chosen, np.int32))


def expert(observation: np.ndarray, legal: np.ndarray) -> int:
    """The shipped game's own perfect play."""
    game = load_game("tictactoe")()
    game.reset(0)
    mine, other = observation.reshape(2, 9)
    # Player 0 is to move if both have as many stones.
    signs = "XO" if mine.sum() == other.sum() else "OX"
    game._board = "".join(signs[0] if m else signs[1] if o else "." for m, o in zip(mine, other, strict=True))
    return game.expert_action()


def test_perfect_play_is_proved_and_cannot_be_beaten() -> None:
    planner = PlannerOf(expert)
    proof = prove(load_game("tictactoe")(), planner, FakeModel(9))
    assert (proof.positions, proof.decisions, proof.optimal) == (5478, 4520, 4520)
    assert proof.losses == 0
    for seat in proof.seats:
        assert seat.lost_game is None
        assert seat.missed_wins == 0
        assert seat.games == seat.wins + seat.draws > 0
    assert set(planner.batch_sizes) == {256}


def test_a_planted_mistake_is_caught_and_the_game_that_it_loses_is_told() -> None:
    def careless(observation: np.ndarray, legal: np.ndarray) -> int:
        # As second player, to X in the corner, it answers beside it (square 1), which loses.
        mine, other = observation.reshape(2, 9)
        if mine.sum() == 0 and other.sum() == 1 and other[0] == 1:
            return 1
        return expert(observation, legal)

    proof = prove(load_game("tictactoe")(), PlannerOf(careless), FakeModel(9))
    assert proof.optimal == 4519
    first, second = proof.seats
    assert first.losses == 0
    assert second.losses > 0
    assert second.lost_game is not None
    assert second.lost_game[:2] == (0, 1)
    game = load_game("tictactoe")()
    game.reset(0)
    ends = [game.step(action)[1:3] for action in second.lost_game]
    assert ends[-1] == (1.0, True)
    assert len(second.lost_game) % 2 == 1  # the other, who has the odd moves, wins


def test_a_win_let_slip_is_counted_though_it_costs_no_game() -> None:
    def lenient(observation: np.ndarray, legal: np.ndarray) -> int:
        # X at 0 and 1, O at 3 and 4: X wins at 2, but parries at 5.
        mine, other = observation.reshape(2, 9)
        if np.flatnonzero(mine).tolist() == [0, 1] and np.flatnonzero(other).tolist() == [3, 4]:
            return 5
        # That position comes up only if X opens so.
        if mine.sum() == other.sum() == 1 and mine[0] == 1 and other[4] == 1:
            return 1
        return expert(observation, legal)

    proof = prove(load_game("tictactoe")(), PlannerOf(lenient), FakeModel(9))
    first = proof.seats[0]
    assert first.missed_wins == 1
    assert proof.optimal == 4519


def test_games_are_counted_as_listing_them_one_by_one_counts_them() -> None:
    """Slow twin: every game is played from its start."""
    planner, model = FakePlanner(), FakeModel(9)
    make_game = load_game("tictactoe")
    proof = prove(make_game(), planner, model)

    def listed(seat: int) -> list[int]:
        counts = [0, 0, 0]
        unfinished: list[tuple[int, ...]] = [()]
        while unfinished:
            actions = unfinished.pop()
            game = make_game()
            observation, _ = game.reset(0)
            reward, over = 0.0, False
            for action in actions:
                observation, reward, over, _, _ = game.step(action)
            if over:
                winner = (len(actions) - 1) % 2 if reward else None
                counts[1 if winner is None else 0 if winner == seat else 2] += 1
            elif game.to_play == seat:
                found = planner(
                    model,
                    observation[None],
                    game.legal_actions()[None],
                    noise_scale=0.0,
                    temperature=0.0,
                    rng=np.random.default_rng(0),
                )
                unfinished.append((*actions, int(found.actions[0])))
            else:
                unfinished.extend((*actions, int(action)) for action in np.flatnonzero(game.legal_actions()))
        return counts

    for seat in (0, 1):
        found = proof.seats[seat]
        assert [found.wins, found.draws, found.losses] == listed(seat)
    assert proof.losses > 0


def test_games_in_which_turns_do_not_alternate_are_proved_too() -> None:
    def best(observation: np.ndarray, legal: np.ndarray) -> int:
        values = take_again_values(int(observation[0]))
        return max(values, key=lambda action: values[action])

    proof = prove(TakeAgain(10), PlannerOf(best), FakeModel(3))
    assert proof.optimal == proof.decisions
    wins_first = max(take_again_values(10).values()) > 0
    assert (proof.seats[0].losses == 0) is wins_first
    assert all(seat.missed_wins == 0 for seat in proof.seats)


def test_a_large_game_is_refused() -> None:
    with pytest.raises(TooLargeError, match="at most 1,000 positions, but it has more"):
        prove(load_game("tictactoe")(), FakePlanner(), FakeModel(9), limit=1000)
