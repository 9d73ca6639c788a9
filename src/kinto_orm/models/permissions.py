"""Who may do what: sets of principals by permission, of which only differences are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from kinto_orm.errors import ConfigurationError, InvalidData, NotLoaded
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope

Everyone = "system.Everyone"
"""The principal of every request, the anonymous included."""

Authenticated = "system.Authenticated"
"""The principal of every request with valid credentials."""

JsonPatch = list[dict[str, Any]]
Edit = tuple[str, str, frozenset[str]]
"""An act of `_EDITS`, a permission by the server's name, principals."""


def _set(principals: set[str], wanted: Iterable[str]) -> None:
    principals.clear()
    principals.update(wanted)


_EDITS: Mapping[str, Callable[[set[str], Iterable[str]], None]] = {
    "grant": set.update,
    "revoke": set.difference_update,
    "set": _set,
}

_ALWAYS_THERE = frozenset({"read", "write"})

# facts: https://docs.kinto-storage.org/en/stable/api/1.x/permissions.html
BY_KIND: Mapping[str, frozenset[str]] = {
    "bucket": frozenset({"read", "write", "collection:create", "group:create"}),
    "collection": frozenset({"read", "write", "record:create"}),
    "group": frozenset({"read", "write"}),
    "record": frozenset({"read", "write"}),
    "account": frozenset({"read", "write"}),
}


Snapshot = tuple[dict[str, set[str]], dict[str, set[str]] | None, int | None, list[Edit]]
"""The sets, what the server has, as of when, and what was asked for while that is not known."""


class Owner(Protocol):
    """What a Permissions asks of the object that it belongs to."""

    @property
    def __kinto_name__(self) -> str: ...
    def __kinto_fetch_permissions__(self) -> Permissions: ...
    def __kinto_send_permissions__(self, permissions: Permissions) -> None: ...
    def __kinto_permitting__(self, permissions: Permissions, given: Scope | None) -> Flow[None]: ...
    def __kinto_clear_permissions__(self) -> None: ...


class _Nobody:
    """Stands for the object of permissions that were given to none yet."""

    __kinto_name__ = "no object"

    def __kinto_fetch_permissions__(self) -> Permissions:
        raise ConfigurationError("these permissions belong to no object; give them to one first")

    def __kinto_send_permissions__(self, permissions: Permissions) -> None:
        raise ConfigurationError("these permissions belong to no object; give them to one first")

    def __kinto_permitting__(self, permissions: Permissions, given: Scope | None) -> Flow[None]:
        raise ConfigurationError("these permissions belong to no object; give them to one first")

    def __kinto_clear_permissions__(self) -> None:
        raise ConfigurationError("these permissions belong to no object; give them to one first")


