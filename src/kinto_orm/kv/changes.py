"""What is changed below a root key, and what became of a change whose answer was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import JsonValue

from kinto_orm.errors import (
    BadReply,
    Conflict,
    KeyNotFound,
    KintoError,
    NotFound,
    PathError,
    ResponseError,
)
from kinto_orm.kv import keypath
from kinto_orm.wire.jsonvalues import alike, as_stored, same
from kinto_orm.wire.messages import Reply

T = TypeVar("T")

Entry = Mapping[str, Any]
"""The data of a root key's record, as it was read."""

# How often a change is sent once more after its answer was lost, and nothing was done.
_MOST_LOST = 3

# facts: Kinto answers 503 with this number when the database rolled the write back
_ERRNO_BACKEND = 201

_OLD_ANSWER = (
    "the answer shows the key as it was before; does a proxy or a cache repeat an old answer?"
)


class Raced(Exception):
    """Another writer was first, or nothing was done: read, and try again.

    Attributes:
        error: What to raise when it was tried often enough.
    """

    def __init__(self, error: KintoError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """A change of the value that was read, to be sent under its precondition.

    Attributes:
        entry: What was read; None when there was no record.
        operations: The JSON-Patch; None to store the value whole.
        value: The root key's value when it is done.
        result: What the caller gets.
        base: What was at the path before; None when nothing was.
        once: Whether doing it twice is more than doing it once.
        common: Whether others are likely to make the very same change, as when several take the
            first item of a list.
        listed: Whether it sets what is at, or below, an item of a list. It may be sent again only
            while the record is what was read: else it might meet another item.
    """

    entry: Entry | None
    operations: Sequence[keypath.JsonPatchOp] | None
    value: JsonValue
    result: T
    base: JsonValue = None
    once: bool = False
    common: bool = False
    listed: bool = False

    def is_there(self, entry: Entry | None) -> bool:
        """Whether this is what the change was to make."""
        wanted = as_stored(self.value)
        return entry is not None and alike(as_stored(entry.get("value")), wanted)

    @property
    def changes_nothing(self) -> bool:
        """Whether the record stays as it was read: the server keeps its timestamp then."""
        return self.operations is not None and self.is_there(self.entry)


class Newest:
    """The latest timestamp that was read of a record: whatever is written later has a later one.

    A proxy or a cache may repeat an old answer; its timestamp shows that.
    """

    def __init__(self) -> None:
        self._stamp = 0

    def read(self, entry: Entry | None, key: str) -> BadReply | None:
        """Keep in mind what was read; what is wrong with it when it is older."""
        stamp = 0 if entry is None else entry["last_modified"]
        if entry is None or stamp >= self._stamp:
            self._stamp = max(stamp, self._stamp)
            return None
        error = BadReply(f"cannot read the key {key!r}: {_OLD_ANSWER}")
        error.lost = False
        return error

    def require_later(self, reply: Reply, stamp: int, *, or_same: bool = False) -> None:
        """Make sure that the answer to a write is not older than the write.

        Args:
            reply: The answer.
            stamp: The timestamp of the record, or of its tombstone, in it.
            or_same: Whether the write changed nothing, so that what was read is the answer.

        Raises:
            BadReply: It is: whether the write was done is not known.
        """
        if stamp < self._stamp or (stamp == self._stamp and not or_same):
            raise reply.bad(f"{_OLD_ANSWER} Whether it was done is not known: look at the key.")


class ListGuard:
    """The list item that a change goes through: it has to be the same one in all readings.

    Args:
        key: The root key.
        segments: The way down from it.
    """

    def __init__(self, key: str, segments: Sequence[str]) -> None:
        self._key = key
        self._segments = segments
        self._last: tuple[keypath.ListPlace | None] | None = None

    def check(self, entry: Entry | None, *, may_be_gone: bool = False) -> None:
        """Look whether another writer moved the items since the last reading.

        Args:
            entry: What was read now.
            may_be_gone: Be content when there is no list any more.

        Raises:
            Conflict: Another item is at this place now.
        """
        value = None if entry is None else entry.get("value")
        found = keypath.list_place(value, self._segments)
        if found is None and may_be_gone and not self._is_another(value):
            return
        if self._last and _is_moved(self._last[0], found):
            raise self._conflict(self._last[0], found)
        self._last = (found,)

    def _is_another(self, value: JsonValue) -> bool:
        """Whether there is something in the place of a list's item that is no item of a list."""
        try:
            keypath.read(value, self._segments, self._key)
        except (KeyNotFound, PathError):
            return False
        return self._last is not None and self._last[0] is not None

    def _conflict(
        self, base: keypath.ListPlace | None, remote: keypath.ListPlace | None
    ) -> Conflict:
        conflict = Conflict(
            f"cannot change {'/'.join((self._key, *self._segments))!r}: another writer changed the "
            "list meanwhile, and another item is there now. Read the list, and choose again."
        )
        conflict.base = base.item[0] if base and base.item else None
        conflict.remote = remote.item[0] if remote and remote.item else None
        return conflict


def _is_moved(before: keypath.ListPlace | None, now: keypath.ListPlace | None) -> bool:
    if before is None or now is None:
        return before is not now
    # Equal items cannot be told apart, but a list that lost some has moved the others.
    return now.length < before.length or not same(now.item, before.item)


def writing(
    entry: Entry | None, key: str, segments: Sequence[str], value: JsonValue
) -> Change[JsonValue]:
    """The change that stores a value; the result is the value.

    Raises:
        PathError: The path goes through what is no container, or names no place of a list.
    """
    keypath.check_appends({} if entry is None else entry.get("value", {}), segments, key)
    if entry is None or "value" not in entry:
        return Change(entry, None, keypath.nest(segments, value), value)
    operations = keypath.write_operations(entry["value"], segments, value, key=key)
    after = keypath.written(entry["value"], segments, value)
    base, once = _at(entry["value"], segments, key), keypath.appends(entry["value"], segments)
    listed = not once and keypath.meets_list(entry["value"], segments)
    return Change(entry, operations, after, value, base, once, listed=listed)


def removing(
    entry: Entry | None, key: str, segments: Sequence[str], *, once: bool, common: bool = False
) -> Change[JsonValue]:
    """The change that removes what is at a path; the result is what was there.

    Raises:
        KeyNotFound: Nothing is there.
    """
    whole = value_of(entry, key)
    removed = keypath.read(whole, segments, key)
    assert entry is not None  # noqa: S101  (for the type checker)
    operations = keypath.delete_operations(entry["value"], segments, key=key)
    after = keypath.removed(entry["value"], segments)
    return Change(entry, operations, after, removed, removed, once, common)


def _at(value: JsonValue, segments: Sequence[str], key: str) -> JsonValue:
    """What is at a path, None when nothing is."""
    try:
        return keypath.read(as_stored(value), segments, key)
    except KeyNotFound:
        return None


def value_of(entry: Entry | None, key: str) -> JsonValue:
    """A root key's value.

    Raises:
        KeyNotFound: There is none.
    """
    if entry is None or "value" not in entry:
        raise no_key(key)
    return as_stored(entry["value"])


def no_key(key: str) -> KeyNotFound:
    """There is no such root key."""
    return KeyNotFound(f"there is no key {key!r}")


class Doubt:
    """A change that was sent, and of which nobody knows whether it was done.

    Args:
        change: What was sent.
        error: What came instead of an answer.
        earlier: The doubt that there was before this sending.

    Attributes:
        lost: Whether one of the answers was lost.
        times: How often it was sent.
    """

    def __init__(self, change: Change[Any], error: KintoError, earlier: Doubt | None) -> None:
        self._change = change
        self._error = error
        # Kinto's own 503 says that nothing was done; it may be, on the memory backend, or when
        # PostgreSQL's answer to the COMMIT was lost.
        self.lost: bool = error.lost or (earlier is not None and earlier.lost)
        self.times: int = 1 if earlier is None else earlier.times + 1

    @property
    def error(self) -> KintoError:
        """What came instead of an answer."""
        return self._error

    @property
    def is_too_often(self) -> bool:
        """Whether to give up."""
        return self._error.lost and self.times > _MOST_LOST

    def left(self, entry: Entry | None) -> Doubt | None:
        """What is in doubt still, now that this was read.

        Raises:
            Conflict: Unconfirmed: the record was changed since, and perhaps by this change.
        """
        anew = not self._change.once and not self._change.listed
        if anew or _stamp(entry) == _stamp(self._change.entry):
            return self
        if self.lost or (self._change.is_there(entry) and not self._change.common):
            raise self.conflict()
        return None

    def conflict(self) -> Conflict:
        """That nobody knows."""
        return unconfirmed(self._error, self._change.base)


def raced(error: ResponseError, change: Change[Any]) -> bool:
    """Whether a refusal says that another writer was first, so that nothing was done.

    A 409 is no such one: the transport has tried again as often as it does.
    """
    gone = isinstance(error, NotFound) and change.operations is not None
    return gone or error.status == 412


def in_doubt(error: KintoError, change: Change[Any]) -> bool:
    """Whether this leaves open what was done, and the transport does not try again."""
    if not change.once:
        return False
    rolled_back = isinstance(error, ResponseError) and error.errno == _ERRNO_BACKEND
    return error.lost or rolled_back


def unconfirmed(error: KintoError, base: JsonValue) -> Conflict:
    """The Conflict of a change that may have been done: its answer was lost.

    Args:
        error: What came instead of the answer, or after it.
        base: What was at the path before.
    """
    conflict = Conflict(
        f"{error} An earlier answer was lost, and what is stored has changed since: by this very "
        "change, or by another writer. Nothing tells which. Read what is there now, and do it "
        "again if it was not done; .base is what was there before.",
        status=error.status if isinstance(error, ResponseError) else None,
        errno=error.errno if isinstance(error, ResponseError) else None,
    )
    conflict.base = base
    conflict.unconfirmed = conflict.lost = True
    return conflict


def lost_race(error: KintoError) -> KintoError:
    """What to raise when a change did not succeed in all attempts: mostly a Conflict."""
    if not isinstance(error, NotFound | Conflict):
        return error
    conflict = Conflict(
        f"{error} Another writer was first.",
        status=error.status,
        errno=error.errno,
        details=error.details,
        request=error.request,
    )
    conflict.lost = conflict.unconfirmed = error.lost
    return conflict


def _stamp(entry: Entry | None) -> object:
    return None if entry is None else entry["last_modified"]
