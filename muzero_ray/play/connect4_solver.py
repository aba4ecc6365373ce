"""Connect four solved: who wins a position if nobody errs, how soon, and by which moves.

For measuring an agent against the truth (`perfect` as an opponent, shares of optimal moves). It looks ahead to
the end of the game: milliseconds after sixteen moves, a second after ten, up to a minute after eight, and much
longer from the empty board, as it holds no table of openings.

Source: bit boards, counting a win by the stones left and keeping off cells below a threat are those of
John Tromp's and Pascal Pons's solvers (https://blog.gamesolver.org); the value of the empty board, a win for the
first player, is James D. Allen's and Victor Allis's (1988).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muzero_ray.mcts.jit import compiled
from muzero_ray.play.connect4_board import (
    BOARD,
    BOTTOM,
    CELLS,
    COLUMNS,
    HEIGHT,
    ROWS,
    board_of,
    cell_of,
    has_won,
    moves_text,
)

_CENTRE_FIRST = (3, 2, 4, 1, 5, 0, 6)
_TABLE_SIZE = 8_388_593
"""Positions remembered, a prime: 80 MB."""


@dataclass(frozen=True)
class Outcome:
    """What perfect play comes to."""

    value: int
    """1 where the player to move wins, 0 for a draw, -1 where it loses."""
    plies: int
    """Moves of both until the end, the winner hurrying and the loser delaying."""


class Connect4Solver:
    """Solves positions one after another, and remembers what it has seen.

    Positions are given as the columns (0 to 6, left to right) played since the empty board. Scores are for the
    player to move: n > 0 if it wins with n - 1 of its 21 stones left, 0 for a draw, -n if the other wins so.

    Args:
        table_size: positions remembered, a prime.
    """

    def __init__(self, table_size: int = _TABLE_SIZE) -> None:
        self._keys = np.zeros(table_size, np.int64)
        self._bounds = np.zeros((table_size, 2), np.int8)
        self._order = np.zeros((CELLS + 1, COLUMNS, 2), np.int64)
        self._nodes = np.zeros(1, np.int64)

    @property
    def nodes(self) -> int:
        """Positions looked at so far."""
        return int(self._nodes[0])

    def score(self, moves: Sequence[int]) -> int:
        """The score of a position in which the game is not over; see the class.

        Raises:
            ValueError: if the moves are not legal, or the game is over after them.
        """
        stones, mask, over = board_of(moves)
        if over:
            raise ValueError(f"connect four is over after {moves_text(moves)}: give a position with a move to make")
        return self._solve(stones, mask, len(moves))

    def scores(self, moves: Sequence[int]) -> dict[int, int]:
        """The score of every legal move, for the player who makes it. `best_actions` is quicker.

        Raises:
            ValueError: as for `score`.
        """
        found = {}
        for column, (stones, mask, ended) in _after(moves).items():
            found[column] = -self._solve(stones, mask, len(moves) + 1) if ended is None else ended
        return found

    def best_actions(self, moves: Sequence[int]) -> list[int]:
        """The moves that win soonest, or draw, or lose latest.

        Raises:
            ValueError: as for `score`.
        """
        return self._scoring(moves, self.score(moves))

    def keeping_actions(self, moves: Sequence[int]) -> list[int]:
        """The moves that win if any does, else draw if any does; all of them in a lost position.

        Raises:
            ValueError: as for `score`.
        """
        score = self.score(moves)
        return self._scoring(moves, min(score, 1) if score >= 0 else -CELLS)

    def _scoring(self, moves: Sequence[int], least: int) -> list[int]:
        """The moves with that score or a larger one, which is asked more quickly than what their scores are."""
        found = []
        for column, (stones, mask, ended) in _after(moves).items():
            if ended is None:
                if self._at_most(-least, stones, mask, len(moves) + 1):
                    found.append(column)
            elif ended >= least:
                found.append(column)
        return found

    def _at_most(self, bound: int, stones: int, mask: int, count: int) -> bool:
        """Whether the score of a position is no more than a number."""
        if _winning_cells(stones, mask) & (mask + BOTTOM):
            return (CELLS + 1 - count) // 2 <= bound
        memory = (self._keys, self._bounds, self._order, self._nodes)
        return int(_search(stones, mask, count, bound, bound + 1, *memory)) <= bound

    def _solve(self, stones: int, mask: int, count: int) -> int:
        return int(_solve(stones, mask, count, self._keys, self._bounds, self._order, self._nodes))


def outcome(score: int, num_moves: int) -> Outcome:
    """What a score says of a position after `num_moves` moves.

    The winner's stone number 22 - |score| ends the game; of its stones, `num_moves // 2` lie on the board
    if it is to move, and `(num_moves + 1) // 2` if the other is.

    >>> outcome(18, 6), outcome(-1, 40), outcome(0, 41)
    (Outcome(value=1, plies=1), Outcome(value=-1, plies=2), Outcome(value=0, plies=1))
    """
    if score > 0:
        return Outcome(1, 2 * (22 - score - num_moves // 2) - 1)
    if score < 0:
        return Outcome(-1, 2 * (22 + score - (num_moves + 1) // 2))
    return Outcome(0, CELLS - num_moves)


def _after(moves: Sequence[int]) -> dict[int, tuple[int, int, int | None]]:
    """By legal move: bit boards after it, for the player to move then, and its score if it ends the game."""
    stones, mask, over = board_of(moves)
    if over:
        raise ValueError(f"connect four is over after {moves_text(moves)}: give a position with a move to make")
    found: dict[int, tuple[int, int, int | None]] = {}
    for column in range(COLUMNS):
        if cell := cell_of(mask, column):
            ended = 0 if len(moves) + 1 == CELLS else None
            if has_won(stones | cell):
                ended = (CELLS + 1 - len(moves)) // 2
            found[column] = (stones ^ mask, mask | cell, ended)
    return found


@compiled
def _winning_cells(stones: int, mask: int) -> int:
    """Empty cells, reachable now or later, that complete four in a row."""
    cells = (stones << 1) & (stones << 2) & (stones << 3)
    for step in (HEIGHT - 1, HEIGHT, HEIGHT + 1):
        two = (stones << step) & (stones << 2 * step)
        cells |= two & ((stones << 3 * step) | (stones >> step))
        two = (stones >> step) & (stones >> 2 * step)
        cells |= two & ((stones >> 3 * step) | (stones << step))
    return cells & (BOARD ^ mask)


@compiled
def _count(cells: int) -> int:
    """Number of bits that are set."""
    count = 0
    while cells:
        cells &= cells - 1
        count += 1
    return count


@compiled
def _solve(
    stones: int,
    mask: int,
    count: int,
    keys: np.ndarray,
    bounds: np.ndarray,
    order: np.ndarray,
    nodes: np.ndarray,
) -> int:
    """The score, narrowed down by asking again and again whether it exceeds a number; around 0 first."""
    if _winning_cells(stones, mask) & (mask + BOTTOM):
        return (CELLS + 1 - count) // 2
    low, high = -((CELLS - count) // 2), (CELLS - 1 - count) // 2
    while low < high:
        middle = low + (high - low) // 2
        if middle <= 0 and low // 2 < middle:
            middle = low // 2
        elif middle >= 0 and high // 2 > middle:
            middle = high // 2
        score = _search(stones, mask, count, middle, middle + 1, keys, bounds, order, nodes)
        if score <= middle:
            high = score
        else:
            low = score
    return low


@compiled
def _search(
    stones: int,
    mask: int,
    count: int,
    alpha: int,
    beta: int,
    keys: np.ndarray,
    bounds: np.ndarray,
    order: np.ndarray,
    nodes: np.ndarray,
) -> int:
    """Alpha-beta on a position whose mover cannot win at once: the score, or a bound of it outside the window."""
    nodes[0] += 1
    theirs = _winning_cells(stones ^ mask, mask)
    moves = (mask + BOTTOM) & BOARD
    forced = moves & theirs
    if forced:
        moves = 0 if forced & (forced - 1) else forced  # two threats cannot both be parried
    moves &= ~(theirs >> 1)  # a stone below a threat hands over the cell above
    if moves == 0:
        return -((CELLS - count) // 2)
    if count >= CELLS - 2:
        return 0

    # Nobody wins with this stone, nor the other with the next.
    alpha = max(alpha, -((CELLS - 2 - count) // 2))
    beta = min(beta, (CELLS - 1 - count) // 2)
    if alpha >= beta:
        return alpha
    key = stones + mask + BOTTOM  # unlike for any two positions, and never 0
    slot = key % len(keys)
    if keys[slot] == key:
        alpha = max(alpha, bounds[slot, 0])
        beta = min(beta, bounds[slot, 1])
        if alpha >= beta:
            return alpha

    # Most new threats first, those in the centre before others.
    num_moves = 0
    for column in _CENTRE_FIRST:
        cell = moves & (((1 << ROWS) - 1) << column * HEIGHT)
        if cell == 0:
            continue
        threats = _count(_winning_cells(stones | cell, mask | cell))
        place = num_moves
        while place > 0 and order[count, place - 1, 1] < threats:
            order[count, place, 0] = order[count, place - 1, 0]
            order[count, place, 1] = order[count, place - 1, 1]
            place -= 1
        order[count, place, 0] = cell
        order[count, place, 1] = threats
        num_moves += 1

    best = -CELLS
    lower = alpha
    for place in range(num_moves):
        cell = order[count, place, 0]
        score = -_search(stones ^ mask, mask | cell, count + 1, -beta, -lower, keys, bounds, order, nodes)
        if score > best:
            best = score
            if best > lower:
                lower = best
                if lower >= beta:
                    break

    if keys[slot] != key:
        keys[slot] = key
        bounds[slot, 0], bounds[slot, 1] = -CELLS, CELLS
    if best > alpha:
        bounds[slot, 0] = max(bounds[slot, 0], best)
    if best < beta:
        bounds[slot, 1] = min(bounds[slot, 1], best)
    return best
