"""Small games as a whole, and the opponent that never errs."""

from typing import Any

import numpy as np
import pytest
from reference.counting_game import CountingGame
from reference.toy_games import Noughts, TakeAgain, noughts_outcomes, take_again_values

from muzero_ray.adapters.loading import load_game
from muzero_ray.play.fixtures import OpponentPlayer
from muzero_ray.play.match import play_match
from muzero_ray.play.opponent import UnknownOpponentError
from muzero_ray.play.opponents import RandomOpponent, make_opponent
from muzero_ray.play.perfect_play import GameGraph, TooLargeError


@pytest.fixture(scope="module")
def tictactoe() -> GameGraph:
    return GameGraph(load_game("tictactoe")())


def test_tic_tac_toe_has_5478_positions_of_which_4520_have_a_move_to_be_made(tictactoe: GameGraph) -> None:
    assert len(tictactoe.states) == 5478
    assert sum(bool(state.moves) for state in tictactoe.states) == 4520
    assert tictactoe.states[0].value == 0.0


def test_values_and_moves_are_those_of_trying_everything(tictactoe: GameGraph) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        game, history = Noughts(), []
        for _ in range(int(rng.integers(3, 7))):
            history.append(int(rng.choice(np.flatnonzero(game.legal_actions()))))
            if game.step(history[-1])[2]:
                break
        else:
            state = tictactoe.state_after(history)
            outcomes = noughts_outcomes("".join(".XO"[cell] for cell in game.cells))
            best = max(value for value, _ in outcomes.values())
            assert state.value == best
            assert tictactoe.best_actions(state) == [a for a, (value, _) in outcomes.items() if value == best]


def test_values_are_right_where_turns_do_not_alternate() -> None:
    graph = GameGraph(TakeAgain(10))
    assert graph.states[0].value == max(take_again_values(10).values())
    for state in graph.states:
        if state.moves:
            values = take_again_values(int(state.observation[0]))
            assert {action: graph.action_value(state, action) for action in state.moves} == values


def test_a_game_with_more_positions_than_the_limit_is_refused() -> None:
    with pytest.raises(TooLargeError, match="noughts: wanted a game of at most 5,477 positions, but it has more"):
        GameGraph(Noughts(), 5477)
    assert len(GameGraph(Noughts(), 5478).states) == 5478


def test_a_game_with_chance_is_refused() -> None:
    class Dice(CountingGame):
        def reset(self, seed: int) -> Any:
            self._length = 2 + seed
            return super().reset(seed)

    with pytest.raises(TooLargeError, match="dice: wanted a game without chance"):
        GameGraph(Dice(2, num_players=2))


def test_a_game_whose_positions_come_back_is_refused() -> None:
    class Circle(TakeAgain):
        def step(self, action: int) -> Any:
            self.stones = 10 if self.stones == 5 else self.stones
            return super().step(action)

    with pytest.raises(TooLargeError, match="no position comes back, but some do"):
        GameGraph(Circle(10))


def test_a_game_for_one_is_refused() -> None:
    with pytest.raises(TooLargeError, match="wanted a game for 2 players, got one for 1"):
        GameGraph(CountingGame(3))


def test_perfect_never_loses_tic_tac_toe_and_plays_every_good_move() -> None:
    make_game = load_game("tictactoe")
    perfect = make_opponent("perfect", make_game())
    result = play_match(
        make_game, OpponentPlayer(lambda: perfect), OpponentPlayer(RandomOpponent), games=60, opening_moves=0
    )
    assert result.losses == 0
    game = make_game()
    game.reset(0)
    # Every first move keeps the draw.
    assert {perfect.choose(game, (), np.random.default_rng(seed)) for seed in range(100)} == set(range(9))


def test_perfect_knows_connect_four() -> None:
    game = load_game("connect4")()
    perfect = make_opponent("perfect", game)
    game.reset(0)
    history = (0, 0, 1, 1, 2, 2)
    for action in history:
        game.step(action)
    assert perfect.choose(game, history, np.random.default_rng(0)) == 3


def test_perfect_is_refused_in_large_games() -> None:
    with pytest.raises(UnknownOpponentError, match="'perfect' knows connect four, and games small enough to be solved"):
        make_opponent("perfect", load_game("othello")())
