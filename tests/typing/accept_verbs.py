"""What the verbs take and give."""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal, assert_type

from pydantic import JsonValue

from kinto_orm import (
    BearerAuth,
    Bucket,
    Conflict,
    KeyVersion,
    Query,
    Record,
    Reply,
    RequestEvent,
    RestorePlan,
    Retry,
    ServerInfo,
    Session,
    SyncChange,
    SyncPlan,
    Tombstone,
    retry_on_conflict,
)
from kinto_orm.server import serve_process
from models import Todo, Urgent


def tick(todo: Todo) -> None:
    todo.done = True


async def a_tick(todo: Todo) -> None:
    todo.done = True


class Stamped(Record, collection="stamped"):
    created_at: datetime

    def before_save(self) -> None:
        super().before_save()

    def after_save(self) -> None: ...

    def before_delete(self) -> None: ...

    def after_delete(self) -> None: ...


class Awaiting(Record, collection="stamped"):
    async def before_save(self) -> None: ...

    async def after_save(self) -> None: ...

    async def before_delete(self) -> None: ...

    async def after_delete(self) -> None: ...


session = Session(
    "https://kinto.example/v1",
    auth=("alexis", "p4ssw0rd"),
    bucket="work",
    collection="todos",
    timeout=(3.05, 30.0),
    retry=Retry(3, deadline=10.0),
    headers={"X-Trace": "1"},
)
Session("memory://", auth="user:password", timeout=5.0, retry=None)
Session(auth=BearerAuth("token"), timeout=None)


def told(event: RequestEvent) -> None:
    assert_type(event.status, int | None)
    assert_type(event.error, BaseException | None)
    assert_type(event.sent, bool)


Session("memory://", on_request=told, verify=Path("ca.pem"), cert=("a.pem", "b.pem"))
Session("memory://", dry_run=True)
Session("memory://", verify=False, proxies={"https": "http://proxy.example:3128"})
assert_type(session.request("GET", "/", query={"_limit": 1}, json={"a": [1]}), Reply)
assert_type(session.request("GET", "/").status, int)

with session as entered:
    assert_type(entered, Session)
assert_type(session.scoped(bucket="home"), Session)
assert_type(session.server_info(), ServerInfo)

assert_type(Todo.get("x"), Todo)
assert_type(Urgent.get("x", session=session), Urgent)
assert_type(Todo.get_or_none("x"), Todo | None)
assert_type(Todo.get_or_create("x", title="y"), tuple[Todo, bool])
assert_type(Todo.find(), Query[Todo])
Todo.bind(session)
Todo.bind(None)

todo = Todo(title="x")
assert_type(todo.save(), Todo)
assert_type(todo.save(force=True, session=session), Todo)
assert_type(todo.refresh(), Todo)
assert_type(todo.refresh(keep_changes=True), Todo)
assert_type(todo.delete(), Tombstone)
assert_type(todo.delete(missing_ok=True, force=True), Tombstone)
assert_type(todo.delete().last_modified, int | None)
assert_type(todo.assign(title="y", done=True), Todo)
assert_type(Urgent.get("x").assign({"any name": 1}).save(), Urgent)
assert_type(todo.modified_at, datetime | None)
assert_type(Todo.patch("x", done=True), Todo)
assert_type(Urgent.patch("x", {"any name": 1}, if_match=5, session=session), Urgent)
assert_type(Todo.modify("x", lambda each: each.assign(done=True)), Todo)
assert_type(Todo.modify("x", tick, times=3, session=session), Todo)
# The names and types of fields are checked when the program runs: Python has no way to say them.
Todo.patch("x", dnoe="yes")
todo.assign(dnoe="yes")
# So is a coroutine function, which gives an object as others do.
Todo.modify("x", a_tick)
assert_type(todo.is_new, bool)
assert_type(todo.is_partial, bool)
assert_type(todo.uri, str)
assert_type(Urgent.get("x").save(), Urgent)

assert_type(session.get(Todo, "x"), Todo)
assert_type(session.get(Record, "x"), Record)
assert_type(session.find(Todo, Todo.prio >= 3), Query[Todo])
session.save(todo, Bucket(id="blog"))
session.refresh(todo)
session.delete(todo)

with session.batch() as batch:
    batch.save(todo, todo.permissions)
    batch.kv.set("site/host", "example.org")
    batch.kv.set(("site", "a/b"), {"c": [1, None]})
    batch.kv.delete("site/host", missing_ok=True)


@retry_on_conflict(times=3)
def finish(id: str) -> Todo:
    todo = Todo.get(id)
    todo.done = True
    return todo.save()


assert_type(finish("x"), Todo)

try:
    todo.save()
except Conflict as conflict:
    assert_type(conflict.fields, frozenset[str])
    assert_type(conflict.contested, frozenset[tuple[str, ...]])
    for path, whose in conflict.decided.items():
        assert_type(path, tuple[str, ...])
        assert_type(whose, Literal["local", "remote", "both"])
    conflict.merge()
    conflict.merge(prefer="local")
    conflict.merge("remote").save()


def over_what_is_there(session: Session) -> None:
    todo = Todo(title="x")
    assert_type(todo.save(existing="replace"), Todo)
    assert_type(session.save_all([todo], existing="update").skipped, int)
    assert_type(session.save_all([todo]).counted, str)
    assert_type(session.save_all([todo], progress=True).counts, str)
    session.save_all([todo], progress=lambda summary: print(summary))
    session.save_all([todo], progress=None)
    session.delete_all([todo], progress=True)
    session.sync(Todo, [todo], progress=True)
    Bucket(id="b").restore(5, progress=True)
    assert_type(Todo.find().all(), list[Todo])
    assert_type(todo.diff(), dict[str, tuple[Any, Any]])
    with session.batch() as batch:
        batch.save(todo, existing="skip")
    plan = session.sync(Todo, [todo, {"id": "x", "title": "y"}], delete_missing=True)
    session.sync(Todo, [todo], existing="replace", dry_run=True)
    assert_type(plan, SyncPlan)
    assert_type(plan.changes, list[SyncChange])


def restoring(session: Session) -> None:
    for deletion in Todo.deleted(session=session):
        assert_type(deletion.object, Todo | None)
    assert_type(Todo.restore("x", at=5), Todo)
    Bucket.get("work").restore(5, within="collections/todos", force=True)
    restored = Bucket.get("work").restore(5, dry_run=True, workers=2)
    assert_type(restored, RestorePlan)
    assert_type(restored.changes, list[SyncChange])
    assert_type(restored.unknown, list[str])
    assert_type(list(session.kv.history("a/b")), list[KeyVersion])
    assert_type(session.kv.at(5)["a"], JsonValue)
    assert_type(session.kv.revert("a", 5), JsonValue)
    assert_type(session.kv.uri("a"), str)


def serving() -> None:
    with serve_process("sqlite:///a.db", processes=2, port=8888) as server:
        assert_type(server.wait(), bool)
        assert_type(server.wait(1.5), bool)
