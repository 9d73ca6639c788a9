"""Permissions, answered by hand: differences only, made anew when somebody else was first."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from feeding import (
    NOW,
    asked,
    body,
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
    refuses,
    says,
    shows,
)
from kinto_orm import (
    BadReply,
    Collection,
    ConfigurationError,
    Conflict,
    Everyone,
    Forbidden,
    InvalidData,
    KintoError,
    NotFound,
    Record,
    TransportError,
)
from kinto_orm.models.permitting import (
    clearing_permissions,
    fetching_permissions,
    sending_permissions,
)
from kinto_orm.models.saving import saving
from kinto_orm.wire.messages import Reply

LATER = NOW + 1000
SCOPE = nowhere()
TODOS = "/buckets/b/collections/todos/records"
MINE = {"write": ["me"]}
REFUSED = refuses(400, 107)


class Todo(Record, collection="todos"):
    title: str


def saved(permissions: Any = MINE) -> Todo:
    """An object as it is after its creation."""
    todo = Todo(title="x")
    feed(saving(todo, SCOPE), shows(object_of(todo.id, title="x"), permissions, status=201))
    return todo


def granted(permissions: Any = MINE) -> Todo:
    todo = saved(permissions)
    todo.permissions.grant("read", Everyone)
    return todo


def revoked() -> Todo:
    todo = saved({"read": ["a", "b"], **MINE})
    todo.permissions.revoke("read", "a")
    return todo


def now(todo: Todo, *, title: str = "x", **permissions: list[str]) -> Reply:
    return shows(object_of(todo.id, LATER, title=title), permissions)


def test_nothing_to_send() -> None:
    """Nothing is asked."""
    assert feed(sending_permissions(saved())) == (None, [])


def test_a_difference() -> None:
    """A JSON-Patch of single principals, without a precondition; a batch must not carry it."""
    todo = granted()
    _, steps = feed(sending_permissions(todo), now(todo, read=[Everyone, "b"], write=["me"]))
    assert asked(steps) == [f"PATCH {TODOS}/{todo.id}"]
    assert "If-Match" not in steps[0].headers
    assert steps[0].alone
    assert body(steps[0]) == [{"op": "add", "path": f"/permissions/read/{Everyone}", "value": {}}]
    assert todo.permissions.read == {Everyone, "b"}
    assert not todo.permissions.is_changed
    assert todo.last_modified == LATER
    assert not todo.diff()


def test_what_is_not_known_is_fetched_first() -> None:
    """Who has it already needs no write."""
    todo = granted(None)
    answers = now(todo, write=["me"]), now(todo, read=[Everyone], write=["me"])
    _, steps = feed(sending_permissions(todo), *answers)
    assert [each.method for each in steps] == ["GET", "PATCH"]
    todo = granted(None)
    _, steps = feed(sending_permissions(todo), now(todo, read=[Everyone], write=["me"]))
    assert [each.method for each in steps] == ["GET"]
    assert not todo.permissions.is_changed


def test_somebody_took_one_away() -> None:
    """The whole patch is refused: it is made anew from what is there now."""
    todo = revoked()
    todo.permissions.grant("write", "c")
    answers = (
        copy.copy(REFUSED),
        now(todo, read=["b"], write=["me"]),
        now(todo, read=["b"], write=["c", "me"]),
    )
    _, steps = feed(sending_permissions(todo), *answers)
    assert [each.method for each in steps] == ["PATCH", "GET", "PATCH"]
    assert [each["op"] for each in body(steps[0])] == ["remove", "add"]
    assert [each["op"] for each in body(steps[2])] == ["add"]
    assert todo.permissions.read == {"b"}


def test_nothing_is_left_to_be_done() -> None:
    """Somebody else did the same: no second patch."""
    todo = revoked()
    _, steps = feed(
        sending_permissions(todo), copy.copy(REFUSED), now(todo, read=["b"], write=["me"])
    )
    assert [each.method for each in steps] == ["PATCH", "GET"]
    assert not todo.permissions.is_changed


def test_a_refusal_that_is_no_race() -> None:
    """What only adds is refused for another reason."""
    error, steps = fails(sending_permissions(granted()), InvalidData, copy.copy(REFUSED))
    assert len(steps) == 1
    assert "cannot save the permissions of Todo" in str(error)


def test_they_keep_changing() -> None:
    """After five times it is a Conflict, and the wish stays."""
    todo = revoked()
    answers = [copy.copy(REFUSED), now(todo, read=["a", "b"], write=["me"])] * 5
    error, steps = fails(sending_permissions(todo), Conflict, *answers)
    assert len(steps) == 10
    assert "keep changing" in str(error)
    assert error.local is todo
    assert todo.permissions.is_changed
    with pytest.raises(Conflict):
        error.merge(prefer="local")  # type: ignore[union-attr]  # it is there: it is not to be created


def test_a_list_that_is_not_there_is_guarded() -> None:
    """Making it would empty one that somebody else has just made."""
    collection = Collection(id="todos", bucket="b")
    feed(saving(collection, SCOPE), shows(object_of("todos"), MINE, status=201))
    collection.permissions.grant("record:create", Everyone)
    others = {"record:create": ["other"], **MINE}
    both = {"record:create": [Everyone, "other"], **MINE}
    answers = (
        is_there(object_of("todos", LATER)),
        shows(object_of("todos", LATER), others),
        shows(object_of("todos", LATER + 1), both),
    )
    _, steps = feed(sending_permissions(collection), *answers)
    assert steps[0].headers["If-Match"] == f'"{NOW}"'
    assert len(body(steps[0])) == 2
    assert "If-Match" not in steps[2].headers
    assert len(body(steps[2])) == 1
    assert collection.permissions.record_create == {Everyone, "other"}


def test_the_server_does_not_show_them() -> None:
    """Nothing can be taken away then; what was to be done is said."""
    todo = saved({})
    todo.permissions.revoke("read", "a")
    error, steps = fails(sending_permissions(todo), Forbidden, now(todo))
    assert "shows them only to those who may write" in str(error)
    assert len(steps) == 1


def test_a_new_object_has_none_to_be_saved() -> None:
    """They go with its creation."""
    todo = Todo(title="x")
    todo.permissions.grant("read", Everyone)
    error, steps = fails(sending_permissions(todo, None, SCOPE), ConfigurationError)
    assert not steps
    assert "save the object itself first" in str(error)


def test_what_lives_elsewhere() -> None:
    """Nothing is sent."""
    flow = sending_permissions(granted(), None, SCOPE.scoped(bucket="other"))
    assert not fails(flow, ConfigurationError)[1]


def test_a_change_of_somebody_else_stays_a_conflict() -> None:
    """The answer shows other data than was loaded: its timestamp is not taken."""
    todo = granted()
    todo.title = "mine"
    feed(sending_permissions(todo), now(todo, title="theirs", read=[Everyone], write=["me"]))
    assert todo.last_modified == NOW
    assert todo.diff() == {"title": ("x", "mine")}
    _, steps = fails(
        saving(todo, None), Conflict, is_there(object_of(todo.id, LATER, title="theirs"))
    )
    assert steps[0].headers["If-Match"] == f'"{NOW}"'


def test_own_changes_stay_own() -> None:
    """The timestamp is taken, so that the next save meets no conflict of one's own making."""
    todo = granted()
    todo.title = "mine"
    feed(sending_permissions(todo), now(todo, read=[Everyone], write=["me"]))
    assert todo.last_modified == LATER
    assert todo.diff() == {"title": ("x", "mine")}


