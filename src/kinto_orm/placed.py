"""Where an object lives: its session, and its path on the server."""

from __future__ import annotations

from typing import ClassVar

from kinto_orm.errors import ConfigurationError
from kinto_orm.protocol import Parents, segment
from kinto_orm.session import Session, current, refuse_other
from kinto_orm.state import State, state_of
from kinto_orm.stored import Stored


class Placed(Stored):
    """The part of a model that finds its place on a server."""

    __kinto_session__: ClassVar[Session | None] = None

    @classmethod
    def bind(cls, session: Session | None) -> None:
        """Give the class a session for when the call, the object and the context have none.

        Args:
            session: The session; None takes it away again.

        Raises:
            ConfigurationError: It is something else, such as the URL of a server.
        """
        if session is not None:
            refuse_other(session, f"{cls.__name__}.bind: ")
        cls.__kinto_session__ = session

    @classmethod
    def _session(cls, given: Session | None, came_from: Session | None = None) -> Session:
        return current(given, came_from, cls.__kinto_session__, needed_for=cls.__name__)

    @classmethod
    def _scope_path(cls, session: Session) -> str:
        """The path of the plural endpoint in a session's scope, "default" as it is."""
        raise ConfigurationError(f"{cls.__name__} is a base class; use Record, Bucket or another")

    @classmethod
    def _home(cls, session: Session) -> tuple[str, Parents | None]:
        """The path of the plural endpoint in a session's scope, and what must exist for it."""
        return _resolved(cls._scope_path(session), session, cls._synced_by())

    @classmethod
    def _at(cls, parent: str | None, session: Session) -> tuple[str, Parents | None]:
        """The same for a path that is known, with "default" as it is; by default the home."""
        if parent is None:
            return cls._home(session)
        return _resolved(parent, session, cls._synced_by())

    @property
    def uri(self) -> str:
        """The server path, such as `/buckets/blog/collections/articles/records/x`.

        In the personal bucket it has the word "default" until the first request of the session.
        """
        state = state_of(self)
        parent = state.parent
        if parent is None:
            session = self._session(None, state.session)
            parent = self._scope_path(session)
            if session.is_informed:
                parent = _resolved(parent, session, "")[0]
        return f"{parent}/{segment(self.id, self.__kinto_kind__)}"

    def _place(self, given: Session | None) -> tuple[Session, str, Parents | None]:
        """The session, the path of the plural endpoint and what must exist for it.

        Raises:
            ConfigurationError: The session given has another scope, or is on another server.
        """
        self._refuse_foreign(given)
        state = state_of(self)
        session = self._session(given, state.session)
        session.require_kinto(f"work with {self._name}")
        return session, *self._at(state.parent, session)

    def _refuse_foreign(self, given: Session | None) -> None:
        """Refuse a session in whose scope the object does not live."""
        if given is not None and self._is_foreign(given):
            raise ConfigurationError(
                f"{self._name} lives {_where(state_of(self))}, and not in the scope of {given!r}: "
                "work with it there (leave session= out), or copy it: copy_to(session). Nothing "
                "was sent."
            )

    def _is_foreign(self, given: Session | None) -> bool:
        """Whether what is known of the object does not hold in the scope of this session.

        Raises:
            ConfigurationError: What is given is no session.
        """
        state = state_of(self)
        if given is None or given is state.session:
            return False
        refuse_other(given, "session=")
        if self.is_new:
            return False
        if state.session is not None and not given.shares_server(state.session):
            return True
        return state.parent is not None and self._home_in(given) not in (None, state.parent)

    @classmethod
    def _home_in(cls, session: Session) -> str | None:
        """The plural path that a session's scope says; None where it says none."""
        try:
            cls._scope_path(session)
        except ConfigurationError:
            return None
        return cls._home(session)[0]

    @classmethod
    def _synced_by(cls) -> str:
        """The name of the class if sync_schema takes it, else nothing."""
        return cls.__name__ if cls.__kinto_kind__ == "record" else ""

    def _path(self, parent: str) -> str:
        return f"{parent}/{segment(self.id, self.__kinto_kind__)}"


def _where(state: State) -> str:
    server = f" on {state.session.server_url}" if state.session is not None else ""
    return f"in {state.parent}{server}"


def _resolved(parent: str, session: Session, model: str) -> tuple[str, Parents | None]:
    """A plural path with the personal bucket's real id, and what must exist for it."""
    known = session.resolved.get((parent, model))
    if known is None:
        known = session.resolved[parent, model] = _resolve(parent, session, model)
    return known


def _resolve(parent: str, session: Session, model: str) -> tuple[str, Parents | None]:
    parts = parent.split("/")
    if len(parts) < 4:
        return parent, None
    asked, parts[2] = parts[2], session.resolve_bucket(parts[2])
    collection = parts[4] if len(parts) > 5 else None
    permitted = asked == "default" or session.is_personal(parts[2])
    return "/".join(parts), Parents(parts[2], collection, permitted, model)
