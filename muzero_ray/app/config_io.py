"""Reading, merging, explaining and writing configurations.

A run's configuration is the defaults of `core.config`, then one YAML file (the game's, or `--config FILE`,
or the resumed run's), then the command line. What is valid is said by `core.config` alone; here its
findings become one message that lists every mistake, with where it was made.
"""

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from muzero_ray.app import options
from muzero_ray.app.errors import UserError
from muzero_ray.app.saving.files import write_whole
from muzero_ray.core.config import Config
from muzero_ray.core.game_loader import shipped_folder

COMMAND_LINE = "command line"
DEFAULT = "default"


@dataclass(frozen=True)
class ConfigFile:
    """What one YAML file says."""

    path: Path | None
    """None where a game has no file."""
    values: dict[str, Any]
    """Nested, as in the file; not yet known to be valid."""


def read_file(path: Path) -> ConfigFile:
    """Reads a YAML file.

    Raises:
        UserError: if it cannot be read, is no YAML, or holds anything but options.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(f"configuration {path} cannot be read: {why}; check the path, or leave out --config") from error
    except yaml.MarkedYAMLError as error:
        raise UserError(_explain_syntax(path, error)) from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML text: {error}; write options as `name: value`") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: wanted options as `name: value`, got {type(values).__name__} {_brief(values)}")
    return ConfigFile(path, values)


def game_file(game: str) -> ConfigFile:
    """The YAML file that belongs to a game; an empty one where there is none.

    For a shipped game that is `configs/<game>.yaml`; for a game file, the YAML of the same name beside it
    or in a folder `configs` beside its folder; for all games of OpenSpiel, `configs/open_spiel.yaml`, and for
    all of Atari, `configs/atari.yaml`.

    Raises:
        UserError: if it cannot be read, or has a name under which it would not be found.
    """
    if game.endswith(".py"):
        source = Path(game)
        places = [source.with_suffix(".yaml"), source.parent.parent / "configs" / f"{source.stem}.yaml"]
    elif re.fullmatch(r"\w+", game):
        places = [shipped_folder("configs") / f"{game}.yaml"]
    elif game.startswith("open_spiel:"):
        places = [shipped_folder("configs") / "open_spiel.yaml"]
    elif game.startswith("atari:"):
        places = [shipped_folder("configs") / "atari.yaml"]
    else:
        places = []
    for path in places:
        if path.is_file():
            here = Path.cwd()
            return read_file(path.relative_to(here) if path.is_relative_to(here) else path)
    for path in places:
        if (misnamed := path.with_suffix(".yml")).is_file():
            raise UserError(f"{misnamed}: wanted a name that ends in .yaml; name it {path.name}")
    return ConfigFile(None, {})


def make_config(
    file: ConfigFile,
    overrides: Mapping[str, Any] | None = None,
    found: Iterable[str] = (),
    misfits: Callable[[Config], list[str]] = lambda config: [],
) -> Config:
    """The configuration of a file and a command line.

    Args:
        file: what differs from the defaults.
        overrides: by dotted key, what differs from the file: text, as on a command line, or values.
        found: mistakes that were found before, to be told with the others.
        misfits: names what does not fit together in a configuration that is valid otherwise.

    Raises:
        UserError: one message with every mistake: its key, what was wanted, what came, and where.
    """
    overrides = overrides or {}
    merged = _merge(file.values, overrides)
    mistakes = [*found, *_mistakes(copy.deepcopy(merged), file.path, overrides, misfits)]
    if not mistakes:
        return Config.model_validate(merged)
    count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    raise UserError("\n".join([f"the configuration has {count}:", *(f"  {mistake}" for mistake in mistakes)]))


def resolved_with_origin(config: Config, file: ConfigFile, overrides: Iterable[str] = ()) -> list[tuple[str, Any, str]]:
    """Every option as (dotted key, value, where it was said), for `muzero-ray show-config`."""
    given = set(overrides)
    return [(key, _lookup(config.model_dump(), key), _origin(key, file, given)) for key in options.option_types()]


def write_config(path: Path, config: Config) -> None:
    """Writes every option, so that a later version with other defaults reads the same.

    Raises:
        OSError: if the disk is full or may not be written; what was there before is still there.
    """
    write_whole(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None))


def read_config(path: Path) -> Config:
    """The inverse of `write_config`.

    Raises:
        UserError: if the file is missing, damaged, or no longer valid.
    """
    return make_config(read_file(path))


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key that is written twice, or is no name, is an error, not a surprise."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"wanted an option's name, got {_brief(key)}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key} is written twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _explain_syntax(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
    if error.problem and r"'\t'" in error.problem:
        return f"{where}: wanted spaces, got a tab; YAML is indented with spaces only: put two spaces in its place"
    if error.problem and "twice" in error.problem:
        return f"{where}: {error.problem}; keep one of the two"
    return f"{where}: {error.problem or 'this is no YAML'}; write options as `name: value`, sections indented below"


def _merge(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = {name: dict(value) if isinstance(value, dict) else value for name, value in values.items()}
    for key, value in overrides.items():
        *sections, name = key.split(".")
        target = merged
        for section in sections:
            target = target.setdefault(section, {})
        if isinstance(target, dict):  # otherwise the file has something else in the section's place: a mistake, kept
            target[name] = _from_text(key, value)
    return merged


def _from_text(key: str, value: Any) -> Any:
    """None for "none" where the option may be None: the one word that pydantic does not read."""
    may_be_none = type(None) in getattr(options.option_types()[key], "__args__", ())
    return None if may_be_none and isinstance(value, str) and value.lower() == "none" else value


def _mistakes(
    merged: dict[str, Any],
    file: Path | None,
    overrides: Mapping[str, Any],
    misfits: Callable[[Config], list[str]],
) -> list[str]:
    """Every mistake, those of single values first.

    pydantic looks at combinations only once every single value is valid. So values that are not are taken
    out and the rest is looked at again; a combination with something taken out is no finding.
    """
    mistakes: list[str] = []
    taken_out: list[str] = []
    while True:
        try:
            config = Config.model_validate(merged)
        except ValidationError as error:
            found = error.errors()
        else:
            return mistakes + [text for text in misfits(config) if not any(name in text for name in taken_out)]
        for entry in found:
            key = _dotted(entry["loc"])
            for text in _explain(entry):
                if not any(name in text for name in taken_out):
                    about = _blamed(key, text, overrides)
                    mistakes.append(f"{_name(about, overrides)}{text}{_place(about, file, overrides)}")
        if any(not entry["loc"] for entry in found):
            return mistakes
        for entry in found:
            taken_out.append(_dotted(entry["loc"]))
            _take_out(merged, entry["loc"])


_WANTED = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "finite_number": "a finite number",
    "int_": "a whole number",
    "float_": "a number",
    "bool_": "true or false",
    "string_": "text",
    "model_": "a section: options indented below it",
    "tuple_": "two numbers, [low, high]",
    "missing": "two numbers, [low, high]",
    "too_long": "two numbers, [low, high]",
}
"""What was wanted, by the beginning of pydantic's name for the mistake."""


