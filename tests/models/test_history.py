"""What was, who did it, and what the user may do: history, snapshots, permissions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bare import bare_session
from both import AnySession, Place, do, either, entered
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

# On both sessions.
session = either


class Todo(Record, collection="todos"):
    title: str
    n: int = 0
    tags: list[str] = []


async def versions(todo: Todo, *titles: str) -> list[int]:
    """Save the object with each title; the timestamps."""
    stamps = []
    for title in titles:
        todo.title = title
        await do(todo.save)
        stamps.append(todo.last_modified or 0)
    return stamps


def stamp(resource: Record | Bucket) -> int:
    assert resource.last_modified is not None
    return resource.last_modified


# History


async def test_the_history_of_a_record(session: AnySession) -> None:
    """Each act is an entry, the newest first: what, when, who, and the object after it."""
    todo = Todo(id="x", title="first")
    await versions(todo, "first", "second")
    await do(Todo(id="other", title="other").save)
    await do(todo.delete)
    entries = await do((await do(todo.history)).all)
    assert [each.action for each in entries] == ["delete", "update", "create"]
    newest, changed, created = entries
    assert created.object_uri == todo.uri
    assert created.resource_name == "record"
    assert created.user_id == (await do(session.server_info)).user["id"]  # type: ignore[index]
    assert abs(created.date - datetime.now(UTC)).total_seconds() < 600
    assert changed.target["data"]["title"] == "second"  # type: ignore[index,call-overload]
    assert "write" in changed.target["permissions"]  # type: ignore[operator]
    assert newest.target["data"]["deleted"] is True  # type: ignore[index,call-overload]
    assert [each.last_modified for each in entries] == sorted(
        (each.last_modified for each in entries), reverse=True
    )


async def test_the_history_of_a_bucket(session: AnySession) -> None:
    """A bucket's history has everything in it; conditions choose."""
    await do(Todo(id="x", title="x").save)
    await do(Group(id="writers", members=[]).save)
    bucket = await do(Bucket.get, session.bucket)
    kinds = [each.resource_name for each in await do(await do(bucket.history))]
    assert kinds == ["group", "record", "collection", "bucket"]
    creations = (await do(bucket.history)).where(
        HistoryEntry.resource_name == "record", HistoryEntry.action == "create"
    )
    assert [each["record_id"] for each in await do(creations)] == ["x"]
    oldest = (await do((await do(bucket.history)).all))[-1]
    since = (await do(bucket.history)).where(col(HistoryEntry.last_modified) > oldest.last_modified)
    assert len(await do(since.all)) == 3
    assert [each.resource_name for each in await do((await do(bucket.history)).limit(2))] == [
        "group",
        "record",
    ]


async def test_history_entries_cannot_be_changed(session: AnySession) -> None:
    """The server writes the history; nobody else does."""
    todo = await do(Todo(title="x").save)
    entry = await do((await do(todo.history)).one)
    entry.action = "delete"
    with pytest.raises(Unsupported, match="the server writes the history"):
        await do(entry.save)
    with pytest.raises(Unsupported):
        await do(entry.delete, force=True)


async def test_many_entries_are_streamed(session: AnySession) -> None:
    """A long history comes page by page."""
    todo = Todo(id="x", title="0")
    await versions(todo, *(str(n) for n in range(12)))
    found = [
        each.target["data"]["title"] for each in await do((await do(todo.history)).page_size(5))
    ]  # type: ignore[index,call-overload]
    assert found == [str(n) for n in reversed(range(12))]


# Counting and deleting entries


async def test_entries_are_counted_by_reading_them(session: AnySession) -> None:
    """Kinto says no total of a history."""
    for n in range(7):
        await versions(Todo(id=f"t{n}", title=""), "first", "second")
    history = await do((await do(Bucket.get, session.bucket)).history)
    assert await do(history.count) == await do(history.page_size(3).count) == 16
    assert await do(history.where(HistoryEntry.action == "update").count) == 7
    assert await do(history.where(col(HistoryEntry.action).in_([])).count) == 0
    assert await do((await do((await do(Todo.get, "t3")).history)).count) == 2
    day = timedelta(days=1)
    assert await do(history.where(HistoryEntry.date > datetime.now(UTC) - day).count) == 16
    assert await do(history.where(HistoryEntry.date < datetime.now(UTC) - day).count) == 0


