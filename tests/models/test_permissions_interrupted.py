"""An interrupt, or a look of another thread, between any two lines of what changes permissions."""

from __future__ import annotations

import copy
import linecache
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from feeding import NOW, feed, nowhere, object_of, shows
from kinto_orm import NotLoaded, Permissions, Record
from kinto_orm.models import access, permissions
from kinto_orm.models.permissions import Owner, loaded, unknown
from kinto_orm.models.permitting import clearing_permissions, sending_permissions
from kinto_orm.models.saving import saving
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope

SCOPE = nowhere()
WATCHED = {permissions.__file__, access.__file__}


class Todo(Record, collection="todos"):
    title: str


class Answering:
    """An object whose permissions are what a test says."""

    __kinto_name__ = "an object"

    def __init__(self, found: Callable[[Owner], Permissions]) -> None:
        self._found = found

    def __kinto_lives_in__(self) -> Scope:
        return SCOPE

    def __kinto_fetching_permissions__(self) -> Flow[Permissions]:
        yield from ()
        return self._found(self)  # type: ignore[arg-type]


def known(owner: Any) -> Permissions:
    return loaded({"read": ["a", "c"], "write": ["me"]}, owner, "record", NOW + 1)


def hidden(owner: Any) -> Permissions:
    return unknown(owner, "record")


def pending(found: Callable[[Any], Permissions], then: Callable[[Any], Permissions]) -> Permissions:
    """Permissions that are known or not, with changes; their server has something else by now."""
    made = found(Answering(then))
    return made.grant("read", "new").revoke("read", "a")


