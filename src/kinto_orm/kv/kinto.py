"""How a Kinto server keeps key values: each root key is a record of the collection `kv`.

The record is `{"key": ..., "value": ...}`, its id follows from the key. So two keys never contend,
and permissions, history and ETags come with them. What is written below a root key is one
JSON-Patch with a precondition, made anew when another writer was first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

from pydantic import JsonValue

from kinto_orm.errors import (
    BadReply,
    KeyNotFound,
    KintoError,
    ResponseError,
    Timeout,
    TransportError,
)
from kinto_orm.kv import keypath
from kinto_orm.kv.changes import (
    Change,
    Doubt,
    ListGuard,
    Newest,
    Raced,
    in_doubt,
    lost_race,
    no_key,
    raced,
    removing,
    unconfirmed,
    value_of,
    writing,
)
from kinto_orm.kv.entries import (
    COLLECTION,
    Entries,
    Entry,
    ListedEntry,
    home_of,
    key_of,
    keyed,
    lists_for_urls,
    present,
    with_ids,
)
from kinto_orm.queries.conditions import field
from kinto_orm.queries.counting import counting
from kinto_orm.queries.deleting import deleting
from kinto_orm.queries.pager import Mapped, Pages, reading_all
from kinto_orm.wire.clock import race_pause
from kinto_orm.wire.flows import Flow, Pause, ask, side_by_side
from kinto_orm.wire.jsonvalues import alike, as_stored, encode
from kinto_orm.wire.messages import JSON_PATCH, Reply, Request, if_match, if_none_match
from kinto_orm.wire.places import Place, is_absent
from kinto_orm.wire.scope import Scope

T = TypeVar("T")
KeyedEntries = Iterator[tuple[str, ListedEntry]]

_ATTEMPTS: Final = 31


class KintoStore:
    """The keys of one bucket on a Kinto server.

    Args:
        scope: Over whose connection.
        bucket: The bucket's id.
    """

    def __init__(self, scope: Scope, bucket: str) -> None:
        self._scope = scope.scoped(bucket=bucket, collection=COLLECTION)

    def reading(self, key: str) -> Flow[JsonValue]:
        """Fetch a root key's value (`GET`)."""
        place = yield from home_of(self._scope)
        return value_of((yield from _record(place, key)), key)

    def reading_many(self, keys: Iterable[str]) -> Flow[dict[str, JsonValue]]:
        """Fetch several root keys (`GET ?in_id=...`); missing ones are left out."""
        lists = lists_for_urls(keypath.record_id(key) for key in keys)
        found = yield from side_by_side(
            reading_all(with_ids(self._scope, ids, values=True)) for ids in lists
        )
        return dict(present(keyed(chain.from_iterable(found))))

    def reading_all(self) -> Flow[dict[str, JsonValue]]:
        """Fetch all root keys with their values."""
        entries = yield from reading_all(Entries(self._scope, values=True))
        return dict(present(keyed(entries)))

    def keys(self, prefix: str) -> Iterator[Flow[Pages[Sequence[str]]]]:
        """List root keys, by their records' ids."""
        return self._openings(prefix, lambda found: [key for key, _ in found], values=False)

    def items(self, prefix: str) -> Iterator[Flow[Pages[Sequence[tuple[str, JsonValue]]]]]:
        """List root keys with their values."""
        return self._openings(prefix, lambda found: list(present(found)), values=True)

    def counting(self, prefix: str) -> Flow[int]:
        """Count root keys (`HEAD` for all of them, and a look at the ids that are encoded)."""
        if prefix:
            return len((yield from self._reading_keys(prefix)))
        total = yield from counting(Entries(self._scope))
        return total - len((yield from self._strays()))

    def writing(self, key: str, segments: Sequence[str], value: JsonValue) -> Flow[None]:
        """Store a value."""
        place = yield from home_of(self._scope)
        if not segments:
            yield from _put(place, key, value, {}, Newest())
            return
        guard = ListGuard(key, segments)

        def plan(entry: Entry | None) -> Change[JsonValue]:
            guard.check(entry)
            return writing(entry, key, segments, value)

        yield from _change(place, key, plan)

    def adding(self, key: str, segments: Sequence[str], value: JsonValue) -> Flow[JsonValue]:
        """Store a value where there is none, and give what is there now."""
        guard = ListGuard(key, segments)

        def plan(entry: Entry | None) -> Change[JsonValue]:
            guard.check(entry)
            try:
                there = keypath.read(value_of(entry, key), segments, key)
            except KeyNotFound:
                return writing(entry, key, segments, value)
            return Change(entry, [], None, there)

        return (yield from _change((yield from home_of(self._scope)), key, plan))

    def deleting(self, key: str, segments: Sequence[str], missing_ok: bool) -> Flow[None]:
        """Remove a value; an item of a list only while it is the one that was read first."""
        place = yield from home_of(self._scope)
        if not segments:
            reply = yield from _delete(place, key, {}, missing_ok=missing_ok)
            _check_deleted(reply, key, Newest())
            return
        guard = ListGuard(key, segments)

        def plan(entry: Entry | None) -> Change[JsonValue]:
            guard.check(entry, may_be_gone=True)
            try:
                moves = keypath.meets_list(value_of(entry, key), segments)
                return removing(entry, key, segments, once=moves)
            except KeyNotFound:
                if not missing_ok:
                    raise
                return Change(entry, [], None, None)

        yield from _change(place, key, plan)

    def popping(self, key: str, segments: Sequence[str]) -> Flow[JsonValue]:
        """Remove a value, and give it."""
        place = yield from home_of(self._scope)
        if segments:

            def plan(entry: Entry | None) -> Change[JsonValue]:
                return removing(entry, key, segments, once=True, common=True)

            return (yield from _change(place, key, plan))

        return (yield from _pop(place, key))

    def clearing(self) -> Flow[None]:
        """Remove every key (`DELETE` on the collection's records)."""
        if not (yield from self._strays()):
            yield from deleting(Entries(self._scope))
            return
        keys = yield from self._reading_keys("")
        for chunk in lists_for_urls([keypath.record_id(key) for key in keys]):
            yield from deleting(with_ids(self._scope, chunk, values=False))

    def __repr__(self) -> str:
        return f"bucket {self._scope.bucket!r} on {self._scope.server_url}"

    # Lists

    def _strays(self) -> Flow[list[str]]:
        """Fetch the ids of records that were put there by hand, under ids that no key has.

        Those look encoded: any other id is its own key.
        """
        encoded = Entries(self._scope, (field("id").like(f"{keypath.ENCODED}*"),))
        return [each.id for each in (yield from reading_all(encoded)) if key_of(each.id) is None]

    def _reading_keys(self, prefix: str) -> Flow[list[str]]:
        found: list[str] = []
        for start, question in self._questions(prefix, values=False):
            entries = yield from reading_all(question)
            found += [key for key, _ in _meant(entries, prefix, start)]
        return found

    def _openings(
        self, prefix: str, read: Callable[[KeyedEntries], Sequence[T]], *, values: bool
    ) -> Iterator[Flow[Pages[Sequence[T]]]]:
        """Open the pages of all keys with a prefix."""
        for start, question in self._questions(prefix, values=values):
            yield _opening(question, prefix, start, read)

    def _questions(self, prefix: str, *, values: bool) -> Iterator[tuple[str, Entries]]:
        """What finds all keys with a prefix, with the beginning of the ids that each finds."""
        if not prefix:
            yield "", Entries(self._scope, values=values)
            return
        for start in keypath.id_prefixes(prefix):
            yield start, Entries(self._scope, (field("id").like(f"{start}*"),), values)


