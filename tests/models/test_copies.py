"""Copies: copy, deepcopy, pickle and model_copy keep what the server has."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from both import AnySession, do, either, either_wire
from conftest import Wire
from kinto_orm import Collection, Conflict, Everyone, NotLoaded, Record

# On both sessions.
session = either
wire = either_wire

BOB = "account:bob"


class Todo(Record, collection="todos"):
    title: str = ""
    tags: list[str] = []


def pickled(todo: Any) -> Any:
    """There and back."""
    return pickle.loads(pickle.dumps(todo))


@pytest.fixture
def server_name() -> str:
    """Memory only: what a copy carries does not depend on the server."""
    return "memory"


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickled,
    "model_copy": lambda todo: todo.model_copy(),
    "deep model_copy": lambda todo: todo.model_copy(deep=True),
    "pickled copy": lambda todo: pickled(copy.copy(todo)),
}
LOADED: dict[str, Callable[[], Awaitable[Todo]]] = {
    "saved": lambda: do(Todo(id="x", title="a", tags=["t"]).save, force=True),
    "fetched": lambda: do(Todo.get, "x"),
    "listed": lambda: do(Todo.find().one),
}

each_copy = pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)


@pytest.fixture(params=LOADED.values(), ids=list(LOADED))
async def todo(request: pytest.FixtureRequest, wire: Wire) -> Todo:
    """One stored record, known in three ways; what was sent for it is forgotten."""
    await LOADED["saved"]()
    found: Todo = await request.param()
    wire.clear()
    return found


@each_copy
async def test_a_copy_is_clean(wire: Wire, todo: Todo, make: Any) -> None:
    """A copy of a clean object has nothing to send and is the same object of the server."""
    copied = make(todo)
    assert copied == todo
    assert copied is not todo
    assert not copied.is_new
    assert copied.uri == todo.uri
    assert copied.last_modified == todo.last_modified
    await do(copied.save)
    assert wire.methods == []


@each_copy
async def test_a_copy_saves_its_own_changes(wire: Wire, todo: Todo, make: Any) -> None:
    """With the precondition of the original, whose next save is then a conflict."""
    copied = make(todo)
    copied.title = "b"
    assert copied.diff() == {"title": ("a", "b")}
    assert todo.diff() == {}
    await do(copied.save)
    assert wire.methods == ["PATCH"]
    assert wire.body == {"data": {"title": "b"}}
    todo.title = "c"
    with pytest.raises(Conflict):
        await do(todo.save)


@each_copy
async def test_a_copy_carries_unsaved_changes(todo: Todo, make: Any) -> None:
    """What is not saved yet is not saved in the copy either."""
    todo.title = "b"
    todo.tags = ["u"]
    copied = make(todo)
    assert copied.diff() == todo.diff() == {"title": ("a", "b"), "tags": (["t"], ["u"])}
    await do(copied.save)
    assert (await do(Todo.get, "x")).tags == ["u"]


@pytest.mark.parametrize("make", [copy.deepcopy, pickled, COPIES["deep model_copy"]])
async def test_deep_copies_share_nothing(session: AnySession, make: Any) -> None:
    """A change in place of one is no change of the other."""
    todo = await LOADED["saved"]()
    copied = make(todo)
    copied.tags.append("u")
    assert todo.tags == ["t"]
    assert (copied.diff(), todo.diff()) == ({"tags": (["t"], ["t", "u"])}, {})


@each_copy
async def test_a_copy_of_a_new_object_is_new(wire: Wire, make: Any) -> None:
    """It is created by its save, like the original, under the same id."""
    todo = Todo(title="a")
    copied = make(todo)
    assert copied.is_new
    assert copied.id == todo.id
    await do(copied.save)
    assert wire.methods == ["PUT"]
    assert todo.is_new


@each_copy
async def test_a_copy_of_a_new_object_keeps_its_permissions(session: AnySession, make: Any) -> None:
    """Permissions that were given at creation go with the copy's creation."""
    copied = make(Todo(title="a", permissions={"read": [BOB]}))
    assert copied.permissions.read == {BOB}
    assert (await do(copied.save)).permissions.read == {BOB}


