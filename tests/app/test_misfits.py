"""Combinations of options and games that must be refused before anything starts."""

import numpy as np
import pytest

from muzero_ray.app.misfits import game_mistakes, misfits, opponent_misfits
from muzero_ray.core.config import Config
from muzero_ray.core.game import GameSpec

VECTOR = GameSpec(observation_shape=(4,), num_actions=2)
BOARD = GameSpec(observation_shape=(2, 3, 3), num_actions=9, num_players=2, value_bounds=(-1.0, 1.0))
FRAMES = GameSpec(observation_shape=(3, 96, 96), num_actions=4, observation_dtype="uint8")


def config(**sections) -> Config:
    return Config.model_validate(sections)


@pytest.mark.parametrize(
    ("spec", "sections", "beginning"),
    [
        (VECTOR, {"search": {"q_normalization": "bounds"}}, "search.q_normalization: bounds needs a game that states"),
        (VECTOR, {"network": {"value_head": "scalar"}}, "network.value_head: scalar needs a game that states"),
        (BOARD, {}, "search.q_normalization: tree mixes the values of both players in a game for two; choose bounds"),
        (
            VECTOR,
            {"replay": {"capacity_steps": 100, "min_steps": 50}},
            "replay.capacity_steps: wanted at least train.batch_size, 256, got 100",
        ),
        (
            VECTOR,
            {"replay": {"capacity_steps": 1, "min_steps": 1}, "train": {"batch_size": 1}},
            "replay.capacity_steps: wanted at least train.batch_size, 2, got 1",
        ),
    ],
)
def test_each_misfit_has_its_sentence(spec, sections, beginning):
    (told,) = misfits(config(**sections), spec)
    assert told.startswith(beginning)


CONV = {"kind": "conv", "value_head": "scalar"}
BOUNDS = {"q_normalization": "bounds"}


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_a_convolutional_network_is_let_through_on_boards(engine):
    assert misfits(config(network=CONV, search=BOUNDS, system={"engine": engine}), BOARD) == []


def test_a_convolutional_network_needs_a_board():
    assert misfits(config(network={"kind": "conv"}), VECTOR) == [
        "network.kind: conv needs a game whose observations are boards [C, H, W], got shape (4,); use mlp"
    ]


def test_a_convolutional_network_is_not_compiled():
    assert misfits(config(network=CONV, search=BOUNDS, system={"engine": "compiled"}), BOARD) == [
        "system.engine: compiled runs networks of kind mlp only, got conv; use torch or auto"
    ]


IMAGE = {"network": {"kind": "image"}}
DRAWN = GameSpec(observation_shape=(2, 19, 19), num_actions=3, action_cells=np.arange(3, dtype=np.int32))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (
            VECTOR,
            "network.kind: image needs a game whose observations are frames [C, H, W], got shape (4,); use mlp",
        ),
        (
            GameSpec(observation_shape=(3, 20, 16), num_actions=2),
            "network.kind: image needs frames of at least 17 x 17, for 16 x 16 pixels become one cell, got shape "
            "(3, 20, 16); use conv, which keeps the size",
        ),
        (DRAWN, "network.kind: image is for frames, got a board on which actions have places; use conv"),
    ],
)
def test_a_network_for_images_needs_frames(spec, told):
    assert misfits(config(**IMAGE), spec) == [told]


def test_a_network_for_images_is_let_through_on_frames_but_not_compiled():
    assert misfits(config(**IMAGE), FRAMES) == []
    (told,) = misfits(config(**IMAGE, system={"engine": "compiled"}), FRAMES)
    assert told == "system.engine: compiled runs networks of kind mlp only, got image; use torch or auto"


def test_an_mlp_is_not_let_see_frames_but_small_boards_of_bytes():
    stacked = GameSpec(observation_shape=(3, 96, 96), num_actions=4, observation_dtype="uint8", frame_stack=4)
    (told,) = misfits(config(), stacked)
    assert told == "network.kind: mlp would see a frame (12, 96, 96) as 110,592 numbers; use image"
    assert misfits(config(), GameSpec(observation_shape=(3, 8, 8), num_actions=4, observation_dtype="uint8")) == []


