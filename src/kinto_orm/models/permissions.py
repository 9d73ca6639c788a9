"""Who may do what: sets of principals by permission, of which only differences are sent."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from kinto_orm._shown import Shown, Table, line, table
from kinto_orm.errors import ConfigurationError, InvalidData, NotLoaded
from kinto_orm.models.access import EDITS, Access, Edit, JsonPatch, principals_in
from kinto_orm.wire.awaiting import arun
from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.forking import call_in_children
from kinto_orm.wire.scope import Scope, called

Everyone = "system.Everyone"
"""The principal of every request, the anonymous included."""

Authenticated = "system.Authenticated"
"""The principal of every request with valid credentials."""

# facts: https://docs.kinto-storage.org/en/stable/api/1.x/permissions.html
BY_KIND: Mapping[str, frozenset[str]] = {
    "bucket": frozenset({"read", "write", "collection:create", "group:create"}),
    "collection": frozenset({"read", "write", "record:create"}),
    "group": frozenset({"read", "write"}),
    "record": frozenset({"read", "write"}),
    "account": frozenset({"read", "write"}),
}


# Held for some microseconds by whoever changes permissions, never while something is asked.
_lock = threading.RLock()


@call_in_children
def _begin_anew() -> None:
    """Have a lock that nobody holds in a forked child."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


class Owner(Protocol):
    """What a Permissions asks of the object that it belongs to."""

    @property
    def __kinto_name__(self) -> str: ...
    def __kinto_lives_in__(self) -> Scope: ...
    def __kinto_fetching_permissions__(self) -> Flow[Permissions]: ...
    def __kinto_permitting__(self, permissions: Permissions, given: Scope | None) -> Flow[None]: ...
    def __kinto_clearing_permissions__(self) -> Flow[None]: ...


class _Nobody:
    """Stands for the object of permissions that were given to none yet."""

    __kinto_name__ = "no object"

    def __kinto_lives_in__(self) -> Scope:
        raise ConfigurationError("these permissions belong to no object; give them to one first")

    def __kinto_permitting__(self, permissions: Permissions, given: Scope | None) -> Flow[None]:
        raise ConfigurationError("these permissions belong to no object; give them to one first")


