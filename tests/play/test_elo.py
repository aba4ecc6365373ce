"""Scores, intervals and ratings: by hand, and against slow twins."""

import math

import numpy as np
import pytest

from muzero_ray.play.elo import Pairing, elo_difference, expected_score, fit_elo, wilson_interval


def test_three_quarters_of_the_points_are_190_8_elo() -> None:
    # 400 log10(0.75 / 0.25) = 400 log10(3) = 400 * 0.47712 = 190.85
    assert elo_difference(0.75) == pytest.approx(190.85, abs=0.005)
    assert expected_score(190.85) == pytest.approx(0.75, abs=1e-5)
    assert expected_score(0.0) == 0.5
    assert expected_score(400.0) == pytest.approx(10 / 11)


def test_a_score_and_its_mirror_are_opposite_differences() -> None:
    for score in (0.5, 0.6, 0.99):
        assert elo_difference(1.0 - score) == pytest.approx(-elo_difference(score), abs=1e-9)


def test_winning_everything_is_infinitely_better() -> None:
    assert (elo_difference(1.0), elo_difference(0.0)) == (math.inf, -math.inf)


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
def test_a_score_out_of_range_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match=r"score must lie in \[0, 1\]"):
        elo_difference(score)


def test_wilson_interval_by_hand() -> None:
    # 8 of 10 with z = 2: centre (0.8 + 4/20) / (1 + 4/10) = 1 / 1.4 = 0.714286;
    # spread 2 sqrt(0.8 * 0.2 / 10 + 4 / 400) / 1.4 = 2 sqrt(0.026) / 1.4 = 0.230350
    low, high = wilson_interval(8, 10, z=2.0)
    assert (low, high) == (pytest.approx(0.483936, abs=1e-6), pytest.approx(0.944636, abs=1e-6))


@pytest.mark.parametrize(("points", "games"), [(0, 5), (5, 5), (3.5, 7), (120, 200), (1, 1)])
def test_wilson_bounds_are_the_scores_from_which_the_result_is_just_z_deviations_away(
    points: float, games: int
) -> None:
    """Slow twin: the bounds solve |share - p| = z sqrt(p (1 - p) / games), found here by halving."""
    z, share = 1.959963984540054, points / games

    def distance(p: float) -> float:
        return abs(share - p) - z * math.sqrt(p * (1 - p) / games)

    def root(inside: float, outside: float) -> float:
        if distance(outside) <= 0:
            return outside
        for _ in range(100):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if distance(middle) <= 0 else (inside, middle)
        return inside

    assert wilson_interval(points, games) == pytest.approx((root(share, 0.0), root(share, 1.0)), abs=1e-9)


@pytest.mark.parametrize("games", [1, 20, 100, 333])
def test_intervals_of_nothing_and_of_everything_end_there_exactly(games: int) -> None:
    assert wilson_interval(0, games)[0] == 0.0
    assert wilson_interval(games, games)[1] == 1.0


