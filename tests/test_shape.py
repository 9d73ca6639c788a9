"""The shape of the code: small functions, modules that can be read at once, few names on top."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import kinto_orm

PACKAGE = Path(kinto_orm.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


def lengths() -> Iterator[int]:
    """Lines of each function, without its signature and its docstring."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body:
                    yield (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_functions_are_short() -> None:
    """Half of them have six lines or fewer, and hardly any has 25."""
    found = sorted(lengths())
    assert len(found) > 1000
    assert statistics.median(found) <= 6
    assert found[len(found) * 95 // 100] < 25


def test_modules_can_be_read_at_once() -> None:
    """None has more than 450 lines."""
    long = {
        source.name: lines
        for source in SOURCES
        if (lines := len(source.read_text().splitlines())) > 450
    }
    assert not long


def test_there_are_few_names_at_the_top() -> None:
    """The rooms, and the two fronts that stand above them; not what every package has."""
    names = {each.name for each in PACKAGE.iterdir() if each.name != "py.typed"}
    assert len({each for each in names if not each.startswith("_")}) <= 14
