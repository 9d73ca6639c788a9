"""`schema plan` and `schema apply`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinto_orm import Collection, Session
from program import Run

MODELS = """
from kinto_orm import Record

class Todo(Record, collection="todos"):
    title: str

class Note(Record, collection="notes"):
    text: str = ""

number = 3
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with a module of models."""
    package = tmp_path / "own"
    package.mkdir()
    (package / "models.py").write_text(MODELS)
    (package / "broken.py").write_text("import json\n\njson.loads('[')\n")
    (package / "wrong.py").write_text("def f(:\n")
    (package / "lacking.py").write_text("import nothing_like_it\n")
    (package / "leaving.py").write_text("raise SystemExit(7)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [each for each in sys.modules if each.partition(".")[0] == "own"]:
        del sys.modules[name]


def test_plan_then_apply(program_session: Session, program: Run) -> None:
    """The plan writes nothing; what is applied is not done again."""
    where = f"in {program_session.bucket}"
    ran = program("schema", "plan", "own.models:Todo,Note")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (
        f"Todo {where}/todos: new collection; added title\n"
        f"Note {where}/notes: new collection; added text\n"
    )
    assert list(program_session.find(Collection)) == []
    assert program("schema", "plan", "own.models:Todo", "--check").status == 1
    assert program("schema", "apply", "own.models:Todo").status == 0
    assert Collection.get("todos", session=program_session).json_schema is not None
    ran = program("schema", "plan", "own.models:Todo", "--check", "--json")
    assert (ran.status, json.loads(ran.out)["added"]) == (0, [])
    assert (
        program("schema", "plan", "own.models:Todo").out == f"Todo {where}/todos: nothing to do\n"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own.models:Tdo", "own.models has no 'Tdo'"),
        ("own.models:number", "something else than a model of records as 'number'"),
        ("own.models", "write MODULE:MODEL"),
        ("../x:Todo", "write MODULE:MODEL"),
        ("own.nothing:Todo", "there is no module 'own.nothing'"),
        ("nothing:Todo", "there is no module 'nothing'"),
        ("own.lacking:Todo", "No module named 'nothing_like_it'"),
        ("own.broken:Todo", "broken.py, line 3: json.loads('[')"),
        ("own.wrong:Todo", "wrong.py, line 1"),
        ("own.leaving:Todo", "SystemExit: 7"),
    ],
)
def test_what_cannot_be_imported_is_said(name: str, said: str, program: Run) -> None:
    """In the user's own line, and without a traceback."""
    ran = program("schema", "plan", name)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert "Traceback" not in ran.err
