"""The ladder: everybody's results enter one scale, and an agent meets its own past."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from reference.aided_games import AidedNoughts
from reference.counting_game import CountingGame
from reference.fake_planner import FakeModel, FakePlanner

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.game import Game
from muzero_ray.core.reports import Pairing
from muzero_ray.play.fixtures import OpponentPlayer
from muzero_ray.play.ladder import Ladder, LadderResult
from muzero_ray.play.opponent import Opponent
from muzero_ray.play.opponents import ExpertOpponent, RandomOpponent

MAKE_GAME = load_game("tictactoe")


class SkilledPlanner(FakePlanner):
    """Plays perfectly where the model's scale is 1 or more, and the first free square where it is less."""

    def __call__(self, model: Any, observations: np.ndarray, legal_actions: np.ndarray, **options: Any) -> Any:
        found = super().__call__(model, observations, legal_actions, **options)
        if model.scale >= 1.0:
            found.actions[:] = [_expert(observation) for observation in observations]
        else:
            found.actions[:] = legal_actions.argmax(axis=1)
        return found


def _expert(observation: np.ndarray) -> int:
    game = MAKE_GAME()
    game.reset(0)
    mine, other = observation.reshape(2, 9)
    signs = "XO" if mine.sum() == other.sum() else "OX"
    game._board = "".join(signs[0] if m else signs[1] if o else "." for m, o in zip(mine, other, strict=True))
    return game.expert_action()


class Steps:
    """A ladder, and all results so far."""

    def __init__(self, ladder: Ladder, pairings: Sequence[Pairing] = ()) -> None:
        self.ladder = ladder
        self.pairings = list(pairings)


def ladder(
    *,
    earlier_agents: int = 3,
    anchors: tuple[Opponent, ...] = (RandomOpponent(),),
    pairings: Sequence[Pairing] = (),
    seed: int = 0,
) -> Steps:
    players = [OpponentPlayer(lambda anchor=anchor: anchor) for anchor in anchors]
    made = Ladder(MAKE_GAME, lambda: FakeModel(9), players, earlier_agents=earlier_agents, opening_moves=1, seed=seed)
    return Steps(made, pairings)


def evaluate(steps: Steps, skill: float, version: int, games: int = 20) -> LadderResult:
    model = FakeModel(9)
    weights = {"scale": np.array([skill])}
    model.set_weights(weights)
    result = steps.ladder.evaluate(SkilledPlanner(), model, weights, version, games, steps.pairings)
    steps.pairings.extend(result.pairings)
    return result


def test_the_first_agent_meets_the_anchors_alone() -> None:
    result = evaluate(ladder(anchors=(RandomOpponent(), ExpertOpponent())), 1.0, 0)
    assert {pairing.second for pairing in result.pairings} == {"random", "expert"}
    assert [pairing.games for pairing in result.pairings] == [10, 10]
    assert result.ratings["random"].elo == 0.0
    assert result.ratings["random"].low == result.ratings["random"].high == 0.0
    assert len(result.episodes) == 20


def test_a_perfect_agent_is_stronger_than_random_play_and_as_strong_as_perfect_play() -> None:
    result = evaluate(ladder(anchors=(RandomOpponent(), ExpertOpponent())), 1.0, 0, games=40)
    assert result.rating.elo > 300
    assert abs(result.rating.elo - result.ratings["expert"].elo) < 100
    assert result.rating.low < result.rating.elo < result.rating.high


def test_later_agents_meet_earlier_ones_and_the_stronger_is_told() -> None:
    steps = ladder()
    weak = evaluate(steps, 0.0, 0)
    assert weak.strongest == weak.newest == "agent:0"
    strong = evaluate(steps, 1.0, 10)
    assert {pairing.second for pairing in strong.pairings} == {"random", "agent:0"}
    assert strong.strongest == strong.newest == "agent:10"
    weak_again = evaluate(steps, 0.0, 20)
    assert {pairing.second for pairing in weak_again.pairings} == {"random", "agent:0", "agent:10"}
    assert weak_again.strongest == "agent:10"
    assert weak_again.rating.elo < weak_again.ratings["agent:10"].elo


def test_all_results_so_far_enter_the_ratings() -> None:
    steps = ladder()
    first = evaluate(steps, 0.0, 0)
    second = evaluate(steps, 1.0, 10)
    assert first.pairings + second.pairings == tuple(steps.pairings)
    assert set(second.ratings) == {"random", "agent:0", "agent:10"}


def test_no_more_earlier_agents_are_kept_than_wanted_and_they_are_spread_over_the_run() -> None:
    steps = ladder(earlier_agents=3)
    for version in range(10, 90, 10):
        evaluate(steps, 0.0, version, games=8)
    met = {pairing.second for pairing in evaluate(steps, 0.0, 90, games=8).pairings}
    kept = sorted(int(name.removeprefix("agent:")) for name in met - {"random"})
    assert len(kept) == 3
    assert kept[-1] == 80
    assert kept[0] <= 40
    assert all(later - earlier >= 10 for earlier, later in pairwise(kept))


def test_without_earlier_agents_only_the_anchors_are_met() -> None:
    steps = ladder(earlier_agents=0)
    for version in range(3):
        assert {pairing.second for pairing in evaluate(steps, 0.0, version, games=4).pairings} == {"random"}


