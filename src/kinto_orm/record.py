"""Records: typed ones by subclass, untyped ones that take any field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from kinto_orm.errors import ConfigurationError, InvalidData, ModelError
from kinto_orm.options import given_fields
from kinto_orm.permissions import Permissions
from kinto_orm.protocol import segment
from kinto_orm.query import Query
from kinto_orm.resource import Resource
from kinto_orm.session import Session
from kinto_orm.state import NOT_DATA, own_state, set_state, state_of

if TYPE_CHECKING:
    from kinto_orm.conditions import Condition
    from kinto_orm.history import HistoryEntry

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
    """

    __kinto_kind__: ClassVar[str] = "record"
    __kinto_options__ = frozenset({"id_factory", "collection", "bucket"})
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
    def _configure(
        cls,
        *,
        id_factory: Callable[[], str] | None = None,
        collection: str | None = None,
        bucket: str | None = None,
        extra: str | None = None,
    ) -> None:
        super()._configure(id_factory=id_factory, extra=extra)
        for name, value in (("collection", collection), ("bucket", bucket)):
            if value is not None:
                _check_keyword(cls.__name__, name, value)
                setattr(cls, f"__kinto_{name}__", value)
        if cls.__kinto_extra__ is None:
            cls.__kinto_open__ = cls.model_fields.keys() <= {"id", "last_modified"}

    @classmethod
    def _scope_path(cls, session: Session) -> str:
        collection = cls.__kinto_collection__ or session.collection
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
        return _records_path(cls.__kinto_bucket__ or session.bucket, collection)

    @classmethod
    def _path_for_copies(cls, target: Session) -> str | None:
        # What the class says is a default here: a copy goes where it is told to go.
        bucket = target.bucket if target.bucket != "default" else cls.__kinto_bucket__ or "default"
        collection = target.collection or cls.__kinto_collection__
        return None if collection is None else _records_path(bucket, collection)

    def history(self, *, session: Session | None = None) -> Query[HistoryEntry]:
        """What was done to this record, newest first.

        Raises:
            Unsupported: The server lacks the history plugin.
        """
        from kinto_orm.history import history_of

        return history_of(self, self._placed(session))

    def at(self, when: int | datetime, *, session: Session | None = None) -> Self:
        """This record as it was at a time (milliseconds, or a datetime); another object.

        Raises:
            NotFound: It was not there at that time.
            Unsupported: The server lacks the history plugin.
        """
        from kinto_orm.history import at

        return at(self, self._placed(session), when)

    def revert(self, when: int | datetime, *, session: Session | None = None) -> Self:
        """Make this record what it was at a time, and save it with its precondition.

        Raises:
            NotFound: It was not there at that time.
            Conflict: Somebody else changed it since it was loaded.
        """
        from kinto_orm.history import revert

        return revert(self, self._placed(session), when)

    def _placed(self, given: Session | None) -> Session:
        """The session; from now on the object knows where it lives."""
        session, parent, _ = self._place(given)
        own_state(self).parent = parent
        return session


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
        parent: The path of the plural endpoint.
    """

    def __init__(self, model: type[M], session: Session | None, parent: str) -> None:
        self._model = model
        self._given = session
        self._parent = parent

    def new(self, fields: Mapping[str, object] | None = None, /, **more: Any) -> M:
        """A new object that lives here; `save()` creates it.

        Args:
            fields: Its fields; here every name is a field's, `permissions` too.
            **more: More fields, and `permissions`, as a constructor takes them.

        Raises:
            TypeError: A bucket is given for what lives in this one.
        """
        elsewhere = more.keys() & self._model.__kinto_keywords__ - {"permissions"}
        given_fields(self._model, "new(", fields, more, {}, refused=elsewhere)
        made = self._model._of_fields(fields, more)
        set_state(made, state_of(made).replaced(session=self._given, parent=self._parent))
        return made

    def get(self, id: str) -> M:
        """Fetch one object (`GET`).

        Raises:
            NotFound: There is none.
        """
        session = self._model._session(self._given)
        return session.run(self._model._get_call(session, id, self._parent))

    def find(self, *conditions: Condition | bool) -> Query[M]:
        """A query over the objects that live here."""
        return Query(self._model, self._given, self._parent).where(*conditions)

    def __repr__(self) -> str:
        return f"<{self._model.__name__}s in {self._parent}>"
