"""What all stored objects share: save, delete, refresh, get and their kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from both import AnySession, Place, do, either, either_wire, entered
from conftest import Wire
from faults import FaultyServer
from kinto_orm import (
    Bucket,
    Collection,
    ConfigurationError,
    Conflict,
    Group,
    InvalidData,
    KintoError,
    ModelError,
    NotFound,
    NotLoaded,
    Record,
    Session,
    Tombstone,
)

# On both sessions.
session = either
wire = either_wire


class Todo(Record, collection="todos"):
    title: str
    done: bool = False
    tags: list[str] = []


# Saving


async def test_a_new_object_is_created_with_one_guarded_put(wire: Wire) -> None:
    """PUT with If-None-Match: *, all the data, and neither id nor timestamp within it."""
    todo = Todo(title="a")
    assert todo.is_new
    assert todo.last_modified is None
    assert await do(todo.save) is todo
    assert wire.methods == ["PUT"]
    assert wire.last.path_url.endswith(f"/collections/todos/records/{todo.id}")
    assert wire.last.headers["If-None-Match"] == "*"
    assert wire.body == {"data": {"title": "a", "done": False, "tags": []}}
    assert not todo.is_new
    assert isinstance(todo.last_modified, int)


async def test_a_change_is_one_guarded_patch(wire: Wire) -> None:
    """PATCH with If-Match, the changed fields only."""
    todo = await do(Todo(title="a").save)
    before = todo.last_modified
    todo.tags.append("urgent")
    assert await do(todo.save) is todo
    assert wire.last.method == "PATCH"
    assert wire.last.headers["If-Match"] == f'"{before}"'
    assert wire.last.headers["Content-Type"] == "application/json"
    assert wire.body == {"data": {"tags": ["urgent"]}}
    assert todo.last_modified is not None
    assert todo.last_modified > before  # type: ignore[operator]


async def test_a_clean_save_sends_nothing(wire: Wire) -> None:
    """However often."""
    todo = await do(Todo(title="a").save)
    stamp = todo.last_modified
    wire.clear()
    await do((await do(todo.save)).save)
    await do((await do(Todo.get, todo.id)).save)
    assert wire.methods == ["GET"]
    assert todo.last_modified == stamp


async def test_save_keeps_the_identity_of_values(session: AnySession) -> None:
    """What the program holds of the object stays the object's."""
    todo = Todo(title="a", tags=["x"])
    tags = todo.tags
    await do(todo.save)
    assert todo.tags is tags
    tags.append("y")
    await do(todo.save)
    assert (await do(Todo.get, todo.id)).tags == ["x", "y"]


async def test_force_overwrites_whatever_is_there(wire: Wire) -> None:
    """PUT without a precondition, new or not, changed or not."""
    await do(Todo(id="x", title="theirs", done=True).save)
    mine = Todo(id="x", title="mine")
    wire.clear()
    await do(mine.save, force=True)
    assert wire.methods == ["PUT"]
    assert not {"If-Match", "If-None-Match"} & set(wire.last.headers)
    assert await do(Todo.get, "x") == mine
    await do(mine.save, force=True)
    assert wire.methods[-1] == "PUT"
    assert (await do(Todo.get, "x")).done is False


async def test_a_server_that_adds_fields(session: AnySession) -> None:
    """A collection with a schema puts `schema` into its records; that is no change of ours."""
    collection = await do(Collection.get, "todos")
    collection.json_schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    await do(collection.save)
    todo = await do(Todo(title="a").save)
    assert todo.diff() == {}
    assert todo["schema"] == collection.last_modified
    todo.title = "b"
    await do(todo.save)
    assert (await do(Todo.get, todo.id)).diff() == todo.diff() == {}


async def test_data_that_the_server_refuses(session: AnySession) -> None:
    """A schema violation is an InvalidData with the server's words; nothing is lost."""
    collection = await do(Collection.get, "todos")
    collection.json_schema = {"type": "object", "properties": {"title": {"maxLength": 3}}}
    await do(collection.save)
    todo = await do(Todo(title="ok").save)
    todo.title = "too long"
    with pytest.raises(InvalidData, match="too long") as raised:
        await do(todo.save)
    assert (raised.value.status, raised.value.errno) == (400, 107)
    assert todo.diff() == {"title": ("ok", "too long")}
    with pytest.raises(InvalidData):
        await do(Todo(title="too long").save)


