"""The session: one server, one user, a default scope; it runs the calls that models make."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from kinto_orm.attempts import AnyRetry, Retry, Timeouts
from kinto_orm.authentication import Auth
from kinto_orm.clock import Until
from kinto_orm.connection import ServerInfo, above, open_connection, root_page
from kinto_orm.errors import (
    BadReply,
    ConfigurationError,
    TransportError,
    Unauthorized,
    Unsupported,
    again,
)
from kinto_orm.forking import cached_property
from kinto_orm.protocol import (
    Call,
    Parents,
    Reply,
    Request,
    error_for,
    if_none_match,
    segment,
)

if TYPE_CHECKING:
    from kinto_orm.account import Account
    from kinto_orm.batch import Batch
    from kinto_orm.bulk import OnError, Progress, Summary
    from kinto_orm.conditions import Condition
    from kinto_orm.history import PermissionEntry
    from kinto_orm.kv import KeyValues
    from kinto_orm.query import Query
    from kinto_orm.record import Record
    from kinto_orm.resource import Resource
    from kinto_orm.schema import SchemaPlan

    M = TypeVar("M", bound=Resource)

T = TypeVar("T")

_active: ContextVar[tuple[Session, ...]] = ContextVar("kinto_orm_sessions", default=())


class Session:
    """A connection to one Kinto server as one user, with a default bucket and collection.

    A session may be shared by threads. `with session:` makes it the current one, which models
    use when they are given no other, and closes it at the end.

    Args:
        server_url: `http(s)://host/v1`; `memory://` (a private Kinto in this process;
            `memory://name` is shared by all sessions of that name) or `local:///directory`
            (the same, kept in that directory), both with the extra `server`;
            `kvp+http(s)://host` (a server compatible with kvp.io). None: the variables
            KINTO_ORM_SERVER and KINTO_ORM_AUTH.
        auth: `("user", "password")`, "user:password", "Bearer token", BearerAuth(token), or any
            authentication object of requests. It goes to this server only.
        bucket: The default bucket's id; "default" is the user's personal bucket.
        collection: The default collection's id.
        timeout: Seconds, (to connect, to wait for the next bytes of an answer).
        retry: How often and how long to try again; None for never.
        headers: Sent with each request.

    Raises:
        ConfigurationError: No server is given, the URL or another argument is wrong, or an extra
            is missing.
        InvalidData: A bucket or a collection of this id cannot be.
    """

    def __init__(
        self,
        server_url: str | None = None,
        *,
        auth: Auth | None = None,
        bucket: str = "default",
        collection: str | None = None,
        timeout: Timeouts = (3.05, 30.0),
        retry: AnyRetry | None = Retry(),  # noqa: B008  (immutable)
        headers: Mapping[str, str] | None = None,
    ) -> None:
        _check_scope(bucket, collection)
        options = {"timeout": timeout, "retry": retry, "headers": headers}
        self._connection = open_connection(server_url, auth, options)
        self._opened = True
        self._bucket = bucket
        self._collection = collection

    # Scope

    @property
    def bucket(self) -> str:
        """The default bucket as it was given; "default" is the user's personal one."""
        return self._bucket

    @property
    def collection(self) -> str | None:
        """The default collection's id."""
        return self._collection

    @property
    def server_url(self) -> str:
        """The server's URL, without credentials."""
        return self._connection.shown

    def shares_server(self, other: Session) -> bool:
        """Whether both speak to the same server; as whom does not matter."""
        return self._connection.server == other._connection.server

    @property
    def dialect(self) -> str:
        """What the server speaks: "kinto" or "kvp"."""
        return self._connection.dialect

    def scoped(self, *, bucket: str | None = None, collection: str | None = None) -> Session:
        """Another default scope over the same connections.

        Args:
            bucket: The bucket's id; None keeps this session's.
            collection: The collection's id; None keeps this session's, unless the bucket
                changes.

        Raises:
            InvalidData: A bucket or a collection of this id cannot be.
        """
        other = copy.copy(self)
        other.__dict__.pop("kv", None)  # that of this session's bucket
        other._opened = False
        other._bucket = self._bucket if bucket is None else bucket
        same_bucket = other._bucket == self._bucket
        kept = self._collection if same_bucket else None
        other._collection = kept if collection is None else collection
        _check_scope(other._bucket, other._collection)
        return other

    def resolve_bucket(self, bucket: str | None = None) -> str:
        """The real id of a bucket: for "default" that of the user's personal bucket.

        Sends `GET /` the first time that "default" is asked for. A batch shows the real id
        while paths keep "default", so that the real one is used everywhere.

        Raises:
            Unauthorized: The personal bucket is asked for and nobody is logged in.
            Unsupported: The server has no personal buckets.
        """
        bucket = bucket or self._bucket
        if bucket != "default":
            return bucket
        info = self._info_that(lambda info: info.user is not None and "bucket" in info.user)
        if info.user is None:
            raise Unauthorized(
                "the bucket 'default' belongs to a user, and the server recognises none: check "
                'the session\'s auth, or name a bucket: Session(..., bucket="blog")',
                status=401,
            )
        own = info.user.get("bucket")
        if not isinstance(own, str):
            raise Unsupported(
                "this server has no personal buckets (the plugin default_bucket is off): name a "
                'bucket: Session(..., bucket="blog")'
            )
        return own

    @property
    def resolved(self) -> dict[tuple[str, str], tuple[str, Parents | None]]:
        """Plural paths as they were resolved for a model, with what must exist for them."""
        return self._connection.resolved

    @property
    def is_informed(self) -> bool:
        """Whether the server's root page was read already."""
        return self._connection.info is not None

    def is_personal(self, bucket: str) -> bool:
        """Whether this is the user's personal bucket, which is made on first use."""
        info = self._connection.info
        return info is not None and info.user is not None and info.user.get("bucket") == bucket

    # The current session

    def __enter__(self) -> Self:
        with self._connection.lock:
            self._check_open()
            self._connection.entered += 1
        _active.set((*_active.get(), self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _active.set(_left(_active.get(), self))
        with self._connection.lock:
            self._connection.entered -= 1
            if self._connection.entered == 0 and self._opened:
                self.close()

    def close(self) -> None:
        """Close the connections and what was started for them; later calls are refused."""
        if self._opened:
            self._connection.close()

    def _check_open(self) -> None:
        if self._connection.closed:
            raise ConfigurationError(f"{self!r} is closed; open another Session")

    def __repr__(self) -> str:
        scope = f"bucket={self._bucket!r}"
        if self._collection:
            scope += f", collection={self._collection!r}"
        return f"<Session {self._connection.shown} {scope}>"

    # Running calls

    def run(self, call: Call[T], *, lost: bool = False) -> T:
        """Send a call's request and hand its reply over.

        Missing parents that the library may make are made, and the call is sent once more.

        Args:
            call: What to do.
            lost: Whether it may have been done in a batch before, without a clear answer.

        Raises:
            KintoError: No answer came, or the server refused.
        """
        with self.one_call():
            reply = self._send(call.request, call.doing)
            if 400 <= reply.status < 500:
                reply = self._after_refusal(call, reply)
            reply.lost |= lost
            # What it makes of the reply may send more.
            return call.complete(reply)

    def _after_refusal(self, call: Call[Any], refusal: Reply) -> Reply:
        """The answer after what stood in the way was made; else the refusal, with its reason."""
        if call.request.method == "HEAD":
            # Its answer has no body that could say why.
            refusal = self._send(_as_get(call.request), call.doing)
            if refusal.status < 400:
                return self._send(call.request, call.doing)
        if refusal.status in (401, 403, 404) and self.make_parents(call, refusal):
            return self._send(call.request, call.doing)
        return refusal

    def one_call(self) -> Until:
        """All requests of the block are one call, and share its deadline.

        What is around it counts: within another such block the deadline is that one's.
        """
        return Until(self._connection.transport.end())

    def send(self, request: Request, doing: str) -> Reply:
        """Send a bare request; a reply of any status comes back.

        Raises:
            TransportError: No usable answer came.
        """
        with self.one_call():
            return self._send(request, doing)

    def _send(self, request: Request, doing: str) -> Reply:
        self._check_open()
        try:
            return self._connection.transport.send(request)
        except TransportError as error:
            raise again(error, f"cannot {doing}: {error}") from error

    def make_parents(self, call: Call[Any], reply: Reply) -> bool:
        """Make the collection of a call, if the reply says that it is missing.

        Sends `GET /buckets/default/collections/x` for the personal bucket, which is made by that,
        too; else a PUT with `If-None-Match: *` for the collection only.

        Returns:
            Whether the call is worth sending again.
        """
        parents = call.parents
        if parents is None or not parents.permitted:
            return False
        try:
            error = error_for(reply, call.request, call.doing)
        except BadReply:  # whoever completes the call says so
            return False
        if not parents.missing(error):
            return False
        request = self._creation(parents)
        # 412: it is there already.
        return request is not None and self.send(request, call.doing).status in (200, 201, 412)

    def _creation(self, parents: Parents) -> Request | None:
        personal = self.is_personal(parents.bucket)
        bucket = "default" if personal else segment(parents.bucket, "bucket")
        if parents.collection is None:
            return Request("GET", "/buckets/default") if personal else None
        path = f"/buckets/{bucket}/collections/{segment(parents.collection, 'collection')}"
        if personal:
            return Request("GET", path)
        return Request("PUT", path, headers=if_none_match())

    def server_info(self) -> ServerInfo:
        """The server's version, settings, capabilities and the user; asked once (`GET /`).

        An answer that recognises nobody is not kept when the session has credentials: the account
        may be made, or the token renewed, later.

        Raises:
            BadReply: What answers is no Kinto server.
        """
        return self._connection.info or self._ask_server()

    def _info_that(self, serves: Callable[[ServerInfo], bool]) -> ServerInfo:
        """What is known if it serves, else asked anew: what was missing may be there by now."""
        known = self._connection.info
        return known if known is not None and serves(known) else self._ask_server()

    def _ask_server(self) -> ServerInfo:
        info = self.run(root_page(self.server_url))
        if info.user is not None or self._connection.transport.is_anonymous:
            with self._connection.lock:
                self._connection.info = info
        return info

    def require(self, capability: str, what: str) -> None:
        """Make sure that the server has a capability.

        Raises:
            Unsupported: It does not; the message says what it is needed for.
        """
        if self.dialect == "kvp":
            raise Unsupported(f"{what}: a kvp.io server keeps keys and templates only")
        info = self._info_that(lambda info: capability in info.capabilities)
        if capability not in info.capabilities:
            raise Unsupported(
                f"{what}: the server {self.server_url} lacks the capability {capability!r}; "
                "its administrator can enable the plugin"
            )

    def require_kinto(self, what: str) -> None:
        """Make sure that the server speaks Kinto's protocol.

        Raises:
            Unsupported: It is a kvp.io server.
        """
        if self.dialect != "kinto":
            raise Unsupported(
                f"cannot {what}: {self.server_url} is a kvp.io server, which keeps key values "
                "and templates only (no collections, permissions or preconditions)"
            )

    # The verbs of models, for services that pass the session around

    def get(self, model: type[M], id: str) -> M:
        """`Model.get(id)` on this session."""
        return model.get(id, session=self)

    def find(self, model: type[M], *conditions: Condition | bool) -> Query[M]:
        """`Model.find(...)` on this session."""
        return model.find(*conditions, session=self)

    def save(self, *objects: Resource) -> None:
        """Save each object, in order; the first failure ends it."""
        for each in resources(*objects):
            each.save(session=self)

    def delete(self, *objects: Resource) -> None:
        """Delete each object, in order; the first failure ends it."""
        for each in resources(*objects):
            each.delete(session=self)

    def refresh(self, *objects: Resource) -> None:
        """Refresh each object, in order; the first failure ends it."""
        for each in resources(*objects):
            each.refresh(session=self)

    # Many objects

    def batch(self) -> Batch:
        """Queue operations and send them together at the end of a `with` block; see Batch.

        It is not a transaction: what succeeded stays succeeded when something else fails.
        """
        return above("batch").Batch(self)  # type: ignore[no-any-return]

    def save_all(
        self,
        objects: Iterable[Resource],
        *,
        workers: int = 1,
        force: bool = False,
        on_error: OnError = "collect",
        progress: Progress | None = None,
    ) -> Summary:
        """Save any number of objects in batches, in constant memory.

        Args:
            objects: Any iterable; it is read as the objects are sent.
            workers: How many connections send at the same time.
            force: Overwrite without preconditions.
            on_error: "collect" puts failures into the summary, "raise" stops at the first; a
                function is called with the object and the error.
            progress: Called with the summary so far, after each batch.

        Raises:
            Interrupted: Ctrl-C; it has the summary of what was done until then.
        """
        return above("bulk").save_all(  # type: ignore[no-any-return]
            self, objects, workers=workers, force=force, on_error=on_error, progress=progress
        )

    def delete_all(
        self,
        objects: Iterable[Resource],
        *,
        workers: int = 1,
        force: bool = False,
        missing_ok: bool = False,
        on_error: OnError = "collect",
        progress: Progress | None = None,
    ) -> Summary:
        """Delete any number of objects in batches; the arguments are those of `save_all`.

        Args:
            objects: Any iterable.
            workers: How many connections send at the same time.
            force: Delete without preconditions.
            missing_ok: Be content with those that are gone already.
            on_error: As in `save_all`.
            progress: As in `save_all`.
        """
        return above("bulk").delete_all(  # type: ignore[no-any-return]
            self,
            objects,
            workers=workers,
            force=force,
            missing_ok=missing_ok,
            on_error=on_error,
            progress=progress,
        )

    def get_many(self, model: type[M], ids: Iterable[str]) -> dict[str, M]:
        """Fetch objects by their ids, a hundred with each request (`GET ?in_id=...`).

        Returns:
            The objects by id; ids of which there is none are missing.
        """
        return above("bulk").get_many(self, model, ids)  # type: ignore[no-any-return]

    # Key values and the account

    @cached_property
    def kv(self) -> KeyValues:
        """The JSON values of the session's bucket by key path; nothing is sent yet."""
        return self._key_values(self._bucket)

    def _key_values(self, bucket: str) -> KeyValues:
        module = "kvp" if self.dialect == "kvp" else "kv"
        return above(module).key_values(self, bucket)  # type: ignore[no-any-return]

    def account(self) -> Account:
        """Who the user is (`GET /`; on a kvp.io server `GET /account/`).

        Returns:
            The account, with what the server says of it: on Kinto id, principals and bucket; on
            kvp.io id, email, reads and size. What it does not say is None.

        Raises:
            Unauthorized: The server recognises nobody.
        """
        return above("account").account_of(self)  # type: ignore[no-any-return]

    # The server's structure

    def sync_schema(self, *models: type[Record], dry_run: bool = False) -> SchemaPlan:
        """Make the bucket, the collection and the JSON schema of each model.

        Other attributes and the permissions of an existing collection stay.

        Args:
            *models: Classes of records; an untyped one gets a collection without a schema.
            dry_run: Only say what would be done.

        Returns:
            What was to be done, by model: added, removed and changed fields, and how many stored
            records do not fit. Print it.
        """
        return above("schema").sync_schema(self, models, dry_run=dry_run)  # type: ignore[no-any-return]

    def permissions(self) -> Iterator[PermissionEntry]:
        """Every object on which the user has permissions (`GET /permissions`, page by page).

        Raises:
            Unsupported: The server lacks the permissions endpoint.
        """
        return above("history").permission_entries(self)  # type: ignore[no-any-return]


def _as_get(request: Request) -> Request:
    """The request that is answered like a HEAD, with a body."""
    query = f"{request.query}&_limit=1" if request.query else "_limit=1"
    return dataclasses.replace(request, method="GET", query=query)


def _check_scope(bucket: str, collection: str | None) -> None:
    segment(bucket, "bucket")
    if collection is not None:
        segment(collection, "collection")


def resources(*objects: object) -> tuple[Resource, ...]:
    """The same objects, if all of them can be saved.

    Raises:
        TypeError: One of them is something else, such as a list.
    """
    kind = above("resource").Resource
    for each in objects:
        if not isinstance(each, kind):
            raise TypeError(
                f"objects of models are needed, such as records, not {type(each).__name__} "
                f"({each!r:.80}); write *objects for a list of them"
            )
    return objects  # type: ignore[return-value]


def current(given: Session | None, *others: Session | None, needed_for: str) -> Session:
    """The session to use: the one given, else the first of `others`, the current one among them.

    Args:
        given: From the call.
        *others: In the order of their precedence: where the object came from first, its class's
            last; the current one stands between the two.
        needed_for: What needs it, for the message.

    Raises:
        ConfigurationError: There is none.
    """
    came_from, bound = (*others, None, None)[:2]
    if given is not None:
        refuse_other(given, "session=")
    active = _active.get()
    found = given or came_from or (active[-1] if active else None) or bound
    if found is None:
        raise ConfigurationError(
            f"{needed_for} needs a session: give one to the call (session=...), work inside "
            "`with Session(...):`, or bind one to the class (Todo.bind(session))"
        )
    return found


def refuse_other(given: object, named: str) -> None:
    """Refuse what is given as a session and is none.

    Raises:
        ConfigurationError: It is something else.
    """
    if not isinstance(given, Session):
        shown = repr(given) if not isinstance(given, str) or "@" not in given else "..."
        raise ConfigurationError(
            f"{named}{shown} is no Session but a {type(given).__name__}; open one: "
            'Session("memory://")'
        )


def _left(sessions: tuple[Session, ...], session: Session) -> tuple[Session, ...]:
    """The active sessions after one was left, which need not be the innermost."""
    for place in reversed(range(len(sessions))):
        if sessions[place] is session:
            return sessions[:place] + sessions[place + 1 :]
    return sessions  # it was entered in another context
