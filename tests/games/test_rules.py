"""The rules of the shipped board games: numbers of positions that others have counted, and cases by hand."""

import numpy as np
import pytest

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.game import Game
from muzero_ray.core.game_loader import load_game_class

# A position of many castlings, pins, promotions and captures en passant, much used to test move generators.
KIWIPETE = "r3k2r/p1ppqpb1/bn2pnp1/3PN3/1p2P3/2N2Q1p/PPPBBPPP/R3K2R w KQkq - 0 1"


def leaves(game: Game, depth: int) -> int:
    """Number of ways to play so many moves: by clones, steps and legal actions."""
    legal = game.legal_actions()
    if depth == 1:
        return int(legal.sum())
    total = 0
    for action in legal.nonzero()[0].tolist():
        ahead = game.clone()
        _, _, terminated, truncated, _ = ahead.step(action)
        total += 0 if terminated or truncated else leaves(ahead, depth - 1)
    return total


def after(name: str, moves: str) -> tuple[Game, list[float], bool]:
    """A game after these moves, the reward of each, and whether it is over."""
    game = load_game(name)()
    game.reset(0)
    rewards, terminated = [], False
    for move in moves.split():
        assert not terminated
        _, reward, terminated, _, _ = game.step(game.string_to_action(move))
        rewards.append(reward)
    return game, rewards, terminated


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("connect4", [7, 49, 343, 2401, 16807, 117649]),  # 7^n while no column can be full and nobody can have won
        ("othello", [4, 12, 56, 244, 1396, 8200, 55092]),
        ("chess", [20, 400, 8902, 197281]),
        ("shogi", [30, 900, 25470, 719731]),
    ],
)
def test_as_many_games_can_be_played_as_others_have_counted(name: str, counts: list[int]) -> None:
    game = load_game(name)()
    game.reset(0)
    assert [leaves(game, depth) for depth in range(1, len(counts) + 1)] == counts


def test_a_full_column_is_closed_in_connect_four() -> None:
    # Nobody can have won after six moves, and a column is full only where all six went into it, of which there are
    # 7 ways: these go on in 6 ways, all others in 7.
    game = load_game("connect4")()
    game.reset(0)
    assert leaves(game, 7) == 7**7 - 7


def test_kiwipete_is_counted_right() -> None:
    game = load_game_class("chess")(start=KIWIPETE)
    game.reset(0)
    assert [leaves(game, depth) for depth in (1, 2, 3)] == [48, 2039, 97862]


@pytest.mark.parametrize(
    ("name", "moves", "won"),
    [
        ("connect4", "1 2 1 2 1 2 1", 1.0),  # four upwards
        ("connect4", "1 1 2 2 3 3 4", 1.0),  # four across
        ("connect4", "1 2 2 3 3 4 3 4 4 7 4", 1.0),  # four diagonally
        ("gomoku", "A1 A2 B1 B2 C1 C2 D1 D2 E1", 1.0),  # five across
        ("gomoku", "C3 A1 D4 A2 E5 A3 G7 A4 O15 A5", 1.0),  # five upwards, of who plays second
        ("hex", "a1 b1 a2 b2 a3 b3 a4 b4 a5 b5 a6 b6 a7", 1.0),  # X from top to bottom
        ("hex", "a2 a1 b2 b1 c2 c1 d2 d1 e2 e1 f2 f1 g3 g1", 1.0),  # O from left to right
        ("chess", "f2f3 e7e5 g2g4 d8h4", 1.0),  # fool's mate, by Black
        ("chess", "e4 e5 Qh5 Nc6 Bc4 Nf6 Qxf7", 1.0),  # scholar's mate, in short notation
        ("chess", "g1f3 g8f6 f3g1 f6g8 g1f3 g8f6 f3g1 f6g8", 0.0),  # the first position for the third time
    ],
)
def test_played_games_end_as_the_rules_say(name: str, moves: str, won: float) -> None:
    _, rewards, terminated = after(name, moves)
    assert terminated
    assert rewards == [0.0] * (len(rewards) - 1) + [won]


def test_a_shorter_line_or_a_gap_does_not_win() -> None:
    assert not after("gomoku", "A1 A2 B1 B2 C1 C2 D1 D2 F1")[2]
    assert not after("hex", "a1 b1 a2 b2 a3 b3 a4 b4 a5 b5 a6 b6 b7")[2]  # a6 and b7 do not touch
    assert after("hex", "b1 d1 b2 d2 b3 d3 b4 d4 b5 d5 b6 d6 a7")[2]  # b6 and a7 do


def test_stones_turn_over_in_othello() -> None:
    # X takes d3, below which d4 is O's and d5 X's: d4 turns over.
    game, _, _ = after("othello", "d3")
    assert game.text().splitlines()[3:6] == ["3 . . . X . . . . 3", "4 . . . X X . . . 4", "5 . . . X O . . . 5"]
    assert sorted(game.action_to_string(action) for action in game.legal_actions().nonzero()[0]) == ["c3", "c5", "e3"]


