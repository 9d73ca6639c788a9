"""Refreshing, answered by hand: what is taken of an answer, and what is kept of one's own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import model_validator

from feeding import (
    NOW,
    asked,
    busy,
    fails,
    feed,
    forbids,
    gateway,
    is_missing,
    is_there,
    no_answer,
    nowhere,
    object_of,
    says,
    shows,
)
from kinto_orm import (
    BadReply,
    ConfigurationError,
    Conflict,
    Everyone,
    Forbidden,
    InvalidData,
    KintoError,
    NotFound,
    Record,
)
from kinto_orm.models.refreshing import refreshing
from kinto_orm.models.saving import saving
from kinto_orm.models.state import state_of
from kinto_orm.wire.messages import Reply

LATER = NOW + 1000
SCOPE = nowhere()
TODOS = "/buckets/b/collections/todos/records"
MINE = {"write": ["me"]}


class Todo(Record, collection="todos"):
    title: str
    n: int = 0


class Ordered(Record, collection="todos"):
    low: int
    high: int

    @model_validator(mode="after")
    def _check(self) -> Ordered:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


def saved(permissions: Any = MINE) -> Todo:
    """An object as it is after its creation."""
    todo = Todo(title="x")
    answer = shows(object_of(todo.id, title="x", n=0), permissions, status=201)
    feed(saving(todo, SCOPE), answer)
    return todo


def theirs(todo: Todo, permissions: Any = MINE, **fields: Any) -> Reply:
    return shows(object_of(todo.id, LATER, **{"title": "theirs", "n": 0, **fields}), permissions)


def not_modified() -> Reply:
    return Reply(304, {"ETag": f'"{NOW}"'}, b"")


def test_nothing_newer() -> None:
    """Asked with what is known; the object stays, without its changes."""
    todo = saved()
    todo.title = "mine"
    found, steps = feed(refreshing(todo, None), not_modified())
    assert found is todo
    assert asked(steps) == [f"GET {TODOS}/{todo.id}"]
    assert steps[0].headers == {"If-None-Match": f'"{NOW}"'}
    assert (todo.title, todo.diff()) == ("x", {})


def test_nothing_newer_and_changes_kept() -> None:
    """They are still to be saved."""
    todo = saved()
    todo.title = "mine"
    feed(refreshing(todo, None, keep_changes=True), not_modified())
    assert todo.diff() == {"title": ("x", "mine")}


def test_something_newer() -> None:
    """It is taken with its timestamp and its permissions."""
    todo = saved()
    todo.n = 5
    feed(refreshing(todo, None), theirs(todo, {"read": [Everyone], **MINE}))
    assert (todo.title, todo.n, todo.last_modified, todo.diff()) == ("theirs", 0, LATER, {})
    assert todo.permissions.read == {Everyone}


def test_something_newer_and_changes_kept() -> None:
    """The own changes go on top of theirs."""
    todo = saved()
    todo.n = 5
    feed(refreshing(todo, None, keep_changes=True), theirs(todo))
    assert (todo.title, todo.n, todo.last_modified) == ("theirs", 5, LATER)
    assert todo.diff() == {"n": (0, 5)}


def test_what_does_not_fit_together() -> None:
    """Nothing has changed then, neither the object nor what it knows."""
    span = Ordered(low=1, high=9)
    feed(saving(span, SCOPE), shows(object_of(span.id, low=1, high=9), MINE, status=201))
    span.low = 5
    answer = shows(object_of(span.id, LATER, low=1, high=2), MINE)
    error, _ = fails(refreshing(span, None, keep_changes=True), InvalidData, answer)
    assert "The object is as it was" in str(error)
    assert (span.low, span.high, span.last_modified) == (5, 9, NOW)
    assert span.diff() == {"low": (1, 5)}


@pytest.mark.parametrize("make", [lambda: saved(None), lambda: Todo(title="x")])
def test_what_is_asked_for_whole(make: Callable[[], Todo]) -> None:
    """Where the permissions are not known, or nothing is, a 304 would not be enough."""
    todo = make()
    _, steps = feed(refreshing(todo, SCOPE), theirs(todo))
    assert steps[0].headers == {}
    assert (todo.title, todo.is_new) == ("theirs", False)
    assert todo.permissions.write == {"me"}


def test_pending_permissions_are_dropped_or_kept() -> None:
    """As the other changes are."""
    for keep in (False, True):
        todo = saved()
        todo.permissions.grant("read", Everyone)
        _, steps = feed(refreshing(todo, None, keep_changes=keep), theirs(todo))
        assert (steps[0].headers == {}) is not keep
        assert todo.permissions.is_changed is keep
        assert todo.permissions.read == ({Everyone} if keep else set())


def test_a_304_that_was_not_asked_for() -> None:
    """There is nothing that it could mean."""
    todo = saved()
    fails(refreshing(todo, None, whole=True), BadReply, not_modified())
    assert (todo.title, todo.last_modified) == ("x", NOW)


@pytest.mark.parametrize("missing", [is_missing(), is_missing("collection")])
def test_it_is_gone(missing: Reply) -> None:
    """The object is as it was: what becomes of it is the program's choice."""
    todo = saved()
    todo.title = "mine"
    fails(refreshing(todo, None), NotFound, copy.copy(missing))
    assert todo.diff() == {"title": ("x", "mine")}
    assert not state_of(todo).gone


