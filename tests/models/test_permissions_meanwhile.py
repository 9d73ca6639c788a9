"""What is granted and revoked while a write is under way: what did not go with it stays unsaved."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event, given, settings, target
from hypothesis import strategies as st

from feeding import NOW, body, feed, is_there, no_answer, nowhere, object_of, refuses, shows
from kinto_orm import Collection, Conflict, InvalidData, Record, Timeout
from kinto_orm.models.permitting import clearing_permissions, sending_permissions
from kinto_orm.models.refreshing import refreshing
from kinto_orm.models.saving import saving
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Reply, Request

SCOPE = nowhere()
NAMES = ("read", "write", "record:create")
WHO = ("a", "b", "c")
REFUSED = refuses(400, 107)


class Todo(Record, collection="todos"):
    title: str


def saved(permissions: Any) -> Todo:
    todo = Todo(title="x")
    feed(saving(todo, SCOPE), shows(object_of(todo.id, title="x"), permissions, status=201))
    return todo


def paths(todo: Any) -> list[tuple[str, str]]:
    """What is unsaved, as operations and paths."""
    return [(each["op"], each["path"].removeprefix("/permissions/")) for each in patch_of(todo)]


def patch_of(thing: Any) -> list[dict[str, Any]]:
    return thing.permissions.patch()  # type: ignore[no-any-return]


def meanwhile(flow: Flow[Any], act: Callable[[], object], *answers: Reply) -> None:
    """Feed a flow; something happens between its last request and the answer."""
    step = next(flow)
    for each in answers[:-1]:
        step = flow.send(each)
    assert step is not None
    act()
    with pytest.raises(StopIteration):
        flow.send(answers[-1])


# One write each


@pytest.mark.parametrize("known", [True, False])
def test_a_late_grant_and_a_late_revoke(known: bool) -> None:
    """Both stay; what went with the request is done."""
    there = {"read": ["b"], "write": ["me"]}
    todo = saved(there if known else None)
    todo.permissions.grant("read", "a")
    now = shows(object_of(todo.id, NOW + 1, title="x"), {"read": ["a", "b"], "write": ["me"]})
    first = [] if known else [shows(object_of(todo.id, title="x"), there)]

    def act() -> None:
        todo.permissions.grant("read", "late").revoke("read", "b")

    meanwhile(sending_permissions(todo), act, *first, now)
    assert todo.permissions.read == {"a", "late"}
    assert paths(todo) == [("add", "read/late"), ("remove", "read/b")]


def test_what_is_sent_is_taken_back_meanwhile() -> None:
    """The server has it by now, so that it has to be taken away there, too."""
    todo = saved({"read": ["b"], "write": ["me"]})
    todo.permissions.grant("read", "a").revoke("read", "b")
    now = shows(object_of(todo.id, NOW + 1, title="x"), {"read": ["a"], "write": ["me"]})

    def act() -> None:
        todo.permissions.revoke("read", "a").grant("read", "b")
        assert not todo.permissions.is_changed

    meanwhile(sending_permissions(todo), act, now)
    assert paths(todo) == [("add", "read/b"), ("remove", "read/a")]


def test_what_may_have_been_done_is_taken_back_meanwhile() -> None:
    """An answer was lost, and its second sending refused: what is there now decides."""
    todo = saved({"read": ["b"], "write": ["me"]})
    todo.permissions.grant("read", "a").revoke("read", "b")
    flow = sending_permissions(todo)
    next(flow)
    todo.permissions.revoke("read", "a")
    flow.send(copy.copy(REFUSED))
    step = flow.send(shows(object_of(todo.id, NOW + 1, title="x"), {"read": ["a"], "write": ["m"]}))
    assert body(step) == [{"op": "remove", "path": "/permissions/read/a"}]


def test_a_creation() -> None:
    """A PUT carries the sets that there were."""
    todo = Todo(title="x", permissions={"read": ["a", "b"]})

    def act() -> None:
        todo.permissions.grant("read", "late").revoke("read", "a")
        todo.permissions.write.add("late")

    answer = shows(object_of(todo.id, title="x"), {"read": ["a", "b"], "write": ["me"]}, status=201)
    meanwhile(saving(todo, SCOPE), act, answer)
    assert paths(todo) == [("add", "read/late"), ("remove", "read/a"), ("add", "write/late")]
    assert not todo.is_new


@pytest.mark.parametrize("wished", [{}, {"permissions": {"read": ["a"]}}])
def test_others_are_assigned_while_it_is_created(wished: Any) -> None:
    """An assignment replaces what went with the request, too."""
    todo = Todo(title="x", **wished)

    def act() -> None:
        todo.permissions = {"read": ["late"]}

    there = {"write": ["me"], **wished.get("permissions", {})}
    meanwhile(saving(todo, SCOPE), act, shows(object_of(todo.id, title="x"), there, status=201))
    removed = [("remove", "read/a")] if wished else []
    assert paths(todo) == [("add", "read/late"), *removed]


@pytest.mark.parametrize("before", [True, False])
def test_a_change_of_the_object(before: bool) -> None:
    """Whether permissions went with it or not."""
    todo = saved({"read": ["b"], "write": ["me"]})
    todo.title = "mine"
    if before:
        todo.permissions.grant("read", "a")
    there = {"read": ["a", "b"] if before else ["b"], "write": ["me"]}

    def act() -> None:
        todo.permissions.revoke("read", "a", "b").grant("write", "late")

    meanwhile(saving(todo, None), act, shows(object_of(todo.id, NOW + 1, title="mine"), there))
    taken = [("remove", f"read/{each}") for each in there["read"]]
    assert paths(todo) == [*taken, ("add", "write/late")]


def test_they_are_cleared() -> None:
    """What was unsaved before is dropped, what came meanwhile is not."""
    todo = saved({"read": ["b"], "write": ["me"]})
    todo.permissions.grant("read", "a")

    def act() -> None:
        todo.permissions.grant("read", "late")

    now = shows(object_of(todo.id, NOW + 1, title="x"), {"write": ["me"]})
    meanwhile(clearing_permissions(todo), act, now)
    assert paths(todo) == [("add", "read/late")]


def refreshing_permissions(todo: Todo) -> Flow[Any]:
    return todo.permissions.refreshing()


def refreshing_all(todo: Todo) -> Flow[Any]:
    return refreshing(todo, SCOPE, whole=True)


@pytest.mark.parametrize("act", [refreshing_permissions, refreshing_all])
@pytest.mark.parametrize("known", [True, False])
def test_they_are_refreshed(act: Callable[[Todo], Flow[Any]], known: bool) -> None:
    """What was unsaved before is dropped, what came meanwhile is not."""
    there = {"read": ["b"], "write": ["me"]}
    todo = saved(there if known else None)
    todo.permissions.grant("read", "before", "both")
    now = shows(object_of(todo.id, NOW + 1, title="x"), there)

    def late() -> None:
        todo.permissions.grant("read", "late").revoke("read", "b")

    meanwhile(act(todo), late, now)
    assert paths(todo) == [("add", "read/late"), ("remove", "read/b")]


def test_an_object_is_refreshed_whose_permissions_nobody_asked_for() -> None:
    """The first grant comes while it is awaited."""
    todo = saved(None)
    now = shows(object_of(todo.id, NOW + 1, title="x"), {"write": ["me"]})
    meanwhile(refreshing_all(todo), lambda: todo.permissions.grant("read", "late"), now)
    assert paths(todo) == [("add", "read/late")]


def test_an_answer_that_shows_none() -> None:
    """Then they are not known; what came meanwhile is said once more."""
    todo = saved({"read": ["b"], "write": ["me"]})
    todo.permissions.revoke("write", "me")

    def act() -> None:
        todo.permissions.revoke("read", "b").grant("read", "late")

    meanwhile(sending_permissions(todo), act, shows(object_of(todo.id, NOW + 1, title="x"), {}))
    assert not todo.permissions.is_loaded
    todo.permissions.rebase(saved({"read": ["b"], "write": ["me"]}).permissions)
    assert paths(todo) == [("add", "read/late"), ("remove", "read/b")]


def test_what_the_server_never_shows() -> None:
    """What went with the request is done, though nobody says so."""
    todo = saved({})
    todo.permissions.grant("read", "a")

    def act() -> None:
        todo.permissions.grant("read", "late")

    shown = shows(object_of(todo.id, NOW, title="x"), {})
    meanwhile(sending_permissions(todo), act, copy.copy(shown), copy.copy(shown))
    assert paths(todo) == [("add", "read/late")]


def test_a_refresh_comes_in_between() -> None:
    """It drops what is unsaved, and takes nothing back of what is sent."""
    todo = saved({"write": ["me"]})
    todo.permissions.grant("read", "a")

    def act() -> None:
        todo.permissions.take(saved({"write": ["me"]}).permissions)
        todo.permissions.grant("read", "late")

    now = shows(object_of(todo.id, NOW + 1, title="x"), {"read": ["a"], "write": ["me"]})
    meanwhile(sending_permissions(todo), act, now)
    assert paths(todo) == [("add", "read/late")]


def test_another_write_comes_in_between() -> None:
    """Two threads save the same object: what either asked for is there or unsaved."""
    todo = saved({"write": ["me"]})
    todo.permissions.grant("read", "a")
    both = {"read": ["a", "b"], "write": ["me"]}

    def act() -> None:
        todo.permissions.grant("read", "b")
        feed(sending_permissions(todo), shows(object_of(todo.id, NOW + 1, title="x"), both))
        todo.permissions.revoke("read", "a").grant("read", "late")

    meanwhile(sending_permissions(todo), act, shows(object_of(todo.id, NOW + 2, title="x"), both))
    assert paths(todo) == [("add", "read/late"), ("remove", "read/a")]


# Any edits, at every step


class Server:
    """A collection on a server that one client writes; it may refuse, and lose answers."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        self.stamp = NOW
        self.data: dict[str, Any] = {}
        self.sets: dict[str, set[str]] = {name: set() for name in NAMES}

    def answer(self, request: Request) -> Any:
        if request.method == "GET":
            return self.shown()
        fault = self.faults.pop() if self.faults else ""
        taken = self.taken(request)
        if fault == "silent":
            return no_answer()
        if fault == "lost" and taken and "If-Match" not in request.headers:
            # It is sent again, and cannot take away twice.
            self.write(request)
        if fault == "refused" or any(who not in self.sets[name] for name, who in taken):
            return copy.copy(REFUSED)
        if f'"{self.stamp}"' != request.headers.get("If-Match", f'"{self.stamp}"'):
            return is_there(object_of("todos", self.stamp, **self.data))
        created = self.stamp == NOW
        self.write(request)
        return self.shown(201 if created else 200)

    def taken(self, request: Request) -> list[tuple[str, str]]:
        """Who is to be taken from which list."""
        asked = body(request) if isinstance(body(request), list) else []
        removed = [each["path"].split("/")[2:] for each in asked if "value" not in each]
        return [(name, who) for name, who in removed]

    def shown(self, status: int = 200) -> Reply:
        there = {name: sorted(who) for name, who in self.sets.items() if who}
        return shows(object_of("todos", self.stamp, **self.data), there, status=status)

    def write(self, request: Request) -> None:
        asked = body(request)
        if isinstance(asked, dict):
            self.data |= asked.get("data", {})
            self.sets |= {n: set(who) for n, who in asked.get("permissions", {}).items()}
        else:
            self.patch(asked)
        self.sets["write"].add("me")
        self.stamp += 1

    def patch(self, operations: list[dict[str, Any]]) -> None:
        for each in operations:
            _, kind, name, *who = each["path"].split("/")
            if kind == "data":
                self.data[name] = each["value"]
            elif not who:
                self.sets[name] = set()
            elif each["op"] == "add":
                self.sets[name].add(*who)
            else:
                self.sets[name].difference_update(who)