class Permissions(Shown, BaseModel):
    """Sets of principals by permission.

    A set that was never fetched is not an empty one: reading it is a NotLoaded error that says
    to refresh. Granting works without fetching; only the difference is sent, so that two
    administrators do not undo each other.

    Args:
        read: Who may read.
        write: Who may change and delete; whoever writes is always added by the server.
        record_create: Who may create records (of a collection).
        collection_create: Who may create collections (of a bucket).
        group_create: Who may create groups (of a bucket).
    """

    model_config = ConfigDict(
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        validate_assignment=True,
        defer_build=True,
    )

    read: set[str] = set()
    write: set[str] = set()
    record_create: set[str] = Field(
        default=set(), validation_alias="record:create", serialization_alias="record:create"
    )
    collection_create: set[str] = Field(
        default=set(), validation_alias="collection:create", serialization_alias="collection:create"
    )
    group_create: set[str] = Field(
        default=set(), validation_alias="group:create", serialization_alias="group:create"
    )

    _owner: Any = PrivateAttr(default=_Nobody())
    _kind: str | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Say that of all this nothing is on a server."""
        # All that changes is in this one dict, beside the sets, so that it changes at once.
        self.__dict__.update(_stored={}, _as_of=None, _edits=[], _lost=None)

    def grant(self, name: str, *principals: str) -> Self:
        """Add principals to a permission; `save()` sends it.

        Args:
            name: The server's name or this class's: "record:create" or "record_create".
            *principals: Such as Everyone, "account:alice" or `group.principal`.

        Raises:
            InvalidData: The object has no such permission, or a principal is no text.
        """
        self._edit("grant", self._server_name(name), principals_in(principals))
        return self

    def revoke(self, name: str, *principals: str) -> Self:
        """Take principals from a permission; `save()` sends it, and fetches first if need be.

        Those who do not have it are ignored.

        Raises:
            InvalidData: The object has no such permission, or a principal is no text.
        """
        self._edit("revoke", self._server_name(name), principals_in(principals))
        return self

    def save(self) -> Self:
        """Send what changed (a JSON-Patch that adds and removes single principals).

        Nothing changed, nothing sent. What another thread grants and revokes while it is sent
        stays to be saved.
        """
        if self.is_changed:
            run(self._owner.__kinto_lives_in__(), self._owner.__kinto_permitting__(self, None))
        return self

    def refresh(self) -> Self:
        """Fetch them from the server (`GET` of the object); unsaved changes are dropped.

        What another thread or task grants and revokes while they are fetched stays to be saved.
        """
        scope = self._owner.__kinto_lives_in__()
        run(scope, self.refreshing())
        return self

    def delete(self) -> Self:
        """Empty every list (`PATCH`); the server keeps the one who asks in `write`."""
        scope = self._owner.__kinto_lives_in__()
        run(scope, self._owner.__kinto_clearing_permissions__())
        return self

    async def asave(self) -> Self:
        """`save`, awaited."""
        if self.is_changed:
            scope = self._owner.__kinto_lives_in__()
            await arun(scope, self._owner.__kinto_permitting__(self, None))
        return self

    async def arefresh(self) -> Self:
        """`refresh`, awaited."""
        scope = self._owner.__kinto_lives_in__()
        await arun(scope, self.refreshing())
        return self

    async def adelete(self) -> Self:
        """`delete`, awaited."""
        scope = self._owner.__kinto_lives_in__()
        await arun(scope, self._owner.__kinto_clearing_permissions__())
        return self

    def refreshing(self) -> Flow[None]:
        """Become what the server has; see `refresh`."""
        before = self.snapshot()
        self.settle((yield from self._owner.__kinto_fetching_permissions__()), before)

    # What a batch needs of what it saves.

    @property
    def __kinto_name__(self) -> str:
        return f"the permissions of {self._owner.__kinto_name__}"

    @property
    def __kinto_owner__(self) -> Owner:
        return self._owner  # type: ignore[no-any-return]

    def __kinto_save__(
        self, given: Scope | None, *, force: bool = False, last_modified: int | None = None
    ) -> Flow[str]:
        # The difference overwrites nothing, so that there is nothing to force.
        if last_modified is not None:
            raise InvalidData("permissions have no timestamp of their own. Nothing was sent.")
        if not self.is_changed:
            return "unchanged"
        yield from self._owner.__kinto_permitting__(self, given)
        return "updated"

    @property
    def is_loaded(self) -> bool:
        """Whether the server's sets are known."""
        return self._now().stored is not None

    @property
    def is_fetched(self) -> bool:
        """Whether the server was asked for them; it hides them from those who may not write."""
        return self._now().as_of is not None

    @property
    def is_changed(self) -> bool:
        """Whether there is something to save."""
        return self._now().is_changed

    def patch(self) -> JsonPatch:
        """The difference to what the server has, as JSON-Patch operations."""
        return self._now().patch()

    def wanted(self) -> dict[str, list[str]]:
        """The sets that are not empty, by the server's names, for a creation."""
        return self._now().wanted()

    def current(self, server_name: str) -> set[str]:
        """The set of a permission, by the server's name."""
        return self.__dict__[_PYTHON_NAMES[server_name]]  # type: ignore[no-any-return]

    def _called(self, call: str) -> str:
        try:
            return called(call, self._owner.__kinto_lives_in__())
        except ConfigurationError:  # there is no session by now
            return call

    def _server_name(self, name: str) -> str:
        if not isinstance(name, str):
            raise InvalidData(f"a permission has a name such as 'read', not {name!r:.80}")
        server_name = _SERVER_NAMES.get(name, name)
        allowed = BY_KIND[self._kind] if self._kind else _PYTHON_NAMES.keys()
        if server_name not in allowed:
            raise InvalidData(
                f"a {self._kind or 'Kinto object'} has no permission {name!r}; it has "
                + ", ".join(sorted(allowed))
            )
        return server_name

    def bind(self, owner: Owner, kind: str) -> Self:
        """Say to which object these permissions belong."""
        self._owner, self._kind = owner, kind
        for name in self.wanted():
            self._server_name(name)
        return self

    def _now(self) -> Access:
        """How they are: one moment, whose sets are these and no copies."""
        held = self.__dict__
        sets = {name: held[ours] for name, ours in _PYTHON_NAMES.items() if ours in held}
        return Access(sets, held["_stored"], held["_as_of"], held["_edits"], held["_lost"])

    def _become(self, access: Access) -> None:
        """Be something else, at once: no thread and no interrupt comes in between."""
        held = {_PYTHON_NAMES[name]: who for name, who in access.sets.items()}
        # Whoever holds a set that stays the same goes on with it.
        kept = {name: self.__dict__[name] for name in held if self.__dict__.get(name) == held[name]}
        rest = {
            "_stored": access.stored,
            "_as_of": access.as_of,
            "_edits": access.edits,
            "_lost": access.lost,
        }
        object.__setattr__(self, "__dict__", held | kept | rest)

    def _edit(self, act: str, name: str, principals: frozenset[str]) -> None:
        """Change a set in place."""
        with _lock:
            now = self._now()
            if now.stored is None:
                now.edits.append((act, name, principals))
            else:
                EDITS[act](now.sets[name], principals)

    def _set(self, wanted: Mapping[str, Iterable[str]]) -> None:
        edits: list[Edit] = [("set", name, frozenset(who)) for name, who in wanted.items()]
        with _lock:
            self._become(self._now().edited(edits))

    def snapshot(self) -> Access:
        """How they are now, which stays as it is."""
        with _lock:
            return self._now().copied()

    def restored(self, snapshot: tuple[Any, ...]) -> Self:
        """The same object, as it was at a snapshot."""
        with _lock:
            self._become(Access(*snapshot).copied())
        return self

    def take(self, other: Permissions) -> None:
        """Become what another Permissions is; unsaved changes are dropped."""
        self.restored(other.snapshot())

    def rebase(self, fresh: Permissions, sent: Access | None = None) -> None:
        """Make the same changes to what the server has by now.

        Args:
            fresh: What it has.
            sent: What it was asked for, and may have done or not; what was taken back since
                is taken back there, too.
        """
        with _lock:
            now = self._now()
            later = [] if sent is None else now.since(sent)
            self._become(fresh.snapshot().edited(now.pending() + later))

    @property
    def is_given(self) -> bool:
        """Whether these are sets that were given to an object that nobody saved yet."""
        now = self._now()
        return now.stored == {} and now.as_of is None and bool(self._given(now))

    def replace_given(self, fresh: Permissions, user: str) -> None:
        """Take what the server has, and make the sets that were given what was given.

        Args:
            fresh: What the server has.
            user: Who asks; the server keeps them in `write`.
        """
        with _lock:
            now, there = self._now(), fresh.snapshot()
            kept = {"write": there.sets.get("write", set()) & {user}}
            edits: list[Edit] = [
                ("set", name, frozenset(now.sets[name] | kept.get(name, set())))
                for name in self._given(now)
            ]
            self._become(there.edited(edits))

    def _given(self, now: Access) -> list[str]:
        """Which sets were given, the empty ones included, by the server's names."""
        named = {_SERVER_NAMES[name] for name in self.model_fields_set & _SERVER_NAMES.keys()}
        return sorted(named | now.wanted().keys())

    def settle(self, fresh: Permissions, sent: Access) -> None:
        """Become what the server has after a write; what was asked for since stays to be saved.

        Args:
            fresh: What it has.
            sent: How these were when the write was made.
        """
        with _lock:
            self._become(fresh.snapshot().edited(self._now().since(sent)))

    def lose(self, sent: Access) -> None:
        """Keep in mind that the answer to a write was lost: the server is asked before the next.

        Args:
            sent: How these were when the write was made.
        """
        with _lock:
            self._become(self._now()._replace(lost=sent))

    def replace_by(self, wanted: Permissions) -> None:
        """Make every set what another Permissions has; `save()` sends the difference."""
        names = sorted(BY_KIND[self._kind or "record"])
        self._set({name: wanted.current(name) for name in names})

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in _SERVER_NAMES:
                raise NotLoaded(
                    f"the permissions of {self._owner.__kinto_name__} were not loaded (lists carry "
                    "none, and the server shows them only to those who may write the object): call "
                    f"{self._called('.permissions.refresh()')} first"
                )
            return super().__getattr__(name)

        def __setattr__(self, name: str, value: object) -> None:
            if name in _SERVER_NAMES:
                given = Permissions.model_validate({name: value})
                server_name = self._server_name(name)
                self._set({server_name: given.current(server_name)})
                return
            super().__setattr__(name, value)

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Permissions):
            return NotImplemented
        return (self.is_loaded, self.wanted()) == (other.is_loaded, other.wanted())

    def __repr__(self) -> str:
        if not self.is_loaded:
            return line(f"Permissions(not loaded, granted={self.wanted()})")
        return line(f"Permissions({', '.join(f'{k}={v}' for k, v in self.wanted().items())})")

    def __kinto_table__(self) -> Table:
        title = "permissions" if self.is_loaded else "permissions that are not loaded"
        rows = [(name, ", ".join(who)) for name, who in self.wanted().items()]
        return table(title, ("permission", "principals"), rows)

    __str__ = __repr__


