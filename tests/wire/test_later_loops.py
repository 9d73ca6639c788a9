"""An AsyncSession over HTTP that outlives a loop."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator

import pytest

from kinto_orm import AsyncSession
from kinto_orm.server import open_memory, serve


@pytest.fixture
def url() -> Iterator[str]:
    with open_memory() as server, serve(server) as served:
        yield served.url


# Python's own word on the sockets of a loop that ended; they are closed by then.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_later_loop_is_served_and_nothing_is_logged(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each loop has connections of its own; those of one that ended are given up in silence."""
    gc.collect()  # what other tests left is not told of here
    session = AsyncSession(url, auth=("alice", "secret"))

    async def ask() -> str:
        return (await session.account()).id or ""

    async def ask_and_close() -> str:
        async with session:
            return await ask()

    with caplog.at_level(logging.DEBUG, "asyncio"):
        told = {asyncio.run(ask()), asyncio.run(ask()), asyncio.run(ask_and_close())}
        gc.collect()
    assert len(told) == 1
    assert [each for each in caplog.messages if "nclosed" in each] == []
