"""What key values were: by the history of their records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from pydantic import JsonValue, TypeAdapter, ValidationError

from kinto_orm._shown import MOST_ROWS, Described, Shown, Table, line, table
from kinto_orm.errors import KeyNotFound
from kinto_orm.kv import keypath
from kinto_orm.kv.entries import COLLECTION, ListedEntry, home_of, keyed, present
from kinto_orm.queries.conditions import Condition, compile_conditions, field
from kinto_orm.queries.pager import Asked, Listing, Pager, reading_all
from kinto_orm.wire.flows import ANEW, Flow, ask
from kinto_orm.wire.jsonvalues import alike, as_stored
from kinto_orm.wire.messages import Reply, Request, segment
from kinto_orm.wire.places import Place, known_path, require
from kinto_orm.wire.scope import Scope

_ENTRIES_IN_A_PAGE: Final = 100
_DATE: Final = TypeAdapter(datetime)


@dataclass(frozen=True, slots=True, repr=False)
class KeyVersion(Described):
    """What was at a key path from a time on.

    Attributes:
        value: The JSON value; None when nothing was there, too.
        exists: Whether something was there.
        date: Since when, as the server writes it.
        user_id: Who wrote it.
        last_modified: Since when, in milliseconds; what `revert` takes.
    """

    value: JsonValue
    exists: bool
    date: datetime
    user_id: str
    last_modified: int


class KeysAt(Shown, Mapping[str | tuple[str, ...], JsonValue]):
    """The key values of a bucket as they were at a time, by key path; they are all in memory.

    Iterating and `len` are about the root keys.
    """

    def __init__(
        self,
        values: Mapping[str, JsonValue],
        parse: Callable[[str | tuple[str, ...]], Sequence[str]],
    ) -> None:
        """Use `kv.at(time)` instead."""
        self._values = values
        self._parse = parse

    def __getitem__(self, path: str | tuple[str, ...]) -> JsonValue:
        key, *segments = self._parse(path)
        if key not in self._values:
            raise KeyNotFound(f"there was no key {key!r}")
        return keypath.read(self._values[key], segments, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return line(f"<KeysAt {{{', '.join(map(repr, islice(self._values, MOST_ROWS)))}}}>")

    def __kinto_table__(self) -> Table:
        return table(f"{len(self)} root keys", ("key", "value"), self._values.items())


class KeyHistory:
    """The past of the keys of one bucket on a Kinto server.

    Args:
        scope: Over whose connection.
        bucket: The bucket's id.
    """

    def __init__(self, scope: Scope, bucket: str) -> None:
        self._scope = scope.scoped(bucket=bucket, collection=COLLECTION)

    def versions(self, key: str, segments: Sequence[str]) -> Iterator[Flow[list[KeyVersion]]]:
        """What was at a path, page by page, the newest first; equal ones after another are one."""
        pages = _Versions(self._scope, key, segments)
        while pages.has_more:
            yield pages.reading()

    def reading_at(self, key: str, segments: Sequence[str], when: int) -> Flow[JsonValue]:
        """Read what was at a path at a time, in milliseconds.

        Raises:
            KeyNotFound: Nothing was there.
        """
        question = yield from _entries_of(self._scope, key, when)
        for entry in (yield from reading_all(question)):
            version = _version(entry, key, segments)
            if version.exists:
                return version.value
        raise KeyNotFound(f"nothing was at {'/'.join((key, *segments))!r} at {when}")

    def snapshot(self, when: int) -> Flow[dict[str, JsonValue]]:
        """Read all root keys as they were (`GET /buckets/b/snapshot/collections/kv@time`)."""
        doing = "read the keys as they were"
        yield from require(self._scope, "history", doing)
        place = (yield from home_of(self._scope)).explaining()
        bucket = place.path.split("/")[2]
        path = f"/buckets/{bucket}/snapshot/collections/{COLLECTION}@{when}"
        reply = yield from ask(Request("GET", path), doing, place.parents)
        return dict(present(keyed(ListedEntry(each["id"], each) for each in reply.objects)))


class _Versions:
    """Pages of versions, one after the other.

    Attributes:
        has_more: Whether there is a page to be read.
    """

    def __init__(self, scope: Scope, key: str, segments: Sequence[str]) -> None:
        self._scope = scope
        self._key = key
        self._segments = segments
        self._pages: Pager[ListedEntry] | None = None
        self._newer: KeyVersion | None = None
        self.has_more = True

    def reading(self) -> Flow[list[KeyVersion]]:
        """Fetch the next page of the record's history, and choose what changed the value."""
        if self._pages is None:
            self._pages = yield from (
                yield from _entries_of(self._scope, self._key, None)
            ).opening()
        entries = self._pages.take((yield from self._pages.fetching()))
        self.has_more = self._pages.has_more
        yield ANEW
        found = [*self._changes(_version(each, self._key, self._segments) for each in entries)]
        if not self.has_more and self._newer is not None and self._newer.exists:
            found.append(self._newer)
        return found

    def _changes(self, versions: Iterable[KeyVersion]) -> Iterator[KeyVersion]:
        """Versions that are followed by an older one of another value."""
        for each in versions:
            newer, self._newer = self._newer, each
            if newer is not None and not _same(newer, each):
                yield newer


