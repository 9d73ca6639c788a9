"""Saving, answered by hand: whose write was it, and what the object believes afterwards.

A write may be taken for one's own only if an answer was lost and nobody else can have written it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from feeding import (
    NOW,
    after_loss,
    asked,
    body,
    busy,
    fails,
    feed,
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
    ConfigurationError,
    Conflict,
    Everyone,
    Group,
    InvalidData,
    KintoError,
    NotLoaded,
    Record,
    ServerError,
    Timeout,
    TransportError,
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
    n: int = 0


class Numbered(Record, collection="todos", id_factory=lambda: "n1"):
    title: str


class Aliased(Record, collection="todos"):
    title: str = Field(alias="t")


def stored(todo: Any, last_modified: int = NOW, **other: Any) -> dict[str, Any]:
    """What a server has that stored an object as it is."""
    data = todo.model_dump(mode="json", exclude={"id", "last_modified"})
    return object_of(todo.id, last_modified, **{**data, **other})


def saved(**fields: Any) -> Todo:
    """An object as it is after its creation."""
    todo = Todo(**{"title": "x", **fields})
    feed(saving(todo, SCOPE), shows(stored(todo), {"write": ["me"]}, status=201))
    return todo


def changed(**fields: Any) -> Todo:
    """An object with a change that is not saved."""
    todo = saved(**fields)
    todo.title = "mine"
    return todo


# Creation


def test_a_creation() -> None:
    """A PUT that overwrites nothing; then the object is what is there."""
    todo = Todo(title="x")
    result, steps = feed(saving(todo, SCOPE), shows(stored(todo), {"write": ["me"]}, status=201))
    assert result == "created"
    assert asked(steps) == [f"PUT {TODOS}/{todo.id}"]
    assert steps[0].headers == {"If-None-Match": "*"}
    assert body(steps[0]) == {"data": {"title": "x", "n": 0}}
    assert not todo.is_new
    assert todo.last_modified == NOW
    assert not todo.diff()
    assert todo.permissions.write == {"me"}
    assert feed(saving(todo, SCOPE)) == ("unchanged", [])


def test_what_the_server_makes_of_it_is_taken() -> None:
    """A plugin of the server may add fields; and change them, where nobody else can write."""
    todo = Todo(title="x")
    feed(saving(todo, SCOPE), shows(stored(todo, title="X", stamp=5), status=201))
    assert (todo.title, todo["stamp"]) == ("X", 5)
    assert not todo.diff()
    todo.title = "Y"
    feed(saving(todo, SCOPE), shows(stored(todo, LATER, title="Y", stamp=6)))
    assert (todo.title, todo["stamp"], todo.diff()) == ("Y", 6, {})


@pytest.mark.parametrize(
    "data",
    [
        {"title": "theirs", "n": 0},
        {"title": "x", "n": 0},
        {"n": 0},
    ],
)
def test_an_answer_that_shows_something_else(data: dict[str, Any]) -> None:
    """It may be that of another write: it is not believed, and the next save looks."""
    todo = changed()
    answer = shows(object_of(todo.id, LATER, **data))
    error, _ = fails(saving(todo, SCOPE), BadReply, answer)
    assert error.lost
    assert state_of(todo).doubt
    assert todo.diff() == {"title": ("x", "mine")}
    assert todo.last_modified == NOW


def test_an_older_answer_that_shows_the_same() -> None:
    """The object had this value before; the answer is that of then."""
    todo = changed()
    fails(saving(todo, SCOPE), BadReply, shows(stored(todo, NOW - 5)))
    assert (state_of(todo).doubt, todo.last_modified) == (True, NOW)


def test_a_timestamp_of_ones_own() -> None:
    """It goes with the data; one that would not be kept is refused before anything is sent."""
    todo = Todo(title="x")
    flow = saving(todo, SCOPE, last_modified=NOW)
    _, steps = feed(flow, shows(stored(todo), status=201))
    assert body(steps[0])["data"]["last_modified"] == NOW
    for bad in (NOW, NOW - 1, 0, "5", 1.5):
        assert not fails(saving(todo, SCOPE, last_modified=bad), InvalidData)[1]
    _, steps = feed(saving(todo, SCOPE, last_modified=LATER), shows(stored(todo, LATER)))
    assert body(steps[0]) == {"data": {"last_modified": LATER}}
    assert todo.last_modified == LATER


def test_somebody_else_was_first() -> None:
    """Another object is there: the Conflict shows it, and the own one stays new."""
    todo = Todo(id="given", title="mine")
    error, _ = fails(saving(todo, SCOPE), Conflict, is_there(stored(todo, title="theirs")))
    assert (error.base, error.local, error.remote.title) == (None, todo, "theirs")
    assert error.fields == {"title"}
    assert not error.unconfirmed
    assert todo.is_new
    assert (todo.title, todo.last_modified) == ("mine", None)


def test_a_given_id_without_a_loss() -> None:
    """Somebody wrote the same: that is certain, for nothing was lost."""
    todo = Todo(id="given", title="x")
    error, _ = fails(saving(todo, SCOPE), Conflict, is_there(stored(todo)))
    assert not error.unconfirmed
    assert not error.fields
    assert error.remote == error.merge()
    assert feed(saving(todo, SCOPE)) == ("unchanged", [])


def test_an_own_id_without_a_loss() -> None:
    """Even under a random id: an answer that was not lost is believed."""
    todo = Todo(title="x")
    error, _ = fails(saving(todo, SCOPE), Conflict, is_there(stored(todo)))
    assert not error.unconfirmed
    assert todo.is_new


def test_an_own_write_is_known() -> None:
    """Lost, equal, and under an id that nobody else has: it is this very creation."""
    todo = Todo(title="x")
    flow = saving(todo, SCOPE)
    result, steps = feed(flow, after_loss(is_there(stored(todo))))
    assert (result, len(steps)) == ("created", 1)
    assert not todo.is_new
    assert todo.last_modified == NOW
    assert not todo.diff()


def test_another_write_under_an_own_id() -> None:
    """After a loss it may have been changed since, by somebody who saw it."""
    todo = Todo(title="mine")
    there = after_loss(is_there(stored(todo, title="theirs")))
    error, _ = fails(saving(todo, SCOPE), Conflict, there)
    assert error.unconfirmed
    assert error.fields == {"title"}


def test_an_added_field_is_another_value() -> None:
    """What is there has to be what was sent, no more and no less."""
    todo = Todo(title="x")
    error, _ = fails(saving(todo, SCOPE), Conflict, after_loss(is_there(stored(todo, more=1))))
    assert error.unconfirmed
    assert todo.is_new


def known() -> Todo:
    return Todo(id="given", title="x")


def copied() -> Todo:
    return copy.copy(Todo(title="x"))


def gone() -> Todo:
    """One that others had, too, before it was deleted."""
    todo = changed()
    error, _ = fails(saving(todo, SCOPE), Conflict, is_missing())
    error.merge(prefer="local")
    return todo


def made() -> Numbered:
    return Numbered(title="x")


@pytest.mark.parametrize("make", [known, copied, gone, made])
def test_an_id_that_others_may_have(make: Callable[[], Any]) -> None:
    """Lost and equal is no proof: nothing tells whose write it was."""
    todo = make()
    assert todo.is_new
    error, _ = fails(saving(todo, SCOPE), Conflict, after_loss(is_there(stored(todo))))
    assert error.unconfirmed
    assert not error.fields
    assert "nothing tells which" in str(error)
    assert todo.is_new
    assert error.merge() is todo
    assert not todo.is_new
    assert feed(saving(todo, SCOPE)) == ("unchanged", [])


# Creation with permissions


def shared() -> Todo:
    todo = Todo(title="x")
    todo.permissions.grant("read", Everyone)
    return todo


def test_permissions_go_with_a_creation() -> None:
    """In the same request; nothing of them is left to be saved."""
    todo = shared()
    answer = shows(stored(todo), {"read": [Everyone], "write": ["me"]}, status=201)
    _, steps = feed(saving(todo, SCOPE), answer)
    assert body(steps[0])["permissions"] == {"read": [Everyone]}
    assert not todo.permissions.is_changed


@pytest.mark.parametrize("there", [{"read": [Everyone]}, {"read": ["a", Everyone], "write": ["a"]}])
def test_a_lost_creation_with_its_permissions(there: dict[str, list[str]]) -> None:
    """They are looked at, for an equal object alone would not have them."""
    todo = shared()
    answers = after_loss(is_there(stored(todo))), shows(stored(todo), there)
    result, steps = feed(saving(todo, SCOPE), *answers)
    assert result == "created"
    assert asked(steps)[1] == f"GET {TODOS}/{todo.id}"
    assert not todo.permissions.is_changed


@pytest.mark.parametrize("there", [None, {}, {"write": ["me"]}, {"read": ["somebody"]}])
def test_a_lost_creation_without_its_permissions(there: dict[str, list[str]] | None) -> None:
    """The data is equal and the permissions are not: it is not certain."""
    todo = shared()
    answers = after_loss(is_there(stored(todo))), shows(stored(todo), there)
    error, _ = fails(saving(todo, SCOPE), Conflict, *answers)
    assert error.unconfirmed
    assert todo.is_new


def test_an_object_that_changes_while_it_is_looked_at() -> None:
    """Somebody changed it between the two answers: it is no longer the own write."""
    todo = shared()
    other = shows(stored(todo, LATER, title="theirs"), {"read": [Everyone]})
    answers = after_loss(is_there(stored(todo))), other
    error, _ = fails(saving(todo, SCOPE), Conflict, *answers)
    assert error.unconfirmed


@pytest.mark.parametrize(
    ("answer", "cls"),
    [
        (no_answer(), Timeout),
        (shows(object_of("other", title="x", n=0), {"read": [Everyone]}), BadReply),
        (busy(), ServerError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_look_at_permissions_that_fails(answer: Any, cls: type[BaseException]) -> None:
    """The object stays new; a later save finds out."""
    todo = shared()
    fails(saving(todo, SCOPE), cls, after_loss(is_there(stored(todo))), answer)
    assert todo.is_new
    assert todo.permissions.is_changed


# Doubt, from one save to the next

LOST = [
    no_answer(),
    BadReply("cut off"),
    gateway(502),
    gateway(503),
    gateway(504),
    says(500, {"errno": 999}),
    after_loss(busy(503)),
    after_loss(refuses(400, 107)),
    Reply(200, {}, b"<html>"),
    shows(object_of("other", title="x")),
    says(201, {"data": {"id": "x"}}),
    says(201, {"data": []}),
    KeyboardInterrupt(),
    SystemExit(),
]
CERTAIN = [
    no_connection(),
    busy(503),
    busy(409),
    busy(429),
    refuses(400, 107),
    says(401, {"errno": 104}),
    refuses(403, 121),
]


@pytest.mark.parametrize("failure", LOST, ids=repr)
def test_a_loss_is_remembered(failure: Any) -> None:
    """The next save knows of it, so that an equal object may be the own one."""
    for todo, certain in ((Todo(title="x"), True), (known(), False)):
        expected = type(failure) if isinstance(failure, BaseException) else KintoError
        fails(saving(todo, SCOPE), expected, copy.copy(failure))
        assert todo.is_new
        assert state_of(todo).doubt
        again = is_there(stored(todo))
        if certain:
            assert feed(saving(todo, SCOPE), again)[0] == "created"
            assert not state_of(todo).doubt
        else:
            error, _ = fails(saving(todo, SCOPE), Conflict, again)
            assert error.unconfirmed
            error.merge()
            assert not state_of(todo).doubt


@pytest.mark.parametrize("failure", CERTAIN, ids=repr)
def test_what_was_not_done_is_no_doubt(failure: Any) -> None:
    """Then an equal object is somebody else's."""
    todo = Todo(title="x")
    fails(saving(todo, SCOPE), KintoError, copy.copy(failure))
    assert not state_of(todo).doubt
    error, _ = fails(saving(todo, SCOPE), Conflict, is_there(stored(todo)))
    assert not error.unconfirmed


