"""What was, who did it, and what the user may do: history, snapshots, permissions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bare import bare_session
from conftest import Backend
from kinto_orm import (
    Bucket,
    Collection,
    ConfigurationError,
    Conflict,
    Everyone,
    Group,
    HistoryEntry,
    InvalidData,
    NotFound,
    Record,
    Session,
    Unsupported,
    col,
)
from kinto_orm.server import open_memory, serve


class Todo(Record, collection="todos"):
    title: str
    n: int = 0
    tags: list[str] = []


def versions(todo: Todo, *titles: str) -> list[int]:
    """Save the object with each title; the timestamps."""
    stamps = []
    for title in titles:
        todo.title = title
        todo.save()
        stamps.append(todo.last_modified or 0)
    return stamps


def stamp(resource: Record | Bucket) -> int:
    assert resource.last_modified is not None
    return resource.last_modified


# History


def test_the_history_of_a_record(session: Session) -> None:
    """Each act is an entry, the newest first: what, when, who, and the object after it."""
    todo = Todo(id="x", title="first")
    versions(todo, "first", "second")
    Todo(id="other", title="other").save()
    todo.delete()
    entries = todo.history().all()
    assert [each.action for each in entries] == ["delete", "update", "create"]
    newest, changed, created = entries
    assert created.object_uri == todo.uri
    assert created.resource_name == "record"
    assert created.user_id == session.server_info().user["id"]  # type: ignore[index]
    assert abs(created.date - datetime.now(UTC)).total_seconds() < 600
    assert changed.target["data"]["title"] == "second"  # type: ignore[index,call-overload]
    assert "write" in changed.target["permissions"]  # type: ignore[operator]
    assert newest.target["data"]["deleted"] is True  # type: ignore[index,call-overload]
    assert [each.last_modified for each in entries] == sorted(
        (each.last_modified for each in entries), reverse=True
    )


def test_the_history_of_a_bucket(session: Session) -> None:
    """A bucket's history has everything in it; conditions choose."""
    Todo(id="x", title="x").save()
    Group(id="writers", members=[]).save()
    bucket = Bucket.get(session.bucket)
    kinds = [each.resource_name for each in bucket.history()]
    assert kinds == ["group", "record", "collection", "bucket"]
    creations = bucket.history().where(
        HistoryEntry.resource_name == "record", HistoryEntry.action == "create"
    )
    assert [each["record_id"] for each in creations] == ["x"]
    oldest = bucket.history().all()[-1]
    since = bucket.history().where(col(HistoryEntry.last_modified) > oldest.last_modified)
    assert len(since.all()) == 3
    assert [each.resource_name for each in bucket.history().limit(2)] == ["group", "record"]


def test_history_entries_cannot_be_changed(session: Session) -> None:
    """The server writes the history; nobody else does."""
    todo = Todo(title="x").save()
    entry = todo.history().one()
    entry.action = "delete"
    with pytest.raises(Unsupported, match="the server writes the history"):
        entry.save()
    with pytest.raises(Unsupported):
        entry.delete(force=True)


def test_many_entries_are_streamed(session: Session) -> None:
    """A long history comes page by page."""
    todo = Todo(id="x", title="0")
    versions(todo, *(str(n) for n in range(12)))
    found = [each.target["data"]["title"] for each in todo.history().page_size(5)]  # type: ignore[index,call-overload]
    assert found == [str(n) for n in reversed(range(12))]


# Counting and deleting entries


def test_entries_are_counted_by_reading_them(session: Session) -> None:
    """Kinto says no total of a history."""
    for n in range(7):
        versions(Todo(id=f"t{n}", title=""), "first", "second")
    history = Bucket.get(session.bucket).history()
    assert history.count() == history.page_size(3).count() == 16
    assert history.where(HistoryEntry.action == "update").count() == 7
    assert history.where(col(HistoryEntry.action).in_([])).count() == 0
    assert Todo.get("t3").history().count() == 2
    day = timedelta(days=1)
    assert history.where(HistoryEntry.date > datetime.now(UTC) - day).count() == 16
    assert history.where(HistoryEntry.date < datetime.now(UTC) - day).count() == 0


def test_old_entries_are_deleted_by_a_query(session: Session) -> None:
    """All that meet its conditions, and no others; then an object's past is as long as the rest."""
    todo = Todo(id="x", title="")
    first, _, third = versions(todo, "first", "second", "third")
    versions(Todo(id="y", title=""), "other")
    history = todo.history()
    before = history.all()[0].last_modified
    assert history.where(col(HistoryEntry.last_modified) < before).delete() == 2
    assert [each.target["data"]["title"] for each in history] == ["third"]  # type: ignore[index,call-overload]
    assert todo.at(third).title == "third"
    with pytest.raises(NotFound):
        todo.at(first)
    everything = Bucket.get(session.bucket).history()
    assert everything.where(HistoryEntry.id == history.one().id).delete() == 1
    of_records = everything.where(HistoryEntry.resource_name == "record")
    assert [each["record_id"] for each in of_records] == ["y"]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert of_records.where(HistoryEntry.date < tomorrow).delete() == 1
    assert everything.delete() == 2
    assert everything.all() == []
    assert Todo.get("x").title == "third"