def _same(one: KeyVersion, other: KeyVersion) -> bool:
    return one.exists == other.exists and alike(one.value, other.value)


def _version(entry: ListedEntry, key: str, segments: Sequence[str]) -> KeyVersion:
    """What an entry of the history says of a path."""
    data = entry.data["target"]["data"]
    value, exists = None, "value" in data
    if exists:
        try:
            value = keypath.read(as_stored(data["value"]), segments, key)
        except KeyNotFound:
            exists = False
    date = _DATE.validate_python(entry.data["date"])
    return KeyVersion(value, exists, date, entry.data["user_id"], data["last_modified"])


@dataclass(frozen=True, slots=True)
class _Entries:
    """A question about the history of one record, the newest entry first."""

    place: Place
    conditions: tuple[Condition, ...]
    most: int | None

    def opening(self) -> Flow[Pager[ListedEntry]]:
        """Open its pages."""
        yield from ()
        asked = Asked(
            filters=(compile_conditions(self.conditions),),
            sort="-last_modified",
            by_default="-last_modified",
            most=self.most,
            fields=None,
            stored=None,
            size=_ENTRIES_IN_A_PAGE,
            doing="read the history of a key",
        )
        return Pager(Listing(self.place, _listed), asked)


def _entries_of(scope: Scope, key: str, when: int | None) -> Flow[_Entries]:
    """The question for all that a root key was, or for what it was at a time."""
    yield from require(scope, "history", "read the history of a key")
    place = (yield from home_of(scope)).explaining()
    bucket = place.path.split("/")[2]
    conditions = [field("uri") == place.of(keypath.record_id(key), "record")]
    if when is not None:
        conditions.append(field("target")["data"]["last_modified"] <= when)
    history = Place(place.scope, f"/buckets/{bucket}/history", place.parents)
    return _Entries(history, tuple(conditions), None if when is None else 1)


def uri_of(scope: Scope, bucket: str, key: str) -> str:
    """The path of a root key's record, as far as it is known without asking."""
    inside = f"/buckets/{segment(bucket, 'bucket')}/collections/{COLLECTION}/records"
    return f"{known_path(scope, inside)}/{segment(keypath.record_id(key), 'record')}"


def _listed(reply: Reply, _: object) -> list[ListedEntry]:
    """The entries of a page.

    Raises:
        BadReply: One is no entry of a history.
    """
    found = reply.objects
    reply.require(all(map(_is_entry, found)))
    return [ListedEntry(each["id"], each) for each in found]


def _is_entry(raw: Mapping[str, Any]) -> bool:
    target = raw.get("target")
    data = target.get("data") if isinstance(target, dict) else None
    try:
        _DATE.validate_python(raw.get("date"))
    except ValidationError:
        return False
    is_user = isinstance(raw.get("user_id"), str)
    return is_user and isinstance(data, dict) and type(data.get("last_modified")) is int
