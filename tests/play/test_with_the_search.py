"""Self-play, evaluation and reanalysis with the real search; the true rules of tic-tac-toe stand in for a network."""

import numpy as np
from reference.fake_models import RulesModel

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.config import SearchConfig
from muzero_ray.core.game import Game
from muzero_ray.core.types import ReanalyzeRequest, Weights
from muzero_ray.mcts.planner import Planner, make_planner
from muzero_ray.play.evaluation import evaluate
from muzero_ray.play.fixtures import AgentPlayer, OpponentPlayer
from muzero_ray.play.match import play_match
from muzero_ray.play.opponents import ExpertOpponent, RandomOpponent
from muzero_ray.play.reanalyze import Reanalyzer
from muzero_ray.play.self_play import SelfPlayer

MAKE_GAME = load_game("tictactoe")


class TrueRules(RulesModel):
    """Has no weights, so it takes any."""

    def set_weights(self, weights: Weights) -> None: ...


def game_of(observation: np.ndarray) -> Game:
    """The game in the state that an observation shows, found by playing the stones in turns."""
    mine, other = (np.flatnonzero(plane) for plane in observation)
    first, second = (mine, other) if len(mine) == len(other) else (other, mine)
    game = MAKE_GAME()
    game.reset(0)
    for number in range(len(first) + len(second)):
        game.step(int((first, second)[number % 2][number // 2]))
    return game


def planner(num_simulations: int) -> Planner:
    config = SearchConfig(num_simulations=num_simulations, q_normalization="bounds", c_scale=1.0)
    return make_planner(config, MAKE_GAME().spec.value_bounds)


def test_searching_the_true_rules_never_loses_to_the_expert_and_mostly_beats_random_play() -> None:
    model = TrueRules(game_of)
    # Without a value network a fork shows only deep in the tree: 400 simulations still lose.
    agent = AgentPlayer("agent", planner(1600), model)
    against_expert = play_match(MAKE_GAME, agent, OpponentPlayer(ExpertOpponent), games=2)
    assert against_expert.scores == (0.5, 0.5)
    against_random = play_match(MAKE_GAME, agent, OpponentPlayer(RandomOpponent), games=20)
    assert against_random.losses == 0
    assert against_random.score > 0.8


def test_evaluation_with_the_search_is_the_same_every_time_and_whatever_the_batch() -> None:
    first, second = (evaluate(MAKE_GAME, planner(16), TrueRules(game_of), range(3), max_games=n) for n in (3, 2))
    assert first == second == evaluate(MAKE_GAME, planner(16), TrueRules(game_of), range(3))


def test_self_play_with_the_search_yields_valid_trajectories_that_reanalysis_can_search_again() -> None:
    seed = np.random.SeedSequence(0)
    player = SelfPlayer(MAKE_GAME, planner(16), TrueRules(game_of), num_games=4, sampled_moves=2, seed=seed)
    player.set_weights({}, 0)
    pieces, report = player.play(10)
    assert report.simulations == 10 * 4 * 16
    assert any(piece.terminated for piece in pieces)
    for piece in pieces:
        piece.check(num_actions=9)
        assert piece.legal_actions[np.arange(piece.num_steps), piece.actions].all()
    piece = max(pieces, key=lambda piece: piece.num_steps)
    reanalyzer = Reanalyzer(planner(16), TrueRules(game_of), noise_scale=0.0, rng=np.random.default_rng(0))
    reanalyzer.set_weights({}, 1)
    request = ReanalyzeRequest(np.arange(piece.num_steps), piece.observations[:-1], piece.legal_actions)
    result = reanalyzer.reanalyze(request)
    np.testing.assert_allclose(result.search_policies.sum(axis=1), 1.0, atol=1e-5)
    assert (result.search_policies[~piece.legal_actions] == 0).all()
