"""Key values on both sessions: every verb, from one source."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from both import (
    AnySession,
    Place,
    do,
    each_of,
    either,
    either_wire,
    entered,
    has,
    kv_of,
    read,
    some,
)
from conftest import Wire
from kinto_orm import (
    BatchError,
    Bucket,
    Collection,
    Forbidden,
    InvalidData,
    KeyNotFound,
    PathError,
)

# On both sessions.
session = either
wire = either_wire

DOCUMENTED = {"foo": 123, "bar": True, "baz": {"boo": 321, "far": False, "faz": [1, 2, 3]}}


async def stored(kv: Any) -> dict[str, Any]:
    """All that is there."""
    return dict(await do(kv.items))


async def test_a_value_is_read_whole_and_by_any_path(session: AnySession) -> None:
    """What was set comes back, at the root and below it."""
    kv = session.kv
    await do(kv.set, "my_key", DOCUMENTED)
    assert await do(kv.get, "my_key") == DOCUMENTED
    assert await read(kv, "my_key/baz/faz") == [1, 2, 3]
    assert await read(kv, ("my_key", "baz", "far")) is False
    assert await do(kv.get, "my_key/nope", "default") == "default"
    assert await has(kv, "my_key/baz")
    assert not await has(kv, "my_key/nope")


async def test_null_is_not_missing(session: AnySession) -> None:
    """None is a value like any other, for every verb that reads."""
    kv = session.kv
    await do(kv.set, "n", None)
    await do(kv.set, "o/n", None)
    assert await do(kv.get, "n", "default") is None
    assert await has(kv, "o/n")
    assert await read(kv, "n") is None
    found = await do(kv.get_many, ["n", "o/n", "nope", "o/nope"])
    assert found == {"n": None, "o/n": None}
    assert await do(kv.setdefault, "n", 1) is None
    assert await do(kv.pop, "n", 1) is None


async def test_nested_writes(session: AnySession) -> None:
    """Missing parents are made as objects; indices count from 0, and `-` appends."""
    kv = session.kv
    await do(kv.set, "new/a/list", [])
    await do(kv.set, "new/a/list/-", {"x": 1})
    await do(kv.set, "new/a/list/-", 2)
    await do(kv.set, "new/a/list/0/y/z", 3)
    assert await read(kv, "new") == {"a": {"list": [{"x": 1, "y": {"z": 3}}, 2]}}
    await do(kv.delete, "new/a/list/0")
    assert await read(kv, "new/a/list") == [2]


@pytest.mark.parametrize("path", ["nope", "nope/a", "key/nope", "key/list/2", "key/s/x"])
async def test_missing_values(session: AnySession, path: str) -> None:
    """Where nothing is, it is a KeyNotFound, or the default."""
    kv = session.kv
    await do(kv.set, "key", {"list": [1, 2], "s": "text"})
    for act in (kv.delete, kv.pop):
        with pytest.raises(KeyNotFound):
            await do(act, path)
    with pytest.raises(KeyNotFound):
        await read(kv, path)
    assert await do(kv.get, path) is None
    assert await do(kv.pop, path, 5) == 5
    await do(kv.delete, path, missing_ok=True)
    assert await stored(kv) == {"key": {"list": [1, 2], "s": "text"}}


async def test_what_is_listed(session: AnySession) -> None:
    """Keys, items and values, by prefix and without; what is listed serves as a path."""
    kv = session.kv
    for key in ("a1", "a2", "b"):
        await do(kv.set, key, key.upper())
    await do(kv.set, ("a/b",), 1)
    assert sorted(await do(kv.keys)) == ["a/b", "a1", "a2", "b"]
    assert sorted(await do(kv.keys, "a")) == ["a/b", "a1", "a2"]
    assert dict(await do(kv.items, "a1")) == {"a1": "A1"}
    assert sorted(map(str, await do(kv.values))) == ["1", "A1", "A2", "B"]
    assert await do(kv.count) == 4
    assert await do(kv.count, "a") == 3
    async for key in each_of(kv.keys, "a/"):
        assert await read(kv, key) == 1
        await do(kv.set, key, 2)
    assert await read(kv, ("a/b",)) == 2
    await do(kv.clear)
    assert await do(kv.count) == 0
    assert await do(kv.keys) == []


async def test_many_keys_are_streamed(wire: Wire) -> None:
    """A listing that is left early has not fetched all."""
    kv = wire.session.kv
    async with entered(wire.session.batch()) as batch:
        for number in range(250):
            batch.kv.set(f"k{number:03}", number)
    wire.clear()
    assert len(await some(3, kv.items)) == 3
    assert len([each for each in wire.methods if each == "GET"]) <= 2
    assert len(await do(kv.items)) == 250


async def test_pop_and_setdefault(session: AnySession) -> None:
    """Both say what is, or was, there."""
    kv = session.kv
    assert await do(kv.setdefault, "e/f", 9) == 9
    assert await do(kv.setdefault, "e/f", 1) == 9
    assert await do(kv.pop, "e/f") == 9
    assert await do(kv.pop, "e") == {}
    await do(kv.set, "queue", [1, 2, 3])
    assert [await do(kv.pop, "queue/0") for _ in range(3)] == [1, 2, 3]
    with pytest.raises(KeyNotFound):
        await do(kv.pop, "queue/0")


async def test_an_empty_bucket_reads_as_empty(session: AnySession) -> None:
    """Before the first write there is nothing, and reading makes nothing."""
    kv = session.kv
    assert await do(kv.keys) == await do(kv.items) == await do(kv.values) == []
    assert await do(kv.get_many, ["a", "b"]) == {}
    assert await do(kv.count) == 0
    await do(kv.clear)
    await do(kv.delete, "a", missing_ok=True)
    assert await do(Collection.get_or_none, "kv") is None


async def test_what_is_refused_before_sending(wire: Wire) -> None:
    """Paths that are none, and values that JSON has not."""
    kv = wire.session.kv
    for act, given in ((kv.set, ("k", {1})), (kv.setdefault, ("k/a", b"x"))):
        with pytest.raises(InvalidData, match="Nothing was sent"):
            await do(act, *given)
    for act, given in ((kv.set, ("", 1)), (kv.get, (3,)), (kv.get_many, ("a",))):
        with pytest.raises(PathError):
            await do(act, *given)
    assert wire.requests == []


async def test_a_root_key_is_one_put_and_a_nested_write_one_patch(wire: Wire) -> None:
    """Both sessions send the same."""
    kv = wire.session.kv
    await do(kv.set, "a", {"b": 1})
    wire.clear()
    await do(kv.set, "a", {"b": 2})
    assert wire.methods == ["PUT"]
    wire.clear()
    await do(kv.set, "a/b", 3)
    assert wire.methods == ["GET", "PATCH"]
    assert "If-Match" in wire.last.headers


async def test_writes_go_in_batches(session: AnySession) -> None:
    """Together with all else; a failure is one outcome of several."""
    async with entered(session.batch()) as batch:
        batch.kv.set("a", 1)
        batch.kv.set("b/c", 2)
    assert await stored(session.kv) == {"a": 1, "b": {"c": 2}}
    batch = session.batch()
    batch.kv.delete("nope")
    batch.kv.delete("a")
    with pytest.raises(BatchError) as caught:
        await do(batch.run)
    assert [type(each) for each in caught.value.exceptions] == [KeyNotFound]
    assert await stored(session.kv) == {"b": {"c": 2}}


async def test_each_bucket_has_its_own(session: AnySession, place: Place) -> None:
    """Those of a bucket are those of a session with that bucket."""
    other = await do(Bucket(id=place.new_id()).save)
    await do(session.kv.set, "k", "mine")
    await do(kv_of(other).set, "k", "other")
    assert await do(session.kv.get, "k") == "mine"
    assert await do(session.scoped(bucket=other.id).kv.get, "k") == "other"


async def test_what_others_keep_to_themselves(session: AnySession, place: Place) -> None:
    """Who may not read them is told so."""
    await do(session.kv.set, "k", 1)
    async with entered(place.session(auth=("eve", "s3cret"), bucket=session.bucket)) as eve:
        with pytest.raises(Forbidden):
            await do(eve.kv.get, "k")


@pytest.mark.parametrize("place", [True], indirect=True, ids=["awaited"])
async def test_writers_at_one_key_lose_nothing(session: AnySession) -> None:
    """Tasks that write at different places of one key, all at once; test_kv.py has threads."""
    await session.kv.set("k", {})
    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(session.kv.set(f"k/{number}", number))
    assert await session.kv.get("k") == {str(number): number for number in range(12)}
