"""Buckets, groups, collections and their children."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Backend, Wire
from kinto_orm import (
    Bucket,
    Collection,
    ConfigurationError,
    Conflict,
    Group,
    InvalidData,
    Record,
    Session,
)


def test_a_tree_is_made_and_read_back(session: Session, backend: Backend) -> None:
    """Bucket, collection, group and record, each through its parent."""
    bucket = Bucket(id=backend.new_id(), title="Blog").save()
    articles = bucket.collections.new(id="articles", sort="-date").save()
    writers = bucket.groups.new(id="writers", members=["account:ann"]).save()
    hello = articles.records.new(id="hello", title="Hello").save()
    assert hello.uri == f"{bucket.uri}/collections/articles/records/hello"
    assert writers.uri == f"{bucket.uri}/groups/writers"
    again = Bucket.get(bucket.id)
    assert again["title"] == "Blog"
    assert again.collections.get("articles")["sort"] == "-date"
    assert [each.id for each in again.collections.find()] == ["articles"]
    assert again.groups.get("writers").members == ["account:ann"]
    assert [each["title"] for each in again.collections.get("articles").records.find()] == ["Hello"]


@pytest.mark.parametrize("where", ["text", "object", "session"])
@pytest.mark.parametrize("kind", [Collection, Group])
def test_where_a_collection_or_a_group_lives(
    session: Session, backend: Backend, kind: Any, where: str
) -> None:
    """In the bucket given as an id or as an object, else in the session's."""
    bucket = Bucket(id=backend.new_id()).save()
    given = {"text": {"bucket": bucket.id}, "object": {"bucket": bucket}, "session": {}}[where]
    thing = kind(id="thing", **given).save()
    expected = session.bucket if where == "session" else bucket.id
    assert thing.bucket == expected
    assert thing.uri.startswith(f"/buckets/{expected}/")
    assert "bucket" not in (thing.model_extra or {})
    with session.scoped(bucket=expected):
        assert kind.get("thing") == thing


@pytest.mark.parametrize("bucket", ["a b", "", "/", 5])
def test_a_bucket_that_cannot_be(bucket: Any) -> None:
    """What is no id is a TypeError, what the server would refuse is InvalidData, both at once."""
    with pytest.raises((InvalidData, TypeError)):
        Collection(id="c", bucket=bucket)


@pytest.mark.parametrize("kind", [Bucket, Collection, Group])
def test_structure_is_saved_like_records(wire: Wire, backend: Backend, kind: Any) -> None:
    """Guarded creation, changed fields only, clean saves send nothing, guarded deletion."""
    thing = kind(id=backend.new_id(), colour="red").save()
    assert wire.last.headers["If-None-Match"] == "*"
    wire.clear()
    thing.save()
    assert wire.methods == []
    thing.colour = "blue"
    thing.save()
    assert wire.methods == ["PATCH"]
    assert wire.body == {"data": {"colour": "blue"}}
    assert kind.get(thing.id).colour == "blue"
    stale = kind.get(thing.id)
    thing.colour = "green"
    thing.save()
    stale.colour = "grey"
    with pytest.raises(Conflict):
        stale.save()
    tombstone = thing.delete()
    assert tombstone.id == thing.id
    assert wire.last.headers["If-Match"]


def test_groups_have_members(wire: Wire) -> None:
    """A list of principals; without any the server is told so, for it stores none by itself."""
    group = Group(id="g").save()
    assert wire.body == {"data": {"members": []}}
    group.members.append("account:ann")
    group.save()
    assert Group.get("g").members == ["account:ann"]
    assert group.principal == group.uri


@pytest.mark.parametrize("member", ["system.Everyone", "/buckets/b/groups/g"])
def test_members_that_the_server_refuses(session: Session, member: str) -> None:
    """Neither groups nor system principals can be members."""
    with pytest.raises(InvalidData):
        Group(id="g", members=[member]).save()


def test_principal_of_a_group_in_the_personal_bucket(backend: Backend) -> None:
    """Known once it is saved: the server's own name of the bucket is needed."""
    with backend.session(auth=f"{backend.new_id('user')}:pw") as session:
        group = Group(id="g", bucket="default")
        with pytest.raises(ConfigurationError, match="saved"):
            group.principal
        Group(id="other").save()
        group.save()
        real = str(session.server_info().user["bucket"])  # type: ignore[index]
        assert group.principal == f"/buckets/{real}/groups/g"


def test_the_personal_bucket_by_its_short_name(backend: Backend) -> None:
    """Bucket "default" is the personal one; what is made in it has the real id in its path."""
    with backend.session(auth=f"{backend.new_id('user')}:pw") as session:
        real = str(session.server_info().user["bucket"])  # type: ignore[index]
        notes = Collection(id="notes", bucket="default").save()
        record = notes.records.new(id="x", a=1).save()
        assert record.uri == f"/buckets/{real}/collections/notes/records/x"
        with session.scoped(collection="notes"):
            assert Record.get("x") == record


def test_schema_of_a_collection(wire: Wire) -> None:
    """Stored as `schema`, called json_schema here, and not sent when there is none."""
    plain = Collection(id="plain").save()
    assert wire.body == {"data": {}}
    schema = {"type": "object", "required": ["title"]}
    checked = Collection(id="checked", json_schema=schema).save()
    assert wire.body == {"data": {"schema": schema}}
    with pytest.raises(InvalidData, match="title"):
        checked.records.new(id="x").save()
    plain.json_schema = schema
    plain.save()
    assert Collection.get("plain").json_schema == schema
    plain.json_schema = None
    plain.save()
    assert wire.body == [{"op": "remove", "path": "/data/schema"}]
    plain.records.new(id="x").save()


def test_collections_and_buckets_are_found(session: Session, backend: Backend) -> None:
    """With conditions and orders, as records are."""
    for id, size in (("a", 2), ("b", 1)):
        Collection(id=id, size=size).save()
    assert [each.id for each in Collection.find()] == ["a", "b", "todos"]
    assert Collection.find(Collection.id == "b").one()["size"] == 1
    assert Bucket.find(Bucket.id == session.bucket).one().id == session.bucket


def test_deleting_a_bucket_deletes_what_is_in_it(session: Session, backend: Backend) -> None:
    """Collections, groups and records go with it."""
    bucket = Bucket(id=backend.new_id()).save()
    bucket.collections.new(id="c").save().records.new(id="x").save()
    bucket.delete()
    Bucket(id=bucket.id).save()
    assert Bucket.get(bucket.id).collections.find().all() == []


def test_deleting_all_records_of_a_collection(session: Session) -> None:
    """A query deletes; the collection stays."""
    records = Collection.get("todos").records
    for number in range(3):
        records.new(number=number).save()
    assert records.find().delete() == 3
    assert records.find().count() == 0
    assert Collection.get("todos").id == "todos"


def test_new_children_use_the_parents_session(backend: Backend, session: Session) -> None:
    """Whatever is current."""
    bucket = Bucket.get(session.bucket)
    with backend.session(auth="bob:pw"):
        made = bucket.collections.new(id="mine").save()
        assert made.uri == f"/buckets/{session.bucket}/collections/mine"
        assert bucket.groups.find().all() == []
