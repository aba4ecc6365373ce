"""The rules of connect four on bit boards, for the solver: 7 columns of 7 bits.

Each column has its 6 cells from the bottom up, and a bit that stays empty and keeps lines from running into the
next column. `stones` are those of the player to move, `mask` those of both.
"""

from collections.abc import Sequence

import numpy as np

from muzero_ray.core.game import Game

COLUMNS, ROWS = 7, 6
CELLS = COLUMNS * ROWS
HEIGHT = ROWS + 1
"""Bits of a column."""
BOTTOM = sum(1 << column * HEIGHT for column in range(COLUMNS))
BOARD = BOTTOM * ((1 << ROWS) - 1)


def moves_text(moves: Sequence[int]) -> str:
    """Moves as digits, columns counted from 1: "4453"."""
    return "".join(str(column + 1) for column in moves)


def board_of(moves: Sequence[int]) -> tuple[int, int, bool]:
    """Bit boards after these moves, and whether the game is over.

    Raises:
        ValueError: if a move is not legal.
    """
    stones = mask = 0
    over = False
    for index, column in enumerate(moves):
        cell = cell_of(mask, column) if 0 <= column < COLUMNS else 0
        if over or cell == 0:
            raise ValueError(
                f"connect four: move {index + 1} of {list(moves)} must be a column 0 to {COLUMNS - 1} with room, "
                f"before the game is over, got {column}"
            )
        over = has_won(stones | cell) or index + 1 == CELLS
        stones, mask = stones ^ mask, mask | cell
    return stones, mask, over


def cell_of(mask: int, column: int) -> int:
    """The bit that a stone thrown into a column takes; 0 if the column is full."""
    lowest = 1 << column * HEIGHT
    return (mask + lowest) & (lowest * ((1 << ROWS) - 1)) & ~mask


def has_won(stones: int) -> bool:
    """Whether four of these stones are in a row."""
    for step in (1, HEIGHT - 1, HEIGHT, HEIGHT + 1):
        pairs = stones & (stones >> step)
        if pairs & (pairs >> 2 * step):
            return True
    return False


def plays_like_connect_four(game: Game, games: int = 20) -> bool:
    """Whether a game has connect four's rules, as far as random games show; the game itself is left as it is."""
    if game.spec.num_players != 2 or game.spec.num_actions != COLUMNS:
        return False
    rng = np.random.default_rng(0)
    return all(_agrees_once(game.clone(), rng) for _ in range(games))


def _agrees_once(game: Game, rng: np.random.Generator) -> bool:
    game.reset(0)
    moves: list[int] = []
    while True:
        stones, mask, _ = board_of(moves)
        legal = [column for column in range(COLUMNS) if cell_of(mask, column)]
        if game.to_play != len(moves) % 2 or np.flatnonzero(game.legal_actions()).tolist() != legal:
            return False
        column = int(rng.choice(legal))
        won = has_won(stones | cell_of(mask, column))
        moves.append(column)
        _, reward, terminated, truncated, _ = game.step(column)
        if truncated or terminated != (won or len(moves) == CELLS) or reward != float(won):
            return False
        if terminated:
            return True
