"""How objects are read: one by its id, or those that a query finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from kinto_orm.assigning import Assignment
from kinto_orm.errors import BadReply, NotFound, ResponseError
from kinto_orm.ownership import Permitted
from kinto_orm.protocol import Call, Reply, Request, is_hidden, segment
from kinto_orm.query import Listing, Query
from kinto_orm.session import Session
from kinto_orm.state import NOT_DATA, State, put_state

if TYPE_CHECKING:
    from kinto_orm.conditions import Condition


class Readable(Permitted):
    """The part of a model that reads from a server."""

    # Whether the server forbids to see an object that is not there.
    __kinto_hidden__: ClassVar[bool] = False

    @classmethod
    def get(cls, id: str, *, session: Session | None = None) -> Self:
        """Fetch one object (`GET`).

        Args:
            id: Its id, as it is.
            session: Which session to use; by default the current one or the class's.

        Raises:
            NotFound: There is none; `.resource` tells whether its collection is missing too.
            InvalidData: What is stored does not fit the model.
        """
        session = cls._session(session)
        return session.run(cls._get_call(session, id))

    @classmethod
    def get_or_none(cls, id: str, *, session: Session | None = None) -> Self | None:
        """Fetch one object, or None when there is none (`GET`).

        Raises:
            NotFound: Its collection does not exist.
        """
        session = cls._session(session)
        call = cls._get_call(session, id)

        def refused(error: ResponseError, reply: Reply) -> Any:
            here = isinstance(error, NotFound) and error.resource == cls.__kinto_kind__
            if here or (cls.__kinto_hidden__ and is_hidden(error)):
                return None
            raise error

        found: Call[Self | None] = Call(
            call.request, call.receive, call.doing, refused, call.parents
        )
        return session.run(found)

    @classmethod
    def _get_call(cls, session: Session, id: str, parent: str | None = None) -> Call[Self]:
        session.require_kinto(f"get {cls.__name__} {id!r}")
        home, parents = cls._at(parent, session)
        return Call(
            Request("GET", f"{home}/{segment(id, cls.__kinto_kind__)}"),
            lambda reply: cls._loaded(reply, session, home, id),
            f"get {cls.__name__} {id!r} in {home}",
            parents=parents,
        )

    @classmethod
    def _loaded(cls, reply: Reply, session: Session, parent: str, id: str) -> Self:
        found, permissions = cls._loader().single(reply)
        _require_stamps([found], reply)
        cls._require_id(found.__dict__, id)
        source = cls._source([found], reply.body)
        put_state(found, State(session, parent, source, permissions=permissions))
        return found

    @classmethod
    def _from_raw(cls, raw: Mapping[str, Any], session: Session, parent: str) -> Self:
        found = cls._loader().of(raw)
        put_state(found, State(session, parent, cls._source([found], raws={found.id: dict(raw)})))
        return found

    @classmethod
    def find(cls, *conditions: Condition | bool, session: Session | None = None) -> Query[Self]:
        """A query over all objects that meet every condition; nothing is sent yet.

        Args:
            *conditions: Such as `Todo.done == False` or `col(Todo.due) < now`.
            session: Which session to use; by default the one that is current when it runs.
        """
        return Query(cls, session).where(*conditions)

    @classmethod
    def _assignment(cls, values: Mapping[str, object]) -> Assignment:
        """What sets these values on objects, validated together."""
        return Assignment(cls, values)

    @classmethod
    def _listing(cls, session: Session | None, parent: str | None = None) -> Listing[Self]:
        """What a query needs to know of the model."""
        session = cls._session(session)
        session.require_kinto(f"find {cls.__name__}")
        home, parents = cls._at(parent, session)
        return Listing(
            session, home, parents, lambda reply, only: cls._page(reply, session, home, only)
        )

    @classmethod
    def _page(
        cls, reply: Reply, session: Session, parent: str, only: frozenset[str] | None
    ) -> list[Self]:
        loader = cls._loader()
        found = loader.page(reply) if only is None else loader.partial(reply, only)
        _require_stamps(found, reply)
        source = cls._source(found, reply.body)
        state = State(session, parent, source, partial=only is not None, shared=True)
        put = put_state
        for each in found:
            put(each, state)
        return found


def _require_stamps(found: Iterable[Readable], reply: Reply) -> None:
    """Make sure that objects came with what every stored one has.

    Raises:
        BadReply: One has no id or no timestamp.
    """
    if not all(each.__pydantic_fields_set__ >= NOT_DATA for each in found):
        raise BadReply(reply.complaint())
