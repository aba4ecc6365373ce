"""The shipped configurations are valid, say only what differs from the defaults, and give their reasons."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from muzero_ray.adapters.loading import load_game, shipped_games
from muzero_ray.app.config_io import game_file, make_config
from muzero_ray.app.misfits import misfits, opponent_misfits
from muzero_ray.core.config import Config
from muzero_ray.core.game_loader import games_folder
from muzero_ray.core.support import support_bins
from muzero_ray.mcts.planner import make_planner

CONFIGS = games_folder().parent / "configs"


def options(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(options(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat


def config_of(name: str) -> Config:
    return Config(game=name, **yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()))


def test_every_shipped_game_has_a_configuration_and_every_configuration_a_game() -> None:
    names = [*shipped_games(), "open_spiel", "atari"]  # which serve all games named open_spiel:NAME and atari:NAME
    assert sorted(path.stem for path in CONFIGS.glob("*.yaml")) == sorted(names)


@pytest.mark.parametrize(
    "game", ["open_spiel:breakthrough", "open_spiel:dots_and_boxes", "open_spiel:go(board_size=5)"]
)
def test_any_game_of_open_spiel_has_options_that_fit_it(game: str) -> None:
    config = make_config(game_file(game), {"game": game})
    assert misfits(config, load_game(game)().spec) + opponent_misfits(config) == []


@pytest.mark.parametrize("game", ["atari:Pong", "atari:MsPacman(size=84,colour=false)", "pong", "breakout"])
def test_any_atari_game_has_options_that_fit_it(game: str) -> None:
    assert misfits(make_config(game_file(game), {"game": game}), load_game(game)().spec) == []


@pytest.mark.parametrize("name", shipped_games())
def test_a_configuration_fits_its_game(name: str) -> None:
    config = config_of(name)
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


@pytest.mark.parametrize(
    ("name", "reward", "value"),
    [
        ("cartpole", 1.0, 333.3),  # 1 for ever, at a discount of 0.997: 1 / 0.003
        ("lunarlander", 100.0, 300.0),  # a landing; and an excellent flight in all
        ("gridworld", 50.0, 333.3),  # a pit; and -1 for ever, at a discount of 0.997
        ("tictactoe", 1.0, 1.0),
        ("atari", 1.0, 100.0),  # clipped rewards; 1 for ever, at a discount of 0.99: 1 / 0.01
        ("pong", 1.0, 21.0),
        ("breakout", 1.0, 100.0),
    ],
)
def test_a_network_can_express_what_its_game_may_pay(name: str, reward: float, value: float) -> None:
    network = config_of(name).network
    supports = {"reward": (network.reward_support, reward), "value": (network.value_support, value)}
    if network.value_head == "scalar":
        assert load_game(name)().spec.value_bounds == (-value, value)
        del supports["value"]
    for bounds, amount in supports.values():
        bins = support_bins(bounds, network.support_spacing, network.support_transform)
        assert bins[0] <= -amount
        assert amount <= bins[-1]


@pytest.mark.parametrize("name", shipped_games())
def test_outcomes_of_board_games_are_not_discounted_and_control_looks_far_ahead(name: str) -> None:
    discount = config_of(name).train.discount
    assert discount == 1.0 if load_game(name)().spec.num_players == 2 else 0.99 <= discount < 1.0
