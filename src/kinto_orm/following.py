"""Following what changes in a collection, so that nothing is missed.

A reader that asks for everything since the last timestamp it saw misses records on PostgreSQL:
a writer whose timestamp is older may commit later. So a page of changes counts as complete only
up to two seconds before the collection's own timestamp, as it was when the page was read. The
next pass begins there, and what was seen already is dropped; timestamps are unique in a
collection. (By experiment with Kinto 26.5: without the look-back 1 to 8 of 385 changes were
missed, with it none.)
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kinto_orm.errors import BadReply, CollectionReset, Forbidden, InvalidData
from kinto_orm.jsonvalues import is_storable, join
from kinto_orm.pages import Circle, next_position
from kinto_orm.protocol import Call, Reply, Request, query_string, timestamp
from kinto_orm.query import Listing

if TYPE_CHECKING:
    from kinto_orm.reading import Readable

    M = TypeVar("M", bound=Readable)
else:
    M = TypeVar("M")

_LOOK_BACK = 2000
_PAGE = 100

Entry = dict[str, Any]
Params = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a reader came; all times are the server's, in milliseconds.

    Attributes:
        floor: Up to this time everything was seen; the next pass begins here.
        high: The highest timestamp seen.
        witness: The id of the object that had it; it must still be there, or its tombstone.
        seen: The timestamps above the floor that were seen.
        after: While the first pass lasts: the last id that was given out.
    """

    floor: int
    high: int
    witness: str = ""
    seen: frozenset[int] = frozenset()
    after: str | None = None

    def token(self) -> str:
        seen = sorted(each - self.floor for each in self.seen if each > self.floor)
        parts = [self.floor, self.high, self.witness, seen, self.after]
        return json.dumps(parts, separators=(",", ":"))

    @classmethod
    def of(cls, token: str) -> _Mark:
        try:
            floor, high, witness, seen, after = json.loads(token)
            valid = all(type(each) is int and each >= 0 for each in (floor, high, *seen))
            ids = (witness, "" if after is None else after)
            valid = valid and all(isinstance(each, str) and is_storable(each) for each in ids)
        except (ValueError, TypeError, RecursionError):
            valid = False
        if not valid:
            raise InvalidData(f"{token!r:.200} is no token of changes(); start with since=None")
        return cls(floor, high, witness, frozenset(floor + each for each in seen), after)

    def given(self, entries: Sequence[Entry]) -> _Mark:
        """The mark after these entries of the first pass."""
        stamps = (each["last_modified"] for each in entries)
        seen = self.seen.union(each for each in stamps if each > self.floor)
        after = entries[-1]["id"] if entries else self.after
        return dataclasses.replace(self, seen=seen, after=after)

    def moved(self, entries: Sequence[Entry], complete: int) -> _Mark:
        """The mark after these entries of a later pass.

        Args:
            entries: In the order of their timestamps.
            complete: Up to this time nothing can come that was not read.
        """
        if not entries:
            return self
        last = entries[-1]
        floor = max(self.floor, min(last["last_modified"], complete))
        stamps = self.seen.union(each["last_modified"] for each in entries)
        high, witness = max(
            (self.high, self.witness), (last["last_modified"], last["id"]), key=lambda pair: pair[0]
        )
        return _Mark(floor, high, witness, frozenset(each for each in stamps if each > floor))


@dataclass(frozen=True, slots=True)
class Change(Generic[M]):
    """Something that happened to an object; Created, Updated or Deleted.

    Attributes:
        id: The object's id.
        last_modified: Milliseconds, when it happened.
        object: The object as it is now; None for a deleted one.
    """

    id: str
    last_modified: int
    object: M | None
    _mark: _Mark = field(repr=False, compare=False)
    _page: list[Entry] = field(repr=False, compare=False)
    _index: int = field(repr=False, compare=False)
    _complete: int = field(repr=False, compare=False, default=0)

    @property
    def token(self) -> str:
        """What `changes(since=...)` goes on from after this change; a short text."""
        given = self._page[: self._index + 1]
        if self._mark.after is not None:
            return self._mark.given(given).token()
        return self._mark.moved(given, self._complete).token()


