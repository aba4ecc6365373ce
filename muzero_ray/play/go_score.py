"""The score of a game of Go, in points: our games only tell who won."""

from collections.abc import Iterable

Point = tuple[int, int]
"""Row and column, from 0."""


def area_score(size: int, moves: Iterable[tuple[int, Point | None]]) -> int:
    """Points of player 0 less those of player 1 on a board, without komi.

    A player has a point for every stone that is on the board in the end, and for every empty point from which
    only such stones can be reached by way of empty points: stones are dead when they have been taken.

    Args:
        size: lines of the board.
        moves: the player, 0 or 1, and the point of each move; none is a pass. They must be legal.

    Source: Tromp and Taylor, "The game of Go", rules 6 (captures) and 9 (score).

    >>> area_score(2, [(0, (0, 0)), (1, (0, 1)), (0, (1, 1))])  # the white stone is taken, all four points are Black's
    4
    """
    board: dict[Point, int] = {}
    for player, point in moves:
        if point is None:
            continue
        board[point] = player
        for neighbour in _neighbours(size, point):
            if board.get(neighbour) == 1 - player:
                chain, around = _reach(size, board, neighbour)
                if None not in around:
                    for stone in chain:
                        del board[stone]
    score = sum(1 if player == 0 else -1 for player in board.values())
    seen: set[Point] = set()
    for point in ((row, column) for row in range(size) for column in range(size)):
        if point not in board and point not in seen:
            region, around = _reach(size, board, point)
            seen |= region
            if len(around) == 1:
                score += len(region) if around == {0} else -len(region)
    return score


def _reach(size: int, board: dict[Point, int], start: Point) -> tuple[set[Point], set[int | None]]:
    """The connected points that hold what the start holds, and what lies around them (none: an empty point)."""
    held = board.get(start)
    region, around, waiting = {start}, set(), [start]
    while waiting:
        for neighbour in _neighbours(size, waiting.pop()):
            if board.get(neighbour) != held:
                around.add(board.get(neighbour))
            elif neighbour not in region:
                region.add(neighbour)
                waiting.append(neighbour)
    return region, around


def _neighbours(size: int, point: Point) -> list[Point]:
    row, column = point
    near = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return [(r, c) for r, c in near if 0 <= r < size and 0 <= c < size]
