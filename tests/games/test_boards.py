"""What the network sees of the shipped board games: whose side it is told from, turned boards, pictures of actions."""

from collections.abc import Iterator

import numpy as np
import pytest

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.game import Game, Symmetry
from muzero_ray.core.game_loader import load_game_class

STONES = ["connect4", "gomoku", "othello", "hex", "go9", "go19"]
SYMMETRIES = {
    "tictactoe": 7,
    "connect4": 1,
    "gomoku": 7,
    "othello": 3,
    "hex": 1,
    "go9": 7,
    "go19": 7,
    "chess": 0,
    "shogi": 0,
}


def random_moves(game: Game, games: int, max_moves: int = 400) -> Iterator[tuple[np.ndarray, int, tuple]]:
    """Observation, action and what `step` answered, for all moves of random games."""
    rng = np.random.default_rng(0)
    for _ in range(games):
        observation, _ = game.reset(0)
        for _ in range(max_moves):
            action = int(rng.choice(game.legal_actions().nonzero()[0]))
            before = observation
            yield before, action, (answer := game.step(action))
            observation = answer[0]
            if answer[2] or answer[3]:
                break


def turned(observation: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    """The board turned, by the definition of `Symmetry.cells`."""
    return observation.reshape(len(observation), -1)[:, symmetry.cells].reshape(observation.shape)


@pytest.mark.parametrize(
    ("name", "history", "pieces", "axes"),
    [("go9", 8, 1, ()), ("go19", 8, 1, ()), ("chess", 4, 6, (-2,)), ("shogi", 2, 14, (-2, -1))],
)
def test_earlier_positions_are_shown_as_the_player_to_move_sees_them(
    name: str, history: int, pieces: int, axes: tuple[int, ...]
) -> None:
    shown = history * 2 * pieces
    for before, _, (after, *_rest) in random_moves(load_game(name)(), games=3):
        size = before.shape[1:]
        earlier = before[:shown].reshape(history, 2, pieces, *size)
        now = after[:shown].reshape(history, 2, pieces, *size)
        # What is one move ago now was the present then: the other's was mine, and the board lay the other way round.
        np.testing.assert_array_equal(now[1:], np.flip(earlier[:-1], (1, *axes)))
        assert set(np.unique(after[:shown])) <= {0, 255}


@pytest.mark.parametrize("name", ["connect4", "gomoku", "hex"])
def test_the_stone_just_played_is_the_others(name: str) -> None:
    game = load_game(name)()
    for before, _, (after, *_rest) in random_moves(game, games=2):
        np.testing.assert_array_equal(after[0], before[1])  # mine are those that were the other's
        assert (after[1] != before[0]).sum() == 1  # the other's are mine of before, and one more


@pytest.mark.parametrize(("name", "plane"), [("gomoku", 2), ("othello", 2), ("go9", 16), ("go19", 16)])
def test_a_plane_says_whether_player_0_is_to_move(name: str, plane: int) -> None:
    game = load_game(name)()
    for _, _, (after, _, terminated, *_rest) in random_moves(game, games=1, max_moves=60):
        assert terminated or (after[plane] == (255 if game.to_play == 0 else 0)).all()


def test_the_plane_of_an_action_of_a_stone_game_is_where_the_stone_comes_to_lie() -> None:
    for name in ("gomoku", "othello", "hex", "go9", "go19"):
        game = load_game(name)()
        planes, cells = game.spec.action_planes, game.spec.action_cells
        assert planes is not None
        assert cells is not None
        for before, action, (after, *_rest) in random_moves(game, games=1):
            (point,) = planes[action]
            if cells[action] == -1:
                assert not point.any()
                continue
            assert point.sum() == 1
            assert point.ravel()[cells[action]] == 1
            assert before[0][point > 0] == before[1][point > 0] == 0
            assert after[1][point > 0] == 255


def test_the_picture_of_an_action_in_connect_four_is_its_column() -> None:
    game = load_game("connect4")()
    planes = game.spec.action_planes
    assert planes is not None
    assert planes[3, 0].tolist() == [[0, 0, 0, 1, 0, 0, 0]] * 6
    for before, action, (after, *_rest) in random_moves(game, games=3):
        assert ((after[1] != before[0]) <= planes[action, 0]).all()


@pytest.mark.parametrize("name", SYMMETRIES)
def test_every_action_has_a_place_of_its_own(name: str) -> None:
    game = load_game(name)()
    cells = game.spec.action_cells
    if name == "connect4":
        assert cells is None  # seven columns need no board
        return
    assert cells is not None
    assert cells.dtype == np.int32
    assert cells.shape == (game.spec.num_actions,)
    on_board = cells[cells >= 0]
    assert len(np.unique(on_board)) == len(on_board)
    assert (cells < 0).sum() == {"othello": 1, "go9": 1, "go19": 1}.get(name, 0)
    height, width = game.spec.observation_shape[1:]
    planes = {"chess": 74, "shogi": 139}.get(name, 1)
    assert on_board.max() < planes * height * width


@pytest.mark.parametrize("name", ["chess", "shogi"])
def test_pieces_go_from_and_to_where_the_picture_of_a_move_shows(name: str) -> None:
    game = load_game(name)()
    pieces = 6 if name == "chess" else 14
    planes, cells = game.spec.action_planes, game.spec.action_cells
    assert planes is not None
    assert cells is not None
    axes = (-2,) if name == "chess" else (-2, -1)
    drops = 0
    for before, action, (after, *_rest) in random_moves(game, games=4, max_moves=200):
        origin, target = planes[action, 0] > 0, planes[action, 1] > 0
        mine = before[:pieces].any(axis=0)
        others_then = np.flip(after[pieces : 2 * pieces], axes)  # mine, after the other's board was turned back
        assert target.sum() == 1
        assert not mine[target]
        assert others_then[:, target].any()
        drop = name == "shogi" and planes[action, 3:].any()
        drops += drop
        told = target if drop or (name == "chess" and cells[action] >= 73 * 64) else origin
        assert told.ravel()[cells[action] % told.size]
        assert origin.sum() == (not drop)
        assert mine[origin].all()
        assert not others_then[:, origin].any()
    assert drops > 0 or name == "chess"


def test_promotions_and_drops_are_pictured_by_whole_planes() -> None:
    chess = load_game_class("chess")(start="3k4/8/8/8/8/8/p6K/1N6 b - - 0 1")
    chess.reset(0)
    planes = chess.spec.action_planes
    for move, flags in (
        ("a2a1q", [0, 0, 0]),  # a queen is what is expected
        ("a2b1r", [1, 0, 0]),
        ("a2b1b", [0, 1, 0]),
        ("a2a1n", [0, 0, 1]),
    ):
        picture = planes[chess.string_to_action(move)]
        assert picture[2:, 0, 0].tolist() == picture[2:, 7, 7].tolist() == flags
        # Black plays up: from its seventh row, row 6, to its eighth.
        assert np.argwhere(picture[0]).tolist() == [[6, 0]]
        assert np.argwhere(picture[1]).tolist() == [[7, "ab".index(move[2])]]

    shogi = load_game("shogi")()
    shogi.reset(0)
    planes = shogi.spec.action_planes
    for move, flags in (
        ("7g7f", [0] * 8),
        ("3c3d", [0] * 8),
        ("8h2b+", [1] + [0] * 7),
        ("3a2b", [0] * 8),
        ("B*5e", [0] * 6 + [1, 0]),  # promotion, pawn, lance, knight, silver, gold, bishop, rook
    ):
        action = shogi.string_to_action(move)
        assert planes[action, 2:, 0, 0].tolist() == planes[action, 2:, 8, 8].tolist() == flags
        shogi.step(action)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("chess", "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR b KQkq - 0 1"),
        ("shogi", "lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1"),
    ],
)
def test_who_plays_second_would_see_and_do_the_same_if_it_began(name: str, start: str) -> None:
    game, other = load_game(name)(), load_game_class(name)(start=start)
    first, _ = game.reset(0)
    second, _ = other.reset(0)
    assert (game.to_play, other.to_play) == (0, 1)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(game.legal_actions(), other.legal_actions())
    assert first[: 6 if name == "chess" else 14, 0].any(axis=0).all()  # my first row, full of pieces, is row 0


