"""The scope: a connection, a default bucket and collection, and which one is the current one.

It is all that models, queries and the rest know of a session.
"""

from __future__ import annotations

import copy
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, NoReturn, Self, TypeVar

from kinto_orm.errors import ConfigurationError, Unsupported
from kinto_orm.wire.connection import Connection
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.letterhead import own_frames
from kinto_orm.wire.messages import segment

T = TypeVar("T")

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

    # Whether its verbs are awaited; each front says so.
    __kinto_awaits__: ClassVar[bool] = False

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

    # Who drives flows: each front one way.

    def __kinto_run__(self, flow: Flow[T]) -> T:
        """Run a flow, and wait for it.

        Raises:
            ConfigurationError: This session is awaited.
        """
        refuse_kind(self, awaits=True)

    def __kinto_arun__(self, flow: Flow[T]) -> Coroutine[Any, Any, T]:
        """Make what is awaited to run a flow.

        Raises:
            ConfigurationError: This session blocks.
        """
        refuse_kind(self, awaits=False)

    # The current one

    def enter(self) -> None:
        """Become the current one of this context.

        Raises:
            ConfigurationError: It is closed.
        """
        with self.connection.lock:
            self.check_open()
            self.connection.entered += 1
        _active.set((*_active.get(), self))

    def leave(self) -> bool:
        """Be the current one no longer; whether that was the last who used the connection."""
        _active.set(_left(_active.get(), self))
        with self.connection.lock:
            self.connection.entered -= 1
            return self.connection.entered == 0 and self._opened

    @contextmanager
    def current(self) -> Iterator[Self]:
        """Be the current one of this context in a `with` block, and stay open at its end."""
        self.check_open()
        _active.set((*_active.get(), self))
        try:
            yield self
        finally:
            _active.set(_left(_active.get(), self))

    @property
    def owns_connection(self) -> bool:
        """Whether it opened the connection, and may close it."""
        return self._opened

    def check_open(self) -> None:
        """Make sure that the connection is open.

        Raises:
            ConfigurationError: It is closed.
        """
        if self.connection.closed:
            raise ConfigurationError(
                f"{self!r} is closed; open another {type(self).__name__}, or let it open: it is "
                "closed at the end of its outermost block"
            )

    def __repr__(self) -> str:
        scope = f"bucket={self._bucket!r}"
        if self._collection:
            scope += f", collection={self._collection!r}"
        return f"<{type(self).__name__} {self.server_url} {scope}>"


# What is written otherwise than as a verb with or without an `a`.
_TWINS = {
    "__iter__": "async for ... in query",
    "__aiter__": "for ... in query",
    "pages": "async for ... in query.apages()",
    "changes": "async for ... in query.achanges()",
    "follow": "async for ... in query.afollow()",
    "kv": "bucket.akv",
    "akv": "bucket.kv",
}
_SHOWN = {
    "__iter__": "for ... in query",
    "__aiter__": "async for ... in query",
    "kv": "bucket.kv",
    "akv": "bucket.akv",
}


def check_kind(scope: Scope, *, awaits: bool) -> None:
    """Make sure that a session is of the kind of what was called; see `refuse_kind`.

    Args:
        scope: The session.
        awaits: Whether what was called is awaited.

    Raises:
        ConfigurationError: It is of the other kind.
    """
    if scope.__kinto_awaits__ is not awaits:
        refuse_kind(scope, awaits=not awaits)


def refuse_kind(scope: Scope, *, awaits: bool) -> NoReturn:
    """Say that what was called is for sessions of the other kind.

    Args:
        scope: The session.
        awaits: Whether it is one whose verbs are awaited.

    Raises:
        ConfigurationError: Always; it names the twin for this kind.
    """
    verb = own_frames()[-1].f_code.co_name
    shown = _SHOWN.get(verb, f"{verb}()")
    if awaits:
        twin = _TWINS.get(verb, f"await a{verb}(...)")
        raise ConfigurationError(f"{shown} blocks, and {scope!r} is awaited: write {twin}")
    twin = _TWINS.get(verb, f"{verb.removeprefix('a')}(...)")
    raise ConfigurationError(f"{shown} is awaited, and {scope!r} blocks: write {twin}")


def called(call: str, came_from: Scope | None, bound: Scope | None = None) -> str:
    """How a message writes a call: by the name that it has for the session that is used.

    Args:
        call: For one that blocks: `refresh(keep_changes=True)` or `permissions.save()`.
        came_from: That of the object.
        bound: That of its class.
    """
    active = _active.get()
    scope = came_from or (active[-1] if active else None) or bound
    if scope is None or not scope.__kinto_awaits__:
        return call
    name, bracket, rest = call.partition("(")
    owner, dot, verb = name.rpartition(".")
    return f"{owner}{dot}a{verb}{bracket}{rest}"


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
            "`with Session(...):` or `async with AsyncSession(...):`, or bind one to the class "
            "(Todo.bind(session)). A block in another thread or task does not count: for the "
            "requests of a web application there is SessionMiddleware"
        )
    return found


def checked_model(model: type[T]) -> type[T]:
    """The same class, if it is one of a model.

    Raises:
        TypeError: It is something else.
    """
    if not (isinstance(model, type) and hasattr(model, "__kinto_get__")):
        raise TypeError(f"a class of a model is needed, such as Record, not {model!r:.80}")
    return model


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
