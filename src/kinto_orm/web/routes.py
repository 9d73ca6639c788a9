"""Which page is where, and the application that they make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from kinto_orm.web import (
    buckets,
    entering,
    keys,
    past,
    records,
    sharing,
    sources,
    tables,
    watching,
)
from kinto_orm.web.calls import Call
from kinto_orm.web.failing import failure
from kinto_orm.web.guard import HEADERS, Guarded, Headers, cookie_name
from kinto_orm.web.pages import HERE
from kinto_orm.web.refusals import Refused
from kinto_orm.web.site import Site
from kinto_orm.web.visits import Visit

_SWEEP: Final = 30.0
_BUCKET = "/buckets/{bucket}"
_COLLECTION = f"{_BUCKET}/collections/{{collection}}"
_RECORD = f"{_COLLECTION}/records/{{id}}"
_GROUP = f"{_BUCKET}/groups/{{group}}"
_KEY = f"{_BUCKET}/keys/{{id}}"
_TEMPLATE = f"{_BUCKET}/templates/{{id}}"

_READ: Final = {
    "/": buckets.front,
    "/login": entering.login,
    "/open": buckets.open_named,
    _BUCKET: buckets.bucket,
    f"{_BUCKET}/permissions": sharing.permissions,
    f"{_BUCKET}/history": past.bucket_history,
    f"{_BUCKET}/groups": buckets.groups,
    _GROUP: sharing.group,
    f"{_GROUP}/permissions": sharing.permissions,
    f"{_BUCKET}/keys": keys.keys,
    _KEY: keys.key,
    f"{_BUCKET}/templates": sources.templates,
    _TEMPLATE: sources.template,
    _COLLECTION: tables.table,
    f"{_COLLECTION}/new": records.new_record,
    f"{_COLLECTION}/permissions": sharing.permissions,
    f"{_COLLECTION}/history": past.collection_history,
    f"{_COLLECTION}/deleted": past.deleted,
    f"{_COLLECTION}/changes": watching.changes,
    _RECORD: records.record,
    f"{_RECORD}/history": past.record_history,
    f"{_RECORD}/permissions": sharing.permissions,
}
_STORE: Final = {
    "/buckets": buckets.create_bucket,
    f"{_BUCKET}/collections": buckets.create_collection,
    f"{_BUCKET}/permissions": sharing.change_permissions,
    f"{_BUCKET}/groups": sharing.create_group,
    _GROUP: sharing.save_group,
    f"{_GROUP}/merge": sharing.merge_group,
    f"{_GROUP}/delete": sharing.delete_group,
    f"{_GROUP}/permissions": sharing.change_permissions,
    f"{_BUCKET}/keys": keys.set_key,
    _KEY: keys.save_key,
    f"{_KEY}/merge": keys.merge_key,
    f"{_KEY}/delete": keys.delete_key,
    f"{_BUCKET}/templates": sources.create_template,
    _TEMPLATE: sources.save_template,
    f"{_TEMPLATE}/merge": sources.merge_template,
    f"{_TEMPLATE}/delete": sources.delete_template,
    f"{_COLLECTION}/new": records.create_record,
    f"{_COLLECTION}/permissions": sharing.change_permissions,
    _RECORD: records.save_record,
    f"{_RECORD}/merge": records.merge_record,
    f"{_RECORD}/delete": records.delete_record,
    f"{_RECORD}/bring-back": past.bring_back,
    f"{_RECORD}/permissions": sharing.change_permissions,
}
# Forms that change nothing on the server: a page that only reads takes them, too.
_TRY: Final = {
    "/login": entering.log_in,
    "/logout": entering.log_out,
    f"{_TEMPLATE}/preview": sources.preview,
}


def application(site: Site) -> Starlette:
    """Make the application that shows a server; see `kinto_orm.web.app`."""
    return Starlette(
        routes=_routes(Guarded(site)),
        middleware=[Middleware(Headers)],
        exception_handlers={Exception: _fault(site), HTTPException: _refusal(site)},
        lifespan=_life(site),
    )


def _routes(guarded: Guarded) -> list[BaseRoute]:
    found: list[BaseRoute] = [Mount("/static", StaticFiles(directory=HERE / "static"))]
    for path, endpoint in _READ.items():
        found.append(guarded.reading(path, endpoint))
    found.append(guarded.reading(f"{_COLLECTION}/changes/stream", watching.stream, by_itself=True))
    for path in (*_STORE, *_TRY):
        if path.endswith(("/merge", "/preview", "/delete", "/bring-back")):
            found.append(guarded.reading(path, upwards))
    for path, endpoint in _STORE.items():
        found.append(guarded.writing(path, endpoint))
    for path, endpoint in _TRY.items():
        found.append(guarded.writing(path, endpoint, stores=False))
    found.append(guarded.reading("/{rest:path}", nothing_here))
    return found


async def upwards(call: Call) -> Response:
    """Go to the page of what a form was sent for: who loads that again has sent nothing."""
    call.session  # noqa: B018  (somebody has to be logged in)
    return call.goto(call.path.rpartition("/")[0])


async def nothing_here(call: Call) -> Response:
    """Say that there is no such page."""
    raise Refused(404, "There is no such page", "Check the address, or begin with the buckets.")


def _refusal(site: Site) -> Callable[[Request, Exception], Response]:
    """What makes the page of what the routes refuse: nothing there takes a request of this kind."""

    def answer(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        visit = site.visits.find(request.cookies.get(cookie_name(request))) or Visit()
        told = Refused(status, "Nothing is done at this address in this way", "Begin again.")
        return failure(Call(request, site, visit), told)

    return answer


def _fault(site: Site) -> Callable[[Request, Exception], Response]:
    """What makes the page of a fault of the program; its cause goes to the log only."""

    def answer(request: Request, error: Exception) -> Response:
        page = failure(Call(request, site, site.visits.begin()), error)
        # It is made outside of all middleware.
        page.headers.update({**HEADERS, "Cache-Control": "no-store"})
        return page

    return answer


def _life(site: Site) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def live(_: Starlette) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(site))
        try:
            yield
        finally:
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
            await site.close()

    return live


async def _sweep(site: Site) -> None:
    """Forget those who went away, also when nobody asks for anything."""
    while True:
        await asyncio.sleep(min(_SWEEP, site.idle))
        await site.visits.sweep()
