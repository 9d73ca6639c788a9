"""Putting a whole bucket back to what it was at a time."""

from __future__ import annotations

import time
from itertools import count
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bare import bare_session
from both import AnySession, Place, blocking_from_here, do, either, entered, in_a_bucket
from conftest import Backend
from done import (
    Shown,
    Todo,
    auth_at,
    bucket_of,
    changed,
    everything,
    much_undone,
    now_in,
    step,
    steps,
    steps_like,
    titles,
    without_left,
    write_as_another,
)
from faults import FaultyServer, answer_lost, at_write, gateway, passed_on
from kinto_orm import (
    Bucket,
    Conflict,
    Everyone,
    HistoryEntry,
    NotFound,
    Record,
    RestorePlan,
    ServerError,
    Session,
    TransportError,
    Unsupported,
)

# On both sessions.
session = either
__all__ = ["changed", "session"]  # fixtures

_numbers = count(1)


PLAN = """\
{bucket} at {when}: 3 created, 3 updated, 1 skipped, 3 deleted
  ~ : note
  + groups/writers
  - collections/other/records/r
  ~ collections/todos/records/changed: title, deep, more
  + collections/todos/records/gone
  + collections/todos/records/gone2
  - collections/todos/records/new
  ~ collections/todos/records/shared: permissions
  - groups/new
  left empty, for what others write meanwhile would be deleted with it: collections/other"""


async def test_all_of_it_is_what_it_was(changed: tuple[Bucket, int, Shown]) -> None:
    """The bucket, its groups, collections, records, and who may do what."""
    bucket, when, before = changed
    plan = await do(bucket.restore, when)
    assert isinstance(plan, RestorePlan)
    assert not plan.failed
    first, *lines = str(plan).splitlines()
    expected = PLAN.format(bucket=bucket.id, when=when).splitlines()
    assert (first, sorted(lines)) == (expected[0], sorted(expected[1:]))
    assert plan.left == ["collections/other"]
    assert without_left(plan, await everything(bucket)) == before
    again = await do(bucket.restore, when)
    assert str(again).startswith(f"{bucket.id} at {when}: 6 unchanged, 1 skipped")
    assert without_left(again, await everything(bucket)) == before


async def test_a_dry_run_says_the_same(changed: tuple[Bucket, int, Shown]) -> None:
    """And writes nothing."""
    bucket, when, _ = changed
    there = await everything(bucket)
    plan = await do(bucket.restore, when, dry_run=True)
    first, *lines = str(plan).splitlines()
    expected = PLAN.format(bucket=bucket.id, when=when).splitlines()
    assert first == f"{expected[0]} (a dry run: nothing was written)"
    assert lines == expected[1:]
    assert plan.dry_run
    assert await everything(bucket) == there
    done = await do(bucket.restore, when)
    assert (done.created, done.updated, done.deleted) == (3, 3, 3)


async def test_a_collection_with_all_of_its_records(session: AnySession) -> None:
    """Its deletion took them along without a word in the history; it is made again with them."""
    bucket = await bucket_of(session)
    await do(session.save_all, [Todo(id=f"t{n:03}", title=str(n)) for n in range(130)])
    await do((await do(Todo.get, "t001")).delete)
    when, before = await now_in(bucket), await titles()
    await do((await do(bucket.collections.get, "todos")).delete)
    assert (await do(bucket.restore, when, dry_run=True)).created == 130
    assert str(await do(bucket.restore, when)).startswith(f"{bucket.id} at {when}: 130 created")
    assert await titles() == before


async def test_a_collection_that_was_made_anew(session: AnySession) -> None:
    """What an earlier collection of this id had is not what this one has; in both directions."""
    bucket = await bucket_of(session)
    await do(Todo(id="first").save)
    await do((await do(bucket.collections.get, "todos")).delete)
    await do(bucket.collections.new(id="todos").save)
    await do(Todo(id="a", title="1").save)
    await do(Todo(id="b", title="1").save)
    when, before = await now_in(bucket), await everything(bucket)
    await do((await do(bucket.collections.get, "todos")).delete)
    await do(bucket.collections.new(id="todos").save)
    await do(Todo(id="a", title="2").save)
    await do(Todo(id="c", title="2").save)
    plan = await do(bucket.restore, when)
    assert (plan.created, plan.updated, plan.deleted, plan.failed) == (1, 1, 1, [])
    assert await everything(bucket) == before


