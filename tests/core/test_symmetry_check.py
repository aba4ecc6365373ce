"""What a spec says of its board is compared with the game: the shapes at once, the symmetries by playing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from muzero_ray.adapters.board_planes import cell_symmetry, point_cells, point_planes, square_symmetries
from muzero_ray.core.game import Game, GameSpec, Symmetry
from muzero_ray.core.game_check import check_game

SYMMETRIES = square_symmetries(3)


class Walk(Game):
    """A walker on 3 x 3 cells who starts in the middle, goes up, right, down or left and leaves for 1. Sound."""

    spec = GameSpec(
        observation_shape=(1, 3, 3),
        num_actions=4,
        # The top row becomes the bottom row: up, action 0, is down, action 2.
        symmetries=(Symmetry(cells=np.arange(9).reshape(3, 3)[::-1].ravel(), actions=np.array([2, 1, 0, 3])),),
    )
    start = (1, 1)

    def reset(self, seed: int) -> Any:
        self.rng = np.random.default_rng(seed)
        self.row, self.column = self.start
        self.moves, self.over = 0, False
        return self.observe(), {}

    def observe(self) -> np.ndarray:
        planes = np.zeros((1, 3, 3), np.float32)
        planes[0, self.row, self.column] = 1
        return planes

    def step(self, action: int) -> Any:
        if self.over or not self.legal_actions()[action]:
            raise ValueError("illegal")
        row, column = self.row + (-1, 0, 1, 0)[action], self.column + (0, 1, 0, -1)[action]
        left = not (0 <= row < 3 and 0 <= column < 3)
        if not left:
            self.row, self.column = row, column
        self.moves += 1
        stopped = self.is_stopped() and not left
        self.over = left or stopped
        return self.observe(), self.reward(left), left, stopped, {}

    def is_stopped(self) -> bool:
        return self.moves == 30

    def reward(self, left: bool) -> float:
        return float(left)


class Stones(Game):
    """Two players fill a board in turns; whoever puts the last stone, or plays an action beyond, wins. Sound."""

    def __init__(self, size: int = 3, **changes: Any) -> None:
        values: dict[str, Any] = {"symmetries": square_symmetries(size), "value_bounds": (-1.0, 1.0)}
        values |= {"action_planes": point_planes(size, size), "action_cells": point_cells(size * size)}
        shape, cells = (1, size, size), size * size
        self.spec = replace(GameSpec(observation_shape=shape, num_actions=cells, num_players=2, **values), **changes)

    def reset(self, seed: int) -> Any:
        self.board = np.zeros(self.spec.observation_shape, np.float32)
        self.moves, self.over = 0, False
        return self.board.copy(), {}

    def step(self, action: int) -> Any:
        if self.over or not self.legal_actions()[action]:
            raise ValueError("illegal")
        if action < self.board.size:
            self.board.flat[action] = 1
        self.moves += 1
        self.over = bool(self.board.all()) or action >= self.board.size
        return self.board.copy(), float(self.over), self.over, False, {}

    def legal_actions(self) -> np.ndarray:
        return np.concatenate((self.board.ravel() == 0, np.ones(self.spec.num_actions - self.board.size, bool)))

    @property
    def to_play(self) -> int:
        return self.moves % 2


def stones(size: int = 3, **changes: Any) -> Callable[[], Game]:
    return lambda: Stones(size, **changes)


def walk(**changes: Any) -> Callable[[], Game]:
    """A walk with some attributes replaced."""
    return type("Changed", (Walk,), changes)


def turned(**changes: Any) -> Callable[[], Game]:
    """Stones whose only symmetry, a quarter turn, is changed."""
    return stones(symmetries=(replace(SYMMETRIES[0], **changes),))


def vector(**said: Any) -> Callable[[], Game]:
    """A game without a board whose spec says something of one."""
    spec = GameSpec(observation_shape=(9,), num_actions=9, num_players=2, **said)
    return type("Vector", (Walk,), {"spec": spec})


SPECS = {
    "one symmetry": (
        stones(symmetries=SYMMETRIES[0]),
        "stones: spec.symmetries must be a tuple of Symmetry, got Symmetry; mend the game's spec",
    ),
    "cells alone": (stones(symmetries=(np.arange(9),)), "symmetries must be a tuple of Symmetry, got ndarray in it"),
    "cells of another board": (
        stones(4, symmetries=tuple(replace(turn, actions=np.arange(16)) for turn in SYMMETRIES)),
        "stones: spec.symmetries[0].cells must hold each of the numbers 0 to 15 once (cells H * W, row by row), "
        "got shape (9,); mend the game's spec",
    ),
    "too few actions": (
        stones(num_actions=10, action_planes=None, action_cells=None),  # one more than the cells: a pass
        "stones: spec.symmetries[0].actions must hold each of the numbers 0 to 9 once (actions A), got shape (9,)",
    ),
    "an action twice": (
        turned(actions=np.array([0, 1, 2, 3, 4, 5, 6, 7, 7])),
        "symmetries[0].actions must hold each of the numbers 0 to 8 once (actions A), got no 8; mend",
    ),
    "an action out of range": (turned(actions=np.arange(1, 10)), "got no 0; mend"),
    "actions as floats": (turned(actions=np.arange(9.0)), "got dtype float64; mend"),
    "actions in a list": (turned(actions=list(range(9))), "got list; mend"),
    "symmetries of no board": (
        vector(symmetries=SYMMETRIES),
        "vector: spec.symmetries must be left out where observations are not boards [C, H, W], got "
        "observation_shape (9,); mend the game's spec",
    ),
    "pictures of no board": (vector(action_planes=point_planes(3, 3)), "spec.action_planes must be left out"),
    "places on no board": (vector(action_cells=point_cells(9)), "spec.action_cells must be left out"),
    "turns of no board": (vector(turn_cells=np.arange(9)), "spec.turn_cells must be left out"),
    "pictures of another board": (
        stones(action_planes=point_planes(4, 4)),
        "stones: spec.action_planes must have shape [9, P, 3, 3], got shape (16, 1, 4, 4); mend the game's spec",
    ),
    "pictures without planes": (stones(action_planes=np.zeros((9, 3, 3), np.uint8)), "got shape (9, 3, 3); mend"),
    "pictures as floats": (stones(action_planes=np.zeros((9, 1, 3, 3))), "must have dtype uint8, got float64; mend"),
    "pictures in a list": (stones(action_planes=[]), "spec.action_planes must be a NumPy array, got list; mend"),
    "bright pictures": (
        stones(action_planes=point_planes(3, 3) * 255),
        "spec.action_planes must hold 0 and 1 only, got 255; mend",
    ),
    "places for too few": (
        stones(action_cells=point_cells(8)),
        "spec.action_cells must be integers of shape (9,), got shape (8,); mend",
    ),
    "places as floats": (stones(action_cells=np.arange(9.0)), "of shape (9,), got dtype float64; mend"),
    "places below -1": (
        stones(action_cells=np.arange(9) - 2),
        "spec.action_cells must lie from -1 to 80 (A planes of H * W cells are enough), got -2; mend",
    ),
    "places far away": (stones(action_cells=np.arange(9) * 1000), "must lie from -1 to 80 "),
    "turns of another board": (
        stones(turn_cells=np.arange(16)),
        "spec.turn_cells must hold each of the numbers 0 to 8 once (cells H * W, row by row), got shape (16,); mend",
    ),
    "turns that go on": (
        stones(turn_cells=SYMMETRIES[0].cells),
        "spec.turn_cells must lead back where they are used twice, got another board; mend",
    ),
    "turns in a game for one": (
        walk(spec=replace(Walk.spec, turn_cells=np.arange(9)[::-1])),
        "spec.turn_cells must be left out unless two players move by turns, got num_players 1",
    ),
    "turns that do not alternate": (
        stones(turn_cells=np.arange(9)[::-1], alternating=False),
        "must be left out unless two players move by turns, got num_players 2, alternating False; mend",
    ),
}


@pytest.mark.parametrize("kind", SPECS)
def test_what_does_not_fit_the_board_is_told_in_a_sentence(kind: str) -> None:
    make_game, sentence = SPECS[kind]
    (problem,) = check_game(make_game)
    assert sentence in problem


@pytest.mark.parametrize("make_game", [Walk, Stones, stones(4)])
def test_a_sound_board_has_no_problems(make_game: Callable[[], Game]) -> None:
    assert check_game(make_game) == []


def test_a_board_that_both_see_from_their_own_sides_has_no_problems() -> None:
    assert check_game(stones(symmetries=(), turn_cells=np.arange(9)[::-1])) == []


def test_inverted_actions_of_a_symmetry_are_found_by_playing() -> None:
    # A quarter turn: the stone of action 1, top middle, comes to lie on cell 3; inverted, it would on cell 5.
    assert SYMMETRIES[0].actions[1] == 3
    (problem,) = check_game(turned(actions=SYMMETRIES[0].actions.argsort()))
    assert problem.startswith("stones.spec: symmetries[0] must turn the game into itself, got an observation with ")
    assert "(seed 0); cell i of the turned board is cell cells[i] as it was, and action a is played there as" in problem
    assert problem.endswith("mend cells or actions, or leave this symmetry out")


def test_the_place_and_both_actions_are_told() -> None:
    unnamed = replace(Walk.spec.symmetries[0], actions=np.arange(4))
    up_and_down = np.array([True, False, True, False])
    make_game = walk(spec=replace(Walk.spec, symmetries=(unnamed,)), legal_actions=lambda self: up_and_down.copy())
    (problem,) = check_game(make_game)
    # Down from the middle is up from the middle of the turned board, top middle, and not down once more.
    down = "got an observation with 0.0 instead of 1.0 at index [0, 0, 1] after action 2 in step 1 (seed 0); "
    up = "got an observation with 1.0 instead of 0.0 at index [0, 0, 1] after action 0 in step 1 (seed 0); "
    assert down in problem or up in problem
    assert f"actions[a] (here {'2 as 2' if down in problem else '0 as 0'}): mend" in problem


def test_the_symmetry_that_is_wrong_is_named() -> None:
    wrong = replace(SYMMETRIES[4], cells=SYMMETRIES[5].cells)
    (problem,) = check_game(stones(symmetries=(*SYMMETRIES[:4], wrong, *SYMMETRIES[5:])))
    assert "symmetries[4] must turn the game into itself" in problem


def test_of_many_wrong_symmetries_one_is_told() -> None:
    swapped = np.array([1, 0, 2, 3, 4, 5, 6, 7, 8])
    (problem,) = check_game(stones(symmetries=tuple(replace(turn, cells=turn.cells[swapped]) for turn in SYMMETRIES)))
    assert "must turn the game into itself" in problem


def test_legal_actions_that_are_not_carried_along_are_found_before_a_move() -> None:
    # Nobody may begin by going down.
    make_game = walk(legal_actions=lambda self: np.array([True, True, self.moves > 0, True]))
    (problem,) = check_game(make_game)
    assert "got action 2 illegal, but action 0 of the game as it was legal at the start of the episode" in problem


def test_rewards_that_are_not_the_same_for_a_turned_game_are_found() -> None:
    (problem,) = check_game(walk(reward=lambda self, left: float(left and self.row == 0)))
    assert "got reward " in problem


def test_an_end_that_a_turned_game_does_not_have_is_found() -> None:
    (problem,) = check_game(walk(is_stopped=lambda self: self.moves == 30 or self.row == 0))
    assert "got truncated " in problem


def test_a_game_of_chance_is_not_asked_to_turn_with_its_seed() -> None:
    def windy(self: Any, action: int) -> Any:
        # As likely up as down, but a turned game has the same wind and not the turned one.
        return Walk.step(self, int(self.rng.choice([0, 2])) if action in (0, 2) else action)

    assert check_game(walk(step=windy), episodes=20) == []


def test_what_is_hidden_by_chance_need_not_turn_with_the_board() -> None:
    def reset(self: Any, seed: int) -> Any:
        self.treasure = int(np.random.default_rng(seed).integers(9))
        return Walk.reset(self, seed)

    def reward(self: Any, left: bool) -> float:
        return float(3 * self.row + self.column == self.treasure)

    for seed in range(10):
        assert check_game(walk(reset=reset, reward=reward), episodes=1, seed=seed) == []


def test_what_is_always_hidden_in_the_same_place_is_found() -> None:
    (problem,) = check_game(walk(reward=lambda self, left: float((self.row, self.column) == (0, 1))))
    assert "got reward " in problem


def test_a_start_that_is_not_symmetric_is_not_refused() -> None:
    assert check_game(walk(start=(0, 2))) == []


def test_sums_in_another_order_are_the_same_observation() -> None:
    def observe(self: Any) -> np.ndarray:
        return Walk.observe(self) * np.float32(1 + 1e-6 * self.row)

    assert check_game(walk(observe=observe)) == []


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("action_cells", np.array([0, 1, 2, 3, 4, 5, 6, 7, 7])),
        ("action_planes", np.zeros((9, 1, 3, 3), np.uint8)),
    ],
)
def test_legal_actions_that_a_network_could_not_tell_apart_are_found(field: str, said: np.ndarray) -> None:
    (problem,) = check_game(stones(**{field: said}))
    pair = "7 and 8" if field == "action_cells" else "0 and 1"
    assert problem.startswith(f"stones.spec: {field} must differ among the legal actions of a state, got the same for ")
    assert f"actions {pair} after 0 moves (seed 0); " in problem


def test_actions_that_are_never_legal_together_may_share_a_place_and_passes_need_none() -> None:
    spec = replace(Walk.spec, symmetries=(), action_cells=np.array([0, 1, 0, 1]))
    assert check_game(walk(spec=spec, legal_actions=lambda self: np.array([True, True, False, False]))) == []
    symmetries, cells = square_symmetries(3, further_actions=2), point_cells(9, further_actions=2)
    spec_changes = {"num_actions": 11, "symmetries": symmetries, "action_cells": cells, "action_planes": None}
    assert check_game(stones(**spec_changes)) == []


def test_a_board_that_is_no_square_has_no_problems() -> None:
    changes = {"observation_shape": (1, 2, 3), "num_actions": 6, "symmetries": (cell_symmetry(np.arange(6)[::-1]),)}
    assert check_game(stones(**changes, action_planes=point_planes(2, 3), action_cells=point_cells(6))) == []
