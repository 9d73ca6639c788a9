"""What all stored objects share: save, delete, refresh, get and their kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from conftest import Backend, Wire
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


class Todo(Record, collection="todos"):
    title: str
    done: bool = False
    tags: list[str] = []


# Saving


def test_a_new_object_is_created_with_one_guarded_put(wire: Wire) -> None:
    """PUT with If-None-Match: *, all the data, and neither id nor timestamp within it."""
    todo = Todo(title="a")
    assert todo.is_new
    assert todo.last_modified is None
    assert todo.save() is todo
    assert wire.methods == ["PUT"]
    assert wire.last.path_url.endswith(f"/collections/todos/records/{todo.id}")
    assert wire.last.headers["If-None-Match"] == "*"
    assert wire.body == {"data": {"title": "a", "done": False, "tags": []}}
    assert not todo.is_new
    assert isinstance(todo.last_modified, int)


def test_a_change_is_one_guarded_patch(wire: Wire) -> None:
    """PATCH with If-Match, the changed fields only."""
    todo = Todo(title="a").save()
    before = todo.last_modified
    todo.tags.append("urgent")
    assert todo.save() is todo
    assert wire.last.method == "PATCH"
    assert wire.last.headers["If-Match"] == f'"{before}"'
    assert wire.last.headers["Content-Type"] == "application/json"
    assert wire.body == {"data": {"tags": ["urgent"]}}
    assert todo.last_modified is not None
    assert todo.last_modified > before  # type: ignore[operator]


def test_a_clean_save_sends_nothing(wire: Wire) -> None:
    """However often."""
    todo = Todo(title="a").save()
    stamp = todo.last_modified
    wire.clear()
    todo.save().save()
    Todo.get(todo.id).save()
    assert wire.methods == ["GET"]
    assert todo.last_modified == stamp


def test_save_keeps_the_identity_of_values(session: Session) -> None:
    """What the program holds of the object stays the object's."""
    todo = Todo(title="a", tags=["x"])
    tags = todo.tags
    todo.save()
    assert todo.tags is tags
    tags.append("y")
    todo.save()
    assert Todo.get(todo.id).tags == ["x", "y"]


def test_force_overwrites_whatever_is_there(wire: Wire) -> None:
    """PUT without a precondition, new or not, changed or not."""
    Todo(id="x", title="theirs", done=True).save()
    mine = Todo(id="x", title="mine")
    wire.clear()
    mine.save(force=True)
    assert wire.methods == ["PUT"]
    assert not {"If-Match", "If-None-Match"} & set(wire.last.headers)
    assert Todo.get("x") == mine
    mine.save(force=True)
    assert wire.methods[-1] == "PUT"
    assert Todo.get("x").done is False


def test_a_server_that_adds_fields(session: Session) -> None:
    """A collection with a schema puts `schema` into its records; that is no change of ours."""
    collection = Collection.get("todos")
    collection.json_schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    collection.save()
    todo = Todo(title="a").save()
    assert todo.diff() == {}
    assert todo["schema"] == collection.last_modified
    todo.title = "b"
    todo.save()
    assert Todo.get(todo.id).diff() == todo.diff() == {}


def test_data_that_the_server_refuses(session: Session) -> None:
    """A schema violation is an InvalidData with the server's words; nothing is lost."""
    collection = Collection.get("todos")
    collection.json_schema = {"type": "object", "properties": {"title": {"maxLength": 3}}}
    collection.save()
    todo = Todo(title="ok").save()
    todo.title = "too long"
    with pytest.raises(InvalidData, match="too long") as raised:
        todo.save()
    assert (raised.value.status, raised.value.errno) == (400, 107)
    assert todo.diff() == {"title": ("ok", "too long")}
    with pytest.raises(InvalidData):
        Todo(title="too long").save()


def test_data_too_large_or_deep_is_an_error_of_the_library(session: Session) -> None:
    """Whatever the server says of odd data, it is a KintoError."""
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    record = Collection(id="todos").records.new(deep=deep)
    try:
        record.save()
    except KintoError:
        return
    assert Collection(id="todos").records.get(record.id)["deep"] == deep


# Getting


def test_get(session: Session) -> None:
    """An object as it is stored."""
    todo = Todo(title="a").save()
    found = Todo.get(todo.id)
    assert found == todo
    assert found is not todo
    assert not found.is_new
    assert found.last_modified == todo.last_modified


def test_get_of_what_is_not_there(session: Session) -> None:
    """NotFound names the object, and says that it is a record that is missing."""
    with pytest.raises(NotFound, match="get Todo 'nobody'") as raised:
        Todo.get("nobody")
    assert raised.value.resource == "record"
    assert (raised.value.status, raised.value.errno) == (404, 110)
    assert "sync_schema" not in str(raised.value)


def test_get_or_none(session: Session) -> None:
    """None for a missing object; a missing collection is still an error."""
    Todo(id="x", title="a").save()
    found = Todo.get_or_none("x")
    assert found is not None
    assert found.title == "a"
    assert Todo.get_or_none("nobody") is None
    with pytest.raises(NotFound), session.scoped(collection="nowhere"):
        Record.get_or_none("x")


