"""Fetch records with an AsyncSession, beside kinto-http's two clients and bare aiohttp.

The server answers all alike and at once, with what a Kinto answered before: what is measured is
the clients.
"""

from __future__ import annotations

import asyncio
import base64
import statistics
import threading
import time
from collections.abc import Awaitable, Callable

import aiohttp
from _both import BUCKET, COLLECTION, Article, Goal, Side, article_data, show, take_turns
from _canned import recorded, serving
from kinto_http import AsyncClient, Client

from kinto_orm import AsyncSession, Bucket, Session
from kinto_orm.server import serve_process

CALLS, AT_ONCE = 100, 50


def answer_of_a_kinto() -> tuple[str, bytes]:
    """The id of an article, and what a Kinto answers to a GET of it."""
    with (
        serve_process("memory://") as server,
        Session(server.url, auth=server.auth, bucket=BUCKET) as session,
    ):
        Bucket(id=BUCKET).save().collections.new(id=COLLECTION).save()
        article = Article(**article_data(1)).save()
        word = base64.b64encode(":".join(server.auth).encode()).decode()
        return article.id, recorded(
            session.server_url + article.uri, {"Authorization": f"Basic {word}"}
        )


def each_after_the_other(
    loop: asyncio.AbstractEventLoop, one: Callable[[], Awaitable[object]]
) -> Callable[[], None]:
    """Runs one coroutine after the other, as often as a turn has calls."""

    async def all_of_them() -> None:
        for _ in range(CALLS):
            await one()

    return lambda: loop.run_until_complete(all_of_them())


def a_second(
    loop: asyncio.AbstractEventLoop, ones: dict[str, Callable[[], Awaitable[object]]]
) -> dict[str, float]:
    """How many calls a second, fifty at once: the medians of turns, by the clock."""
    turns: dict[str, list[float]] = {name: [] for name in ones}

    async def at_once(one: Callable[[], Awaitable[object]]) -> None:
        for _ in range(4):
            await asyncio.gather(*(one() for _ in range(AT_ONCE)))

    for number in range(12):
        for name, one in ones.items():
            start = time.perf_counter()
            loop.run_until_complete(at_once(one))
            if number:
                turns[name].append(4 * AT_ONCE / (time.perf_counter() - start))
    return {name: statistics.median(rates) for name, rates in turns.items()}


id, answer = answer_of_a_kinto()
loop = asyncio.new_event_loop()
with serving(answer) as url:
    path = f"{url}/buckets/{BUCKET}/collections/{COLLECTION}/records/{id}"
    auth = ("user", "password")
    options = {"server_url": url, "auth": auth, "bucket": BUCKET, "collection": COLLECTION}
    client, async_client = Client(**options), AsyncClient(**options)
    session = AsyncSession(url, auth=auth, bucket=BUCKET)

    async def opened() -> aiohttp.ClientSession:
        word = aiohttp.encode_basic_auth(*auth)
        return aiohttp.ClientSession(headers={"Authorization": word})

    bare = loop.run_until_complete(opened())

    async def bare_get() -> bytes:
        async with bare.get(path) as reply:
            return await reply.read()

    async def our_get() -> Article:
        return await Article.aget(id, session=session)

    async def their_get() -> object:
        return await async_client.get_record(id=id)

    def blocking_gets() -> None:
        for _ in range(CALLS):
            client.get_record(id=id)

    before = threading.active_count()
    loop.run_until_complete(our_get())
    threads = threading.active_count() - before
    medians = take_turns(
        [
            Side("kinto-http Client", blocking_gets),
            Side("aiohttp alone", each_after_the_other(loop, bare_get)),
            Side("kinto-orm", each_after_the_other(loop, our_get)),
        ],
        rounds=15,
    )
    rates = a_second(loop, {"kinto-http AsyncClient": their_get, "kinto-orm": our_get})
    loop.run_until_complete(session.close())
    loop.run_until_complete(bare.close())

show(
    "get one record of 12 fields, one after the other",
    {name: seconds / CALLS for name, seconds in medians.items()},
    [
        Goal("kinto-orm", "kinto-http Client", at_most=0.25),
        Goal("kinto-orm", "aiohttp alone", at_most=1.5),
    ],
)
for name, rate in rates.items():
    print(f"{name:>24}: {rate:8,.0f} a second, {AT_ONCE} at once")
ratio = rates["kinto-orm"] / rates["kinto-http AsyncClient"]
print(f"kinto-orm / kinto-http AsyncClient: {ratio:.2f} (goal: at least 4)")
print(f"threads started by kinto-orm: {threads} (goal: 0)")
