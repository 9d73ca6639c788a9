"""How a Kinto server keeps key values: each root key is a record of the collection `kv`.

The record is `{"key": ..., "value": ...}`, its id follows from the key. So two keys never contend,
and permissions, history and ETags come with them. What is written below a root key is one
JSON-Patch with a precondition, made anew when another writer was first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, Self, TypeVar

from pydantic import JsonValue

from kinto_orm import keypath
from kinto_orm.conditions import col
from kinto_orm.encoding import encode
from kinto_orm.errors import (
    Conflict,
    Forbidden,
    InvalidData,
    KeyNotFound,
    NotFound,
    PathError,
    ResponseError,
    ServerError,
)
from kinto_orm.jsonvalues import as_stored
from kinto_orm.protocol import (
    JSON_PATCH,
    Call,
    Parents,
    Reply,
    Request,
    if_match,
    if_none_match,
    is_hidden,
    segment,
)
from kinto_orm.query import Listing, Query
from kinto_orm.record import Record
from kinto_orm.retrying import retry_on_conflict
from kinto_orm.session import Session

T = TypeVar("T")
E = TypeVar("E", bound=Record)

COLLECTION: Final = "kv"

_ATTEMPTS: Final = 30
_KEYS_IN_A_REQUEST: Final = 100
_LENGTH_OF_KEYS: Final = 3500  # characters in a URL: some servers take no more than 4,000
_QUOTES: Final = len("%22%22%2C")  # around each of them
_VALUES_IN_A_PAGE: Final = 100

# facts: Kinto answers 503 with this number when the database rolled the write back
_ERRNO_BACKEND: Final = 201


class _Entry(Record, collection=COLLECTION):
    """The record of one root key, as far as it is needed for lists of them."""

    value: JsonValue = None

    @classmethod
    def _home(cls, session: Session) -> tuple[str, Parents | None]:
        path, parents = super()._home(session)
        # Reading makes nothing.
        return path, parents and parents.explaining()

    @classmethod
    def find(cls, *conditions: Any, session: Session | None = None) -> Query[Self]:
        return UnmadeQuery(cls, session).where(*conditions)


class UnmadeQuery(Query[E]):
    """A query of a collection that the first write makes: it finds nothing before that."""

    def count(self) -> int:
        """How many there are."""
        return self._or_nothing(super().count, 0)

    def delete(self) -> int:
        """Delete all of them that you may write."""
        return self._or_nothing(super().delete, 0)

    def _fetch(self, listing: Listing[E], query: str) -> Reply:
        nothing = Reply(200, {}, b'{"data":[]}')
        return self._or_nothing(lambda: super(UnmadeQuery, self)._fetch(listing, query), nothing)

    def _or_nothing(self, ask: Callable[[], T], nothing: T) -> T:
        try:
            return ask()
        except (NotFound, Forbidden) as error:
            if not self._is_absent(error):
                raise
            return nothing

    def _is_absent(self, error: ResponseError) -> bool:
        if error.request is not None and error.request.method == "HEAD":
            # Without a body it does not show whether Kinto said it.
            return not self.exists()
        listing = self._listing()
        return is_absent(error, listing.session, listing.path.split("/")[2])


def is_absent(error: ResponseError, session: Session, bucket: str) -> bool:
    """Whether nothing is there: Kinto says 403 of a personal bucket that was never used."""
    return isinstance(error, NotFound) or (is_hidden(error) and session.is_personal(bucket))


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
        return _value(self._record(key), key)

    def read_many(self, keys: Iterable[str]) -> dict[str, JsonValue]:
        """Fetch several root keys (`GET ?in_id=...`); missing ones are left out."""
        found: dict[str, JsonValue] = {}
        for chunk in chunks(keypath.record_id(key) for key in keys):
            entries = self._session.get_many(_Entry, chunk)
            found.update(_present(_keyed(entries.values())))
        return found

    def keys(self, prefix: str) -> Iterator[str]:
        """List root keys, by their records' ids."""
        return (key for key, _ in self._found(prefix, lambda query: query.only("id")))

    def items(self, prefix: str) -> Iterator[tuple[str, JsonValue]]:
        """List root keys with their values."""
        return _present(self._found(prefix, lambda query: query.page_size(_VALUES_IN_A_PAGE)))

    def count(self, prefix: str) -> int:
        """Count root keys (`HEAD` for all of them, and a look at the ids that are encoded)."""
        if prefix:
            return sum(1 for _ in self.keys(prefix))
        return self._all().count() - sum(1 for _ in self._strays())

    def write(self, key: str, segments: Sequence[str], value: JsonValue) -> None:
        """Store a value."""
        if segments:
            self._again(lambda: self._write_over(self._record(key), key, segments, value))
        else:
            self._put(key, value, {})

    def add(self, key: str, segments: Sequence[str], value: JsonValue) -> JsonValue:
        """Store a value where there is none, and give what is there now."""

        def once() -> JsonValue:
            record = self._record(key)
            try:
                return keypath.read(_value(record, key), segments, key)
            except KeyNotFound:
                self._write_over(record, key, segments, value)
                return value

        return self._again(once)

    def delete(self, key: str, segments: Sequence[str]) -> None:
        """Remove a value; an item of a list only while it is the one that was read first."""
        if not segments:
            self._delete(key, {})
            return
        first: list[JsonValue] = []

        def once() -> Conflict | None:
            record = self._record(key)
            value = _value(record, key)
            item = keypath.read(value, segments, key)
            if first and item != first[0] and _meets_list(value, segments, key):
                return _moved(key, segments, first[0], item)
            first[:] = [item]
            self._remove_below(record, key, segments)
            return None

        moved = self._again(once)
        if moved is not None:
            raise moved

    def pop(self, key: str, segments: Sequence[str]) -> JsonValue:
        """Remove a value, and give it."""

        def once() -> JsonValue:
            record = self._record(key)
            removed = keypath.read(_value(record, key), segments, key)
            if segments:
                self._remove_below(record, key, segments)
            else:
                self._delete(key, _unchanged(record))
            return removed

        return self._again(once)

    def clear(self) -> None:
        """Remove every key (`DELETE` on the collection's records)."""
        if not any(True for _ in self._strays()):
            self._all().delete()
            return
        for chunk in chunks([keypath.record_id(key) for key in self.keys("")]):
            self._all().where(col(_Entry.id).in_(chunk)).delete()

    def __repr__(self) -> str:
        return f"bucket {self._session.bucket!r} on {self._session.server_url}"

    # Requests

    def _record(self, key: str) -> dict[str, Any] | None:
        """Fetch a root key's record, None when there is none."""
        parents = self._parents().explaining()

        def refused(error: ResponseError, _: Reply) -> None:
            if not is_absent(error, self._session, parents.bucket):
                raise error

        call: Call[dict[str, Any] | None] = Call(
            Request("GET", self._path(key)),
            lambda reply: reply.json["data"],
            f"read the key {key!r}",
            refused,
            parents,
        )
        return self._session.run(call)

    def _write_over(
        self, record: dict[str, Any] | None, key: str, segments: Sequence[str], value: JsonValue
    ) -> None:
        """Write into what was read, if it is still so."""
        if record is None or "value" not in record:
            self._put(key, keypath.nest(segments, value), _unchanged(record))
            return
        operations = keypath.write_operations(record["value"], segments, value, key=key)
        # An append that is sent twice would append twice.
        self._patch(record, key, operations, repeatable=segments[-1] != keypath.APPEND)

    def _remove_below(
        self, record: dict[str, Any] | None, key: str, segments: Sequence[str]
    ) -> None:
        if record is None or "value" not in record:
            raise _no_key(key)
        operations = keypath.delete_operations(record["value"], segments, key=key)
        self._patch(record, key, operations, repeatable=False)

    def _put(self, key: str, value: JsonValue, precondition: dict[str, str]) -> None:
        body = encode({"data": {"key": key, "value": value}}, f"the value of {key!r}")
        request = Request("PUT", self._path(key), body=body, headers=precondition)
        self._run(request, f"set the key {key!r}")

    def _patch(
        self,
        record: dict[str, Any] | None,
        key: str,
        operations: Sequence[keypath.JsonPatchOp],
        *,
        repeatable: bool,
    ) -> None:
        body = encode(operations, f"the value of {key!r}")
        headers = _unchanged(record) | {"Content-Type": JSON_PATCH}
        request = Request("PATCH", self._path(key), "", body, headers, True, repeatable)
        tests = operations[0]["op"] == "test"

        def refused(error: ResponseError, _: Reply) -> NoReturn:
            lost = (
                isinstance(error, NotFound)
                or (isinstance(error, InvalidData) and tests)
                or (isinstance(error, ServerError) and error.errno == _ERRNO_BACKEND)
            )
            raise _lost_race(error) if lost else error

        self._run(request, f"change the key {key!r}", refused)

    def _delete(self, key: str, precondition: dict[str, str]) -> None:
        def refused(error: ResponseError, reply: Reply) -> None:
            if not is_absent(error, self._session, self._session.resolve_bucket()):
                raise error
            # The first answer may have been lost: then this one says what we did.
            if not reply.lost:
                raise _no_key(key) from error

        request = Request("DELETE", self._path(key), headers=precondition)
        self._run(request, f"delete the key {key!r}", refused, self._parents().explaining())

    def _run(
        self,
        request: Request,
        doing: str,
        refused: Callable[[ResponseError, Reply], None] | None = None,
        parents: Parents | None = None,
    ) -> None:
        self._session.run(Call(request, lambda _: None, doing, refused, parents or self._parents()))

    def _again(self, once: Callable[[], T]) -> T:
        """Read and write, and do both again when another writer was first."""
        return retry_on_conflict(_ATTEMPTS)(once)()

    def _parents(self) -> Parents:
        return Parents(self._session.resolve_bucket(), COLLECTION, True)

    def _path(self, key: str) -> str:
        bucket = segment(self._session.resolve_bucket(), "bucket")
        return f"/buckets/{bucket}/collections/{COLLECTION}/records/{keypath.record_id(key)}"

    def _all(self) -> Query[_Entry]:
        """Ask for what is a key: a record that was put there by hand may have no value."""
        return _Entry.find(col(_Entry.value).exists(), session=self._session)

    def _strays(self) -> Iterator[str]:
        """Fetch the ids of records that were put there by hand, under ids that no key has.

        Those look encoded: any other id is its own key.
        """
        encoded = self._all().where(col(_Entry.id).like(f"{keypath.ENCODED}*"))
        return (entry.id for entry in encoded.only("id") if _key_of(entry.id) is None)

    def _found(
        self, prefix: str, shape: Callable[[Query[_Entry]], Query[_Entry]]
    ) -> Iterator[tuple[str, _Entry]]:
        """Fetch the entries of all keys with a prefix."""
        query = shape(self._all())
        if not prefix:
            yield from _keyed(query)
        for start in keypath.id_prefixes(prefix):
            for key, entry in _keyed(query.where(col(_Entry.id).like(f"{start}*"))):
                # An id that is encoded may look as if it began with the prefix itself.
                if key.startswith(prefix) and (key == entry.id) == (start == prefix):
                    yield key, entry


