"""Batches and bulk writes for an AsyncSession: the same flows, awaited."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from kinto_orm.bulk.batch import Queue
from kinto_orm.bulk.jobs import Chunk, Existing, Outcome
from kinto_orm.bulk.summary import (
    Bulk,
    Failure,
    OnError,
    Progress,
    Summary,
    deleting_jobs,
    refuse_single,
    saving_jobs,
)
from kinto_orm.errors import ConfigurationError
from kinto_orm.wire.awaiting import arun, iterating
from kinto_orm.wire.scope import Scope

T = TypeVar("T")
AnyIterable = Iterable[Any] | AsyncIterable[Any]


class AsyncBatch(Queue):
    """A Batch for `async with`; it is sent at the end of the block.

    Attributes:
        outcomes: Of all that was queued, in order.
    """

    _opened = "async with session.batch() as batch:"

    async def run(self) -> list[Outcome[Any]]:
        """`Batch.run`, awaited."""
        return await arun(self.session, self.running())

    async def __aenter__(self) -> Self:
        self.open()
        return self

    if not TYPE_CHECKING:

        def __enter__(self):
            raise ConfigurationError("this batch is awaited: write `async with`, not `with`")

        def __exit__(self, *exc):
            """Raise nothing: nobody gets here."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.is_to_be_sent(kind):
            await self.run()


async def save_all(
    scope: Scope,
    objects: AnyIterable,
    *,
    workers: int = 1,
    force: bool = False,
    existing: Existing = "fail",
    on_error: OnError = "collect",
    progress: Progress | None = None,
) -> Summary:
    """Save any number of objects; see AsyncSession.save_all."""
    jobs = saving_jobs(scope, force=force, existing=existing)
    return await in_chunks(scope, objects, Bulk(scope, jobs, workers, on_error, progress))


async def delete_all(
    scope: Scope,
    objects: AnyIterable,
    *,
    workers: int = 1,
    force: bool = False,
    missing_ok: bool = False,
    on_error: OnError = "collect",
    progress: Progress | None = None,
) -> Summary:
    """Delete any number of objects; see AsyncSession.delete_all."""
    jobs = deleting_jobs(scope, force=force, missing_ok=missing_ok)
    return await in_chunks(scope, objects, Bulk(scope, jobs, workers, on_error, progress))


async def in_chunks(scope: Scope, objects: AnyIterable, bulk: Bulk) -> Summary:
    """Write objects, chunk by chunk, as the iterable gives them."""
    refuse_single(objects)
    pending: dict[asyncio.Task[list[Failure]], Chunk] = {}
    try:
        with bulk.shown(objects):
            async with aclosing(_chunked(objects, await arun(scope, bulk.opening()))) as queue:
                while not bulk.is_in_vain and (given := await anext(queue, None)):
                    chunk = bulk.chunk(given)
                    while not bulk.is_in_vain and (first := chunk.before(pending)):
                        await _tell(bulk, pending, first)
                    if bulk.is_in_vain:
                        break
                    pending[asyncio.create_task(arun(scope, bulk.writing(chunk)))] = chunk
                    if len(pending) == bulk.workers:
                        await _tell(bulk, pending, pending)
            while pending:
                await _tell(bulk, pending, pending)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            for each in pending:
                each.cancel()
        # What was sent has an outcome, too.
        await asyncio.gather(*pending, return_exceptions=True)
        error.add_note(f"until then: {bulk.summary.counted}")
        raise
    return bulk.summary


async def _tell(
    bulk: Bulk,
    pending: dict[asyncio.Task[list[Failure]], Chunk],
    some: Iterable[asyncio.Task[list[Failure]]],
) -> None:
    """Wait for one of some chunks, and tell the caller of it; then it is no longer pending."""
    done, _ = await asyncio.wait({*some}, return_when=asyncio.FIRST_COMPLETED)
    for each in done:
        del pending[each]
    for each in done:
        for said in bulk.telling(each.result()):
            if isawaitable(said):
                await said


async def _chunked(objects: AnyIterable, size: int) -> AsyncGenerator[list[Any]]:
    """Lists of up to `size` items, taken when they are needed."""
    if not isinstance(objects, AsyncIterable):
        rest = iter(objects)
        while chunk := list(itertools.islice(rest, size)):
            yield chunk
        return
    chunk = []
    async with iterating(objects) as each_one:
        async for each in each_one:
            chunk.append(each)
            if len(chunk) == size:
                yield chunk
                chunk = []
    if chunk:
        yield chunk
