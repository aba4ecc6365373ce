"""The options of a run on the command line: what is shown, and what was given.

tyro shows and reads them from a copy of the configuration's models in which every value is text, so that
a wrong value can be refused together with all other mistakes, by `config_io`, rather than first and
alone. Nothing here says what is valid.
"""

import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import tyro
from pydantic import BaseModel, Field, create_model

from muzero_ray.core.config import Config

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
