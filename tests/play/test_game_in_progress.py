"""A game can be gone back in, and tells who played what."""

import numpy as np
import pytest
from reference.aided_games import CENTRE, AidedNoughts

from muzero_ray.adapters.loading import load_game
from muzero_ray.play.game_in_progress import GameInProgress


def test_a_game_in_progress_is_gone_back_in_and_told_by_both_players():
    position = GameInProgress(load_game("tictactoe"))
    for action in (0, 3, 1, 4):
        position.play(action)
    before = position.observation
    position.play(2)
    assert (position.over, position.returns, position.movers) == (True, (1.0, -1.0), [0, 1, 0, 1, 0])
    with pytest.raises(ValueError, match="the game is over"):
        position.play(5)
    position.go_back_to(4)
    np.testing.assert_array_equal(position.observation, before)
    assert (position.over, position.returns, position.history) == (False, (0.0, 0.0), [0, 3, 1, 4])
    with pytest.raises(ValueError, match="A1 is not legal now"):
        position.play(0)
    with pytest.raises(ValueError, match="there are 4 moves, not 5"):
        position.go_back_to(5)


def test_a_game_in_progress_is_played_without_the_aids_of_training():
    position = GameInProgress(lambda: AidedNoughts(stops_after=2))
    for action in (CENTRE, 0, 1, 2):
        position.play(action)
    assert (position.over, position.returns) == (False, (0.0, 0.0))
    position.play(7)  # the middle column
    assert (position.over, position.returns) == (True, (1.0, -1.0))