async def test_data_too_large_or_deep_is_an_error_of_the_library(session: AnySession) -> None:
    """Whatever the server says of odd data, it is a KintoError."""
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    record = Collection(id="todos").records.new(deep=deep)
    try:
        await do(record.save)
    except KintoError:
        return
    assert (await do(Collection(id="todos").records.get, record.id))["deep"] == deep


# Getting


async def test_get(session: AnySession) -> None:
    """An object as it is stored."""
    todo = await do(Todo(title="a").save)
    found = await do(Todo.get, todo.id)
    assert found == todo
    assert found is not todo
    assert not found.is_new
    assert found.last_modified == todo.last_modified


async def test_get_of_what_is_not_there(session: AnySession) -> None:
    """NotFound names the object, and says that it is a record that is missing."""
    with pytest.raises(NotFound, match="get Todo 'nobody'") as raised:
        await do(Todo.get, "nobody")
    assert raised.value.resource == "record"
    assert (raised.value.status, raised.value.errno) == (404, 110)
    assert "sync_schema" not in str(raised.value)


async def test_get_or_none(session: AnySession) -> None:
    """None for a missing object; a missing collection is still an error."""
    await do(Todo(id="x", title="a").save)
    found = await do(Todo.get_or_none, "x")
    assert found is not None
    assert found.title == "a"
    assert await do(Todo.get_or_none, "nobody") is None
    async with entered(pytest.raises(NotFound)), entered(session.scoped(collection="nowhere")):
        await do(Record.get_or_none, "x")


async def test_get_or_create(wire: Wire) -> None:
    """The object and whether it was made, as in Django."""
    todo, created = await do(Todo.get_or_create, "x", title="first")
    assert created
    assert wire.methods == ["GET", "PUT"]
    wire.clear()
    again, created = await do(Todo.get_or_create, "x", title="second")
    assert not created
    assert again == todo
    assert wire.methods == ["GET"]


def test_get_or_create_when_somebody_is_faster(proxy: FaultyServer, blocking_wire: Wire) -> None:
    """Theirs is fetched when it appears between the two requests."""

    def overtaken(exchange: Any) -> None:
        exchange.write(*exchange.forward())
        Todo(id="x", title="theirs").save(session=blocking_wire.session)

    with Session(proxy.url, auth="alice:s3cret", bucket=blocking_wire.session.bucket):
        proxy.answers.append(overtaken)
        todo, created = Todo.get_or_create("x", title="mine")
    assert (todo.title, created) == ("theirs", False)
    assert proxy.methods == ["GET", "PUT", "GET"]


@pytest.mark.parametrize("kind", [Bucket, Collection, Group])
async def test_get_or_create_of_structure(wire: Wire, place: Place, kind: Any) -> None:
    """The same for the other kinds."""
    id = place.new_id()
    made, created = await do(kind.get_or_create, id, note="x")
    again, created_again = await do(kind.get_or_create, id, note="y")
    assert (created, created_again) == (True, False)
    assert again["note"] == made["note"] == "x"


async def test_stored_data_that_does_not_fit(session: AnySession) -> None:
    """The error names the object and the field, and says what can be done."""
    await do(Collection(id="todos").records.new(id="odd", title={"not": "a text"}).save)
    for act in (lambda: do(Todo.get, "odd"), Todo.find().all):
        with pytest.raises(InvalidData, match=r"'odd'.*title.*plain Record"):
            await do(act)
    assert (await do(Collection(id="todos").records.get, "odd"))["title"] == {"not": "a text"}


# Deleting


async def test_delete_leaves_a_tombstone(wire: Wire) -> None:
    """DELETE with If-Match; what comes back is id and time."""
    todo = await do(Todo(title="a").save)
    before = todo.last_modified
    tombstone = await do(todo.delete)
    assert isinstance(tombstone, Tombstone)
    assert tombstone.id == todo.id
    assert tombstone.last_modified > before  # type: ignore[operator]
    assert wire.last.method == "DELETE"
    assert wire.last.headers["If-Match"] == f'"{before}"'
    assert await do(Todo.get_or_none, todo.id) is None
    assert not todo.is_new
    assert todo.title == "a"


async def test_delete_of_what_was_never_saved(wire: Wire) -> None:
    """Refused before anything is sent: it may be somebody else's object of that id."""
    with pytest.raises(ConfigurationError, match="never saved"):
        await do(Todo(id="x", title="a").delete)
    assert wire.methods == []


