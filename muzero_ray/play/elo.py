"""From results of games to strength: scores with intervals, and Elo ratings with intervals.

Pure functions of counts. A score is a share of the points: a win counts 1, a draw 1/2, a loss 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muzero_ray.core.reports import Pairing

Z95 = 1.959963984540054
"""Standard deviations of a normal distribution within which 95% of it lie."""
_PER_UNIT = 400.0 / math.log(10.0)
"""Elo per natural unit of log odds, 173.7."""
_MAX_STEPS = 200
"""Of Newton's method, which needs about ten."""


def expected_score(elo: float) -> float:
    """The score to be expected of a player so much stronger than another.

    >>> round(expected_score(400.0), 4)
    0.9091

    Source: Elo, "The rating of chessplayers, past and present", 1978, in its logistic form.
    """
    return 1.0 / (1.0 + math.pow(10.0, -elo / 400.0))


def elo_difference(score: float) -> float:
    """The difference in strength at which a score is to be expected; infinite for 0 and 1.

    Args:
        score: in [0, 1].

    Raises:
        ValueError: if it is not.

    >>> round(elo_difference(0.75), 1)
    190.8
    """
    if not 0.0 <= score <= 1.0:
        raise ValueError(f"elo_difference: score must lie in [0, 1], got {score}")
    if score in (0.0, 1.0):
        return math.copysign(math.inf, score - 0.5)
    return _PER_UNIT * math.log(score / (1.0 - score))


def wilson_interval(points: float, games: int, z: float = Z95) -> tuple[float, float]:
    """Interval that holds the true score; 95% confidence by default.

    Draws count as half a win and half a loss; as they vary less than wins and losses do, the interval is
    rather too wide where there are many.

    Args:
        points: 0 to `games`.
        games: at least 1.
        z: standard deviations.

    Raises:
        ValueError: if there are no games, or fewer than points.

    >>> [round(bound, 4) for bound in wilson_interval(8, 10)]
    [0.4902, 0.9433]

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if games < 1 or not 0 <= points <= games:
        raise ValueError(f"wilson_interval: wanted 0 <= points <= games and a game at least, got {points} of {games}")
    share = points / games
    centre = share + z * z / (2 * games)
    spread = z * math.sqrt(share * (1.0 - share) / games + z * z / (4 * games * games))
    total = 1.0 + z * z / games
    # The bounds of nothing and of everything, which rounding would miss.
    low = 0.0 if points == 0 else (centre - spread) / total
    high = 1.0 if points == games else (centre + spread) / total
    return low, high


@dataclass(frozen=True)
class Rating:
    """A player's strength, on a scale on which the anchor has 0."""

    elo: float
    low: float
    high: float
    """Bounds of the interval that holds the true strength with 95% confidence."""


def fit_elo(pairings: Sequence[Pairing], anchor: str, *, prior_draws: float = 1.0) -> dict[str, Rating]:
    """The ratings under which the results are most probable, by name.

    The likelihood is that of Bradley and Terry, a draw being half a win and half a loss. A weak prior keeps
    ratings finite where somebody won every game: about one drawn game is added for every player, in equal parts
    against all whom it met. (For two who met only each other that is one game, Jeffreys's prior.) A game for every
    pairing would draw players together that meet many others a few times each, as on a ladder. The intervals come
    from the Fisher information, the prior included; that of the anchor is a point, as all ratings are told relative
    to it.

    Args:
        pairings: the same two players may occur more than once, in either order.
        anchor: the player with rating 0.
        prior_draws: drawn games added for every player; 0 for plain maximum likelihood. Two who met get the mean of
            what each of them gives to the other.

    Raises:
        ValueError: if somebody has met the anchor neither directly nor by way of others, or, without a prior,
            if no finite ratings are most probable.

    Source: Bradley and Terry, Biometrika 39 (1952); the intervals are those of maximum likelihood in general.
    """
    names = list(dict.fromkeys([anchor, *(name for each in pairings for name in (each.first, each.second))]))
    points, games = _tables(pairings, names, prior_draws)
    _check_connected(points, games, names)
    strength = _most_probable(points, games)
    information = _information(strength, games)
    covariance = np.zeros_like(information)
    if len(names) > 1:
        covariance[1:, 1:] = np.linalg.inv(information[1:, 1:])
    ratings = {}
    for index, name in enumerate(names):
        elo = _PER_UNIT * float(strength[index])
        half = Z95 * _PER_UNIT * math.sqrt(covariance[index, index])
        ratings[name] = Rating(elo, elo - half, elo + half)
    return ratings