def test_a_doubt_ends_with_a_clear_answer() -> None:
    """What was lost before a save that was answered explains nothing later."""
    todo = Todo(title="x")
    fails(saving(todo, SCOPE), Timeout, no_answer())
    feed(saving(todo, SCOPE), shows(stored(todo), status=201))
    todo.title = "mine"
    error, _ = fails(saving(todo, SCOPE), Conflict, is_there(stored(todo, LATER)))
    assert not error.unconfirmed


def test_what_is_refused_before_sending_leaves_no_doubt() -> None:
    """Nothing was sent."""
    todo = Todo(title="a lone \ud800 surrogate")
    assert not fails(saving(todo, SCOPE), InvalidData)[1]
    assert not state_of(todo).doubt
    homeless = Record(title="x")
    assert not fails(saving(homeless, SCOPE), ConfigurationError)[1]
    assert not state_of(homeless).doubt


# Changes


def test_a_change() -> None:
    """What changed is sent, if the server has what was loaded."""
    todo = changed()
    result, steps = feed(saving(todo, None), shows(stored(todo, LATER)))
    assert result == "updated"
    assert asked(steps) == [f"PATCH {TODOS}/{todo.id}"]
    assert steps[0].headers == {"If-Match": f'"{NOW}"'}
    assert body(steps[0]) == {"data": {"title": "mine"}}
    assert not steps[0].alone
    assert (todo.last_modified, todo.diff()) == (LATER, {})