def test_get_or_create(wire: Wire) -> None:
    """The object and whether it was made, as in Django."""
    todo, created = Todo.get_or_create("x", title="first")
    assert created
    assert wire.methods == ["GET", "PUT"]
    wire.clear()
    again, created = Todo.get_or_create("x", title="second")
    assert not created
    assert again == todo
    assert wire.methods == ["GET"]


def test_get_or_create_when_somebody_is_faster(proxy: FaultyServer, wire: Wire) -> None:
    """Theirs is fetched when it appears between the two requests."""

    def overtaken(exchange: Any) -> None:
        exchange.write(*exchange.forward())
        Todo(id="x", title="theirs").save(session=wire.session)

    with Session(proxy.url, auth="alice:s3cret", bucket=wire.session.bucket):
        proxy.answers.append(overtaken)
        todo, created = Todo.get_or_create("x", title="mine")
    assert (todo.title, created) == ("theirs", False)
    assert proxy.methods == ["GET", "PUT", "GET"]


@pytest.mark.parametrize("kind", [Bucket, Collection, Group])
def test_get_or_create_of_structure(wire: Wire, backend: Backend, kind: Any) -> None:
    """The same for the other kinds."""
    id = backend.new_id()
    made, created = kind.get_or_create(id, note="x")
    again, created_again = kind.get_or_create(id, note="y")
    assert (created, created_again) == (True, False)
    assert again["note"] == made["note"] == "x"


def test_stored_data_that_does_not_fit(session: Session) -> None:
    """The error names the object and the field, and says what can be done."""
    Collection(id="todos").records.new(id="odd", title={"not": "a text"}).save()
    for act in (lambda: Todo.get("odd"), Todo.find().all):
        with pytest.raises(InvalidData, match=r"'odd'.*title.*plain Record"):
            act()
    assert Collection(id="todos").records.get("odd")["title"] == {"not": "a text"}


# Deleting


def test_delete_leaves_a_tombstone(wire: Wire) -> None:
    """DELETE with If-Match; what comes back is id and time."""
    todo = Todo(title="a").save()
    before = todo.last_modified
    tombstone = todo.delete()
    assert isinstance(tombstone, Tombstone)
    assert tombstone.id == todo.id
    assert tombstone.last_modified > before  # type: ignore[operator]
    assert wire.last.method == "DELETE"
    assert wire.last.headers["If-Match"] == f'"{before}"'
    assert Todo.get_or_none(todo.id) is None
    assert not todo.is_new
    assert todo.title == "a"


def test_delete_of_what_was_never_saved(wire: Wire) -> None:
    """Refused before anything is sent: it may be somebody else's object of that id."""
    with pytest.raises(ConfigurationError, match="never saved"):
        Todo(id="x", title="a").delete()
    assert wire.methods == []


def test_forced_delete_needs_no_reading(wire: Wire) -> None:
    """An id is enough to delete whatever is there."""
    Todo(id="x", title="a").save()
    wire.clear()
    Todo.model_construct(id="x").delete(force=True)
    assert wire.methods == ["DELETE"]
    assert "If-Match" not in wire.last.headers
    assert Todo.get_or_none("x") is None


def test_missing_ok(session: Session) -> None:
    """A second delete may be content."""
    todo = Todo(title="a").save()
    todo.delete()
    with pytest.raises(Conflict, match="gone already"):
        todo.delete()
    assert todo.delete(missing_ok=True) == Tombstone(todo.id, None)
    assert Todo(id="never", title="a").delete(force=True, missing_ok=True).id == "never"


def test_refresh_after_a_delete_finds_what_was_made_anew(session: Session) -> None:
    """An id may be used again."""
    todo = Todo(id="x", title="a").save()
    todo.delete()
    with pytest.raises(NotFound):
        todo.refresh()
    Todo(id="x", title="again").save()
    assert todo.refresh().title == "again"
    todo.title = "b"
    todo.save()
    assert Todo.get("x").title == "b"


# Refreshing


def test_refresh_takes_the_servers_state_in_place(session: Session) -> None:
    """Changes that were not saved are dropped; the object stays the same object."""
    todo = Todo(title="a", tags=["x"]).save()
    theirs = Todo.get(todo.id)
    theirs.tags.append("y")
    theirs.save()
    todo.title = "unsaved"
    assert todo.refresh() is todo
    assert (todo.title, todo.tags) == ("a", ["x", "y"])
    assert todo.diff() == {}
    assert todo.last_modified == theirs.last_modified


def test_refresh_costs_little_when_nothing_changed(wire: Wire) -> None:
    """GET with If-None-Match is answered 304; unsaved changes are dropped all the same."""
    todo = Todo(title="a").save()
    todo.title = "unsaved"
    todo.tags.append("x")
    wire.clear()
    todo.refresh()
    assert wire.methods == ["GET"]
    assert wire.last.headers["If-None-Match"] == f'"{todo.last_modified}"'
    assert (todo.title, todo.tags) == ("a", [])