class Wishes:
    """What was asked for, by permission and principal; the last word counts."""

    def __init__(self, thing: Collection) -> None:
        self.thing = thing
        self.last: dict[tuple[str, str], bool] = {}

    def edit(self, act: str, name: str, who: frozenset[str]) -> None:
        permissions = self.thing.permissions
        if act == "set":
            whole = who | ({"me"} if name == "write" else set())
            setattr(permissions, name.replace(":", "_"), whole)
        elif act == "in place" and permissions.is_loaded:
            getattr(permissions, name.replace(":", "_")).update(who)
        else:
            verb = permissions.revoke if act == "revoke" else permissions.grant
            verb(name, *who)
        said = WHO if act == "set" else who
        self.last |= {(name, each): act != "revoke" and each in who for each in said}

    def check(self, server: Server) -> None:
        """What the server has, and what is unsaved on top of it, is what was asked for."""
        held = self.thing.permissions
        sets = {name: set(who) for name, who in server.sets.items()}
        if held.is_loaded:
            then = copy.copy(server)
            then.sets = sets
            then.patch(held.patch())
        else:
            for act, name, who in held.snapshot().edits:
                sets[name] = edited(sets[name], act, who)
        found = {key: key[1] in sets[key[0]] for key in self.last}
        assert found == self.last


