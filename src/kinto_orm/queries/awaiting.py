"""The next page, fetched in a task while the program works on this one; and what changes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from kinto_orm.queries.following import LOOK_BACK, Follower
from kinto_orm.queries.marks import AnyChange
from kinto_orm.queries.pager import Pages
from kinto_orm.wire.awaiting import arun, arun_each
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    import asyncio

M = TypeVar("M")
P = TypeVar("P", bound=Sequence[Any])


async def apages_of(scope: Scope, pager: Pages[P]) -> AsyncGenerator[P]:
    """The pages, as `pages_of` gives them, to be iterated with `async for`.

    Leaving early cancels the one that is being fetched.
    """
    import asyncio

    upcoming: asyncio.Task[Any] | None = None
    try:
        while pager.has_more:
            page = pager.take(await (upcoming or arun(scope, pager.fetching())))
            upcoming = None
            if pager.has_more:
                upcoming = asyncio.ensure_future(arun(scope, pager.fetching()))
            if page:
                yield page
    finally:
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)


async def aitems_of(
    scope: Scope, openings: Iterable[Flow[Pages[Sequence[M]]]]
) -> AsyncGenerator[M]:
    """What is in the pages that flows open, to be iterated with `async for`."""
    for opening in openings:
        async with aclosing(apages_of(scope, await arun(scope, opening))) as pages:
            async for page in pages:
                for each in page:
                    yield each


async def afollow(
    scope: Scope, follower: Follower[M], interval: float
) -> AsyncIterator[AnyChange[M]]:
    """The changes as they come, asking every `interval` seconds until it is cancelled."""
    from asyncio import sleep

    last_change = time.monotonic()
    while True:
        async with aclosing(arun_each(scope, follower.once())) as changes:
            async for change in changes:
                yield change
                last_change = time.monotonic()
        await sleep(interval)
        if time.monotonic() - last_change > LOOK_BACK / 1000:
            while follower.may_wait and not await arun(scope, follower.looking()):
                await sleep(interval)