def test_a_removed_field_and_permissions() -> None:
    """One JSON-Patch, which a batch must not carry."""
    todo = Todo(title="x")
    feed(saving(todo, SCOPE), shows(stored(todo, note="old"), {"write": ["me"]}, status=201))
    del todo["note"]
    todo.permissions.grant("read", Everyone)
    answer = shows(object_of(todo.id, LATER, title="x", n=0), {"read": [Everyone], "write": ["me"]})
    _, steps = feed(saving(todo, None), answer)
    assert steps[0].alone
    assert [each["op"] for each in body(steps[0])] == ["remove", "add"]
    assert not todo.diff()
    assert not todo.permissions.is_changed


def test_permissions_that_are_not_known_are_fetched() -> None:
    """To send the difference; who has it already needs no write."""
    todo = Todo(title="x")
    feed(saving(todo, SCOPE), shows(stored(todo), status=201))
    todo.permissions.grant("read", Everyone)
    there = shows(stored(todo), {"read": [Everyone], "write": ["me"]})
    result, steps = feed(saving(todo, None), there)
    assert result == "unchanged"
    assert asked(steps) == [f"GET {TODOS}/{todo.id}"]


def test_another_change_was_first() -> None:
    """The Conflict has all three, and the object keeps its change."""
    todo = changed()
    error, _ = fails(saving(todo, None), Conflict, is_there(stored(todo, LATER, title="theirs")))
    assert (error.base.title, error.local, error.remote.title) == ("x", todo, "theirs")
    assert error.fields == {"title"}
    assert not error.unconfirmed
    assert todo.diff() == {"title": ("x", "mine")}
    assert todo.last_modified == NOW
    assert error.merge(prefer="local").title == "mine"
    _, steps = feed(saving(todo, None), shows(stored(todo, LATER + 1)))
    assert steps[0].headers == {"If-Match": f'"{LATER}"'}


