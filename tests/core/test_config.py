"""What options allow, each by itself and together, whoever says them."""

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from muzero_ray.core.config import Config, NetworkConfig, SelfPlayConfig


def numbers() -> list[tuple[str, str, Any]]:
    """Section, name and default of every option that is a number, or two."""
    found = []
    for section, info in Config.model_fields.items():
        for name, option in getattr(info.annotation, "model_fields", {}).items():
            kinds = (option.annotation, *get_args(option.annotation))
            if bool not in kinds and (int in kinds or float in kinds):
                found.append((section, name, option.default))
    return found


def refused(values: dict[str, Any]) -> tuple[str, str]:
    """Kind and sentence of the one mistake."""
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(values)
    (mistake,) = caught.value.errors()
    return mistake["type"], mistake["msg"]


@pytest.mark.parametrize("wrong", ["inf", "-inf", "nan", float("inf"), float("nan")])
def test_no_option_takes_what_is_no_finite_number(wrong):
    assert len(numbers()) > 60
    for section, name, default in numbers():
        with pytest.raises(ValidationError):
            Config.model_validate({section: {name: (wrong, wrong) if isinstance(default, tuple) else wrong}})


def test_true_and_false_are_no_numbers():
    for section, name, default in numbers():
        kind, _ = refused({section: {name: True}})
        assert kind in ("int_type", "float_type", "tuple_type"), name
        if isinstance(default, tuple):
            assert refused({section: {name: [False, True]}})[0] == "tuple_type"
    assert refused({"seed": True})[0] == "int_type"
    assert Config.model_validate({"evaluate": {"video": False}}).evaluate.video is False


@pytest.mark.parametrize("name", ["noise_scale", "temperature"])
def test_neither_end_of_a_ladder_of_noise_is_negative(name):
    _, told = refused({"self_play": {name: (1, -0.5)}})
    assert told == "Value error, wanted two numbers of at least 0, got 1.0 and -0.5"
    assert getattr(SelfPlayConfig(**{name: (1, 0)}), name) == (1.0, 0.0)


@pytest.mark.parametrize("name", ["value_support", "reward_support"])
def test_the_bounds_of_a_support_rise(name):
    for bounds in ((5, -5), (5, 5)):
        kind, told = refused({"network": {name: bounds}})
        assert kind == "value_error"
        assert "wanted the lower number first, then a higher one, got 5.0 and" in told


def test_a_support_has_no_more_bins_than_a_machine_has_room_for():
    _, told = refused({"network": {"support_spacing": 1e-9}})
    assert told.startswith(
        "Value error, value_support from -20.0 to 20.0 is 40,000,000,000 times support_spacing 1e-09"
    )
    # 2 * 50,000 / 1 = 100,000 times the spacing, the most there may be
    assert NetworkConfig(value_support=(-50_000, 50_000)).value_support == (-50_000.0, 50_000.0)
    assert "at most 100,000" in refused({"network": {"value_support": (-50_000, 50_001)}})[1]
    assert "inf times" in refused({"network": {"support_spacing": 1e-320, "value_support": (-1e300, 1e300)}})[1]


@pytest.mark.parametrize(
    ("section", "name", "most"),
    [
        *(("network", name, 65_536) for name in ("latent_size", "hidden_size", "head_size", "channels")),
        ("network", "value_prefix_size", 65_536),
        *(("network", name, 1_000) for name in ("blocks", "dynamics_blocks")),
        ("self_play", "games_per_actor", 65_536),
        *(("self_play", name, 10_000) for name in ("segment_moves", "random_opening_moves")),
        *((section, "batch_size", 1_000_000) for section in ("train", "reanalyze")),
        ("train", "unroll_steps", 1_000),
        *((section, "num_simulations", 100_000) for section in ("search", "reanalyze", "evaluate")),
        *(("evaluate", name, 1_000_000) for name in ("episodes", "final_episodes")),
        ("system", "trainer_threads", 1_024),
    ],
)
def test_what_takes_memory_is_not_larger_than_any_machine(section, name, most):
    assert getattr(getattr(Config(**{section: {name: most}}), section), name) == most
    assert refused({section: {name: most + 1}})[0] == "less_than_equal"


@pytest.mark.parametrize(
    ("results", "what_to_do"),
    [("s3://bucket/x", "use --system.copy-checkpoints-to for cloud storage"), ("", ". is the working folder")],
)
def test_results_are_a_local_folder(results, what_to_do):
    _, told = refused({"results": results})
    assert told == f"Value error, wanted a local folder, got {results!r}; {what_to_do}"


def test_copies_go_to_a_place_that_has_a_name():
    _, told = refused({"system": {"copy_checkpoints_to": ""}})
    assert told == "Value error, wanted a folder or an address, got ''; none copies nowhere"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"replay": {"shards": 2}}, "replay.shards 2"),
        ({"train": {"num_gpus": 2}}, "train.num_gpus 2"),
        ({"max_actors": 4}, "max_actors 4"),
    ],
)
def test_lockstep_is_refused_with_what_has_no_order_that_could_be_laid_down(changes, named):
    Config.model_validate(changes)
    with pytest.raises(ValueError, match=f"system.lockstep does not go with {named}"):
        Config.model_validate({**changes, "system": {"lockstep": "on"}})
