"""What changed, and following it, on both sessions: everything comes, and every token resumes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from both import AnySession, Place, do, each_of, either, either_wire, entered, some
from conftest import Wire
from kinto_orm import (
    Bucket,
    Collection,
    CollectionReset,
    Created,
    Deleted,
    Everyone,
    InvalidData,
    NotFound,
    Record,
    Updated,
)

# On both sessions.
session = either
wire = either_wire


class Todo(Record, collection="todos"):
    title: str
    n: int = 0


def told(changes: Any) -> list[tuple[str, str]]:
    """What happened to what, in order."""
    return [(type(each).__name__, each.id) for each in changes]


async def make(*ids: str) -> None:
    for id in ids:
        await do(Todo(id=id, title=id).save)


async def change(id: str) -> None:
    todo = await do(Todo.get, id)
    todo.n += 1
    await do(todo.save)


async def latest() -> str:
    """A token after everything that there is, of a reader whose first pass is over."""
    first = (await do(Todo.find().changes))[-1]
    await change(first.id)
    (update,) = await do(Todo.find().changes, since=first.token)
    assert type(update) is not Deleted
    return update.token


async def test_everything_is_created_at_first(session: AnySession) -> None:
    """Without a token every object comes as Created, whole and ready to be changed."""
    await make("a", "b", "c")
    changes = await do(Todo.find().changes)
    assert told(changes) == [("Created", "a"), ("Created", "b"), ("Created", "c")]
    todo = changes[1].object
    assert todo == await do(Todo.get, "b")
    assert changes[1].last_modified == todo.last_modified
    todo.title = "changed"
    await do(todo.save)


async def test_created_updated_and_deleted(session: AnySession) -> None:
    """With a token, what happened since comes in the order of time."""
    await make("a", "b", "c")
    token = await latest()
    assert await do(Todo.find().changes, since=token) == []
    await make("d")
    await change("b")
    await do((await do(Todo.get, "a")).delete)
    await change("d")
    await make("e")
    await do((await do(Todo.get, "e")).delete)
    changes = await do(Todo.find().changes, since=token)
    assert told(changes) == [
        ("Updated", "b"),
        ("Deleted", "a"),
        ("Created", "d"),
        ("Deleted", "e"),
    ]
    assert changes[1].object is None
    assert changes[2].object == await do(Todo.get, "d")
    assert [each.last_modified for each in changes] == sorted(e.last_modified for e in changes)
    assert await do(Todo.find().changes, since=changes[-1].token) == []


async def test_an_object_made_again_is_created(session: AnySession) -> None:
    """What was deleted and created again comes as Created."""
    await make("a", "b")
    token = await latest()
    await do((await do(Todo.get, "a")).delete)
    await make("a")
    assert told(await do(Todo.find().changes, since=token)) == [("Created", "a")]


async def test_what_was_deleted_before_is_no_change(session: AnySession) -> None:
    """A reader without a token hears nothing of objects that are gone already."""
    await make("a", "b")
    await do((await do(Todo.get, "b")).delete)
    assert told(await do(Todo.find().changes)) == [("Created", "a")]
    await do((await do(Todo.get, "a")).delete)
    assert told(await do(Todo.find().changes)) == []


async def test_an_empty_collection(session: AnySession) -> None:
    """Nothing comes of nothing, and the first object is noticed."""
    assert await do(Todo.find().changes) == []
    await make("a")
    assert told(await do(Todo.find().changes)) == [("Created", "a")]


async def test_ids_that_look_like_numbers(session: AnySession) -> None:
    """An id such as 123 or true is an id, for the history too."""
    await make("a")
    token = await latest()
    await make("123", "true", "1e5")
    kinds = {type(each) for each in await do(Todo.find().changes, since=token)}
    assert kinds == {Created}


async def test_untyped_records_and_collections(session: AnySession) -> None:
    """Plain records are followed as well, and the collections of a bucket."""
    await make("a")
    records = session.scoped(collection="todos").find(Record)
    (created,) = await do(records.changes)
    assert created.object["title"] == "a"
    collections = (await do(Bucket.get, session.bucket)).collections
    (first,) = await do(collections.find().changes)
    await do(collections.new(id="pages").save)
    assert [each.id for each in await do(collections.find().changes, since=first.token)] == [
        "pages"
    ]


async def test_changes_can_be_compared_and_shown(session: AnySession) -> None:
    """A change is shown by what happened, without its inner workings."""
    await make("a")
    (one,), (same,) = await do(Todo.find().changes), await do(Todo.find().changes)
    assert one == same
    assert repr(one).startswith("Created(id='a', last_modified=")
    assert "_page" not in repr(one)


async def test_a_reader_who_may_see_the_collection_only(place: Place, session: AnySession) -> None:
    """Who may read the collection and not the bucket can follow it."""
    collection = await do(Collection.get, "todos")
    await do(collection.permissions.grant("read", Everyone).save)
    await make("a")
    async with entered(place.session(auth=("reader", "s3cret"), bucket=session.bucket)) as theirs:
        (first,) = await do(Todo.find(session=theirs).changes)
        async with entered(session):
            await make("b")
            await change("a")
        changes = await do(Todo.find(session=theirs).changes, since=first.token)
        assert [each.id for each in changes] == ["b", "a"]


@pytest.mark.parametrize(
    "query",
    [
        lambda: Todo.find(Todo.n == 1),
        lambda: Todo.find().order_by(Todo.n),
        lambda: Todo.find().limit(3),
        lambda: Todo.find().only(Todo.n),
    ],
    ids=["condition", "order", "limit", "only"],
)
async def test_a_part_of_a_collection_cannot_be_followed(wire: Wire, query: Any) -> None:
    """Conditions, order, limit and only() are refused: deletions would not be noticed."""
    with pytest.raises(InvalidData, match="whole collection"):
        await do(query().changes)
    with pytest.raises(InvalidData, match="Nothing was sent"):
        await some(1, query().follow)
    assert wire.requests == []


@pytest.mark.parametrize("token", ["", "x", "[]", "{}", "[1,2,3]", '["a",1,"",[],null]', "3"])
async def test_what_is_no_token(session: AnySession, token: str) -> None:
    """A text that is no token is refused."""
    with pytest.raises(InvalidData, match="no token"):
        await do(Todo.find().changes, since=token)


@pytest.mark.parametrize("size", [2, 3, 100])
async def test_every_token_resumes_exactly(session: AnySession, size: int) -> None:
    """From each position of each pass, the rest follows: nothing missed, nothing twice."""
    await make(*"abcdefg")
    query = Todo.find().page_size(size)
    first = await do(query.changes)
    for index, each in enumerate(first):
        assert await do(query.changes, since=each.token) == first[index + 1 :]
    for id in "gca":
        await change(id)
    await make("h", "i", "j")
    await do((await do(Todo.get, "d")).delete)
    second = await do(query.changes, since=first[-1].token)
    assert len(second) == 7
    for index, each in enumerate(second):
        assert await do(query.changes, since=each.token) == second[index + 1 :]
    assert len(first[-1].token) < 200


async def test_a_token_of_the_first_pass_resumes_later(session: AnySession) -> None:
    """A first pass that was given up half way goes on from its token, whatever happened since."""
    await make(*"bcdefg")
    for count in range(1, 7):
        seen = await some(count, Todo.find().page_size(2).changes)
        await do((await do(Todo.get, "b")).delete)
        await change("g")
        await make("a", "b")
        await do((await do(Todo.get, "a")).delete)
        seen += await do(Todo.find().page_size(3).changes, since=seen[-1].token)
        last = {each.id: each for each in seen}
        there = {
            id: each.last_modified for id, each in last.items() if not isinstance(each, Deleted)
        }
        assert there == {each.id: each.last_modified for each in await do(Todo.find())}


async def made_again(session: AnySession) -> None:
    await do((await do(Collection.get, "todos")).delete)
    await do((await do(Bucket.get, session.bucket)).collections.new(id="todos").save)


async def test_a_collection_made_again(session: AnySession) -> None:
    """Deleted and made anew, empty or not, the collection is noticed to be another one."""
    await make("a", "b")
    token = await latest()
    await made_again(session)
    with pytest.raises(CollectionReset, match="since=None"):
        await do(Todo.find().changes, since=token)
    await make("c")
    with pytest.raises(CollectionReset):
        await do(Todo.find().changes, since=token)
    assert told(await do(Todo.find().changes)) == [("Created", "c")]


async def test_a_collection_that_is_gone(session: AnySession) -> None:
    """A collection that was deleted is NotFound, with the remedy."""
    await make("a")
    token = await latest()
    await do((await do(Collection.get, "todos")).delete)
    with pytest.raises(NotFound, match="sync_schema"):
        await do(Todo.find().changes, since=token)


async def test_the_last_object_seen_may_be_deleted(session: AnySession) -> None:
    """The tombstone of the last object that was seen is enough."""
    await make("a", "witness")
    token = await latest()
    await do((await do(Todo.get, "witness")).delete)
    await make("b")
    seen = await do(Todo.find().changes, since=token)
    assert told(seen) == [("Deleted", "witness"), ("Created", "b")]
    await do((await do(Todo.get, "b")).delete)
    await do((await do(Todo.get, "a")).delete)
    assert told(await do(Todo.find().changes, since=seen[-1].token)) == [
        ("Deleted", "b"),
        ("Deleted", "a"),
    ]


async def test_follow_goes_on_from_a_token(session: AnySession) -> None:
    """follow(since) gives what came after the token."""
    await make("a", "b")
    [first] = await some(1, Todo.find().changes)
    [second] = await some(1, Todo.find().follow, since=first.token)
    assert (first.id, second.id) == ("a", "b")


async def test_follow_gives_changes_as_they_come(session: AnySession) -> None:
    """It starts with what is there, and waits for more."""
    await make("a")
    came: list[tuple[str, str]] = []
    async for each in each_of(Todo.find().follow, interval=0.02):
        came.append((type(each).__name__, each.id))
        match each:
            case Created(id="a"):
                await change("a")
            case Updated(id="a"):
                await do((await do(Todo.get, "a")).delete)
            case Deleted():
                await make("last")
            case _:
                break
    assert came == [("Created", "a"), ("Updated", "a"), ("Deleted", "a"), ("Created", "last")]


@pytest.mark.parametrize("place", [True], indirect=True, ids=["awaited"])
async def test_a_cancelled_follower_ends(session: AnySession) -> None:
    """That is how a program that awaits stops it; the session goes on."""
    await make("a")
    came: list[str] = []

    async def listen() -> None:
        async for each in Todo.find().afollow(interval=0.02):
            came.append(each.id)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listen(), 0.3)
    assert came == ["a"]
    assert await do(Todo.find().count) == 1
