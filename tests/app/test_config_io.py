"""What is read from files and command lines, and every sentence in which a mistake is told."""

import errno
import os
from pathlib import Path

import pytest

from muzero_ray.app import config_io, options
from muzero_ray.app.config_io import ConfigFile
from muzero_ray.app.errors import UserError
from muzero_ray.core.config import Config
from muzero_ray.core.game_loader import shipped_folder

NO_FILE = ConfigFile(None, {})


def yaml_file(folder: Path, text: str) -> Path:
    path = folder / "game.yaml"
    path.write_text(text)
    return path


def message(file: ConfigFile, overrides: dict | None = None, found: tuple[str, ...] = ()) -> str:
    with pytest.raises(UserError) as caught:
        config_io.make_config(file, overrides, found)
    return str(caught.value)


def test_file_overrides_defaults_and_command_line_overrides_the_file(tmp_path):
    file = config_io.read_file(yaml_file(tmp_path, "train: {batch_size: 64, td_steps: 9}\n"))
    config = config_io.make_config(file, {"train.td_steps": "3"})
    assert (config.train.batch_size, config.train.td_steps) == (64, 3)
    assert config.train.unroll_steps == Config().train.unroll_steps


def test_text_of_a_command_line_becomes_values_of_every_type():
    overrides = {
        "num_actors": "none",
        "train.learning_rate": "1e-3",
        "network.value_support": ("-5", "5"),
        "search.algorithm": "muzero",
        "evaluate.video": False,
        "system.address": "None",
    }
    config = config_io.make_config(NO_FILE, overrides)
    assert config.num_actors is None
    assert config.train.learning_rate == 1e-3
    assert config.network.value_support == (-5.0, 5.0)
    assert config.search.algorithm == "muzero"
    assert config.evaluate.video is False
    assert config.system.address is None


def test_tab_in_yaml_is_told_with_file_line_and_column(tmp_path):
    path = yaml_file(tmp_path, "train:\n\tbatch_size: 3\n")
    with pytest.raises(UserError) as caught:
        config_io.read_file(path)
    assert str(caught.value) == (
        f"{path}, line 2, column 1: wanted spaces, got a tab; YAML is indented with spaces only: "
        "put two spaces in its place"
    )


def test_broken_yaml_is_told_with_file_line_and_column(tmp_path):
    path = yaml_file(tmp_path, "train: [1, 2\nseed: 3\n")
    with pytest.raises(UserError, match=r"game\.yaml, line 2, column 5: expected ',' or '\]'"):
        config_io.read_file(path)


def test_key_written_twice_is_refused(tmp_path):
    path = yaml_file(tmp_path, "train:\n  td_steps: 3\n  td_steps: 4\n")
    with pytest.raises(UserError, match="line 3, column 3: td_steps is written twice; keep one of the two"):
        config_io.read_file(path)


@pytest.mark.parametrize("text", ["- a\n- b\n", "42\n"])
def test_yaml_without_options_is_refused(tmp_path, text):
    with pytest.raises(UserError, match="wanted options as `name: value`, got"):
        config_io.read_file(yaml_file(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "key"), [("3: 4", "3"), ("yes: 4", "True"), ("train: {1: 2}", "1"), ("[a]: 4", "['a']")]
)
def test_key_that_is_no_name_is_told_with_its_line(tmp_path, text, key):
    path = yaml_file(tmp_path, f"seed: 1\n{text}\n")
    with pytest.raises(UserError) as caught:
        config_io.read_file(path)
    assert f"{path}, line 2, column " in str(caught.value)
    assert f": wanted an option's name, got {key}; write options as `name: value`" in str(caught.value)


