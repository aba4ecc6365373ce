"""Two small two-player games whose truth is found by trying everything: yardsticks for the search."""

from typing import Any

import numpy as np

from muzero_ray.core.game import Game, GameSpec

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


class Noughts(Game):
    """Tic-tac-toe: cells 0 to 8, row by row; a win pays 1 to the mover."""

    spec = GameSpec(observation_shape=(9,), num_actions=9, num_players=2, value_bounds=(-1.0, 1.0))

    def __init__(self, board: str = ".........") -> None:
        """`board`: nine characters of "XO."; X (player 0) moves first."""
        self.cells = [".XO".index(cell) for cell in board.replace("/", "")]

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        self.cells = [0] * 9
        return self.observation(), {}

    def observation(self) -> np.ndarray:
        return np.array(self.cells, np.float32)

    @property
    def to_play(self) -> int:
        return (9 - self.cells.count(0)) % 2

    def legal_actions(self) -> np.ndarray:
        return np.array([cell == 0 for cell in self.cells])

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        mark = self.to_play + 1
        self.cells[action] = mark
        won = any(all(self.cells[cell] == mark for cell in line) for line in LINES)
        return self.observation(), float(won), won or 0 not in self.cells, False, {}


class TakeAgain(Game):
    """Stones on a heap: take 1, 2 or 3 (action + 1); who takes the last one wins 1.

    Who takes 3 moves again, so turns do not alternate and a sign that only counts plies is wrong.
    """

    spec = GameSpec(observation_shape=(1,), num_actions=3, num_players=2, value_bounds=(-1.0, 1.0))

    def __init__(self, stones: int, to_play: int = 0) -> None:
        self.stones = stones
        self.player = to_play

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        self.stones, self.player = 10, 0
        return self.observation(), {}

    def observation(self) -> np.ndarray:
        return np.array([self.stones], np.float32)

    @property
    def to_play(self) -> int:
        return self.player

    def legal_actions(self) -> np.ndarray:
        return np.arange(1, 4) <= self.stones

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.stones -= action + 1
        over = self.stones == 0
        if action != 2:
            self.player = 1 - self.player
        return self.observation(), float(over), over, False, {}


def take_again_values(stones: int) -> dict[int, float]:
    """Outcome of each legal action of `TakeAgain` with best play on both sides, for the player to move."""
    values = {}
    for action in range(min(3, stones)):
        rest = stones - action - 1
        if rest == 0:
            values[action] = 1.0
        else:
            best = max(take_again_values(rest).values())
            values[action] = best if action == 2 else -best
    return values


def noughts_outcomes(board: str) -> dict[int, tuple[float, int]]:
    """For each legal action of `Noughts`: the outcome with best play for the player to move, and the plies to it."""
    game = Noughts(board)
    outcomes = {}
    for action in np.flatnonzero(game.legal_actions()):
        after = Noughts(board)
        _, reward, over, _, _ = after.step(int(action))
        if over:
            outcomes[int(action)] = (reward, 1)
        else:
            replies = noughts_outcomes("".join(".XO"[cell] for cell in after.cells)).values()
            best = max(outcome for outcome, _ in replies)
            quickest = min if best > 0 else max
            outcomes[int(action)] = (-best, 1 + quickest(plies for outcome, plies in replies if outcome == best))
    return outcomes
