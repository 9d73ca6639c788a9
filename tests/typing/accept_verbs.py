"""What the verbs take and give."""

from typing import assert_type

from kinto_orm import (
    BearerAuth,
    Bucket,
    Conflict,
    Query,
    Record,
    Retry,
    ServerInfo,
    Session,
    Tombstone,
    retry_on_conflict,
)
from models import Todo, Urgent

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
    conflict.merge()
    conflict.merge(prefer="local")
    conflict.merge("remote").save()
