"""Shogi: captured pieces are dropped again. Fourfold repetition draws, or loses for who gave check all along."""

import re
from dataclasses import replace

import numpy as np

from muzero_ray.adapters.board_game import BoardGame
from muzero_ray.adapters.board_planes import move_planes

# An action is 81 * plane + square, as in AlphaZero, on the board as the player to move sees it, who always plays
# up: 66 steps without and 66 with promotion, told where the piece comes from, and 7 drops, told where to.
# A square is 9 * row + column, from the player's own bottom left.
COMPASS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
STEPS = np.array([*((x * n, y * n) for x, y in COMPASS for n in range(1, 9)), (-1, 2), (1, 2)])
IN_HAND = np.array([18, 4, 4, 4, 4, 2, 2])  # the most there can be: pawn, lance, knight, silver, gold, bishop, rook
SQUARES = np.array([(column, row) for row in range(9) for column in range(9)])
ON_BOARD = 2 * len(STEPS) * 81
ENGINE_ON_BOARD = 81 * 81 * 2  # OpenSpiel's numbers: from, to, promotion; then drops
NONE = -1


class Shogi(BoardGame):
    """Moves are written as in USI (7g7f, 8h2b+, P*5e); a win is worth 1.

    Args:
        history: positions that an observation shows (AlphaZero: 8). The rules need one; memory grows with each.
        start: a position in SFEN; none: the usual one.
        max_moves: the game is stopped after so many moves of both sides together (MuZero: 512).
    """

    turned_axes = (-2, -1)

    def __init__(self, history: int = 2, start: str | None = None, max_moves: int = 512) -> None:
        super().__init__("shogi", pieces=14, marks=15, size=(9, 9), history=history, start=start, max_moves=max_moves)
        flags = np.zeros((len(STEPS) * 2 + 7, 8), dtype=int)  # promotion, and the piece that is dropped
        flags[len(STEPS) : 2 * len(STEPS), 0] = 1
        flags[2 * len(STEPS) :, 1:] = np.eye(7)
        self.spec = replace(
            self.spec,
            action_planes=move_planes(ORIGINS, TARGETS, np.repeat(flags, 81, axis=0), size=(9, 9)),
            action_cells=np.arange(len(TARGETS), dtype=np.int32),
        )

    def _count_actions(self) -> int:
        return len(TARGETS)

    def _engine_action(self, action: int, player: int) -> int:
        return int(TO_ENGINE[player, action])

    def _own_actions(self, engine_actions: list[int], player: int) -> list[int]:
        actions: list[int] = FROM_ENGINE[player, engine_actions].tolist()
        return actions

    def _pieces(self, tensor: np.ndarray) -> np.ndarray:
        # OpenSpiel puts White's pieces first, and White plays second.
        pieces: np.ndarray = tensor[:28].reshape(14, 2, 9, 9)[:, ::-1].swapaxes(0, 1)
        return pieces

    def _marks(self, tensor: np.ndarray, player: int) -> np.ndarray:
        """Repetitions, my pieces in hand and the other's, each kind's number as a share of the most there can be."""
        white, black = tensor[31:, :1, :1].reshape(2, 7, 1, 1) * 16 / IN_HAND[:, None, None]
        hands = (black, white) if player == 0 else (white, black)
        marks: np.ndarray = np.minimum(np.concatenate((tensor[29:30, :1, :1], *hands)), 1)
        return marks

    def text(self) -> str:
        """The board, Black's pieces in capitals, the pieces in hand, and whose move it is."""
        board, side, hands, _ = str(self._state).split()
        for digit in "123456789":
            board = board.replace(digit, " ." * int(digit))
        lines = ["  9  8  7  6  5  4  3  2  1"]
        for row, letter in zip(board.split("/"), "abcdefghi", strict=True):
            cells = re.findall(r"\+?[A-Za-z.]", row)
            lines.append("".join(f"{cell:>3}" for cell in cells) + f"  {letter}")
        return "\n".join([*lines, f"in hand: {hands}", f"{'Black' if side == 'b' else 'White'} to move"])


def engine_numbers(origins: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """`[A]` int: OpenSpiel's numbers of our actions, NONE for steps that leave the board."""
    origin, target = origins @ (1, 9), targets @ (1, 9)
    actions = np.arange(len(targets))
    moves = 2 * (81 * origin + target) + (actions >= ON_BOARD // 2)
    drops = ENGINE_ON_BOARD + (actions - ON_BOARD) // 81 * 81 + target
    inside = ((targets >= 0) & (targets < 9)).all(axis=1)
    return np.where(inside, np.where(actions < ON_BOARD, moves, drops), NONE)


def own_numbers(to_engine: np.ndarray) -> np.ndarray:
    """`[13689]` int: the inverse of `engine_numbers`, NONE for moves that no piece can make."""
    numbers = np.full(ENGINE_ON_BOARD + 7 * 81, NONE)
    possible = np.flatnonzero(to_engine != NONE)
    numbers[to_engine[possible]] = possible
    return numbers


# `[A, 2]` int: column and row of every action; a drop comes from nowhere.
ORIGINS = np.concatenate((np.tile(SQUARES, (2 * len(STEPS), 1)), np.full((7 * 81, 2), -1)))
TARGETS = np.concatenate(((STEPS[:, None] + SQUARES).reshape(-1, 2),) * 2 + (SQUARES,) * 7)
# `[2, A]` and `[2, 13689]`: for both players, the second of whom sees the board turned half round.
TO_ENGINE = np.stack([engine_numbers(ORIGINS, TARGETS), engine_numbers(8 - ORIGINS, 8 - TARGETS)])
FROM_ENGINE = np.stack([own_numbers(numbers) for numbers in TO_ENGINE])
