"""An act comes to the same in every way: alone, by the session, in a batch and in bulk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from conftest import Wire
from faults import FaultyServer, says
from kinto_orm import (
    BadReply,
    BatchError,
    Collection,
    Everyone,
    Group,
    KintoError,
    Record,
    Session,
    Tombstone,
)
from kinto_orm.bulk.many import Summary
from kinto_orm.models.state import has_pending_permissions


class Todo(Record, collection="todos"):
    title: str = ""
    tags: list[str] = []


# What may have happened to an object that a program holds.

Held = Callable[[Session], Any]


def new(session: Session) -> Todo:
    return Todo(id="x", title="mine")


def new_with_permissions(session: Session) -> Todo:
    return Todo(id="x", title="mine", permissions={"read": [Everyone]})


def existing(session: Session) -> Todo:
    Todo(id="x", title="theirs").save(session=session)
    return Todo(id="x", title="mine", permissions={"read": [Everyone]})


def clean(session: Session) -> Todo:
    Todo(id="x", title="old", permissions={"write": ["account:bob"]}).save(session=session)
    return Todo.get("x", session=session)


def changed(session: Session) -> Todo:
    todo = clean(session)
    todo.title = "mine"
    return todo


def shared(session: Session) -> Todo:
    todo = changed(session)
    todo.permissions.grant("read", Everyone).revoke("write", "account:bob")
    return todo


def only_shared(session: Session) -> Todo:
    todo = clean(session)
    todo.permissions.grant("read", Everyone)
    return todo


def shared_unread(session: Session) -> Todo:
    clean(session)
    (todo,) = Todo.find(session=session)
    todo.permissions.grant("read", Everyone)
    return todo


def stale(session: Session) -> Todo:
    todo = changed(session)
    theirs = Todo.get("x", session=session)
    theirs.tags = ["theirs"]
    theirs.save()
    return todo


def gone(session: Session) -> Todo:
    todo = changed(session)
    Todo.get("x", session=session).delete()
    return todo


def deleted(session: Session) -> Todo:
    todo = changed(session)
    todo.delete()
    return todo


def partial(session: Session) -> Todo:
    clean(session)
    (todo,) = Todo.find(session=session).only("title")
    return todo


def invalid(session: Session) -> Any:
    todo: Any = Record(id="x", title="a")
    todo["number"] = 10**30
    return todo


def group(session: Session) -> Group:
    Group(id="x").save(session=session)
    found = Group.get("x", session=session)
    found.members.append("account:bob")
    return found


def elsewhere(session: Session) -> Todo:
    """Of another bucket of the same server."""
    other = session.scoped(bucket=f"{session.bucket}-other")
    from kinto_orm import Bucket

    Bucket(id=other.bucket).save(session=session, force=True)
    Collection(id="todos", bucket=other.bucket).save(session=session, force=True)
    Todo(id="x", title="mine").save(session=other, force=True)
    return Todo.get("x", session=other)


HELD: dict[str, Held] = {
    each.__name__: each
    for each in (
        new, new_with_permissions, existing, clean, changed, shared, only_shared, shared_unread,
        stale, gone, deleted, partial, invalid, group, elsewhere,
    )
}  # fmt: skip
OPTIONS: list[tuple[str, dict[str, bool]]] = [
    ("save", {}),
    ("save", {"force": True}),
    ("delete", {}),
    ("delete", {"force": True}),
    ("delete", {"missing_ok": True}),
    ("refresh", {}),
    ("refresh", {"keep_changes": True}),
]


# The ways


def alone(session: Session, verb: str, thing: Any, options: dict[str, bool]) -> object:
    return getattr(thing, verb)(session=session, **options)


def by_session(session: Session, verb: str, thing: Any, options: dict[str, bool]) -> object:
    getattr(session, verb)(thing, **options)
    return thing


def by_batch(session: Session, verb: str, thing: Any, options: dict[str, bool]) -> object:
    batch = session.batch()
    getattr(batch, verb)(thing, **options)
    return batch.run()[0].result


def by_full_batch(session: Session, verb: str, thing: Any, options: dict[str, bool]) -> object:
    """Together with others, so that it does not go alone."""
    batch = session.batch()
    batch.save(Todo(title="before"))
    getattr(batch, verb)(thing, **options)
    batch.save(Todo(title="after"))
    return batch.run()[1].result


def in_bulk(session: Session, verb: str, thing: Any, options: dict[str, bool]) -> object:
    run = {"save": session.save_all, "delete": session.delete_all}[verb]
    other = Todo(title="first")
    if verb == "delete":
        other.save(session=session)
    summary: Summary = run([other, thing], on_error="raise", **options)  # type: ignore[operator]
    assert summary.total == 2
    return thing


def ways_of(verb: str, options: dict[str, bool]) -> list[Callable[..., object]]:
    found = [alone, by_batch, by_full_batch]
    if not options:
        found.append(by_session)
    if verb != "refresh":
        found.append(in_bulk)
    return found


def ending(session: Session, run: Callable[[], object]) -> tuple[str, str]:
    """What came out: the kind of the result or of the error, and what it says."""
    try:
        result = run()
    except BatchError as error:
        return said(error.exceptions[0])
    except Exception as error:
        return said(error)
    return ("a tombstone" if isinstance(result, Tombstone) else "done", "")


def said(error: Exception) -> tuple[str, str]:
    return type(error).__name__, str(error).replace("send a batch", "")


def afterwards(session: Session, thing: Any) -> dict[str, Any]:
    """What is stored, and what the object believes."""
    cls = Group if isinstance(thing, Group) else Record
    there = cls.get_or_none(
        "x", session=session if cls is Group else session.scoped(collection="todos")
    )
    stored: Any = None
    if there is not None:
        readers, writers = sorted(there.permissions.read), len(there.permissions.write)
        stored = ({**(there.model_extra or {})}, getattr(there, "members", None), readers, writers)
    return {
        "stored": stored,
        "new": thing.is_new,
        "diff": None if thing.is_partial else thing.diff(),
        "pending": bool(has_pending_permissions(thing)),
        "current": there is not None and there.last_modified == thing.last_modified,
    }


# Without options on PostgreSQL, too; with all of them in memory, which takes a tenth of the time.
@pytest.mark.parametrize(
    ("backend", "verb", "options"),
    [("memory", verb, options) for verb, options in OPTIONS]
    + [("postgres", verb, options) for verb, options in OPTIONS if not options],
    indirect=["backend"],
    ids=str,
)
@pytest.mark.parametrize("held", HELD)
def test_every_way_comes_to_the_same(
    wire: Wire, held: str, verb: str, options: dict[str, bool]
) -> None:
    """The same outcome, the same stored object and permissions, the same belief."""
    session = wire.session
    expected: Any = None
    for way in ways_of(verb, options):
        for leftover in (*Todo.find(session=session), *Group.find(session=session)):
            leftover.delete(force=True)
        thing = HELD[held](session)
        end = ending(session, lambda: way(session, verb, thing, options))  # noqa: B023
        kind = "done" if end[0] == "a tombstone" else end[0]
        found = (kind, afterwards(session, thing))
        if expected is None:
            expected = found
        assert found == expected, f"{way.__name__}: {end}"


# Batches and odd answers


@pytest.mark.parametrize(
    "item",
    [
        None, [], "x", 5, {}, {"status": None}, {"status": "200"}, {"status": True},
        {"status": 200}, {"status": 200, "headers": None, "body": None},
        {"status": 200, "headers": {}, "body": []}, {"status": 200, "headers": {}, "body": "x"},
        {"status": 200, "headers": [], "body": {"data": None}}, {"status": 99}, {"status": 10**9},
        {"status": 304, "headers": {}}, {"status": 200, "body": {"data": {"id": "y"}}},
        {"status": 200, "body": {"data": {"id": "other", "last_modified": 5}}},
        {"status": 204, "headers": {}, "body": ""},
    ],
    ids=str,
)  # fmt: skip
def test_an_item_that_is_no_answer_fails_alone(item: object) -> None:
    """The others of the batch keep their outcomes; what cannot be read may have been done."""
    good = {"data": {**Todo(id="a").model_dump(mode="json"), "last_modified": 6}}
    answer = {"responses": [{"status": 201, "headers": {}, "body": good}, item]}
    root = {"settings": {}, "user": {"id": "u", "bucket": "b"}}
    with (
        FaultyServer(says(200, root), says(200, answer)) as server,
        Session(server.url, auth="u:p", bucket="b", retry=None) as session,
    ):
        batch = session.batch()
        batch.save(Todo(id="a"), Todo(id="b"))
        with pytest.raises(BatchError) as raised:
            batch.run()
    assert [each.status for each in batch.outcomes] == ["created", "failed"]
    (error,) = raised.value.exceptions
    assert isinstance(error, KintoError)
    assert isinstance(error, BadReply) == error.lost


def test_what_was_not_sent_is_sent_by_the_next_run(wire: Wire, proxy: FaultyServer) -> None:
    """A root page that fails loses nothing of the queue."""
    with Session(proxy.url, auth="alice:s3cret", bucket=wire.session.bucket, retry=None) as session:
        batch = session.batch()
        batch.save(Todo(id="a"), Todo(id="b"))
        proxy.answers.append(says(503, {"errno": 201}))
        with pytest.raises(KintoError):
            batch.run()
        assert [each.status for each in batch.outcomes] == ["queued", "queued"]
        assert len(batch) == 2
        assert [each.status for each in batch.run()] == ["created", "created"]
        assert len(batch) == 0
    assert Todo.find().count() == 2
