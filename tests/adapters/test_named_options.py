"""Options in brackets are read, or refused in a sentence."""

from typing import Literal

import pytest
from pydantic import Field

from muzero_ray.adapters.named_options import NamedOptions, read_options, split_name
from muzero_ray.core.game_loader import GameLoadError


class Cake(NamedOptions):
    layers: int = Field(2, ge=1, le=9)
    icing: bool = False
    sweetness: float = 0.5
    flavour: Literal["lemon", "chocolate"] = "lemon"


def test_a_name_may_come_with_options() -> None:
    assert split_name("Cake") == ("Cake", {})
    assert split_name("Cake()") == ("Cake", {})
    assert split_name(" Cake( layers=3 ,icing=true)") == ("Cake", {"layers": "3", "icing": "true"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Cake(layers=3", r"Cake\(layers=3: wanted a closing bracket at the end"),
        ("Cake(layers=3)x", "wanted a closing bracket at the end"),
        ("Cake(3)", "wanted option=value between commas, got '3'"),
        ("Cake(a b=3)", "wanted option=value between commas, got 'a b=3'"),
        ("Cake(layers=3,layers=4)", "layers is given twice; keep one of the two"),
    ],
)
def test_brackets_that_hold_something_else_are_refused(text: str, message: str) -> None:
    with pytest.raises(GameLoadError, match=message):
        split_name(text)


def test_text_becomes_values_of_the_right_kind() -> None:
    cake = read_options(Cake, "cake", {"layers": "3", "icing": "true", "sweetness": "1e-1", "flavour": "chocolate"})
    assert cake == Cake(layers=3, icing=True, sweetness=0.1, flavour="chocolate")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layer": "3"}, "cake: no option 'layer'; did you mean layers?"),
        ({"zzz": "3"}, "cake: no option 'zzz'; choose one of layers, icing, sweetness, flavour"),
        ({"flavour": "choclate"}, "cake: no flavour 'choclate'; did you mean chocolate?"),
        ({"layers": "many"}, "cake: layers: wanted a valid integer, got 'many'"),
        ({"layers": "10"}, "cake: layers: wanted less than or equal to 9, got '10'"),
        ({"icing": "maybe", "layers": 0}, "cake: layers: wanted greater than or equal to 1, got 0; icing: wanted a va"),
    ],
)
def test_every_mistake_is_told_with_the_nearest_valid_name(given: dict[str, object], message: str) -> None:
    with pytest.raises(GameLoadError) as caught:
        read_options(Cake, "cake", given)
    assert str(caught.value).startswith(message)
