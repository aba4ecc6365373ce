"""Games are found by name, by file and by Gymnasium id, and every failure says what to do."""

import pickle
from pathlib import Path

import pytest

from muzero_ray.adapters.gymnasium_game import GymnasiumGame
from muzero_ray.adapters.loading import load_game, shipped_games
from muzero_ray.core import game_loader
from muzero_ray.core.game_loader import GameLoadError, game_title, load_game_class

MINIMAL = '''"""A game of nothing."""
import numpy as np
from muzero_ray.core.game import Game, GameSpec
from muzero_ray.adapters.gymnasium_game import GymnasiumGame

class Minimal(Game):
    spec = GameSpec(observation_shape=(1,), num_actions=1)
    def reset(self, seed): return np.zeros(1, np.float32), {}
    def step(self, action): return np.zeros(1, np.float32), 0.0, True, False, {}
'''


def written(folder: Path, text: str, name: str = "mygame.py") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_three_shipped_games_are_found_with_a_title_each() -> None:
    assert {"cartpole", "lunarlander", "tictactoe"} <= set(shipped_games())
    assert all(len(game_title(name)) > 20 for name in shipped_games())


def test_a_file_is_loaded_by_path_and_imported_bases_do_not_count(tmp_path: Path) -> None:
    game = load_game(written(tmp_path, MINIMAL))()
    assert type(game).__name__ == "Minimal"
    assert game_title(str(tmp_path / "mygame.py")) == "A game of nothing."


def test_two_files_of_the_same_name_are_two_games(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = load_game_class(written(tmp_path, MINIMAL))
    second = load_game_class(written(tmp_path / "other", MINIMAL.replace("num_actions=1", "num_actions=7")))
    assert (first.spec.num_actions, second.spec.num_actions) == (1, 7)


def test_a_factory_survives_the_way_to_another_process(tmp_path: Path) -> None:
    factory = load_game(written(tmp_path, MINIMAL))
    sent = pickle.dumps(factory)
    load_game_class.cache_clear()
    assert pickle.loads(sent)().spec.num_actions == 1


def test_a_gymnasium_environment_needs_no_file() -> None:
    game = load_game("gymnasium:CartPole-v1")()
    assert isinstance(game, GymnasiumGame)
    assert game.spec.observation_shape == (4,)


def test_a_wheel_has_its_games_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "muzero_ray"
    (package / "games").mkdir(parents=True)
    written(package / "games", MINIMAL, "solitaire.py")
    monkeypatch.setattr(game_loader, "_PACKAGE", package)
    assert game_loader.shipped_games() == ["solitaire"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "tictactow",
            r"no game 'tictactow'; did you mean tictactoe\? Choose one of breakout, cartpole, .*, "
            r"a file \(path/to/mygame.py\), gymnasium:ENV_ID, open_spiel:NAME or atari:NAME",
        ),
        ("games/nothing.py", r"no file 'games/nothing.py' \(looked for /.*/games/nothing.py\); give the path"),
        ("gymnasium:LunarLandr-v3", r"no environment 'LunarLandr-v3'; did you mean LunarLander-v3"),
        ("gymnasium:Pendulum-v1", r"Pendulum-v1: action_space must be Discrete, got Box.*; write a game file"),
        ("gymnasium:Taxi-v4(size=64)", r"cannot make 'Taxi-v4' with size: .*; besides what"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_with_advice(name: str, sentence: str) -> None:
    with pytest.raises(GameLoadError, match=sentence):
        load_game(name)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1", "must define exactly one subclass of Game, got none"),
        (MINIMAL + "\nclass Second(Minimal): pass", "exactly one subclass of Game, got Minimal and Second"),
        (MINIMAL.replace("def step", "def stop"), "Minimal must define step; see games/gridworld.py"),
        (
            "import no_such_module",
            "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'; a game is one file, "
            "and others beside it are not found: put what it imports into it, or install that as a package on every "
            "machine",
        ),
        ("1 / 0", r"cannot be imported: ZeroDivisionError: .*; a game's file must run on its own \(python mygame.py\)"),
        ("def broken(:", "cannot be imported: SyntaxError"),
        (MINIMAL + "    def __init__(self): self.x = 1 / 0", "cannot be made: ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_without_a_usable_game_is_refused_with_the_reason(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(GameLoadError, match=sentence):
        load_game(written(tmp_path, text))


def test_a_file_that_imports_another_beside_it_is_refused_with_the_truth(tmp_path: Path) -> None:
    written(tmp_path, "SIZE = 3", "helper_of_mygame.py")
    with pytest.raises(GameLoadError, match=r"No module named 'helper_of_mygame'; a game is one file, and others"):
        load_game(written(tmp_path, "from helper_of_mygame import SIZE\n" + MINIMAL))


def test_an_error_in_the_file_keeps_its_own_traceback(tmp_path: Path) -> None:
    with pytest.raises(GameLoadError) as caught:
        load_game(written(tmp_path, "first = 1\nsecond = first / 0\n"))
    cause = caught.value.__cause__
    assert isinstance(cause, ZeroDivisionError)
    assert cause.__traceback__ is not None
    frames = []
    step = cause.__traceback__
    while step is not None:
        frames.append((Path(step.tb_frame.f_code.co_filename).name, step.tb_lineno))
        step = step.tb_next
    assert ("mygame.py", 2) in frames