def test_yaml_that_would_build_python_objects_is_refused(tmp_path):
    path = yaml_file(tmp_path, f"seed: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    with pytest.raises(UserError, match=r"game\.yaml, line 1"):
        config_io.read_file(path)
    assert not (tmp_path / "made").exists()


def test_missing_and_binary_files_are_told_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml cannot be read: No such file or directory"):
        config_io.read_file(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="it is no UTF-8 text"):
        config_io.read_file(tmp_path / "binary.yaml")


def test_empty_file_means_the_defaults(tmp_path):
    assert config_io.make_config(config_io.read_file(yaml_file(tmp_path, "# nothing\n"))) == Config()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"train": {"batch_size": -5}}, "train.batch_size: wanted at least 1, got -5"),
        ({"train": {"discount": 0}}, "train.discount: wanted more than 0.0, got 0"),
        ({"train": {"discount": 1.5}}, "train.discount: wanted at most 1.0, got 1.5"),
        ({"seed": 2**63}, f"seed: wanted less than {2**63}, got {2**63}"),
        ({"train": {"batch_size": "many"}}, "train.batch_size: wanted a whole number, got 'many'"),
        ({"train": {"batch_size": 2.5}}, "train.batch_size: wanted a whole number, got 2.5"),
        ({"train": {"learning_rate": [1]}}, "train.learning_rate: wanted a number, got [1]"),
        ({"evaluate": {"video": "maybe"}}, "evaluate.video: wanted true or false, got 'maybe'"),
        ({"search": {"algorithm": "gumble"}}, "search.algorithm: wanted 'gumbel' or 'muzero', got 'gumble'"),
        ({"search": 5}, "search: wanted a section: options indented below it, got 5"),
        ({"results": 5}, "results: wanted text, got 5"),
        ({"network": {"value_support": [1]}}, "network.value_support: wanted two numbers, [low, high], got [1]"),
        ({"network": {"value_support": 1}}, "network.value_support: wanted two numbers, [low, high], got 1"),
        (
            {"search": {"num_simluations": 5}},
            "search.num_simluations: no such option; did you mean search.num_simulations?",
        ),
        ({"serach": {"c_visit": 5}}, "serach: no such option; did you mean search?"),
        ({"search": {"nosuch": 5}}, "search.nosuch: no such option"),
        (
            {"train": {"num_simulations": 5}},
            "train.num_simulations: no such option; did you mean search.num_simulations?",
        ),
        (
            {"network": {"value_support": [3, 1]}},
            "network.value_support: wanted the lower number first, then a higher one, got 3.0 and 1.0",
        ),
        (
            {"network": {"support_spacing": 0.7}},
            "network: value_support from -20.0 to 20.0 is no whole number of support_spacing 0.7",
        ),
        ({"search": {"c_scale": float("inf")}}, "search.c_scale: wanted a finite number, got inf"),
        (
            {"train": {"discount": True}},
            "train.discount: wanted a number, got True; yes, no, on and off without quotes are true and false in YAML",
        ),
        (
            {"system": {"compile": False}},
            "system.compile: wanted 'auto', 'on' or 'off', got False; yes, no, on and off without quotes are true and "
            "false in YAML",
        ),
        ({"results": ""}, "results: wanted a local folder, got ''; . is the working folder"),
        (
            {"train.batch_size": 3},
            'train.batch_size: wanted it indented below "train:", got a dotted name; write "train:" and below it, '
            'indented, "batch_size: 3"',
        ),
        ({"train.bach_size": 3}, "train.bach_size: no such option; did you mean train.batch_size?"),
        (
            {"train": {"search.c_visit": 3}},
            "train.search.c_visit: no such option; did you mean search.c_visit?",
        ),
    ],
)
def test_every_kind_of_mistake_has_its_sentence(values, sentence):
    path = Path("configs/game.yaml")
    assert message(ConfigFile(path, values)) == f"the configuration has a mistake:\n  {sentence} (configs/game.yaml)"


def test_mistake_of_the_command_line_is_told_by_its_flag():
    told = message(NO_FILE, {"train.batch_size": "-5"})
    assert told == "the configuration has a mistake:\n  --train.batch-size: wanted at least 1, got '-5'"


@pytest.mark.parametrize(
    ("file", "overrides", "sentence"),
    [
        (
            {},
            {"network.value_support": ("5", "-5")},
            "--network.value-support: wanted the lower number first, then a higher one, got 5.0 and -5.0",
        ),
        (
            {},
            {"network.reward_support": ("5", "5")},
            "--network.reward-support: wanted the lower number first, then a higher one, got 5.0 and 5.0",
        ),
        (
            {"value_support": [-5, 5]},
            {"network.support_spacing": "0.7"},
            "--network.support-spacing: value_support from -5.0 to 5.0 is no whole number of support_spacing 0.7",
        ),
        (
            {"support_spacing": 0.5},
            {"network.value_support": ("-5", "5.2")},
            "--network.value-support: value_support from -5.0 to 5.2 is no whole number of support_spacing 0.5",
        ),
        (
            {"value_prefix_steps": 5},
            {"network.kind": "mlp", "network.blocks": "1"},
            '--network.kind: value_prefix_steps (5) needs kind "conv" or "image", got "mlp"; set it to 0',
        ),
        (
            {"support_spacing": 0.7},
            {"network.blocks": "1"},
            "network: value_support from -20.0 to 20.0 is no whole number of support_spacing 0.7 (a.yaml)",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_told_by_the_one_of_the_command_line(file, overrides, sentence):
    told = message(ConfigFile(Path("a.yaml"), {"network": file}), overrides)
    assert told == f"the configuration has a mistake:\n  {sentence}"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"train.num_gpus": "4"}, "train.num_gpus (4): one process has one trainer; leave out num_actors 0"),
        ({"replay.shards": "2"}, "replay.shards (2): one process has one buffer; leave out num_actors 0"),
        ({"max_actors": "3"}, "max_actors (3): one process has no actors; leave out num_actors 0"),
    ],
)
def test_a_sentence_with_a_semicolon_is_one_mistake(overrides, sentence):
    assert message(NO_FILE, {"num_actors": "0", **overrides}) == f"the configuration has a mistake:\n  {sentence}"


