"""Options in the name of a game, written as OpenSpiel writes parameters: `Pong(preset=muzero,size=84)`."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from muzero_ray.core.game_loader import GameLoadError


class NamedOptions(BaseModel):
    """Options of a kind of games: values may come as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Options = TypeVar("Options", bound=NamedOptions)


def split_name(text: str) -> tuple[str, dict[str, str]]:
    """A name and its options, as text.

    >>> split_name("Pong(preset=muzero, size=84)")
    ('Pong', {'preset': 'muzero', 'size': '84'})

    Raises:
        GameLoadError: if the brackets hold anything else.
    """
    name, bracket, rest = text.strip().partition("(")
    given: dict[str, str] = {}
    if not bracket:
        return name, given
    if not rest.endswith(")"):
        raise GameLoadError(f"{text}: wanted a closing bracket at the end, as in {name}(option=value)")
    for part in filter(None, map(str.strip, rest[:-1].split(","))):
        option, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not re.fullmatch(r"\w+", option):
            raise GameLoadError(f"{text}: wanted option=value between commas, got {part!r}")
        if option in given:
            raise GameLoadError(f"{text}: {option} is given twice; keep one of the two")
        given[option] = value
    return name, given


def read_options(kind: type[Options], where: str, given: Mapping[str, Any]) -> Options:
    """The options that are given, checked; the others have their defaults.

    Args:
        kind: of options.
        where: the game's name in messages.
        given: by name, as values or as text.

    Raises:
        GameLoadError: names every mistake, and for an unknown option the nearest one.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        mistakes = [_mistake(kind, str(entry["loc"][0]), entry) for entry in error.errors()]
        raise GameLoadError(f"{where}: {'; '.join(mistakes)}") from error


def nearest_of(word: str, known: Iterable[str]) -> str:
    """An end for a message about an unknown word: the nearest known ones, or all of them."""
    names = {_plain(name): name for name in known}
    nearest = difflib.get_close_matches(_plain(word), names, n=3, cutoff=0.6)
    if nearest:
        return f"; did you mean {' or '.join(names[name] for name in nearest)}?"
    return f"; choose one of {', '.join(names.values())}"


def _mistake(kind: type[NamedOptions], option: str, entry: Any) -> str:
    """One of pydantic's findings in words."""
    if entry["type"] == "extra_forbidden":
        return f"no option {option!r}{nearest_of(option, kind.model_fields)}"
    if entry["type"] == "literal_error":
        words = get_args(kind.model_fields[option].annotation)
        return f"no {option} {entry['input']!r}{nearest_of(str(entry['input']), words)}"
    wanted = entry["msg"].removeprefix("Input should be ").partition(",")[0]
    return f"{option}: wanted {wanted}, got {entry['input']!r}"


def _plain(word: str) -> str:
    """A word without case and underscores, which are what is most often written otherwise."""
    return word.lower().replace("_", "")