def test_castling_rights_and_repetitions_are_told_from_the_players_side() -> None:
    # White can castle on its queen's side alone, Black on its king's side alone; marks: repetitions, quiet moves,
    # mine left and right, the other's left and right.
    game = load_game_class("chess")(start="r3k2r/8/8/8/8/8/8/R3K2R w Qk - 0 1")
    observation, _ = game.reset(0)
    assert observation[48:, 0, 0].tolist() == [0, 0, 255, 0, 0, 255]
    observation, *_ = game.step(game.string_to_action("h1g1"))
    # One quiet move: 255 / 101 = 2.5. Black's rights first.
    assert observation[48:, 0, 0].tolist() == [0, 2, 0, 255, 255, 0]
    for move in ("h8g8", "g1h1", "g8h8", "h1g1"):
        observation, *_ = game.step(game.string_to_action(move))
    # Black has lost its right by moving the rook.
    assert observation[48:, 0, 0].tolist() == [0, 12, 0, 0, 255, 0]


def test_pieces_in_hand_are_told_from_the_players_side() -> None:
    game = load_game("shogi")()
    game.reset(0)
    for move in ("7g7f", "3c3d", "8h2b+"):
        observation, *_ = game.step(game.string_to_action(move))
    # White to move: nothing in hand; Black has one of two bishops, 127 of 255.
    hands = observation[57:, 0, 0]
    assert hands.tolist() == [0] * 7 + [0, 0, 0, 0, 0, 127, 0]
    observation, *_ = game.step(game.string_to_action("3a2b"))
    assert observation[57:, 0, 0].tolist() == [0, 0, 0, 0, 0, 127, 0] * 2


