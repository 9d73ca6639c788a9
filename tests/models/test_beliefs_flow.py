"""What an object believes after lost, old, late and foreign answers, by flows fed by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from feeding import (
    NOW,
    asked,
    body,
    fails,
    feed,
    is_missing,
    is_there,
    no_answer,
    nowhere,
    object_of,
    says,
    shows,
)
from kinto_orm import BadReply, Conflict, Everyone, Record
from kinto_orm.models.deleting import deleting
from kinto_orm.models.permitting import sending_permissions
from kinto_orm.models.refreshing import refreshing
from kinto_orm.models.saving import saving
from kinto_orm.models.state import state_of
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Reply

LATER = NOW + 1000
SCOPE = nowhere()
INTERRUPTS = [KeyboardInterrupt(), asyncio.CancelledError(), no_answer()]


class Todo(Record, collection="todos"):
    title: str
    n: int = 0


def there(todo: Todo, last_modified: int = NOW, **other: Any) -> Reply:
    """What shows the object as a server has it."""
    data: dict[str, Any] = {"title": todo.title, "n": todo.n, **other}
    return shows(object_of(todo.id, last_modified, **data), {"write": ["me"]})


def saved() -> Todo:
    todo = Todo(title="x")
    feed(saving(todo, SCOPE), there(todo))
    return todo


def doubted(error: BaseException) -> Todo:
    """An object whose change was on its way when nobody waited any more, and is taken back."""
    todo = saved()
    todo.title = "mine"
    with pytest.raises(type(error)):
        feed(saving(todo, SCOPE), error)
    todo.title = "x"
    return todo


def ended(flow: Flow[Any], answer: Reply) -> Any:
    """What a flow gives that waits for its last answer."""
    with pytest.raises(StopIteration) as end:
        flow.send(answer)
    return end.value.value


# Nothing is to be sent, and an answer was lost


@pytest.mark.parametrize("error", INTERRUPTS, ids=repr)
def test_what_was_taken_back_is_looked_at(error: BaseException) -> None:
    """A change whose answer was lost may be there: "unchanged" has to be seen."""
    todo = doubted(error)
    result, steps = feed(saving(todo, SCOPE), there(todo))
    assert (result, asked(steps)[0].split()[0]) == ("unchanged", "GET")
    assert not state_of(todo).doubt
    assert feed(saving(todo, SCOPE)) == ("unchanged", [])


def test_what_was_taken_back_is_there() -> None:
    """Then it is for the program to say which it wants."""
    todo = doubted(no_answer())
    conflict, _ = fails(saving(todo, SCOPE), Conflict, there(todo, LATER, title="mine"))
    assert (conflict.unconfirmed, conflict.remote.title) == (True, "mine")
    merged = conflict.merge()
    assert (merged.title, merged.last_modified) == ("mine", LATER)
    assert feed(saving(merged, SCOPE)) == ("unchanged", [])


def test_what_was_put_back_by_somebody_else() -> None:
    """The same value under a later timestamp is what the object says, too."""
    todo = doubted(no_answer())
    assert feed(saving(todo, SCOPE), there(todo, LATER))[0] == "unchanged"
    assert todo.last_modified == LATER
    assert not todo.diff()


def test_a_deletion_whose_answer_was_lost() -> None:
    """An unchanged object that may be gone is looked at."""
    todo = saved()
    with pytest.raises(KeyboardInterrupt):
        feed(deleting(todo, SCOPE), KeyboardInterrupt())
    conflict, _ = fails(saving(todo, SCOPE), Conflict, is_missing())
    assert (conflict.unconfirmed, conflict.remote) == (True, None)


@pytest.mark.parametrize("error", INTERRUPTS, ids=repr)
def test_a_grant_that_was_taken_back(error: BaseException) -> None:
    """It may be there: the server is asked, and what is there too much is taken away."""
    todo = saved()
    todo.permissions.grant("read", Everyone)
    with pytest.raises(type(error)):
        feed(sending_permissions(todo), error)
    todo.permissions.revoke("read", Everyone)
    granted = {"write": ["me"], "read": [Everyone]}
    stored = object_of(todo.id, LATER, title="x", n=0)
    _, steps = feed(sending_permissions(todo), shows(stored, granted), there(todo, LATER + 1))
    assert [each["op"] for each in body(steps[1])] == ["remove"]
    assert not todo.permissions.is_changed


# What was changed while a request was under way


@pytest.mark.parametrize("extra", [{}, {"schema": 5}])
def test_a_change_while_a_creation_is_under_way(extra: dict[str, Any]) -> None:
    """It stays to be saved, whatever the server adds."""
    todo = Todo(title="x")
    flow = saving(todo, SCOPE)
    next(flow)
    answer = there(todo, **extra)
    todo.title = "later"
    ended(flow, answer)
    assert todo.diff() == {"title": ("x", "later")}
    _, steps = feed(saving(todo, SCOPE), there(todo, LATER, **extra))
    assert body(steps[0]) == {"data": {"title": "later"}}


@pytest.mark.parametrize("extra", [{}, {"schema": 5}])
def test_changes_while_a_change_is_under_way(extra: dict[str, Any]) -> None:
    """Of the field that is sent, of another one, and back to what it was."""
    todo = saved()
    todo.title = "mine"
    flow = saving(todo, SCOPE)
    next(flow)
    answer = there(todo, LATER, **extra)
    todo.title, todo.n = "x", 5
    ended(flow, answer)
    assert todo.diff() == {"title": ("mine", "x"), "n": (0, 5)}


def test_a_change_while_a_refresh_is_under_way() -> None:
    """It is among what `keep_changes` keeps."""
    todo = saved()
    flow = refreshing(todo, SCOPE, keep_changes=True)
    next(flow)
    todo.n = 5
    ended(flow, there(todo, LATER, title="theirs", n=0))
    assert (todo.title, todo.n) == ("theirs", 5)
    assert todo.diff() == {"n": (0, 5)}


# Answers that come late, when another task of the program has a newer one


def test_a_late_answer_to_a_save() -> None:
    """What the object knows by now stays."""
    todo = saved()
    todo.title = "mine"
    flow = saving(todo, SCOPE)
    next(flow)
    late = there(todo, LATER)
    feed(refreshing(todo, SCOPE), there(todo, LATER + 5, title="theirs"))
    todo.n = 7
    assert ended(flow, late) == "updated"
    assert (todo.title, todo.n, todo.last_modified) == ("theirs", 7, LATER + 5)
    assert todo.diff() == {"n": (0, 7)}


def test_a_late_answer_to_a_refresh() -> None:
    """It is of before the save that was made meanwhile."""
    todo = saved()
    flow = refreshing(todo, SCOPE)
    next(flow)
    late = there(todo, LATER, title="old")
    todo.title = "mine"
    feed(saving(todo, SCOPE), there(todo, LATER + 5))
    assert ended(flow, late) is todo
    assert (todo.title, todo.last_modified, todo.diff()) == ("mine", LATER + 5, {})


def test_a_merge_of_an_old_conflict() -> None:
    """The object was brought up to date since."""
    todo = saved()
    todo.title = "mine"
    theirs = object_of(todo.id, LATER, title="theirs", n=0)
    conflict, _ = fails(saving(todo, SCOPE), Conflict, is_there(theirs))
    feed(refreshing(todo, SCOPE), there(todo, LATER + 5, title="newer"))
    assert conflict.merge() is todo
    assert (todo.title, todo.last_modified) == ("newer", LATER + 5)


# Answers of another time


@pytest.mark.parametrize("when", [NOW - 1, NOW])
def test_a_tombstone_of_an_earlier_deletion(when: int) -> None:
    """The object is not known to be gone: the next attempt looks."""
    todo = saved()
    tombstone = says(200, {"data": {"id": todo.id, "last_modified": when, "deleted": True}})
    error, _ = fails(deleting(todo, SCOPE), BadReply, tombstone)
    assert error.lost
    assert not state_of(todo).gone
    conflict, _ = fails(deleting(todo, SCOPE), Conflict, is_missing())
    assert conflict.unconfirmed


def test_a_creation_that_is_answered_as_another_one_was() -> None:
    """An object of an id of its own choice: somebody else's value is no belief."""
    todo = Todo(id="chosen", title="x", n=99)
    error, _ = fails(saving(todo, SCOPE), BadReply, there(todo, n=0))
    assert error.lost
    assert (todo.n, todo.is_new) == (99, True)
