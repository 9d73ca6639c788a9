"""`rm`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from requests import PreparedRequest
from requests.auth import HTTPBasicAuth

from kinto_orm import Bucket, Record, Session
from kinto_orm.cli.removing import Removal, told
from kinto_orm.cli.targets import target_of
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


@pytest.mark.parametrize("path", ["/", "/buckets", "/buckets/"])
def test_all_buckets_stay(program_session: Session, program: Run, path: str) -> None:
    """Whatever is given with them, and also line by line."""
    scope = filled(program_session, {"id": "a"})
    for ran in (
        program("rm", "todos/a", path, "--yes", "--force"),
        program("rm", "-", "--yes", input=f"{path}\ntodos/a\n"),
    ):
        assert (ran.status, "kinto-orm rm /buckets/NAME" in ran.err) == (2, True)
    assert left(scope) == ["a"]


def test_the_personal_bucket(program_session: Session, program: Run) -> None:
    mine = f"/buckets/default/collections/{uuid4()}"
    assert program("put", mine, "{}").status == 0
    assert program("rm", mine).status == 0


def test_a_wrong_line_ends_it(program_session: Session, program: Run) -> None:
    filled(program_session, {"id": "a"})
    ran = program("rm", "-", input="a/b/c\n")
    assert (ran.status, "no target" in ran.err) == (2, True)


class Interrupting(HTTPBasicAuth):
    """Credentials with which Ctrl-C comes when something is being deleted."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if request.method == "DELETE":
            raise KeyboardInterrupt
        return super().__call__(request)


def test_an_interrupted_deletion(backend: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether the server did it nobody knows, and that is said."""
    with backend.session(bucket=backend.new_id(), auth=Interrupting("u", "x")) as session:
        Bucket(id=session.bucket).save(session=session)
        filled(session, {"id": "a"}, {"id": "b"})
        removal = Removal(session, yes=True, force=False)
        plural = target_of(f"/buckets/{session.bucket}/collections/todos/records", session)
        with pytest.raises(KeyboardInterrupt), told(removal):
            removal.of(plural, [plural])
    err = " ".join(capsys.readouterr().err.split())
    assert "deleted 0" in err
    assert "of 2 more the deletion was begun, and nobody knows" in err


def test_as_a_process(tmp_path: Path) -> None:
    """What is no text is no target."""
    command = [sys.executable, "-m", "kinto_orm.cli", "--server", f"sqlite:///{tmp_path}/k.db"]
    done = subprocess.run([*command, "rm", "-"], input=b"\xff\n", capture_output=True, check=False)
    # Where the locale is C, Python takes it for a text, which is no id.
    assert (done.returncode in (1, 2), b"Traceback" in done.stderr) == (True, False)