@pytest.mark.parametrize("theirs", [None, {"done": True}, {"title": "theirs"}])
def test_refresh_can_keep_changes(session: Session, theirs: dict[str, Any] | None) -> None:
    """What is not saved stays, everything else becomes the server's; the next save goes through."""
    todo = Todo(title="a").save()
    if theirs:
        other = Todo.get(todo.id)
        for name, value in theirs.items():
            setattr(other, name, value)
        other.save()
    todo.title = "mine"
    todo.refresh(keep_changes=True)
    assert todo.title == "mine"
    assert todo.done is bool(theirs and theirs.get("done"))
    todo.save()
    assert Todo.get(todo.id).title == "mine"


def test_refresh_of_a_new_object_takes_what_is_stored(session: Session) -> None:
    """An object of which only the id is known becomes the stored one."""
    Todo(id="x", title="stored").save()
    mine = Todo(id="x", title="")
    mine.refresh()
    assert mine.title == "stored"
    assert not mine.is_new
    with pytest.raises(NotFound):
        Todo(id="nobody", title="").refresh()


def test_refresh_brings_and_removes_undeclared_fields(session: Session) -> None:
    """Fields that came or went on the server come and go here."""
    records = Collection(id="todos").records
    mine = records.new(a=1, b=2).save()
    theirs = records.get(mine.id)
    del theirs["a"]
    theirs["c"] = 3
    theirs.save()
    assert mine.refresh().model_extra == {"b": 2, "c": 3}


def test_refresh_completes_a_partial_object(session: Session) -> None:
    """One that was loaded with some fields only can be saved after it."""
    Todo(id="x", title="a", tags=["t"]).save()
    [partial] = Todo.find().only("title")
    assert partial.is_partial
    with pytest.raises(NotLoaded, match="refresh"):
        partial.tags
    with pytest.raises(NotLoaded, match="refresh"):
        partial.save()
    partial.refresh()
    assert not partial.is_partial
    assert partial.tags == ["t"]
    partial.tags.append("u")
    partial.save()
    assert Todo.get("x").tags == ["t", "u"]


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


def test_id_of_a_saved_object_cannot_change(session: Session) -> None:
    """It is the object's name on the server; a new object's id may still change."""
    todo = Todo(title="a")
    todo.id = "x"
    todo.save()
    todo.id = "x"
    with pytest.raises(ModelError, match="Copy the object instead"):
        todo.id = "y"
    assert todo.id == "x"


GOOD = st.from_regex(r"\A[a-zA-Z0-9][a-zA-Z0-9_-]{0,20}\Z")
BAD = ["", "a b", "a.b", "a/b", "..", "ü", "-a", "_a", "a\n", "a?b", "a%2Fb", " a", "٣"]


@settings(max_examples=8)
@given(id=GOOD)
def test_ids_are_never_rewritten(session: Session, id: str) -> None:
    """An id that the server takes is the id under which the object is found."""
    assert Todo(id=id, title=id).save(force=True).id == id
    assert Todo.get(id).title == id
    assert Todo.find(Todo.id == id).one().id == id


@pytest.mark.parametrize("id", BAD)
def test_ids_that_the_server_refuses_are_refused_before_sending(wire: Wire, id: str) -> None:
    """Not rewritten, not sent: an InvalidData that shows the rule."""
    acts: list[Callable[[], object]] = [
        Todo(id=id, title="a").save,
        lambda: Todo.get(id),
        lambda: Todo.get_or_none(id),
        lambda: Todo.get_or_create(id, title="a"),
        lambda: Todo(id=id, title="a").delete(force=True),
        lambda: Todo(id=id, title="a").refresh(),
        lambda: Collection(id=id).save(),
        lambda: Bucket(id=id).save(),
    ]
    for act in acts:
        with pytest.raises(InvalidData, match="cannot be the id"):
            act()
    assert wire.methods == []


@pytest.mark.parametrize("id", [1, 1.5, ["x"], b"x\xff"])
def test_ids_are_texts(id: Any) -> None:
    """Another type is refused by the constructor."""
    with pytest.raises(ValidationError):
        Record(id=id)


def test_equality_is_of_values(session: Session) -> None:
    """Two objects of the same stored state are equal, whatever is pending in the session."""
    todo = Todo(title="a").save()
    one, two = Todo.get(todo.id), Todo.get(todo.id)
    assert one == two == todo
    two.title = "b"
    assert one != two


def test_messages_say_what_was_done_to_which_object(session: Session) -> None:
    """Each refusal names the act, the model and the id."""
    session_in_nowhere = session.scoped(collection="nowhere")
    record = Record(id="x7")
    with pytest.raises(NotFound, match="save Record 'x7' in /buckets/"):
        record.save(session=session_in_nowhere)
    with pytest.raises(NotFound, match="refresh Record 'x7'"):
        record.refresh(session=session_in_nowhere)
    with pytest.raises(NotFound, match="find Record"):
        Record.find(Record.id == "x7", session=session_in_nowhere).all()


def test_a_deleted_object_is_unsaved_as_a_whole(session: Session) -> None:
    """What is not saved of it is all that it has."""
    todo = Todo(title="x").save()
    todo.delete()
    assert todo.diff() == {"title": (None, "x"), "done": (None, False), "tags": (None, [])}