async def test_old_entries_are_deleted_by_a_query(session: AnySession) -> None:
    """All that meet its conditions, and no others; then an object's past is as long as the rest."""
    todo = Todo(id="x", title="")
    first, _, third = await versions(todo, "first", "second", "third")
    await versions(Todo(id="y", title=""), "other")
    history = await do(todo.history)
    before = (await do(history.all))[0].last_modified
    assert await do(history.where(col(HistoryEntry.last_modified) < before).delete) == 2
    assert [each.target["data"]["title"] for each in await do(history)] == ["third"]  # type: ignore[index,call-overload]
    assert (await do(todo.at, third)).title == "third"
    with pytest.raises(NotFound):
        await do(todo.at, first)
    everything = await do((await do(Bucket.get, session.bucket)).history)
    assert await do(everything.where(HistoryEntry.id == (await do(history.one)).id).delete) == 1
    of_records = everything.where(HistoryEntry.resource_name == "record")
    assert [each["record_id"] for each in await do(of_records)] == ["y"]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert await do(of_records.where(HistoryEntry.date < tomorrow).delete) == 1
    assert await do(everything.delete) == 2
    assert await do(everything.all) == []
    assert (await do(Todo.get, "x")).title == "third"


async def test_what_cannot_be_done_with_entries_says_what_can(session: AnySession) -> None:
    """Before anything is sent."""
    todo = await do(Todo(title="x").save)
    entry = await do((await do(todo.history)).one)
    with pytest.raises(Unsupported, match=r"deleted by a query.*\.delete\(\)"):
        await do(entry.delete)
    with pytest.raises(Unsupported, match="cannot be changed"):
        await do((await do(todo.history)).update, action="create")
    with pytest.raises(InvalidData, match="an order, a limit or a position"):
        await do((await do(todo.history)).limit(1).delete)


# A record at a time


async def test_at_gives_each_version(session: AnySession) -> None:
    """With an object's own last_modified it gives exactly that version; between two the older."""
    todo = Todo(id="x", title="")
    first, second, third = await versions(todo, "first", "second", "third")
    assert [(await do(todo.at, when)).title for when in (first, second, third)] == [
        "first",
        "second",
        "third",
    ]
    assert (await do(todo.at, second - 1)).title == "first"
    assert (await do(todo.at, third + 60_000)).title == "third"
    old = await do(todo.at, first)
    assert old is not todo
    assert (todo.title, old.last_modified) == ("third", first)


async def test_at_takes_a_datetime(session: AnySession) -> None:
    """A datetime with or without a time zone serves as well."""
    todo = Todo(id="x", title="")
    (first,) = await versions(todo, "first")
    wait_until_after(first)
    between = datetime.now(UTC)
    wait_until_after(int(between.timestamp() * 1000))
    await versions(todo, "second")
    assert (await do(todo.at, between)).title == "first"
    assert (await do(todo.at, between.astimezone().replace(tzinfo=None))).title == "first"


def wait_until_after(milliseconds: int) -> None:
    while time.time() * 1000 < milliseconds + 20:
        time.sleep(0.01)


async def test_at_a_time_when_it_was_not_there(session: AnySession) -> None:
    """Before its creation and after its deletion it is NotFound."""
    todo = Todo(id="x", title="")
    (first,) = await versions(todo, "first")
    with pytest.raises(NotFound, match="Todo 'x' was not there"):
        await do(todo.at, first - 1)
    tombstone = await do(todo.delete)
    with pytest.raises(NotFound):
        await do(todo.at, tombstone.last_modified or 0)
    assert (await do(todo.at, first)).title == "first"


async def test_an_old_version_does_not_overwrite_by_mistake(session: AnySession) -> None:
    """Saving what at() gave is a conflict, as it is not the newest version."""
    todo = Todo(id="x", title="")
    first, _ = await versions(todo, "first", "second")
    old = await do(todo.at, first)
    old.n = 1
    with pytest.raises(Conflict):
        await do(old.save)


# Going back


async def test_revert_makes_it_what_it_was(session: AnySession) -> None:
    """All fields become what they were, extra ones too, by one save with its precondition."""
    records = (await do(Collection.get, "todos")).records
    await do(records.new(id="x", title="first", tags=["a"], extra=1).save)
    todo = await do(Todo.get, "x")
    first = stamp(todo)
    todo.title, todo.tags = "second", ["b", "c"]
    del todo["extra"]
    await do(todo.save)
    untyped = await do(records.get, "x")
    untyped["newer"] = True
    await do(untyped.save)
    assert await do((await do(todo.refresh)).revert, first) is todo
    assert (todo.title, todo.tags, todo["extra"], "newer" in todo) == ("first", ["a"], 1, False)
    assert todo.diff() == {}
    assert await do(Todo.get, "x") == todo
    assert [each.action for each in await do(await do(todo.history))] == [
        "update",
        "update",
        "update",
        "create",
    ]


