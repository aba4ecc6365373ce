"""Two classical ways to look ahead from a position, for any game: alpha-beta and UCT.

Yardsticks for agents, written to be read; no network, no learning, no batches.
"""

import math
import random

from muzero_ray.core.position import Position

_DELAY = 0.99
"""What a reward is worth one move later: less, so that a win is taken rather than put off."""
_TIE = 1e-9


def alpha_beta(position: Position, depth: int) -> list[int]:
    """The best actions of a position, looking `depth` moves ahead; there is more than one where several are equal.

    Rewards count, those of the other player negatively, each 0.99 times what it would count a move sooner. What
    comes after `depth` moves counts 0.

    Args:
        position: not over; it stays as it is.
        depth: at least 1.

    Source: fail-soft alpha-beta, Fishburn, "Another optimization of alpha-beta search", SIGART 84 (1983),
    with killer moves. The windows are shifted by the reward and widened by the delay.
    """
    killers: list[int | None] = [None] * (depth + 1)
    best, chosen = -math.inf, []
    for action in _ordered(position, killers[depth]):
        # An equal value must be found exactly, a smaller one need not.
        value = _value_of(position, action, depth, best - _TIE, math.inf, killers)
        if value > best + _TIE:
            best, chosen = value, [action]
        elif value >= best - _TIE:
            chosen.append(action)
    return sorted(chosen)


def _value_of(
    position: Position, action: int, depth: int, alpha: float, beta: float, killers: list[int | None]
) -> float:
    """The value of an action for the player to move: exact inside of the window, a bound outside of it."""
    after = position.copy()
    mover = position.to_play
    reward = after.play(action)
    if after.over or depth == 1:
        return reward
    low, high = (alpha - reward) / _DELAY, (beta - reward) / _DELAY
    if after.to_play == mover:
        return reward + _DELAY * _search(after, depth - 1, low, high, killers)
    return reward - _DELAY * _search(after, depth - 1, -high, -low, killers)


def _search(position: Position, depth: int, alpha: float, beta: float, killers: list[int | None]) -> float:
    best = -math.inf
    for action in _ordered(position, killers[depth]):
        best = max(best, _value_of(position, action, depth, max(alpha, best), beta, killers))
        if best >= beta:
            killers[depth] = action
            break
    return best


def _ordered(position: Position, killer: int | None) -> list[int]:
    """The legal actions; first the one that refuted a sister position, which often refutes this one too."""
    actions = list(position.legal())
    if killer in actions:
        actions.remove(killer)
        actions.insert(0, killer)
    return actions


class _Node:
    """A position in the tree of UCT, as one who has moved there sees it."""

    __slots__ = ("children", "total", "untried", "visits")

    def __init__(self) -> None:
        self.visits = 0
        self.total = 0.0  # of what player 0 got, rewards on the way to this node included
        self.children: dict[int, _Node] = {}
        self.untried: list[int] | None = None  # None until it is looked at


def uct(position: Position, rollouts: int, rng: random.Random, *, scale: float = 1.0) -> int:
    """The most visited action after so many rollouts; one of the most visited at random if there are several.

    A rollout goes down the tree by UCB1 with the exploration constant sqrt(2), on outcomes brought to [0, 1], adds
    one node, and plays at random to the end.

    Args:
        position: not over; it stays as it is.
        rollouts: games played, at least 1.
        rng: source of everything random.
        scale: the largest outcome of a game; -scale to scale becomes 0 to 1.

    Source: Kocsis and Szepesvari, "Bandit based Monte-Carlo planning", ECML 2006; UCB1 is Auer et al., "Finite-time
    analysis of the multiarmed bandit problem", 2002.
    """
    root = _Node()
    for _ in range(rollouts):
        _rollout(root, position.copy(), rng, scale)
    most = max(child.visits for child in root.children.values())
    return rng.choice([action for action, child in root.children.items() if child.visits == most])


def _rollout(root: _Node, position: Position, rng: random.Random, scale: float) -> None:
    node, path, total = root, [root], 0.0
    while not position.over:
        mover = position.to_play
        if node.untried is None:
            node.untried = list(position.legal())
            rng.shuffle(node.untried)
        is_new = bool(node.untried)
        if is_new:
            action = node.untried.pop()
            node.children[action] = _Node()
        else:
            action = _most_promising(node, 1.0 if mover == 0 else -1.0, scale)
        node = node.children[action]
        path.append(node)
        reward = position.play(action)
        total += reward if mover == 0 else -reward
        if is_new:
            break
    total += position.playout(rng)
    for node in path:
        node.visits += 1
        node.total += total


def _most_promising(node: _Node, sign: float, scale: float) -> int:
    """The child with the largest upper confidence bound for the player to move, whose sign makes values its own."""
    wonder = 2.0 * math.log(node.visits)
    best, chosen = -math.inf, -1
    for action, child in node.children.items():
        # The mean outcome, from [-scale, scale] to [0, 1].
        mean = 0.5 + 0.5 * sign * child.total / (child.visits * scale)
        bound = mean + math.sqrt(wonder / child.visits)
        if bound > best:
            best, chosen = bound, action
    return chosen