class Created(Change[M]):
    """An object that was not there before."""

    __slots__ = ()
    object: M


class Updated(Change[M]):
    """An object that was changed."""

    __slots__ = ()
    object: M


class Deleted(Change[M]):
    """An object that is gone; `object` is None."""

    __slots__ = ()
    object: None


AnyChange = Created[M] | Updated[M] | Deleted[M]
"""What checkers tell apart: the object of a Deleted is None, the others have one."""


class Follower(Generic[M]):
    """Reads the changes of one collection, pass by pass.

    Args:
        listing: Where the objects are.
        name: What is followed, for messages.
        since: A token, or None for everything from the beginning.
        size: How many entries to fetch with one request, at most 100.
    """

    def __init__(
        self, listing: Listing[M], name: str, since: str | None, size: int | None = None
    ) -> None:
        self._listing = listing
        self._name = name
        # The history is asked for all ids of a page, and a URL has its limits.
        self._size = min(size or _PAGE, _PAGE)
        self._mark = _Mark.of(since) if since is not None else None
        self._etag: int | None = None

    def once(self) -> Iterator[AnyChange[M]]:
        """All changes until now."""
        mark = self._mark or self._start()
        if mark.after is not None:
            yield from self._first_pass(mark)
        yield from self._later_pass(self._mark or mark)

    def forever(self, interval: float, stop: threading.Event) -> Iterator[AnyChange[M]]:
        """The changes as they come, asking every `interval` seconds until `stop` is set."""
        last_change = time.monotonic()
        while not stop.is_set():
            for change in self.once():
                yield change
                last_change = time.monotonic()
            stop.wait(interval)
            # A late writer does not move the collection's timestamp, so that "nothing is new"
            # can be believed only after the time that a pass looks back.
            if time.monotonic() - last_change > _LOOK_BACK / 1000:
                self._wait_for_change(interval, stop)

    def _wait_for_change(self, interval: float, stop: threading.Event) -> None:
        while self._etag is not None and not stop.is_set():
            reply = self._ask("HEAD", [("_limit", "1")], {"If-None-Match": f'"{self._etag}"'})
            if reply.status != 304:
                return
            stop.wait(interval)

    def _start(self) -> _Mark:
        """The mark before the first pass.

        What can be read now and is no older than the look-back was seen: the first pass gives
        it out if it is there, and what is deleted already is nothing to tell.
        """
        now = timestamp(self._ask("HEAD", [("_limit", "1")]).headers) or 0
        mark = _Mark(max(now - _LOOK_BACK, 0), now, after="")
        for page in self._pages(_since(mark.floor)):
            old = [each for each in page.objects if each["last_modified"] <= now]
            witness = next((each["id"] for each in old if each["last_modified"] == now), "")
            seen = mark.seen.union(each["last_modified"] for each in old)
            mark = dataclasses.replace(mark, seen=seen, witness=witness or mark.witness)
            if len(old) < len(page.objects):
                break
        return mark

    def _first_pass(self, mark: _Mark) -> Iterator[AnyChange[M]]:
        """Every object as it is, by id, up to the time at which the pass began.

        What changes meanwhile has a later timestamp and belongs to the later pass.
        """
        params = [("_sort", "id")]
        if mark.after:
            params.append(("gt_id", json.dumps(mark.after)))
        for page in self._pages(params):
            old = [each for each in page.objects if each["last_modified"] <= mark.high]
            for index, (entry, made) in enumerate(zip(old, self._load(old), strict=True)):
                yield Created(entry["id"], entry["last_modified"], made, mark, old, index)
            mark = self._mark = mark.given(old)
        self._mark = dataclasses.replace(mark, after=None)

    def _later_pass(self, mark: _Mark) -> Iterator[AnyChange[M]]:
        limit: int | None = None
        for number, page in enumerate(self._pages(_since(mark.floor))):
            entries = page.objects
            if number == 0:
                self._etag = timestamp(page.headers)
                self._check_witness(mark, entries)
            settled = (timestamp(page.headers) or 0) - _LOOK_BACK
            complete = entries[-1]["last_modified"] if entries else 0
            if limit is None and complete > settled:
                # What commits late from here on is found by the next pass only.
                limit = settled
            complete = complete if limit is None else limit
            fresh = [each for each in entries if each["last_modified"] not in mark.seen]
            yield from self._changes(fresh, mark, complete)
            mark = self._mark = mark.moved(fresh, complete)
        self._mark = mark

    def _check_witness(self, mark: _Mark, entries: list[Entry]) -> None:
        if not mark.witness or any(each["id"] == mark.witness for each in entries):
            return
        params = [("eq_id", json.dumps(mark.witness)), ("_since", str(mark.high - 1))]
        if not self._ask("GET", params).objects:
            raise CollectionReset(
                f"{self._name} was emptied or made anew since this token: tombstones are gone, "
                "so that deletions cannot be told. Start again with since=None."
            )

    def _changes(self, entries: list[Entry], mark: _Mark, complete: int) -> Iterator[AnyChange[M]]:
        there = [each for each in entries if not each.get("deleted")]
        objects = dict(zip([each["id"] for each in there], self._load(there), strict=True))
        new = self._created(list(objects), mark)
        for index, entry in enumerate(entries):
            id = entry["id"]
            kind: type[AnyChange[M]] = Updated
            if id not in objects:
                kind = Deleted
            elif id in new:
                kind = Created
            yield kind(id, entry["last_modified"], objects.get(id), mark, entries, index, complete)

    def _created(self, ids: list[str], mark: _Mark) -> set[str]:
        """Those that were created after what the reader saw, as the history tells.

        Without the history plugin the server does not tell a creation from an update.
        """
        history = self._history()
        if not ids or history is None:
            return set()
        path, params = history
        params += [
            ("action", "create"),
            ("in_record_id", join(list(ids))),
            # The entry is written after its record; both clocks may run some ms ahead.
            ("gt_last_modified", str(mark.floor - 1000)),
            ("_fields", "record_id,target.data.last_modified"),
        ]
        try:
            pages = [page.objects for page in self._pages(params, path)]
        except Forbidden:
            return set()
        stamps = [_made(each) for page in pages for each in page]
        return {id for id, made in stamps if made > mark.floor and made not in mark.seen}

    def _history(self) -> tuple[str, Params] | None:
        """Where the history of the records is, and what chooses them; None: there is none."""
        parts = self._listing.path.split("/")
        if len(parts) < 6 or "history" not in self._listing.session.server_info().capabilities:
            return None
        chosen = [("resource_name", "record"), ("eq_collection_id", json.dumps(parts[4]))]
        return f"/buckets/{parts[2]}/history", chosen

    def _pages(self, params: Params, path: str | None = None) -> Iterator[Reply]:
        query: str | None = query_string([*params, ("_limit", str(self._size))])
        circle = Circle()
        while query is not None:
            reply = self._run(Request("GET", path or self._listing.path, query))
            query = next_position(reply)
            circle.check(query)
            yield reply

    def _load(self, entries: list[Entry]) -> list[M]:
        return self._listing.load(Reply.parsed(200, {}, {"data": entries}), None)

    def _ask(self, method: str, params: Params, headers: dict[str, str] | None = None) -> Reply:
        path = self._listing.path
        return self._run(Request(method, path, query_string(params), headers=headers or {}))

    def _run(self, request: Request) -> Reply:
        call = Call(
            request,
            lambda reply: reply,
            f"follow {self._name}",
            parents=self._listing.parents,
        )
        return self._listing.session.run(call)


def _since(floor: int) -> Params:
    return [("_since", str(floor)), ("_sort", "last_modified")]


def _made(entry: Entry) -> tuple[str, int]:
    """The record that an entry of the history is of, and its timestamp after that."""
    record, target = entry.get("record_id"), entry.get("target")
    data = target.get("data") if isinstance(target, dict) else None
    made = data.get("last_modified") if isinstance(data, dict) else None
    if not isinstance(record, str) or type(made) is not int:
        raise BadReply(f"the history does not say which record the entry {entry['id']!r} is of")
    return record, made