@pytest.mark.parametrize(
    "failure",
    [
        no_answer(),
        no_connection(),
        busy(),
        gateway(504),
        gateway(412),
        forbids(),
        is_missing(),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("make", [granted, revoked, lambda: granted(None)])
def test_a_failure_keeps_the_wish(failure: Any, make: Callable[[], Todo]) -> None:
    """It can be saved again, and says the same."""
    todo = make()
    blind = not todo.permissions.is_loaded
    expected = type(failure) if isinstance(failure, BaseException) else KintoError
    fails(sending_permissions(todo), expected, copy.copy(failure))
    assert todo.permissions.is_changed
    assert todo.permissions.is_loaded is not blind
    assert not todo.diff()


def test_it_is_gone() -> None:
    """A NotFound."""
    fails(sending_permissions(granted()), NotFound, is_missing())


ODD: list[Callable[[Todo], Reply]] = [
    lambda todo: shows(object_of("other", LATER, title="x"), MINE),
    lambda todo: shows({"id": todo.id, "title": "x"}, MINE),
    lambda todo: says(200, {"data": object_of(todo.id), "permissions": ["read"]}),
    lambda todo: says(200, {"data": object_of(todo.id), "permissions": {"read": "a"}}),
    lambda todo: says(200, {"permissions": MINE}),
    lambda todo: Reply(200, {}, b"<html>"),
]
FLOWS = [sending_permissions, fetching_permissions, clearing_permissions]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("flow", FLOWS)
def test_odd_answers(odd: Callable[[Todo], Reply], flow: Callable[[Todo], Any]) -> None:
    """Nothing of them is believed."""
    todo = granted()
    fails(flow(todo), BadReply, odd(todo))
    assert todo.permissions.is_changed
    assert todo.permissions.write == {"me"}
    assert todo.last_modified == NOW


def test_they_are_fetched() -> None:
    """What is not saved is dropped by who asked for them; the flow only gives them."""
    todo = granted()
    found, steps = feed(fetching_permissions(todo), now(todo, read=["a"], write=["me"]))
    assert asked(steps) == [f"GET {TODOS}/{todo.id}"]
    assert found.read == {"a"}
    assert todo.permissions.is_changed


def test_they_are_cleared() -> None:
    """Each list that such an object has; who asks stays in `write`."""
    todo = granted({"read": ["a"], **MINE})
    _, steps = feed(clearing_permissions(todo), now(todo, write=["me"]))
    assert body(steps[0]) == {"permissions": {"read": [], "write": []}}
    assert todo.permissions.read == set()
    assert not todo.permissions.is_changed


@pytest.mark.parametrize("way", ["permissions", "object"])
def test_a_revoke_after_a_lost_grant(way: str) -> None:
    """The server may have the grant: the revoke is sent, after a look."""
    todo = saved()
    todo.permissions.grant("read", "a")
    if way == "permissions":
        fails(sending_permissions(todo), TransportError, no_answer())
    else:
        fails(saving(todo, None), TransportError, no_answer())
    assert todo.permissions.is_changed
    todo.permissions.revoke("read", "a")
    assert todo.permissions.is_changed
    there = shows(object_of(todo.id), {"read": ["a"], "write": ["me"]})
    gone = shows(object_of(todo.id, NOW + 1), {"write": ["me"]})
    _, steps = feed(sending_permissions(todo), there, gone)
    assert body(steps[1])[-1] == {"op": "remove", "path": "/permissions/read/a"}
    assert todo.permissions.read == set()
    assert not todo.permissions.is_changed


@pytest.mark.parametrize("at", [NOW, NOW - 1])
def test_an_old_answer_to_a_revoke(at: int) -> None:
    """A proxy repeats it: the revoke stays to be saved, and the next save looks."""
    todo = saved({"read": ["a"], "write": ["me"]})
    todo.permissions.revoke("read", "a")
    old = shows(object_of(todo.id, at, title="x"), {"read": ["a"], "write": ["me"]})
    error, _ = fails(sending_permissions(todo), BadReply, old)
    assert error.lost
    assert todo.permissions.is_changed
    there = shows(object_of(todo.id, title="x"), {"read": ["a"], "write": ["me"]})
    gone = shows(object_of(todo.id, LATER, title="x"), {"write": ["me"]})
    feed(sending_permissions(todo), there, gone)
    assert todo.permissions.read == set()
    assert not todo.permissions.is_changed