def edited(principals: set[str], act: str, who: frozenset[str]) -> set[str]:
    if act == "set":
        return set(who)
    return principals | who if act == "grant" else principals - who


EDITS = st.tuples(
    st.sampled_from(["grant", "revoke", "set", "in place"]),
    st.sampled_from(NAMES),
    st.frozensets(st.sampled_from(WHO)),
)
ROUNDS = st.lists(st.lists(EDITS, max_size=3), max_size=14)
WRITES = st.lists(st.sampled_from(["save", "change", "permissions", "force"]), max_size=4)
FAULTS = st.lists(st.sampled_from(["", "", "lost", "refused", "silent"]), max_size=5)


@settings(max_examples=200)
@given(
    first=st.lists(EDITS, max_size=3), rounds=ROUNDS, writes=WRITES, faults=FAULTS, data=st.data()
)
def test_what_was_asked_for_is_there_or_unsaved(
    first: Any, rounds: Any, writes: list[str], faults: list[str], data: st.DataObject
) -> None:
    """Whatever is granted, revoked and set before, between and while writes are under way."""
    thing, server = Collection(id="todos", bucket="b"), Server([])
    wishes, left = Wishes(thing), list(rounds)
    for each in first:
        wishes.edit(*each)
    late = 0
    run(saving(thing, SCOPE), server, lambda: wishes_of(left, wishes))
    wishes.check(server)
    server.faults = faults
    for count, write in enumerate(writes):
        if data.draw(st.booleans(), "forget what is there"):
            thing.permissions.rebase(unknown_of(thing))
        wishes_of(left, wishes)
        if write == "change":
            thing["colour"] = count
        flow: Flow[Any] = sending_permissions(thing)
        if write != "permissions":
            flow = saving(thing, None, force=write == "force")
        late += run(flow, server, lambda: wishes_of(left, wishes))
        wishes.check(server)
    event(f"requests: {min(late, 5)}")
    target(float(late))
    # In the end it can be saved.
    server.faults = []
    run(sending_permissions(thing), server, lambda: None)
    wishes.check(server)
    assert not thing.permissions.is_changed