def _explain(entry: Any) -> list[str]:
    """What is wrong, in words: several sentences where a check of combinations found several."""
    kind, got = entry["type"], entry["input"]
    if kind == "value_error":
        return list(entry["ctx"]["error"].args)
    if kind == "extra_forbidden":
        return [_explain_unknown(entry["loc"], got)]
    for beginning, wanted in _WANTED.items():
        if kind.startswith(beginning):
            told = f"wanted {wanted.format(**entry.get('ctx', {}))}, got {_brief(got)}"
            return [f"{told}; {_ON_TRUTH}" if isinstance(got, bool) else told]
    return [f"{entry['msg']}, got {_brief(got)}"]


_ON_TRUTH = "yes, no, on and off without quotes are true and false in YAML"


def _explain_unknown(place: tuple[int | str, ...], got: Any) -> str:
    """What is wrong with a name that a file should not have, at a place in pydantic's sense."""
    key = _dotted(place)
    if place == (key,) and key in options.option_types():  # a dot in the name itself
        section, _, name = key.rpartition(".")
        advice = f'write "{section}:" and below it, indented, "{name}: {_brief(got)}"'
        return f'wanted it indented below "{section}:", got a dotted name; {advice}'
    near = options.nearest(key, [] if "." in key else list(Config.model_fields))
    return "no such option" + (f"; did you mean {near}?" if near else "")


def _blamed(key: str, text: str, overrides: Mapping[str, Any]) -> str:
    """What a mistake is told by: of a section's options that its sentence names, one that the command line said."""
    own = [option for option in overrides if option.startswith(f"{key}.")]
    return next((option for option in own if re.search(rf"\b{option.rpartition('.')[2]}\b", text)), key)


def _name(key: str, overrides: Mapping[str, Any]) -> str:
    return f"{options.flag(key) if key in overrides else key}: " if key else ""


def _place(key: str, file: Path | None, overrides: Mapping[str, Any]) -> str:
    return f" ({file})" if key and file and key not in overrides else ""


def _dotted(place: tuple[int | str, ...]) -> str:
    """The option at a place in pydantic's sense: a place inside of a pair of numbers is the pair's."""
    return ".".join(str(part) for part in place if not isinstance(part, int))


def _take_out(values: dict[str, Any], place: tuple[int | str, ...]) -> None:
    *sections, name = (part for part in place if isinstance(part, str))
    for section in sections:
        values = values[section]
    values.pop(name, None)


def _lookup(values: dict[str, Any], key: str) -> Any:
    found: Any = values
    for name in key.split("."):
        found = found[name]
    return found


def _origin(key: str, file: ConfigFile, overrides: set[str]) -> str:
    if key in overrides:
        return COMMAND_LINE
    try:
        _lookup(file.values, key)
    except (KeyError, TypeError):
        return DEFAULT
    return str(file.path)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
