"""The session: one server, one user, a default scope; the front of all that the library does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from kinto_orm.bulk.jobs import checked_objects
from kinto_orm.errors import ConfigurationError
from kinto_orm.queries.habits import Hinting, hinted
from kinto_orm.wire.attempts import AnyRetry, Retry
from kinto_orm.wire.authentication import Auth
from kinto_orm.wire.clock import Timeouts
from kinto_orm.wire.connection import Connection, Opener, Options, Transport, open_connection
from kinto_orm.wire.driving import blocking, run, run_each
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.forking import cached_property
from kinto_orm.wire.messages import Reply
from kinto_orm.wire.places import bucket_id, info_of
from kinto_orm.wire.requesting import Query as RequestQuery
from kinto_orm.wire.requesting import requesting
from kinto_orm.wire.route import Cert, Verify
from kinto_orm.wire.scope import Scope, check_ids, checked_model
from kinto_orm.wire.serverinfo import ServerInfo
from kinto_orm.wire.transport import RequestsTransport
from kinto_orm.wire.watching import OnRequest

if TYPE_CHECKING:
    from pydantic import JsonValue

    from kinto_orm.bulk.batch import Batch
    from kinto_orm.bulk.jobs import Existing
    from kinto_orm.bulk.summary import OnError, Progress, Summary
    from kinto_orm.kv.values import KeyValues
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


class Session(Hinting, Scope):
    """A connection to one Kinto server as one user, with a default bucket and collection.

    A session may be shared by threads. `with session:` makes it the current one, which models
    use when they are given no other, and closes it at the end.

    Args:
        server_url: `http(s)://host/v1`; `memory://` (a private Kinto in this process;
            `memory://name` is shared by all sessions of that name), `sqlite:///file.db` (the
            same, kept in that file; an absolute path has four slashes) or `local:///directory`
            (kept in that directory, for many writers at once), all with the extra `server`;
            `kvp+http(s)://host` (a server compatible with kvp.io). None: the variables
            KINTO_ORM_SERVER and KINTO_ORM_AUTH.
        auth: `("user", "password")`, "user:password", "Bearer token", BearerAuth(token), or any
            authentication object of requests. It goes to this server only.
        bucket: The default bucket's id; "default" is the user's personal bucket.
        collection: The default collection's id.
        timeout: Seconds, (to connect, to wait for the next bytes of an answer).
        retry: How often and how long to try again; None for never.
        headers: Sent with each request.
        on_request: A function that is told of each sending, by a RequestEvent.
        dry_run: Check and report writes, and do not send them.
        verify: Whether the server's certificate is looked at, or the path of trusted ones.
        cert: The path of the client's certificate with its key, or (certificate, key).
        proxies: URLs by scheme. These three come before what the environment says.

    Raises:
        ConfigurationError: No server is given, the URL or another argument is wrong, or an extra
            is missing.
        InvalidData: A bucket or a collection of this id cannot be.
    """

    # What sends its requests.
    __kinto_transport__: Callable[..., Transport] = RequestsTransport

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
                "transport": self.__kinto_transport__,
            },
            EMBEDDED,
        )
        super().__init__(connection, bucket, collection)

    def __kinto_run__(self, flow: Flow[T]) -> T:
        return blocking(self, flow)

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.leave():
            self.close()

    if not TYPE_CHECKING:

        async def __aenter__(self):
            raise ConfigurationError(f"{self!r} blocks: write `with`, not `async with`")

        async def __aexit__(self, *exc):
            """Raise nothing: nobody gets here."""

    def close(self) -> None:
        """Close the connections and what was started for them; later calls are refused."""
        if self.owns_connection:
            self.connection.close()

    def scoped(self, *, bucket: str | None = None, collection: str | None = None) -> Self:
        """Another default scope over the same connections.

        Args:
            bucket: The bucket's id; None keeps this session's.
            collection: The collection's id; None keeps this session's, unless the bucket
                changes.

        Raises:
            InvalidData: A bucket or a collection of this id cannot be.
        """
        other = super().scoped(bucket=bucket, collection=collection)
        other.__dict__.pop("kv", None)  # that of this session's bucket
        return other

    def server_info(self) -> ServerInfo:
        """The server's version, settings, capabilities and the user; asked once (`GET /`).

        An answer that recognises nobody is not kept when the session has credentials: the account
        may be made, or the token renewed, later.

        Raises:
            BadReply: What answers is no Kinto server.
        """
        return run(self, info_of(self))

    def resolve_bucket(self, bucket: str | None = None) -> str:
        """The real id of a bucket: for "default" that of the user's personal bucket.

        Sends `GET /` the first time that "default" is asked for.

        Raises:
            Unauthorized: The personal bucket is asked for and nobody is logged in.
            Unsupported: The server has no personal buckets.
        """
        return run(self, bucket_id(self, bucket))

    # The verbs of models, for services that pass the session around

    @hinted
    def get(self, model: type[M], id: str) -> M:
        """`Model.get(id)` on this session."""
        return checked_model(model).get(id, session=self)

    @hinted
    def find(self, model: type[M], *conditions: Condition | bool) -> Query[M]:
        """`Model.find(...)` on this session."""
        return checked_model(model).find(*conditions, session=self)

    def save(self, *objects: Resource) -> None:
        """Save each object, in order; the first failure ends it."""
        for each in checked_objects(*objects):
            each.save(session=self)

    def delete(self, *objects: Resource) -> None:
        """Delete each object, in order; the first failure ends it."""
        for each in checked_objects(*objects):
            each.delete(session=self)

    def refresh(self, *objects: Resource) -> None:
        """Refresh each object, in order; the first failure ends it."""
        for each in checked_objects(*objects):
            each.refresh(session=self)

    # Many objects

    def batch(self) -> Batch:
        """Queue operations and send them together at the end of a `with` block; see Batch.

        It is not a transaction: what succeeded stays succeeded when something else fails.
        """
        from kinto_orm.bulk.batch import Batch

        return Batch(self, kv=lambda: self.kv)

    def save_all(
        self,
        objects: Iterable[Resource],
        *,
        workers: int = 1,
        force: bool = False,
        existing: Existing = "fail",
        on_error: OnError = "collect",
        progress: Progress | None = None,
    ) -> Summary:
        """Save any number of objects in batches, in constant memory.

        Args:
            objects: Any iterable; it is read as the objects are sent.
            workers: How many connections send at the same time.
            force: Overwrite without preconditions.
            existing: What becomes of new objects whose ids are there already; see `Record.save`.
                What is there is read, a hundred objects with each request.
            on_error: "collect" puts failures into the summary, "raise" stops at the first; a
                function is called with the object and the error.
            progress: Called with the summary so far, after each batch. True: a bar on standard
                error, by Rich or tqdm where one is installed, else a line.

        Raises:
            Interrupted: Ctrl-C; it has the summary of what was done until then.
        """
        from kinto_orm.bulk.many import save_all

        return save_all(
            self,
            objects,
            workers=workers,
            force=force,
            existing=existing,
            on_error=on_error,
            progress=progress,
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
        from kinto_orm.bulk.many import delete_all

        return delete_all(
            self,
            objects,
            workers=workers,
            force=force,
            missing_ok=missing_ok,
            on_error=on_error,
            progress=progress,
        )

    def sync(
        self,
        model: type[M],
        objects: Iterable[M | Mapping[str, object]],
        *,
        delete_missing: bool = False,
        dry_run: bool = False,
        existing: Literal["update", "replace"] = "update",
        workers: int = 1,
        on_error: OnError = "collect",
        progress: Progress | None = None,
    ) -> SyncPlan:
        """Make a collection equal to an iterable; what is equal already is not sent.

        Each object is looked for by its id, a hundred with each request, and created, or updated
        as a new one by `save(existing=...)`: one that was loaded earlier counts by its fields,
        whatever it believes that the server has. Of mappings `last_modified`, computed fields and
        what the server adds are left out, so that they may be dumps. Permissions that are given
        with an object are made the ones there, permission by permission; those that are not given
        stay.

        Args:
            model: The class; its collection is made equal.
            objects: Any iterable of objects, or of mappings of their fields, each with its id.
            delete_missing: Delete at the end what is there and was not given; nothing when
                something failed. The ids of all that was given are kept in memory until then.
            dry_run: Only say what would be done. Hooks are not called, for they might write.
            existing: "update": fields that the model does not declare, and the object does not
                have, stay. "replace": they are taken away.
            workers: As in `save_all`.
            on_error: As in `save_all`.
            progress: As in `save_all`.

        Returns:
            What was done, or would be: the counts of a Summary, and the ids of what changes.
            Print it.

        Raises:
            Interrupted: Ctrl-C; it has the summary of what was done until then.
        """
        from kinto_orm.bulk.many import in_chunks
        from kinto_orm.models.syncing import Syncing

        options: Any = {"workers": workers, "on_error": on_error, "progress": progress}
        wanted: Any = {"delete_missing": delete_missing, "dry_run": dry_run, "existing": existing}
        syncing = Syncing(self, checked_model(model), **wanted, **options)
        run(self, syncing.opening())
        in_chunks(self, objects, syncing.saving)
        if delete_missing:
            in_chunks(self, run(self, syncing.missing()), syncing.deleting)
        return syncing.plan

    def get_many(
        self,
        model: type[M],
        ids: Iterable[str],
        *,
        on_invalid: OnInvalid[M] = "raise",
        prefetch: object = (),
    ) -> dict[str, M]:
        """Fetch objects by their ids, a hundred with each request (`GET ?in_id=...`).

        Args:
            model: Their class.
            ids: Their ids.
            on_invalid: What becomes of records that do not fit the model; see `Query.on_invalid`.
            prefetch: Fields whose links are followed, as in `Query.prefetch`; or one of them.

        Returns:
            The objects by id; ids of which there is none, or one that is left out, are missing.
        """
        from kinto_orm.queries.many import asked_for, getting_many

        query = asked_for(checked_model(model).find(session=self), on_invalid, prefetch)
        return run(self, getting_many(query, ids))

    # Key values and the account

    @cached_property
    def kv(self) -> KeyValues:
        """The JSON values of the session's bucket by key path; nothing is sent yet."""
        from kinto_orm.kv.values import KeyValues

        return KeyValues(self, self._bucket)

    def account(self) -> Account:
        """Who the user is (`GET /`; on a kvp.io server `GET /account/`).

        Returns:
            The account, with what the server says of it: on Kinto id, principals and bucket; on
            kvp.io id, email, reads and size. What it does not say is None.

        Raises:
            Unauthorized: The server recognises nobody.
        """
        from kinto_orm.models.account import fetching_account

        return run(self, fetching_account(self))

    def request(
        self,
        method: str,
        path: str,
        *,
        query: RequestQuery | None = None,
        json: JsonValue = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request of your own, with the session's credentials, attempts and errors.

        Args:
            method: "GET", "HEAD", "PUT", "PATCH", "POST", "DELETE" or "OPTIONS". What may be
                done twice without harm (all but PATCH and POST) is sent again as all else is.
            path: Below the server's URL, quoted: "/buckets/blog/history".
            query: Parameters by name, or pairs; they are quoted.
            json: The body, any JSON value; None for none.
            headers: Of this request, such as {"If-Match": '"1795983961915"'}.

        Raises:
            InvalidData: This cannot be sent.
            ResponseError: The server refused; what is returned is below 400.
            TransportError: No answer came.
        """
        return run(self, requesting(method, path, query, json, headers))

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
        from kinto_orm.models.schema import syncing_schema

        return run(self, syncing_schema(self, models, dry_run=dry_run))

    def permissions(self) -> Iterator[PermissionEntry]:
        """Every object on which the user has permissions (`GET /permissions`, page by page).

        Raises:
            Unsupported: The server lacks the permissions endpoint.
        """
        from kinto_orm.models.history import permission_entries

        return run_each(self, permission_entries(self))


def _open_embedded(url: str, auth: Any, options: Options) -> Connection:
    from kinto_orm.server.opening import open_embedded

    return open_embedded(url, auth, options)


EMBEDDED: dict[str, Opener] = dict.fromkeys(("memory", "sqlite", "local"), _open_embedded)