class Permissions(BaseModel):
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
    # What the server has, by its names; None when that was never fetched.
    _stored: dict[str, set[str]] | None = PrivateAttr(default_factory=dict)
    # The object's timestamp at which that was so.
    _as_of: int | None = PrivateAttr(default=None)
    # What was asked for while that is not known, in order.
    _edits: list[Edit] = PrivateAttr(default_factory=list)

    def grant(self, name: str, *principals: str) -> Self:
        """Add principals to a permission; `save()` sends it.

        Args:
            name: The server's name or this class's: "record:create" or "record_create".
            *principals: Such as Everyone, "account:alice" or `group.principal`.

        Raises:
            InvalidData: The object has no such permission, or a principal is no text.
        """
        self._edit("grant", self._server_name(name), _principals(principals))
        return self

    def revoke(self, name: str, *principals: str) -> Self:
        """Take principals from a permission; `save()` sends it, and fetches first if need be.

        Those who do not have it are ignored.

        Raises:
            InvalidData: The object has no such permission, or a principal is no text.
        """
        self._edit("revoke", self._server_name(name), _principals(principals))
        return self

    def save(self) -> Self:
        """Send what changed (a JSON-Patch that adds and removes single principals).

        Nothing changed, nothing sent.
        """
        if self.is_changed:
            self._owner.__kinto_send_permissions__(self)
        return self

    def refresh(self) -> Self:
        """Fetch them from the server (`GET` of the object); unsaved changes are dropped."""
        self.take(self._owner.__kinto_fetch_permissions__())
        return self

    def delete(self) -> Self:
        """Empty every list (`PATCH`); the server keeps the one who asks in `write`."""
        self._owner.__kinto_clear_permissions__()
        return self

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
        return self._stored is not None

    @property
    def is_fetched(self) -> bool:
        """Whether the server was asked for them; it hides them from those who may not write."""
        return self._as_of is not None

    @property
    def is_changed(self) -> bool:
        """Whether there is something to save."""
        return bool(self.patch() if self.is_loaded else self._edits)

    def patch(self) -> JsonPatch:
        """The difference to what the server has, as JSON-Patch operations."""
        operations: JsonPatch = []
        for name, (added, removed) in sorted(self._difference().items()):
            if self._opens(name):
                operations.append({"op": "add", "path": f"/permissions/{name}", "value": {}})
            operations += [_operation("add", name, who) for who in sorted(added)]
            operations += [_operation("remove", name, who) for who in sorted(removed)]
        return operations

    @property
    def opened_since(self) -> int | None:
        """The timestamp that a patch must be guarded by, if it makes a list that is not there.

        Kinto's JSON-Patch knows `read` and `write` only, other lists when they have members; and
        making one would empty a list that somebody else has just made.
        """
        return self._as_of if any(map(self._opens, self._difference())) else None

    @property
    def is_blind(self) -> bool:
        """Whether it must be known what the server has before a patch can be made.

        Also for what is only granted: who has it already needs no write, which would give the
        object a new timestamp and others a conflict.
        """
        return not self.is_loaded and bool(self._edits)

    def _opens(self, name: str) -> bool:
        return self._stored is not None and name not in _ALWAYS_THERE and not self._stored.get(name)

    def wanted(self) -> dict[str, list[str]]:
        """The sets that are not empty, by the server's names, for a creation."""
        if not self.is_loaded:
            return {name: sorted(who) for name, who in sorted(self._granted().items())}
        sets = {name: self.current(name) for name in _SERVER_NAMES.values()}
        return {name: sorted(who) for name, who in sets.items() if who}

    def _difference(self) -> dict[str, tuple[set[str], set[str]]]:
        if self._stored is None:
            return {name: (who, set()) for name, who in self._granted().items()}
        names = _SERVER_NAMES.values()
        stored = self._stored
        pairs = {name: (self.current(name), stored.get(name, set())) for name in names}
        return {name: (now - was, was - now) for name, (now, was) in pairs.items() if now != was}

    def current(self, server_name: str) -> set[str]:
        """The set of a permission, by the server's name."""
        return self.__dict__[_PYTHON_NAMES[server_name]]  # type: ignore[no-any-return]

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

    def _granted(self) -> dict[str, set[str]]:
        """What the edits come to when nothing was there before."""
        sets: dict[str, set[str]] = {}
        for act, name, who in self._edits:
            _EDITS[act](sets.setdefault(name, set()), who)
        return sets

    def _edit(self, act: str, name: str, principals: frozenset[str]) -> None:
        if self.is_loaded:
            _EDITS[act](self.current(name), principals)
        else:
            self._edits.append((act, name, principals))

    def _pending(self) -> list[Edit]:
        """What is not saved, as edits."""
        if not self.is_loaded:
            return list(self._edits)
        edits: list[Edit] = []
        for name, (added, removed) in self._difference().items():
            edits += [("grant", name, frozenset(added)), ("revoke", name, frozenset(removed))]
        return edits

    def snapshot(self) -> Snapshot:
        """All that a copy needs."""
        sets = {name: set(who) for name, who in self.__dict__.items()}
        return sets, _copied(self._stored), self._as_of, list(self._edits)

    def restored(self, snapshot: Snapshot) -> Self:
        """The same object, as it was at a snapshot."""
        sets, stored, self._as_of, edits = snapshot
        self._stored, self._edits = _copied(stored), list(edits)
        self.__dict__.clear()
        self.__dict__.update({name: set(who) for name, who in sets.items()})
        return self

    def take(self, other: Permissions) -> None:
        """Become what another Permissions is; unsaved changes are dropped."""
        self.restored(other.snapshot())

    def rebase(self, fresh: Permissions) -> None:
        """Make the same changes to what the server has by now."""
        edits = self._pending()
        self.take(fresh)
        for edit in edits:
            self._edit(*edit)

    def replace_by(self, wanted: Permissions) -> None:
        """Make every set what another Permissions has; `save()` sends the difference."""
        for name in sorted(BY_KIND[self._kind or "record"]):
            self._edit("set", name, frozenset(wanted.current(name)))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in _SERVER_NAMES:
                raise NotLoaded(
                    f"the permissions of {self._owner.__kinto_name__} were not loaded (lists carry "
                    "none, and the server shows them only to those who may write the object): call "
                    ".permissions.refresh() first"
                )
            return super().__getattr__(name)

        def __setattr__(self, name: str, value: object) -> None:
            if name in _SERVER_NAMES:
                given = Permissions.model_validate({name: value})
                server_name = self._server_name(name)
                self._edit("set", server_name, frozenset(given.current(server_name)))
                return
            super().__setattr__(name, value)

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Permissions):
            return NotImplemented
        return (self.is_loaded, self.wanted()) == (other.is_loaded, other.wanted())

    def __repr__(self) -> str:
        if not self.is_loaded:
            return f"Permissions(not loaded, granted={self.wanted()})"
        return f"Permissions({', '.join(f'{k}={v}' for k, v in self.wanted().items())})"

    __str__ = __repr__