def at_each_line(act: Callable[[], object], look: Callable[[], object]) -> int:
    """Look before each line that an act runs of what changes permissions; how many there are."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in WATCHED:
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        # Python looks for signals after a call, so that a lock is given back before it raises.
        if event == "line" and not line.startswith("with "):
            count += 1
            sys.settrace(None)
            try:
                look()
            finally:
                sys.settrace(trace)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


def interrupted(make: Callable[[], Any], act: Callable[[Any], object]) -> Iterator[Any]:
    """What is left of it when an interrupt comes before the first line, the second, and so on."""
    for line in range(10_000):
        thing, left = make(), [line]

        def stop(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt

        try:
            at_each_line(lambda thing=thing: act(thing), stop)  # type: ignore[misc]
        except KeyboardInterrupt:
            yield thing
        else:
            assert line > 5
            return


@pytest.mark.parametrize("then", [known, hidden])
@pytest.mark.parametrize("found", [known, hidden])
def test_an_interrupted_rebase_keeps_what_is_pending(found: Any, then: Any) -> None:
    """Both edits are there, on the old sets or on the new ones."""
    for left in interrupted(lambda: pending(found, then), lambda each: each.rebase(then(None))):
        assert left.is_changed
        left.rebase(known(None))
        assert left.read == {"new", "c"}


@pytest.mark.parametrize("then", [known, hidden])
@pytest.mark.parametrize("found", [known, hidden])
@pytest.mark.parametrize(
    "act", [lambda each: each.take(known(None)), lambda each: each.refresh()], ids=["take", "fresh"]
)
def test_an_interrupted_refresh_drops_all_or_nothing(act: Any, found: Any, then: Any) -> None:
    """It is as it was, with all that is pending, or as the server has it."""
    before, after = pending(found, then), pending(found, then)
    act(after)
    for left in interrupted(lambda: pending(found, then), act):
        assert left.snapshot() in (before.snapshot(), after.snapshot())


@pytest.mark.parametrize("found", [known, hidden])
def test_an_interrupted_edit_is_done_or_not(found: Any) -> None:
    """A set that is replaced is never seen without those of both."""
    acts: list[Callable[[Permissions], object]] = [
        lambda each: each.grant("read", "x"),
        lambda each: each.revoke("read", "new"),
        lambda each: setattr(each, "read", {"a"}),
        lambda each: each.replace_by(Permissions(read={"a"}, write={"b"})),
    ]
    for act in acts:
        before, after = pending(found, known), pending(found, known)
        act(after)
        for left in interrupted(lambda: pending(found, known), act):
            assert left.snapshot() in (before.snapshot(), after.snapshot())


@pytest.mark.parametrize("then", [known, hidden])
@pytest.mark.parametrize("found", [known, hidden])
@pytest.mark.parametrize("act", ["refresh", "rebase", "replace"])
def test_who_looks_meanwhile_sees_one_moment(act: str, found: Any, then: Any) -> None:
    """All that can be read is of before or of after; nothing of it fails."""
    acts: dict[str, Callable[[Permissions], object]] = {
        "refresh": lambda each: each.refresh(),
        "rebase": lambda each: each.rebase(then(None)),
        "replace": lambda each: each.replace_by(Permissions(read={"a"})),
    }
    seen, thing = [], pending(found, then)
    after = pending(found, then)
    acts[act](after)

    def look() -> None:
        seen.append(everything(thing))

    allowed = [everything(thing), everything(after)]
    assert at_each_line(lambda: acts[act](thing), look) > 5
    assert all(each in allowed for each in seen)


def everything(thing: Permissions) -> tuple[Any, ...]:
    """All that can be read."""
    try:
        read = set(thing.read)
    except NotLoaded:
        read = None
    return thing.is_loaded, thing.is_changed, thing.patch(), thing.wanted(), repr(thing), read


def granted() -> Todo:
    todo = Todo(title="x")
    reply = shows(object_of(todo.id, title="x"), {"read": ["a"], "write": ["me"]}, status=201)
    feed(saving(todo, SCOPE), reply)
    todo.permissions.grant("read", "new").revoke("read", "a")
    return todo


@pytest.mark.parametrize(
    "flow", [sending_permissions, clearing_permissions, lambda todo: saving(todo, None)]
)
def test_an_interrupted_write_is_pending_or_done(flow: Callable[[Todo], Any]) -> None:
    """Until the answer is taken in, there is something to save."""

    def act(todo: Todo) -> None:
        there = {"read": ["new"], "write": ["me"]}
        feed(flow(todo), shows(object_of(todo.id, NOW + 1, title="x"), there))

    for left in interrupted(granted, act):
        if left.permissions.is_changed:
            assert left.permissions.read == {"new"}
            assert len(left.permissions.patch()) == 2
        else:
            assert left.permissions == Permissions(read={"new"}, write={"me"})


@pytest.mark.parametrize("found", [known, hidden])
@pytest.mark.parametrize("act", ["rebase", "settle", "set"])
def test_who_grants_meanwhile_waits_for_its_turn(act: str, found: Any) -> None:
    """A grant of another thread comes before or after, wherever it comes in between."""
    thing, threads = pending(found, known), list[threading.Thread]()
    sent, fresh = thing.snapshot(), known(None)
    acts: dict[str, Callable[[], object]] = {
        "rebase": lambda: thing.rebase(fresh),
        "settle": lambda: thing.settle(fresh, sent),
        "set": lambda: setattr(thing, "write", {"me"}),
    }

    def grant() -> None:
        who = f"late{len(threads)}"
        threads.append(threading.Thread(target=thing.grant, args=("read", who)))
        threads[-1].start()
        # It waits, unless it may come in here.
        threads[-1].join(0.005)

    assert at_each_line(acts[act], grant) > 5
    for each in threads:
        each.join()
    thing.rebase(known(None))
    assert {f"late{number}" for number in range(len(threads))} <= thing.read


def test_who_holds_a_set_goes_on_with_it() -> None:
    """A save that changes nothing of it leaves it the same."""
    todo = granted()
    readers = todo.permissions.read
    reply = shows(object_of(todo.id, NOW + 1, title="x"), {"read": ["new"], "write": ["me", "b"]})
    feed(sending_permissions(todo), reply)
    assert not todo.permissions.is_changed
    readers.add("x")
    assert [each["path"] for each in todo.permissions.patch()] == ["/permissions/read/x"]


def test_copies_are_of_one_moment_and_their_own() -> None:
    """Also of permissions that belong to no object; what is written of them are the sets."""
    one = Permissions(read={"a"})
    two = copy.deepcopy(one)
    one.grant("read", "b")
    assert two.read == {"a"}
    assert two.is_changed
    assert two.model_dump(exclude_defaults=True) == {"read": {"a"}}
    assert Permissions.model_validate_json('{"read": ["a"]}') == two
