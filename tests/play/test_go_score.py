"""Points at Go are counted as our games decide them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from muzero_ray.adapters.loading import load_game
from muzero_ray.play.game_in_progress import GameInProgress
from muzero_ray.play.go_score import area_score


def test_points_at_go_are_stones_and_what_only_they_reach():
    assert area_score(3, []) == 0
    assert area_score(3, [(0, (1, 1))]) == 9
    assert area_score(3, [(0, (0, 0)), (1, (2, 2))]) == 0  # both reach all the seven others
    # Black has the left column, White the right one, the middle one is nobody's.
    moves = [(player, (row, 2 * player)) for row in range(3) for player in (0, 1)]
    assert area_score(3, moves) == 0
    # White's corner stone is taken by A2 and B1: then everything is Black's.
    assert area_score(3, [(1, (0, 0)), (0, (1, 0)), (1, None), (0, (0, 1))]) == 9


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_games_of_go_are_scored_as_the_game_itself_decides_them(seed):
    position = GameInProgress(load_game("go9"))
    rng = np.random.default_rng(seed)
    # Passes are rare, so that boards fill up and stones are taken.
    while not position.over and len(position.history) < 120:
        legal = position.game.legal_actions()
        legal[81] = not legal[:81].any()
        position.play(int(rng.choice(np.flatnonzero(legal))))
    while not position.over:
        position.play(81)
    moves = [(m, None if a == 81 else divmod(a, 9)) for m, a in zip(position.movers, position.history, strict=True)]
    repeated = position.returns[0] == 0
    assert repeated or (area_score(9, moves) > 7.5) == (position.returns[0] > 0)
