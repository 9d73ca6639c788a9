"""What every stored object shares: identity, what the server has, save, refresh and delete."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import PydanticSerializationError

from kinto_orm import permissions as perms
from kinto_orm.changes import Changes, differing, find_changes, python_names, same_json
from kinto_orm.errors import (
    ConfigurationError,
    Conflict,
    InvalidData,
    ModelError,
    NotFound,
    NotLoaded,
    ResponseError,
)
from kinto_orm.loading import Loader, Source, without
from kinto_orm.metaclass import ResourceMeta, accepted_names, refuse_unknown, suggestion
from kinto_orm.permissions import Permissions
from kinto_orm.protocol import (
    JSON_PATCH,
    Call,
    Parents,
    Reply,
    Request,
    encode,
    if_match,
    if_none_match,
    segment,
)
from kinto_orm.query import Listing, Query
from kinto_orm.session import Session, current

if TYPE_CHECKING:
    from kinto_orm.conditions import Condition

M = TypeVar("M", bound="Resource")

# What the path or the server says; never sent as data.
NOT_DATA = frozenset({"id", "last_modified"})


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of a deleted object.

    Attributes:
        id: The object's id.
        last_modified: Milliseconds, when it was deleted; None when that is not known, because
            the object was gone already or the first answer was lost.
    """

    id: str
    last_modified: int | None


class State:
    """Where an object lives and what the server has of it; objects of one page share one."""

    __slots__ = ("gone", "parent", "partial", "permissions", "session", "shared", "source")

    def __init__(
        self,
        session: Session | None,
        parent: str | None,
        source: Source | None,
        *,
        permissions: Permissions | Mapping[str, list[str]] | None = None,
        partial: bool = False,
        shared: bool = False,
        gone: bool = False,
    ) -> None:
        self.session = session
        self.parent = parent
        self.source = source
        self.permissions = permissions
        self.partial = partial
        self.shared = shared
        self.gone = gone

    def replaced(self, **changes: Any) -> State:
        """A copy of its own with other values."""
        names = [name for name in self.__slots__ if name != "shared"]
        return State(**{name: getattr(self, name) for name in names} | changes)


