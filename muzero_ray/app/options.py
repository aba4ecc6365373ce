"""The options of a run on the command line: what is shown, and what was given.

tyro shows and reads them from a copy of the configuration's models in which every value is text, so that
a wrong value can be refused together with all other mistakes, by `config_io`, rather than first and
alone. What values are valid is not said here; words that belong to no option are explained.
"""

import os
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args, get_origin

import tyro
from pydantic import BaseModel, Field, create_model

from muzero_ray.core.config import Config
from muzero_ray.core.game_loader import shipped_games

NEWEST = "newest"
"""What `--resume` stands for when no run follows it."""


@dataclass(frozen=True)
class RunArguments:
    """What must be known of a command line before its other options can be shown or read."""

    game: str | None
    config: str | None
    resume: str | None
    """A run folder, the address of a run's copies, or `NEWEST`."""
    results: str | None
    options: tuple[str, ...]
    """Options of the configuration, `--game` and `--results` among them."""


def scan(argv: list[str]) -> RunArguments:
    """Finds the options on which the other options' defaults depend, and sets --config and --resume apart."""
    found: dict[str, str | None] = {"game": None, "config": None, "resume": None, "results": None}
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        name, _, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in found:
            rest.append(word)
            continue
        used = [word]
        if "=" not in word and words and not words[0].startswith("-"):
            value = words.pop(0)
            used.append(value)
        found[name] = value or (NEWEST if name == "resume" else None)
        if name in ("game", "results") or found[name] is None:
            rest += used  # tyro reads these as well, or says that a value is missing
    return RunArguments(options=tuple(rest), **found)


@dataclass(frozen=True)
class GivenOptions:
    """What a command line says that differs from the defaults it was read with."""

    values: dict[str, Any]
    """By dotted key: text, texts, or True and False."""
    unknown: tuple[str, ...]
    """Words that name no option, or belong to none."""


def parse(options: tuple[str, ...], base: dict[str, Any], prog: str, description: str) -> GivenOptions:
    """Reads the options of a run, or shows them all with this game's defaults.

    Args:
        options: the words of the command line, as `scan` leaves them.
        base: nested values that differ from the defaults of `Config`; they need not be valid.
        prog: name of the command, for the help.
        description: first line of the help.

    Raises:
        SystemExit: after `--help`, or where an option lacks its value.
    """
    apart = {
        "config": _text_field("FILE", "none", "YAML file to read instead of the game's own."),
        "resume": _text_field(
            "[RUN]",
            "none",
            "Continue this run folder, or the copies at this path or address (/mnt/..., s3://...), in a new one; "
            "with none, the newest run (of --game, if given) that can be.",
        ),
    }
    defaults = _text_model(Config, base, description, apart)()
    given, unknown = tyro.cli(type(defaults), default=defaults, args=list(options), prog=prog, return_unknown_args=True)
    before, after = _flatten(defaults.model_dump()), _flatten(given.model_dump())
    return GivenOptions({key: value for key, value in after.items() if value != before[key]}, tuple(unknown))


