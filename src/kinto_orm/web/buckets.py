"""Buckets, and what is in them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, Final, TypeVar

from starlette.responses import Response

from kinto_orm.async_session import AsyncSession
from kinto_orm.errors import Conflict, Forbidden, NotFound, Unauthorized, Unsupported
from kinto_orm.models.record import Record
from kinto_orm.models.resource import Resource
from kinto_orm.models.structure import Bucket, Collection, Group
from kinto_orm.queries.pager import Page
from kinto_orm.queries.query import Query
from kinto_orm.web.calls import Call
from kinto_orm.web.loaded import first_page
from kinto_orm.web.pages import page
from kinto_orm.web.refusals import Refused

T = TypeVar("T")
R = TypeVar("R", bound=Resource)

_SIZE: Final = 30
_AT_ONCE: Final = 8


async def front(call: Call) -> Response:
    """Begin with a bucket if one was named, else with all of them."""
    if call.site.bucket is not None and not call.asked("all"):
        call.session  # noqa: B018  (somebody has to be logged in)
        return call.goto(call.at("buckets", call.site.bucket))
    return await buckets(call)


async def buckets(call: Call) -> Response:
    """Show the buckets that may be read."""
    found = await _readable(call, Bucket.find(session=call.session))
    counted = [_count(Collection.find(session=call.session.scoped(bucket=e.id))) for e in found]
    info = await call.session.server_info()
    return page(
        call,
        "buckets.html",
        rows=list(zip(found, await _few_at_once(counted), strict=True)),
        position=found.position,
        own=(info.user or {}).get("bucket"),
        info=info,
    )


async def _readable(call: Call, query: Query[R]) -> Page[R]:
    """A page of what may be read; who may list nothing may still go to what is shared with him."""
    try:
        return await first_page(query.page_size(_SIZE).resume(call.asked("position") or None))
    except (Forbidden, Unsupported):
        return Page([], None)
    except Unauthorized:
        if call.visit.principal is not None:
            raise
        return Page([], None)


async def bucket(call: Call) -> Response:
    """Show what is in a bucket: collections with counts, groups, keys, templates."""
    scope = call.scope()
    stored = await Bucket.aget(call.named("bucket"), session=scope)
    found = await _readable(call, Collection.find(session=scope))
    counted = [_count(Record.find(session=scope.scoped(collection=e.id))) for e in found]
    return page(
        call,
        "bucket.html",
        bucket=stored,
        rows=list(zip(found, await _few_at_once(counted), strict=True)),
        position=found.position,
        info=await call.session.server_info(),
    )


async def created(call: Call, new: R, scope: AsyncSession) -> R:
    """Create what a form names.

    Raises:
        Refused: There is one of this name.
    """
    try:
        return await new.asave(session=scope)
    except Conflict as error:
        raise Refused(
            409,
            f"There is a {new.__kinto_kind__} of this name already",
            "Nothing was changed. Open that one, or take another name.",
        ) from error


async def create_bucket(call: Call) -> Response:
    """Create a bucket."""
    new = await created(call, Bucket(id=call.form.get("id").strip()), call.session)
    call.visit.tell(f"The bucket {new.id} is there.")
    return call.goto(call.at("buckets", new.id))


async def create_collection(call: Call) -> Response:
    """Create a collection."""
    new = await created(call, Collection(id=call.form.get("id").strip()), call.scope())
    call.visit.tell(f"The collection {new.id} is there.")
    return call.goto(call.at("buckets", call.named("bucket"), "collections", new.id))


async def open_named(call: Call) -> Response:
    """Go to a bucket or a collection by its id: lists show only what may be listed."""
    call.session  # noqa: B018  (somebody has to be logged in)
    parts = [part.strip() for part in call.asked("name").strip("/ ").split("/")]
    named = ("buckets", parts[0], *(("collections", parts[1]) if len(parts) > 1 else ()))
    return call.goto(call.at(*named) if parts[0] else call.at())


async def _count(query: Query[Any]) -> int | None:
    """How many there are; None where nobody says so."""
    try:
        return await query.acount()
    except (Forbidden, NotFound):
        return None


async def _few_at_once(asked: Iterable[Awaitable[T]]) -> list[T]:
    """The results of all, in their order."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Awaitable[T]) -> T:
        async with gate:
            return await each

    return list(await asyncio.gather(*map(one, asked)))


async def groups(call: Call) -> Response:
    """Show the groups of a bucket."""
    query = Group.find(session=call.scope()).page_size(_SIZE)
    found = await first_page(query.resume(call.asked("position") or None))
    return page(call, "groups.html", rows=found, position=found.position)