def test_several_combinations_that_do_not_fit_are_as_many_mistakes():
    told = message(NO_FILE, {"num_actors": "0", "train.num_gpus": "4", "replay.shards": "2"})
    assert told.splitlines() == [
        "the configuration has 2 mistakes:",
        "  train.num_gpus (4): one process has one trainer; leave out num_actors 0",
        "  replay.shards (2): one process has one buffer; leave out num_actors 0",
    ]


def test_dotted_names_of_a_file_are_told_with_the_other_mistakes():
    values = {"train.batch_size": 3, "network.kind": "conv", "train": {"td_steps": 0}}
    told = message(ConfigFile(Path("a.yaml"), values)).splitlines()
    assert told[0] == "the configuration has 3 mistakes:"
    assert sorted(line.split(":")[0].strip() for line in told[1:]) == [
        "network.kind",
        "train.batch_size",
        "train.td_steps",
    ]


def test_all_mistakes_of_file_command_line_and_combination_are_told_at_once():
    file = ConfigFile(Path("a.yaml"), {"train": {"batch_size": 0, "env_steps": 500}, "replay": {"min_steps": 900}})
    told = message(file, {"seed": "x"}, ("--foo: no such option",))
    assert told.splitlines() == [
        "the configuration has 4 mistakes:",
        "  --foo: no such option",
        "  --seed: wanted a whole number, got 'x'",
        "  train.batch_size: wanted at least 1, got 0 (a.yaml)",
        "  replay.min_steps (900) must be below train.env_steps (500), or nothing is ever trained",
    ]


def test_combination_with_a_wrong_value_is_no_second_mistake():
    # With min_steps taken out, its default of 1000 would not fit into a budget of 500.
    file = ConfigFile(Path("a.yaml"), {"train": {"env_steps": 500}, "replay": {"min_steps": -1}})
    assert message(file).splitlines()[1:] == ["  replay.min_steps: wanted at least 0, got -1 (a.yaml)"]


def test_misfits_are_told_with_the_other_mistakes_unless_they_follow_from_one():
    def misfits(config: Config) -> list[str]:
        return ["search.q_normalization: does not fit", f"train.batch_size: {config.train.batch_size} does not fit"]

    overrides = {"train.batch_size": "none", "seed": "x"}
    with pytest.raises(UserError) as caught:
        config_io.make_config(NO_FILE, overrides, (), misfits)
    assert str(caught.value).splitlines()[1:] == [
        "  --seed: wanted a whole number, got 'x'",
        "  --train.batch-size: wanted a whole number, got 'none'",
        "  search.q_normalization: does not fit",
    ]


def test_configuration_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "config.yaml"
    config_io.write_config(path, Config(seed=1))
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        config_io.write_config(path, Config(seed=2))
    assert config_io.read_config(path).seed == 1
    assert list(tmp_path.iterdir()) == [path]


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_override_of_something_that_is_no_section_keeps_the_mistake():
    assert "search: wanted a section" in message(ConfigFile(Path("a.yaml"), {"search": 5}), {"search.q_floor": "0.1"})


def test_unknown_flag_names_the_nearest_flag():
    told = options.explain_unknown(["--search.num-simluations", "7", "--evaluate.vido", "stray"])
    assert told[0] == "--search.num-simluations: no such option; did you mean --search.num-simulations?"
    assert told[1] == "--evaluate.vido: no such option; did you mean --evaluate.video?"
    assert len(told) == 2  # a word behind an unknown flag is its value
    assert options.explain_unknown(["--search.nosuch"]) == ["--search.nosuch: no such option"]