_SERVER_NAMES = {
    name: info.serialization_alias or name for name, info in Permissions.model_fields.items()
}
_PYTHON_NAMES = {alias: name for name, alias in _SERVER_NAMES.items()}


def unknown(owner: Owner, kind: str) -> Permissions:
    """Permissions that were not fetched."""
    return Permissions().restored(Access({}, None, None, [])).bind(owner, kind)


def loaded(
    stored: Mapping[str, Iterable[str]] | None, owner: Owner, kind: str, as_of: int | None
) -> Permissions:
    """Permissions as a reply shows them.

    An empty object means that the server does not show them: whoever may write the object is
    listed in `write`, and others get `{}`. None means that it was not asked for them.
    """
    if not stored:
        hidden = Access({}, None, None if stored is None else as_of, [])
        return Permissions().restored(hidden).bind(owner, kind)
    known = {name: set(who) for name, who in known_to(stored).items()}
    sets = Permissions.model_validate(known).snapshot().sets
    return Permissions().restored(Access(sets, known, as_of, [])).bind(owner, kind)


def known_to(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the server's permissions that are known here."""
    return {name: who for name, who in stored.items() if name in _PYTHON_NAMES}


def wished(value: Permissions | Mapping[str, Iterable[str]]) -> Permissions:
    """Permissions for an object to be created, from a Permissions or a dict."""
    given = value.wanted() if isinstance(value, Permissions) else dict(value)
    return Permissions.model_validate(given)
