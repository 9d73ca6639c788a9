"""What a batch carries beside objects: their permissions, and key values; on a real server."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Backend, Wire
from kinto_orm import (
    BatchError,
    Bucket,
    ConfigurationError,
    Everyone,
    InvalidData,
    KeyNotFound,
    PathError,
    Permissions,
    Record,
    Session,
    Unsupported,
)


class Todo(Record, collection="todos"):
    title: str
    n: int = 0


def said(batch: Any) -> list[tuple[str, str]]:
    return [(each.act, each.status) for each in batch.outcomes]


# Permissions


def test_permissions_are_saved(session: Session) -> None:
    """The difference is sent; what is unchanged sends nothing, and says so."""
    open_, closed = Todo(title="open").save(), Todo(title="closed").save()
    open_.permissions.grant("read", Everyone)
    with session.batch() as batch:
        batch.save(open_.permissions, closed.permissions)
    assert said(batch) == [("save", "updated"), ("save", "unchanged")]
    assert batch.outcomes[0].result is open_.permissions
    assert Everyone in Todo.get(open_.id).permissions.read
    assert Everyone not in Todo.get(closed.id).permissions.read


def test_an_object_and_its_permissions(session: Session) -> None:
    """In one batch, in their order: what goes with the creation needs no line of its own."""
    new, old = Todo(title="new"), Todo(title="old").save()
    for each in (new, old):
        each.permissions.grant("read", Everyone)
    old.n = 1
    with session.batch() as batch:
        batch.save(new, new.permissions, old.permissions, old)
    assert [status for _, status in said(batch)] == ["created", "unchanged", "updated", "updated"]
    for each in (new, old):
        assert Everyone in Todo.get(each.id).permissions.read
    assert Todo.get(old.id).n == 1
    assert not old.diff()


def test_permissions_of_what_is_not_there(session: Session) -> None:
    """Its own outcome; the message says what to save first."""
    new = Todo(title="new")
    new.permissions.grant("read", Everyone)
    batch = session.batch()
    batch.save(new.permissions, Todo(title="other"))
    with pytest.raises(BatchError) as raised:
        batch.run()
    (error,) = raised.value.exceptions
    assert isinstance(error, ConfigurationError)
    assert "save the object itself first" in str(error)
    assert said(batch) == [("save", "failed"), ("save", "created")]


def test_permissions_of_nobody(session: Session) -> None:
    """They belong to no object."""
    nobodys = Permissions()
    nobodys.grant("read", Everyone)
    with pytest.raises(BatchError) as raised, session.batch() as batch:
        batch.save(nobodys)
    assert "belong to no object" in str(raised.value.exceptions[0])


def test_permissions_on_another_server(session: Session) -> None:
    """A batch goes to one server: what lives on another one is refused, and nothing is sent."""
    todo = Todo(title="x").save()
    todo.permissions.grant("read", Everyone)
    with Session("memory://elsewhere", bucket="b") as other:
        with pytest.raises(BatchError) as raised, other.batch() as batch:
            batch.save(todo.permissions)
        assert isinstance(raised.value.exceptions[0], ConfigurationError)
        assert "Nothing was sent" in str(raised.value.exceptions[0])
    assert todo.permissions.is_changed
    todo.permissions.save()


@pytest.mark.parametrize("act", ["delete", "refresh"])
def test_permissions_are_saved_only(session: Session, act: str) -> None:
    """A batch neither deletes nor refreshes them; that is said where it is written."""
    todo = Todo(title="x").save()
    batch = session.batch()
    with pytest.raises(TypeError, match="not Permissions"):
        getattr(batch, act)(todo.permissions)
    assert len(batch) == 0


def test_permissions_have_no_timestamp(session: Session) -> None:
    """One that is asked for would be ignored: it is refused."""
    todo = Todo(title="x").save()
    flow = todo.permissions.__kinto_save__(session, last_modified=5)
    with pytest.raises(InvalidData, match="no timestamp"):
        next(flow)


# Key values


def test_key_values_are_written(session: Session) -> None:
    """The first write makes their collection; each has its outcome, in order."""
    with session.batch() as batch:
        batch.kv.set("colour", "red")
        batch.kv.set(("site", "a/b"), 1)
        batch.kv.delete("nothing", missing_ok=True)
        batch.save(Todo(title="x"))
    assert said(batch) == [
        ("set", "stored"),
        ("set", "stored"),
        ("delete", "deleted"),
        ("save", "created"),
    ]
    assert [each.target for each in batch.outcomes][:3] == ["colour", ("site", "a/b"), "nothing"]
    assert dict(session.kv.items()) == {"colour": "red", "site": {"a/b": 1}}
    with session.batch() as batch:
        batch.kv.delete("colour")
        batch.kv.delete(("site", "a/b"))
    assert dict(session.kv.items()) == {"site": {}}


def test_writes_of_one_key_keep_their_order(session: Session) -> None:
    """What is written later counts, whole or below."""
    with session.batch() as batch:
        batch.kv.set("log", [])
        for number in range(4):
            batch.kv.set("log/-", number)
        batch.kv.set("other", 1)
        batch.kv.delete("log/0")
        batch.kv.set("other", 2)
        batch.kv.delete("other")
    assert dict(session.kv.items()) == {"log": [1, 2, 3]}


def test_whole_values_share_a_request(wire: Wire) -> None:
    """Root keys are carried by one batch, with objects."""
    wire.session.kv["there"] = 1
    wire.session.server_info()
    wire.clear()
    with wire.session.batch() as batch:
        batch.kv.set("a", 1)
        batch.kv.set("b", 2)
        batch.kv.delete("there")
        batch.save(Todo(title="x"))
    assert wire.methods == ["POST"]
    assert len(wire.body["requests"]) == 4


def test_what_cannot_be_written_is_refused_at_once(wire: Wire) -> None:
    """Where it is written, and not at the end of the block."""
    wire.clear()
    with wire.session.batch() as batch:
        with pytest.raises(PathError):
            batch.kv.set("a//b", 1)
        with pytest.raises(InvalidData):
            batch.kv.set("a", float("nan"))
        with pytest.raises(PathError):
            batch.kv.delete("", missing_ok=True)
    assert wire.methods == []


def test_the_value_is_that_of_the_call(session: Session) -> None:
    """What becomes of it until the end of the block does not count."""
    colours = ["red"]
    with session.batch() as batch:
        batch.kv.set("colours", colours)
        colours.append("blue")
    assert session.kv["colours"] == ["red"]


def test_failures_of_key_values(session: Session) -> None:
    """Each is the error that the same call has alone."""
    session.kv["text"] = "x"
    batch = session.batch()
    batch.kv.delete("nothing")
    batch.kv.set("text/below", 1)
    batch.kv.set("fine", 1)
    with pytest.raises(BatchError) as raised:
        batch.run()
    missing, unfit = raised.value.exceptions
    assert isinstance(missing, KeyNotFound)
    assert isinstance(unfit, PathError)
    assert [each.status for each in batch.outcomes] == ["failed", "failed", "stored"]


def test_key_values_of_the_sessions_bucket(session: Session, backend: Backend) -> None:
    """A session that is scoped to another bucket writes there."""
    other = session.scoped(bucket=backend.new_id())
    Bucket(id=other.bucket).save()
    with other.batch() as batch:
        batch.kv.set("a", 1)
    assert "a" not in session.kv
    assert other.kv["a"] == 1


def test_a_kvp_server_knows_no_batches() -> None:
    """It says so before anything is sent."""
    session = Session("kvp+http://127.0.0.1:9", auth="key:")
    with pytest.raises(Unsupported, match=r"kvp\.io"), session.batch() as batch:
        batch.kv.set("a", 1)