def test_a_change_of_another_field() -> None:
    """Both changes fit together: they are merged without a word."""
    todo = changed()
    error, _ = fails(
        saving(todo, None), Conflict, is_there(object_of(todo.id, LATER, title="x", n=9))
    )
    assert not error.fields
    assert (error.merge().title, todo.n) == ("mine", 9)
    assert todo.diff() == {"title": ("x", "mine")}


@pytest.mark.parametrize("lost", [False, True])
def test_an_equal_change_was_first(lost: bool) -> None:
    """Everybody may write the same: with a loss it is not confirmed, without one it is theirs."""
    todo = changed()
    there = is_there(stored(todo, LATER))
    error, _ = fails(saving(todo, None), Conflict, after_loss(there) if lost else there)
    assert error.unconfirmed is lost
    assert not error.fields
    assert error.merge() is todo
    assert (todo.last_modified, todo.diff()) == (LATER, {})


@pytest.mark.parametrize("failure", LOST, ids=repr)
def test_a_lost_change_is_remembered(failure: Any) -> None:
    """The change stays with the object, and so does the doubt."""
    todo = changed()
    expected = type(failure) if isinstance(failure, BaseException) else KintoError
    fails(saving(todo, None), expected, copy.copy(failure))
    assert todo.diff() == {"title": ("x", "mine")}
    assert (todo.last_modified, state_of(todo).doubt) == (NOW, True)
    error, _ = fails(saving(todo, None), Conflict, is_there(stored(todo, LATER)))
    assert error.unconfirmed


