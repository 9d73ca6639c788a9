"""Changes as they come: by server-sent events, and by loading the page again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from starlette.responses import Response, StreamingResponse

from kinto_orm.async_session import AsyncSession
from kinto_orm.errors import CollectionReset, KintoError
from kinto_orm.models.record import Record
from kinto_orm.queries.conditions import field
from kinto_orm.queries.marks import AnyChange, Mark
from kinto_orm.web.calls import Call
from kinto_orm.web.loaded import data_of, first_page, raw, whatever
from kinto_orm.web.pages import page, short
from kinto_orm.web.refusals import Refused

_SHOWN: Final = 50
_MOST_STREAMS: Final = 6
# Browsers ask again at the end of a stream, and go on from the last change.
_LASTS: Final = 300.0
_EVERY: Final = 1.0
_BREATH: Final = 15.0


async def changes(call: Call) -> Response:
    """Show what was changed last, newest first."""
    query = whatever(Record.find(session=call.scope())).order_by(field("last_modified").desc())
    found = await first_page(query.page_size(_SHOWN))
    rows = [(each, short(data_of(Record, raw(each)))) for each in found]
    return page(call, "changes.html", rows=rows, since=_token(found))


def _token(found: list[Record]) -> str:
    """Where following begins: after what the page shows; empty where there is nothing yet."""
    if not found or found[0].last_modified is None:
        return ""
    newest = found[0].last_modified
    return Mark(newest, newest, found[0].id, frozenset({newest})).token()


async def stream(call: Call) -> Response:
    """Tell of changes as they come."""
    since = call.request.headers.get("last-event-id") or call.asked("since") or None
    if call.visit.streams >= _MOST_STREAMS:
        raise Refused(429, "Too many pages are told of changes", "Close some of them.")
    if since is not None:
        Mark.of(since)  # said now: once a stream has begun nothing can be refused
    told = _told(call, call.scope(), since)
    return StreamingResponse(told, media_type="text/event-stream")


async def _told(call: Call, scope: AsyncSession, since: str | None) -> AsyncIterator[str]:
    """The events of one stream."""
    call.visit.streams += 1
    try:
        yield "retry: 2000\n\n"
        async for event in _until_over(call, _events(call, scope, since)):
            yield event
    finally:
        call.visit.streams -= 1


async def _until_over(call: Call, events: AsyncIterator[str]) -> AsyncIterator[str]:
    """Events, and a comment now and then, so that a browser that is gone is noticed."""
    end = asyncio.get_running_loop().time() + _LASTS
    upcoming: asyncio.Future[str] | None = None
    try:
        while asyncio.get_running_loop().time() < end and call.visit.session is not None:
            upcoming = upcoming or asyncio.ensure_future(_next(events))
            done, _ = await asyncio.wait([upcoming], timeout=_BREATH)
            if not done:
                yield ": still here\n\n"
                continue
            event, upcoming = upcoming.result(), None
            if not event:
                return
            yield event
    finally:
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)


async def _next(events: AsyncIterator[str]) -> str:
    return await anext(events, "")


async def _events(call: Call, scope: AsyncSession, since: str | None) -> AsyncIterator[str]:
    """What happens to the records, as a browser reads it."""
    following = whatever(Record.find(session=scope)).afollow(since, interval=_EVERY)
    try:
        async with aclosing(following) as happening:  # type: ignore[type-var]
            async for each in happening:
                yield _event(call, each)
    except CollectionReset:
        yield 'event: reset\ndata: ""\n\n'
    except KintoError as error:
        yield f"event: trouble\ndata: {json.dumps(str(error))}\n\n"


def _event(call: Call, change: AnyChange[Record]) -> str:
    named = call.request.path_params
    path = ("buckets", named["bucket"], "collections", named["collection"], "records", change.id)
    shown: dict[str, Any] = {
        "id": change.id,
        "what": type(change).__name__.lower(),
        "at": change.last_modified,
        "href": call.at(*path),
        "data": "" if change.object is None else short(data_of(Record, raw(change.object))),
    }
    return f"id: {change.token}\ndata: {json.dumps(shown)}\n\n"