def unknown_of(thing: Collection) -> Any:
    """The permissions of the same object as a list gives it."""
    reply = Collection(id=thing.id, bucket="b")
    feed(saving(reply, SCOPE), shows(object_of(thing.id), status=201))
    return reply.permissions


def wishes_of(left: list[Any], wishes: Wishes) -> None:
    for each in left.pop() if left else []:
        wishes.edit(*each)


def run(flow: Flow[Any], server: Server, act: Callable[[], object]) -> int:
    """Run a flow on a server; something happens before and after each answer is made."""
    count = 0
    try:
        step = next(flow)
        while True:
            count += 1
            act()
            answer = server.answer(step)  # type: ignore[arg-type]
            act()
            step = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
    except (StopIteration, Conflict, InvalidData, Timeout):
        return count


# Threads


def test_threads_that_grant_while_others_save() -> None:
    """Each grant is sent, or unsaved, however the threads take turns."""
    thing, server = Collection(id="todos", bucket="b"), Server([])
    run(saving(thing, SCOPE), server, lambda: None)
    done = threading.Event()

    def grant() -> None:
        for number in range(400):
            thing.permissions.grant("read", f"account:{number}")
        done.set()

    worker = threading.Thread(target=grant)
    worker.start()
    while not done.is_set():
        run(sending_permissions(thing), server, lambda: None)
    worker.join()
    run(sending_permissions(thing), server, lambda: None)
    assert server.sets["read"] == {f"account:{number}" for number in range(400)}