@pytest.mark.parametrize("failure", CERTAIN, ids=repr)
def test_a_change_that_was_not_done(failure: Any) -> None:
    """The change stays, without a doubt."""
    todo = changed()
    fails(saving(todo, None), KintoError, copy.copy(failure))
    assert todo.diff() == {"title": ("x", "mine")}
    assert not state_of(todo).doubt


@pytest.mark.parametrize("missing", [is_missing(), is_missing("collection")])
def test_it_is_gone(missing: Reply) -> None:
    """A Conflict without a remote: to be created again, or to be let go."""
    todo = changed()
    error, _ = fails(saving(todo, None), Conflict, copy.copy(missing))
    assert error.remote is None
    assert error.base.title == "x"
    assert "It is gone" in str(error)
    assert not todo.is_new
    with pytest.raises(Conflict):
        error.merge()
    assert error.merge(prefer="local") is todo
    _, steps = feed(saving(todo, None), shows(stored(todo, LATER), status=201))
    assert steps[0].headers == {"If-None-Match": "*"}
    assert not todo.diff()


@pytest.mark.parametrize("status", [404, 412])
def test_what_a_gateway_says_is_not_believed(status: int) -> None:
    """It is neither gone nor changed."""
    todo = changed()
    fails(saving(todo, None), BadReply, gateway(status))
    assert todo.diff() == {"title": ("x", "mine")}


@pytest.mark.parametrize(
    "existing",
    [
        object_of("other", title="x", n=0),
        {"id": "x", "title": "x", "n": 0},
        {"last_modified": 5, "title": "x"},
        [],
        "text",
        None,
    ],
)
@pytest.mark.parametrize("lost", [False, True])
def test_an_odd_existing_object(existing: Any, lost: bool) -> None:
    """Nothing of it is believed, on a creation or a change."""
    for todo in (Todo(title="x"), changed()):
        answer = refuses(412, 114, existing=existing)
        fails(saving(todo, SCOPE), BadReply, after_loss(answer) if lost else answer)
        assert (todo.last_modified is None) is todo.is_new


def test_a_412_that_shows_nothing() -> None:
    """The Conflict has no remote; nothing is taken for one's own."""
    todo = Todo(title="x")
    error, _ = fails(saving(todo, SCOPE), Conflict, after_loss(refuses(412, 114)))
    assert (error.remote, error.unconfirmed) == (None, True)
    assert todo.is_new


def test_an_existing_object_that_does_not_fit() -> None:
    """The Conflict says so, and cannot be merged."""
    todo = changed()
    error, _ = fails(saving(todo, None), Conflict, is_there(stored(todo, LATER, title=5)))
    assert "does not fit the model" in str(error)
    assert (type(error.remote), error.remote["title"]) == (Record, 5)  # type: ignore[union-attr]
    with pytest.raises(Conflict):
        error.merge(prefer="local")
    assert todo.diff() == {"title": ("x", "mine")}


