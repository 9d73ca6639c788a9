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
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from kinto_orm.errors import CollectionReset, Forbidden
from kinto_orm.queries.marks import AnyChange, Created, Deleted, Entry, Mark, Updated
from kinto_orm.queries.pager import Listing
from kinto_orm.queries.positions import Circle, next_position
from kinto_orm.wire.driving import run, run_each
from kinto_orm.wire.flows import ANEW, Flow, ask
from kinto_orm.wire.jsonvalues import join
from kinto_orm.wire.messages import Reply, Request, query_string, timestamp
from kinto_orm.wire.places import info_of
from kinto_orm.wire.scope import Scope

M = TypeVar("M")

# Milliseconds.
LOOK_BACK = 2000
NOW = "now"
_PAGE = 100

Params = list[tuple[str, str]]


class Follower(Generic[M]):
    """Reads the changes of one collection, pass by pass; each step is a flow.

    Args:
        listing: Finds where the objects are.
        name: What is followed, for messages.
        since: A token; None for everything from the beginning, "now" for what comes from now on.
        size: How many entries to fetch with one request, at most 100.
    """

    def __init__(
        self, listing: Flow[Listing[M]], name: str, since: str | None, size: int | None = None
    ) -> None:
        self._finding = listing
        self._listing: Listing[M] | None = None
        self._name = name
        # The history is asked for all ids of a page, and a URL has its limits.
        self._size = min(size or _PAGE, _PAGE)
        self._skips = since == NOW
        self._mark = None if since in (None, NOW) else Mark.of(since)
        self._etag: int | None = None

    def once(self) -> Iterator[Flow[list[AnyChange[M]]]]:
        """The steps of a pass over all changes until now; each gives those of a page."""
        if self._mark is None:
            yield self._starting()
        if self._at.after is not None:
            yield from self._steps(_FirstPass(self, self._at))
        yield from self._steps(_LaterPass(self, self._at))

    def _steps(self, part: _Pass[M]) -> Iterator[Flow[list[AnyChange[M]]]]:
        while part.has_more:
            yield part.reading()
        self._mark = part.end

    @property
    def _at(self) -> Mark:
        assert self._mark is not None  # noqa: S101  (for the type checker)
        return self._mark

    @property
    def may_wait(self) -> bool:
        """Whether the server can say that nothing is new."""
        return self._etag is not None

    def looking(self) -> Flow[bool]:
        """Find out whether anything is new (`HEAD` with If-None-Match)."""
        headers = {"If-None-Match": f'"{self._etag}"'}
        reply = yield from self.asking("HEAD", [("_limit", "1")], headers)
        return reply.status != 304

    def listing(self) -> Flow[Listing[M]]:
        """Find where the objects are, once."""
        if self._listing is None:
            self._listing = yield from self._finding
        return self._listing

    def _starting(self) -> Flow[list[AnyChange[M]]]:
        """Find the mark before the first pass.

        What can be read now and is no older than the look-back was seen: the first pass gives
        it out if it is there, and what is deleted already is nothing to tell.
        """
        now = timestamp((yield from self.asking("HEAD", [("_limit", "1")])).headers) or 0
        mark = Mark(max(now - LOOK_BACK, 0), now, after="")
        pages = Pages(self, _since(mark.floor))
        while pages.has_more:
            page = yield from pages.reading()
            yield ANEW
            old = [each for each in page.objects if each["last_modified"] <= now]
            witness = next((each["id"] for each in old if each["last_modified"] == now), "")
            seen = mark.seen.union(each["last_modified"] for each in old)
            mark = dataclasses.replace(mark, seen=seen, witness=witness or mark.witness)
            if len(old) < len(page.objects):
                break
        self._mark = dataclasses.replace(mark, after=None) if self._skips else mark
        return []

    def note(self, page: Reply) -> None:
        """Take the collection's timestamp as it is at the beginning of a pass."""
        self._etag = timestamp(page.headers)

    def check_witness(self, mark: Mark, entries: list[Entry]) -> Flow[None]:
        """Make sure that the collection was not emptied meanwhile.

        Raises:
            CollectionReset: It was.
        """
        if not mark.witness or any(each["id"] == mark.witness for each in entries):
            return
        params = [("eq_id", json.dumps(mark.witness)), ("_since", str(mark.high - 1))]
        if not (yield from self.asking("GET", params)).objects:
            raise CollectionReset(
                f"{self._name} was emptied or made anew since this token: tombstones are gone, "
                "so that deletions cannot be told. Start again with since=None."
            )

    def created(self, ids: list[str], mark: Mark) -> Flow[set[str]]:
        """Find those that were created after what the reader saw, as the history tells.

        Without the history plugin the server does not tell a creation from an update.
        """
        history = yield from self._history()
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
        pages, found = Pages(self, params, path), set[str]()
        try:
            while pages.has_more:
                page = yield from pages.reading()
                stamps = [_made(each, page) for each in page.objects]
                found |= {id for id, at in stamps if at > mark.floor and at not in mark.seen}
        except Forbidden:
            return set()
        return found

    def _history(self) -> Flow[tuple[str, Params] | None]:
        """Where the history of the records is, and what chooses them; None: there is none."""
        place = (yield from self.listing()).place
        parts = place.path.split("/")
        if len(parts) < 6 or "history" not in (yield from info_of(place.scope)).capabilities:
            return None
        chosen = [("resource_name", "record"), ("eq_collection_id", json.dumps(parts[4]))]
        return f"/buckets/{parts[2]}/history", chosen

    def load(self, entries: list[Entry]) -> Flow[Sequence[M | None]]:
        """Make the objects of entries; None for one that is left out."""
        listing = yield from self.listing()
        page = Reply.parsed(200, {}, {"data": entries})
        page.doing = self._doing
        return listing.loaded(page, None)

    def asking(
        self, method: str, params: Params, headers: dict[str, str] | None = None
    ) -> Flow[Reply]:
        """Send a request to the collection."""
        path = (yield from self.listing()).place.path
        request = Request(method, path, query_string(params), headers=headers or {})
        return (yield from self.sending(request))

    def fetching(self, query: str, path: str | None) -> Flow[Reply]:
        """Fetch a page, by default of the collection."""
        path = path or (yield from self.listing()).place.path
        return (yield from self.sending(Request("GET", path, query)))

    def sending(self, request: Request) -> Flow[Reply]:
        """Send a request."""
        listing = yield from self.listing()
        request.veil = listing.veil
        return (yield from ask(request, self._doing, listing.place.parents))

    @property
    def _doing(self) -> str:
        return f"follow {self._name}"

    @property
    def size(self) -> int:
        """How many entries to fetch with one request."""
        return self._size


