"""Putting a bucket back where the history shows what another client nested too deeply."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deep import put_nested
from kinto_orm import Bucket, Collection, InvalidData, Record, Session
from kinto_orm.server import open_memory, serve

DEEP = "collections/todos/records/deep"
DEEPER = "collections/todos/records/deeper"


@pytest.fixture
def session() -> Iterator[Session]:
    user = ("tom", "s3cret-p4ss")
    with (
        open_memory() as server,
        serve(server) as http,
        Session(http.url, auth=user, bucket="back", collection="todos") as session,
    ):
        Bucket(id="back").save()
        Collection(id="todos").save()
        Record(id="a", n=1).save()
        yield session


def now(session: Session) -> int:
    """A time after all that was done until now."""
    entries = session.request("GET", "/buckets/back/history", query={"_limit": 1}).json["data"]
    return int(entries[0]["target"]["data"]["last_modified"])


def change(session: Session) -> None:
    """What is to be undone: a record is other, one is gone, one is new."""
    record = session.get(Record, "a")
    record["n"] = 2
    record.save()
    Record(id="new", n=3).save()


def check_but_for(left_out: set[str], when: int, session: Session) -> None:
    """What a dry run and a restore make of it; what is left out is there as it was."""
    bucket = Bucket.get("back")
    path = "/buckets/back/collections/todos/records"
    there = {each["id"]: each for each in session.request("GET", path).json["data"]}
    for dry_run in (True, False):
        plan = bucket.restore(when, dry_run=dry_run)
        assert {each.target for each in plan.failed} == left_out
        for each in plan.failed:
            assert isinstance(each.error, InvalidData)
            assert f"cannot restore {each.target}" in str(each.error)
            assert "nested deeper than 200" in str(each.error)
        assert {each.id for each in plan.changes} == {
            "collections/todos/records/a",
            "collections/todos/records/new",
        }
    now_there = {each["id"]: each for each in session.request("GET", path).json["data"]}
    assert now_there.pop("a")["n"] == 1
    ids = {each.rpartition("/")[2] for each in left_out}
    assert now_there == {id: each for id, each in there.items() if id in ids}


def test_made_since(session: Session) -> None:
    """It is not deleted; all else is put back."""
    when = now(session)
    change(session)
    put_nested(session, "deep", 300)
    put_nested(session, "deeper", 400)
    check_but_for({DEEP, DEEPER}, when, session)


@pytest.mark.parametrize("since", ["changed", "deleted"])
def test_there_before(session: Session, since: str) -> None:
    """What it was cannot be told: it is neither written over nor made again."""
    put_nested(session, "deep", 300)
    when = now(session)
    change(session)
    if since == "deleted":
        session.request("DELETE", f"/buckets/back/{DEEP}")
    else:
        put_nested(session, "deep", 2)
    check_but_for({DEEP}, when, session)


def test_deep_in_between(session: Session) -> None:
    """It was well before and is now."""
    Record(id="deep", n=1).save()
    when = now(session)
    change(session)
    put_nested(session, "deep", 300)
    put_nested(session, "deep", 2)
    check_but_for({DEEP}, when, session)


def test_untouched_since(session: Session) -> None:
    """Of what was not changed nothing has to be known."""
    put_nested(session, "deep", 300)
    Record(id="b", n=1).save()
    when = now(session)
    Record(id="new").save()
    plan = Bucket.get("back").restore(when)
    assert (plan.failed, plan.deleted, plan.left) == ([], 1, [])


def test_in_a_collection_that_was_deleted(session: Session) -> None:
    """The collection and its other records are made again."""
    put_nested(session, "deep", 300)
    Record(id="b", n=1).save()
    when = now(session)
    Collection.get("todos").delete()
    plan = Bucket.get("back").restore(when)
    assert [each.target for each in plan.failed] == [DEEP]
    assert {each.id: each["n"] for each in Record.find()} == {"a": 1, "b": 1}