@pytest.mark.parametrize(("points", "games"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_counts_are_refused(points: float, games: int) -> None:
    with pytest.raises(ValueError, match="wanted 0 <= points <= games"):
        wilson_interval(points, games)


def test_two_players_differ_by_the_elo_of_their_score() -> None:
    ratings = fit_elo([Pairing("agent", "random", 75.0, 100)], "random", prior_draws=0.0)
    assert ratings["agent"].elo == pytest.approx(190.85, abs=0.005)
    # Fisher information 100 * 0.75 * 0.25 = 18.75 per unit of log odds; 1.95996 / sqrt(18.75) * 400 / ln 10 = 78.63
    assert ratings["agent"].high - ratings["agent"].elo == pytest.approx(78.63, abs=0.01)
    assert (ratings["random"].elo, ratings["random"].low, ratings["random"].high) == (0.0, 0.0, 0.0)


def test_the_prior_is_one_drawn_game_and_keeps_a_clean_sweep_finite() -> None:
    # 20 of 20 and a draw: 20.5 of 21, 400 log10(20.5 / 0.5) = 645.1
    ratings = fit_elo([Pairing("agent", "random", 20.0, 20)], "random")
    assert ratings["agent"].elo == pytest.approx(645.1, abs=0.05)
    assert math.isfinite(ratings["agent"].low)


def test_without_a_prior_a_clean_sweep_is_refused() -> None:
    with pytest.raises(ValueError, match="no finite ratings are most probable"):
        fit_elo([Pairing("agent", "random", 20.0, 20)], "random", prior_draws=0.0)


def test_strength_is_passed_on_along_a_chain() -> None:
    # Three links of 75% each: 3 * 190.85.
    chain = [Pairing("a", "anchor", 75, 100), Pairing("b", "a", 75, 100), Pairing("b", "c", 25, 100)]
    ratings = fit_elo(chain, "anchor", prior_draws=0.0)
    assert ratings["c"].elo == pytest.approx(3 * 190.85, abs=0.01)
    # Variances add up along a chain.
    halves = [ratings[name].high - ratings[name].elo for name in "abc"]
    assert halves == pytest.approx([78.63, 78.63 * math.sqrt(2), 78.63 * math.sqrt(3)], abs=0.02)


def test_the_order_of_two_players_and_the_split_of_their_games_do_not_matter() -> None:
    whole = fit_elo([Pairing("a", "b", 7.0, 10)], "b")
    split = fit_elo([Pairing("a", "b", 3.0, 4), Pairing("b", "a", 2.0, 6)], "b")
    assert whole["a"].elo == pytest.approx(split["a"].elo)


def test_those_who_never_met_the_anchors_circle_are_named() -> None:
    with pytest.raises(ValueError, match="c, d must have met anchor, directly or by way of others"):
        fit_elo([Pairing("a", "anchor", 1, 2), Pairing("c", "d", 1, 2)], "anchor")


@pytest.mark.parametrize("pairing", [Pairing("a", "b", 3, 2), Pairing("a", "b", 0, 0), Pairing("a", "a", 1, 2)])
def test_impossible_results_are_refused(pairing: Pairing) -> None:
    with pytest.raises(ValueError, match="fit_elo: wanted two players"):
        fit_elo([pairing], "b")


def test_nobody_but_the_anchor_has_a_rating_without_games() -> None:
    assert list(fit_elo([], "anchor")) == ["anchor"]


@pytest.mark.parametrize("seed", range(5))
def test_ratings_are_those_of_minorisation_and_maximisation(seed: int) -> None:
    """Slow twin: Hunter's iteration for Bradley and Terry's model, gamma_i = w_i / sum_j n_ij / (gamma_i + gamma_j)."""
    rng = np.random.default_rng(seed)
    names = ["p0", "p1", "p2", "p3", "p4"]
    pairings = []
    for i in range(5):
        for j in range(i):
            if i - j == 1 or rng.random() < 0.5:
                games = int(rng.integers(1, 30))
                pairings.append(Pairing(names[i], names[j], float(rng.integers(0, 2 * games + 1)) / 2, games))
    opponents = {name: sum(name in (each.first, each.second) for each in pairings) for name in names}
    wins, met = np.zeros(5), np.zeros((5, 5))
    for each in pairings:
        i, j = names.index(each.first), names.index(each.second)
        # Each gives one drawn game in equal parts to all whom it met; what two give to each other is averaged.
        drawn = (1 / opponents[each.first] + 1 / opponents[each.second]) / 2
        wins[i] += each.points + drawn / 2
        wins[j] += each.games - each.points + drawn / 2
        met[i, j] += each.games + drawn
        met[j, i] += each.games + drawn
    gamma = np.ones(5)
    for _ in range(20_000):
        gamma = wins / (met / (gamma[:, None] + gamma[None, :])).sum(axis=1)
        gamma /= gamma[0]
    ratings = fit_elo(pairings, "p0")
    assert [ratings[name].elo for name in names] == pytest.approx(400 * np.log10(gamma), abs=1e-3)


def test_the_interval_holds_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    truth, held = 120.0, 0
    for _ in range(400):
        points = float(rng.binomial(100, expected_score(truth)))
        rating = fit_elo([Pairing("a", "b", points, 100)], "b")["a"]
        held += rating.low <= truth <= rating.high
    assert 0.92 <= held / 400 <= 0.98


def test_a_long_ladder_is_fitted_though_most_results_are_lopsided() -> None:
    pairings = [Pairing(f"agent:{i}", f"agent:{i - 1}", 10.0, 10) for i in range(1, 60)]
    pairings.append(Pairing("agent:0", "random", 9.0, 10))
    ratings = fit_elo(pairings, "random")
    # Who met two others gives half a drawn game to each, agent 59 a whole one to the only one it met: 58 steps are
    # 10.25 of 10.5, 400 log10(41) = 645.11, and the last is 10.375 of 10.75, 400 log10(10.375 / 0.375) = 576.77.
    assert ratings["agent:59"].elo - ratings["agent:0"].elo == pytest.approx(58 * 645.1137 + 576.7725, rel=1e-4)


def test_few_games_against_many_others_count_like_many_against_one() -> None:
    """A prior of one drawn game for each of ten pairings would halve what a clean sweep says."""
    others = [f"p{i}" for i in range(10)]
    against_many = [Pairing("agent", other, 4.0, 4) for other in others]
    equals = [Pairing(a, b, 500.0, 1000) for i, a in enumerate(others) for b in others[:i]]
    rating = fit_elo([*against_many, *equals], "p0")["agent"].elo
    # 40 of 40, and (1 + 10 * 1 / 10) / 2 = 1 drawn game: 400 log10(40.5 / 0.5) = 763.4
    assert rating == pytest.approx(763.4, abs=1.0)