def option_types(model: type[BaseModel] = Config, prefix: str = "") -> dict[str, Any]:
    """The annotation of every option by its dotted key, in the order of the configuration."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        section = _section(info.annotation)
        if section:
            found.update(option_types(section, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = info.annotation
    return found


def flag(key: str) -> str:
    """The word of a command line for an option.

    >>> flag("self_play.noise_scale")
    '--self-play.noise-scale'
    """
    return "--" + key.replace("_", "-")


def nearest(key: str, others: Sequence[str] = ()) -> str | None:
    """The option that an unknown name is most like: in a section, one of its own, or of the same name in another.

    Args:
        key: dotted.
        others: names that may be meant besides.
    """
    section, _, name = key.rpartition(".")
    known = list(option_types())
    if section not in Config.model_fields:
        near = get_close_matches(key, [*known, *others], n=1, cutoff=0.6)
        return near[0] if near else None
    own = [option.rpartition(".")[2] for option in known if option.startswith(f"{section}.")]
    if near := get_close_matches(name, own, n=1, cutoff=0.6):
        return f"{section}.{near[0]}"
    return next((option for option in known if option.endswith(f".{name}")), None)


def explain_unknown(words: Sequence[str], line: Sequence[str] = ()) -> list[str]:
    """Explains words of a command line that name no option, one mistake each.

    Args:
        words: as they came.
        line: the whole command line, which tells what they follow.
    """
    mistakes, option = [], False
    too_many = _too_many(line)
    for word in words:
        if _is_flag(word):
            near = nearest(word.lstrip("-").partition("=")[0].replace("-", "_"))
            mistakes.append(f"{word}: no such option" + (f"; did you mean {flag(near)}?" if near else ""))
        elif not option:
            mistakes.append(f"{word}: {_misplaced(word, too_many.get(word))}")
        option = _is_flag(word) and "=" not in word
    return mistakes


def _is_flag(word: str) -> bool:
    """Whether this names an option; a negative number does not."""
    return word.startswith("-") and not re.match(r"-[.\d]", word)


def _too_many(line: Sequence[str]) -> dict[str, str]:
    """The words that follow an option which takes no more of them, with its flag."""
    found: dict[str, str] = {}
    before, room = None, 0
    for word in line:
        if _is_flag(word):
            before, equals, _ = word.partition("=")
            room = _takes(before) - len(equals)
        elif room > 0:
            room -= 1
        elif before is not None:
            found.setdefault(word, before)
    return found


def _takes(word: str) -> int:
    """How many values follow an option; one where it is not known."""
    key = word.lstrip("-").replace("-", "_")
    types_by_key = option_types()
    if types_by_key.get(key, types_by_key.get(key.replace(".no_", "."))) is bool:
        return 0
    return 2 if get_origin(types_by_key.get(key)) is tuple else 1


def _misplaced(word: str, before: str | None) -> str:
    """What a word that belongs to no option may have been meant for."""
    games = shipped_games()
    if word in games or word.endswith(".py") or re.match("(gymnasium|open_spiel|atari):", word):
        meant = f"--game {word}"
    elif word.endswith((".yaml", ".yml")):
        meant = f"--config {word}"
    elif os.path.isfile(os.path.join(word, "config.yaml")):  # which, unlike Path, bears words that can be no path
        meant = f"--resume {word}"
    elif before is not None:
        return f"is one too many: {_how_many(before)}"
    elif near := get_close_matches(word, games, n=1, cutoff=0.6):
        meant = f"--game {near[0]}"
    else:
        return "belongs to no option; write --OPTION VALUE"
    return f"belongs to no option; did you mean {meant}?"


def _how_many(word: str) -> str:
    takes = _takes(word)
    if takes == 0:
        opposite = word.replace(".no-", ".") if ".no-" in word else word.replace(".", ".no-", 1)
        return f"{word} is a switch without a value; its opposite is {opposite}"
    if takes == 2:
        return f"{word} takes two numbers"
    return f"{word} takes one value; put quotes around one with blanks in it"


def _text_model(
    model: type[BaseModel], base: Any, description: str | None, extra: dict[str, tuple[Any, Any]] | None = None
) -> type[BaseModel]:
    base = base if isinstance(base, dict) else {}
    fields: dict[str, Any] = dict(extra or {})
    texts: Any
    for name, info in model.model_fields.items():
        kind, value = info.annotation, base.get(name, info.default)
        section = _section(kind)
        if section:
            texts = _text_model(section, base.get(name), section.__doc__)
            fields[name] = (texts, texts())
        elif kind is bool:
            fields[name] = (
                bool,
                Field(value if isinstance(value, bool) else info.default, description=info.description),
            )
        elif get_origin(kind) is tuple:
            words = value if isinstance(value, list | tuple) and len(value) == len(info.default) else info.default
            texts = Annotated[types.GenericAlias(tuple, (str,) * len(words)), tyro.conf.arg(metavar=_metavar(kind))]
            fields[name] = (texts, Field(tuple(map(_text, words)), description=info.description))
        else:
            fields[name] = _text_field(_metavar(kind), _text(value), info.description)
    return create_model(model.__name__, __doc__=description, **fields)


def _text_field(metavar: str, default: str, description: str | None) -> tuple[Any, Any]:
    return Annotated[str, tyro.conf.arg(metavar=metavar)], Field(default, description=description)


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(str, get_args(kind))) + "}"
    if isinstance(kind, types.UnionType):
        return "|".join(map(_metavar, get_args(kind)))
    if get_origin(kind) is tuple:
        return " ".join(map(_metavar, get_args(kind)))
    return "none" if kind is type(None) else str(kind.__name__).upper()


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _section(kind: Any) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(_flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return flat