def test_it_may_not_be_read_any_more() -> None:
    """It was loaded from there, so that the bucket is not missing."""
    error, _ = fails(refreshing(saved(), None), Forbidden, forbids())
    assert "you lack the permission 'read'" in str(error)


@pytest.mark.parametrize(
    "failure", [no_answer(), busy(), gateway(504), says(500, {}), KeyboardInterrupt()], ids=repr
)
def test_a_read_leaves_no_doubt(failure: Any) -> None:
    """Nothing can have been done."""
    todo = saved()
    todo.title = "mine"
    expected = type(failure) if isinstance(failure, BaseException) else KintoError
    fails(refreshing(todo, None), expected, copy.copy(failure))
    assert not state_of(todo).doubt
    assert todo.diff() == {"title": ("x", "mine")}


def test_a_refresh_ends_a_doubt() -> None:
    """What is there is known then, so that a later conflict is somebody else's."""
    todo = saved()
    todo.title = "mine"
    fails(saving(todo, None), KintoError, no_answer())
    feed(refreshing(todo, None, keep_changes=True), theirs(todo))
    error, _ = fails(
        saving(todo, None), Conflict, is_there(object_of(todo.id, LATER + 1, title="mine", n=0))
    )
    assert not error.unconfirmed


ODD: list[Callable[[Todo], Reply]] = [
    lambda todo: shows(object_of("other", LATER, title="theirs", n=0), MINE),
    lambda todo: shows({"id": todo.id, "title": "theirs", "n": 0}, MINE),
    lambda todo: shows({"last_modified": LATER, "title": "theirs"}, MINE),
    lambda todo: says(200, {"data": []}),
    lambda todo: says(200, {"data": None}),
    lambda todo: says(200, {}),
    lambda todo: says(200, []),
    lambda todo: Reply(200, {}, b"<html>"),
    lambda todo: Reply(200, {}, b""),
    lambda todo: gateway(404),
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("keep", [False, True])
def test_odd_answers(odd: Callable[[Todo], Reply], keep: bool) -> None:
    """Nothing of them is believed."""
    todo = saved()
    todo.n = 5
    fails(refreshing(todo, None, keep_changes=keep), BadReply, odd(todo))
    assert (todo.title, todo.n, todo.last_modified) == ("x", 5, NOW)
    assert todo.diff() == {"n": (0, 5)}
    assert todo.permissions.write == {"me"}


def test_what_does_not_fit_the_model() -> None:
    """The object is as it was."""
    todo = saved()
    todo.n = 5
    fails(refreshing(todo, None), InvalidData, theirs(todo, title=7))
    assert (todo.title, todo.n, todo.last_modified) == ("x", 5, NOW)
    assert todo.diff() == {"n": (0, 5)}


def test_what_lives_elsewhere() -> None:
    """Nothing is sent."""
    flow = refreshing(saved(), SCOPE.scoped(bucket="other"))
    assert not fails(flow, ConfigurationError)[1]