@pytest.mark.parametrize(
    ("line", "unknown", "sentence"),
    [
        ("cartpole", "cartpole", "cartpole: belongs to no option; did you mean --game cartpole?"),
        ("cartpol", "cartpol", "cartpol: belongs to no option; did you mean --game cartpole?"),
        ("--seed 3 cartpole", "cartpole", "cartpole: belongs to no option; did you mean --game cartpole?"),
        ("my/game.py", "my/game.py", "my/game.py: belongs to no option; did you mean --game my/game.py?"),
        ("atari:Pong", "atari:Pong", "atari:Pong: belongs to no option; did you mean --game atari:Pong?"),
        ("my.yaml", "my.yaml", "my.yaml: belongs to no option; did you mean --config my.yaml?"),
        ("xyz", "xyz", "xyz: belongs to no option; write --OPTION VALUE"),
        (
            "--seed 7 --network.value-support 5 6 7",
            "7",
            "7: is one too many: --network.value-support takes two numbers",
        ),
        ("--network.value-support 5 6 -7", "-7", "-7: is one too many: --network.value-support takes two numbers"),
        ("--seed=3 4", "4", "4: is one too many: --seed takes one value; put quotes around one with blanks in it"),
        (
            "--results my folder",
            "folder",
            "folder: is one too many: --results takes one value; put quotes around one with blanks in it",
        ),
        (
            "--evaluate.video false",
            "false",
            "false: is one too many: --evaluate.video is a switch without a value; its opposite is --evaluate.no-video",
        ),
        (
            "--evaluate.no-video false",
            "false",
            "false: is one too many: --evaluate.no-video is a switch without a value; its opposite is --evaluate.video",
        ),
    ],
)
def test_word_that_belongs_to_no_option_is_told_what_it_may_have_been_meant_for(line, unknown, sentence):
    assert options.explain_unknown([unknown], line.split()) == [sentence]


def test_run_folder_that_belongs_to_no_option_is_told_to_be_one_to_resume(tmp_path):
    (tmp_path / "config.yaml").touch()
    told = options.explain_unknown([str(tmp_path), "x" * 300])
    assert told[0] == f"{tmp_path}: belongs to no option; did you mean --resume {tmp_path}?"
    assert told[1].endswith("x: belongs to no option; write --OPTION VALUE")


def test_config_round_trip_is_exact(tmp_path):
    config = config_io.make_config(
        NO_FILE,
        {"game": "games/mine.py", "train.weight_decay": 1e-7, "num_actors": 0, "seed": 2**62, "evaluate.video": False},
    )
    config_io.write_config(tmp_path / "config.yaml", config)
    assert config_io.read_config(tmp_path / "config.yaml") == config


def test_every_option_is_shown_with_its_origin(tmp_path):
    path = yaml_file(tmp_path, "train: {batch_size: 64}\nseed: 3\n")
    file = config_io.read_file(path)
    config = config_io.make_config(file, {"seed": "4"})
    rows = {key: (value, origin) for key, value, origin in config_io.resolved_with_origin(config, file, ["seed"])}
    assert rows["seed"] == (4, "command line")
    assert rows["train.batch_size"] == (64, str(path))
    assert rows["train.td_steps"] == (Config().train.td_steps, "default")
    assert len(rows) > 60


def test_game_file_finds_the_yaml_beside_it_or_in_a_sibling_folder(tmp_path):
    (tmp_path / "games").mkdir()
    (tmp_path / "configs").mkdir()
    game = tmp_path / "games" / "mygame.py"
    assert config_io.game_file(str(game)) == NO_FILE
    (tmp_path / "configs" / "mygame.yaml").write_text("seed: 1\n")
    assert config_io.game_file(str(game)).values == {"seed": 1}
    (tmp_path / "games" / "mygame.yaml").write_text("seed: 2\n")
    assert config_io.game_file(str(game)).values == {"seed": 2}


def test_options_beside_a_game_in_a_file_that_would_not_be_read_are_refused(tmp_path):
    game = tmp_path / "mygame.py"
    (tmp_path / "mygame.yml").write_text("seed: 1\n")
    with pytest.raises(UserError) as caught:
        config_io.game_file(str(game))
    assert str(caught.value) == f"{tmp_path / 'mygame.yml'}: wanted a name that ends in .yaml; name it mygame.yaml"
    (tmp_path / "mygame.yaml").write_text("seed: 2\n")
    assert config_io.game_file(str(game)).values == {"seed": 2}


def test_shipped_configurations_are_valid():
    paths = list(shipped_folder("configs").glob("*.yaml"))
    assert paths
    for path in paths:
        config_io.make_config(config_io.game_file(path.stem))


def test_all_atari_games_share_a_file():
    pong, alien = (config_io.game_file(f"atari:{name}") for name in ("Pong", "Alien(preset=machado)"))
    assert pong == alien == config_io.read_file(pong.path)
    assert pong.path.name == "atari.yaml"


def test_games_without_a_file_have_the_defaults():
    assert config_io.game_file("gymnasium:Acrobot-v1") == NO_FILE
    assert config_io.game_file("nosuchgame") == NO_FILE
