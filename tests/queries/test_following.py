"""Following changes: nothing is missed, nothing comes twice, every token resumes exactly."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bare import bare_session
from conftest import Backend, Wire
from kinto_orm import (
    Bucket,
    Change,
    Collection,
    CollectionReset,
    Deleted,
    InvalidData,
    Record,
    Session,
)
from kinto_orm.server import EmbeddedServer, serve
from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import ask
from kinto_orm.wire.messages import Request


class Todo(Record, collection="todos"):
    title: str
    n: int = 0


def told(changes: Any) -> list[tuple[str, str]]:
    """What happened to what, in order."""
    return [(type(each).__name__, each.id) for each in changes]


def make(*ids: str) -> None:
    for id in ids:
        Todo(id=id, title=id).save()


def change(id: str) -> None:
    todo = Todo.get(id)
    todo.n += 1
    todo.save()


def latest() -> str:
    """A token after everything that there is, of a reader whose first pass is over."""
    first = list(Todo.find().changes())[-1]
    change(first.id)
    (update,) = Todo.find().changes(since=first.token)
    assert type(update) is not Deleted
    return update.token


def put_at(session: Session, id: str, stamp: int) -> None:
    """Create a record with a timestamp of its own, as a writer would whose commit took long."""
    body = json.dumps({"data": {"title": id, "last_modified": stamp}}).encode()
    path = f"/buckets/{session.resolve_bucket()}/collections/todos/records/{id}"
    reply = run(session, ask(Request("PUT", path, body=body), "put"))
    assert reply.json["data"]["last_modified"] == stamp


# What is told


def test_a_server_without_history() -> None:
    """There, creations after the first pass cannot be told from updates."""
    with bare_session() as session:
        Bucket(id="b").save().collections.new(id="todos").save()
        make("a")
        token = latest()
        make("b")
        Todo.get("a").delete()
        changes = told(Todo.find(session=session).changes(since=token))
        assert changes == [("Updated", "b"), ("Deleted", "a")]


# Tokens


@given(
    parts=st.lists(
        st.none() | st.integers() | st.floats() | st.text() | st.lists(st.integers() | st.text())
        | st.dictionaries(st.text(max_size=1), st.none(), max_size=1),
        min_size=5,
        max_size=5,
    )
)  # fmt: skip
@example(parts=[0, 0, "", [], {}])
@example(parts=[0, 0, "", [], "\ud800"])
@example(parts=[float("inf"), 0, "", [], None])
@example(parts=[0, 0, "", [float("nan")], None])
@example(parts=[-1, 0, "", [], None])
def test_a_token_of_anything_is_refused_or_is_a_place(session: Session, parts: list[Any]) -> None:
    """Whoever made it up: one of the documented errors, or changes of this collection."""
    with contextlib.suppress(InvalidData, CollectionReset):
        list(Todo.find().changes(since=json.dumps(parts)))


def test_what_happens_during_the_first_pass(session: Session) -> None:
    """Objects that come, change and go while the first pass is read are all told of."""
    make(*"bcdefg")
    changes = Todo.find().page_size(2).changes()
    seen = list(islice(changes, 3))
    Todo.get("b").delete()  # given out already
    Todo.get("f").delete()  # not yet
    change("c")
    change("g")
    make("a", "z")
    seen += changes
    there, gone = replay(seen)
    assert there == stored()
    assert "b" in gone


def replay(changes: list[Change[Todo]]) -> tuple[dict[str, int], set[str]]:
    """What a reader believes to be there, and what it was told is gone."""
    there: dict[str, int] = {}
    gone = set()
    for each in changes:
        if isinstance(each, Deleted):
            there.pop(each.id, None)
            gone.add(each.id)
        else:
            there[each.id] = each.last_modified
    return there, gone


def stored() -> dict[str, int]:
    return {each.id: each.last_modified or 0 for each in Todo.find()}


IDS = st.sampled_from("abcdefgh")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), IDS),
        st.tuples(st.just("save"), IDS),
        st.tuples(st.just("delete"), IDS),
        st.tuples(st.just("read"), st.integers(1, 4)),
        st.tuples(st.just("start again"), st.none()),
    ),
    max_size=25,
)


@dataclass
class Reader:
    """A reader that goes on from tokens, and is interrupted at any place."""

    size: int
    seen: list[Change[Todo]] = field(default_factory=list)
    changes: Iterator[Change[Todo]] | None = None

    def read(self, most: int | None) -> None:
        if self.changes is None:
            since = self.seen[-1].token if self.seen else None
            self.changes = Todo.find().page_size(self.size).changes(since=since)
        found = list(islice(self.changes, most))
        self.seen += found
        if most is None or len(found) < most:
            self.changes = None

    def start_again(self, _: None) -> None:
        self.changes = None


def save(id: str) -> None:
    Todo.get_or_create(id, title=id)[0].save(force=True)


def delete(id: str) -> None:
    Todo(id=id, title=id).delete(force=True, missing_ok=True)


@settings(max_examples=30)
@given(steps=STEPS, size=st.integers(1, 5))
def test_any_interleaving(backend: Backend, steps: Any, size: int) -> None:
    """However reading and writing alternate, in the end the reader knows what is there.

    No change comes twice, and what comes as Created was not there for the reader.
    """
    with backend.session(bucket=backend.new_id()) as session:
        Bucket(id=session.bucket).save().collections.new(id="todos").save()
        reader = Reader(size)
        acts = {
            "save": save,
            "delete": delete,
            "read": reader.read,
            "start again": reader.start_again,
        }
        for act, argument in steps:
            acts[act](argument)
        reader.read(None)
        reader.start_again(None)
        reader.read(None)
        there, _ = replay(reader.seen)
        assert there == stored()
        stamps = [each.last_modified for each in reader.seen]
        assert len(set(stamps)) == len(stamps)


# Nothing is missed


def test_a_late_commit_is_found(session: Session) -> None:
    """A change whose timestamp is older than what the reader saw comes with the next pass."""
    make("a", "b")
    token = latest()
    put_at(session, "late", (Todo.get("a").last_modified or 0) - 1500)
    make("c")
    changes = list(Todo.find().changes(since=token))
    assert told(changes) == [("Created", "late"), ("Created", "c")]
    for each in changes:
        later = Todo.find().changes(since=each.token)
        assert told(later) == told(changes)[changes.index(each) + 1 :]


def test_a_late_commit_is_found_by_a_slow_reader(session: Session) -> None:
    """It is found even when it comes behind a page that was read, and time passes after it."""
    make("a")
    token = latest()
    make("b", "c", "d")
    changes = Todo.find().page_size(2).changes(since=token)
    seen = list(islice(changes, 1))
    now = Todo.get("b").last_modified or 0
    put_at(session, "late", now - 500)
    put_at(session, "much-later", now + 60_000)
    seen += changes
    assert told(seen) == [("Created", id) for id in ("b", "c", "d", "much-later")]
    for each in seen:
        rest = told(Todo.find().page_size(2).changes(since=each.token))
        assert ("Created", "late") in rest


def test_old_changes_need_no_looking_back(session: Session) -> None:
    """What is older than the look-back leaves the token, which stays short."""
    make("old")
    now = Todo.get("old").last_modified or 0
    for number in range(1, 6):
        put_at(session, f"r{number}", now + number * 10_000)
    token = latest()
    assert len(token) < 90
    assert list(Todo.find().changes(since=token)) == []


RUNS = 10
WRITERS = 6


def test_nothing_is_missed_while_six_write(postgres: EmbeddedServer) -> None:
    """On PostgreSQL, with concurrent writers, a reader misses no change in ten runs."""
    with (
        serve(postgres, threads=8) as http,
        Session(http.url, auth=postgres.auth, bucket="followed") as session,
    ):
        session.sync_schema(Todo)
        for run in range(RUNS):
            follow_while_writing(session, f"r{run}-")


def follow_while_writing(session: Session, prefix: str) -> None:
    """Six threads write, this one reads in a loop; then both sides are compared."""
    token = latest_token(session)
    seen: list[Change[Todo]] = []
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(write, session, f"{prefix}{n}-") for n in range(WRITERS)]
        while not all(each.done() for each in writers):
            seen += Todo.find(session=session).changes(since=seen[-1].token if seen else token)
        written = [each for writer in writers for each in writer.result()]
    seen += Todo.find(session=session).changes(since=seen[-1].token if seen else token)
    there, gone = replay(seen)
    stamps = [each.last_modified for each in seen]
    assert len(set(stamps)) == len(stamps)
    expected = {todo.id: todo.last_modified for todo in written if not todo._is_gone}
    assert there == expected
    assert gone == {todo.id for todo in written if todo._is_gone}


def latest_token(session: Session) -> str | None:
    changes = list(Todo.find(session=session).changes())
    return changes[-1].token if changes else None


class Written(Todo, collection="todos"):
    """A todo that remembers whether its writer deleted it."""

    _is_gone: bool = False


def write(session: Session, prefix: str) -> list[Written]:
    mine = [Written(id=f"{prefix}{n}", title="x") for n in range(12)]
    for n, each in enumerate(mine):
        each.save(session=session)
        if n % 4 == 2:
            mine[n - 1].n = 1
            mine[n - 1].save(session=session)
        if n % 4 == 3:
            mine[n - 1].delete(session=session)
            mine[n - 1]._is_gone = True
    return mine


# A collection that is not what it was


def made_again(session: Session) -> None:
    Collection.get("todos").delete()
    Bucket.get(session.bucket).collections.new(id="todos").save()


def test_a_flushed_server() -> None:
    """After a flush and new data, an old token is refused."""
    with Session("memory://", bucket="b") as session:
        session.sync_schema(Todo)
        make("a", "b")
        token = latest()
        assert run(session, ask(Request("POST", "/__flush__"), "flush")).status == 202
        session.sync_schema(Todo)
        make("c")
        with pytest.raises(CollectionReset):
            list(Todo.find().changes(since=token))


def test_many_changes_are_no_reset(session: Session) -> None:
    """When the last object that was seen comes behind many others, nothing is wrong."""
    make("witness")
    token = latest()
    make(*(f"x{n}" for n in range(7)))
    change("witness")
    changes = told(Todo.find().page_size(3).changes(since=token))
    assert changes == [("Created", f"x{n}") for n in range(7)] + [("Updated", "witness")]


# follow()


def test_follow_gives_changes_as_they_come(session: Session) -> None:
    """follow() starts with what is there, waits for more, and ends when it is stopped."""
    make("a")
    stop = threading.Event()
    came: list[tuple[str, str]] = []

    def listen() -> None:
        for each in Todo.find(session=session).follow(interval=0.02, stop=stop):
            came.append((type(each).__name__, each.id))
            if each.id == "last":
                stop.set()

    listener = threading.Thread(target=listen)
    listener.start()
    wait_for(lambda: ("Created", "a") in came)
    change("a")
    wait_for(lambda: ("Updated", "a") in came)
    Todo.get("a").delete()
    wait_for(lambda: ("Deleted", "a") in came)
    make("last")
    listener.join(10)
    assert not listener.is_alive()
    assert came == [("Created", "a"), ("Updated", "a"), ("Deleted", "a"), ("Created", "last")]


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def test_a_quiet_server_is_asked_politely(wire: Wire) -> None:
    """When nothing is new, follow() asks by HEAD with If-None-Match; a change ends that."""
    make("a")
    stop = threading.Event()
    came: list[str] = []

    def listen() -> None:
        for each in Todo.find(session=wire.session).follow(interval=0.05, stop=stop):
            came.append(each.id)

    def polite() -> int:
        return sum("If-None-Match" in r.headers and r.method == "HEAD" for r in wire.requests)

    with ThreadPoolExecutor(1) as pool:
        listener = pool.submit(listen)
        wait_for(lambda: polite() > 3)
        asked = len([r for r in wire.requests if r.method == "GET"])
        wait_for(lambda: polite() > 8)
        assert len([r for r in wire.requests if r.method == "GET"]) == asked
        make("b")
        wait_for(lambda: "b" in came)
        stop.set()
        listener.result(10)
    assert came == ["a", "b"]


def test_a_stopped_follower_asks_nothing(wire: Wire) -> None:
    """An event that is set already ends it at once."""
    stop = threading.Event()
    stop.set()
    assert list(Todo.find().follow(stop=stop)) == []
    assert wire.requests == []
