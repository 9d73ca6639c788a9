"""`ls` and `get`."""

from __future__ import annotations

import json

from kinto_orm import Collection, Record, Session
from program import Run


def saved(session: Session, **fields: object) -> Record:
    Collection(id="todos").save(session=session)
    return Record(**fields).save(session=session.scoped(collection="todos"))


def test_get_prints_what_is_stored(program_session: Session, program: Run) -> None:
    record = saved(program_session, id="a", title="x")
    ran = program("get", "todos/a", "--json")
    assert (ran.status, json.loads(ran.out)) == (0, record.model_dump(mode="json"))


def test_ls_lists_what_is_inside(program_session: Session, program: Run) -> None:
    saved(program_session, id="a", title="x")
    assert program("ls", "todos").out.startswith("a\t")
    assert program("ls", f"/buckets/{program_session.bucket}").out.startswith("todos\t")


def test_what_is_not_there_is_refused_and_said(program_session: Session, program: Run) -> None:
    ran = program("get", "todos/a")
    assert (ran.status, ran.out) == (1, "")
    assert "not found" in ran.err


def test_a_wrong_target_is_misuse(program: Run) -> None:
    assert program("get", "/buckets/x/records/y").status == 2
