"""kinto_orm.testing: the fixtures that pytest offers to the tests of other programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kinto_orm import Record, Session, testing
from kinto_orm.server import EmbeddedServer


class Note(Record, collection="notes"):
    """A record of a program under test."""

    text: str


@pytest.mark.parametrize("text", ["first", "second"])
def test_each_test_starts_with_an_empty_server(kinto_session: Session, text: str) -> None:
    """What one test saves, the next one does not see."""
    assert Note.find().all() == []
    note = Note(text=text).save()
    assert Note.get(note.id) == note


def test_the_server_is_the_one_of_the_session(
    kinto_session: Session, kinto_server: EmbeddedServer
) -> None:
    """Who empties the server empties what the session sees."""
    Note(text="first").save()
    kinto_server.flush()
    assert Note.find().all() == []


PROGRAM = """
from kinto_orm import Bucket
from kinto_orm.testing import {names}

def test_the_session_is_there(kinto_session):
    assert Bucket(id="work").save().last_modified
"""


def test_both_can_be_imported(tmp_path: Path) -> None:
    """Where pytest loads no plugins by itself, a program takes them from their public place."""
    program = tmp_path / "test_program.py"
    program.write_text(PROGRAM.format(names=", ".join(testing.__all__)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(program)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout


def test_importing_them_is_light() -> None:
    """A test run that needs no server pays for none: nothing is loaded but pytest."""
    heavy = ["kinto", "pyramid", "pydantic", "requests", "kinto_orm.server", "kinto_orm.session"]
    code = f"import sys, kinto_orm.testing; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
