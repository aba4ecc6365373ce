"""The table of known bugs names tests that exist, and has a row for every item."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "tests" / "KNOWN_BUGS.md").read_text(encoding="utf-8")
NAME = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROWS = {
    match[1]: [cell.strip() for cell in match[2].split(" | ")]
    for match in re.finditer(r"^\| ([A-D]\d) \| (.*) \|$", TABLE, re.MULTILINE)
}
"""By item: the bug, whether it applies, what catches it."""


@cache
def defined_in(path: str) -> frozenset[str]:
    """Functions and classes at the top level of a file of tests."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef))


def names_in(text: str) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in NAME.finditer(text)]


def test_every_item_has_a_row():
    counts = {"A": 8, "B": 7, "C": 9, "D": 8}
    assert list(ROWS) == [f"{letter}{number}" for letter, count in counts.items() for number in range(1, count + 1)]


@pytest.mark.parametrize("item", ROWS)
def test_a_bug_that_applies_has_a_test_and_one_that_does_not_says_why(item: str):
    bug, applies, tests = (*ROWS[item], "")[:3]
    assert bug
    if applies == "yes":
        assert any(name.startswith("test_") for _, name in names_in(tests))
    else:
        assert re.match(r"not yet: .{10}", applies)


def test_every_name_in_the_table_is_that_of_a_test_or_a_twin():
    named = names_in(TABLE)
    assert TABLE.count("tests/") == len(named) + TABLE.count("`tests/test_known_bugs_table.py`"), "a name is malformed"
    for path, name in named:
        assert (ROOT / path).is_file(), f"{path} is not there"
        assert name in defined_in(path), f"{path} has no {name}"
        assert name.startswith("test_") or "/reference/" in path, f"{name} is never collected"
