"""Records: typed ones by subclass, untyped ones that take any field."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from kinto_orm.errors import ConfigurationError, InvalidData, ModelError
from kinto_orm.models.asking import scope_for, scope_of
from kinto_orm.models.getting import getting
from kinto_orm.models.kinds import configure_kinds
from kinto_orm.models.making import of_fields
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.resource import Resource
from kinto_orm.models.state import set_state, state_of
from kinto_orm.models.stored import NOT_DATA
from kinto_orm.queries.habits import hinted
from kinto_orm.queries.options import given_fields
from kinto_orm.queries.query import Query
from kinto_orm.wire.awaiting import arun, arun_each
from kinto_orm.wire.driving import run, run_each
from kinto_orm.wire.messages import segment
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    from kinto_orm.models.history import HistoryEntry
    from kinto_orm.models.restoring import Deletion
    from kinto_orm.queries.conditions import Condition

M = TypeVar("M", bound=Resource)


class Record(Resource):
    """A record of a collection.

    A subclass declares fields and is typed: `class Todo(Record, collection="todos")`. Record
    itself takes any field: `Record(title="x")`; `record["any name"]` reaches those that are no
    identifiers.

    Class keywords:
        collection: The collection's id; by default the session's.
        bucket: The bucket's id; by default the session's.
        id_factory: Makes the id of a new record; by default a random UUID.
        discriminator: The field by which subclasses are told apart that share the collection:
            each declares its values, such as `kind: Literal["cat"] = "cat"`.
        unknown_kinds: What becomes of records of a kind that no subclass has: "base" loads them as
            this class, with a warning; "refuse" raises InvalidData.
    """

    __kinto_kind__: ClassVar[str] = "record"
    __kinto_options__ = frozenset({
        "id_factory", "collection", "bucket", "discriminator", "unknown_kinds",
    })  # fmt: skip
    # The server writes `schema` into the records of a collection that has one.
    __kinto_server_made__: ClassVar[frozenset[str]] = NOT_DATA | {"schema"}
    __kinto_bucket__: ClassVar[str | None] = None
    __kinto_collection__: ClassVar[str | None] = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: str = ...,
            permissions: Permissions | Mapping[str, Iterable[str]] = ...,
            **fields: Any,
        ) -> None: ...

    @classmethod
    def __kinto_configure__(
        cls,
        *,
        id_factory: Callable[[], str] | None = None,
        collection: str | None = None,
        bucket: str | None = None,
        discriminator: str | None = None,
        unknown_kinds: str | None = None,
        extra: str | None = None,
    ) -> None:
        super().__kinto_configure__(id_factory=id_factory, extra=extra)
        for name, value in (("collection", collection), ("bucket", bucket)):
            if value is not None:
                _check_keyword(cls.__name__, name, value)
                setattr(cls, f"__kinto_{name}__", value)
        if cls.__kinto_extra__ is None:
            cls.__kinto_open__ = cls.model_fields.keys() <= {"id", "last_modified"}
        configure_kinds(cls, discriminator, unknown_kinds)

    @classmethod
    def __kinto_path__(cls, scope: Scope) -> str:
        collection = cls.__kinto_collection__ or scope.collection
        if collection is None:
            by_class = (
                f'the class one (class {cls.__name__}(Record, collection="todos"))'
                if cls is not Record
                else "a subclass one (class Todo(Record, collection=...))"
            )
            raise ConfigurationError(
                f"{cls.__name__} needs a collection: give {by_class}, or the session "
                '(Session(..., collection="todos")), or use collection.records'
            )
        return _records_path(cls.__kinto_bucket__ or scope.bucket, collection)

    @classmethod
    def __kinto_stored_in__(cls) -> tuple[str | None, ...]:
        return cls.__kinto_kind__, cls.__kinto_bucket__, cls.__kinto_collection__

    @classmethod
    def __kinto_path_of_copies__(cls, scope: Scope) -> str | None:
        # What the class says is a default here: a copy goes where it is told to go.
        bucket = scope.bucket if scope.bucket != "default" else cls.__kinto_bucket__ or "default"
        collection = scope.collection or cls.__kinto_collection__
        return None if collection is None else _records_path(bucket, collection)

    def history(self, *, session: Scope | None = None) -> Query[HistoryEntry]:
        """What was done to this record, newest first.

        Raises:
            Unsupported: The server lacks the history plugin.
        """
        from kinto_orm.models.history import history_of

        return run(scope_of(self, session), history_of(self, session))

    def at(self, when: int | datetime, *, session: Scope | None = None) -> Self:
        """This record as it was at a time (milliseconds, or a datetime); another object.

        Raises:
            NotFound: It was not there at that time.
            Unsupported: The server lacks the history plugin.
        """
        from kinto_orm.models.history import looking_back

        return run(scope_of(self, session), looking_back(self, session, when))

    def revert(self, when: int | datetime, *, session: Scope | None = None) -> Self:
        """Make this record what it was at a time, and save it with its precondition.

        Raises:
            NotFound: It was not there at that time.
            Conflict: Somebody else changed it since it was loaded.
        """
        from kinto_orm.models.history import reverting

        run(scope_of(self, session), reverting(self, session, when))
        return self

    async def ahistory(self, *, session: Scope | None = None) -> Query[HistoryEntry]:
        """`history`, awaited."""
        from kinto_orm.models.history import history_of

        return await arun(scope_of(self, session), history_of(self, session))

    async def aat(self, when: int | datetime, *, session: Scope | None = None) -> Self:
        """`at`, awaited."""
        from kinto_orm.models.history import looking_back

        return await arun(scope_of(self, session), looking_back(self, session, when))

    async def arevert(self, when: int | datetime, *, session: Scope | None = None) -> Self:
        """`revert`, awaited."""
        from kinto_orm.models.history import reverting

        await arun(scope_of(self, session), reverting(self, session, when))
        return self

    # What was deleted

    @classmethod
    def deleted(cls, *, session: Scope | None = None) -> Iterator[Deletion[Self]]:
        """What was deleted and is not there again, by the history: the newest deletion first.

        A class of one kind gives what was of that kind, as far as the history shows it. What does
        not fit the model is there too: without an object, and with the error. Records that were
        deleted with their whole collection are not, since the history tells of the collection
        only; `restore` brings them back one by one, `bucket.restore` all.

        Args:
            session: Which session to use.

        Raises:
            Unsupported: The server lacks the history plugin.
        """
        from kinto_orm.models.restoring import deletions

        scope = scope_for(cls, session)
        return run_each(scope, deletions(cls, scope))

    @classmethod
    def restore(
        cls, id: str, *, at: int | datetime | None = None, session: Scope | None = None
    ) -> Self:
        """Bring back what was deleted, or make a record what it was at a time; and save it.

        Its fields come back, and not its permissions. The hooks of saving are called.

        Args:
            id: The record's id.
            at: Milliseconds, or a datetime; None: as it was before it was deleted.
            session: Which session to use.

        Raises:
            NotFound: The history does not show it, or it was not there at that time.
            Conflict: It is there, and no time was given; or somebody else was first.
            Unsupported: The server lacks the history plugin.
        """
        from kinto_orm.models.restoring import restoring

        scope = scope_for(cls, session)
        return run(scope, restoring(cls, scope, id, at))

    @classmethod
    def adeleted(cls, *, session: Scope | None = None) -> AsyncIterator[Deletion[Self]]:
        """`deleted`, for `async for`."""
        from kinto_orm.models.restoring import deletions

        scope = scope_for(cls, session)
        return arun_each(scope, deletions(cls, scope))

    @classmethod
    async def arestore(
        cls, id: str, *, at: int | datetime | None = None, session: Scope | None = None
    ) -> Self:
        """`restore`, awaited."""
        from kinto_orm.models.restoring import restoring

        scope = scope_for(cls, session)
        return await arun(scope, restoring(cls, scope, id, at))


@lru_cache(maxsize=1000)
def _records_path(bucket: str, collection: str) -> str:
    inside = f"/buckets/{segment(bucket, 'bucket')}"
    return f"{inside}/collections/{segment(collection, 'collection')}/records"


def _check_keyword(model: str, name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ModelError(f"{name}= of {model} is the id of a {name}, a text, not {value!r}")
    try:
        segment(value, name)
    except InvalidData as error:
        raise ModelError(f"{name}= of {model}: {error}") from error


class Children(Generic[M]):
    """The objects inside another one: records of a collection, collections of a bucket.

    Args:
        model: Their class.
        session: Which session to use; None for the current one.
        plural: The path of the plural endpoint.
    """

    def __init__(self, model: type[M], session: Scope | None, plural: str) -> None:
        self.model = model
        self._given = session
        self._plural = plural

    def new(self, fields: Mapping[str, object] | None = None, /, **more: Any) -> M:
        """A new object that lives here; `save()` creates it.

        Args:
            fields: Its fields; here every name is a field's, `permissions` too.
            **more: More fields, and `permissions`, as a constructor takes them.

        Raises:
            TypeError: A bucket is given for what lives in this one.
        """
        elsewhere = more.keys() & self.model.__kinto_keywords__ - {"permissions"}
        given_fields(self.model, "new(", fields, more, {}, refused=elsewhere)
        made = of_fields(self.model, fields, more)
        set_state(made, state_of(made).replaced(scope=self._given, plural=self._plural))
        return made

    @hinted
    def get(self, id: str) -> M:
        """Fetch one object (`GET`).

        Raises:
            NotFound: There is none.
        """
        scope = scope_for(self.model, self._given)
        return run(scope, getting(self.model, scope, id, self._plural))

    @hinted
    async def aget(self, id: str) -> M:
        """`get`, awaited."""
        scope = scope_for(self.model, self._given)
        return await arun(scope, getting(self.model, scope, id, self._plural))

    @hinted
    def find(self, *conditions: Condition | bool) -> Query[M]:
        """A query over the objects that live here."""
        return Query(self.model, self._given, self._plural).where(*conditions)

    def __repr__(self) -> str:
        return f"<{self.model.__name__}s in {self._plural}>"
