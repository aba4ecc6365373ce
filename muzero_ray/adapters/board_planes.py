"""Boards as planes: their symmetries, pictures of their actions, and how people write and draw them.

Plain functions on arrays; what a game needs of them goes into its `GameSpec`. A cell is numbered row by row.
"""

from collections.abc import Sequence

import numpy as np

from muzero_ray.core.game import Symmetry

GO_LETTERS = "ABCDEFGHJKLMNOPQRST"
"""Names of the columns of a Go board: there is no I, which looks like a J in handwriting."""


def cell_symmetry(cells: np.ndarray, further_actions: int = 0) -> Symmetry:
    """The symmetry of a game in which action a plays on cell a.

    Args:
        cells: `[H * W]` or `[H, W]` int, as `Symmetry.cells`.
        further_actions: actions with higher numbers, such as a pass, that stay what they are.
    """
    cells = np.ravel(cells)
    # The stone of action a lies on cell i of the turned board where cells[i] == a.
    actions = np.concatenate((np.argsort(cells), len(cells) + np.arange(further_actions)))
    return Symmetry(cells=cells, actions=actions)


def square_symmetries(size: int, further_actions: int = 0) -> tuple[Symmetry, ...]:
    """The seven ways to turn and mirror a square board; see `cell_symmetry`."""
    board = np.arange(size * size).reshape(size, size)
    turned = [np.rot90(mirrored, quarters) for mirrored in (board, board.T) for quarters in range(4)]
    return tuple(cell_symmetry(cells, further_actions) for cells in turned[1:])


def diagonal_symmetries(size: int, further_actions: int = 0) -> tuple[Symmetry, ...]:
    """A square board mirrored at its two diagonals, and turned half round; see `cell_symmetry`."""
    board = np.arange(size * size).reshape(size, size)
    half_turned = board[::-1, ::-1]
    return tuple(cell_symmetry(cells, further_actions) for cells in (half_turned, board.T, half_turned.T))


def point_planes(height: int, width: int, further_actions: int = 0) -> np.ndarray:
    """`[A, 1, H, W]` uint8: action a puts something on cell a; further actions (a pass) are pictures of nothing."""
    cells = height * width
    planes = np.zeros((cells + further_actions, 1, height, width), dtype=np.uint8)
    planes.reshape(-1, cells)[np.arange(cells), np.arange(cells)] = 1
    return planes


def move_planes(origins: np.ndarray, targets: np.ndarray, flags: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pictures of moves: where a piece comes from, where it goes to, and what else there is to tell.

    Args:
        origins: `[A, 2]` int, column and row; outside the board for a piece that comes from elsewhere.
        targets: `[A, 2]` int, likewise.
        flags: `[A, F]` of 0 and 1, each a whole plane (promotions, the piece that is dropped).
        size: (H, W).

    Returns:
        `[A, 2 + F, H, W]` uint8.
    """
    planes = np.zeros((len(origins), 2 + flags.shape[1], *size), dtype=np.uint8)
    for plane, (columns, rows) in enumerate((origins.T, targets.T)):
        inside = np.flatnonzero((rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1]))
        planes[inside, plane, rows[inside], columns[inside]] = 1
    planes[:, 2:] = flags[:, :, None, None]
    return planes


def point_cells(num_cells: int, further_actions: int = 0) -> np.ndarray:
    """`[A]` int32: action a is told on cell a of one plane; further actions (a pass) have no place on the board."""
    return np.concatenate((np.arange(num_cells), np.full(further_actions, -1))).astype(np.int32)


def draw_board(rows: Sequence[str], letters: str, *, first_row_on_top: bool) -> str:
    """A board for a terminal, with letters above and below and numbers on both sides.

    Args:
        rows: one character per cell, row number 1 first.
        letters: names of the columns.
        first_row_on_top: whether row 1 is drawn at the top (Othello) or at the bottom (Go, chess).
    """
    margin = len(str(len(rows)))
    head = " " * margin + " " + " ".join(letters[: len(rows[0])])
    lines = [f"{i + 1:>{margin}} {' '.join(row)} {i + 1}" for i, row in enumerate(rows)]
    return "\n".join([head, *(lines if first_row_on_top else lines[::-1]), head])