ODD: list[Callable[[Todo], Reply]] = [
    lambda todo: shows(object_of("other", LATER, title="mine", n=0)),
    lambda todo: shows({"id": todo.id, "title": "mine", "n": 0}),
    lambda todo: shows({**stored(todo), "last_modified": "5"}),
    lambda todo: shows({**stored(todo), "last_modified": True}),
    lambda todo: shows({"last_modified": LATER, "title": "mine"}),
    lambda todo: says(200, {"data": [stored(todo)]}),
    lambda todo: says(200, {"data": None}),
    lambda todo: says(200, {}),
    lambda todo: says(200, [stored(todo)]),
    lambda todo: says(200, {"data": stored(todo), "permissions": ["read"]}),
    lambda todo: says(200, {"data": stored(todo), "permissions": {"read": "me"}}),
    lambda todo: says(200, {"data": stored(todo), "permissions": {"read": [5]}}),
    lambda todo: Reply(200, {}, b""),
    lambda todo: Reply(204, {}, b""),
    lambda todo: Reply(304, {}, b""),
    lambda todo: Reply(200, {}, b"\xff"),
]


@pytest.mark.parametrize("odd", ODD)
def test_odd_answers(odd: Callable[[Todo], Reply]) -> None:
    """They are no belief: the object is what it was, and in doubt."""
    todo = changed()
    fails(saving(todo, None), BadReply, odd(todo))
    assert todo.diff() == {"title": ("x", "mine")}
    assert (todo.id, todo.last_modified, state_of(todo).doubt) == (todo.id, NOW, True)
    assert todo.permissions.write == {"me"}
    new = Todo(title="x")
    fails(saving(new, SCOPE), BadReply, odd(new))
    assert (new.is_new, new.last_modified, state_of(new).doubt) == (True, None, True)
    forced = changed()
    fails(saving(forced, None, force=True), BadReply, odd(forced))
    assert forced.diff() == {"title": ("x", "mine")}
    assert state_of(forced).doubt


# Forced


@pytest.mark.parametrize(("status", "result"), [(201, "created"), (200, "updated")])
def test_a_forced_save(status: int, result: str) -> None:
    """A PUT of everything, without a precondition; the server says whether it is new."""
    todo = changed()
    answer = shows(stored(todo, LATER), {"write": ["me"]}, status=status)
    found, steps = feed(saving(todo, None, force=True), answer)
    assert found == result
    assert (asked(steps), steps[0].headers) == ([f"PUT {TODOS}/{todo.id}"], {})
    assert body(steps[0]) == {"data": {"title": "mine", "n": 0}}
    assert not todo.diff()


def test_a_forced_save_sends_the_permissions_after_it() -> None:
    """A PUT leaves those of what is there; their difference goes by itself."""
    todo = changed()
    todo.permissions.grant("read", Everyone)
    answers = (
        shows(stored(todo, LATER), {"write": ["me"]}),
        shows(stored(todo, LATER + 1), {"read": [Everyone], "write": ["me"]}),
    )
    _, steps = feed(saving(todo, None, force=True), *answers)
    assert [each.method for each in steps] == ["PUT", "PATCH"]
    assert "permissions" not in body(steps[0])
    assert (todo.last_modified, todo.permissions.is_changed) == (LATER + 1, False)


def test_forced_permissions_that_fail() -> None:
    """The data is saved, and that is believed; the permissions are not."""
    todo = changed()
    todo.permissions.grant("read", Everyone)
    answer = shows(stored(todo, LATER), {"write": ["me"]})
    fails(saving(todo, None, force=True), Timeout, answer, no_answer())
    assert (todo.last_modified, todo.diff()) == (LATER, {})
    assert todo.permissions.is_changed


def test_a_forced_save_of_what_is_gone() -> None:
    """A plain one is refused before anything is sent; a forced one creates it anew."""
    todo = saved()
    tombstone = {"id": todo.id, "last_modified": LATER, "deleted": True}
    feed(deleting(todo, None), says(200, {"data": tombstone}))
    error, steps = fails(saving(todo, None), Conflict)
    assert not steps
    assert "it was deleted" in str(error)
    answer = shows(stored(todo, LATER + 1), status=201)
    assert feed(saving(todo, None, force=True), answer)[0] == "created"
    assert (todo.last_modified, todo.diff()) == (LATER + 1, {})


def test_a_412_to_a_forced_save() -> None:
    """Nothing was asked for that could fail: it is told as it came."""
    todo = changed()
    error, _ = fails(saving(todo, None, force=True), Conflict, is_there(stored(todo, LATER)))
    assert error.local is None
    assert todo.diff()


# Elsewhere