class Pages(Generic[M]):
    """Pages of entries, one after the other.

    Args:
        follower: Sends the requests.
        params: What is asked for.
        path: The endpoint, by default the collection.

    Attributes:
        has_more: Whether there is a page to be read.
    """

    def __init__(self, follower: Follower[M], params: Params, path: str | None = None) -> None:
        self._follower = follower
        self._path = path
        self._query = query_string([*params, ("_limit", str(follower.size))])
        self._circle = Circle()
        self.has_more = True

    def reading(self) -> Flow[Reply]:
        """Fetch the next page (`GET`)."""
        reply = yield from self._follower.fetching(self._query, self._path)
        following = next_position(reply)
        self._circle.check(following, reply)
        self.has_more = following is not None
        self._query = following or ""
        return reply


class _Pass(ABC, Generic[M]):
    """A pass over the changes, page by page.

    Args:
        follower: Whose pass it is.
        mark: How far the reader came.
        params: What is asked for.
    """

    def __init__(self, follower: Follower[M], mark: Mark, params: Params) -> None:
        self._follower = follower
        self._mark = mark
        self._pages = Pages(follower, params)

    @property
    def has_more(self) -> bool:
        return self._pages.has_more

    @property
    def end(self) -> Mark:
        """How far the reader came by it."""
        return self._mark

    @abstractmethod
    def reading(self) -> Flow[list[AnyChange[M]]]:
        """Read the changes of the next page."""