def _value(record: Mapping[str, Any] | None, key: str) -> JsonValue:
    if record is None or "value" not in record:
        raise _no_key(key)
    return as_stored(record["value"])


def _no_key(key: str) -> KeyNotFound:
    return KeyNotFound(f"there is no key {key!r}")


def _unchanged(record: Mapping[str, Any] | None) -> dict[str, str]:
    """The precondition that nobody wrote since the record was read."""
    return if_none_match() if record is None else if_match(record["last_modified"])


def _lost_race(error: ResponseError) -> Conflict:
    return Conflict(
        f"{error} Another writer was first.",
        status=error.status,
        errno=error.errno,
        details=error.details,
        request=error.request,
    )


def _moved(key: str, segments: Sequence[str], base: JsonValue, remote: JsonValue) -> Conflict:
    conflict = Conflict(
        f"cannot delete {'/'.join((key, *segments))!r}: another writer changed the list meanwhile, "
        "and another item is there now. Nothing was deleted."
    )
    conflict.base, conflict.remote = base, remote
    return conflict


def _meets_list(value: JsonValue, segments: Sequence[str], key: str) -> bool:
    return any(
        isinstance(keypath.read(value, segments[:depth], key), list)
        for depth in range(len(segments))
    )


def _keyed(entries: Iterable[_Entry]) -> Iterator[tuple[str, _Entry]]:
    for entry in entries:
        key = _key_of(entry.id)
        if key is not None:
            yield key, entry


def _key_of(id: str) -> str | None:
    """The key of a record; None when it was put there by hand, under an id that no key has."""
    try:
        (key,) = keypath.parse((keypath.key_of(id),))
    except PathError:
        return None
    return key


def _present(entries: Iterable[tuple[str, _Entry]]) -> Iterator[tuple[str, JsonValue]]:
    return (
        (key, as_stored(entry.value)) for key, entry in entries if "value" in entry.model_fields_set
    )


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """Cut a list of ids into parts that fit into a URL."""
    chunk: list[str] = []
    length = 0
    for each in ids:
        length += len(each) + _QUOTES
        if chunk and (len(chunk) == _KEYS_IN_A_REQUEST or length > _LENGTH_OF_KEYS):
            yield chunk
            chunk, length = [], len(each) + _QUOTES
        chunk.append(each)
    if chunk:
        yield chunk