def _tables(pairings: Sequence[Pairing], names: list[str], prior_draws: float) -> tuple[np.ndarray, np.ndarray]:
    """`[n, n]` points of each against each, and games, the prior's included."""
    number = {name: index for index, name in enumerate(names)}
    points, games = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    for each in pairings:
        if each.games < 1 or not 0 <= each.points <= each.games or each.first == each.second:
            raise ValueError(f"fit_elo: wanted two players, a game and no more points than games, got {each}")
        i, j = number[each.first], number[each.second]
        points[i, j] += each.points
        points[j, i] += each.games - each.points
        games[i, j] += each.games
        games[j, i] += each.games
    met = games > 0
    given = met / np.maximum(1, met.sum(axis=1, keepdims=True))  # [n, n]; each row adds up to 1
    drawn = prior_draws * (given + given.T) / 2.0
    return points + drawn / 2.0, games + drawn


def _check_connected(points: np.ndarray, games: np.ndarray, names: list[str]) -> None:
    """Raises ValueError unless there is exactly one set of finite ratings under which the results are most probable."""
    lost = set(range(len(names))) - _reached(games > 0)
    if lost:
        told = ", ".join(names[index] for index in sorted(lost))
        raise ValueError(f"fit_elo: {told} must have met {names[0]}, directly or by way of others")
    # Ratings are finite if everybody has points from everybody, directly or by way of others (Ford, 1957).
    if len(_reached(points > 0)) < len(names) or len(_reached(points.T > 0)) < len(names):
        raise ValueError("fit_elo: no finite ratings are most probable, as somebody won all or none; use a prior")


def _reached(links: np.ndarray) -> set[int]:
    """Those that can be reached from number 0 by `[n, n]` bool links."""
    reached, frontier = {0}, [0]
    while frontier:
        for index in np.flatnonzero(links[frontier.pop()]).tolist():
            if index not in reached:
                reached.add(index)
                frontier.append(index)
    return reached


def _most_probable(points: np.ndarray, games: np.ndarray) -> np.ndarray:
    """`[n]` strengths in natural log odds, that of player 0 being 0, by Newton's method with halved steps."""
    strength = np.zeros(len(points))
    for _ in range(_MAX_STEPS):
        gradient = points.sum(axis=1) - (games * _win_probabilities(strength)).sum(axis=1)
        if np.abs(gradient[1:]).max(initial=0.0) < 1e-9 * max(1.0, games.sum()):
            break
        step = np.zeros(len(points))
        step[1:] = np.linalg.solve(_information(strength, games)[1:, 1:], gradient[1:])
        likelihood = _log_likelihood(strength, points)
        # Far from the summit Newton's step may lead beyond it.
        while _log_likelihood(strength + step, points) < likelihood and np.abs(step).max() > 1e-12:
            step /= 2.0
        strength = strength + step
    return strength


def _win_probabilities(strength: np.ndarray) -> np.ndarray:
    """`[n, n]`: of row against column."""
    # The logistic function, in a form that does not overflow.
    probabilities: np.ndarray = 0.5 + 0.5 * np.tanh(0.5 * (strength[:, None] - strength[None, :]))
    return probabilities


def _log_likelihood(strength: np.ndarray, points: np.ndarray) -> float:
    return -float((points * np.logaddexp(0.0, strength[None, :] - strength[:, None])).sum())


def _information(strength: np.ndarray, games: np.ndarray) -> np.ndarray:
    """`[n, n]` Fisher information, which is minus the second derivative of the log-likelihood."""
    probabilities = _win_probabilities(strength)
    shared = games * probabilities * probabilities.T
    information: np.ndarray = np.diag(shared.sum(axis=1)) - shared
    return information