class _FirstPass(_Pass[M]):
    """Every object as it is, by id, up to the time at which the pass began.

    What changes meanwhile has a later timestamp and belongs to the later pass.
    """

    def __init__(self, follower: Follower[M], mark: Mark) -> None:
        after = [("gt_id", json.dumps(mark.after))] if mark.after else []
        super().__init__(follower, mark, [("_sort", "id"), *after])

    @property
    def end(self) -> Mark:
        return dataclasses.replace(self._mark, after=None)

    def reading(self) -> Flow[list[AnyChange[M]]]:
        page, mark = (yield from self._pages.reading()), self._mark
        old = [each for each in page.objects if each["last_modified"] <= mark.high]
        made = yield from self._follower.load(old)
        self._mark = mark.given(old)
        return [
            Created(entry["id"], entry["last_modified"], each, mark, old, index)
            for index, (entry, each) in enumerate(zip(old, made, strict=True))
            if each is not None
        ]


class _LaterPass(_Pass[M]):
    """What was changed since, in the order of time."""

    def __init__(self, follower: Follower[M], mark: Mark) -> None:
        super().__init__(follower, mark, _since(mark.floor))
        self._limit: int | None = None
        self._is_first = True

    def reading(self) -> Flow[list[AnyChange[M]]]:
        page, mark = (yield from self._pages.reading()), self._mark
        entries = page.objects
        if self._is_first:
            self._is_first = False
            self._follower.note(page)
            yield from self._follower.check_witness(mark, entries)
        settled = (timestamp(page.headers) or 0) - LOOK_BACK
        complete = entries[-1]["last_modified"] if entries else 0
        if self._limit is None and complete > settled:
            # What commits late from here on is found by the next pass only.
            self._limit = settled
        complete = complete if self._limit is None else self._limit
        fresh = [each for each in entries if each["last_modified"] not in mark.seen]
        changes = yield from self._changes(fresh, mark, complete)
        self._mark = mark.moved(fresh, complete)
        return changes

    def _changes(self, entries: list[Entry], mark: Mark, complete: int) -> Flow[list[AnyChange[M]]]:
        there = [each for each in entries if not each.get("deleted")]
        made = yield from self._follower.load(there)
        objects = dict(zip([each["id"] for each in there], made, strict=True))
        new = yield from self._follower.created(list(objects), mark)
        found: list[AnyChange[M]] = []
        for index, entry in enumerate(entries):
            id = entry["id"]
            kind: type[AnyChange[M]] = Updated
            if id not in objects:
                kind = Deleted
            elif objects[id] is None:
                continue
            elif id in new:
                kind = Created
            stamp = entry["last_modified"]
            found.append(kind(id, stamp, objects.get(id), mark, entries, index, complete))
        return found


def follow(
    scope: Scope, follower: Follower[M], interval: float, stop: threading.Event
) -> Iterator[AnyChange[M]]:
    """The changes as they come, asking every `interval` seconds until `stop` is set."""
    last_change = time.monotonic()
    while not stop.is_set():
        for change in run_each(scope, follower.once()):
            yield change
            last_change = time.monotonic()
        stop.wait(interval)
        # A late writer does not move the collection's timestamp, so that "nothing is new"
        # can be believed only after the time that a pass looks back.
        if time.monotonic() - last_change > LOOK_BACK / 1000:
            while follower.may_wait and not stop.is_set() and not run(scope, follower.looking()):
                stop.wait(interval)


def _since(floor: int) -> Params:
    return [("_since", str(floor)), ("_sort", "last_modified")]


def _made(entry: Entry, page: Reply) -> tuple[str, int]:
    """The record that an entry of the history is of, and its timestamp after that."""
    record, target = entry.get("record_id"), entry.get("target")
    data = target.get("data") if isinstance(target, dict) else None
    made = data.get("last_modified") if isinstance(data, dict) else None
    if not isinstance(record, str) or type(made) is not int:
        raise page.bad(f"the history does not say which record the entry {entry['id']!r} is of")
    return record, made