@pytest.mark.parametrize("hours", [-1, 1])
async def test_timestamps_that_were_given(session: AnySession, hours: int) -> None:
    """A clock that is ahead, or old stamps, do not say when something was done."""
    bucket = await bucket_of(session)
    stamp = time.time_ns() // 10**6 + hours * 3600_000
    await do(Todo(id="copied", title="1").save, last_modified=stamp)
    last = await do(Todo(id="after", title="1").save)
    # Where the object's own stamp is no time, the entry has one.
    (entry,) = await do(await do(last.history))
    when = last.last_modified if hours < 0 else entry.last_modified
    time.sleep(0.003)
    await do(Todo(id="new", title="2").save, last_modified=stamp + 5000)
    last.title = "2"
    await do(last.save)
    plan = await do(bucket.restore, when)
    assert (plan.updated, plan.deleted, plan.failed) == (1, 1, [])
    assert await titles() == {"copied": "1", "after": "1"}


async def test_what_is_older_than_the_history(session: AnySession) -> None:
    """It is left as it is, and named."""
    bucket = await bucket_of(session)
    old = await do(Todo(id="old", title="1").save)
    deleted = await do(Todo(id="deleted", title="1").save)
    when = await now_in(bucket)
    history = await do(bucket.history)
    assert await do(history.where(HistoryEntry.resource_name == "record").delete) == 2
    old.title = "2"
    await do(old.save)
    await do(deleted.delete)
    await do(Todo(id="new").save)
    plan = await do(bucket.restore, when)
    assert sorted(plan.unknown) == [f"collections/todos/records/{n}" for n in ("deleted", "old")]
    assert (plan.skipped, plan.deleted, plan.total) == (2, 1, 3)
    assert str(plan).endswith(
        "left as it is, for the history does not reach back so far: "
        "collections/todos/records/deleted, collections/todos/records/old"
    )
    assert await titles() == {"old": "2"}


async def test_what_somebody_changes_meanwhile(session: AnySession, place: Place) -> None:
    """It stays, and is a Conflict; the rest is done."""
    bucket, when = await much_undone(session)
    made = await do(bucket.collections.new(id="made").save)

    def meanwhile(summary: object) -> None:
        if write_as_another(place, bucket.id):
            with Session(place.url, bucket=bucket.id, collection="made", **auth_at(place)) as other:
                other.save(Record(id="r", n=1))

    plan = await do(bucket.restore, when, progress=meanwhile)
    records = [f"collections/todos/records/{name}" for name in ("b", "gone", "left", "new")]
    assert sorted(each.target for each in plan.failed) == records
    assert plan.left == ["collections/made"]
    assert all(isinstance(each.error, Conflict) for each in plan.failed)
    assert "stays as it is" in str(plan.failed[0].error)
    assert (plan.created, plan.updated, plan.deleted) == (1, 1, 0)
    assert await titles() == {"a": "1", "b": "theirs", "left": "theirs", "new": "theirs"}
    assert [each.id for each in await do(made.records.find())] == ["r"]

    plan = await do(bucket.restore, when)
    assert not plan.failed
    assert await titles() == dict.fromkeys(("a", "b", "gone", "left"), "1")


async def test_permissions_that_are_not_shown(place: Place) -> None:
    """Who may write a bucket restores what others wrote; the permissions there stay as they are."""
    async with (
        in_a_bucket(place, auth=("alice", "s3cret")) as alice,
        entered(place.session(bucket=alice.bucket, auth=("bob", "s3cret"))) as bob,
    ):
        bucket = await do(Bucket.get, alice.bucket, session=alice)
        name = (await do(bob.server_info)).user["id"]
        await do(bucket.permissions.grant("write", name).save)
        theirs = Todo(id="a", title="1", permissions={"read": [Everyone]})
        await do(theirs.save, session=bob)
        when = await now_in(bucket)
        theirs.title = "2"
        theirs.permissions.revoke("read", Everyone)
        await do(theirs.save)
        plan = await do(bucket.restore, when)
        assert plan.changes[0].fields == ("title",)
        back = await do(Todo.get, "a", session=bob)
        assert (back.title, back.permissions.read) == ("1", set())


async def test_no_time_of_the_bucket(session: AnySession) -> None:
    """It was not there, or what is given is no time."""
    bucket = await bucket_of(session)
    with pytest.raises(NotFound, match=f"the bucket '{bucket.id}' was not there at 5"):
        await do(bucket.restore, 5)
    for wrong in ("yesterday", None, True):
        with pytest.raises(TypeError, match="is no time"):
            await do(bucket.restore, wrong)
    with pytest.raises(ValueError, match="workers"):
        await do(bucket.restore, 5, workers=0)


