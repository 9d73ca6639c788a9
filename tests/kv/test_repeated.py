"""A proxy that repeats an old answer: what it says was done then, and not now; on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from both import AnySession, Place, do, either, entered, in_a_bucket, read
from faults import Exchange, FaultyServer
from kinto_orm import AsyncSession, BadReply, Conflict, Session

# On both sessions.
session = either


class Repeating:
    """A session through a proxy that may repeat an answer, and one that goes straight there.

    Attributes:
        kv: Key values through the proxy.
        direct: The same ones, straight.
    """

    def __init__(self, session: AnySession, direct: AnySession, proxy: FaultyServer) -> None:
        self.kv = session.kv
        self.direct = direct.kv
        self._proxy = proxy
        self._kept: tuple[int, bytes, dict[str, str]] = (0, b"", {})

    async def keeping(self, method: str, verb: Any, *args: Any) -> None:
        """Do something, and keep the answer to its request of this method."""

        def keep(exchange: Exchange) -> None:
            answer = exchange.forward()
            if exchange.command == method:
                self._kept = answer
            else:
                self._proxy.answers.append(keep)
            exchange.write(*answer)

        self._proxy.answers.append(keep)
        await do(verb, *args)

    async def repeated(self, method: str, verb: Any, *args: Any, done: bool = False) -> Any:
        """Do something whose request of this method gets the answer that was kept.

        Args:
            method: Of the request.
            verb: What is done.
            *args: As it takes them.
            done: Whether the server gets the request.
        """

        def repeat(exchange: Exchange) -> None:
            if exchange.command != method:
                self._proxy.answers.append(repeat)
                exchange.write(*exchange.forward())
                return
            if done:
                exchange.forward()
            exchange.write(*self._kept)

        self._proxy.answers.append(repeat)
        return await do(verb, *args)


@pytest.fixture
async def through(place: Place) -> AsyncIterator[Repeating]:
    """Key values through such a proxy, and straight."""
    async with in_a_bucket(place) as direct:
        kind = AsyncSession if place.is_awaited else Session
        with FaultyServer(upstream=place.url) as proxy:
            options = {"auth": ("tests", "s3cret"), "bucket": direct.bucket, "retry": None}
            async with entered(kind(proxy.url, **options)) as other:
                yield Repeating(other, direct, proxy)


over_http = pytest.mark.parametrize("server_name", ["http"])


@over_http
async def test_a_value_that_was_stored_before(through: Repeating) -> None:
    """1, then 0: the answer to the first 1 is not believed of the second."""
    kv = through.kv
    await do(kv.set, "k", {"a": 5})
    await through.keeping("PATCH", kv.set, "k/a", 1)
    await do(kv.set, "k/a", 0)
    with pytest.raises(BadReply) as error:
        await through.repeated("PATCH", kv.set, "k/a", 1)
    assert error.value.lost
    assert await read(through.direct, "k/a") == 0
    await do(kv.set, "k/a", 1)
    assert await read(through.direct, "k/a") == 1


@over_http
async def test_a_member_that_was_added_and_removed_before(through: Repeating) -> None:
    """Neither is believed of the second time."""
    kv = through.kv
    await do(kv.set, "k", {})
    await through.keeping("PATCH", kv.setdefault, "k/a", 1)
    await do(kv.delete, "k/a")
    with pytest.raises(BadReply):
        await through.repeated("PATCH", kv.setdefault, "k/a", 1)
    assert await read(through.direct, "k") == {}
    await do(kv.set, "k/a", 1)
    await through.keeping("PATCH", kv.delete, "k/a")
    await do(kv.set, "k/a", 1)
    with pytest.raises(BadReply):
        await through.repeated("PATCH", kv.delete, "k/a")
    assert await read(through.direct, "k") == {"a": 1}


@over_http
async def test_an_item_that_was_appended_before(through: Repeating) -> None:
    """The list is looked at: it is appended once, or nobody knows."""
    kv = through.kv
    await do(kv.set, "k", [])
    await through.keeping("PATCH", kv.set, "k/-", "x")
    await do(kv.delete, "k/0")
    await through.repeated("PATCH", kv.set, "k/-", "x")
    assert await read(through.direct, "k") == ["x"]
    await do(kv.delete, "k/0")
    with pytest.raises(Conflict) as error:
        await through.repeated("PATCH", kv.set, "k/-", "x", done=True)
    assert error.value.unconfirmed
    assert await read(through.direct, "k") == ["x"]


@over_http
@pytest.mark.parametrize("done", [False, True])
async def test_a_key_that_was_popped_before(through: Repeating, done: bool) -> None:
    """It is looked at: it is taken once, or nobody knows; its value is not lost."""
    kv = through.kv
    await do(kv.set, "q", 1)
    await through.keeping("DELETE", kv.pop, "q")
    await do(kv.set, "q", 2)
    if not done:
        assert await through.repeated("DELETE", kv.pop, "q") == 2
    else:
        with pytest.raises(Conflict) as error:
            await through.repeated("DELETE", kv.pop, "q", done=True)
        assert error.value.unconfirmed
        assert error.value.base == 2
    assert await do(through.direct.get, "q") is None


async def test_a_write_that_changes_nothing(session: AnySession) -> None:
    """Kinto keeps the timestamp then: its answer is believed, on every backend."""
    values: list[Any] = [1, 1.5, "x", None, True, [1, {"b": 2}], {"c": []}]
    for value in values:
        await do(session.kv.set, "k/a", value)
        await do(session.kv.set, "k/a", value)
        assert await read(session.kv, "k/a") == value
    await do(session.kv.set, "k", ["a"])
    for _ in range(2):
        await do(session.kv.set, "k/0", "b")
    assert await read(session.kv, "k") == ["b"]


async def test_each_write_is_later(session: AnySession) -> None:
    """Also of many in a row, in one millisecond, and of a key that was deleted in between."""
    for number in range(20):
        await do(session.kv.set, "k/n", number)
        await do(session.kv.set, "k/list", [])
        await do(session.kv.set, "k/list/-", number)
        assert (await do(session.kv.pop, "k"))["n"] == number