def test_what_cannot_be_done_with_entries_says_what_can(session: Session) -> None:
    """Before anything is sent."""
    todo = Todo(title="x").save()
    entry = todo.history().one()
    with pytest.raises(Unsupported, match=r"deleted by a query.*\.delete\(\)"):
        entry.delete()
    with pytest.raises(Unsupported, match="cannot be changed"):
        todo.history().update(action="create")
    with pytest.raises(InvalidData, match="an order, a limit or a position"):
        todo.history().limit(1).delete()


# A record at a time


def test_at_gives_each_version(session: Session) -> None:
    """With an object's own last_modified it gives exactly that version; between two the older."""
    todo = Todo(id="x", title="")
    first, second, third = versions(todo, "first", "second", "third")
    assert [todo.at(when).title for when in (first, second, third)] == ["first", "second", "third"]
    assert todo.at(second - 1).title == "first"
    assert todo.at(third + 60_000).title == "third"
    old = todo.at(first)
    assert old is not todo
    assert (todo.title, old.last_modified) == ("third", first)


def test_at_takes_a_datetime(session: Session) -> None:
    """A datetime with or without a time zone serves as well."""
    todo = Todo(id="x", title="")
    (first,) = versions(todo, "first")
    wait_until_after(first)
    between = datetime.now(UTC)
    wait_until_after(int(between.timestamp() * 1000))
    versions(todo, "second")
    assert todo.at(between).title == "first"
    assert todo.at(between.astimezone().replace(tzinfo=None)).title == "first"


def wait_until_after(milliseconds: int) -> None:
    while time.time() * 1000 < milliseconds + 20:
        time.sleep(0.01)


def test_at_a_time_when_it_was_not_there(session: Session) -> None:
    """Before its creation and after its deletion it is NotFound."""
    todo = Todo(id="x", title="")
    (first,) = versions(todo, "first")
    with pytest.raises(NotFound, match="Todo 'x' was not there"):
        todo.at(first - 1)
    tombstone = todo.delete()
    with pytest.raises(NotFound):
        todo.at(tombstone.last_modified or 0)
    assert todo.at(first).title == "first"


def test_an_old_version_does_not_overwrite_by_mistake(session: Session) -> None:
    """Saving what at() gave is a conflict, as it is not the newest version."""
    todo = Todo(id="x", title="")
    first, _ = versions(todo, "first", "second")
    old = todo.at(first)
    old.n = 1
    with pytest.raises(Conflict):
        old.save()


# Going back


def test_revert_makes_it_what_it_was(session: Session) -> None:
    """All fields become what they were, extra ones too, by one save with its precondition."""
    records = Collection.get("todos").records
    records.new(id="x", title="first", tags=["a"], extra=1).save()
    todo = Todo.get("x")
    first = stamp(todo)
    todo.title, todo.tags = "second", ["b", "c"]
    del todo["extra"]
    todo.save()
    untyped = records.get("x")
    untyped["newer"] = True
    untyped.save()
    assert todo.refresh().revert(first) is todo
    assert (todo.title, todo.tags, todo["extra"], "newer" in todo) == ("first", ["a"], 1, False)
    assert todo.diff() == {}
    assert Todo.get("x") == todo
    assert [each.action for each in todo.history()] == ["update", "update", "update", "create"]


def test_revert_to_what_it_is_sends_nothing(session: Session) -> None:
    """Reverting to the newest version changes nothing."""
    todo = Todo(id="x", title="x").save()
    before = stamp(todo)
    todo.revert(before)
    assert Todo.get("x").last_modified == before


def test_revert_minds_others(session: Session) -> None:
    """When somebody changed it since it was loaded, it is a Conflict."""
    todo = Todo(id="x", title="")
    first, _ = versions(todo, "first", "second")
    versions(Todo.get("x"), "theirs")
    with pytest.raises(Conflict):
        todo.revert(first)
    assert Todo.get("x").title == "theirs"


def test_revert_brings_a_deleted_record_back(session: Session) -> None:
    """What was deleted is created again as it was."""
    todo = Todo(id="x", title="")
    first, _ = versions(todo, "first", "second")
    todo.delete()
    todo.revert(first)
    assert Todo.get("x").title == "first"
    with pytest.raises(NotFound):
        todo.revert(first - 1)