async def test_forced_delete_needs_no_reading(wire: Wire) -> None:
    """An id is enough to delete whatever is there."""
    await do(Todo(id="x", title="a").save)
    wire.clear()
    await do(Todo.model_construct(id="x").delete, force=True)
    assert wire.methods == ["DELETE"]
    assert "If-Match" not in wire.last.headers
    assert await do(Todo.get_or_none, "x") is None


async def test_missing_ok(session: AnySession) -> None:
    """A second delete may be content."""
    todo = await do(Todo(title="a").save)
    await do(todo.delete)
    with pytest.raises(Conflict, match="gone already"):
        await do(todo.delete)
    assert await do(todo.delete, missing_ok=True) == Tombstone(todo.id, None)
    assert (await do(Todo(id="never", title="a").delete, force=True, missing_ok=True)).id == "never"


async def test_refresh_after_a_delete_finds_what_was_made_anew(session: AnySession) -> None:
    """An id may be used again."""
    todo = await do(Todo(id="x", title="a").save)
    await do(todo.delete)
    with pytest.raises(NotFound):
        await do(todo.refresh)
    await do(Todo(id="x", title="again").save)
    assert (await do(todo.refresh)).title == "again"
    todo.title = "b"
    await do(todo.save)
    assert (await do(Todo.get, "x")).title == "b"


# Refreshing


async def test_refresh_takes_the_servers_state_in_place(session: AnySession) -> None:
    """Changes that were not saved are dropped; the object stays the same object."""
    todo = await do(Todo(title="a", tags=["x"]).save)
    theirs = await do(Todo.get, todo.id)
    theirs.tags.append("y")
    await do(theirs.save)
    todo.title = "unsaved"
    assert await do(todo.refresh) is todo
    assert (todo.title, todo.tags) == ("a", ["x", "y"])
    assert todo.diff() == {}
    assert todo.last_modified == theirs.last_modified


async def test_refresh_costs_little_when_nothing_changed(wire: Wire) -> None:
    """GET with If-None-Match is answered 304; unsaved changes are dropped all the same."""
    todo = await do(Todo(title="a").save)
    todo.title = "unsaved"
    todo.tags.append("x")
    wire.clear()
    await do(todo.refresh)
    assert wire.methods == ["GET"]
    assert wire.last.headers["If-None-Match"] == f'"{todo.last_modified}"'
    assert (todo.title, todo.tags) == ("a", [])


@pytest.mark.parametrize("theirs", [None, {"done": True}, {"title": "theirs"}])
async def test_refresh_can_keep_changes(session: AnySession, theirs: dict[str, Any] | None) -> None:
    """What is not saved stays, everything else becomes the server's; the next save goes through."""
    todo = await do(Todo(title="a").save)
    if theirs:
        other = await do(Todo.get, todo.id)
        for name, value in theirs.items():
            setattr(other, name, value)
        await do(other.save)
    todo.title = "mine"
    await do(todo.refresh, keep_changes=True)
    assert todo.title == "mine"
    assert todo.done is bool(theirs and theirs.get("done"))
    await do(todo.save)
    assert (await do(Todo.get, todo.id)).title == "mine"


async def test_refresh_of_a_new_object_takes_what_is_stored(session: AnySession) -> None:
    """An object of which only the id is known becomes the stored one."""
    await do(Todo(id="x", title="stored").save)
    mine = Todo(id="x", title="")
    await do(mine.refresh)
    assert mine.title == "stored"
    assert not mine.is_new
    with pytest.raises(NotFound):
        await do(Todo(id="nobody", title="").refresh)


async def test_refresh_brings_and_removes_undeclared_fields(session: AnySession) -> None:
    """Fields that came or went on the server come and go here."""
    records = Collection(id="todos").records
    mine = await do(records.new(a=1, b=2).save)
    theirs = await do(records.get, mine.id)
    del theirs["a"]
    theirs["c"] = 3
    await do(theirs.save)
    assert (await do(mine.refresh)).model_extra == {"b": 2, "c": 3}


