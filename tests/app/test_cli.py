"""The command line, from words to exit code."""

import json
import os
import resource
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest
from reference.tiny_agents import make_agent_run

from muzero_ray.app import cli, config_io
from muzero_ray.app.reporting.status_file import StatusFile
from muzero_ray.app.saving.checkpoint import save_best, save_checkpoint
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.core.checked_game import GameError
from muzero_ray.core.config import Config
from muzero_ray.core.game_loader import GameLoadError
from muzero_ray.core.types import Episode


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """Stands for `app.run`: remembers what it was asked to train, and writes the configuration, as that does."""
    calls = []

    def train(config, run, resume):
        calls.append((config, run, resume))
        config_io.write_config(run.config, config)
        return 0

    monkeypatch.setitem(sys.modules, "muzero_ray.app.run", SimpleNamespace(train=train))
    return calls


def told(capsys, *words: str) -> str:
    """What a mistaken command says; its exit code must be 2 and its standard output empty."""
    assert cli.main(list(words)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def make_run(folder, step: int = 10, **changes) -> RunFolder:
    run = RunFolder.create(folder / "results", changes.get("game", "cartpole"))
    config_io.write_config(run.config, Config(**{"game": "cartpole", **changes}))
    manifest = {"training_steps": step, "env_steps": step, "seconds": 0.0}
    save_checkpoint(run, learner_state=b"", weights={"w": np.ones(1)}, buffer_state={}, manifest=manifest, keep=3)
    return run


def test_train_options_reach_the_run_and_its_folder(in_folder, trained):
    words = "--game cartpole --search.num-simulations 25 --seed=3 --num-actors 2 --system.no-dashboard"
    assert cli.main(["train", *words.split()]) == 0
    ((config, run, resume),) = trained
    assert (config.game, config.search.num_simulations, config.seed, config.num_actors) == ("cartpole", 25, 3, 2)
    assert config.system.dashboard is False
    assert resume is None
    assert run.path.parts[:2] == ("results", "cartpole")
    assert config_io.read_config(run.config) == config
    assert run.versions.is_file()


def test_config_file_replaces_the_games_own_and_may_name_the_game(in_folder, trained):
    (in_folder / "mine.yaml").write_text("game: tictactoe\nseed: 5\nsearch: {q_normalization: node}\n")
    assert cli.main(["train", "--config", "mine.yaml", "--seed", "6"]) == 0
    config = trained[0][0]
    assert (config.game, config.seed) == ("tictactoe", 6)
    assert config.train.td_steps == Config().train.td_steps  # not that of configs/tictactoe.yaml


def test_config_file_called_after_a_shipped_game_is_of_that_game(in_folder, trained, capsys):
    (in_folder / "cartpole.yaml").write_text("seed: 5\n")
    assert cli.main(["train", "--config", "cartpole.yaml"]) == 0
    assert trained[0][0].game == "cartpole"
    (in_folder / "other.yaml").write_text("seed: 5\n")
    assert "other.yaml names no game: write `game: NAME` in it, or add --game NAME" in told(
        capsys, "train", "--config", "other.yaml"
    )


def test_misspelt_game_option_and_wrong_values_are_told_together_before_anything_is_made(in_folder, trained, capsys):
    text = told(
        capsys,
        *("train", "--game", "cartpol", "--search.num-simluations", "25"),
        *("--network.hidden-size", "-3", "--train.discount", "2"),
    )
    assert text.startswith("error: the configuration has 4 mistakes:\n")
    assert "--search.num-simluations: no such option; did you mean --search.num-simulations?" in text
    assert "game: no game 'cartpol'; did you mean cartpole?" in text
    assert "--network.hidden-size: wanted at least 1, got '-3'" in text
    assert "--train.discount: wanted at most 1.0, got '2'" in text
    assert trained == []
    assert list(in_folder.iterdir()) == []


def test_option_without_its_value_is_told(in_folder, trained, capsys):
    assert "--seed" in told(capsys, "train", "--seed")
    assert trained == []


def test_unknown_command_names_the_nearest(capsys):
    assert told(capsys, "tran") == "error: no command 'tran'; did you mean train?; see muzero-ray --help\n"


def test_results_that_cannot_be_written_stop_the_run(in_folder, trained, capsys):
    (in_folder / "results").write_text("a file in the way")
    assert "error: results: cannot write to results/cartpole" in told(capsys, "train", "--game", "cartpole")
    assert trained == []


def test_resume_continues_the_newest_run_of_the_game(in_folder, trained):
    run = make_run(in_folder, seed=7)
    make_run(in_folder, game="tictactoe")
    assert cli.main(["train", "--game", "cartpole", "--resume", "--train.env-steps", "500000"]) == 0
    config, resumed, checkpoint = trained[0]
    assert resumed.path.resolve() == run.path.resolve()
    assert (config.seed, config.train.env_steps) == (7, 500_000)
    assert checkpoint.training_steps == 10
    assert config_io.read_config(run.config).train.env_steps == 500_000


def test_resume_passes_over_a_newer_run_without_a_checkpoint_and_says_so(in_folder, trained, caplog):
    run = make_run(in_folder)
    later = RunFolder.create(in_folder / "results", "cartpole")
    config_io.write_config(later.config, Config(game="cartpole"))
    assert cli.main(["train", "--resume"]) == 0
    assert trained[0][1].path.resolve() == run.path.resolve()
    assert f"passed over: results/cartpole/{later.path.name}" in caplog.text
    assert "it stopped before its first checkpoint" in caplog.text


def test_resume_passes_over_copies_of_a_newer_run_and_a_folder_called_newest(in_folder, trained, caplog):
    run = make_run(in_folder)
    copies = make_run(in_folder)
    copies.versions.unlink()
    (in_folder / "newest").mkdir()
    (in_folder / "newest" / "config.yaml").write_text("game: tictactoe\n")
    assert cli.main(["train", "--resume", "--game", "cartpole"]) == 0
    assert trained[0][1].path.resolve() == run.path.resolve()
    assert f"results/cartpole/{copies.path.name} holds a run's copies" in caplog.text


@pytest.mark.parametrize("own", ["versions.txt", "status.json", "logs", "events.out.tfevents.1"])
def test_a_runs_own_folder_is_never_taken_for_copies(in_folder, trained, own):
    run = make_run(in_folder)
    run.versions.unlink()
    assert RunFolder.is_copy(run.path)
    (run.path / own).touch()
    assert not RunFolder.is_copy(run.path)
    assert cli.main(["train", "--resume", str(run.path)]) == 0
    assert trained[0][1].path.resolve() == run.path.resolve()


@pytest.mark.parametrize("named", [True, False])
def test_a_run_that_goes_on_is_not_resumed_nor_an_older_one_in_its_place(in_folder, trained, capsys, named):
    make_run(in_folder)
    run = make_run(in_folder)
    words = ["--resume", str(run.path)] if named else ["--game", "cartpole", "--resume"]
    StatusFile(run.status).write({"state": "running"})  # by this process, which is alive
    refused = told(capsys, "train", *words)
    assert f"{run.path.name}: wanted a run that has ended, got one that goes on; stop it first" in refused
    assert trained == []
    assert cli.main(["show-config", *words]) == 0
    StatusFile(run.status).write({"state": "stopped"})
    assert cli.main(["train", *words]) == 0
    assert trained[0][1].path.resolve() == run.path.resolve()


def test_resume_of_a_named_run_without_a_checkpoint_is_refused(in_folder, trained, capsys):
    run = RunFolder.create(in_folder / "results", "cartpole")
    config_io.write_config(run.config, Config(game="cartpole"))
    assert "wanted a checkpoint, but it stopped before its first" in told(capsys, "train", "--resume", str(run.path))
    assert trained == []


@pytest.mark.parametrize("where", ["command line", "file"])
def test_file_of_a_game_is_found_again_from_every_folder(in_folder, trained, monkeypatch, where):
    (in_folder / "mygame.py").write_text(BROKEN_GAME.replace('float("nan")', "0.0"))
    (in_folder / "mine.yaml").write_text("game: mygame.py\n")
    words = ["--game", "mygame.py"] if where == "command line" else ["--config", "mine.yaml"]
    assert cli.main(["train", *words]) == 0
    config, run, _ = trained[0]
    assert config.game == str(in_folder / "mygame.py")
    assert run.path.parent.name == "mygame"
    manifest = {"training_steps": 1, "env_steps": 1, "seconds": 0.0}
    save_checkpoint(run, learner_state=b"", weights={"w": np.ones(1)}, buffer_state={}, manifest=manifest, keep=3)
    path = run.path.absolute()
    (in_folder / "elsewhere").mkdir()
    monkeypatch.chdir(in_folder / "elsewhere")
    assert cli.main(["train", "--resume", str(path)]) == 0
    assert trained[1][0].game == config.game


def test_options_that_do_not_fit_the_game_are_told_with_the_other_mistakes(in_folder, trained, capsys):
    text = told(
        capsys,
        *("train", "--game", "cartpole", "--search.q-normalization", "bounds", "--network.value-head", "scalar"),
        *("--seed", "-1", "--sed", "2"),
    )
    assert text.startswith("error: the configuration has 4 mistakes:\n")
    assert "search.q_normalization: bounds needs a game that states its value_bounds" in text
    assert "network.value_head: scalar needs a game that states its value_bounds" in text
    assert "--seed: wanted at least 0" in text
    assert trained == []
    assert list(in_folder.iterdir()) == []


def test_game_that_cannot_be_reset_is_refused_with_the_lines_of_its_own_file(in_folder, trained, capsys):
    (in_folder / "broken.py").write_text(BROKEN_GAME.replace("return np.zeros(1, np.float32), {}", "return 1 // 0"))
    assert cli.main(["train", "--game", "broken.py"]) == 2
    text = capsys.readouterr().err
    assert "broken.reset: reset() must not raise, got ZeroDivisionError" in text
    assert "line 9, in reset" in text
    assert "muzero_ray/" not in text
    assert trained == []


def test_ctrl_c_ends_a_command_without_a_traceback(in_folder, monkeypatch, capsys):
    def interrupted(argv):
        raise KeyboardInterrupt

    for name in ("evaluate", "watch", "bench", "check-game", "train"):
        monkeypatch.setitem(cli.COMMANDS, name, interrupted)
        assert cli.main([name]) == 130
        assert capsys.readouterr() == ("", "stopped\n")


def test_game_that_breaks_its_contract_later_is_told_in_a_sentence(in_folder, fake_agent, monkeypatch, capsys):
    def evaluate(*args, **kwargs):
        raise GameError("mygame.step: reward must be finite, got nan")

    run = make_run(in_folder)
    monkeypatch.setattr(sys.modules["muzero_ray.play.evaluation"], "evaluate", evaluate)
    assert told(capsys, "evaluate", str(run.path)) == "error: mygame.step: reward must be finite, got nan\n"


def test_game_whose_file_is_gone_is_told_in_a_sentence(in_folder, fake_agent, monkeypatch, capsys):
    def gone(config):
        raise GameLoadError("game: no file 'mygame.py'")

    run = make_run(in_folder)
    monkeypatch.setattr(sys.modules["muzero_ray.actors.build"], "Agent", gone)
    assert told(capsys, "watch", str(run.path)) == "error: game: no file 'mygame.py'\n"


def test_blas_has_one_thread_unless_the_user_says_otherwise():
    code = (
        "import os, sys\n"
        "class Spy:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numpy': print(os.environ.get('OPENBLAS_NUM_THREADS'))\n"
        "sys.meta_path.insert(0, Spy())\n"
        "import muzero_ray.app.cli\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    for given, wanted in (({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**environment, **given}, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [wanted], "decided before NumPy is imported"


def test_resume_of_a_named_run_falls_back_to_an_older_checkpoint(in_folder, trained, caplog):
    run = make_run(in_folder, step=10)
    manifest = {"training_steps": 20, "env_steps": 20, "seconds": 0.0}
    save_checkpoint(run, learner_state=b"", weights={"w": np.ones(1)}, buffer_state={}, manifest=manifest, keep=3)
    os.truncate(run.checkpoints / "step_000000020" / "weights.npz", 10)
    assert cli.main(["train", "--resume", str(run.path)]) == 0
    assert trained[0][2].training_steps == 10
    assert "weights.npz is refused" in caplog.text


def test_resumed_run_cannot_change_what_its_weights_depend_on(in_folder, trained, capsys):
    run = make_run(in_folder)
    text = told(
        capsys,
        *f"train --resume {run.path} --network.latent-size 32 --train.consistency-weight 2 --seed 5".split(),
    )
    assert "network.latent_size: wanted 64, got 32" in text
    assert "train.consistency_weight > 0: wanted False, got True" in text
    assert "seed" not in text
    assert trained == []


def test_a_run_of_another_game_is_not_resumed_and_that_is_all_that_is_told(in_folder, trained, capsys):
    run = make_run(in_folder)
    assert told(capsys, "train", "--resume", str(run.path), "--game", "tictactoe") == (
        f"error: --game: {run.path} is of cartpole, got tictactoe; leave out --game, or start a new run without "
        "--resume\n"
    )
    assert trained == []
    assert cli.main(["train", "--resume", str(run.path), "--game", "cartpole"]) == 0


def test_a_run_stays_where_it_is_when_it_is_resumed(in_folder, trained, monkeypatch, capsys):
    run = make_run(in_folder)
    text = told(capsys, "train", "--resume", str(run.path), "--results", "elsewhere")
    assert text == (f"error: --results: {run.path} goes on in its own folder, got elsewhere; leave out --results\n")
    assert trained == []
    assert cli.main(["train", "--resume", str(run.path), "--results", str(in_folder / "results")]) == 0
    (in_folder / "elsewhere").mkdir()
    monkeypatch.chdir(in_folder / "elsewhere")
    assert cli.main(["train", "--resume", str(run.path)]) == 0
    assert trained[1][0].results == str(in_folder / "results")


def test_results_of_a_resumed_run_that_was_moved_are_where_it_lies_now(in_folder, trained):
    run = make_run(in_folder)
    (in_folder / "results").rename(in_folder / "kept")
    moved = in_folder / "kept" / "cartpole" / run.path.name
    assert cli.main(["train", "--resume", str(moved)]) == 0
    assert trained[0][0].results == str(in_folder / "kept")
    moved.rename(in_folder / "alone")  # not in a folder of its game: nothing tells where its results would be
    assert cli.main(["train", "--resume", "alone"]) == 0
    assert trained[1][0].results == str(in_folder / "kept")


@pytest.mark.parametrize("words", [[], ["--resume"]])
def test_results_in_cloud_storage_are_refused_whatever_is_done(in_folder, trained, capsys, words):
    text = told(capsys, "train", "--game", "cartpole", "--results", "s3://bucket/x", *words)
    assert "results: wanted a local folder, got 's3://bucket/x'; " in text
    assert trained == []
    assert list(in_folder.iterdir()) == []


@pytest.mark.parametrize("where", ["command line", "file"])
def test_a_game_without_a_name_is_refused(in_folder, trained, capsys, where):
    (in_folder / "mine.yaml").write_text("game: ''\n")
    words = ["--game", ""] if where == "command line" else ["--config", "mine.yaml"]
    assert "game: no game ''" in told(capsys, "train", *words)
    assert trained == []


def test_a_word_too_many_is_told_what_it_may_have_been_meant_for(in_folder, trained, capsys):
    text = told(capsys, "train", "cartpole", "--network.value-support", "5", "6", "7")
    assert "  cartpole: belongs to no option; did you mean --game cartpole?\n" in text
    assert "  7: is one too many: --network.value-support takes two numbers\n" in text


def test_version_is_told(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"muzero-ray {metadata.version('muzero-ray')}\n"


def test_resume_and_config_exclude_each_other(capsys):
    assert "--config and --resume exclude each other" in told(capsys, "train", "--resume", "--config", "a.yaml")


def test_resume_without_a_run_says_so(in_folder, capsys):
    assert "no run of chess in results that could be resumed; name one with --resume RUN" in told(
        capsys, "train", "--resume", "--game", "chess"
    )


def test_help_comes_at_once_with_every_option_and_this_games_default():
    code = (
        "import sys; from muzero_ray.app.cli import main; status = main(['train', '--game', 'tictactoe', '--help']);"
        "print('LOADED', sorted({'torch', 'ray', 'numba', 'scipy'} & set(sys.modules))); sys.exit(status)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "LOADED []"
    # Processor time, since the machine may be busy with other things.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0
    text = " ".join(done.stdout.replace("│", " ").split())
    for flag in ("--game", "--config FILE", "--resume [RUN]", "--num-actors INT|none", "--system.max-restarts"):
        assert flag in text
    own = config_io.make_config(config_io.game_file("tictactoe"))
    assert own.train.td_steps != Config().train.td_steps
    assert f"none does. (default: {own.train.td_steps})" in text


def test_overview_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in ("train", "evaluate", "watch", "games", "check-game", "show-config", "bench"):
        assert f"\n  {name} " in text
    assert "muzero-ray --version" in text


def test_games_are_listed_with_a_line_each(capsys):
    assert cli.main(["games"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert {"cartpole", "lunarlander", "tictactoe"} <= lines.keys()
    assert all(len(title) > 20 for title in lines.values())


def test_check_game_explains_what_is_wrong_and_fails(in_folder, capsys):
    assert cli.main(["check-game", "tictactoe", "--episodes", "2"]) == 0
    assert "no problem found in 2 episodes" in capsys.readouterr().out
    (in_folder / "broken.py").write_text(BROKEN_GAME)
    assert cli.main(["check-game", "broken.py"]) == 1
    assert "reward" in capsys.readouterr().out
    assert "no game 'tictactoo'; did you mean tictactoe" in told(capsys, "check-game", "tictactoo")


BROKEN_GAME = '''"""A game whose reward is no number."""
import numpy as np
from muzero_ray.core.game import Game, GameSpec

class Broken(Game):
    spec = GameSpec(observation_shape=(1,), num_actions=2)

    def reset(self, seed):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float("nan"), True, False, {}
'''


def test_show_config_tells_value_and_origin(in_folder, capsys):
    assert cli.main(["show-config", "--game", "tictactoe", "--seed", "4"]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["seed"] == ["seed", "4", "command", "line"]
    assert rows["train.td_steps"][2].endswith("tictactoe.yaml")
    assert rows["replay.priority_exponent"][2] == "default"


@pytest.fixture
def fake_agent(monkeypatch):
    """An agent whose games end at once; noisy, as game libraries are, on both levels of standard output."""
    made = []

    def make_agent(config):
        spec = SimpleNamespace(num_players=1, protocol="cartpole, as it is")
        model = SimpleNamespace(set_weights=lambda weights: made.append((config, weights)))
        return SimpleNamespace(make_game="game", planner="planner", model=model, spec=spec)

    def evaluate(make_game, planner, model, seeds, *, num_simulations=None):
        print("Hello from a game library")
        os.write(1, b"Hello from C\n")
        return [Episode((float(index),), 1, seed, False) for index, seed in enumerate(seeds)]

    def record_episode(make_game, planner, model, seed, *, num_simulations=None):
        frames = [np.full((16, 16, 3), 30 * index, np.uint8) for index in range(4)]
        return SimpleNamespace(frames=frames, texts=[""] * 4)

    monkeypatch.setitem(sys.modules, "muzero_ray.actors.build", SimpleNamespace(Agent=make_agent))
    play = SimpleNamespace(evaluate=evaluate, record_episode=record_episode)
    monkeypatch.setitem(sys.modules, "muzero_ray.play.evaluation", play)
    # Imported anew with the fakes, and put back afterwards.
    monkeypatch.setitem(sys.modules, "muzero_ray.app.reporting.video", None)
    del sys.modules["muzero_ray.app.reporting.video"]
    return made


def test_evaluate_prints_one_json_object_and_nothing_else(in_folder, fake_agent, capfd):
    run = make_run(in_folder)
    save_best(run, {"w": np.full(1, 2.0)}, {"training_steps": 5, "env_steps": 5, "seconds": 0.0})
    assert cli.main(["evaluate", str(run.path), "--episodes", "3", "--json"]) == 0
    captured = capfd.readouterr()
    result = json.loads(captured.out)
    assert captured.out.count("\n") == 1
    assert "Hello from a game library" in captured.err
    assert "Hello from C" in captured.err
    assert result.keys() == {"mean", "std", "ci95", "returns", "seconds", "checkpoint", "protocol"}
    assert (result["mean"], result["std"], result["returns"]) == (1.0, 1.0, [0.0, 1.0, 2.0])
    assert result["checkpoint"] == str(run.best / "step_000000005")
    assert result["protocol"] == "cartpole, as it is"
    assert fake_agent[0][1]["w"][0] == 2.0


def test_evaluate_without_json_says_it_in_words(in_folder, fake_agent, capfd):
    run = make_run(in_folder)
    assert cli.main(["evaluate", str(run.path), "--checkpoint", "last", "--episodes", "3"]) == 0
    told = capfd.readouterr().out
    assert "cartpole: return 1.00 ± 1.00 over 3 episodes, 95% confidence -1.48 to 3.48" in told
    assert told.endswith("\ncartpole, as it is\n")


def test_evaluate_plays_as_many_episodes_as_the_run_says(in_folder, fake_agent, capfd):
    run = make_run(in_folder, evaluate={"final_episodes": 17})
    assert cli.main(["evaluate", str(run.path), "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["returns"]) == 17


def test_evaluate_of_a_game_for_two_points_to_match(tmp_path, capsys):
    run = make_agent_run(tmp_path, "tictactoe")
    assert cli.main(["evaluate", str(run)]) == 2
    told = capsys.readouterr().err
    assert "evaluate: wanted a game for one player, tictactoe is for 2; muzero-ray match" in told


def test_evaluate_refuses_what_is_not_there(in_folder, fake_agent, capsys):
    run = make_run(in_folder)
    assert "has no best; there is last, 10" in told(capsys, "evaluate", str(run.path), "--checkpoint", "best")
    assert "wanted a run folder" in told(capsys, "evaluate", "nowhere")
    assert "--episodes: wanted at least 1, got 0" in told(capsys, "evaluate", str(run.path), "--episodes", "0")


def test_watch_writes_a_video_and_prints_its_path(in_folder, fake_agent, capfd):
    run = make_run(in_folder)
    assert cli.main(["watch", str(run.path)]) == 0
    assert capfd.readouterr().out == f"{run.path}/video.mp4\n"
    assert (run.path / "video.mp4").stat().st_size > 500
    assert cli.main(["watch", str(run.path), "--output", "mine"]) == 0
    assert (in_folder / "mine.mp4").is_file()


@pytest.mark.parametrize("command", ["evaluate", "watch"])
def test_an_agent_whose_game_has_changed_since_is_refused_in_a_sentence(tmp_path, capsys, command):
    run = RunFolder.open(make_agent_run(tmp_path, "tictactoe"))
    config_io.write_config(run.config, config_io.read_config(run.config).model_copy(update={"game": "connect4"}))
    assert "its weights do not fit the game connect4" in told(capsys, command, str(run.path))


def test_bench_is_handed_on(monkeypatch):
    calls = []
    bench = SimpleNamespace(main=lambda what, as_json: calls.append((what, as_json)) or 0)
    monkeypatch.setitem(sys.modules, "muzero_ray.app.bench", bench)
    monkeypatch.setattr("muzero_ray.app.bench", bench, raising=False)
    assert cli.main(["bench", "search", "--json"]) == 0
    assert calls == [("search", True)]


def test_output_may_be_cut_off_by_its_reader():
    command = f"{sys.executable} -m muzero_ray.app.cli train --game cartpole --help | head -n 3"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert len(done.stdout.splitlines()) == 3
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
