"""With the true rules as the model, both searches find what trying everything finds."""

import numpy as np
import pytest
from reference.fake_models import RulesModel
from reference.searches import search
from reference.toy_games import Noughts, TakeAgain, noughts_outcomes, take_again_values

EVERY_SEARCH = pytest.mark.parametrize("algorithm", ["gumbel", "muzero"])


def best_actions(algorithm, games, *, num_simulations, model=None):
    """The greedy action in each game, with known bounds and no noise."""
    model = model or RulesModel(lambda number: games[int(number)])
    own = {"max_considered_actions": 9, "c_scale": 1.0} if algorithm == "gumbel" else {}
    found = search(
        algorithm,
        model,
        np.arange(len(games)),
        np.array([game.legal_actions() for game in games]),
        num_simulations=num_simulations,
        scale=0.0,
        normalization="bounds",
        value_bounds=(-1.0, 1.0),
        **own,
    )
    return found.actions.tolist()


@EVERY_SEARCH
def test_search_takes_the_win(algorithm):
    games = [Noughts("XX./OO./..."), Noughts("OO./XX./X..")]
    assert best_actions(algorithm, games, num_simulations=60) == [2, 2]


@EVERY_SEARCH
def test_search_blocks_the_loss(algorithm):
    games = [Noughts("OO./X../..X"), Noughts("X../.X./O..")]
    assert best_actions(algorithm, games, num_simulations=120) == [2, 8]


def positions_of_noughts(rng, wanted, count):
    """Boards reached by random play whose action outcomes satisfy `wanted(outcomes)`."""
    boards = set()
    while len(boards) < count:
        game = Noughts()
        for _ in range(rng.integers(3, 7)):
            _, _, over, _, _ = game.step(int(rng.choice(np.flatnonzero(game.legal_actions()))))
            if over:
                break
        else:
            board = "".join(".XO"[cell] for cell in game.cells)
            if wanted(noughts_outcomes(board)):
                boards.add(board)
    return sorted(boards)


def wins_in(plies):
    def wanted(outcomes):
        winning = [length for outcome, length in outcomes.values() if outcome == 1]
        return len(winning) == 1 and winning == [plies]

    return wanted


def one_move_avoids_loss(outcomes):
    return [outcome for outcome, _ in outcomes.values()].count(-1) == len(outcomes) - 1


@EVERY_SEARCH
@pytest.mark.parametrize(
    "wanted", [wins_in(1), one_move_avoids_loss, wins_in(3)], ids=["depth 1", "depth 2", "depth 3"]
)
def test_search_finds_the_only_good_move(algorithm, wanted):
    boards = positions_of_noughts(np.random.default_rng(1), wanted, count=8)
    actions = best_actions(algorithm, [Noughts(board) for board in boards], num_simulations=300)
    for board, action in zip(boards, actions, strict=True):
        outcomes = {move: outcome for move, (outcome, _) in noughts_outcomes(board).items()}
        assert outcomes[action] == max(outcomes.values()), board


@EVERY_SEARCH
def test_search_is_right_where_a_player_may_move_twice(algorithm):
    heaps = range(2, 12)
    games = [TakeAgain(stones, to_play=stones % 2) for stones in heaps]
    actions = best_actions(algorithm, games, num_simulations=400)
    for stones, action in zip(heaps, actions, strict=True):
        values = take_again_values(stones)
        assert values[action] == max(values.values()), stones


@EVERY_SEARCH
def test_a_model_that_claims_strict_alternation_is_wrong_there(algorithm):
    class Alternating(RulesModel):
        def _step(self, game, action):
            reward, discount, after = super()._step(game, action)
            return reward, -abs(discount), after

    heaps = range(2, 12)
    games = [TakeAgain(stones) for stones in heaps]
    model = Alternating(lambda number: games[int(number)])
    actions = best_actions(algorithm, games, num_simulations=400, model=model)
    values = [take_again_values(stones) for stones in heaps]
    assert any(outcomes[action] < max(outcomes.values()) for outcomes, action in zip(values, actions, strict=True))