async def test_revert_to_what_it_is_sends_nothing(session: AnySession) -> None:
    """Reverting to the newest version changes nothing."""
    todo = await do(Todo(id="x", title="x").save)
    before = stamp(todo)
    await do(todo.revert, before)
    assert (await do(Todo.get, "x")).last_modified == before


async def test_revert_minds_others(session: AnySession) -> None:
    """When somebody changed it since it was loaded, it is a Conflict."""
    todo = Todo(id="x", title="")
    first, _ = await versions(todo, "first", "second")
    await versions(await do(Todo.get, "x"), "theirs")
    with pytest.raises(Conflict):
        await do(todo.revert, first)
    assert (await do(Todo.get, "x")).title == "theirs"


async def test_revert_brings_a_deleted_record_back(session: AnySession) -> None:
    """What was deleted is created again as it was."""
    todo = Todo(id="x", title="")
    first, _ = await versions(todo, "first", "second")
    await do(todo.delete)
    await do(todo.revert, first)
    assert (await do(Todo.get, "x")).title == "first"
    with pytest.raises(NotFound):
        await do(todo.revert, first - 1)


async def test_revert_of_untyped_records(session: AnySession) -> None:
    """Plain records go back as well."""
    record = await do((await do(Collection.get, "todos")).records.new(id="x", a=1).save)
    first = stamp(record)
    record["a"], record["b"] = 2, 3
    await do(record.save)
    await do(record.revert, first)
    assert record["a"] == 1
    assert "b" not in await do((await do(Collection.get, "todos")).records.get, "x")


# Snapshots


async def test_a_snapshot_of_a_collection(session: AnySession) -> None:
    """All records as they were: changed ones old, deleted ones there, later ones not."""
    for id in "abc":
        await do(Todo(id=id, title="old").save)
    then = stamp(await do(Todo.get, "c"))
    await versions(await do(Todo.get, "a"), "new")
    await do((await do(Todo.get, "b")).delete)
    await do(Todo(id="d", title="new").save)
    collection = await do(Collection.get, "todos")
    found = {each.id: each["title"] for each in await do(collection.snapshot, then)}
    assert found == {"a": "old", "b": "old", "c": "old"}
    assert await do(collection.snapshot, then - 60_000) == []
    old = next(each for each in await do(collection.snapshot, then) if each.id == "a")
    old["n"] = 5
    with pytest.raises(Conflict):
        await do(old.save)


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


async def test_what_the_user_may_do(place: Place, session: AnySession) -> None:
    """Every object on which a user has permissions is listed with them."""
    todo = await do(Todo(id="shared", title="x", permissions={"read": [Everyone]}).save)
    await do(Todo(id="secret", title="x").save)
    async with entered(place.session(auth=(place.new_id("reader"), "s3cret"))) as theirs:
        entries = {
            each.uri: each
            for each in await do(theirs.permissions)
            if f"/{session.bucket}/" in each.uri
        }
    assert list(entries) == [todo.uri]
    entry = entries[todo.uri]
    assert (entry.id, entry.resource_name, entry.permissions) == ("shared", "record", ["read"])
    mine = {each.uri: each.permissions for each in await do(session.permissions)}
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
async def test_a_time_is_milliseconds_or_a_datetime(session: AnySession, when: Any) -> None:
    """Anything else is refused, instead of being later or earlier than everything."""
    todo = await do(Todo(title="x").save)
    for act in (
        lambda: do(todo.at, when),
        lambda: do(todo.revert, when),
        lambda: do(Collection(id="todos").snapshot, when),
    ):
        with pytest.raises(TypeError, match="is no time"):
            await act()


async def test_what_was_is_not_saved_by_mistake(session: AnySession) -> None:
    """Saving it as it is would send nothing, and the server would keep what is there now."""
    todo = await do(Todo(id="x", title="first").save)
    first = todo.last_modified or 0
    todo.title = "second"
    await do(todo.save)
    for old in (await do(todo.at, first), *await do(Collection(id="todos").snapshot, first)):
        with pytest.raises(ConfigurationError, match=r"revert\(when\)"):
            await do(old.save)
        assert (await do(session.save_all, [old])).failed
    assert (await do(Todo.get, "x")).title == "second"
    assert (await do((await do(todo.at, first)).save, force=True)).title == "first"