def test_an_object_is_saved_elsewhere() -> None:
    """It is created there, and lives there from then on."""
    todo, there = changed(), SCOPE.scoped(bucket="other")
    result, steps = feed(saving(todo, there), shows(stored(todo, 5), status=201))
    assert result == "created"
    assert asked(steps) == [f"PUT /buckets/other/collections/todos/records/{todo.id}"]
    assert steps[0].headers == {"If-None-Match": "*"}
    assert body(steps[0])["data"] == {"title": "mine", "n": 0}
    assert todo.uri.startswith("/buckets/other/")
    assert (todo.last_modified, todo.diff()) == (5, {})


@pytest.mark.parametrize(
    "failure",
    [no_answer(), busy(), KeyboardInterrupt(), is_there(object_of("other")), Reply(200, {}, b"")],
)
def test_an_object_that_does_not_get_elsewhere(failure: Any) -> None:
    """What was known of it stays true."""
    todo = changed()
    expected = type(failure) if isinstance(failure, BaseException) else KintoError
    fails(saving(todo, SCOPE.scoped(bucket="other")), expected, copy.copy(failure))
    assert todo.uri == f"{TODOS}/{todo.id}"
    assert todo.diff() == {"title": ("x", "mine")}
    assert todo.last_modified == NOW


@pytest.mark.parametrize("lost", ["before", "in an earlier save", "never"])
def test_an_equal_object_elsewhere(lost: Literal["before", "in an earlier save", "never"]) -> None:
    """Others may have copied it there: with a loss it is not confirmed, whenever that was."""
    todo, there = changed(), SCOPE.scoped(bucket="other")
    answer = is_there(stored(todo, 5))
    if lost == "in an earlier save":
        fails(saving(todo, there), Timeout, no_answer())
    error, _ = fails(
        saving(todo, there), Conflict, after_loss(answer) if lost == "before" else answer
    )
    assert error.unconfirmed is (lost != "never")
    assert todo.diff() == {"title": ("x", "mine")}


def test_a_forced_move() -> None:
    """It overwrites what is there, and the object lives there."""
    todo, there = changed(), SCOPE.scoped(bucket="other")
    result, steps = feed(saving(todo, there, force=True), shows(stored(todo, 5)))
    assert (result, steps[0].headers) == ("updated", {})
    assert todo.uri.startswith("/buckets/other/")


# Others


def test_an_object_of_some_fields_is_not_saved() -> None:
    """Nothing is sent."""
    todo = saved()
    state_of(todo).partial = True
    assert not fails(saving(todo, None), NotLoaded)[1]


def test_structure_goes_alone() -> None:
    """A batch carries records only."""
    group = Group(id="g", bucket="b", members=[])
    _, steps = feed(saving(group, SCOPE), shows(object_of("g", members=[]), status=201))
    assert steps[0].alone
    group.members.append("me")
    _, steps = feed(saving(group, SCOPE), shows(object_of("g", LATER, members=["me"])))
    assert steps[0].alone


def test_a_refusal_names_the_field() -> None:
    """By the name that it has in the model, where the server knows another one."""
    refusal = says(400, {"errno": 107, "message": "bad", "details": [{"name": "t"}]})
    error, _ = fails(saving(Aliased(t="x"), SCOPE), InvalidData, refusal)
    assert "'t' is what the field 'title' is stored as" in str(error)


# Whatever comes


@given(
    own=st.booleans(),
    failures=st.lists(st.sampled_from([*LOST, *CERTAIN]), max_size=4),
    lost_at_last=st.booleans(),
    equal=st.booleans(),
)
def test_whose_creation_it_was(
    own: bool, failures: list[Any], lost_at_last: bool, equal: bool
) -> None:
    """After any failures, what is there is taken as the rule says, and in no other case."""
    todo = Todo(title="x") if own else known()
    for each in failures:
        expected = type(each) if isinstance(each, BaseException) else KintoError
        fails(saving(todo, SCOPE), expected, copy.copy(each))
    answer = is_there(stored(todo) if equal else stored(todo, title="theirs"))
    flow = saving(todo, SCOPE)
    final = after_loss(answer) if lost_at_last else answer
    lost = lost_at_last or any(any(each is other for other in LOST) for each in failures)
    if own and lost and equal:
        assert feed(flow, final)[0] == "created"
        assert not todo.is_new
        return
    error, _ = fails(flow, Conflict, final)
    assert error.unconfirmed is lost
    assert bool(error.fields) is not equal
    assert todo.is_new


