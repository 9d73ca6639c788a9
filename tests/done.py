"""Buckets in which something was done, and what was in them before."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st

from both import AnySession, Place, do
from kinto_orm import Bucket, Everyone, Record, RestorePlan, Session

Shown = dict[str, Any]


class Todo(Record, collection="todos", extra="allow"):
    title: str = ""


async def everything(bucket: Bucket) -> Shown:
    """All that is in a bucket, by its path, with the permissions; without timestamps."""
    found: list[Any] = [await do(type(bucket).get, bucket.id)]
    found += await do(bucket.groups.find())
    for collection in await do(bucket.collections.find()):
        found += [collection, *await do(collection.records.find())]
    return {each.uri: await _shown(each) for each in found}


async def _shown(each: Any) -> Any:
    await do(each.permissions.refresh)
    data = each.model_dump(mode="json", exclude={"last_modified"})
    data.pop("schema", None)  # of a record: the timestamp of its collection
    return data, each.permissions.wanted()


def without_left(plan: RestorePlan, shown: Shown) -> Shown:
    """What is in a bucket, but for the empty collections that a plan names."""
    left = {f"/buckets/{plan.bucket}/{path}" for path in plan.left}
    return {uri: each for uri, each in shown.items() if uri not in left}


async def titles() -> dict[str, str]:
    """The titles of all todos, by id."""
    return {each.id: each.title for each in await do(Todo.find())}


async def now_in(bucket: Bucket) -> int:
    """A time after all that was done in a bucket until now."""
    page = await do((await do(bucket.history)).limit(1).all)
    shown: Any = page[0].target["data"]
    return int(shown["last_modified"])


async def bucket_of(session: AnySession) -> Bucket:
    return await do(Bucket.get, session.bucket)  # type: ignore[no-any-return]


@pytest.fixture
async def changed(session: AnySession) -> tuple[Bucket, int, Shown]:
    """A bucket in which much was changed; a time before that, and what there was then."""
    await do(session.sync_schema, Todo)
    bucket = await bucket_of(session)
    group = await do(bucket.groups.new(id="writers", members=["account:a"]).save)
    todos = [Todo(id=name, title=name, deep={"a": 1}) for name in ("changed", "gone", "same")]
    await do(session.save_all, todos)
    shared = Todo(id="shared", permissions={"read": [Everyone], "write": ["account:b"]})
    await do(shared.save)
    await do(Todo(id="gone2", permissions={"read": ["account:b"]}).save)
    when, before = await now_in(bucket), await everything(bucket)

    bucket["note"] = "new"
    await do(bucket.save)
    await do(group.delete)
    await do(bucket.groups.new(id="new", members=[]).save)
    todos[0].title, todos[0]["more"] = "other", [1]
    del todos[0]["deep"]
    await do(todos[0].save)
    await do(todos[1].delete)
    await do((await do(Todo.get, "gone2")).delete)
    shared.permissions.revoke("read", Everyone).grant("write", "account:c")
    await do(shared.save)
    await do(Todo(id="new").save)
    await do((await do(Todo(id="fleeting").save)).delete)
    other = await do(bucket.collections.new(id="other", sort="x").save)
    await do(other.records.new(id="r", n=1).save)
    return bucket, when, before


async def much_undone(session: AnySession) -> tuple[Bucket, int]:
    """A bucket in which all was undone again since a time, and that time."""
    bucket = await bucket_of(session)
    group = await do(bucket.groups.new(id="g", members=[]).save)
    todos = [await do(Todo(id=name, title="1").save) for name in ("a", "b", "gone", "left")]
    when = await now_in(bucket)
    await do(group.delete)
    for each in todos:
        each.title = "2"
        await do(each.save)
    await do(todos[3].delete)
    await do(Todo(id="new").save)
    return bucket, when


def write_as_another(place: Place, bucket: str) -> bool:
    """What somebody does once, before the records are looked at; whether it was done now."""
    with Session(place.url, bucket=bucket, **auth_at(place)):
        if Todo.get("b").title != "2":
            return False
        Todo.get("b").assign(title="theirs").save()
        Todo.get("new").assign(title="theirs").save()
        Todo.get("gone").delete()
        Todo(id="left", title="theirs").save()
        return True


def auth_at(place: Place) -> dict[str, Any]:
    """The credentials of the session's user, where somebody asks for them."""
    return {"auth": ("tests", "s3cret")} if place.name == "http" else {}


# Any history


KEYS = ("title", "more")
steps = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from(KEYS)),
    st.tuples(st.just("delete"), st.sampled_from("ab"), st.sampled_from("xyz")),
    st.tuples(st.just("grant"), st.sampled_from("ab"), st.sampled_from("xyz"), st.booleans()),
    st.tuples(st.just("drop"), st.sampled_from("ab")),
    st.tuples(
        st.just("stamp"), st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from((-1, 1))
    ),
    st.tuples(st.just("group"), st.booleans()),
)


def step(session: Session, what: Any, number: int) -> None:
    """Do one thing in a bucket, if it can be done."""
    bucket = Bucket.get(session.bucket)
    act, *rest = what
    if act == "group":
        there = bucket.groups.find().first()
        if there is None:
            bucket.groups.new(id="g", members=[f"account:{number}"]).save()
        elif rest[0]:
            there.delete()
        else:
            there.assign(members=[f"account:{number}"]).save()
        return
    collection = bucket.collections.find(Record.id == rest[0]).first()
    if collection is None:
        collection = bucket.collections.new(id=rest[0]).save()
    if act == "drop":
        collection.delete()
        return
    record = collection.records.find(Record.id == rest[1]).first()
    if act == "put":
        record = record or collection.records.new(id=rest[1])
        record[rest[2]] = number
        record.save()
    elif act == "stamp":
        # Hours away; what is there can only become later.
        hours = 1 if record is not None else rest[2]
        record = record or collection.records.new(id=rest[1])
        record["title"] = number
        stamp = max(record.last_modified or 0, time.time_ns() // 10**6 + hours * 3600_000)
        record.save(last_modified=stamp + 1)
    elif record is not None and act == "delete":
        record.delete()
    elif record is not None:
        change = record.permissions.grant if rest[2] else record.permissions.revoke
        change("read", Everyone)
        record.permissions.save()


def steps_like(random: Random, number: int) -> Any:
    """One step, as `steps` has them."""
    where = random.choice("ab"), random.choice("xyz")
    return random.choice(
        [
            ("put", *where, random.choice(KEYS)),
            ("put", *where, random.choice(KEYS)),
            ("delete", *where),
            ("grant", *where, random.random() < 0.7),
            ("drop", where[0]),
            ("stamp", *where, random.choice((-1, 1))),
            ("group", random.random() < 0.3),
        ]
    )
