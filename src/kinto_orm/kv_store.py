"""How a Kinto server keeps key values: each root key is a record of the collection `kv`.

The record is `{"key": ..., "value": ...}`, its id follows from the key. So two keys never contend,
and permissions, history and ETags come with them. What is written below a root key is one
JSON-Patch with a precondition, made anew when another writer was first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from pydantic import JsonValue

from kinto_orm import keypath
from kinto_orm.conditions import col
from kinto_orm.encoding import encode
from kinto_orm.errors import (
    BadReply,
    KeyNotFound,
    KintoError,
    ResponseError,
    Timeout,
    TransportError,
)
from kinto_orm.jsonvalues import alike, as_stored
from kinto_orm.kv_changes import (
    Change,
    Doubt,
    Entry,
    Place,
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
from kinto_orm.kv_entries import (
    COLLECTION,
    ListedEntry,
    chunks,
    is_absent,
    key_of,
    keyed,
    present,
)
from kinto_orm.protocol import (
    JSON_PATCH,
    Call,
    Parents,
    Reply,
    Request,
    if_match,
    if_none_match,
    require_id,
    segment,
)
from kinto_orm.query import Query
from kinto_orm.retrying import pause
from kinto_orm.session import Session

T = TypeVar("T")

_ATTEMPTS: Final = 31
_VALUES_IN_A_PAGE: Final = 100


class KintoStore:
    """The keys of one bucket on a Kinto server.

    Args:
        session: Runs the calls.
        bucket: The bucket's id.
    """

    def __init__(self, session: Session, bucket: str) -> None:
        self._session = session.scoped(bucket=bucket, collection=COLLECTION)

    def read(self, key: str) -> JsonValue:
        """Fetch a root key's value (`GET`)."""
        return value_of(self._record(key), key)

    def read_many(self, keys: Iterable[str]) -> dict[str, JsonValue]:
        """Fetch several root keys (`GET ?in_id=...`); missing ones are left out."""
        found: dict[str, JsonValue] = {}
        for chunk in chunks(keypath.record_id(key) for key in keys):
            entries = self._session.get_many(ListedEntry, chunk)
            found.update(present(keyed(entries.values())))
        return found

    def keys(self, prefix: str) -> Iterator[str]:
        """List root keys, by their records' ids."""
        return (key for key, _ in self._found(prefix, lambda query: query.only("id")))

    def items(self, prefix: str) -> Iterator[tuple[str, JsonValue]]:
        """List root keys with their values."""
        return present(self._found(prefix, lambda query: query.page_size(_VALUES_IN_A_PAGE)))

    def count(self, prefix: str) -> int:
        """Count root keys (`HEAD` for all of them, and a look at the ids that are encoded)."""
        if prefix:
            return sum(1 for _ in self.keys(prefix))
        return self._all().count() - sum(1 for _ in self._strays())

    def write(self, key: str, segments: Sequence[str], value: JsonValue) -> None:
        """Store a value."""
        if not segments:
            self._put(key, value, {})
            return
        place = Place(key, segments)

        def plan(entry: Entry | None) -> Change[JsonValue]:
            place.check(entry)
            return writing(entry, key, segments, value)

        self._change(key, plan)

    def add(self, key: str, segments: Sequence[str], value: JsonValue) -> JsonValue:
        """Store a value where there is none, and give what is there now."""
        place = Place(key, segments)

        def plan(entry: Entry | None) -> Change[JsonValue]:
            place.check(entry)
            try:
                there = keypath.read(value_of(entry, key), segments, key)
            except KeyNotFound:
                return writing(entry, key, segments, value)
            return Change(entry, [], None, there)

        return self._change(key, plan)

    def delete(self, key: str, segments: Sequence[str], missing_ok: bool) -> None:
        """Remove a value; an item of a list only while it is the one that was read first."""
        if not segments:
            self._delete(key, {}, missing_ok=missing_ok)
            return
        place = Place(key, segments)

        def plan(entry: Entry | None) -> Change[JsonValue]:
            place.check(entry, may_be_gone=True)
            try:
                moves = keypath.meets_list(value_of(entry, key), segments)
                return removing(entry, key, segments, once=moves)
            except KeyNotFound:
                if not missing_ok:
                    raise
                return Change(entry, [], None, None)

        self._change(key, plan)

    def pop(self, key: str, segments: Sequence[str]) -> JsonValue:
        """Remove a value, and give it."""
        if segments:
            return self._change(
                key, lambda entry: removing(entry, key, segments, once=True, common=True)
            )

        def once() -> JsonValue:
            entry = self._record(key)
            removed = value_of(entry, key)
            self._delete(key, _unchanged(entry), base=removed)
            return removed

        return self._again(once)

    def clear(self) -> None:
        """Remove every key (`DELETE` on the collection's records)."""
        if not any(True for _ in self._strays()):
            self._all().delete()
            return
        for chunk in chunks([keypath.record_id(key) for key in self.keys("")]):
            self._all().where(col(ListedEntry.id).in_(chunk)).delete()

    def __repr__(self) -> str:
        return f"bucket {self._session.bucket!r} on {self._session.server_url}"

    # Requests

    def _record(self, key: str) -> Entry | None:
        """Fetch a root key's record, None when there is none."""
        parents = self._parents().explaining()

        def refused(error: ResponseError, _: Reply) -> None:
            if not is_absent(error, self._session, parents.bucket):
                raise error

        call: Call[Entry | None] = Call(
            Request("GET", self._path(key)),
            lambda reply: _told(reply, key),
            f"read the key {key!r}",
            refused,
            parents,
        )
        return self._session.run(call)

    def _change(self, key: str, plan: Callable[[Entry | None], Change[T]]) -> T:
        """Read, and write what is planned below the root key; both again when it changed."""
        doubt: Doubt | None = None
        sent: Change[T] | None = None

        def once() -> T:
            nonlocal doubt, sent
            entry = self._record(key) if doubt is None else self._looked(key, doubt)
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
                self._send(key, change)
            except KintoError as error:
                doubt = self._doubted(error, change, doubt)
                raise Raced(error) from error
            return change.result

        return self._again(once)

    def _looked(self, key: str, doubt: Doubt) -> Entry | None:
        """Read what became of a change; when that cannot be read, its own error counts."""
        try:
            return self._record(key)
        except TransportError:
            raise doubt.error from None

    def _doubted(
        self, error: KintoError, change: Change[Any], earlier: Doubt | None
    ) -> Doubt | None:
        """What is in doubt after a change failed; any other failure goes on up."""
        doubt = Doubt(change, error, earlier)
        if isinstance(error, ResponseError) and raced(error, change):
            return doubt if error.lost else earlier
        if not in_doubt(error, change) or doubt.is_too_often:
            raise error
        return doubt

    def _send(self, key: str, change: Change[Any]) -> None:
        """Write a change into what was read, if it is still so."""
        if change.operations is None:
            self._put(key, change.value, _unchanged(change.entry))
        elif change.operations:
            body = encode(change.operations, f"the value of {key!r}")
            headers = _unchanged(change.entry) | {"Content-Type": JSON_PATCH}
            request = Request("PATCH", self._path(key), "", body, headers, True, not change.once)
            self._run(
                request, lambda reply: _stored(reply, key, change.value), f"change the key {key!r}"
            )

    def _put(self, key: str, value: JsonValue, precondition: dict[str, str]) -> None:
        body = encode({"data": {"key": key, "value": value}}, f"the value of {key!r}")
        request = Request("PUT", self._path(key), body=body, headers=precondition)

        def receive(reply: Reply) -> None:
            _require(_stored(reply, key, value).get("key") == key, reply, "stored")

        self._run(request, receive, f"set the key {key!r}")

    def _delete(
        self,
        key: str,
        precondition: dict[str, str],
        *,
        missing_ok: bool = False,
        base: JsonValue = None,
    ) -> None:
        def refused(error: ResponseError, _: Reply) -> None:
            gone = is_absent(error, self._session, self._session.resolve_bucket())
            if gone and missing_ok:
                return
            if (gone or error.status == 412) and error.lost:
                raise unconfirmed(error, base)
            if gone:
                raise no_key(key) from error
            raise Raced(error) if error.status == 412 and precondition else error

        request = Request("DELETE", self._path(key), headers=precondition)
        parents = self._parents().explaining()
        self._run(
            request, lambda reply: _gone(reply, key), f"delete the key {key!r}", refused, parents
        )

    def _run(
        self,
        request: Request,
        receive: Callable[[Reply], Any],
        doing: str,
        refused: Callable[[ResponseError, Reply], None] | None = None,
        parents: Parents | None = None,
    ) -> None:
        self._session.run(Call(request, receive, doing, refused, parents or self._parents()))

    def _again(self, once: Callable[[], T]) -> T:
        """Read and write, and do both again when another writer was first.

        Raises:
            Conflict: Other writers were first each time, or the call's time is over.
        """
        last: KintoError | None = None
        with self._session.one_call():
            for attempt in range(_ATTEMPTS):
                began = time.monotonic()
                try:
                    return once()
                except Raced as raced:
                    last = raced.error
                except Timeout as error:
                    if last is None or error.lost:
                        raise
                    break  # the call's time was over before anything was sent
                pause(attempt, began)
        raise lost_race(last) if last else AssertionError

    def _parents(self) -> Parents:
        return Parents(self._session.resolve_bucket(), COLLECTION, True)

    def _path(self, key: str) -> str:
        bucket = segment(self._session.resolve_bucket(), "bucket")
        return f"/buckets/{bucket}/collections/{COLLECTION}/records/{keypath.record_id(key)}"

    def _all(self) -> Query[ListedEntry]:
        """Ask for what is a key: a record that was put there by hand may have no value."""
        return ListedEntry.find(col(ListedEntry.value).exists(), session=self._session)

    def _strays(self) -> Iterator[str]:
        """Fetch the ids of records that were put there by hand, under ids that no key has.

        Those look encoded: any other id is its own key.
        """
        encoded = self._all().where(col(ListedEntry.id).like(f"{keypath.ENCODED}*"))
        return (entry.id for entry in encoded.only("id") if key_of(entry.id) is None)

    def _found(
        self, prefix: str, shape: Callable[[Query[ListedEntry]], Query[ListedEntry]]
    ) -> Iterator[tuple[str, ListedEntry]]:
        """Fetch the entries of all keys with a prefix."""
        query = shape(self._all())
        if not prefix:
            yield from keyed(query)
        for start in keypath.id_prefixes(prefix):
            for key, entry in keyed(query.where(col(ListedEntry.id).like(f"{start}*"))):
                # An id that is encoded may look as if it began with the prefix itself.
                if key.startswith(prefix) and (key == entry.id) == (start == prefix):
                    yield key, entry


def _told(reply: Reply, key: str) -> dict[str, Any]:
    """The record in an answer.

    Raises:
        BadReply: It is about another one.
    """
    data: dict[str, Any] = reply.object["data"]
    require_id(data, keypath.record_id(key))
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


def _gone(reply: Reply, key: str) -> None:
    """Make sure that an answer says that a key was deleted."""
    data = _told(reply, key)
    _require(data.get("deleted") is True and data["last_modified"] > 0, reply, "deleted")


def _require(condition: bool, reply: Reply, what: str) -> None:
    if not condition:
        raise BadReply(f"{reply.complaint()} It does not say that the key was {what}.")


def _unchanged(entry: Entry | None) -> dict[str, str]:
    """The precondition that nobody wrote since the record was read."""
    return if_none_match() if entry is None else if_match(entry["last_modified"])