class Resource(BaseModel, perms.PermissionsOwner, metaclass=ResourceMeta):
    """Base of all stored objects; use Record, Bucket, Collection, Group, Template or Account.

    Attributes:
        id: Checked against the server's rule when it is used, never rewritten.
        last_modified: Milliseconds since 1970 by the server's clock; None until saved.
    """

    __slots__ = ("__kinto_state__",)

    model_config = ConfigDict(
        extra="allow",
        validate_assignment=True,
        validate_by_name=True,
        validate_by_alias=True,
        ser_json_inf_nan="constants",
    )

    id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    last_modified: int | None = None

    if TYPE_CHECKING:
        permissions: perms.PermissionsField = perms.PermissionsField()

    __kinto_cache__: ClassVar[dict[Any, Any]]
    __kinto_kind__: ClassVar[str] = "record"
    __kinto_open__: ClassVar[bool] = True
    __kinto_server_made__: ClassVar[frozenset[str]] = NOT_DATA
    __kinto_session__: ClassVar[Session | None] = None
    __kinto_id_factory__: ClassVar[Callable[[], str] | None] = None

    # Making objects

    @classmethod
    def _configure(cls, id_factory: Callable[[], str] | None = None) -> None:
        """Take the class keywords."""
        if cls.model_config.get("extra") != "allow":
            raise ModelError(
                f"{cls.__name__} must leave model_config['extra'] alone: fields of the server "
                "that the model does not know are kept, misspelt ones are refused in any case"
            )
        if id_factory is not None:
            cls.__kinto_id_factory__ = id_factory

    @classmethod
    def _make(cls, create: Callable[[dict[str, Any]], Self], given: dict[str, Any]) -> Self:
        """Make a new object from a constructor's keywords."""
        permissions = given.pop("permissions", None)
        parent = cls._placement(given)
        if given.get("id", "") is None:
            del given["id"]
        if cls.__kinto_id_factory__ is not None:
            given.setdefault("id", cls.__kinto_id_factory__())
        cls._check_names(given)
        made = create(given)
        if parent is not None:
            set_state(made, State(None, parent, None))
        if permissions is not None:
            made.permissions = permissions
        return made

    @classmethod
    def _placement(cls, given: dict[str, Any]) -> str | None:  # noqa: ARG003
        """Take what says where the object lives from a constructor's keywords."""
        return None

    @classmethod
    def _check_names(cls, given: Mapping[str, Any]) -> None:
        if "__permissions__" in given:
            raise InvalidData("permissions are no data: give them as permissions=...")
        if cls.__kinto_open__:
            return
        known = cls._cached("accepted", cls._accepted)
        unknown = {name: value for name, value in given.items() if name not in known}
        if unknown:
            refuse_unknown(cls, unknown)

    @classmethod
    def _check_stored_name(cls, stored: str) -> None:
        """Refuse a stored name in a condition that a typed model does not declare."""
        known = cls._python_names()
        if not cls.__kinto_open__ and stored not in known:
            raise InvalidData(
                f"{cls.__name__} has no field stored as {stored!r}{suggestion(stored, known)}. "
                "Nothing was sent."
            )

    @classmethod
    def _accepted(cls) -> set[str]:
        return {n for name, info in cls.model_fields.items() for n in accepted_names(name, info)}

    @classmethod
    def _cached(cls, key: str, make: Callable[[], Any]) -> Any:  # noqa: ANN401
        cache = cls.__kinto_cache__
        if key not in cache:
            cache[key] = make()
        return cache[key]

    @classmethod
    def _loader(cls) -> Loader[Self]:
        return cls._cached("loader", lambda: Loader(cls))  # type: ignore[no-any-return]

    @classmethod
    def _python_names(cls) -> dict[str, str]:
        return cls._cached("names", lambda: python_names(cls))  # type: ignore[no-any-return]

    # Where it lives

    @classmethod
    def bind(cls, session: Session | None) -> None:
        """Give the class a session for when the call, the object and the context have none."""
        cls.__kinto_session__ = session

    @classmethod
    def _session(cls, given: Session | None, came_from: Session | None = None) -> Session:
        return current(given, came_from, cls.__kinto_session__, needed_for=cls.__name__)

    @classmethod
    def _home(cls, session: Session) -> tuple[str, Parents | None]:
        """The path of the plural endpoint, and what must exist for it."""
        raise NotLoaded(f"{cls.__name__} is an abstract base")

    @property
    def uri(self) -> str:
        """The server path, such as `/buckets/blog/collections/articles/records/x`."""
        state = state_of(self)
        parent = state.parent
        if parent is None:
            parent = self._home(self._session(None, state.session))[0]
        return f"{parent}/{segment(self.id, self.__kinto_kind__)}"

    @property
    def is_new(self) -> bool:
        """Whether it was never saved nor loaded."""
        state = state_of(self)
        return state.source is None and not state.gone

    @property
    def is_partial(self) -> bool:
        """Whether it was loaded with some fields only; then it cannot be saved."""
        return state_of(self).partial

    def _place(self, given: Session | None) -> tuple[Session, str, Parents | None]:
        """The session, the path of the plural endpoint and what must exist for it."""
        state = state_of(self)
        session = self._session(given, state.session)
        session.require_kinto(f"work with {self._name}")
        if state.parent is None:
            return session, *self._home(session)
        return session, *_resolved(state.parent, session, type(self).__name__)

    @property
    def _name(self) -> str:
        return f"{type(self).__name__} {self.id!r}"

    # Reading

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

        def refused(error: ResponseError, reply: Reply) -> Self | None:
            if isinstance(error, NotFound) and error.resource == cls.__kinto_kind__:
                return None
            raise error

        return session.run(Call(call.request, call.receive, call.doing, refused, call.parents))

    @classmethod
    def get_or_create(
        cls, id: str, *, session: Session | None = None, **defaults: Any
    ) -> tuple[Self, bool]:
        """Fetch one object, or create it when there is none (`GET`, then `PUT`).

        Args:
            id: Its id.
            session: Which session to use.
            **defaults: The fields of the one to be created.

        Returns:
            The object, and whether it was created; as in Django. When somebody else creates it
            meanwhile, theirs is fetched.
        """
        session = cls._session(session)
        found = cls.get_or_none(id, session=session)
        if found is not None:
            return found, False
        try:
            return cls(id=id, **defaults).save(session=session), True
        except Conflict:
            return cls.get(id, session=session), False

    @classmethod
    def _get_call(cls, session: Session, id: str, parent: str | None = None) -> Call[Self]:
        session.require_kinto(f"get {cls.__name__} {id!r}")
        home, parents = (
            cls._home(session) if parent is None else _resolved(parent, session, cls.__name__)
        )
        return Call(
            Request("GET", f"{home}/{segment(id, cls.__kinto_kind__)}"),
            lambda reply: cls._loaded(reply, session, home),
            f"get {cls.__name__} {id!r} in {home}",
            parents=parents,
        )

    @classmethod
    def _loaded(cls, reply: Reply, session: Session, parent: str) -> Self:
        found, permissions = cls._loader().single(reply)
        _put_state(found, State(session, parent, Source(reply.body), permissions=permissions))
        return found

    @classmethod
    def _from_raw(cls, raw: Mapping[str, Any], session: Session, parent: str) -> Self:
        found = cls._loader().of(raw)
        _put_state(found, State(session, parent, Source(raws={found.id: dict(raw)})))
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
    def _listing(cls, session: Session | None, parent: str | None = None) -> Listing[Self]:
        """What a query needs to know of the model."""
        session = cls._session(session)
        session.require_kinto(f"find {cls.__name__}")
        home, parents = (
            cls._home(session) if parent is None else _resolved(parent, session, cls.__name__)
        )
        return Listing(
            session, home, parents, lambda reply, only: cls._page(reply, session, home, only)
        )

    @classmethod
    def _page(
        cls, reply: Reply, session: Session, parent: str, only: frozenset[str] | None
    ) -> list[Self]:
        loader = cls._loader()
        found = loader.page(reply) if only is None else loader.partial(reply, only)
        state = State(
            session, parent, Source(reply.body), partial=only is not None, shared=True
        )
        put = _put_state
        for each in found:
            put(each, state)
        return found

    # Writing

    def save(self, *, force: bool = False, session: Session | None = None) -> Self:
        """Create the object, or send what changed.

        New: `PUT` with `If-None-Match: *`. Changed: `PATCH` of the changed top-level fields with
        `If-Match` (a JSON-Patch when fields are removed or permissions change). Nothing changed:
        nothing is sent.

        Args:
            force: Overwrite without a precondition (`PUT`), whatever the server has.
            session: Which session to use.

        Returns:
            Itself, with what the server made of it.

        Raises:
            Conflict: It exists already, was changed by somebody else, or is gone.
            InvalidData: The server refuses the data, or the library knows that it would.
        """
        call = self._save_call(session, force=force)
        if call is not None:
            call[0].run(call[1])
        return self

    def _save_call(
        self, given: Session | None, *, force: bool = False
    ) -> tuple[Session, Call[Self]] | None:
        self._refuse_partial()
        session, parent, parents = self._place(given)
        if force:
            return session, self._put_call(session, parent, parents, {})
        state = state_of(self)
        if state.gone:
            raise self._conflict(
                f"cannot save {self._name}: it was deleted. To create it again call "
                "save(force=True). Nothing was sent."
            )
        if state.source is None:
            return session, self._put_call(session, parent, parents, if_none_match())
        changes = self._changes()
        pending = self._pending_permissions()
        if not changes and not pending:
            return None
        return session, self._patch_call(session, parent, parents, changes, pending)

    def _put_call(
        self, session: Session, parent: str, parents: Parents | None, precondition: dict[str, str]
    ) -> Call[Self]:
        data = self._full_data()
        body: dict[str, JsonValue] = {"data": data}
        permissions = state_of(self).permissions
        if isinstance(permissions, Permissions) and permissions.wanted():
            body["permissions"] = permissions.wanted()  # type: ignore[assignment]

        def refused(error: ResponseError, reply: Reply) -> Self:
            existing = error.details.get("existing")
            if error.status != 412 or not precondition or not isinstance(existing, dict):
                raise error
            if (reply.attempts > 1 or _is_random(self.id)) and self._fits(existing, data):
                return self._accept({"data": existing}, session, parent, data)
            raise self._conflict(str(error), error, existing)

        return Call(
            Request(
                "PUT",
                self._path(parent),
                body=encode(body, self._name),
                headers=precondition,
                alone=self.__kinto_kind__ != "record",
            ),
            lambda reply: self._accept(reply.json, session, parent, data),
            f"save {self._name} in {parent}",
            refused,
            parents,
        )

    def _patch_call(
        self,
        session: Session,
        parent: str,
        parents: Parents | None,
        changes: Changes,
        pending: perms.JsonPatch,
    ) -> Call[Self]:
        raw = self._raw()
        expected = without(raw, changes.removed) | changes.changed

        def refused(error: ResponseError, reply: Reply) -> Self:
            existing = error.details.get("existing")
            if isinstance(error, NotFound):
                raise self._conflict(f"{error} It is gone.", error)
            if error.status != 412:
                raise error
            # The first answer may have been lost: then this is our own write.
            if reply.attempts > 1 and isinstance(existing, dict) and self._fits(existing, expected):
                return self._accept({"data": existing}, session, parent, expected)
            raise self._conflict(str(error), error, existing)

        return Call(
            self._patch_request(parent, changes, pending),
            lambda reply: self._accept(reply.json, session, parent, expected),
            f"save {self._name} in {parent}",
            refused,
            _explaining(parents),
        )

    def _patch_request(
        self, parent: str, changes: Changes, pending: perms.JsonPatch
    ) -> Request:
        headers = if_match(self.last_modified or 0)
        if not changes.removed and not pending:
            body = encode({"data": changes.changed}, self._name)
            alone = self.__kinto_kind__ != "record"
            return Request("PATCH", self._path(parent), body=body, headers=headers, alone=alone)
        operations = changes.operations() + pending
        headers["Content-Type"] = JSON_PATCH
        body = encode(operations, self._name)
        return Request("PATCH", self._path(parent), body=body, headers=headers, alone=True)

    def _accept(
        self,
        answer: Mapping[str, Any],
        session: Session,
        parent: str,
        expected: Mapping[str, JsonValue],
    ) -> Self:
        """Take what the server made of a write; equal values keep their identity."""
        raw = answer["data"]
        permissions = answer.get("permissions") or None
        state = State(session, parent, Source(raws={raw["id"]: raw}), permissions=permissions)
        self._stamp(raw)
        set_state(self, state)
        if without(raw, NOT_DATA) != without(expected, NOT_DATA):
            self._adopt(self._loader().of(raw), frozenset())
        return self

    def _fits(self, raw: Mapping[str, Any], expected: Mapping[str, JsonValue]) -> bool:
        """Whether stored data is what was sent, but for what the server makes."""
        made = self.__kinto_server_made__
        return without(raw, made) == without(expected, made)

    def _stamp(self, raw: Mapping[str, Any]) -> None:
        self.__dict__["id"] = raw["id"]
        self.__dict__["last_modified"] = raw["last_modified"]

    def delete(
        self,
        *,
        missing_ok: bool = False,
        force: bool = False,
        session: Session | None = None,
    ) -> Tombstone:
        """Delete the object (`DELETE` with `If-Match`).

        Args:
            missing_ok: Be content when it is gone already.
            force: Delete it without a precondition, whatever the server has.
            session: Which session to use.

        Raises:
            Conflict: It was changed by somebody else, or is gone.
        """
        session, call = self._delete_call(session, missing_ok=missing_ok, force=force)
        return session.run(call)

    def _delete_call(
        self, given: Session | None, *, missing_ok: bool = False, force: bool = False
    ) -> tuple[Session, Call[Tombstone]]:
        session, parent, parents = self._place(given)
        if self.is_new and not force:
            raise ConfigurationError(
                f"cannot delete {self._name}: it was never saved nor loaded here; get it first, "
                "or call delete(force=True) to delete whatever the server has. Nothing was sent."
            )

        def refused(error: ResponseError, reply: Reply) -> Tombstone:
            if isinstance(error, NotFound):
                if missing_ok or reply.attempts > 1:
                    return self._bury(Tombstone(self.id, None))
                raise self._conflict(f"{error} It is gone already.", error)
            if error.status == 412:
                raise self._conflict(str(error), error, error.details.get("existing"))
            raise error

        return session, Call(
            Request(
                "DELETE",
                self._path(parent),
                headers={} if force else if_match(self.last_modified or 0),
                alone=self.__kinto_kind__ != "record",
            ),
            lambda reply: self._bury(_tombstone(reply)),
            f"delete {self._name} in {parent}",
            refused,
            _explaining(parents),
        )

    def _bury(self, tombstone: Tombstone) -> Tombstone:
        set_state(self, state_of(self).replaced(source=None, gone=True, permissions=None))
        return tombstone

    def refresh(self, *, keep_changes: bool = False, session: Session | None = None) -> Self:
        """Take the server's state (`GET` with `If-None-Match`).

        Args:
            keep_changes: Keep what is not saved yet; the other fields become the server's.
            session: Which session to use.

        Raises:
            NotFound: It is gone.
        """
        session, call = self._refresh_call(session, keep_changes=keep_changes)
        return session.run(call)

    def _refresh_call(
        self, given: Session | None, *, keep_changes: bool = False
    ) -> tuple[Session, Call[Self]]:
        session, parent, parents = self._place(given)
        state = state_of(self)
        known = state.source is not None and not state.partial and self.last_modified
        keep = frozenset(self._changes().names) if keep_changes and known else frozenset[str]()

        def receive(reply: Reply) -> Self:
            if reply.status == 304:
                self._adopt(self._pristine(), keep)
                return self
            fresh = self._loaded(reply, session, parent)
            self._stamp(fresh.__dict__)
            self._adopt(fresh, keep)
            set_state(self, state_of(fresh))
            return self

        headers = if_none_match(self.last_modified) if known else {}
        return session, Call(
            Request("GET", self._path(parent), headers=headers),
            receive,
            f"refresh {self._name} in {parent}",
            parents=_explaining(parents),
        )

    def _path(self, parent: str) -> str:
        return f"{parent}/{segment(self.id, self.__kinto_kind__)}"

    def _refuse_partial(self) -> None:
        if self.is_partial:
            raise NotLoaded(
                f"cannot save {self._name}: it was loaded with some fields only; call "
                "refresh() first. Nothing was sent."
            )

    # What changed

    def diff(self) -> dict[str, tuple[Any, Any]]:
        """What is not saved yet, by field: (old, new); a missing value is None."""
        if self.is_new:
            empty: dict[str, tuple[Any, Any]] = {}
            return empty | {name: (None, self._value(name)) for name in self._dump()}
        pristine = self._pristine()
        names = self._python_names()
        return {
            names.get(name, name): (pristine._value(name), self._value(name))
            for name in self._changes().names
        }

    def _value(self, stored: str) -> Any:  # noqa: ANN401
        name = self._python_names().get(stored, stored)
        return self.__dict__.get(name, (self.__pydantic_extra__ or {}).get(stored))

    def _changes(self) -> Changes:
        return find_changes(self, self._pristine(), self._raw())

    def _raw(self) -> dict[str, Any]:
        """What the server has, without id and last_modified."""
        source = state_of(self).source
        return {} if source is None else without(source.raw(self.id), NOT_DATA)

    def _pristine(self) -> Self:
        source = state_of(self).source
        return self._loader().of({} if source is None else source.raw(self.id))

    def _dump(self) -> dict[str, JsonValue]:
        """The data as JSON, by stored names."""
        try:
            return self.model_dump(
                mode="json",
                by_alias=True,
                exclude=set(NOT_DATA),
                exclude_computed_fields=True,
                warnings="error",
            )
        except (PydanticSerializationError, TypeError, ValueError) as error:
            raise InvalidData(
                f"{self._name} cannot be written as JSON: {error}. Nothing was sent."
            ) from error

    def _full_data(self) -> dict[str, JsonValue]:
        """All data for a PUT, with stored fields that the model leaves out of its dumps."""
        data = self._dump()
        raw = self._raw()
        if not raw:
            return without(data, ("__permissions__",))
        left_out = raw.keys() - self._pristine()._dump().keys()
        return {name: raw[name] for name in left_out} | data

    def _pending_permissions(self) -> perms.JsonPatch:
        permissions = state_of(self).permissions
        return permissions.patch() if isinstance(permissions, Permissions) else []

    def _adopt(self, other: Self, keep: frozenset[str]) -> None:
        """Take the other's values, but for the stored names in `keep`."""
        names = self._python_names()
        for stored in differing(self, other) - keep:
            name = names.get(stored)
            target, source = (
                (self.__dict__, other.__dict__)
                if name is not None
                else (self.__pydantic_extra__, other.__pydantic_extra__)
            )
            _copy_item(source or {}, target, name or stored)  # type: ignore[arg-type]
        self.__pydantic_fields_set__.update(other.__pydantic_fields_set__)

    # Conflicts

    def _conflict(
        self, message: str, error: ResponseError | None = None, existing: Any = None  # noqa: ANN401
    ) -> Conflict:
        conflict = Conflict(
            message,
            status=error.status if error else None,
            errno=error.errno if error else None,
            details=error.details if error else None,
            request=error.request if error else None,
        )
        state = state_of(self)
        conflict.local = self
        conflict.base = None if state.source is None else self._pristine_bound()
        conflict._merger = _merge
        if isinstance(existing, dict):
            session, parent, _ = self._place(None if error is None else state.session)
            conflict.remote = self._from_raw(existing, session, parent)
            conflict.fields = self._contested(conflict.remote)
        return conflict

    def _pristine_bound(self) -> Self:
        pristine = self._pristine()
        set_state(pristine, state_of(self).replaced(permissions=None))
        return pristine

    def _contested(self, remote: Self) -> frozenset[str]:
        """The fields that both sides changed, to different values."""
        names = self._python_names()
        mine = self._changes().names if not self.is_new else set(self._dump())
        theirs = differing(self._pristine(), remote) if not self.is_new else set(remote._dump())
        both = mine & theirs & differing(self, remote) - self.__kinto_server_made__
        return frozenset(names.get(name, name) for name in both)

    # Permissions

    if not TYPE_CHECKING:

        @property
        def permissions(self) -> Permissions:
            """Who may do what; reading those that were not loaded is a NotLoaded error."""
            state = own_state(self)
            kind = self.__kinto_kind__
            if state.permissions is None and (self.is_new or state.gone):
                state.permissions = Permissions()._bind(self, kind)
            elif state.permissions is None:
                state.permissions = perms.unknown(self, kind)
            elif not isinstance(state.permissions, Permissions):
                state.permissions = perms.loaded(state.permissions, self, kind)
            return state.permissions

        @permissions.setter
        def permissions(self, value: Permissions | Mapping[str, Iterable[str]]) -> None:
            kind = self.__kinto_kind__
            if self.is_new:
                own_state(self).permissions = perms.wished(value, self, kind)
                return
            wanted = perms.wished(value, self, kind)
            for name in Permissions.model_fields:
                if getattr(wanted, name) or getattr(self.permissions, name):
                    setattr(self.permissions, name, getattr(wanted, name))

    def fetch_permissions(self) -> Permissions:
        """Read the permissions from the server (`GET`)."""
        session, parent, parents = self._place(None)

        def receive(reply: Reply) -> Permissions:
            self._bump(reply.json["data"])
            return perms.loaded(reply.json.get("permissions") or {}, self, self.__kinto_kind__)

        return session.run(
            Call(
                Request("GET", self._path(parent)),
                receive,
                f"read the permissions of {self._name} in {parent}",
                parents=_explaining(parents),
            )
        )

    def send_permissions(self, permissions: Permissions) -> None:
        """Send the difference (`PATCH`, JSON-Patch), without a precondition.

        When somebody else took one of the principals away meanwhile, the server refuses the
        whole patch; then it is made anew from what the server has.
        """
        for _ in range(5):
            patch = permissions.patch()
            if not patch:
                return
            try:
                return self._run_permissions(permissions, patch, {"Content-Type": JSON_PATCH})
            except InvalidData:
                if not any(operation["op"] == "remove" for operation in patch):
                    raise
                permissions._rebase(self.fetch_permissions())
        raise self._conflict(f"the permissions of {self._name} keep changing under our hands")

    def clear_permissions(self) -> None:
        """Empty every list (`PATCH`); the server keeps the one who asks in `write`."""
        names = sorted(perms.BY_KIND[self.__kinto_kind__])
        body: JsonValue = {"permissions": {name: [] for name in names}}
        self._run_permissions(self.permissions, body, {})

    def _run_permissions(
        self, permissions: Permissions, body: Any, headers: dict[str, str]  # noqa: ANN401
    ) -> None:
        if self.is_new:
            raise ConfigurationError(
                f"cannot save the permissions of {self._name}: save the object itself first; "
                "its permissions go with it. Nothing was sent."
            )
        session, parent, parents = self._place(None)

        def receive(reply: Reply) -> None:
            self._bump(reply.json["data"])
            stored = reply.json.get("permissions") or {}
            permissions._take(perms.loaded(stored, self, self.__kinto_kind__))

        session.run(
            Call(
                Request("PATCH", self._path(parent), body=encode(body), headers=headers, alone=True),
                receive,
                f"save the permissions of {self._name} in {parent}",
                parents=_explaining(parents),
            )
        )

    def _bump(self, raw: dict[str, Any]) -> None:
        """Take a newer timestamp, if the data is still what it was when it was loaded.

        Otherwise the old one stays, so that the next save meets the conflict that there is.
        """
        state = own_state(self)
        if state.source is None or without(raw, NOT_DATA) != self._raw():
            return
        state.source = Source(raws={raw["id"]: raw})
        self._stamp(raw)

    # Attributes and items

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401
        if name == "id" and state_of(self).source is not None and value != self.id:
            raise ModelError(
                f"the id of {self._name} cannot change, it is saved; copy the object to another id"
            )
        self._check_attribute(name, value)
        super().__setattr__(name, value)

    def _check_attribute(self, name: str, value: object) -> None:
        known = name in type(self).model_fields or name.startswith("_") or name == "permissions"
        if not known and name not in (self.__pydantic_extra__ or {}):
            self._check_names({name: value})

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields and self.is_partial:
                raise NotLoaded(
                    f"{name!r} of {self._name} was not loaded: the query asked for other fields "
                    "only; call refresh() first"
                )
            return super().__getattr__(name)

    def __getitem__(self, name: str) -> JsonValue:
        try:
            return getattr(self, name) if name in type(self).model_fields else self._extra[name]
        except (KeyError, AttributeError):
            known = (*type(self).model_fields, *self._extra)
            raise KeyError(f"{self._name} has no {name!r}{suggestion(name, known)}") from None

    def __setitem__(self, name: str, value: JsonValue) -> None:
        if name in type(self).model_fields:
            setattr(self, name, value)
            return
        self._check_attribute(name, value)
        self._extra[name] = value

    def __delitem__(self, name: str) -> None:
        if name in type(self).model_fields:
            delattr(self, name)
        elif name in self._extra:
            del self._extra[name]
        else:
            raise KeyError(f"{self._name} has no {name!r}")

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__ or name in self._extra

    @property
    def _extra(self) -> dict[str, Any]:
        if self.__pydantic_extra__ is None:
            object.__setattr__(self, "__pydantic_extra__", {})
        return self.__pydantic_extra__  # type: ignore[return-value]

    # Copies carry what the server has

    def __copy__(self) -> Self:
        made = super().__copy__()
        _copy_state(self, made)
        return made

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        made = super().__deepcopy__(memo)
        _copy_state(self, made)
        return made

    def __getstate__(self) -> dict[Any, Any]:
        state = state_of(self)
        raw = None if state.source is None else state.source.raw(self.id)
        kept = state.permissions
        stored = kept.wanted() if isinstance(kept, Permissions) else kept
        return super().__getstate__() | {
            "__kinto_state__": (state.parent, raw, stored, state.partial, state.gone)
        }

    def __setstate__(self, state: dict[Any, Any]) -> None:
        parent, raw, permissions, partial, gone = state.pop("__kinto_state__")
        super().__setstate__(state)
        source = None if raw is None else Source(raws={self.id: raw})
        set_state(
            self,
            State(None, parent, source, permissions=permissions, partial=partial, gone=gone),
        )


