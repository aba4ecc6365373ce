"""Evaluations: alone in a game for one, on a ladder of opponents and earlier agents in a game for two."""

import numpy as np
import pytest
from reference.tiny_runs import tiny_config

from muzero_ray.actors import examiner as examiner_module
from muzero_ray.actors.examiner import Examiner
from muzero_ray.core.rng import evaluation_seeds
from muzero_ray.nn.networks import build_network, to_weights

BOARD = {
    "game": "tictactoe",
    "search": {"q_normalization": "bounds", "num_simulations": 4},
    "network": {"value_head": "scalar", "support_transform": False, "reward_support": [-1.0, 1.0]},
}


def weights_of(examiner: Examiner, config, seed: int):
    weights = to_weights(build_network(config.network, examiner.agent.spec, consistency=False, seed=seed))
    # The output layer starts at zero: with random numbers in it, agents differ.
    rng = np.random.default_rng(seed)
    return {name: value + rng.normal(0, 0.1, value.shape).astype(np.float32) for name, value in weights.items()}


def test_a_game_for_one_is_played_on_the_seeds_of_evaluation_and_has_no_strength():
    config = tiny_config()
    examiner = Examiner(config)
    report = examiner.evaluate(weights_of(examiner, config, 0), 7, 3, ())
    assert [episode.seed for episode in report.episodes] == evaluation_seeds(config.seed, 3)
    assert report.weights_version == 7
    assert report.strength is None


def test_an_agent_meets_anchors_and_its_earlier_selves():
    config = tiny_config(**BOARD, evaluate={"opponents": "random,oneply", "earlier_agents": 2})
    examiner = Examiner(config)
    pairings, met = [], []
    for version in (10, 20, 30, 40):
        strength = examiner.evaluate(weights_of(examiner, config, version), version, 12, pairings).strength
        pairings += strength.pairings
        met.append({pairing.second for pairing in strength.pairings})
        assert strength.ratings["random"] == (0.0, 0.0, 0.0)
        low, high = strength.ci95
        assert low < strength.elo < high
        assert strength.ratings[f"agent:{version}"] == (strength.elo, low, high)
    assert met[0] == {"random", "oneply"}
    assert met[1] == {"random", "oneply", "agent:10"}
    assert met[2] == {"random", "oneply", "agent:10", "agent:20"}
    assert len(met[3]) == 4
    assert "agent:30" in met[3]
    # Everybody who ever played has a rating, and all games count.
    assert set(strength.ratings) == {"random", "oneply", "agent:10", "agent:20", "agent:30", "agent:40"}
    assert sum(pairing.games for pairing in pairings) == 4 * 12


def test_a_new_process_goes_on_with_the_results_of_the_old_one():
    config = tiny_config(**BOARD)
    first = Examiner(config)
    old = first.evaluate(weights_of(first, config, 1), 10, 8, ()).strength
    second = Examiner(config)
    found = second.evaluate(weights_of(second, config, 2), 20, 8, old.pairings).strength
    assert "agent:10" in found.ratings
    assert [pairing.first for pairing in found.pairings] == ["agent:20"]


def test_the_returns_of_a_game_for_two_are_the_agents_own():
    config = tiny_config(**BOARD)
    examiner = Examiner(config)
    report = examiner.evaluate(weights_of(examiner, config, 0), 10, 20, ())
    (pairing,) = report.strength.pairings
    returns = [episode.returns[0] for episode in report.episodes]
    assert pairing.points == pytest.approx(sum(0.5 + 0.5 * value for value in returns))
    assert set(returns) <= {-1.0, 0.0, 1.0}


AIDED = '''"""Takes one move; the second player never comes to it."""
import numpy as np
from muzero_ray.core.game import Game, GameSpec

class OneMove(Game):
    spec = GameSpec(observation_shape=(1,), num_actions=2, num_players=2, value_bounds=(-1.0, 1.0))
    pays = -1.0
    moves = 0

    @property
    def to_play(self): return self.moves

    def reset(self, seed):
        self.moves = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.moves = 1
        return np.zeros(1, np.float32), self.pays, True, False, {}

    def evaluated(self):
        game = OneMove()
        game.pays = 1.0
        return game
'''


def test_a_game_of_one_move_is_evaluated_as_its_results_are_reported(tmp_path, monkeypatch):
    (tmp_path / "onemove.py").write_text(AIDED)
    met = []

    def make_opponent(name, game):
        met.append(game.pays)
        return make(name, game)

    make = examiner_module.make_opponent
    monkeypatch.setattr(examiner_module, "make_opponent", make_opponent)
    config = tiny_config(**{**BOARD, "game": str(tmp_path / "onemove.py")})
    examiner = Examiner(config)
    report = examiner.evaluate(weights_of(examiner, config, 0), 10, 4, ())
    # Whoever moves wins: the agent in every other game.
    assert [(episode.returns[0], episode.length) for episode in report.episodes] == [(1.0, 1), (-1.0, 1)] * 2
    assert met == [1.0]