async def test_another_place(session: AnySession, place: Place) -> None:
    """A bucket is restored where it lives."""
    bucket = await bucket_of(session)
    async with in_a_bucket(place) as elsewhere:
        plan = await do(bucket.restore, await now_in(bucket), session=elsewhere)
        assert (plan.bucket, plan.total) == (session.bucket, 0)
    own = str(uuid4())
    async with entered(place.session(bucket="default", collection=own)) as personal:
        await do(Record(id="a", n=1).save, session=personal)
        mine = await do(Bucket.get, "default", session=personal)
        when = await now_in(mine)
        await do(Record(id="b", n=1).save, session=personal)
        assert (await do(mine.restore, when, session=personal)).deleted == 1


@pytest.mark.parametrize("lost", [gateway(502), at_write(answer_lost), at_write(gateway(503))])
async def test_what_fails_is_done_by_the_next(served: str, lost: Any) -> None:
    """The history cannot be read any more, an answer is lost, or the server is busy."""
    blocking_from_here()
    auth = ("tests", "s3cret")
    with (
        FaultyServer(upstream=served) as proxy,
        Session(proxy.url, auth=auth, bucket=f"lost{next(_numbers)}", retry=None) as session,
    ):
        bucket = Bucket(id=session.bucket).save()
        bucket.collections.new(id="todos").save()
        todo = Todo(id="a", title="1").save()
        when = await now_in(bucket)
        todo.assign(title="2").save()
        session.server_info()
        proxy.answers.extend([passed_on, lost])
        plan = bucket.restore(when)
        assert [each.target for each in plan.failed] == ["collections/todos/records/a"]
        assert isinstance(plan.failed[0].error, TransportError | ServerError)
        again = bucket.restore(when)
        assert (again.updated + again.unchanged, again.failed) == (1, [])
        assert await titles() == {"a": "1"}


def test_a_server_without_history() -> None:
    """The capability is named."""
    with bare_session() as session:
        bucket = Bucket(id=session.bucket).save(session=session)
        with pytest.raises(Unsupported, match="history"):
            bucket.restore(5, session=session)


# Any history


def test_the_history_of_many_is_read_once() -> None:
    """There is no question for each few objects: each makes the server look through all of it."""
    blocking_from_here()
    asked: list[str] = []
    with Session(
        "memory://", bucket="b", on_request=lambda event: asked.append(event.path)
    ) as session:
        session.sync_schema(Todo)
        session.save_all([Todo(id=f"t{n}", title=str(n)) for n in range(120)])
        when = max(each.last_modified or 0 for each in Todo.find())
        Todo.find().update(title="x")
        session.delete_all(Todo.find(Todo.id < "t2"))
        asked.clear()
        plan = Bucket.get("b").restore(when)
        assert len([path for path in asked if path.endswith("/history")]) <= 2
        assert not plan.unknown
        assert plan.created + plan.updated == 120
        assert {each.id: each.title for each in Todo.find()} == {
            f"t{n}": str(n) for n in range(120)
        }


async def any_history(url: str, bucket: str, before: list[Any], after: list[Any]) -> None:
    with Session(url, bucket=bucket) as session:
        made = Bucket(id=bucket).save()
        for number, what in enumerate(before):
            step(session, what, number)
        when, then = made.history().limit(1).all()[0].last_modified, await everything(made)
        time.sleep(0.003)  # what is done in the same millisecond is done at that time
        for number, what in enumerate(after, len(before)):
            step(session, what, number)
        promised = made.restore(when, dry_run=True)
        plan = made.restore(when)
        assert (plan.failed, plan.unknown) == ([], [])
        assert sorted(map(str, promised.changes)) == sorted(map(str, plan.changes))
        assert without_left(plan, await everything(made)) == then
        again = made.restore(when)
        assert (again.total, again.left) == (again.unchanged + len(plan.left), plan.left)


@given(before=st.lists(steps, max_size=10), after=st.lists(steps, max_size=10))
@settings(max_examples=20)
async def test_any_history(before: list[Any], after: list[Any]) -> None:
    """Whatever was done, a bucket becomes what it was, and what a dry run says is done."""
    blocking_from_here()
    await any_history("memory://tests", f"any{next(_numbers)}", before, after)


async def test_a_long_history(backend: Backend) -> None:
    """On each backend."""
    random = Random(12)
    chosen = [steps_like(random, number) for number in range(40)]
    blocking_from_here()
    await any_history(backend.url, backend.new_id("p"), chosen[:20], chosen[20:])
