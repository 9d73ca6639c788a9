"""The session whose verbs are awaited: the same flows as Session's, by another driver."""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
)
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from kinto_orm.bulk.jobs import checked_objects
from kinto_orm.errors import ConfigurationError
from kinto_orm.queries.habits import Hinting, hinted
from kinto_orm.session import EMBEDDED, Session
from kinto_orm.wire.attempts import AnyRetry, Retry
from kinto_orm.wire.awaiting import arun, arun_each, awaiting
from kinto_orm.wire.clock import Timeouts
from kinto_orm.wire.connection import Transport, open_connection
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.forking import cached_property
from kinto_orm.wire.messages import Reply
from kinto_orm.wire.places import bucket_id, info_of
from kinto_orm.wire.renewing import AsyncAuth
from kinto_orm.wire.requesting import Query as RequestQuery
from kinto_orm.wire.requesting import requesting
from kinto_orm.wire.route import Cert, Verify
from kinto_orm.wire.scope import Scope, check_ids, checked_model
from kinto_orm.wire.serverinfo import ServerInfo
from kinto_orm.wire.watching import OnRequest

if TYPE_CHECKING:
    from pydantic import JsonValue

    from kinto_orm.bulk.jobs import Existing
    from kinto_orm.bulk.summary import OnError, Progress, Summary
    from kinto_orm.bulk.twins import AsyncBatch
    from kinto_orm.kv.twins import AsyncKeyValues
    from kinto_orm.models.account import Account
    from kinto_orm.models.history import PermissionEntry
    from kinto_orm.models.record import Record
    from kinto_orm.models.resource import Resource
    from kinto_orm.models.schema import SchemaPlan
    from kinto_orm.models.syncing import SyncPlan
    from kinto_orm.queries.conditions import Condition
    from kinto_orm.queries.query import Query
    from kinto_orm.queries.unfit import OnInvalid

    M = TypeVar("M", bound=Resource)

T = TypeVar("T")
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

# What an ASGI application says when its life ends.
_LAST_WORDS = frozenset(
    {"lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"}
)


