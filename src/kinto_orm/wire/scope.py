"""The scope: a connection, a default bucket and collection, and which one is the current one.

It is all that models, queries and the rest know of a session.
"""

from __future__ import annotations

import copy
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from kinto_orm.errors import ConfigurationError, Unsupported
from kinto_orm.wire.connection import Connection
from kinto_orm.wire.messages import segment

_active: ContextVar[tuple[Scope, ...]] = ContextVar("kinto_orm_sessions", default=())


class Scope:
    """A connection with a default bucket and collection; a Session is one.

    Args:
        connection: May be shared with other scopes.
        bucket: The default bucket's id; "default" is the user's personal bucket.
        collection: The default collection's id.

    Raises:
        InvalidData: A bucket or a collection of this id cannot be.
    """

    def __init__(self, connection: Connection, bucket: str, collection: str | None) -> None:
        self.connection = connection
        self._bucket = bucket
        self._collection = collection
        self._opened = True

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
        return self.connection.url

    @property
    def dialect(self) -> str:
        """What the server speaks: "kinto" or "kvp"."""
        return self.connection.dialect

    def shares_server(self, other: Scope) -> bool:
        """Whether both speak to the same server; as whom does not matter."""
        return self.connection.server == other.connection.server

    def scoped(self, *, bucket: str | None = None, collection: str | None = None) -> Self:
        """Another default scope over the same connections.

        Args:
            bucket: The bucket's id; None keeps this session's.
            collection: The collection's id; None keeps this session's, unless the bucket
                changes.

        Raises:
            InvalidData: A bucket or a collection of this id cannot be.
        """
        other = copy.copy(self)
        to = self._bucket if bucket is None else bucket
        kept = self._collection if to == self._bucket else None
        inside = kept if collection is None else collection
        check_ids(to, inside)
        vars(other).update(_opened=False, _bucket=to, _collection=inside)
        return other

    def require_kinto(self, what: str) -> None:
        """Make sure that the server speaks Kinto's protocol.

        Raises:
            Unsupported: It is a kvp.io server.
        """
        if self.connection.dialect != "kinto":
            raise Unsupported(
                f"cannot {what}: {self.server_url} is a kvp.io server, which keeps key values "
                "and templates only (no collections, permissions or preconditions)"
            )

    # The current one

    def __enter__(self) -> Self:
        with self.connection.lock:
            self.check_open()
            self.connection.entered += 1
        _active.set((*_active.get(), self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _active.set(_left(_active.get(), self))
        with self.connection.lock:
            self.connection.entered -= 1
            if self.connection.entered == 0 and self._opened:
                self.close()

    def close(self) -> None:
        """Close the connections and what was started for them; later calls are refused."""
        if self._opened:
            self.connection.close()

    def check_open(self) -> None:
        """Make sure that the connection is open.

        Raises:
            ConfigurationError: It is closed.
        """
        if self.connection.closed:
            raise ConfigurationError(f"{self!r} is closed; open another Session")

    def __repr__(self) -> str:
        scope = f"bucket={self._bucket!r}"
        if self._collection:
            scope += f", collection={self._collection!r}"
        return f"<{type(self).__name__} {self.server_url} {scope}>"


def check_ids(bucket: str, collection: str | None) -> None:
    """Make sure that a scope can have this bucket and this collection.

    Raises:
        InvalidData: One cannot be the id of such a thing.
    """
    segment(bucket, "bucket")
    if collection is not None:
        segment(collection, "collection")


def chosen(
    given: Scope | None, came_from: Scope | None, bound: Scope | None, *, needed_for: str
) -> Scope:
    """The scope to use: the one given, where the object came from, the current one, the class's.

    Args:
        given: In the call.
        came_from: That of the object.
        bound: That of its class.
        needed_for: What needs it, for the message.

    Raises:
        ConfigurationError: There is none, or what is given is something else.
    """
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
    if not isinstance(given, Scope):
        shown = repr(given) if not isinstance(given, str) or "@" not in given else "..."
        raise ConfigurationError(
            f"{named}{shown} is no Session but a {type(given).__name__}; open one: "
            'Session("memory://")'
        )


def _left(scopes: tuple[Scope, ...], scope: Scope) -> tuple[Scope, ...]:
    """The active ones after one was left, which need not be the innermost."""
    for place in reversed(range(len(scopes))):
        if scopes[place] is scope:
            return scopes[:place] + scopes[place + 1 :]
    return scopes  # it was entered in another context