def test_who_cannot_turn_a_stone_in_othello_passes() -> None:
    game, rng = load_game("othello")(), np.random.default_rng(0)
    passes = 0
    for _ in range(20):
        game.reset(0)
        terminated = False
        while not terminated:
            moves = [game.action_to_string(action) for action in game.legal_actions().nonzero()[0]]
            assert "pass" not in moves or moves == ["pass"]
            passes += moves == ["pass"]
            mover = game.to_play
            _, _, terminated, _, _ = game.step(game.string_to_action(str(rng.choice(moves))))
            assert game.to_play == 1 - mover
    assert passes > 0


def test_surrounded_stones_are_taken_in_go() -> None:
    #  2  X .        O at A1 has its last liberty at A2
    #  1  O X
    game, _, _ = after("go9", "B1 A1 A2")
    assert game.text().splitlines()[-3:-1] == ["2 X . . . . . . . . 2", "1 . X . . . . . . . 1"]
    assert not game.legal_actions()[0]  # suicide: A1 would have no liberty


def test_a_ko_may_not_be_taken_back_at_once() -> None:
    #  3  . X O .       X takes B2's stone from C2, then O may not retake at once:
    #  2  X O . O       the board would be what it was
    #  1  . X O .
    game, _, _ = after("go9", "A2 D2 B3 C3 B1 C1 J9 B2 C2")
    assert "2 X . X O" in game.text()
    with pytest.raises(ValueError, match="'B2' is no legal move here"):
        game.string_to_action("B2")
    for move in ("J8", "J7"):
        game.step(game.string_to_action(move))
    game.step(game.string_to_action("b2"))  # elsewhere first, then it is allowed
    assert "2 X O . O" in game.text()


@pytest.mark.parametrize(
    ("moves", "reward"),
    [
        ("E5 pass pass", 1.0),  # 81 points for Black, who passed last
        ("pass pass", 1.0),  # none for either, and 7.5 of komi for White, who passed last
        ("E5 E4 pass pass", 1.0),  # all empty points touch both: 1 to 1, and komi for White, who passed last
        ("E5 E4 E3 pass pass", -1.0),  # 2 to 1, and komi for White; Black passed last
    ],
)
def test_go_is_scored_by_area_with_komi(moves: str, reward: float) -> None:
    _, rewards, terminated = after("go9", moves)
    assert terminated
    assert rewards == [0.0] * (len(rewards) - 1) + [reward]


def test_chess_is_stopped_after_its_longest_game() -> None:
    game = load_game_class("chess")(max_moves=3)
    game.reset(0)
    ends = [game.step(game.string_to_action(move))[2:4] for move in ("e2e4", "e7e5", "g1f3")]
    assert ends == [(False, False), (False, False), (False, True)]
    with pytest.raises(ValueError, match="the episode is over"):
        game.step(game.string_to_action("g8f6"))


@pytest.mark.parametrize(
    ("name", "moves", "there", "text"),
    [
        ("chess", "e2e4 c7c6 e4e5 d7d5", "e5d6", ""),  # en passant
        ("chess", "e2e4 e7e5 g1f3 b8c6 f1c4 f8c5", "e1g1", "O-O"),
        ("chess", "d2d4 d7d5 b1c3 b8c6 c1f4 c8f5 d1d2 d8d7 a2a3", "e8c8", "O-O-O"),
        ("chess", "a2a4 b7b5 a4b5 a7a6 b5a6 c8b7 a6b7 d7d6", "b7a8n", "bxa8=N"),
        ("chess", "a2a4 b7b5 a4b5 a7a6 b5a6 c8b7 a6b7 d7d6", "b7a8q", "bxa8=Q"),
        ("shogi", "7g7f 3c3d", "8h2b+", ""),
        ("shogi", "7g7f 3c3d 8h2b+ 3a2b", "B*5e", ""),
        ("shogi", "7g7f 3c3d 8h2b 3a2b 5g5f", "B*5e", ""),  # White's, with its board turned round
        ("connect4", "4 4", "7", ""),
        ("go19", "T19", "A1", "a1"),
        ("go9", "J9", "pass", "PASS"),
        ("gomoku", "J8", "O15", "o15"),
    ],
)
def test_moves_are_read_and_written_as_people_do(name: str, moves: str, there: str, text: str) -> None:
    game, _, _ = after(name, moves)
    action = game.string_to_action(there)
    assert game.legal_actions()[action]
    assert game.action_to_string(action) == there
    assert game.string_to_action(f" {text or there}") == action
    assert game.action_to_string(int(game.legal_actions().argmin())).isdigit()  # what is not legal has but a number


def test_boards_are_drawn_with_their_coordinates() -> None:
    assert after("chess", "e2e4")[0].text().splitlines()[5:] == [
        "4 . . . . P . . . 4",
        "3 . . . . . . . . 3",
        "2 P P P P . P P P 2",
        "1 R N B Q K B N R 1",
        "  a b c d e f g h",
        "Black to move",
    ]
    drawn = after("shogi", "7g7f 3c3d 8h2b+")[0].text().splitlines()
    assert drawn[0] == "  9  8  7  6  5  4  3  2  1"
    assert drawn[2] == "  .  r  .  .  .  .  . +B  .  b"
    assert drawn[-2:] == ["in hand: B", "White to move"]
    assert after("connect4", "4 4")[0].text().splitlines()[-3:] == [
        ". . . O . . .",
        ". . . X . . .",
        "1 2 3 4 5 6 7",
    ]