class AsyncSession(Hinting, Scope):
    """A connection to one Kinto server as one user, for programs that await.

    `async with session:` makes it the current one, for this task and those started from it, and
    closes it at the end. Models are used by their twins: `await todo.asave()`.

    Args:
        server_url: As `Session` takes it; `http(s)://` needs the extra `async`. An embedded
            server works in one thread, a whole request at a time.
        auth: `("user", "password")`, "user:password", "Bearer token", BearerAuth(token), an
            authentication object of requests that only sets headers, or a function or coroutine
            function without arguments that returns headers. It goes to this server only.
        bucket: The default bucket's id; "default" is the user's personal bucket.
        collection: The default collection's id.
        timeout: Seconds, (to connect, to wait for the next bytes of an answer).
        retry: How often and how long to try again; None for never.
        headers: Sent with each request.
        on_request: As `Session` takes it; a plain function.
        dry_run: As `Session` takes it.
        verify: As `Session` takes it, like the two that follow.
        cert: The client's certificate.
        proxies: Of http and https.

    Raises:
        ConfigurationError: No server is given, the URL or another argument is wrong, or an extra
            is missing.
        InvalidData: A bucket or a collection of this id cannot be.
    """

    __kinto_awaits__ = True

    def __init__(
        self,
        server_url: str | None = None,
        *,
        auth: AsyncAuth | None = None,
        bucket: str = "default",
        collection: str | None = None,
        timeout: Timeouts = (3.05, 30.0),
        retry: AnyRetry | None = Retry(),  # noqa: B008  (immutable)
        headers: Mapping[str, str] | None = None,
        on_request: OnRequest | None = None,
        dry_run: bool = False,
        verify: Verify | None = None,
        cert: Cert | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        check_ids(bucket, collection)
        connection = open_connection(
            server_url,
            auth,
            {
                "timeout": timeout,
                "retry": retry,
                "headers": headers,
                "on_request": on_request,
                "dry_run": dry_run,
                "verify": verify,
                "cert": cert,
                "proxies": proxies,
                "transport": transport_of,
            },
            EMBEDDED,
        )
        super().__init__(connection, bucket, collection)

    def __kinto_arun__(self, flow: Flow[T]) -> Coroutine[Any, Any, T]:
        return awaiting(self, flow)

    async def __aenter__(self) -> Self:
        self.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.leave():
            await self.close()

    if not TYPE_CHECKING:

        def __enter__(self):
            raise ConfigurationError(f"{self!r} is awaited: write `async with`, not `with`")

        def __exit__(self, *exc):
            """Raise nothing: nobody gets here."""

    async def close(self) -> None:
        """Close the connections and what was started for them; later calls are refused."""
        if self.owns_connection:
            await self.connection.aclose()

    def scoped(self, *, bucket: str | None = None, collection: str | None = None) -> Self:
        """`Session.scoped`: another default scope over the same connections."""
        other = super().scoped(bucket=bucket, collection=collection)
        other.__dict__.pop("kv", None)  # that of this session's bucket
        return other

    async def server_info(self) -> ServerInfo:
        """`Session.server_info`, awaited."""
        return await arun(self, info_of(self))

    async def resolve_bucket(self, bucket: str | None = None) -> str:
        """`Session.resolve_bucket`, awaited."""
        return await arun(self, bucket_id(self, bucket))

    # The verbs of models

    @hinted
    async def get(self, model: type[M], id: str) -> M:
        """`Model.aget(id)` on this session."""
        return await checked_model(model).aget(id, session=self)

    @hinted
    def find(self, model: type[M], *conditions: Condition | bool) -> Query[M]:
        """`Model.find(...)` on this session; iterate it with `async for`."""
        return checked_model(model).find(*conditions, session=self)

    async def save(self, *objects: Resource) -> None:
        """Save each object, in order; the first failure ends it."""
        for each in checked_objects(*objects):
            await each.asave(session=self)

    async def delete(self, *objects: Resource) -> None:
        """Delete each object, in order; the first failure ends it."""
        for each in checked_objects(*objects):
            await each.adelete(session=self)

    async def refresh(self, *objects: Resource) -> None:
        """Refresh each object, in order; the first failure ends it."""
        for each in checked_objects(*objects):
            await each.arefresh(session=self)

    # Many objects

    def batch(self) -> AsyncBatch:
        """`Session.batch`; it is sent at the end of an `async with` block."""
        from kinto_orm.bulk.twins import AsyncBatch

        return AsyncBatch(self, kv=lambda: self.kv)

    async def save_all(
        self,
        objects: Iterable[Resource] | AsyncIterable[Resource],
        *,
        workers: int = 1,
        force: bool = False,
        existing: Existing = "fail",
        on_error: OnError = "collect",
        progress: Progress | None = None,
    ) -> Summary:
        """`Session.save_all`, awaited.

        Args:
            objects: Any iterable, or one for `async for`; it is read as the objects are sent.
            workers: How many tasks send at the same time.
            force: Overwrite without preconditions.
            existing: What becomes of new objects whose ids are there already; see `Record.save`.
                What is there is read, a hundred objects with each request.
            on_error: As in `Session.save_all`; a function may be a coroutine function.
            progress: Called with the summary so far, after each batch; may be a coroutine
                function. True: a bar, as in `Session.save_all`.
        """
        from kinto_orm.bulk.twins import save_all

        return await save_all(
            self,
            objects,
            workers=workers,
            force=force,
            existing=existing,
            on_error=on_error,
            progress=progress,
        )

    async def delete_all(
        self,
        objects: Iterable[Resource] | AsyncIterable[Resource],
        *,
        workers: int = 1,
        force: bool = False,
        missing_ok: bool = False,
        on_error: OnError = "collect",
        progress: Progress | None = None,
    ) -> Summary:
        """`Session.delete_all`, awaited; the arguments are those of `save_all`."""
        from kinto_orm.bulk.twins import delete_all

        return await delete_all(
            self,
            objects,
            workers=workers,
            force=force,
            missing_ok=missing_ok,
            on_error=on_error,
            progress=progress,
        )

    async def sync(
        self,
        model: type[M],
        objects: (Iterable[M | Mapping[str, object]] | AsyncIterable[M | Mapping[str, object]]),
        *,
        delete_missing: bool = False,
        dry_run: bool = False,
        existing: Literal["update", "replace"] = "update",
        workers: int = 1,
        on_error: OnError = "collect",
        progress: Progress | None = None,
    ) -> SyncPlan:
        """`Session.sync`, awaited; the iterable may be one for `async for`."""
        from kinto_orm.bulk.twins import in_chunks
        from kinto_orm.models.syncing import Syncing

        options: Any = {"workers": workers, "on_error": on_error, "progress": progress}
        wanted: Any = {"delete_missing": delete_missing, "dry_run": dry_run, "existing": existing}
        syncing = Syncing(self, checked_model(model), **wanted, **options)
        await arun(self, syncing.opening())
        await in_chunks(self, objects, syncing.saving)
        if delete_missing:
            await in_chunks(self, await arun(self, syncing.missing()), syncing.deleting)
        return syncing.plan

    async def get_many(
        self,
        model: type[M],
        ids: Iterable[str],
        *,
        on_invalid: OnInvalid[M] = "raise",
        prefetch: object = (),
    ) -> dict[str, M]:
        """`Session.get_many`, awaited."""
        from kinto_orm.queries.many import asked_for, getting_many

        query = asked_for(checked_model(model).find(session=self), on_invalid, prefetch)
        return await arun(self, getting_many(query, ids))

    # Key values and the account

    @cached_property
    def kv(self) -> AsyncKeyValues:
        """The JSON values of the session's bucket by key path; nothing is sent yet."""
        from kinto_orm.kv.twins import AsyncKeyValues

        return AsyncKeyValues(self, self.bucket)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: RequestQuery | None = None,
        json: JsonValue = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """`Session.request`, awaited."""
        return await arun(self, requesting(method, path, query, json, headers))

    async def account(self) -> Account:
        """`Session.account`, awaited."""
        from kinto_orm.models.account import fetching_account

        return await arun(self, fetching_account(self))

    # The server's structure

    async def sync_schema(self, *models: type[Record], dry_run: bool = False) -> SchemaPlan:
        """`Session.sync_schema`, awaited."""
        from kinto_orm.models.schema import syncing_schema

        return await arun(self, syncing_schema(self, models, dry_run=dry_run))

    def permissions(self) -> AsyncIterator[PermissionEntry]:
        """`Session.permissions`, for `async for`."""
        from kinto_orm.models.history import permission_entries

        return arun_each(self, permission_entries(self))


AnySession = AsyncSession | Session


class SessionMiddleware:
    """Makes one session the current one of every request of an ASGI application.

    It is opened when the application starts and closed when it ends, if the server tells the
    application so (`lifespan`)::

        app = FastAPI()
        app.add_middleware(SessionMiddleware, session=lambda: AsyncSession(url, bucket="work"))

    Args:
        app: The application; where it has parts that are mounted, the outermost one.
        session: What opens the session, each time that the application starts: a function
            without arguments. It gives an AsyncSession, for endpoints that await, or a Session,
            for endpoints that block, which frameworks run in threads. A session serves, too, if
            the application starts once.
    """

    def __init__(self, app: ASGIApp, *, session: AnySession | Callable[[], AnySession]) -> None:
        self.app = app
        self._given = session
        self._opened: AnySession | None = None

    @property
    def session(self) -> AnySession:
        """The session, opened when it is first asked for."""
        if self._opened is None:
            given = self._given
            opened = given() if callable(given) else given
            if not isinstance(opened, AsyncSession | Session):
                raise ConfigurationError(
                    "SessionMiddleware takes a session, or a plain function that opens one, as in "
                    "session=lambda: AsyncSession(url); this gave something of the type "
                    f"{type(opened).__name__}"
                )
            self._opened = opened
        return self._opened

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, or the life of the application."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            with self.session.current():
                await self.app(scope, receive, send)

    async def _live(self, scope: Any, receive: Any, send: Any) -> None:
        async def tell(message: Any) -> None:
            # Before the server hears of it: then it may end the loop at once. An application that
            # says nothing of its end knows no lifespan, and is served all the same.
            if message["type"] in _LAST_WORDS:
                await self._close()
            await send(message)

        try:
            self.session.enter()
        except Exception as error:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await self.app(scope, receive, tell)

    async def _close(self) -> None:
        session, self._opened = self.session, None
        if session.leave():
            closing = session.close()
            if closing is not None:
                await closing


def transport_of(base_url: str, *, adapter: Any = None, **options: Any) -> Transport:
    """What sends: aiohttp, or a thread for an embedded server.

    Raises:
        ConfigurationError: The extra `async` is missing.
    """
    if adapter is not None:
        from kinto_orm.wire.threadtransport import ThreadTransport

        return ThreadTransport(base_url, adapter=adapter, **options)
    try:
        from kinto_orm.wire.aiotransport import AiohttpTransport
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"an AsyncSession over HTTP needs aiohttp ({missing}): pip install 'kinto-orm[async]'"
        ) from missing
    return AiohttpTransport(base_url, **options)
