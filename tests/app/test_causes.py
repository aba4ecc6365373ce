"""How a run tells its cause that a broken game or a machine too small has ended, in one process and from an actor."""

import pickle

import pytest
from reference.tiny_runs import write_game

from muzero_ray.adapters.loading import load_game
from muzero_ray.app.errors import RunFailed, cause_in_words
from muzero_ray.core.checked_game import CheckedGame, GameError

FINE = "return np.zeros(2, dtype=np.float32), 0.0, False, False, {}"
RAISES = f"def fall():\n    raise KeyError('no such card')\nif self.moves == 2:\n    fall()\n{FINE}"
BREAKS = FINE.replace("0.0", "float('nan')")


def play(path: str) -> None:
    game = CheckedGame(load_game(path)())
    game.reset(7)
    for _ in range(5):
        game.step(1)


def in_one_process(path: str, ray_cluster) -> str:
    with pytest.raises(GameError) as caught:
        play(path)
    return cause_in_words(caught.value)


def in_an_actor(path: str, ray_cluster) -> str:
    def play_there(path: str) -> None:  # `play` once more: this file cannot be imported over there
        game = CheckedGame(load_game(path)())
        game.reset(7)
        for _ in range(5):
            game.step(1)

    try:
        ray_cluster.get(ray_cluster.remote(play_there).options(num_cpus=0).remote(path))
    except ray_cluster.exceptions.RayTaskError as error:
        failed = RunFailed("self_play_0", "play", error.cause or error)
        failed.__cause__ = error
        return cause_in_words(failed)
    raise AssertionError("the game did not fail")


WHERE = [pytest.param(in_one_process, id="one process"), pytest.param(in_an_actor, id="actor", marks=pytest.mark.ray)]


@pytest.fixture
def cluster_if_needed(request):
    return request.getfixturevalue("ray_cluster") if "actor" in request.node.name else None


@pytest.mark.parametrize("told_by", WHERE)
def test_exception_of_the_games_own_is_told_with_its_lines_step_and_seed(tmp_path, told_by, cluster_if_needed):
    told = told_by(str(write_game(tmp_path, RAISES)), cluster_if_needed)
    sentence, _, trace = told.partition("\n\n")
    assert sentence.startswith("" if told_by is in_one_process else "self_play_0: ")
    assert "mygame.step: step() must not raise, got KeyError: 'no such card' in line" in sentence
    assert "after action 1 in step 2 (seed 7)" in sentence
    lines = trace.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'no such card'"
    assert "fall()" in trace
    files = [line.split('"')[1] for line in lines if line.startswith('  File "')]
    assert files == [str(tmp_path / "mygame.py")] * 2, "only the game's own code"


@pytest.mark.parametrize("told_by", WHERE)
def test_violation_without_an_exception_is_one_sentence(tmp_path, told_by, cluster_if_needed):
    told = told_by(str(write_game(tmp_path, BREAKS)), cluster_if_needed)
    who = "" if told_by is in_one_process else "self_play_0: "
    assert told == (
        f"{who}mygame.step: reward must be finite, got nan after action 1 in step 1 (seed 7); "
        "return a plain number such as 0.0"
    )


def test_lines_of_the_game_survive_the_way_to_another_process(tmp_path):
    with pytest.raises(GameError) as caught:
        play(str(write_game(tmp_path, RAISES)))
    sent = pickle.loads(pickle.dumps(caught.value))
    assert str(sent) == str(caught.value)
    assert sent.game_traceback == caught.value.game_traceback != ""


def test_file_that_cannot_be_imported_is_told_with_its_own_lines(tmp_path):
    from muzero_ray.app.errors import game_in_words
    from muzero_ray.core.game_loader import GameLoadError

    (tmp_path / "broken.py").write_text("first = 1\nsecond = first / 0\n")
    with pytest.raises(GameLoadError) as caught:
        load_game(str(tmp_path / "broken.py"))
    told = game_in_words(caught.value)
    assert "cannot be imported: ZeroDivisionError" in told
    assert [line for line in told.splitlines() if line.startswith("  File")] == [
        f'  File "{tmp_path}/broken.py", line 2, in <module>'
    ]


@pytest.mark.ray
def test_what_a_gpu_has_no_room_for_is_one_sentence(ray_cluster):
    def train_there() -> None:
        import torch

        from muzero_ray.nn.hardware import memory_told

        with memory_told("a batch of 256 windows", "train.batch_size (256)"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 is full. Advice.")

    with pytest.raises(ray_cluster.exceptions.RayTaskError) as caught:
        ray_cluster.get(ray_cluster.remote(train_there).options(num_cpus=0).remote())
    failed = RunFailed("trainer", "train", caught.value.cause)
    failed.__cause__ = caught.value
    assert cause_in_words(failed) == (
        "trainer: a batch of 256 windows does not fit into the GPU's memory: CUDA out of memory. Tried to allocate "
        "2 GiB. GPU 0 is full; lower train.batch_size (256), or let nothing else use this GPU"
    )
