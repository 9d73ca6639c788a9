"""Copies: copy, deepcopy, pickle and model_copy keep what the server has."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Backend, Wire
from kinto_orm import Collection, Conflict, Everyone, NotLoaded, Record, Session

BOB = "account:bob"


class Todo(Record, collection="todos"):
    title: str = ""
    tags: list[str] = []


def pickled(todo: Any) -> Any:
    """There and back."""
    return pickle.loads(pickle.dumps(todo))


@pytest.fixture(scope="module")
def backend(memory: Session) -> Backend:
    """Memory only: what a copy carries does not depend on the server."""
    return Backend("memory", "memory://tests")


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickled,
    "model_copy": lambda todo: todo.model_copy(),
    "deep model_copy": lambda todo: todo.model_copy(deep=True),
    "pickled copy": lambda todo: pickled(copy.copy(todo)),
}
LOADED: dict[str, Callable[[], Todo]] = {
    "saved": lambda: Todo(id="x", title="a", tags=["t"]).save(force=True),
    "fetched": lambda: Todo.get("x"),
    "listed": lambda: Todo.find().one(),
}

each_copy = pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)


@pytest.fixture(params=LOADED.values(), ids=list(LOADED))
def todo(request: pytest.FixtureRequest, wire: Wire) -> Todo:
    """One stored record, known in three ways; what was sent for it is forgotten."""
    LOADED["saved"]()
    found: Todo = request.param()
    wire.clear()
    return found


@each_copy
def test_a_copy_is_clean(wire: Wire, todo: Todo, make: Any) -> None:
    """A copy of a clean object has nothing to send and is the same object of the server."""
    copied = make(todo)
    assert copied == todo
    assert copied is not todo
    assert not copied.is_new
    assert copied.uri == todo.uri
    assert copied.last_modified == todo.last_modified
    copied.save()
    assert wire.methods == []


@each_copy
def test_a_copy_saves_its_own_changes(wire: Wire, todo: Todo, make: Any) -> None:
    """With the precondition of the original, whose next save is then a conflict."""
    copied = make(todo)
    copied.title = "b"
    assert copied.diff() == {"title": ("a", "b")}
    assert todo.diff() == {}
    copied.save()
    assert wire.methods == ["PATCH"]
    assert wire.body == {"data": {"title": "b"}}
    todo.title = "c"
    with pytest.raises(Conflict):
        todo.save()


@each_copy
def test_a_copy_carries_unsaved_changes(todo: Todo, make: Any) -> None:
    """What is not saved yet is not saved in the copy either."""
    todo.title = "b"
    todo.tags = ["u"]
    copied = make(todo)
    assert copied.diff() == todo.diff() == {"title": ("a", "b"), "tags": (["t"], ["u"])}
    copied.save()
    assert Todo.get("x").tags == ["u"]


@pytest.mark.parametrize("make", [copy.deepcopy, pickled, COPIES["deep model_copy"]])
def test_deep_copies_share_nothing(session: Session, make: Any) -> None:
    """A change in place of one is no change of the other."""
    todo = LOADED["saved"]()
    copied = make(todo)
    copied.tags.append("u")
    assert todo.tags == ["t"]
    assert (copied.diff(), todo.diff()) == ({"tags": (["t"], ["t", "u"])}, {})


@each_copy
def test_a_copy_of_a_new_object_is_new(wire: Wire, make: Any) -> None:
    """It is created by its save, like the original, under the same id."""
    todo = Todo(title="a")
    copied = make(todo)
    assert copied.is_new
    assert copied.id == todo.id
    copied.save()
    assert wire.methods == ["PUT"]
    assert todo.is_new


@each_copy
def test_a_copy_of_a_new_object_keeps_its_permissions(session: Session, make: Any) -> None:
    """Permissions that were given at creation go with the copy's creation."""
    copied = make(Todo(title="a", permissions={"read": [BOB]}))
    assert copied.permissions.read == {BOB}
    assert copied.save().permissions.read == {BOB}


@each_copy
def test_permissions_of_a_copy_are_its_own(session: Session, make: Any) -> None:
    """A grant in the copy is no grant in the original."""
    todo = LOADED["saved"]()
    todo.permissions.grant("read", BOB).save()
    copied = make(todo)
    copied.permissions.grant("read", Everyone)
    assert (todo.permissions.read, copied.permissions.read) == ({BOB}, {BOB, Everyone})
    copied.permissions.save()
    assert Todo.get("x").permissions.read == {BOB, Everyone}


@each_copy
def test_a_copy_carries_unsaved_grants(session: Session, make: Any) -> None:
    """They are sent by the copy's save, as a difference."""
    todo = LOADED["saved"]()
    todo.permissions.grant("read", BOB)
    copied = make(todo)
    assert copied.permissions.is_changed
    copied.save()
    assert Todo.get("x").permissions.read == {BOB}


@each_copy
def test_a_copy_keeps_what_is_not_loaded(session: Session, make: Any) -> None:
    """Permissions that were never fetched stay so, with the grants that wait."""
    LOADED["saved"]()
    listed = Todo.find().one()
    with pytest.raises(NotLoaded):
        make(listed).permissions.read
    listed.permissions.grant("read", BOB)
    copied = make(listed)
    with pytest.raises(NotLoaded):
        copied.permissions.read
    copied.permissions.save()
    assert Todo.get("x").permissions.read == {BOB}


@each_copy
def test_a_copy_of_a_partial_object_is_partial(session: Session, make: Any) -> None:
    """It cannot be saved, and its other fields are not loaded."""
    LOADED["saved"]()
    [partial] = Todo.find().only("title")
    copied = make(partial)
    assert copied.is_partial
    with pytest.raises(NotLoaded):
        copied.tags
    with pytest.raises(NotLoaded):
        copied.save()
    assert copied.refresh().tags == ["t"]


@each_copy
def test_a_copy_of_a_deleted_object_is_deleted(session: Session, make: Any) -> None:
    """Saving it is refused as for the original."""
    todo = LOADED["saved"]()
    todo.delete()
    with pytest.raises(Conflict, match="deleted"):
        make(todo).save()


@each_copy
def test_copies_of_untyped_records(session: Session, make: Any) -> None:
    """Their fields, and where they live, are kept."""
    record = Collection(id="todos").records.new(id="x", **{"due-date": "a"}).save()
    copied = make(record)
    copied["due-date"] = "b"
    copied.save()
    assert record.refresh()["due-date"] == "b"


def test_a_pickle_finds_the_current_session(session: Session) -> None:
    """A session is not pickled; the object uses the one that is current when it is used."""
    todo = LOADED["saved"]()
    data = pickle.dumps(todo)
    assert b"embedded" not in data
    assert pickle.loads(data).refresh() == todo


def test_model_copy_with_other_values(session: Session) -> None:
    """`update` is a change like any other."""
    todo = LOADED["saved"]()
    copied = todo.model_copy(update={"title": "b"})
    assert copied.diff() == {"title": ("a", "b")}
    copied.save()
    assert Todo.get("x").title == "b"


def test_a_copy_to_another_id_is_a_new_object(session: Session) -> None:
    """What is stored under the first id says nothing of the second."""
    todo = LOADED["saved"]()
    copied = todo.model_copy(update={"id": "y"})
    assert copied.is_new
    copied.save()
    assert (Todo.get("y").title, Todo.get("x").title) == ("a", "a")