@pytest.mark.parametrize("error", [no_answer(), no_connection()])
def test_a_loss_is_on_the_error(error: TransportError) -> None:
    """The program may look at it."""
    raised, _ = fails(saving(Todo(title="x"), SCOPE), TransportError, copy.copy(error))
    assert raised.lost is error.lost
    assert "cannot save Todo" in str(raised)


def test_what_the_server_makes_of_it_does_not_fit() -> None:
    """The object is as it was, and remembers that its change may be stored."""
    todo = Todo(title="x")
    answer = shows(object_of(todo.id, LATER, title=5, n="many"), status=201)
    error, _ = fails(saving(todo, SCOPE), InvalidData, answer)
    assert error.lost
    assert todo.last_modified is None
    assert todo.is_new
    there = is_there(object_of(todo.id, LATER, title=5, n="many"))
    conflict, _ = fails(saving(todo, SCOPE), Conflict, there)
    assert conflict.remote["n"] == "many"  # type: ignore[union-attr]


def test_a_loss_and_then_a_busy_server() -> None:
    """The 409 took back its own sending, and not the one whose answer was lost."""
    todo = changed()
    error, _ = fails(saving(todo, SCOPE), Conflict, after_loss(refuses(409, 122)))
    assert error.unconfirmed
    assert state_of(todo).doubt
    error, _ = fails(saving(changed(), SCOPE), Conflict, refuses(409, 122))
    assert not error.unconfirmed


def test_a_loss_and_then_another_writer() -> None:
    """The change may be below theirs: whoever runs again would make it twice."""
    todo = changed()
    there = after_loss(is_there(stored(todo, LATER, title="theirs")))
    error, _ = fails(saving(todo, SCOPE), Conflict, there)
    assert error.unconfirmed
    assert error.fields == {"title"}
    assert error.remote.title == "theirs"


def test_an_unconfirmed_conflict_stays_unconfirmed() -> None:
    """Until somebody has looked."""
    todo = changed()
    there = stored(todo, LATER)
    for answer in (after_loss(is_there(there)), is_there(there)):
        error, _ = fails(saving(todo, SCOPE), Conflict, answer)
        assert error.unconfirmed


@pytest.mark.parametrize("at", [NOW, NOW - 1])
def test_an_old_answer(at: int) -> None:
    """A proxy repeats it: the change was not saved, as far as anybody knows."""
    todo = changed()
    error, _ = fails(saving(todo, SCOPE), BadReply, shows(object_of(todo.id, at, title="x", n=0)))
    assert error.lost
    assert todo.diff() == {"title": ("x", "mine")}
    assert state_of(todo).doubt


def test_a_look_that_fails_after_a_loss() -> None:
    """The next save knows its own creation again."""
    todo = Todo(title="x", permissions={"read": [Everyone]})
    there = after_loss(is_there(stored(todo)))
    error, _ = fails(saving(todo, SCOPE), KintoError, there, refuses(403, 121))
    assert error.lost
    whole = shows(stored(todo), {"read": [Everyone], "write": ["me"]})
    assert feed(saving(todo, SCOPE), is_there(stored(todo)), whole)[0] == "created"


@pytest.mark.parametrize("status", [200, 201])
def test_a_late_answer_takes_no_changes_back(status: int) -> None:
    """The answer to the creation was lost, the object went on, and the old answer comes: no."""
    todo = Todo(title="first")
    first = stored(todo)
    fails(saving(todo, SCOPE), Timeout, no_answer())
    todo.title = "second"
    error, _ = fails(saving(todo, SCOPE), BadReply, shows(first, status=status))
    assert error.lost
    assert todo.title == "second"
    error, _ = fails(saving(todo, SCOPE), Conflict, is_there(first))
    assert error.unconfirmed
