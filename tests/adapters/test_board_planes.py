"""Turned boards and pictures of actions, on boards small enough to see."""

import numpy as np

from muzero_ray.adapters.board_planes import (
    cell_symmetry,
    diagonal_symmetries,
    draw_board,
    move_planes,
    point_cells,
    point_planes,
    square_symmetries,
)


def test_a_stone_on_a_turned_board_is_where_its_turned_action_puts_it() -> None:
    #  0 1 2      turned a quarter to the left    2 5
    #  3 4 5                                      1 4
    #                                             0 3
    symmetry = cell_symmetry(np.array([[2, 5], [1, 4], [0, 3]]), further_actions=1)
    assert symmetry.cells.tolist() == [2, 5, 1, 4, 0, 3]
    # The stone of action 0 comes to lie on the turned board's cell 4, that of action 1 on cell 2; a pass stays.
    assert symmetry.actions.tolist() == [4, 2, 0, 5, 3, 1, 6]


def test_a_square_board_can_be_turned_and_mirrored_in_seven_ways() -> None:
    boards = {symmetry.cells.tobytes() for symmetry in square_symmetries(3)}
    assert len(boards) == 7
    assert np.arange(9).tobytes() not in boards
    for symmetry in square_symmetries(3):
        assert symmetry.cells[4] == 4  # the centre stays
        assert set(symmetry.cells[[0, 2, 6, 8]]) == {0, 2, 6, 8}  # corners stay corners


def test_mirrored_at_a_diagonal_one_diagonal_stays() -> None:
    half_turned, transposed, anti_transposed = (symmetry.cells.tolist() for symmetry in diagonal_symmetries(2))
    #  0 1
    #  2 3
    assert half_turned == [3, 2, 1, 0]
    assert transposed == [0, 2, 1, 3]
    assert anti_transposed == [3, 1, 2, 0]


def test_points_are_pictured_and_a_pass_is_not() -> None:
    planes = point_planes(1, 2, further_actions=1)
    assert planes.tolist() == [[[[1, 0]]], [[[0, 1]]], [[[0, 0]]]]
    assert planes.dtype == np.uint8
    assert point_cells(2, further_actions=1).tolist() == [0, 1, -1]


def test_moves_are_pictured_as_from_to_and_flags() -> None:
    # On two rows of three: from column 2, row 0 to column 1, row 1, flagged; and a drop on column 0, row 1.
    planes = move_planes(np.array([[2, 0], [-1, -1]]), np.array([[1, 1], [0, 1]]), np.array([[1], [0]]), (2, 3))
    assert planes[0].tolist() == [[[0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 1, 0]], [[1, 1, 1], [1, 1, 1]]]
    assert planes[1].tolist() == [[[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [1, 0, 0]], [[0, 0, 0], [0, 0, 0]]]


def test_a_board_is_drawn_from_either_side() -> None:
    assert draw_board(["X.", ".O"], "AB", first_row_on_top=False) == "  A B\n2 . O 2\n1 X . 1\n  A B"
    assert draw_board(["X.", ".O"], "ab", first_row_on_top=True) == "  a b\n1 X . 1\n2 . O 2\n  a b"
