"""What every stored object shares: identity, what the server has, save, refresh and delete."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from pydantic import JsonValue

from kinto_orm import permissions as perms
from kinto_orm.changes import Changes, has_name
from kinto_orm.conflicts import conflict_of
from kinto_orm.encoding import encode_dumped
from kinto_orm.errors import (
    ConfigurationError,
    Conflict,
    InvalidData,
    NotFound,
    NotLoaded,
    ResponseError,
)
from kinto_orm.fidelity import refuse_hidden
from kinto_orm.loading import Source, without
from kinto_orm.permissions import Permissions
from kinto_orm.protocol import (
    JSON_PATCH,
    Call,
    Parents,
    Reply,
    Request,
    if_match,
    if_none_match,
)
from kinto_orm.reading import Readable
from kinto_orm.session import Session
from kinto_orm.stored import State, set_state, state_of

M = TypeVar("M", bound="Resource")


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


class Resource(Readable):
    """Base of all stored objects; use Record, Bucket, Collection, Group, Template or Account."""

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
        planned = self._save_call(session, force=force)
        if planned is not None:
            planned[0].run(planned[1])
        if force:
            self.permissions.save()
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
        if self.is_new:
            return session, self._put_call(session, parent, parents, if_none_match())
        changes = self._changes()
        refuse_hidden(type(self), changes.changed, self._raw())
        pending = self._pending_permissions()
        if not changes and not pending:
            return None
        return session, self._patch_call(session, parent, parents, changes, pending)

    def _put_call(
        self, session: Session, parent: str, parents: Parents | None, precondition: dict[str, str]
    ) -> Call[Self]:
        data = self._full_data()
        body: dict[str, Any] = {"data": data}
        permissions = state_of(self).permissions
        # Those of an object that is there are changed by their difference, never replaced.
        wanted = permissions.wanted() if isinstance(permissions, Permissions) else {}
        first = bool(wanted) and self.is_new
        if first:
            body["permissions"] = wanted

        def refused(error: ResponseError, reply: Reply) -> Any:
            existing = error.details.get("existing")
            if error.status != 412 or not precondition or not isinstance(existing, dict):
                raise self._naming_fields(error, data)
            if (reply.attempts > 1 or _is_random(self.id)) and self._fits(existing, data):
                return self._accept({"data": existing}, session, parent, data, sent=first)
            raise self._conflict(str(error), error, existing, (session, parent))

        return Call(
            Request(
                "PUT",
                self._path(parent),
                body=encode_dumped(body, self._name),
                headers=precondition,
                alone=self.__kinto_kind__ != "record",
            ),
            lambda reply: self._accept(reply.object, session, parent, data, sent=first),
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
        expected = {**without(raw, changes.removed), **changes.changed}

        def refused(error: ResponseError, reply: Reply) -> Any:
            existing = error.details.get("existing")
            if isinstance(error, NotFound):
                raise self._conflict(f"{error} It is gone.", error)
            if error.status != 412:
                raise self._naming_fields(error, changes.changed)
            # The first answer may have been lost: then this is our own write.
            if reply.attempts > 1 and isinstance(existing, dict) and self._fits(existing, expected):
                return self._accept(
                    {"data": existing}, session, parent, expected, sent=bool(pending)
                )
            raise self._conflict(str(error), error, existing, (session, parent))

        return Call(
            self._patch_request(parent, changes, pending),
            lambda reply: self._accept(reply.object, session, parent, expected, sent=bool(pending)),
            f"save {self._name} in {parent}",
            refused,
            parents and parents.explaining(),
        )

    def _patch_request(self, parent: str, changes: Changes, pending: perms.JsonPatch) -> Request:
        headers = if_match(self.last_modified or 0)
        if not changes.removed and not pending:
            body = encode_dumped({"data": changes.changed}, self._name)
            alone = self.__kinto_kind__ != "record"
            return Request("PATCH", self._path(parent), body=body, headers=headers, alone=alone)
        operations = changes.operations() + pending
        headers["Content-Type"] = JSON_PATCH
        body = encode_dumped(operations, self._name)
        return Request("PATCH", self._path(parent), body=body, headers=headers, alone=True)

    def _accept(
        self,
        answer: Mapping[str, Any],
        session: Session,
        parent: str,
        expected: Mapping[str, JsonValue],
        *,
        sent: bool,
    ) -> Self:
        """Take what the server made of a write; equal values keep their identity.

        Args:
            answer: `data` and perhaps `permissions`.
            session: Where it was written.
            parent: The plural path.
            expected: What should be stored by now.
            sent: Whether the changes of the permissions went with it.
        """
        raw = answer["data"]
        permissions = self._renewed(answer.get("permissions"), raw["last_modified"], keep=not sent)
        state = State(session, parent, Source(raws={raw["id"]: raw}), permissions=permissions)
        self._stamp(raw)
        set_state(self, state)
        if raw != {**expected, "id": raw["id"], "last_modified": raw["last_modified"]}:
            self._adopt(self._loader().of(raw), frozenset())
        return self

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
                existing = error.details.get("existing")
                raise self._conflict(str(error), error, existing, (session, parent))
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
            parents and parents.explaining(),
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
        pending = not keep_changes and self._has_pending_permissions()
        changed = keep_changes and state.source is not None
        keep = frozenset(self._changes().names if changed else ())

        def receive(reply: Reply) -> Any:
            if reply.status == 304:
                self._adopt(self._pristine(), keep)
                return self
            fresh = self._loaded(reply, session, parent)
            self._stamp(fresh.__dict__)
            self._adopt(fresh, keep)
            state = state_of(fresh)
            stored: Any = state.permissions
            permissions = self._renewed(stored, self.last_modified, keep=keep_changes)
            set_state(self, state.replaced(permissions=permissions))
            return self

        current = known and state.permissions is not None and not pending
        headers = if_none_match(self.last_modified) if current else {}
        return session, Call(
            Request("GET", self._path(parent), headers=headers),
            receive,
            f"refresh {self._name} in {parent}",
            parents=parents and parents.explaining(),
        )

    def _refuse_partial(self) -> None:
        if self.is_partial:
            raise NotLoaded(
                f"cannot save {self._name}: it was loaded with some fields only; call "
                "refresh(keep_changes=True) first. Nothing was sent."
            )

    # Conflicts

    def _conflict(
        self,
        message: str,
        error: ResponseError | None = None,
        existing: object = None,
        place: tuple[Session, str] | None = None,
    ) -> Conflict:
        remote = None
        if isinstance(existing, dict) and place is not None:
            try:
                remote = self._from_raw(existing, *place)
            except InvalidData as unfit:
                conflict = conflict_of(self, f"{message} And {unfit}", error)
                conflict._merger = None
                conflict.__cause__ = unfit
                return conflict
        return conflict_of(self, message, error, remote)

    def _naming_fields(self, error: ResponseError, sent: Mapping[str, JsonValue]) -> ResponseError:
        """The same error, with the model's fields for the names that the server gives."""
        names = self._python_names()
        for name in error.names if isinstance(error, InvalidData) else ():
            inside = [
                names[key] for key, value in sent.items() if key in names and has_name(value, name)
            ]
            if names.get(name, name) != name:
                error.args = (f"{error} {name!r} is what the field {names[name]!r} is stored as.",)
            elif name not in names and inside:
                error.args = (f"{error} {name!r} is inside of the field {' or '.join(inside)}.",)
        return error


def _is_random(id: str) -> bool:
    """Whether nobody else can have chosen this id: a random UUID."""
    try:
        return uuid.UUID(id).version == 4
    except ValueError:
        return False


def _tombstone(reply: Reply) -> Tombstone:
    data = reply.object["data"]
    return Tombstone(data["id"], data["last_modified"])