def _opening(
    question: Entries, prefix: str, start: str, read: Callable[[KeyedEntries], Sequence[T]]
) -> Flow[Pages[Sequence[T]]]:
    pages = yield from question.opening()
    return Mapped(pages, lambda entries: read(_meant(entries, prefix, start)))


def _meant(entries: Iterable[ListedEntry], prefix: str, start: str) -> KeyedEntries:
    """The entries of keys with a prefix: an encoded id may look as if it began with that itself."""
    for key, entry in keyed(entries):
        if not prefix or (key.startswith(prefix) and (key == entry.id) == (start == prefix)):
            yield key, entry


# Requests


def _record(place: Place, key: str) -> Flow[Entry | None]:
    """Fetch a root key's record, None when there is none."""
    request = Request("GET", place.of(keypath.record_id(key), "record"))
    parents = place.explaining().parents
    try:
        reply = yield from ask(request, f"read the key {key!r}", parents)
    except ResponseError as error:
        if not is_absent(error, place):
            raise
        return None
    return _told(reply, key)


def _change(place: Place, key: str, plan: Callable[[Entry | None], Change[T]]) -> Flow[T]:
    """Read, and write what is planned below the root key; both again when it changed."""
    doubt: Doubt | None = None
    sent: Change[T] | None = None
    newest = Newest()

    def once() -> Flow[T]:
        nonlocal doubt, sent
        entry = yield from _looked(place, key, newest, doubt)
        if sent is not None and sent.listed and sent.is_there(entry):
            return sent.result  # whoever did it: it says what is there afterwards
        doubt = doubt and doubt.left(entry)
        try:
            change = plan(entry)
        except KeyNotFound:
            if doubt is None:
                raise
            raise doubt.conflict() from None
        try:
            sent = change
            yield from _send(place, key, change, newest)
        except KintoError as error:
            doubt = _doubted(error, change, doubt)
            raise Raced(error) from error
        return change.result

    return (yield from _again(once))


def _pop(place: Place, key: str) -> Flow[JsonValue]:
    """Read a root key, and delete it if it is still so; both again when it changed."""
    doubt: Doubt | None = None
    newest = Newest()

    def once() -> Flow[JsonValue]:
        nonlocal doubt
        entry = yield from _looked(place, key, newest, doubt)
        doubt = doubt and doubt.left(entry)
        removed = value_of(entry, key)
        try:
            reply = yield from _delete(place, key, _unchanged(entry), base=removed)
        except KeyNotFound:
            if doubt is None:
                raise
            raise doubt.conflict() from None
        try:
            _check_deleted(reply, key, newest)
        except BadReply as error:
            change = Change(entry, None, None, removed, removed, once=True)
            doubt = _doubted(error, change, doubt)
            raise Raced(error) from error
        return removed

    return (yield from _again(once))