def test_revert_of_untyped_records(session: Session) -> None:
    """Plain records go back as well."""
    record = Collection.get("todos").records.new(id="x", a=1).save()
    first = stamp(record)
    record["a"], record["b"] = 2, 3
    record.save()
    record.revert(first)
    assert record["a"] == 1
    assert "b" not in Collection.get("todos").records.get("x")


# Snapshots


def test_a_snapshot_of_a_collection(session: Session) -> None:
    """All records as they were: changed ones old, deleted ones there, later ones not."""
    for id in "abc":
        Todo(id=id, title="old").save()
    then = stamp(Todo.get("c"))
    versions(Todo.get("a"), "new")
    Todo.get("b").delete()
    Todo(id="d", title="new").save()
    collection = Collection.get("todos")
    found = {each.id: each["title"] for each in collection.snapshot(then)}
    assert found == {"a": "old", "b": "old", "c": "old"}
    assert collection.snapshot(then - 60_000) == []
    old = next(each for each in collection.snapshot(then) if each.id == "a")
    old["n"] = 5
    with pytest.raises(Conflict):
        old.save()


# Without the plugins


@pytest.fixture
def bare() -> Iterator[Session]:
    """The current session, on a server without plugins."""
    with bare_session() as session:
        Bucket(id="b").save().collections.new(id="todos").save()
        yield session


def test_a_server_without_history_says_so(bare: Session) -> None:
    """Each verb is Unsupported and names the capability."""
    todo = Todo(title="x").save()
    for act in (
        lambda: todo.history().all(),
        lambda: todo.at(stamp(todo)),
        lambda: todo.revert(stamp(todo)),
        lambda: Bucket.get("b").history().all(),
        lambda: Collection.get("todos").snapshot(stamp(todo)),
    ):
        with pytest.raises(Unsupported, match="lacks the capability 'history'"):
            act()


def test_a_server_without_the_permissions_endpoint_says_so(bare: Session) -> None:
    """It is Unsupported and names the capability."""
    with pytest.raises(Unsupported, match="'permissions_endpoint'"):
        list(bare.permissions())


# The permissions endpoint


def test_what_the_user_may_do(backend: Backend, session: Session) -> None:
    """Every object on which a user has permissions is listed with them."""
    todo = Todo(id="shared", title="x", permissions={"read": [Everyone]}).save()
    Todo(id="secret", title="x").save()
    with backend.session(auth=(backend.new_id("reader"), "s3cret")) as theirs:
        entries = {
            each.uri: each for each in theirs.permissions() if f"/{session.bucket}/" in each.uri
        }
    assert list(entries) == [todo.uri]
    entry = entries[todo.uri]
    assert (entry.id, entry.resource_name, entry.permissions) == ("shared", "record", ["read"])
    mine = {each.uri: each.permissions for each in session.permissions()}
    assert "write" in mine[f"/buckets/{session.bucket}/collections/todos/records/secret"]
    assert "record:create" in mine[f"/buckets/{session.bucket}/collections/todos"]


def test_many_permissions_come_page_by_page() -> None:
    """All of them come, however small the server's pages are."""
    with (
        open_memory(settings={"paginate_by": "3"}) as embedded,
        serve(embedded) as http,
        Session(http.url, auth=embedded.auth, bucket="b") as session,
    ):
        session.sync_schema(Todo)
        session.save_all(Todo(id=f"t{n}", title="x") for n in range(10))
        ids = [each.id for each in session.permissions() if each.resource_name == "record"]
    assert sorted(ids) == [f"t{n}" for n in range(10)]


@pytest.mark.parametrize("when", ["2030-01-01", 1.5, True, None, [], "x"])
def test_a_time_is_milliseconds_or_a_datetime(session: Session, when: Any) -> None:
    """Anything else is refused, instead of being later or earlier than everything."""
    todo = Todo(title="x").save()
    for act in (
        lambda: todo.at(when),
        lambda: todo.revert(when),
        lambda: Collection(id="todos").snapshot(when),
    ):
        with pytest.raises(TypeError, match="is no time"):
            act()


def test_what_was_is_not_saved_by_mistake(session: Session) -> None:
    """Saving it as it is would send nothing, and the server would keep what is there now."""
    todo = Todo(id="x", title="first").save()
    first = todo.last_modified or 0
    todo.title = "second"
    todo.save()
    for old in (todo.at(first), *Collection(id="todos").snapshot(first)):
        with pytest.raises(ConfigurationError, match=r"revert\(when\)"):
            old.save()
        assert session.save_all([old]).failed
    assert Todo.get("x").title == "second"
    assert todo.at(first).save(force=True).title == "first"