_slot = Resource.__dict__["__kinto_state__"]
_put_state: Callable[[Resource, State], None] = _slot.__set__
_read_state: Callable[[Resource, type], State] = _slot.__get__


def state_of(resource: Resource) -> State:
    """The state of an object; that of a new one is made here."""
    try:
        return _read_state(resource, Resource)
    except AttributeError:
        state = State(None, None, None)
        _put_state(resource, state)
        return state


def set_state(resource: Resource, state: State) -> None:
    """Give an object a state."""
    _put_state(resource, state)


def own_state(resource: Resource) -> State:
    """The state of an object, no longer shared with the others of its page."""
    state = state_of(resource)
    if state.shared:
        state = state.replaced()
        _put_state(resource, state)
    return state


def _copy_state(resource: Resource, made: Resource) -> None:
    state = state_of(resource).replaced()
    if isinstance(state.permissions, Permissions):
        copied = Permissions.model_construct()
        copied._take(state.permissions)
        copied._granted = {name: set(who) for name, who in state.permissions._granted.items()}
        state.permissions = copied._bind(made, made.__kinto_kind__)
    _put_state(made, state)


def _merge(conflict: Conflict, prefer: str | None) -> Resource:
    """Bring the local object up to date; see Conflict.merge."""
    local: Resource = conflict.local
    remote: Resource | None = conflict.remote
    if remote is None:
        if prefer != "local":
            raise conflict
        set_state(local, State(state_of(local).session, state_of(local).parent, None))
        return local
    if conflict.fields and prefer is None:
        raise conflict
    names = local._python_names()
    mine = set(local._dump()) if local.is_new else local._changes().names
    lost = conflict.fields if prefer == "remote" else frozenset()
    keep = frozenset(name for name in mine if names.get(name, name) not in lost)
    local._adopt(remote, keep)
    local._stamp(remote.__dict__)
    set_state(local, state_of(remote).replaced())
    return local


def _resolved(parent: str, session: Session, model: str) -> tuple[str, Parents | None]:
    """A plural path with the personal bucket's real id, and what must exist for it."""
    parts = parent.split("/")
    if len(parts) < 4:
        return parent, None
    asked, parts[2] = parts[2], session.resolve_bucket(parts[2])
    collection = parts[4] if len(parts) > 5 else None
    permitted = asked == "default" or session.is_personal(parts[2])
    return "/".join(parts), Parents(parts[2], collection, permitted, model)


def _explaining(parents: Parents | None) -> Parents | None:
    """Parents that are not made, because the object was there already."""
    if parents is None:
        return None
    return Parents(parents.bucket, parents.collection, False, parents.model)


def _is_random(id: str) -> bool:
    """Whether nobody else can have chosen this id: a random UUID."""
    try:
        return uuid.UUID(id).version == 4
    except ValueError:
        return False


def _tombstone(reply: Reply) -> Tombstone:
    data = reply.json["data"]
    return Tombstone(data["id"], data["last_modified"])


def _copy_item(source: Mapping[str, Any], target: dict[str, Any], name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)