def test_earlier_agents_play_on_models_that_are_kept_and_no_two_at_once_on_one() -> None:
    made: list[FakeModel] = []
    played: list[set[int]] = []

    class Watching(SkilledPlanner):
        def __call__(self, model: Any, *args: Any, **options: Any) -> Any:
            played[-1].add(id(model))
            return super().__call__(model, *args, **options)

    def make_model() -> FakeModel:
        made.append(FakeModel(9))
        return made[-1]

    climbed = Ladder(MAKE_GAME, make_model, [OpponentPlayer(RandomOpponent)], earlier_agents=2, opening_moves=1)
    newest, found = FakeModel(9), []
    for version, skill in enumerate((0.0, 1.0, 0.0, 0.0, 0.0)):
        weights = {"scale": np.array([skill])}
        newest.set_weights(weights)
        played.append(set())
        found.append(climbed.evaluate(Watching(), newest, weights, version, 20))
    assert len(made) == 2
    assert [len(models) for models in played] == [1, 2, 3, 3, 3]  # the newest, and each earlier one by itself
    # Weak against strong and weak: each model plays with the weights of the agent that it is now.
    points = {pairing.second: pairing.points / pairing.games for pairing in found[2].pairings}
    assert points["agent:1"] < points["agent:0"]


def test_games_are_spread_and_everybody_is_met_twice_at_least() -> None:
    steps = ladder(anchors=(RandomOpponent(), ExpertOpponent()))
    evaluate(steps, 0.0, 0)
    spread = evaluate(steps, 0.0, 1, games=20)
    # Ten openings for three opponents: 4, 3 and 3, two games each.
    assert [(pairing.second, pairing.games) for pairing in spread.pairings] == [
        ("random", 8),
        ("expert", 6),
        ("agent:0", 6),
    ]
    few = evaluate(steps, 0.0, 2, games=1)
    assert [pairing.games for pairing in few.pairings] == [2, 2, 2, 2]


def test_the_same_weights_evaluated_twice_are_one_player_with_other_games() -> None:
    steps = ladder()
    first = evaluate(steps, 0.0, 5)
    second = evaluate(steps, 0.0, 5)
    assert list(second.ratings) == ["random", "agent:5"]
    assert {pairing.second for pairing in second.pairings} == {"random"}
    assert [each.seed for each in first.episodes] != [each.seed for each in second.episodes]


def test_a_ladder_is_the_same_every_time_and_goes_on_from_its_results() -> None:
    steps, again = ladder(seed=3), ladder(seed=3)
    for version, skill in ((0, 0.0), (1, 1.0)):
        result = evaluate(steps, skill, version)
        assert evaluate(again, skill, version) == result
    resumed = ladder(seed=3, pairings=steps.pairings)
    later = evaluate(resumed, 1.0, 2)
    assert set(later.ratings) == {"random", "agent:0", "agent:1", "agent:2"}


def test_episodes_tell_the_newest_agents_score_whoever_begins() -> None:
    result = evaluate(ladder(), 1.0, 0)
    points = sum((episode.returns[0] + 1) / 2 for episode in result.episodes)
    assert points == sum(pairing.points for pairing in result.pairings)
    assert all(episode.returns[0] == -episode.returns[1] for episode in result.episodes)


def test_results_of_a_pairing_are_told_as_the_newest_agents() -> None:
    result = evaluate(ladder(anchors=(ExpertOpponent(),)), 0.0, 7)
    (pairing,) = result.pairings
    assert isinstance(pairing, Pairing)
    assert (pairing.first, pairing.second) == ("agent:7", "expert")
    assert pairing.points < pairing.games / 2


def test_a_ladder_is_climbed_without_the_aids_of_training() -> None:
    anchor = OpponentPlayer(RandomOpponent)
    made = Ladder(lambda: AidedNoughts(stops_after=2), lambda: FakeModel(9), [anchor], earlier_agents=0)
    result = made.evaluate(FakePlanner(), FakeModel(9), {"scale": np.zeros(1)}, 0, 20)
    # Nobody can win before the fifth move.
    assert all(episode.length >= 5 and not episode.truncated for episode in result.episodes)


@pytest.mark.parametrize(("length", "opening_moves"), [(1, 0), (2, 1), (3, 2), (4, 2)])
def test_openings_are_shorter_where_games_would_be_over_by_then(length: int, opening_moves: int) -> None:
    first_asked: list[int] = []

    class Listening(RandomOpponent):
        def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
            first_asked.append(len(history))
            return super().choose(game, history, rng)

    make_game, anchor = (lambda: CountingGame(length, num_players=2)), OpponentPlayer(Listening)
    made = Ladder(make_game, lambda: FakeModel(3), [anchor], earlier_agents=0, opening_moves=2)
    result = made.evaluate(FakePlanner(), FakeModel(3), {"scale": np.zeros(1)}, 0, 10)
    assert [episode.length for episode in result.episodes] == [length] * 10
    assert min(first_asked) == opening_moves


def test_a_ladder_needs_an_anchor() -> None:
    with pytest.raises(ValueError, match="ladder: wanted an anchor at least, got none"):
        ladder(anchors=())
