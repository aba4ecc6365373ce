"""A person at the board: what is typed, and what is told."""

import io
from pathlib import Path

import numpy as np
import pytest
from reference.fake_thinker import FirstLegal
from rich.console import Console

from muzero_ray.adapters.loading import load_game
from muzero_ray.app.boards.board_session import BoardSession
from muzero_ray.play.game_in_progress import GameInProgress


class Seat:
    """A session with a person who types what was written beforehand, then Ctrl-D."""

    def __init__(self, *typed: str | BaseException, game: str = "tictactoe", side="first", rng=None) -> None:
        self.position = GameInProgress(load_game(game))
        self.thinker = FirstLegal()
        self.output = io.StringIO()
        self._typed = list(typed)
        console = Console(file=self.output, width=100, highlight=False)
        BoardSession(self.position, self.thinker, console, ask=self.ask, side=side, rng=rng).run()
        self.text = self.output.getvalue()

    def ask(self, prompt: str) -> str:
        print(prompt, file=self.output, end="")
        if not self._typed:
            raise EOFError
        typed = self._typed.pop(0)
        if isinstance(typed, BaseException):
            raise typed
        print(typed, file=self.output)
        return typed

    @property
    def moves(self) -> list[str]:
        return [self.position.game.action_to_string(action) for action in self.position.history]


def test_moves_are_played_and_answered_and_the_board_is_drawn():
    seat = Seat("B2", "c3")
    assert seat.moves == ["B2", "A1", "C3", "A2"]
    assert "You play first; the agent thinks 8 simulations per move. A move is written like A1;" in seat.text
    assert "The agent plays A1 and expects +0.50 for itself.\n\nO . .\n. X .\n. . ." in seat.text
    assert seat.text.endswith("your move: \nGoodbye.\n")


def test_the_second_player_is_answered_before_it_moves():
    assert Seat("B2", side="second").moves == ["A1", "B2", "A2"]


def test_a_random_side_is_drawn_from_the_generator():
    sides = {len(Seat(side="random", rng=np.random.default_rng(seed)).moves) for seed in range(10)}
    assert sides == {0, 1}


def test_a_game_won_lost_or_drawn_is_told_and_another_may_follow():
    won = Seat("B1", "B2", "B3", "C3", "new")
    assert "You win!" in won.text
    assert "The game is over: new starts another, undo takes back." in won.text
    assert won.moves == []
    assert "The agent wins." in Seat("B1", "B2", "C3").text
    # X: A3 B2 B1 C2 C3 against A1, A2, B3, C1: nobody has three.
    assert "A draw." in Seat("A3", "B2", "B1", "C2", "C3").text


def test_taking_back_returns_to_the_persons_last_choice_also_after_the_end():
    assert Seat("B2", "C3", "undo").moves == ["B2", "A1"]
    assert Seat("B2", "C3", "undo", "undo").moves == []
    assert Seat("B1", "B2", "B3", "undo").moves == ["B1", "A1", "B2", "A2"]
    seat = Seat("undo", side="second")
    assert seat.moves == ["A1"]
    assert "There is no move of yours to take back." in seat.text


@pytest.mark.parametrize("wrong", ["A9", "b2b2", "B1", "X", "[red]"])
def test_what_is_no_legal_move_is_told_with_the_nearest_that_are(wrong):
    seat = Seat("B1", wrong)
    assert f"{wrong!r} is no legal move here" in seat.text
    assert "Nearest legal moves: " in seat.text
    assert seat.moves == ["B1", "A1"]


def test_the_nearest_move_comes_first_and_misspelt_words_are_recognised():
    assert "Nearest legal moves: e2e4, e2e3, " in Seat("e2e5", game="chess").text
    assert "'udno' is no legal move here; did you mean undo?" in Seat("udno").text


def test_an_empty_line_changes_nothing():
    assert "no legal move" not in Seat("", "   ").text


def test_legal_moves_are_listed():
    assert "your move: moves\nA2 A3 B2 B3 C1 C2 C3\n" in Seat("B1", "moves").text


def test_a_hint_shows_policy_visits_and_value():
    text = " ".join(Seat("hint").text.split())
    assert "move policy visits A1 75.0% 75.0% A2 25.0% 25.0%" in text
    assert "The agent would expect +0.50 in your place, where -1 is lost and 1 is won." in text


def test_the_side_is_changed_with_a_new_game():
    seat = Seat("B2", "side second")
    assert seat.moves == ["A1"]
    assert "side: wanted first, second or random, got 'left'." in Seat("side left").text


def test_the_strength_is_told_and_changed():
    seat = Seat("strength", "strength 50", "strength much", "strength 0")
    assert seat.thinker.num_simulations == 50
    assert seat.text.count("The agent thinks 8 simulations per move.") == 1
    assert "got 'much'" in seat.text
    assert "got '0'" in seat.text


def test_resigning_ends_the_game_until_it_is_taken_back():
    seat = Seat("B2", "resign", "C3", "moves", "hint", "resign", "undo", "C3")
    assert "You resigned.\nnew, undo or quit? C3\nThe game is over" in seat.text
    assert seat.moves == ["B2", "A1", "C3", "A2"]


def test_help_names_every_word():
    text = Seat("help").text
    assert all(word in text for word in ("moves", "board", "undo", "hint", "strength", "side", "new", "resign", "quit"))


@pytest.mark.parametrize("leaving", ["quit", "QUIT", EOFError(), KeyboardInterrupt()])
def test_leaving_is_quiet(leaving):
    seat = Seat("B2", leaving, "C3")
    assert seat.moves == ["B2", "A1"]
    assert seat.text.endswith("Goodbye.\n")


@pytest.mark.parametrize("game", ["go9", "chess", "shogi", "connect4", "othello", "gomoku", "hex"])
def test_every_board_game_can_be_played(game):
    seat = Seat("moves", "hint", game=game, side="second")
    assert len(seat.position.history) == 1
    assert "The agent plays " in seat.text


def test_games_without_a_picture_are_played_by_their_moves(tmp_path):
    source = (Path(__file__).parents[3] / "games" / "tictactoe.py").read_text()
    (tmp_path / "blind.py").write_text(source.replace("def text(self)", "def drawn(self)"))
    assert "(no picture of this game; moves so far: 4 0)" in Seat("B2", game=str(tmp_path / "blind.py")).text
