"""Buckets, groups, collections and accounts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, JsonValue

from kinto_orm.errors import ConfigurationError
from kinto_orm.permissions import Permissions
from kinto_orm.protocol import segment
from kinto_orm.query import Query
from kinto_orm.record import Children, Record
from kinto_orm.resource import Resource
from kinto_orm.session import Session
from kinto_orm.state import state_of

if TYPE_CHECKING:
    from kinto_orm.history import HistoryEntry
    from kinto_orm.kv import KeyValues


class Bucket(Resource):
    """A bucket: collections and groups under one roof of permissions. It takes any field."""

    __kinto_kind__: ClassVar[str] = "bucket"
    # The server says 403 of a bucket that does not exist; one that is not ours looks the same.
    __kinto_hidden__ = True

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: str = ...,
            permissions: Permissions | Mapping[str, Iterable[str]] = ...,
            **fields: Any,
        ) -> None: ...

    @classmethod
    def _scope_path(cls, session: Session) -> str:
        return "/buckets"

    @classmethod
    def _require_id(cls, raw: Mapping[str, Any], id: str) -> None:
        # The server answers the real id of the personal bucket.
        if id != "default":
            super()._require_id(raw, id)

    def history(self, *, session: Session | None = None) -> Query[HistoryEntry]:
        """What was done in this bucket, newest first (`GET /buckets/x/history`).

        Raises:
            Unsupported: The server lacks the history plugin.
        """
        session, _, _ = self._place(session)
        from kinto_orm.history import history_of_bucket

        return history_of_bucket(session, session.resolve_bucket(self.id))

    @property
    def kv(self) -> KeyValues:
        """The JSON values of this bucket by key path; nothing is sent yet."""
        session = self._session(None, state_of(self).session)
        session.require_kinto("use the key values of a bucket")
        return session._key_values(self.id)

    @property
    def collections(self) -> Children[Collection]:
        """The collections inside: `.new(id=...)`, `.get(id)`, `.find()`."""
        return Children(Collection, state_of(self).session, f"{self.uri}/collections")

    @property
    def groups(self) -> Children[Group]:
        """The groups inside: `.new(id=..., members=[...])`, `.get(id)`, `.find()`."""
        return Children(Group, state_of(self).session, f"{self.uri}/groups")


class _InBucket(Resource):
    """What lives directly in a bucket."""

    __kinto_keywords__: ClassVar[frozenset[str]] = Resource.__kinto_keywords__ | {"bucket"}

    @classmethod
    def _plural(cls) -> str:
        return f"{cls.__kinto_kind__}s"

    @classmethod
    def _placement(cls, given: dict[str, Any]) -> str | None:
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
    def _scope_path(cls, session: Session) -> str:
        return f"/buckets/{segment(session.bucket, 'bucket')}/{cls._plural()}"

    @property
    def bucket(self) -> str:
        """The id of the bucket that it lives in, as it was given."""
        parent = state_of(self).parent
        if parent is not None:
            return parent.split("/")[2]
        return self._session(None, state_of(self).session).bucket


class Group(_InBucket):
    """A group of principals, in a bucket.

    Attributes:
        members: Principals such as "account:alice"; no groups, no system principals.
    """

    __kinto_kind__: ClassVar[str] = "group"

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

    def snapshot(self, when: int | datetime, *, session: Session | None = None) -> list[Record]:
        """All records as they were at a time (milliseconds, or a datetime).

        Raises:
            Unsupported: The server lacks the history plugin.
        """
        session, parent, _ = self._place(session)
        from kinto_orm.history import snapshot

        return snapshot(Record, session, parent.split("/")[2], self.id, when)

    @property
    def records(self) -> Children[Record]:
        """The records inside: `.new(**fields)`, `.get(id)`, `.find(...)`."""
        return Children(Record, state_of(self).session, f"{self.uri}/records")
