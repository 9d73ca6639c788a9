"""Deleting, answered by hand: what is gone, who deleted it, and what the object believes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from feeding import (
    NOW,
    after_loss,
    asked,
    busy,
    fails,
    feed,
    forbids,
    gateway,
    is_missing,
    is_there,
    no_answer,
    no_connection,
    nowhere,
    object_of,
    says,
    shows,
)
from kinto_orm import (
    BadReply,
    ConfigurationError,
    Conflict,
    Forbidden,
    Group,
    KintoError,
    Record,
    Tombstone,
)
from kinto_orm.models.deleting import deleting
from kinto_orm.models.saving import saving
from kinto_orm.models.state import state_of
from kinto_orm.wire.messages import Reply

LATER = NOW + 1000
SCOPE = nowhere()
TODOS = "/buckets/b/collections/todos/records"


class Todo(Record, collection="todos"):
    title: str


def saved() -> Todo:
    """An object as it is after its creation."""
    todo = Todo(title="x")
    answer = shows(object_of(todo.id, title="x"), {"write": ["me"]}, status=201)
    feed(saving(todo, SCOPE), answer)
    return todo


def tombstone(todo: Todo, when: int = LATER) -> Reply:
    return says(200, {"data": {"id": todo.id, "last_modified": when, "deleted": True}})


def test_a_deletion() -> None:
    """Of what was seen, and of nothing newer; then the object knows that it is gone."""
    todo = saved()
    found, steps = feed(deleting(todo, None), tombstone(todo))
    assert found == Tombstone(todo.id, LATER)
    assert asked(steps) == [f"DELETE {TODOS}/{todo.id}"]
    assert steps[0].headers == {"If-Match": f'"{NOW}"'}
    assert not steps[0].alone
    assert not todo.is_new
    assert todo.diff() == {"title": (None, "x")}


def test_a_forced_deletion() -> None:
    """Without a precondition, also of what was never seen here."""
    for todo in (saved(), Todo(title="x")):
        _, steps = feed(deleting(todo, SCOPE, force=True), tombstone(todo))
        assert steps[0].headers == {}
        assert not todo.is_new


def test_what_was_never_seen_is_not_deleted() -> None:
    """Nothing is sent."""
    todo = Todo(title="x")
    error, steps = fails(deleting(todo, SCOPE), ConfigurationError)
    assert not steps
    assert "delete(force=True)" in str(error)
    assert todo.is_new
    assert not state_of(todo).doubt


def test_what_lives_elsewhere_is_not_deleted_here() -> None:
    """Nothing is sent."""
    flow = deleting(saved(), SCOPE.scoped(bucket="other"))
    assert not fails(flow, ConfigurationError)[1]


def test_structure_goes_alone() -> None:
    """A batch carries records only."""
    group = Group(id="g", bucket="b")
    answer = says(200, {"data": {"id": "g", "last_modified": LATER, "deleted": True}})
    assert feed(deleting(group, SCOPE, force=True), answer)[1][0].alone


def test_it_was_changed() -> None:
    """The Conflict shows what is there; the object is not gone."""
    todo = saved()
    error, _ = fails(
        deleting(todo, None), Conflict, is_there(object_of(todo.id, LATER, title="theirs"))
    )
    assert (error.remote.title, error.base.title, error.local) == ("theirs", "x", todo)
    assert not error.unconfirmed
    assert not state_of(todo).gone
    assert error.merge() is todo
    _, steps = feed(deleting(todo, None), tombstone(todo, LATER + 1))
    assert steps[0].headers == {"If-Match": f'"{LATER}"'}


@pytest.mark.parametrize("missing", [is_missing(), is_missing("collection")])
@pytest.mark.parametrize("lost", [False, True])
def test_it_is_gone_already(missing: Reply, lost: bool) -> None:
    """After a loss this call may have deleted it; without one it was somebody else."""
    todo = saved()
    answer = copy.copy(missing)
    error, _ = fails(deleting(todo, None), Conflict, after_loss(answer) if lost else answer)
    assert error.unconfirmed is lost
    assert error.remote is None
    assert "It is gone already" in str(error)


@pytest.mark.parametrize("lost", [False, True])
def test_missing_is_ok(lost: bool) -> None:
    """When it was deleted is not known."""
    todo = saved()
    answer = after_loss(is_missing()) if lost else is_missing()
    assert feed(deleting(todo, None, missing_ok=True), answer)[0] == Tombstone(todo.id, None)
    assert state_of(todo).gone


LOST = [
    no_answer(),
    gateway(502),
    gateway(504),
    gateway(404),
    says(500, {"errno": 999}),
    Reply(200, {}, b"<html>"),
    KeyboardInterrupt(),
]
CERTAIN = [no_connection(), busy(503), busy(409), says(401, {"errno": 104}), forbids()]


@pytest.mark.parametrize("failure", LOST, ids=repr)
def test_a_loss_is_remembered(failure: Any) -> None:
    """The next call may find it gone by this one."""
    todo = saved()
    expected = type(failure) if isinstance(failure, BaseException) else KintoError
    fails(deleting(todo, None), expected, copy.copy(failure))
    assert not state_of(todo).gone
    assert not todo.diff()
    error, _ = fails(deleting(todo, None), Conflict, is_missing())
    assert error.unconfirmed


@pytest.mark.parametrize("failure", CERTAIN, ids=repr)
def test_what_was_not_done_is_no_doubt(failure: Any) -> None:
    """Then it was somebody else who deleted it."""
    todo = saved()
    fails(deleting(todo, None), KintoError, copy.copy(failure))
    error, _ = fails(deleting(todo, None), Conflict, is_missing())
    assert not error.unconfirmed


def test_it_was_loaded_from_there() -> None:
    """Who may not delete it is told so, and not to make a bucket."""
    error, _ = fails(deleting(saved(), None), Forbidden, forbids())
    assert "you lack the permission 'write'" in str(error)


ODD: list[Callable[[Todo], Reply]] = [
    lambda todo: says(200, {"data": {"id": "y", "last_modified": LATER, "deleted": True}}),
    lambda todo: shows(object_of(todo.id, LATER, title="x")),
    lambda todo: shows({"id": todo.id, "deleted": True}),
    lambda todo: shows({"id": todo.id, "last_modified": LATER, "deleted": "yes"}),
    lambda todo: says(200, {"data": []}),
    lambda todo: says(200, {}),
    lambda todo: Reply(204, {}, b""),
    lambda todo: Reply(304, {}, b""),
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("missing_ok", [False, True])
def test_odd_answers(odd: Callable[[Todo], Reply], missing_ok: bool) -> None:
    """That it is gone is believed only of an answer that says it, of this object."""
    todo = saved()
    fails(deleting(todo, None, missing_ok=missing_ok), BadReply, odd(todo))
    assert not state_of(todo).gone
    assert state_of(todo).doubt
    assert not todo.diff()
