"""The verbs of a query for an AsyncSession: the same flows, awaited."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from kinto_orm.queries.pager import Page, Pages, reading_all
from kinto_orm.wire.awaiting import arun, arun_each, iterating
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    from kinto_orm.bulk.summary import Summary
    from kinto_orm.queries.following import Follower
    from kinto_orm.queries.marks import AnyChange
    from kinto_orm.queries.updating import Updating

M = TypeVar("M")


class Asking(Protocol[M]):
    """What the twins need of a query."""

    def __aiter__(self) -> AsyncIterator[M]: ...
    def apages(self) -> AsyncIterator[Page[M]]: ...  # noqa: D102
    def limit(self, most: int) -> Self: ...  # noqa: D102
    def only(self, *fields: object) -> Self: ...  # noqa: D102
    def scope(self) -> Scope: ...  # noqa: D102
    def in_large_pages(self) -> Self: ...  # noqa: D102
    def up_to_two(self) -> Self: ...  # noqa: D102
    def only_one(self, found: Sequence[M]) -> M: ...  # noqa: D102
    def opening(self) -> Flow[Pages[Page[M]]]: ...  # noqa: D102
    def counting(self) -> Flow[int]: ...  # noqa: D102
    def deleting(self) -> Flow[int]: ...  # noqa: D102
    def settling(self) -> Flow[list[Any]]: ...  # noqa: D102
    def updating(  # noqa: D102
        self, fields: Mapping[str, object] | None, more: Mapping[str, object], workers: int | None
    ) -> Updating[M]: ...
    def follower(self, since: str | None) -> Follower[M]: ...  # noqa: D102


class AsyncVerbs(Generic[M]):
    """The twins of a query's verbs; each does what the verb without the `a` does."""

    async def __aiter__(self: Asking[M]) -> AsyncIterator[M]:
        async with aclosing(self.apages()) as pages:  # type: ignore[type-var]
            async for page in pages:
                for each in page:
                    yield each

    async def apages(self: Asking[M]) -> AsyncIterator[Page[M]]:
        """`pages`, for `async for`; leaving early cancels the page that is fetched ahead."""
        from kinto_orm.queries.awaiting import apages_of

        scope = self.scope()
        opened = await arun(scope, self.opening())
        async with aclosing(apages_of(scope, opened)) as pages:
            async for page in pages:
                yield page

    async def aall(self: Asking[M]) -> list[M]:
        """`all`, awaited."""
        return await arun(self.scope(), reading_all(self.in_large_pages()))

    async def afirst(self: Asking[M]) -> M | None:
        """`first`, awaited."""
        found = await arun(self.scope(), reading_all(self.limit(1)))
        return found[0] if found else None

    async def aone(self: Asking[M]) -> M:
        """`one`, awaited."""
        return self.only_one(await arun(self.scope(), reading_all(self.up_to_two())))

    async def acount(self: Asking[M]) -> int:
        """`count`, awaited."""
        return await arun(self.scope(), self.counting())

    async def aexists(self: Asking[M]) -> bool:
        """`exists`, awaited."""
        return bool(await arun(self.scope(), reading_all(self.only("id").limit(1))))

    async def adelete(self: Asking[M]) -> int:
        """`delete`, awaited."""
        return await arun(self.scope(), self.deleting())

    async def aupdate(
        self: Asking[M],
        fields: Mapping[str, object] | None = None,
        /,
        *,
        workers: int | None = None,
        **more: object,
    ) -> Summary:
        """`update`, awaited; `workers` are tasks."""
        from kinto_orm.bulk.twins import save_all

        change = self.updating(fields, more, workers)
        parts = await arun(self.scope(), self.settling())

        async def fitting() -> AsyncGenerator[M]:
            for part in parts:
                async with iterating(part) as found:
                    async for each in found:
                        if change.fits(each):
                            yield each

        async with aclosing(fitting()) as objects:
            return change.completed(await save_all(self.scope(), objects, workers=change.workers))

    def achanges(self: Asking[M], since: str | None = None) -> AsyncIterator[AnyChange[M]]:
        """`changes`, for `async for`."""
        return arun_each(self.scope(), self.follower(since).once())

    def afollow(
        self: Asking[M], since: str | None = None, *, interval: float = 5.0
    ) -> AsyncIterator[AnyChange[M]]:
        """`follow`, for `async for`; it ends when its task is cancelled."""
        from kinto_orm.queries.awaiting import afollow

        return afollow(self.scope(), self.follower(since), interval)