_SERVER_NAMES = {
    name: info.serialization_alias or name for name, info in Permissions.model_fields.items()
}
_PYTHON_NAMES = {alias: name for name, alias in _SERVER_NAMES.items()}


def unknown(owner: Owner, kind: str) -> Permissions:
    """Permissions that were not fetched."""
    return Permissions().restored(({}, None, None, [])).bind(owner, kind)


def loaded(
    stored: Mapping[str, Iterable[str]] | None, owner: Owner, kind: str, as_of: int | None
) -> Permissions:
    """Permissions as a reply shows them.

    An empty object means that the server does not show them: whoever may write the object is
    listed in `write`, and others get `{}`. None means that it was not asked for them.
    """
    if not stored:
        hidden = Permissions().restored(({}, None, None if stored is None else as_of, []))
        return hidden.bind(owner, kind)
    known = {name: set(who) for name, who in stored.items() if name in _PYTHON_NAMES}
    sets = Permissions.model_validate(known).snapshot()[0]
    return Permissions().restored((sets, known, as_of, [])).bind(owner, kind)


def wished(value: Permissions | Mapping[str, Iterable[str]]) -> Permissions:
    """Permissions for an object to be created, from a Permissions or a dict."""
    given = value.wanted() if isinstance(value, Permissions) else dict(value)
    return Permissions.model_validate(given)


def _copied(stored: dict[str, set[str]] | None) -> dict[str, set[str]] | None:
    return None if stored is None else {name: set(who) for name, who in stored.items()}


def _principals(principals: Iterable[str]) -> frozenset[str]:
    given = tuple(principals)
    for each in given:
        if isinstance(each, list | tuple | set | frozenset | Mapping):
            raise InvalidData(
                f"principals are given one by one, not as a {type(each).__name__}: write "
                "*principals, as in grant('read', *principals)"
            )
        if not isinstance(each, str) or not each:
            raise InvalidData(
                f"a principal is a text such as 'account:alice' (.principal of a group or an "
                f"account), not {each!r:.80}"
            )
    return frozenset(given)


def _operation(op: str, name: str, principal: str) -> dict[str, Any]:
    escaped = principal.replace("~", "~0").replace("/", "~1")
    operation: dict[str, Any] = {"op": op, "path": f"/permissions/{name}/{escaped}"}
    return {**operation, "value": {}} if op == "add" else operation