@each_copy
async def test_permissions_of_a_copy_are_its_own(session: AnySession, make: Any) -> None:
    """A grant in the copy is no grant in the original."""
    todo = await LOADED["saved"]()
    await do(todo.permissions.grant("read", BOB).save)
    copied = make(todo)
    copied.permissions.grant("read", Everyone)
    assert (todo.permissions.read, copied.permissions.read) == ({BOB}, {BOB, Everyone})
    await do(copied.permissions.save)
    assert (await do(Todo.get, "x")).permissions.read == {BOB, Everyone}


@each_copy
async def test_a_copy_carries_unsaved_grants(session: AnySession, make: Any) -> None:
    """They are sent by the copy's save, as a difference."""
    todo = await LOADED["saved"]()
    todo.permissions.grant("read", BOB)
    copied = make(todo)
    assert copied.permissions.is_changed
    await do(copied.save)
    assert (await do(Todo.get, "x")).permissions.read == {BOB}


@each_copy
async def test_a_copy_keeps_what_is_not_loaded(session: AnySession, make: Any) -> None:
    """Permissions that were never fetched stay so, with the grants that wait."""
    await LOADED["saved"]()
    listed = await do(Todo.find().one)
    with pytest.raises(NotLoaded):
        make(listed).permissions.read
    listed.permissions.grant("read", BOB)
    copied = make(listed)
    with pytest.raises(NotLoaded):
        copied.permissions.read
    await do(copied.permissions.save)
    assert (await do(Todo.get, "x")).permissions.read == {BOB}


@each_copy
async def test_a_copy_of_a_partial_object_is_partial(session: AnySession, make: Any) -> None:
    """It cannot be saved, and its other fields are not loaded."""
    await LOADED["saved"]()
    [partial] = await do(Todo.find().only("title"))
    copied = make(partial)
    assert copied.is_partial
    with pytest.raises(NotLoaded):
        copied.tags
    with pytest.raises(NotLoaded):
        await do(copied.save)
    assert (await do(copied.refresh)).tags == ["t"]


@each_copy
async def test_a_copy_of_a_deleted_object_is_deleted(session: AnySession, make: Any) -> None:
    """Saving it is refused as for the original."""
    todo = await LOADED["saved"]()
    await do(todo.delete)
    with pytest.raises(Conflict, match="deleted"):
        await do(make(todo).save)


@each_copy
async def test_copies_of_untyped_records(session: AnySession, make: Any) -> None:
    """Their fields, and where they live, are kept."""
    record = await do(Collection(id="todos").records.new(id="x", **{"due-date": "a"}).save)
    copied = make(record)
    copied["due-date"] = "b"
    await do(copied.save)
    assert (await do(record.refresh))["due-date"] == "b"


async def test_a_pickle_finds_the_current_session(session: AnySession) -> None:
    """A session is not pickled; the object uses the one that is current when it is used."""
    todo = await LOADED["saved"]()
    data = pickle.dumps(todo)
    assert b"embedded" not in data
    assert await do(pickle.loads(data).refresh) == todo


async def test_model_copy_with_other_values(session: AnySession) -> None:
    """`update` is a change like any other."""
    todo = await LOADED["saved"]()
    copied = todo.model_copy(update={"title": "b"})
    assert copied.diff() == {"title": ("a", "b")}
    await do(copied.save)
    assert (await do(Todo.get, "x")).title == "b"


async def test_a_copy_to_another_id_is_a_new_object(session: AnySession) -> None:
    """What is stored under the first id says nothing of the second."""
    todo = await LOADED["saved"]()
    copied = todo.model_copy(update={"id": "y"})
    assert copied.is_new
    await do(copied.save)
    assert ((await do(Todo.get, "y")).title, (await do(Todo.get, "x")).title) == ("a", "a")