@pytest.mark.parametrize("name", SYMMETRIES)
def test_there_are_as_many_symmetries_as_the_board_has(name: str) -> None:
    symmetries = load_game(name)().spec.symmetries
    assert len({symmetry.cells.tobytes() for symmetry in symmetries}) == len(symmetries) == SYMMETRIES[name]
    for symmetry in symmetries:
        assert sorted(symmetry.cells) == list(range(len(symmetry.cells)))
        assert sorted(symmetry.actions) == list(range(len(symmetry.actions)))
        assert (symmetry.cells != np.arange(len(symmetry.cells))).any()


@pytest.mark.parametrize("name", [*STONES, "tictactoe"])
def test_a_turned_game_goes_like_the_game_itself(name: str) -> None:
    for symmetry in load_game(name)().spec.symmetries:
        game, twin = load_game(name)(), load_game(name)()
        twin.reset(0)
        for _, action, answer in random_moves(game, games=1, max_moves=150):
            seen = twin.step(int(symmetry.actions[action]))
            np.testing.assert_array_equal(seen[0], turned(answer[0], symmetry))
            assert seen[1:] == answer[1:]
            assert game.to_play == twin.to_play
            # Action a of the game is action actions[a] of the turned one.
            np.testing.assert_array_equal(twin.legal_actions()[symmetry.actions], game.legal_actions())


def test_in_hex_x_has_to_connect_top_and_bottom() -> None:
    game = load_game("hex")()
    observation, _ = game.reset(0)
    rows = np.zeros((7, 7))
    rows[[0, 6]] = 255
    np.testing.assert_array_equal(observation[2:], [rows, rows.T])
    observation, *_ = game.step(0)
    np.testing.assert_array_equal(observation[2:], [rows.T, rows])


@pytest.mark.parametrize("name", SYMMETRIES)
def test_a_clone_goes_on_independently(name: str) -> None:
    game = load_game(name)()
    for number, _ in enumerate(random_moves(game, games=1)):
        if number == 5:
            break
    text, legal = game.text(), game.legal_actions()
    action = int(legal.nonzero()[0][0])
    copy = game.clone()
    expected = copy.step(action)
    copy.step(int(copy.legal_actions().nonzero()[0][-1]))
    assert game.text() == text
    np.testing.assert_array_equal(game.legal_actions(), legal)
    answer = game.step(action)
    np.testing.assert_array_equal(answer[0], expected[0])
    assert answer[1:] == expected[1:]


@pytest.mark.parametrize(("name", "axes"), [("chess", (1,)), ("shogi", (1, 2)), ("go9", ())])
def test_the_next_player_sees_the_board_turned_as_the_spec_says(name: str, axes: tuple[int, ...]) -> None:
    game = load_game(name)()
    before, _ = game.reset(0)
    cells = game.spec.turn_cells
    assert (cells is None) == (axes == ())
    if cells is not None:
        grid = np.arange(len(cells)).reshape(1, *before.shape[1:])
        assert cells.tolist() == np.flip(grid, axes).ravel().tolist()
        # What was mine is the other's, in the same planes, turned; but for the few squares that the move touched.
        after, *_ = game.step(int(np.flatnonzero(game.legal_actions())[0]))
        pieces = {"chess": 6, "shogi": 14}[name]
        mine_before = before[:pieces].reshape(pieces, -1)[:, cells]
        others_after = after[pieces : 2 * pieces].reshape(pieces, -1)
        assert (mine_before != others_after).sum() == 2
