"""Games that are given up, and openings that are random: what is recorded of them, and what is counted."""

from typing import Any

import numpy as np
import pytest
from reference.counting_game import CountingGame
from reference.fake_planner import FakeModel, FakePlanner
from reference.toy_games import Noughts

from muzero_ray.core.game import GameSpec
from muzero_ray.play.resignation import ResignationCounts, Resignations
from muzero_ray.play.self_play import SelfPlayer


class BoundedGame(CountingGame):
    """Six moves by turns, no rewards but the last one's: 1 for player 1, who makes it."""

    def __init__(self) -> None:
        super().__init__(6, num_players=2)
        self.spec = GameSpec(observation_shape=(1,), num_actions=3, num_players=2, value_bounds=(-1.0, 1.0))

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(terminated), terminated, truncated, info


def player_of(make_game: Any, scale: float, **options: Any) -> SelfPlayer:
    """A player whose root values are `scale` times the observation, plus 1/2."""
    options = {"num_games": 3, "noise_scale": (1.0, 1.0), **options}
    player = SelfPlayer(make_game, FakePlanner(), FakeModel(), seed=np.random.SeedSequence(1), **options)
    player.set_weights({"scale": np.array([scale], np.float32)}, 7)
    return player


def test_the_player_to_move_gives_up_below_the_threshold_and_the_other_one_wins() -> None:
    # Root values are 0.5, 0.1, -0.3, -0.7: player 1 gives up with its second move, and player 0 is to move then.
    player = player_of(BoundedGame, -0.4, resign_value=0.6, resign_exempt=0.0)
    pieces, report = player.play(4)
    assert [piece.num_steps for piece in pieces] == [4, 4, 4]
    assert all(piece.resigned and piece.truncated and piece.final_value == 1.0 for piece in pieces)
    assert all(piece.to_play[-1] == 0 for piece in pieces)
    assert [episode.returns for episode in report.episodes] == [(1.0, -1.0)] * 3
    assert not any(episode.truncated for episode in report.episodes)
    assert (report.resigned, report.resignations_tested, report.resignations_false) == (3, 0, 0)


def test_player_0_gives_up_for_itself() -> None:
    # 0.5, 0.0, -0.5: the third move is player 0's.
    _, report = player_of(BoundedGame, -0.5, resign_value=0.4, resign_exempt=0.0).play(3)
    assert [episode.returns for episode in report.episodes] == [(-1.0, 1.0)] * 3


def test_a_game_that_ends_with_the_move_of_who_gives_up_has_ended_by_itself() -> None:
    # Values 0.5, 0.3, 0.1, -0.1, -0.3, -0.5: player 1 would give up with the last move, by which it wins.
    pieces, report = player_of(BoundedGame, -0.2, resign_value=0.4, resign_exempt=0.0).play(6)
    assert all(piece.terminated for piece in pieces)
    assert [episode.returns for episode in report.episodes] == [(-1.0, 1.0)] * 3
    assert report.resigned == 0


def test_exempt_games_are_played_on_and_tell_which_were_given_up_falsely() -> None:
    # Player 1 would give up in its second move, and wins in the end.
    _, report = player_of(BoundedGame, -0.4, resign_value=0.6, resign_exempt=1.0).play(6)
    assert (report.resigned, report.resignations_tested, report.resignations_false) == (0, 3, 3)
    # Player 0 would have been right to give up in its third move.
    _, report = player_of(BoundedGame, -0.5, resign_value=0.4, resign_exempt=1.0).play(6)
    assert (report.resigned, report.resignations_tested, report.resignations_false) == (0, 3, 0)


def test_the_share_of_exempt_games_is_as_asked_for() -> None:
    resignations = Resignations(0.5, 0.25, 4000, np.random.default_rng(0))
    for row in range(4000):
        resignations.start(row)
    given_up = resignations.ask(np.full(4000, -0.9), np.zeros(4000, np.int8))
    assert 0.72 < given_up.mean() < 0.78
    for row in range(4000):
        resignations.end(row, 0.0, bool(given_up[row]))
    counts = resignations.take_counts()
    assert counts == ResignationCounts(int(given_up.sum()), int((~given_up).sum()), int((~given_up).sum()))
    assert resignations.take_counts() == ResignationCounts()


def test_a_game_for_one_cannot_be_given_up() -> None:
    with pytest.raises(ValueError, match="resign_value: needs a game for 2 players"):
        player_of(CountingGame, 1.0, resign_value=0.9)


def test_games_begin_after_random_moves_that_are_not_recorded() -> None:
    player = player_of(CountingGame, 1.0, num_games=200, random_opening_moves=3)
    pieces, _ = player.play(1)
    starts = np.array([piece.observations[0, 0] for piece in pieces])
    assert set(starts) == {0, 1, 2, 3}
    assert 0.15 < (starts == 0).mean() < 0.35
    assert all(piece.first_step == 0 and piece.num_steps == 1 for piece in pieces)
    np.testing.assert_array_equal([piece.rewards[0] // 10 for piece in pieces], starts)


def test_openings_that_end_the_game_are_played_again() -> None:
    pieces, _ = player_of(lambda: CountingGame(2), 1.0, num_games=50, random_opening_moves=6).play(1)
    assert {piece.observations[0, 0] for piece in pieces} == {0, 1}


def test_random_openings_are_legal_and_by_turns() -> None:
    class OneGame(Noughts):
        def step(self, action: int) -> Any:
            assert self.legal_actions()[action]
            return super().step(action)

    pieces, _ = player_of(OneGame, 0.0, num_games=50, random_opening_moves=4).play(1)
    for piece in pieces:
        assert piece.to_play[0] == np.count_nonzero(piece.observations[0]) % 2
