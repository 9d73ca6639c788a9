"""What every stored object shares: identity, what the server has, save, refresh and delete."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from pydantic import JsonValue

from kinto_orm import permissions as perms
from kinto_orm.changes import Changes, has_name
from kinto_orm.conflicts import conflict_of
from kinto_orm.encoding import encode_dumped
from kinto_orm.errors import (
    BadReply,
    ConfigurationError,
    Conflict,
    InvalidData,
    KintoError,
    NotFound,
    NotLoaded,
    ResponseError,
)
from kinto_orm.loading import Source, without
from kinto_orm.options import given_fields
from kinto_orm.permissions import Permissions
from kinto_orm.pristine import reload, restore, settle, settle_unchanged, unsaved
from kinto_orm.protocol import (
    JSON_PATCH,
    Call,
    Parents,
    Reply,
    Request,
    if_match,
    if_none_match,
    is_object,
)
from kinto_orm.reading import Readable
from kinto_orm.session import Session
from kinto_orm.state import State, own_state, set_state, state_of

M = TypeVar("M", bound="Resource")
T = TypeVar("T")

_Stamp = Mapping[str, int]

_GONE = (
    'It is gone: merge(prefer="local") makes it ready to be created again; to accept that it is '
    "gone, let go of the object."
)
_UNCONFIRMED = (
    "An earlier answer was lost, so that this may be your own write, or somebody else wrote the "
    "same: nothing tells which. Look at the object, or go on from conflict.merge()."
)


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
        cls,
        id: str,
        defaults: Mapping[str, object] | None = None,
        /,
        *,
        session: Session | None = None,
        **more: object,
    ) -> tuple[Self, bool]:
        """Fetch one object, or create it when there is none (`GET`, then `PUT`).

        Args:
            id: Its id.
            defaults: The fields of the one to be created. Here every name is a field's.
            session: Which session to use. Where the model has a field `session`, a field is meant
                in `defaults` only.
            **more: More fields, and `permissions`, as a constructor takes them.

        Returns:
            The object, and whether it was created; as in Django. When somebody else creates it
            meanwhile, theirs is fetched.

        Raises:
            Conflict: Unconfirmed: the answer was lost, and an equal object is there. Whether this
                call or somebody else created it cannot be told.
            TypeError: It is not clear whether an option or a field is meant.
        """
        verb = f"get_or_create({id!r}, "
        given_fields(cls, verb, defaults, more, {"session": session}, refused=("id",))
        session = cls._session(session)
        with session.one_call():
            found = cls.get_or_none(id, session=session)
            if found is not None:
                return found, False
            try:
                return cls._of_fields(defaults, more | {"id": id}).save(session=session), True
            except Conflict as conflict:
                if conflict.unconfirmed:
                    raise
                return cls.get(id, session=session), False

    def save(
        self,
        *,
        force: bool = False,
        last_modified: int | None = None,
        session: Session | None = None,
    ) -> Self:
        """Create the object, or send what changed.

        New: `PUT` with `If-None-Match: *`. Changed: `PATCH` of the changed top-level fields with
        `If-Match` (a JSON-Patch when fields are removed or permissions change). Nothing changed:
        nothing is sent.

        Args:
            force: Overwrite without a precondition (`PUT`), whatever the server has.
            last_modified: For replicas only: the timestamp to be stored, in milliseconds, instead
                of the server's own. A new object keeps any, a stored one only a newer one. Every
                later write of the collection gets one beyond it.
            session: Which session to use; where the object does not live it is created.

        Returns:
            Itself, with what the server made of it.

        Raises:
            Conflict: It exists already, was changed by somebody else, or is gone.
            InvalidData: The server refuses the data, or the library knows that it would.
        """
        if self._has_pending_permissions():
            # They may have to be fetched first.
            with self._session(session, state_of(self).session).one_call():
                return self._save(session, force, last_modified)
        return self._save(session, force, last_modified)

    def _save(self, given: Session | None, force: bool, last_modified: int | None) -> Self:
        planned = self._save_call(given, force=force, last_modified=last_modified)
        if planned is not None:
            self._run(*planned)
        return self

    def _run(self, session: Session, call: Call[T]) -> T:
        try:
            return session.run(call)
        except KintoError as error:
            self._remember_doubt(error)
            raise

    def copy_to(self, target: Session, /, *, id: str | None = None, force: bool = False) -> Self:
        """Create a copy of this object in the scope of another session (`PUT`).

        What is not saved yet is copied, too; permissions are not.

        Args:
            target: On any server; `session.scoped(collection="archive")` for another scope, which
                counts also for a class that names a collection of its own.
            id: The copy's id; by default the same.
            force: Overwrite what is there under this id.

        Returns:
            The copy, which is saved and lives there.

        Raises:
            Conflict: There is an object with this id already.
            ConfigurationError: The target's scope names no place for it.
        """
        self._refuse_partial()
        if not isinstance(target, Session):
            raise TypeError(f"copy_to() takes a Session, not {target!r:.80}")
        data = self._full_data()
        copied = copy.deepcopy(self)
        if id is not None:
            copied.__dict__["id"] = id
        set_state(copied, State(target, self._path_for_copies(target), None, known_id=True))
        session, parent, parents = copied._place(target)
        precondition = {} if force else if_none_match()
        call = copied._put_call(session, parent, parents, precondition, {}, data)
        copied._run(session, call)
        return copied

    @classmethod
    def _path_for_copies(cls, target: Session) -> str | None:
        """The plural path that a scope names more clearly than the class; None: the class's."""
        return None

    def _save_call(
        self, given: Session | None, *, force: bool = False, last_modified: int | None = None
    ) -> tuple[Session, Call[Self]] | None:
        self._refuse_partial()
        if given is not None and self._is_foreign(given):
            stamp = _stamp(last_modified)
            return given, self._move_call(given, stamp, force=force)
        session, parent, parents = self._place(given)
        stamp = _stamp(last_modified, None if force else self.last_modified)
        if force:
            call = self._put_call(session, parent, parents, {}, stamp)
            return session, call.then(lambda saved: saved._with_permissions_saved())
        state = state_of(self)
        if state.gone:
            raise self._conflict(
                f"cannot save {self._name}: it was deleted. To create it again call "
                "save(force=True). Nothing was sent."
            )
        if self.is_new:
            return session, self._put_call(session, parent, parents, if_none_match(), stamp)
        changes = self._checked_changes()
        pending = self._pending_permissions()
        if not changes and not pending and not stamp:
            self._refuse_past()
            settle_unchanged(self)
            return None
        return session, self._patch_call(session, parent, parents, changes, pending, stamp)

    def _with_permissions_saved(self) -> Self:
        """A forced `PUT` leaves the permissions of what was there: they go by their difference."""
        self.permissions.save()
        return self

    def _move_call(self, session: Session, stamp: _Stamp, *, force: bool) -> Call[Self]:
        """Create the object in a scope where it does not live; then it lives there.

        A copy is sent, so that what is known of the original stays true when this fails.
        """
        data = self._full_data()
        moved = copy.copy(self)
        parent = state_of(self).parent if self._home_in(session) is None else None
        set_state(moved, State(session, parent, None, known_id=True))
        session, home, parents = moved._place(session)
        precondition = {} if force else if_none_match()
        call = moved._put_call(session, home, parents, precondition, stamp, data)

        def arrived(moved: Self) -> Self:
            self._stamp(moved.__dict__)
            self._adopt(moved, frozenset())
            set_state(self, state_of(moved))
            return self

        return call.then(arrived)

    def _put_call(
        self,
        session: Session,
        parent: str,
        parents: Parents | None,
        precondition: dict[str, str],
        stamp: _Stamp,
        given: dict[str, JsonValue] | None = None,
    ) -> Call[Self]:
        data = self._full_data() if given is None else given
        body: dict[str, Any] = {"data": {**data, **stamp}}
        permissions = state_of(self).permissions
        # Those of an object that is there are changed by their difference, never replaced.
        wanted = permissions.wanted() if isinstance(permissions, Permissions) else {}
        first = bool(wanted) and self.is_new
        if first:
            body["permissions"] = wanted

        def refused(error: ResponseError, reply: Reply) -> Any:
            if error.status != 412 or not precondition:
                raise self._naming_fields(error, data)
            echoed = self._is_echo(error, reply, data)
            if echoed and self._has_own_id:
                answer: dict[str, Any] | None = {"data": self._existing(error)}
                if first:
                    answer = self._what_is_there(session, parent, wanted)
                if answer is not None and self._fits(answer["data"], data):
                    return self._accept(answer, session, parent, data, sent=first)
            raise self._conflict(str(error), error, (session, parent), unconfirmed=echoed)

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
        stamp: _Stamp,
    ) -> Call[Self]:
        raw = self._raw()
        expected = {**without(raw, changes.removed), **changes.changed}

        def refused(error: ResponseError, reply: Reply) -> Any:
            if isinstance(error, NotFound):
                raise self._conflict(f"{error} {_GONE}", error)
            if error.status != 412:
                raise self._naming_fields(error, changes.changed)
            echoed = self._is_echo(error, reply, expected)
            raise self._conflict(str(error), error, (session, parent), unconfirmed=echoed)

        return Call(
            self._patch_request(parent, changes.with_stamp(stamp), pending),
            lambda reply: self._accept(reply.object, session, parent, expected, sent=bool(pending)),
            f"save {self._name} in {parent}",
            refused,
            parents and parents.explaining(loaded=not self.is_new),
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

    @property
    def _has_own_id(self) -> bool:
        """Whether nobody else can write under this id: a random UUID that was made for it."""
        given = "id" in self.__pydantic_fields_set__ or state_of(self).known_id
        # A factory of the program may count, or make the same id from the same data.
        return self.is_new and not given and type(self).__kinto_id_factory__ is None

    def _is_echo(
        self, error: ResponseError, reply: Reply, expected: Mapping[str, JsonValue]
    ) -> bool:
        """Whether what is there may be this very write, whose answer was lost."""
        existing = error.details.get("existing")
        lost = reply.lost or state_of(self).doubt
        return lost and isinstance(existing, dict) and self._fits(existing, expected)

    def _what_is_there(
        self, session: Session, parent: str, wanted: Mapping[str, list[str]]
    ) -> dict[str, Any] | None:
        """The stored object, if it has the permissions that were asked for with it."""

        def receive(reply: Reply) -> dict[str, Any] | None:
            self._require_id(reply.object["data"], self.id)
            stored = reply.json.get("permissions") or {}
            has_all = all(set(who) <= set(stored.get(name, ())) for name, who in wanted.items())
            return reply.json if has_all else None

        request = Request("GET", self._path(parent))
        return session.run(Call(request, receive, f"save {self._name} in {parent}"))

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
        self._require_id(raw, self.id)
        permissions = self._renewed(answer.get("permissions"), raw["last_modified"], keep=not sent)
        state = State(session, parent, Source(raws={raw["id"]: raw}), permissions=permissions)
        state.planned = state_of(self).planned
        set_state(self, state)
        settle(self, raw, expected)
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
        return self._run(*self._delete_call(session, missing_ok=missing_ok, force=force))

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
                if missing_ok:
                    return self._bury(Tombstone(self.id, None))
                lost = reply.lost or state_of(self).doubt
                message = f"{error} It is gone already."
                raise self._conflict(message, error, unconfirmed=lost)
            if error.status == 412:
                raise self._conflict(str(error), error, (session, parent))
            raise error

        return session, Call(
            Request(
                "DELETE",
                self._path(parent),
                headers={} if force else if_match(self.last_modified or 0),
                alone=self.__kinto_kind__ != "record",
            ),
            lambda reply: self._bury(self._tombstone(reply)),
            f"delete {self._name} in {parent}",
            refused,
            parents and parents.explaining(loaded=not self.is_new),
        )

    def _tombstone(self, reply: Reply) -> Tombstone:
        data = reply.object["data"]
        self._require_id(data, self.id)
        if data.get("deleted") is not True:
            raise BadReply(reply.complaint())
        return Tombstone(data["id"], data["last_modified"])

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
            InvalidData: What is kept does not fit the server's state; then nothing has changed.
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
        keep = unsaved(self) if keep_changes else frozenset[str]()

        def receive(reply: Reply) -> Any:
            if reply.status == 304 and headers:
                restore(self, keep)
                return self
            fresh = self._loaded(reply, session, parent, self.id)
            state = state_of(fresh)
            stored: Any = state.permissions
            self._reload(fresh, state.replaced(permissions=state_of(self).permissions), keep)
            renewed = self._renewed(stored, self.last_modified, keep=keep_changes)
            own_state(self).permissions = renewed
            return self

        current = known and self._has_fetched_permissions() and not pending
        headers = if_none_match(self.last_modified) if current else {}
        return session, Call(
            Request("GET", self._path(parent), headers=headers),
            receive,
            f"refresh {self._name} in {parent}",
            parents=parents and parents.explaining(loaded=not self.is_new),
        )

    def _reload(self, fresh: Self, state: State, keep: frozenset[str]) -> None:
        """Become what the server has, but for the stored names in `keep`."""
        try:
            reload(self, fresh, state, keep)
        except InvalidData as error:
            raise InvalidData(
                f"cannot refresh {self._name}: what the server has and what is not saved yet do "
                f"not fit together: {error} The object is as it was: refresh() without "
                "keep_changes drops what is not saved."
            ) from error

    def _refuse_partial(self) -> None:
        if self.is_partial:
            raise NotLoaded(
                f"cannot save {self._name}: it was loaded with some fields only; call "
                "refresh(keep_changes=True) first. Nothing was sent."
            )

    def _refuse_past(self) -> None:
        """Refuse to save what the history gave, unchanged: that would bring nothing back."""
        if state_of(self).past:
            raise ConfigurationError(
                f"cannot save {self._name}: it is how it was at a time. revert(when) of the object "
                "brings that back; copy_to() makes another object of it. Nothing was sent."
            )

    # Conflicts

    def _conflict(
        self,
        message: str,
        error: ResponseError | None = None,
        place: tuple[Session, str] | None = None,
        *,
        unconfirmed: bool = False,
    ) -> Conflict:
        """What to raise when somebody else was first.

        Args:
            message: What was being done, and what the server said.
            error: The server's refusal, perhaps with the existing object.
            place: Where that one lives; None where there is none.
            unconfirmed: It has what was to be written, and an answer was lost.
        """
        remote = None
        if place is not None and error is not None and "existing" in error.details:
            try:
                remote = self._from_raw(self._existing(error), *place)
            except InvalidData as unfit:
                conflict = conflict_of(self, f"{message} And {unfit}", error)
                conflict._merger = None
                conflict.__cause__ = unfit
                return conflict
        if unconfirmed:
            message = f"{message} {_UNCONFIRMED}"
        conflict = conflict_of(self, message, error, remote)
        if unconfirmed:
            conflict.unconfirmed, conflict.fields = True, frozenset()
        return conflict

    def _existing(self, error: ResponseError) -> dict[str, Any]:
        """What a refusal shows of the object that is there."""
        existing = error.details["existing"]
        if not is_object(existing):
            raise BadReply("the refusal shows an existing object that is none of a Kinto server")
        self._require_id(existing, self.id)
        return existing

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


def _stamp(last_modified: int | None, stored: int | None = None) -> dict[str, int]:
    """The timestamp to be stored, if one is asked for.

    Raises:
        InvalidData: The server would not keep it.
    """
    if last_modified is None:
        return {}
    if type(last_modified) is not int or last_modified <= (stored or 0):
        raise InvalidData(
            f"last_modified={last_modified!r} would not be kept: it is a whole number of "
            f"milliseconds beyond {stored or 0}. Nothing was sent."
        )
    return {"last_modified": last_modified}