async def test_refresh_completes_a_partial_object(session: AnySession) -> None:
    """One that was loaded with some fields only can be saved after it."""
    await do(Todo(id="x", title="a", tags=["t"]).save)
    [partial] = await do(Todo.find().only("title"))
    assert partial.is_partial
    with pytest.raises(NotLoaded, match="refresh"):
        partial.tags
    with pytest.raises(NotLoaded, match="refresh"):
        await do(partial.save)
    await do(partial.refresh)
    assert not partial.is_partial
    assert partial.tags == ["t"]
    partial.tags.append("u")
    await do(partial.save)
    assert (await do(Todo.get, "x")).tags == ["t", "u"]


# Identity


def test_uri(wire: Wire) -> None:
    """The server's path, known before anything is sent."""
    bucket = wire.session.bucket
    assert Todo(id="x", title="").uri == f"/buckets/{bucket}/collections/todos/records/x"
    assert Collection(id="c").uri == f"/buckets/{bucket}/collections/c"
    assert Group(id="g", bucket="other").uri == "/buckets/other/groups/g"
    assert Bucket(id="b").uri == "/buckets/b"
    assert wire.methods == []


def test_ids_are_uuids_by_default() -> None:
    """Each new object has one of its own."""
    ids = {Record().id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(id) == 36 for id in ids)


async def test_id_of_a_saved_object_cannot_change(session: AnySession) -> None:
    """It is the object's name on the server; a new object's id may still change."""
    todo = Todo(title="a")
    todo.id = "x"
    await do(todo.save)
    todo.id = "x"
    with pytest.raises(ModelError, match="Copy the object instead"):
        todo.id = "y"
    assert todo.id == "x"


GOOD = st.from_regex(r"\A[a-zA-Z0-9][a-zA-Z0-9_-]{0,20}\Z")
BAD = ["", "a b", "a.b", "a/b", "..", "ü", "-a", "_a", "a\n", "a?b", "a%2Fb", " a", "٣"]


@settings(max_examples=8)
@given(id=GOOD)
async def test_ids_are_never_rewritten(session: AnySession, id: str) -> None:
    """An id that the server takes is the id under which the object is found."""
    assert (await do(Todo(id=id, title=id).save, force=True)).id == id
    assert (await do(Todo.get, id)).title == id
    assert (await do(Todo.find(Todo.id == id).one)).id == id


@pytest.mark.parametrize("id", BAD)
async def test_ids_that_the_server_refuses_are_refused_before_sending(wire: Wire, id: str) -> None:
    """Not rewritten, not sent: an InvalidData that shows the rule."""
    acts: list[Callable[[], object]] = [
        Todo(id=id, title="a").save,
        lambda: do(Todo.get, id),
        lambda: do(Todo.get_or_none, id),
        lambda: do(Todo.get_or_create, id, title="a"),
        lambda: do(Todo(id=id, title="a").delete, force=True),
        lambda: do(Todo(id=id, title="a").refresh),
        lambda: do(Collection(id=id).save),
        lambda: do(Bucket(id=id).save),
    ]
    for act in acts:
        with pytest.raises(InvalidData, match="cannot be the id"):
            await do(act)
    assert wire.methods == []


@pytest.mark.parametrize("id", [1, 1.5, ["x"], b"x\xff"])
def test_ids_are_texts(id: Any) -> None:
    """Another type is refused by the constructor."""
    with pytest.raises(ValidationError):
        Record(id=id)


async def test_equality_is_of_values(session: AnySession) -> None:
    """Two objects of the same stored state are equal, whatever is pending in the session."""
    todo = await do(Todo(title="a").save)
    one, two = await do(Todo.get, todo.id), await do(Todo.get, todo.id)
    assert one == two == todo
    two.title = "b"
    assert one != two


async def test_messages_say_what_was_done_to_which_object(session: AnySession) -> None:
    """Each refusal names the act, the model and the id."""
    session_in_nowhere = session.scoped(collection="nowhere")
    record = Record(id="x7")
    with pytest.raises(NotFound, match="save Record 'x7' in /buckets/"):
        await do(record.save, session=session_in_nowhere)
    with pytest.raises(NotFound, match="refresh Record 'x7'"):
        await do(record.refresh, session=session_in_nowhere)
    with pytest.raises(NotFound, match="find Record"):
        await do(Record.find(Record.id == "x7", session=session_in_nowhere).all)


async def test_a_deleted_object_is_unsaved_as_a_whole(session: AnySession) -> None:
    """What is not saved of it is all that it has."""
    todo = await do(Todo(title="x").save)
    await do(todo.delete)
    assert todo.diff() == {"title": (None, "x"), "done": (None, False), "tags": (None, [])}
