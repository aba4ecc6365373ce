"""Targets of games for two, against brute force: at every start, for every unroll step, whatever the order of turns."""

import numpy as np
import pytest
from reference.naive_replay import RecordedGame, naive_window, random_game
from reference.replay_buffers import all_indices, make_buffer

GAMES, UNROLL = 300, 5


def with_turns(game: RecordedGame, rng: np.random.Generator, alternating: bool) -> RecordedGame:
    """The game with players by turns, or in an order of chance in which somebody moves twice in a row at least once."""
    count = game.length + 1
    if alternating:
        game.to_play = [t % 2 for t in range(count)]
        return game
    order = rng.integers(2, size=count)
    if count > 2 and (order[1:] != order[:-1]).all():
        order[1] = order[0]
    game.to_play = order.tolist()
    return game


@pytest.mark.parametrize("td_steps", [3, 100])
@pytest.mark.parametrize("alternating", [True, False])
def test_targets_of_300_random_games_equal_brute_force_at_every_start_and_step(alternating: bool, td_steps: int):
    rng = np.random.default_rng([alternating, td_steps])
    buffer = make_buffer(unroll_steps=UNROLL, td_steps=td_steps, capacity_steps=20_000)
    games = [with_turns(random_game(rng, game_id), rng, alternating) for game_id in range(GAMES)]
    if not alternating:
        twice = [any(a == b for a, b in zip(game.to_play, game.to_play[1:], strict=False)) for game in games]
        assert sum(twice) > GAMES // 2
    for game in games:
        while game.delivered < game.length:
            buffer.add(game.next_piece(int(rng.integers(1, 6))))
    batch = buffer.windows(all_indices(buffer))
    compared = 0
    for row, (game_id, start) in enumerate(batch.observations.astype(int)):
        twin = naive_window(games[game_id], start, unroll_steps=UNROLL, td_steps=td_steps, discount=0.9)
        np.testing.assert_allclose(batch.target_values[row], twin.target_values, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(batch.value_mask[row], twin.value_mask)
        np.testing.assert_array_equal(batch.target_rewards[row], twin.target_rewards)
        compared += 1
    # Every state in which somebody moved, and the last states of the games that are over.
    assert compared == sum(game.length + game.over for game in games)


def test_the_outcome_is_told_to_each_player_from_its_own_side():
    """A game of four moves, of which player 1 makes two in a row and wins with the last: by hand."""
    game = RecordedGame(
        game_id=0,
        ending="terminated",
        actions=[0, 1, 2, 0],
        rewards=[0.0, 0.0, 0.0, 1.0],
        to_play=[0, 1, 0, 1, 1],
        policies=[[1.0, 0.0, 0.0]] * 4,
        values=[0.3, 0.3, 0.3, 0.3, 0.0],
        legal=[[True, True, True]] * 4,
    )
    game.to_play = [0, 1, 1, 1, 0]
    buffer = make_buffer(unroll_steps=3, td_steps=10, discount=1.0)
    buffer.add(game.next_piece(4))
    batch = buffer.windows(all_indices(buffer)[:4])
    # Player 0 has lost in state 0; player 1, who moves in states 1 to 3, has won; nothing is left in state 4.
    assert batch.target_values.tolist() == [[-1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
