"""Buckets, groups and collections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, JsonValue

from kinto_orm.errors import ConfigurationError
from kinto_orm.kv.values import KeyValues
from kinto_orm.models.asking import place_of, scope_of
from kinto_orm.models.history import History, HistoryEntry, history_of_bucket, taking_snapshot
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.record import Children, Record
from kinto_orm.models.resource import Resource
from kinto_orm.models.state import state_of
from kinto_orm.queries.query import Query
from kinto_orm.wire.awaiting import arun
from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import segment
from kinto_orm.wire.places import bucket_id
from kinto_orm.wire.scope import Scope, check_kind

if TYPE_CHECKING:
    from kinto_orm.bulk.summary import OnError, Progress
    from kinto_orm.kv.twins import AsyncKeyValues
    from kinto_orm.models.putting_back import PuttingBack, RestorePlan


class Bucket(Resource):
    """A bucket: collections and groups under one roof of permissions. It takes any field."""

    __kinto_kind__: ClassVar[str] = "bucket"
    # The server says 403 of a bucket that does not exist; one that is not ours looks the same.
    __kinto_hidden__: ClassVar[bool] = True
    __kinto_aliases__: ClassVar[frozenset[str]] = frozenset({"default"})

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: str = ...,
            permissions: Permissions | Mapping[str, Iterable[str]] = ...,
            **fields: Any,
        ) -> None: ...

    @classmethod
    def __kinto_path__(cls, scope: Scope) -> str:
        return "/buckets"

    def history(self, *, session: Scope | None = None) -> Query[HistoryEntry]:
        """What was done in this bucket, newest first (`GET /buckets/x/history`).

        Raises:
            Unsupported: The server lacks the history plugin.
        """
        return run(scope_of(self, session), _history_of(self, session))

    async def ahistory(self, *, session: Scope | None = None) -> Query[HistoryEntry]:
        """`history`, awaited."""
        return await arun(scope_of(self, session), _history_of(self, session))

    def restore(
        self,
        when: int | datetime,
        *,
        within: str = "",
        dry_run: bool = False,
        force: bool = False,
        workers: int = 1,
        on_error: OnError = "collect",
        progress: Progress | None = None,
        session: Scope | None = None,
    ) -> RestorePlan:
        """Put all of the bucket back to what it was at a time, by its history.

        The bucket itself, its groups, collections and records become what they were, with their
        permissions; what was deleted since is created again, and what was created since is
        deleted. Of collections that were created since the records are deleted, and they stay,
        empty: `left` has them. What is as it was is not written. Hooks of models are not called.

        Each write has a precondition: what somebody else changes while this goes on stays, and is
        a Conflict in `failed`. So is an object that stays because its history cannot be loaded:
        an InvalidData. The paths of what was changed since are kept in memory, the objects are
        not.

        Args:
            when: Milliseconds, as in `last_modified`, or a datetime.
            within: The path in the bucket of what is to be put back, such as "collections/todos":
                this collection with its schema, its permissions and all records;
                "collections/todos/records/x" and "groups/writers" for one object. By default all.
            dry_run: Only say what would be done.
            force: Undo also what somebody changes after the history was read. Each write has the
                precondition of what was read right before it.
            workers: As in `save_all`.
            on_error: As in `save_all`.
            progress: As in `save_all`.
            session: Which session to use.

        Returns:
            What was done, or would be. Print it.

        Raises:
            NotFound: The bucket, or what is `within`, was not there at that time.
            Unsupported: The server lacks the history plugin.
            InvalidData: `within` is no path.
            Interrupted: Ctrl-C; it has the summary of what was done until then.
        """
        from kinto_orm.bulk.many import in_chunks

        scope = scope_of(self, session)
        what: Any = {"within": within, "dry_run": dry_run, "force": force}
        how: Any = {"workers": workers, "on_error": on_error, "progress": progress}
        restoring = _restoring(self, session, when, **what, **how)
        run(scope, restoring.opening())
        for objects, bulk in restoring.parts():
            in_chunks(scope, objects, bulk)
        return restoring.plan

    async def arestore(
        self,
        when: int | datetime,
        *,
        within: str = "",
        dry_run: bool = False,
        force: bool = False,
        workers: int = 1,
        on_error: OnError = "collect",
        progress: Progress | None = None,
        session: Scope | None = None,
    ) -> RestorePlan:
        """`restore`, awaited."""
        from kinto_orm.bulk.twins import in_chunks

        scope = scope_of(self, session)
        what: Any = {"within": within, "dry_run": dry_run, "force": force}
        how: Any = {"workers": workers, "on_error": on_error, "progress": progress}
        restoring = _restoring(self, session, when, **what, **how)
        await arun(scope, restoring.opening())
        for objects, bulk in restoring.parts():
            await in_chunks(scope, objects, bulk)
        return restoring.plan

    @property
    def kv(self) -> KeyValues:
        """The JSON values of this bucket by key path; nothing is sent yet."""
        scope = self._scope_of_kv()
        check_kind(scope, awaits=False)
        return KeyValues(scope, self.id)

    @property
    def akv(self) -> AsyncKeyValues:
        """The same for an AsyncSession."""
        from kinto_orm.kv.twins import AsyncKeyValues

        scope = self._scope_of_kv()
        check_kind(scope, awaits=True)
        return AsyncKeyValues(scope, self.id)

    def _scope_of_kv(self) -> Scope:
        scope = scope_of(self)
        scope.require_kinto("use the key values of a bucket")
        return scope

    @property
    def collections(self) -> Children[Collection]:
        """The collections inside: `.new(id=...)`, `.get(id)`, `.find()`."""
        return Children(Collection, state_of(self).scope, f"{self.uri}/collections")

    @property
    def groups(self) -> Children[Group]:
        """The groups inside: `.new(id=..., members=[...])`, `.get(id)`, `.find()`."""
        return Children(Group, state_of(self).scope, f"{self.uri}/groups")


def _history_of(bucket: Bucket, given: Scope | None) -> Flow[History]:
    scope = (yield from place_of(bucket, given)).scope
    return (yield from history_of_bucket(scope, (yield from bucket_id(scope, bucket.id))))


def _restoring(
    bucket: Bucket, given: Scope | None, when: int | datetime, **options: Any
) -> PuttingBack:
    from kinto_orm.models.putting_back import PuttingBack

    models = {each.__kinto_kind__: each for each in (Bucket, Group, Collection, Record)}
    return PuttingBack(bucket, given, when, models, **options)


class _InBucket(Resource):
    """What lives directly in a bucket."""

    __kinto_keywords__: ClassVar[frozenset[str]] = Resource.__kinto_keywords__ | {"bucket"}

    @classmethod
    def _plural(cls) -> str:
        return f"{cls.__kinto_kind__}s"

    @classmethod
    def __kinto_placement__(cls, given: dict[str, Any]) -> str | None:
        bucket = given.pop("bucket", None)
        if bucket is None:
            return None
        id = bucket.id if isinstance(bucket, Bucket) else bucket
        if not isinstance(id, str):
            raise TypeError(
                f"bucket= says where a {cls.__name__} lives: a Bucket or its id, not {id!r}; a "
                f"stored field of that name is set by {cls.__kinto_kind__}['bucket'] = ..."
            )
        return f"/buckets/{segment(id, 'bucket')}/{cls._plural()}"

    @classmethod
    def __kinto_path__(cls, scope: Scope) -> str:
        return f"/buckets/{segment(scope.bucket, 'bucket')}/{cls._plural()}"

    @property
    def bucket(self) -> str:
        """The id of the bucket that it lives in, as it was given."""
        plural = state_of(self).plural
        if plural is not None:
            return plural.split("/")[2]
        return scope_of(self).bucket


class Group(_InBucket):
    """A group of principals, in a bucket.

    Attributes:
        members: Principals such as "account:alice"; no groups, no system principals.
    """

    __kinto_kind__: ClassVar[str] = "group"
    __kinto_sets__: ClassVar[frozenset[str]] = frozenset({"members"})

    members: list[str] = []

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: str = ...,
            members: list[str] = ...,
            bucket: str | Bucket = ...,
            permissions: Permissions | Mapping[str, Iterable[str]] = ...,
            **fields: Any,
        ) -> None: ...

    @property
    def principal(self) -> str:
        """What to grant a permission to so that all members have it."""
        if "/default/" in self.uri:
            raise ConfigurationError(
                "the principal of a group in the personal bucket is known once it is saved"
            )
        return self.uri


class Collection(_InBucket):
    """A collection of records, in a bucket. It takes any field.

    Attributes:
        json_schema: The JSON schema that the server checks records against; stored as `schema`.
    """

    __kinto_kind__: ClassVar[str] = "collection"

    json_schema: dict[str, JsonValue] | None = Field(
        default=None,
        validation_alias="schema",
        serialization_alias="schema",
        exclude_if=lambda value: value is None,
    )

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: str = ...,
            json_schema: dict[str, JsonValue] | None = ...,
            bucket: str | Bucket = ...,
            permissions: Permissions | Mapping[str, Iterable[str]] = ...,
            **fields: Any,
        ) -> None: ...

    def snapshot(self, when: int | datetime, *, session: Scope | None = None) -> list[Record]:
        """All records as they were at a time (milliseconds, or a datetime).

        Raises:
            Unsupported: The server lacks the history plugin.
        """
        return run(scope_of(self, session), _snapshot_of(self, session, when))

    async def asnapshot(
        self, when: int | datetime, *, session: Scope | None = None
    ) -> list[Record]:
        """`snapshot`, awaited."""
        return await arun(scope_of(self, session), _snapshot_of(self, session, when))

    @property
    def records(self) -> Children[Record]:
        """The records inside: `.new(**fields)`, `.get(id)`, `.find(...)`."""
        return Children(Record, state_of(self).scope, f"{self.uri}/records")


def _snapshot_of(
    collection: Collection, given: Scope | None, when: int | datetime
) -> Flow[list[Record]]:
    place = yield from place_of(collection, given)
    bucket = place.path.split("/")[2]
    return (yield from taking_snapshot(Record, place.scope, bucket, collection.id, when))
