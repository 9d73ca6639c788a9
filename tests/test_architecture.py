"""What is said to those who change the library is true: its files, functions and rooms exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

from feeding import feed, says
from kinto_orm import Record, Session
from kinto_orm.models.saving import saving

ROOT = next(each for each in Path(__file__).parents if (each / "pyproject.toml").exists())
SOURCE = ROOT / "src" / "kinto_orm"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
TEXT = _FENCED.sub("", (ROOT / "docs" / "architecture.md").read_text())

_BLOCK = re.compile(r"\n\n|\n(?=\||- |\d+\. )")
_CODE = re.compile(r"`([^`]+)`")


def rooms() -> list[str]:
    """The rooms from top to bottom, as import-linter holds them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return list(settings["tool"]["importlinter"]["contracts"][0]["layers"])


def blocks() -> list[str]:
    """The paragraphs, the items of lists and the rows of tables."""
    return _BLOCK.split(TEXT) + _BLOCK.split(_FENCED.sub("", CONTRIBUTING))


def named(block: str) -> list[str]:
    """What a block names as code."""
    return _CODE.findall(block)


def files(block: str) -> list[str]:
    """The Python files that a block names."""
    return [each for each in named(block) if each.endswith(".py")]


def beginning(block: str) -> str:
    """Enough of a block to find it."""
    return " ".join(block.split())[:50]


def path_of(file: str) -> Path:
    """Where a file is that the pages name; most are named without the folder of the package."""
    places = [SOURCE / file, ROOT / file, *ROOT.glob(f"tests/**/{file}")]
    return next((each for each in places if each.exists()), SOURCE / file)


@cache
def defined_in(file: str) -> frozenset[str]:
    """The functions, classes and constants of a file; of what is in a class with both names."""
    return frozenset(_defined(ast.parse(path_of(file).read_text()).body))


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield node.name
            for each in _defined(node.body):
                yield from (each, f"{node.name}.{each}")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (each.id for each in targets if isinstance(each, ast.Name))


@pytest.mark.parametrize("file", sorted({each for block in blocks() for each in files(block)}))
def test_files_exist(file: str) -> None:
    """Each file that the pages name is there."""
    assert path_of(file).is_file()


@pytest.mark.parametrize("block", [each for each in blocks() if files(each)], ids=beginning)
def test_functions_exist(block: str) -> None:
    """Each function that a paragraph, an item or a row names is in a file that it names."""
    defined = frozenset[str]().union(*map(defined_in, files(block)))
    assert {each.removesuffix("()") for each in named(block) if each.endswith("()")} <= defined


def decisions() -> dict[str, str]:
    """The questions of the last table, and where each is decided."""
    table = TEXT.partition("## Where is it decided")[2]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {question.removeprefix("| "): where for question, where, _ in rows[1:]}


@pytest.mark.parametrize(("question", "where"), decisions().items(), ids=list(decisions()))
def test_decisions_are_where_the_page_says(question: str, where: str) -> None:
    """What follows a file's name is in that file."""
    for part in where.split("; "):
        file, *names = named(part)
        assert names, f"{question}: what in {file} decides it?"
        assert {each.removesuffix("()") for each in names} <= defined_in(file)


def test_every_room_is_described_in_its_order() -> None:
    """The table of the rooms has each of them, from top to bottom."""
    table = TEXT.partition("## The rooms")[2].partition("`src/kinto_orm/__init__.py`")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == rooms()


def test_the_picture_shows_every_room(tmp_path: Path) -> None:
    """It is drawn from the code: a box for each room, and a line down to each that is imported."""
    picture = tmp_path / "new" / "rooms.svg"
    script = str(ROOT / "docs" / "draw_rooms.py")
    subprocess.run([sys.executable, "-W", "error", script, str(picture)], check=True)
    drawn = ElementTree.parse(picture).getroot()
    texts = ["".join(each.itertext()) for each in drawn.iterfind("{*}text")]
    assert texts[::2] == rooms()
    assert all(re.fullmatch(r"(1 file|\d+ files), [\d,]+ lines", each) for each in texts[1::2])
    imports = ["".join(each.itertext()) for each in drawn.iterfind("{*}circle")]
    assert any(each.startswith("models imports wire, in ") for each in imports)
    for each in imports:
        above, below = re.findall(r"(\w+) imports (\w+)", each)[0]
        assert rooms().index(above) < rooms().index(below)


class Todo(Record, collection="todos"):
    title: str = ""


def test_the_flow_that_contributors_are_shown_is_fed() -> None:
    """The example of CONTRIBUTING.md runs, on an object that was saved."""
    example = re.search(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)
    assert example is not None
    scope, todo = Session("https://kinto.example/v1", bucket="work"), Todo(id="x")
    feed(saving(todo, scope), says(201, {"data": {"id": "x", "title": "", "last_modified": 8}}))
    exec(example[1], {"todo": todo, "scope": scope})
