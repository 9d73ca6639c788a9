"""`rm`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from kinto_orm import Bucket, Record, Session
from program import Run, filled


def left(scope: Session) -> list[str]:
    return [each.id for each in scope.find(Record)]


def test_records(program_session: Session, program: Run) -> None:
    scope = filled(program_session, *({"id": each} for each in "abcd"))
    ran = program("rm", "todos/a", "-", input="todos/b\n\ntodos/c\n")
    assert (ran.status, ran.out, left(scope)) == (0, "", ["d"])
    assert "deleted 3" in ran.err


def test_what_is_missing_is_said_at_the_end(program_session: Session, program: Run) -> None:
    scope = filled(program_session, {"id": "a"})
    ran = program("rm", "todos/x", "todos/a")
    assert (ran.status, left(scope)) == (1, [])
    assert "there is no Record 'x'" in ran.err


def test_what_is_not_empty_is_asked_for(program_session: Session, program: Run) -> None:
    """Where nobody can be asked, nothing is deleted."""
    filled(program_session, {"id": "a"})
    bucket = f"/buckets/{program_session.bucket}"
    for target, inside in (("todos", "1 records"), (bucket, "1 collections")):
        ran = program("rm", target)
        assert (ran.status, inside in ran.err, "--yes" in ran.err) == (2, True, True)
    assert program("rm", f"{bucket}/collections/todos/records").status == 2
    assert program("rm", f"{bucket}/collections/todos/records", "--yes").status == 0
    assert program("rm", "todos").status == 0
    assert program("rm", bucket, "--yes").status == 0
    assert (
        Bucket.find(session=program_session).where(Bucket.id == program_session.bucket).all() == []
    )


def test_the_personal_bucket(program_session: Session, program: Run) -> None:
    program("put", "/buckets/default/collections/mine", "{}")
    assert program("rm", "/buckets/default/collections/mine").status == 0


def test_a_wrong_line_ends_it(program_session: Session, program: Run) -> None:
    filled(program_session, {"id": "a"})
    ran = program("rm", "-", input="a/b/c\n")
    assert (ran.status, "no target" in ran.err) == (2, True)


def test_as_a_process(tmp_path: Path) -> None:
    """What is no text is no target."""
    command = [sys.executable, "-m", "kinto_orm.cli", "--server", f"sqlite:///{tmp_path}/k.db"]
    done = subprocess.run([*command, "rm", "-"], input=b"\xff\n", capture_output=True, check=False)
    # Where the locale is C, Python takes it for a text, which is no id.
    assert (done.returncode in (1, 2), b"Traceback" in done.stderr) == (True, False)
