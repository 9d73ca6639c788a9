"""A batch that is interrupted or cancelled: what was begun is not done twice; on a real server."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from both import AnySession, Place, do, entered, in_a_bucket, read
from faults import Exchange, FaultyServer
from kinto_orm import AsyncSession, BatchError, Record, Session, TransportError


class Todo(Record, collection="todos"):
    title: str


@pytest.fixture
def server_name() -> str:
    """Over HTTP only: inside the program nothing is interrupted while it works."""
    return "http"


@contextmanager
def interrupts(place: Place) -> Iterator[Callable[[], None]]:
    """What interrupts a session's call from another thread: a signal, or a cancel of the task."""
    if place.is_awaited:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        yield lambda: loop.call_soon_threadsafe(task.cancel) and None
        task.uncancel()
        return
    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield lambda: signal.pthread_kill(main, signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


async def run_interrupted(place: Place, batch: Any, proxy: FaultyServer, which: str) -> None:
    """Run a batch until a request of this method was done by the server; its answer never comes."""
    with interrupts(place) as interrupt:

        def done_then_interrupted(exchange: Exchange) -> None:
            answer = exchange.forward()
            if exchange.command != which:
                proxy.answers.append(done_then_interrupted)
                exchange.write(*answer)
                return
            interrupt()
            proxy.closing.wait(5)

        proxy.answers.append(done_then_interrupted)
        kind = asyncio.CancelledError if place.is_awaited else KeyboardInterrupt
        with pytest.raises(kind):
            await do(batch.run)


@contextmanager
def through(place: Place, session: AnySession) -> Iterator[tuple[AnySession, FaultyServer]]:
    """Another session in the same bucket, whose answers may get lost."""
    kind = AsyncSession if place.is_awaited else Session
    with FaultyServer(upstream=place.url) as proxy:
        yield kind(proxy.url, auth=("tests", "s3cret"), bucket=session.bucket, retry=None), proxy
        proxy.closing.set()


WRITES: dict[str, tuple[str, Callable[[Any], None], Any]] = {
    "append": ("PATCH", lambda kv: kv.set("k/-", "c"), ["a", "b", "c"]),
    "delete an item": ("PATCH", lambda kv: kv.delete("k/0"), ["b"]),
    "set": ("PUT", lambda kv: kv.set("k", 5), 5),
}


@pytest.mark.parametrize("act", WRITES)
async def test_a_write_of_a_key_is_done_once(place: Place, act: str) -> None:
    """The next run does not send it again, and nothing says that it was stored."""
    method, queue, after = WRITES[act]
    async with in_a_bucket(place) as session:
        await do(session.kv.set, "k", ["a", "b"])
        with through(place, session) as (other, proxy):
            async with entered(other):
                batch = other.batch()
                queue(batch.kv)
                await run_interrupted(place, batch, proxy, method)
                (outcome,) = batch.outcomes
                assert outcome.status == "failed"
                assert isinstance(outcome.error, TransportError)
                assert outcome.error.lost
                assert len(batch) == 0
                proxy.received.clear()
                assert await do(batch.run) == []
                assert proxy.received == []
        assert await read(session.kv, "k") == after


async def test_what_was_not_begun_is_sent_by_the_next_run(place: Place) -> None:
    """The others are in doubt; queued again, a creation is known for one's own."""
    async with in_a_bucket(place) as session:
        with through(place, session) as (other, proxy):
            async with entered(other):
                batch = other.batch()
                todos = [Todo(title=f"{number}") for number in range(30)]
                batch.save(*todos)
                await run_interrupted(place, batch, proxy, "POST")
                said = [each.status for each in batch.outcomes]
                assert said == ["failed"] * 25 + ["queued"] * 5
                assert len(batch) == 5
                await do(batch.run)
                assert [each.status for each in batch.outcomes[25:]] == ["created"] * 5
                batch.save(*todos[:25])
                await do(batch.run)
                assert [each.status for each in batch.outcomes[30:]] == ["created"] * 25
        assert await do(Todo.find().count) == 30


async def test_a_deletion_that_is_queued_again(place: Place) -> None:
    """It is gone, by this call or by another: the object knows that nobody knows."""
    async with in_a_bucket(place) as session:
        with through(place, session) as (other, proxy):
            async with entered(other):
                todo = await do(Todo(title="x").save)
                batch = other.batch()
                batch.delete(todo)
                await run_interrupted(place, batch, proxy, "DELETE")
                assert batch.outcomes[0].status == "failed"
                batch.delete(todo)
                with pytest.raises(BatchError) as raised:
                    await do(batch.run)
                (conflict,) = raised.value.exceptions
                assert conflict.unconfirmed
        assert await do(Todo.find().count) == 0
