"""The shipped configurations are valid, say only what differs from the defaults, and give their reasons."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from muzero_ray.adapters.loading import load_game, shipped_games
from muzero_ray.core.config import Config
from muzero_ray.core.game_loader import games_folder
from muzero_ray.mcts.planner import make_planner

CONFIGS = games_folder().parent / "configs"


def options(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(options(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat


def test_every_shipped_game_has_a_configuration_and_every_configuration_a_game() -> None:
    assert sorted(path.stem for path in CONFIGS.glob("*.yaml")) == shipped_games()


@pytest.mark.parametrize("name", shipped_games())
def test_a_configuration_fits_its_game(name: str) -> None:
    config = Config(game=name, **yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()))
    spec = load_game(name)().spec
    make_planner(config.search, spec.value_bounds)
    assert config.network.value_head == "categorical" or spec.value_bounds is not None
    assert spec.num_players == 1 or config.search.q_normalization == "bounds"


@pytest.mark.parametrize("name", shipped_games())
def test_a_configuration_holds_only_what_differs_from_the_defaults(name: str) -> None:
    defaults = options(Config().model_dump(mode="json"))
    for option, value in options(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())).items():
        assert defaults[option] != value, f"{option} is {value} by default"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: Path(path).stem)
def test_every_option_of_a_configuration_has_a_reason(path: Path) -> None:
    for line in path.read_text().splitlines():
        is_option = line.startswith("  ") and not line.strip().startswith("#")
        assert not is_option or " # " in line, f"{path.name}: {line.strip()} has no comment"