def test_buffer_without_memory_for_what_training_waits_for_is_told_how_much_it_needs():
    # 3 * 96 * 96 bytes of frame; 4 each of action, reward, value, successor, predecessor; 1 each of player and kind; 4
    # flags and 4 * 4 of policy for 4 actions; 8 of version; 16 of priority: 27,714. A frame that cannot be compressed
    # takes 108 + 16 bytes more, 33 + 16 as an object of its own, and 8 for the pointer to it: 27,895. So 1000 states
    # are 27.9 MB.
    (told,) = misfits(config(**IMAGE, replay={"capacity_mb": 27}), FRAMES)
    assert told == (
        "replay.capacity_mb: wanted room for 1000 states (train.batch_size, replay.min_steps), got 27 MB, "
        "which hold 967 of 27895 bytes; use 28"
    )
    assert misfits(config(**IMAGE, replay={"capacity_mb": 28}), FRAMES) == []


@pytest.mark.parametrize("normalization", ["bounds", "node"])
def test_what_fits_is_let_through(normalization):
    assert misfits(config(search={"q_normalization": normalization}, network={"value_head": "scalar"}), BOARD) == []
    assert misfits(Config(), VECTOR) == []


def test_several_misfits_are_told_at_once():
    wrong = config(search={"q_normalization": "bounds"}, network={"value_head": "scalar"})
    assert len(misfits(wrong, VECTOR)) == 2


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gymnasium:Pendulum-v1", "action_space must be Discrete, got Box"),
        ("gymnasium:CarRacing-v3", "action_space must be Discrete, got Box"),
        ("chess960", "no game 'chess960'"),
    ],
)
def test_games_that_cannot_be_played_are_refused_in_words(name, sentence):
    spec, (told,) = game_mistakes(name)
    assert spec is None
    assert sentence in told
    assert "Traceback" not in told


def test_game_that_starts_is_told_by_its_spec():
    assert game_mistakes("tictactoe") == (BOARD, [])


def test_game_with_a_broken_spec_is_refused(tmp_path):
    (tmp_path / "broken.py").write_text(
        "from muzero_ray.core.game import Game, GameSpec\n"
        "class Broken(Game):\n"
        "    spec = GameSpec(observation_shape=(0,), num_actions=0)\n"
        "    def reset(self, seed): raise AssertionError\n"
        "    def step(self, action): raise AssertionError\n"
    )
    spec, told = game_mistakes(str(tmp_path / "broken.py"))
    assert spec is None
    assert [sentence.partition(", got")[0] for sentence in told] == [
        "broken: spec.observation_shape must be a tuple of positive integers",
        "broken: spec.num_actions must be a positive integer",
    ]


@pytest.mark.parametrize("opponents", ["random", "random, oneply,uct:20", "expert,perfect"])
def test_opponents_that_the_game_knows_are_let_through(opponents):
    assert opponent_misfits(config(game="tictactoe", evaluate={"opponents": opponents})) == []


@pytest.mark.parametrize(
    ("opponents", "beginnings"),
    [
        ("random,,oneply", ["evaluate.opponents: wanted names with commas between them, got 'random,,oneply'"]),
        ("", ["evaluate.opponents: wanted names with commas between them, got ''"]),
        (
            "radnom,uct",
            ["evaluate.opponents: no opponent 'radnom'; did you mean random?", "evaluate.opponents: opponent"],
        ),
    ],
)
def test_every_opponent_that_is_not_known_has_its_sentence(opponents, beginnings):
    told = opponent_misfits(config(game="tictactoe", evaluate={"opponents": opponents}))
    assert len(told) == len(beginnings)
    assert all(sentence.startswith(beginning) for sentence, beginning in zip(told, beginnings, strict=True))


@pytest.mark.parametrize(("spec", "got"), [(VECTOR, "a game for one"), (BOARD, None)])
def test_only_games_for_two_with_bounds_can_be_given_up(spec, got):
    search = {"q_normalization": "bounds"} if spec is BOARD else {}
    told = misfits(config(self_play={"resign_value": 0.9}, search=search), spec)
    assert [got in sentence for sentence in told] == ([True] if got else [])


@pytest.mark.parametrize(("resign_value", "fits"), [(0.99, True), (1.0, False), (5.0, False)])
def test_a_game_that_could_never_be_given_up_is_refused(resign_value, fits):
    told = misfits(config(self_play={"resign_value": resign_value}, search={"q_normalization": "bounds"}), BOARD)
    assert told == (
        []
        if fits
        else [
            f"self_play.resign_value: wanted less than 1.0, for no value is below -1.0 (the game's value_bounds), got "
            f"{resign_value}; set it to none to give up no game"
        ]
    )
