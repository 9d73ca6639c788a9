"""What key values were, and making them that again."""

from __future__ import annotations

from typing import Any

import pytest

from both import AnySession, Place, do, either, entered, has, read
from feeding import fails, feed, nowhere, requests_of, root, says
from kinto_orm import (
    BadReply,
    KeyNotFound,
    KeysAt,
    KeyValues,
    KeyVersion,
    Record,
    Session,
    Unsupported,
)

# On both sessions.
session = either


async def written(kv: Any) -> list[KeyVersion]:
    """A few values; the versions of the path "a/b"."""
    await do(kv.set, "a", {"b": 1})
    await do(kv.set, "a/c", 5)
    await do(kv.set, "a/b", [1, 2])
    await do(kv.delete, "a/b")
    await do(kv.set, "a/b", None)
    return list(await do(kv.history, "a/b"))


async def test_the_history_of_a_path(session: AnySession) -> None:
    """What changed it, the newest first: when, by whom; what changed others is left out."""
    found = await written(session.kv)
    assert [(each.value, each.exists) for each in found] == [
        (None, True),
        (None, False),
        ([1, 2], True),
        (1, True),
    ]
    stamps = [each.last_modified for each in found]
    assert stamps == sorted(stamps, reverse=True)
    assert found[0].user_id == (await do(session.server_info)).user["id"]
    assert all(each.date.tzinfo for each in found)


async def test_the_history_of_a_root_key(session: AnySession) -> None:
    """Each version of it, and its deletion."""
    kv = session.kv
    await do(kv.set, "a key", 1)
    await do(kv.set, "a key", 2)
    await do(kv.delete, "a key")
    found = [*await do(kv.history, "a key")]
    assert [(each.value, each.exists) for each in found] == [(None, False), (2, True), (1, True)]
    assert not [*await do(kv.history, "nobody")]


async def test_a_long_history(session: AnySession) -> None:
    """Page by page."""
    async with entered(session.batch()) as batch:
        for n in range(130):
            batch.kv.set("n", n // 2)
    found = [*await do(session.kv.history, "n")]
    assert [each.value for each in found] == [*reversed(range(65))]


async def test_reverting(session: AnySession) -> None:
    """A path becomes what it was, and others of the same key stay."""
    kv = session.kv
    _, gone, second, first = await written(kv)
    await do(kv.set, "a/d", 1)
    assert await do(kv.revert, "a/b", second.last_modified) == [1, 2]
    assert await read(kv, "a") == {"b": [1, 2], "c": 5, "d": 1}
    with pytest.raises(KeyNotFound, match="a/b"):
        await do(kv.revert, "a/b", gone.last_modified)
    assert await do(kv.revert, "a", first.last_modified) == {"b": 1}
    await do(kv.delete, "a")
    await do(kv.revert, "a", first.last_modified)
    assert await read(kv, "a") == {"b": 1}
    with pytest.raises(KeyNotFound, match="at 5"):
        await do(kv.revert, "a", 5)
    with pytest.raises(TypeError, match="is no time"):
        await do(kv.revert, "a", "yesterday")


async def test_at_a_time(session: AnySession) -> None:
    """All keys as they were, by path, in memory."""
    kv = session.kv
    *_, second, _ = await written(kv)
    await do(kv.set, "later", 1)
    await do(kv.delete, "a")
    then = await do(kv.at, second.last_modified)
    assert isinstance(then, KeysAt)
    assert dict(then) == {"a": {"b": [1, 2], "c": 5}}
    assert then["a/b/1"] == 2
    assert then.get(("a", "x")) is None
    assert len(then) == 1
    assert "later" not in then
    with pytest.raises(KeyNotFound, match="later"):
        then["later"]
    assert await has(kv, "later")


async def test_where_it_is(session: AnySession, place: Place) -> None:
    """The path of the record, which is that of the key and not of what is below it."""
    kv = session.kv
    assert kv.uri("a/b") == f"/buckets/{session.bucket}/collections/kv/records/a"
    await do(kv.set, ("a b/c", "d"), 1)
    (record,) = await do(session.scoped(collection="kv").find(Record).all)
    assert record.uri == kv.uri(("a b/c", "d"))
    async with entered(place.session()) as personal:
        await do(personal.resolve_bucket)
        assert "/default/" not in personal.kv.uri("a")


def test_a_server_of_kvp_io_has_no_history() -> None:
    """Each says so, and sends nothing."""
    with Session("kvp+http://127.0.0.1:9", auth="Bearer x") as session:
        kv = session.kv
        for act in (
            lambda: list(kv.history("a")),
            lambda: kv.at(5),
            lambda: kv.revert("a", 5),
            lambda: kv.uri("a"),
        ):
            with pytest.raises(Unsupported, match=r"kvp\.io"):
                act()


ENTRY = {
    "id": "e1",
    "last_modified": 5,
    "date": "2026-01-01T00:00:00+00:00",
    "user_id": "me",
    "target": {"data": {"id": "a", "last_modified": 4, "key": "a", "value": 1}},
}


@pytest.mark.parametrize(
    "wrong",
    [{"target": None}, {"target": {}}, {"target": {"data": {}}}, {"date": "x"}, {"user_id": 5}],
)
def test_an_entry_that_is_none(wrong: dict[str, Any]) -> None:
    """It is not believed."""
    kv = KeyValues(nowhere(), "b")
    answers = [root(25, "history"), says(200, {"data": [ENTRY | wrong]})]
    fails(kv.reverting("a", 5), BadReply, *answers)


def test_what_is_asked() -> None:
    """One request for the one entry, and what `set` sends."""
    kv = KeyValues(nowhere(), "b")
    stored = {"data": {"id": "a", "last_modified": 9, "key": "a", "value": 1}}
    answers = [root(25, "history"), says(200, {"data": [ENTRY]}), says(200, stored)]
    result, steps = feed(requests_of(kv.reverting("a", 5)), *answers)
    assert result == 1
    assert steps[1].path == "/buckets/b/history"
    assert "_limit=1" in steps[1].query
    assert steps[2].method == "PUT"
