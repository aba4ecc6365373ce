"""What the code imports and the shipped games need is what pyproject.toml installs."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {re.match(r"[\w-]+", line)[0].lower(): line for line in PROJECT["dependencies"]}
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "PIL": "pillow",
    "pyspiel": "open_spiel",
    "ale_py": "ale-py",
    "pydantic_core": "pydantic",
}
"""Where a module is not called as its distribution is, or comes with another one, which cannot do without it."""


def imported_modules(path: Path) -> set[str]:
    """First parts of the names of all modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_every_foreign_module_is_a_declared_dependency():
    foreign: set[str] = set()
    for path in [*(ROOT / "muzero_ray").rglob("*.py"), *(ROOT / "games").glob("*.py"), ROOT / "train.py"]:
        foreign |= imported_modules(path) - sys.stdlib_module_names - {"muzero_ray"}
    assert {DISTRIBUTIONS.get(name, name).lower() for name in foreign} <= DECLARED.keys()


def test_the_extras_of_gymnasium_that_the_shipped_games_need_are_asked_for():
    # Lunar Lander stands on Box2D, CartPole on pygame for its pictures.
    extras = re.search(r"\[(.*)\]", DECLARED["gymnasium"])[1].split(",")
    assert {"box2d", "classic-control"} <= set(extras)