def _looked(place: Place, key: str, newest: Newest, doubt: Doubt | None) -> Flow[Entry | None]:
    """Read a root key's record, nothing older than what was read before.

    When what became of a change cannot be read, the change's own error counts.
    """
    try:
        entry = yield from _record(place, key)
    except TransportError:
        if doubt is None:
            raise
        raise doubt.error from None
    old = newest.read(entry, key)
    if old is not None:
        raise Raced(old) if doubt is None else doubt.error
    return entry


def _doubted(error: KintoError, change: Change[Any], earlier: Doubt | None) -> Doubt | None:
    """What is in doubt after a change failed; any other failure goes on up."""
    doubt = Doubt(change, error, earlier)
    if isinstance(error, ResponseError) and raced(error, change):
        return doubt if error.lost else earlier
    if not in_doubt(error, change) or doubt.is_too_often:
        raise error
    return doubt


def _send(place: Place, key: str, change: Change[Any], newest: Newest) -> Flow[None]:
    """Write a change into what was read, if it is still so."""
    if change.operations is None:
        yield from _put(place, key, change.value, _unchanged(change.entry), newest)
    elif change.operations:
        body = encode(change.operations, f"the value of {key!r}")
        headers = _unchanged(change.entry) | {"Content-Type": JSON_PATCH}
        path = place.of(keypath.record_id(key), "record")
        request = Request("PATCH", path, "", body, headers, True, not change.once)
        reply = yield from ask(request, f"change the key {key!r}", place.making().parents)
        data = _stored(reply, key, change.value)
        newest.require_later(reply, data["last_modified"], or_same=change.changes_nothing)


def _put(
    place: Place, key: str, value: JsonValue, precondition: dict[str, str], newest: Newest
) -> Flow[None]:
    body = encode({"data": {"key": key, "value": value}}, f"the value of {key!r}")
    path = place.of(keypath.record_id(key), "record")
    request = Request("PUT", path, body=body, headers=precondition)
    reply = yield from ask(request, f"set the key {key!r}", place.making().parents)
    data = _stored(reply, key, value)
    _require(data.get("key") == key, reply, "stored")
    newest.require_later(reply, data["last_modified"])


def _delete(
    place: Place,
    key: str,
    precondition: dict[str, str],
    *,
    missing_ok: bool = False,
    base: JsonValue = None,
) -> Flow[Reply | None]:
    """Delete a root key; the answer, which is still to be looked at. None: nothing was there."""
    path = place.of(keypath.record_id(key), "record")
    request = Request("DELETE", path, headers=precondition)
    try:
        return (yield from ask(request, f"delete the key {key!r}", place.explaining().parents))
    except ResponseError as error:
        gone = is_absent(error, place)
        if gone and missing_ok:
            return None
        if (gone or error.status == 412) and error.lost:
            raise unconfirmed(error, base) from error
        if gone:
            raise no_key(key) from error
        if error.status == 412 and precondition:
            raise Raced(error) from error
        raise


def _check_deleted(reply: Reply | None, key: str, newest: Newest) -> None:
    """Make sure that an answer says that a root key was deleted, after it was read."""
    if reply is None:
        return
    data = _told(reply, key)
    _require(data.get("deleted") is True and data["last_modified"] > 0, reply, "deleted")
    newest.require_later(reply, data["last_modified"])


def _again(once: Callable[[], Flow[T]]) -> Flow[T]:
    """Read and write, and do both again when another writer was first.

    Raises:
        Conflict: Other writers were first each time, or the call's time is over.
    """
    last: KintoError | None = None
    for attempt in range(_ATTEMPTS):
        began = time.monotonic()
        try:
            return (yield from once())
        except Raced as lost:
            last = lost.error
        except Timeout as error:
            if last is None or error.lost:
                raise
            break  # the call's time was over before anything was sent
        yield Pause(race_pause(attempt, began))
    raise lost_race(last) if last else AssertionError


def _told(reply: Reply, key: str) -> dict[str, Any]:
    """The record in an answer.

    Raises:
        BadReply: It is about another one.
    """
    data: dict[str, Any] = reply.object["data"]
    reply.require_id(data, keypath.record_id(key))
    return data


def _stored(reply: Reply, key: str, value: JsonValue) -> dict[str, Any]:
    """The record in the answer to a write.

    Raises:
        BadReply: It does not say that this value is stored under this key.
    """
    data = _told(reply, key)
    said = "value" in data and alike(as_stored(data["value"]), as_stored(value))
    _require(said and data["last_modified"] > 0, reply, "stored")
    return data


def _require(condition: bool, reply: Reply, what: str) -> None:
    if not condition:
        raise reply.bad(f"{reply.complaint()} It does not say that the key was {what}.")


def _unchanged(entry: Entry | None) -> dict[str, str]:
    """The precondition that nobody wrote since the record was read."""
    return if_none_match() if entry is None else if_match(entry["last_modified"])
