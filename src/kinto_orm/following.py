"""Following what changes in a collection, so that nothing is missed.

A reader that asks for everything since the last timestamp it saw misses records on PostgreSQL:
a writer whose timestamp is older may commit later. So each pass looks back two seconds, and
what was seen already is dropped; timestamps are unique in a collection. (By experiment with
Kinto 26.5: without the look-back 1 to 8 of 385 changes were missed, with it none.)
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kinto_orm.errors import CollectionReset, InvalidData
from kinto_orm.protocol import Call, Reply, Request, query_string, timestamp
from kinto_orm.query import Listing, next_position

if TYPE_CHECKING:
    from kinto_orm.resource import Resource

    M = TypeVar("M", bound=Resource)
else:
    M = TypeVar("M")

_LOOK_BACK = 2000
_PAGE = 100


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a reader came.

    Attributes:
        high: The highest timestamp seen, in milliseconds.
        witness: The id of the object that had it; it must still be there, or its tombstone.
        seen: The timestamps seen in the time that the next pass looks back on.
        after: While the first pass lasts: the last id that was given out.
    """

    high: int
    witness: str = ""
    seen: frozenset[int] = frozenset()
    after: str | None = None

    def token(self) -> str:
        recent = sorted(self.high - each for each in self.seen if each > self.high - _LOOK_BACK)
        return json.dumps([self.high, self.witness, recent, self.after], separators=(",", ":"))

    @classmethod
    def of(cls, token: str) -> _Mark:
        try:
            high, witness, recent, after = json.loads(token)
            return cls(int(high), str(witness), frozenset(high - each for each in recent), after)
        except (ValueError, TypeError):
            raise InvalidData(
                f"{token!r} is no token of changes(); start with since=None"
            ) from None

    def moved(self, entries: Sequence[dict[str, Any]]) -> _Mark:
        """The mark after these entries of a later pass."""
        last = max(entries, key=lambda each: each["last_modified"], default=None)
        stamps = self.seen | {each["last_modified"] for each in entries}
        if last is None or last["last_modified"] < self.high:
            return _Mark(self.high, self.witness, stamps)
        high = last["last_modified"]
        return _Mark(
            high, last["id"], frozenset(each for each in stamps if each > high - _LOOK_BACK)
        )


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
    _page: list[dict[str, Any]] = field(repr=False, compare=False)
    _index: int = field(repr=False, compare=False)

    @property
    def token(self) -> str:
        """What `changes(since=...)` goes on from after this change; a short text."""
        mark, given = self._mark, self._page[: self._index + 1]
        if mark.after is None:
            return mark.moved(given).token()
        stamps = mark.seen | {each["last_modified"] for each in given}
        return _Mark(mark.high, mark.witness, stamps, self.id).token()


class Created(Change[M]):
    """An object that was not there before."""

    __slots__ = ()


class Updated(Change[M]):
    """An object that was changed."""

    __slots__ = ()


class Deleted(Change[M]):
    """An object that is gone; `object` is None."""

    __slots__ = ()


class Follower(Generic[M]):
    """Reads the changes of one collection, pass by pass.

    Args:
        listing: Where the objects are.
        name: What is followed, for messages.
        since: A token, or None for everything from the beginning.
    """

    def __init__(self, listing: Listing[M], name: str, since: str | None) -> None:
        self._listing = listing
        self._name = name
        self._mark = _Mark.of(since) if since is not None else None
        self._etag: int | None = None

    def once(self) -> Iterator[Change[M]]:
        """All changes until now."""
        if self._mark is None:
            self._mark = _Mark(self._now(), after="")
        if self._mark.after is not None:
            yield from self._first_pass()
        yield from self._later_pass()

    def forever(self, interval: float, stop: threading.Event) -> Iterator[Change[M]]:
        """The changes as they come, asking every `interval` seconds until `stop` is set."""
        while not stop.is_set():
            quiet = True
            for change in self.once():
                quiet = False
                yield change
            # A late writer does not move the collection's timestamp, so that after a change one
            # more pass without a condition is needed before a 304 can be believed.
            self._etag = self._etag if quiet else None
            stop.wait(interval)
            self._wait_for_change(interval, stop)

    def _wait_for_change(self, interval: float, stop: threading.Event) -> None:
        while self._etag is not None and not stop.is_set():
            reply = self._ask("HEAD", [("_limit", "1")], {"If-None-Match": f'"{self._etag}"'})
            if reply.status != 304:
                return
            stop.wait(interval)

    def _first_pass(self) -> Iterator[Change[M]]:
        """Every object as it is, by id, up to the time at which the pass began.

        What changes meanwhile has a later timestamp and belongs to the later pass.
        """
        mark = self._mark or _Mark(0)
        params = [("_sort", "id")]
        if mark.after:
            params.append(("gt_id", json.dumps(mark.after)))
        seen: set[int] = set(mark.seen)
        for entries in self._pages(params):
            old = [each for each in entries if each["last_modified"] <= mark.high]
            now = _Mark(mark.high, mark.witness, frozenset(seen), "")
            for index, (entry, made) in enumerate(zip(old, self._load(old), strict=True)):
                yield Created(entry["id"], entry["last_modified"], made, now, old, index)
            recent = (each["last_modified"] for each in old)
            seen.update(each for each in recent if each > mark.high - _LOOK_BACK)
            for each in old:
                if each["last_modified"] == mark.high:
                    mark = _Mark(mark.high, each["id"], mark.seen, "")
        self._mark = _Mark(mark.high, mark.witness, frozenset(seen))

    def _later_pass(self) -> Iterator[Change[M]]:
        mark = self._mark or _Mark(0)
        since = max(mark.high - _LOOK_BACK, 0)
        witnessed = not mark.witness
        for entries in self._pages([("_since", str(since)), ("_sort", "last_modified")]):
            witnessed = witnessed or any(each["id"] == mark.witness for each in entries)
            fresh = [each for each in entries if each["last_modified"] not in mark.seen]
            if not witnessed and fresh and fresh[0]["last_modified"] > mark.high:
                break
            yield from self._changes(fresh, mark, since)
            mark = mark.moved(fresh)
            self._mark = mark
        if not witnessed:
            raise CollectionReset(
                f"{self._name} was emptied or made anew since this token: tombstones are gone, "
                "so that deletions cannot be told. Start again with since=None."
            )

    def _changes(
        self, entries: list[dict[str, Any]], mark: _Mark, since: int
    ) -> Iterator[Change[M]]:
        there = [each for each in entries if not each.get("deleted")]
        objects = dict(zip([each["id"] for each in there], self._load(there), strict=True))
        new = self._created([each["id"] for each in there], mark, since)
        for index, entry in enumerate(entries):
            id = entry["id"]
            kind = Deleted if id not in objects else Created if id in new else Updated
            yield kind(id, entry["last_modified"], objects.get(id), mark, entries, index)

    def _created(self, ids: list[str], mark: _Mark, since: int) -> set[str]:
        """Those that were created after what the reader saw, as the history tells.

        Without the history plugin the server does not tell a creation from an update.
        """
        parts = self._listing.path.split("/")
        if not ids or len(parts) < 6 or "history" not in self._capabilities():
            return set()
        params = [
            ("resource_name", "record"),
            ("collection_id", parts[4]),
            ("action", "create"),
            ("in_record_id", ",".join(ids)),
            ("_fields", "record_id,target.data.last_modified"),
        ]
        request = Request("GET", f"/buckets/{parts[2]}/history", query_string(params))
        call = Call(request, lambda reply: reply.json["data"], f"read the history of {self._name}")
        stamps = {
            each["record_id"]: each["target"]["data"]["last_modified"]
            for each in reversed(self._listing.session.run(call))
        }
        return {id for id, made in stamps.items() if made > since and made not in mark.seen}

    def _capabilities(self) -> dict[str, Any]:
        return dict(self._listing.session.server_info().capabilities)

    def _now(self) -> int:
        """The collection's timestamp, in milliseconds."""
        return timestamp(self._ask("HEAD", [("_limit", "1")]).headers) or 0

    def _pages(self, params: list[tuple[str, str]]) -> Iterator[list[dict[str, Any]]]:
        query: str | None = query_string([*params, ("_limit", str(_PAGE))])
        first = True
        while query is not None:
            reply = self._ask_for(query)
            if first:
                self._etag = timestamp(reply.headers)
                first = False
            query = next_position(reply)
            yield reply.json["data"]

    def _load(self, entries: list[dict[str, Any]]) -> list[M]:
        return self._listing.load(Reply.parsed(200, {}, {"data": entries}, 1), None)

    def _ask_for(self, query: str) -> Reply:
        return self._run(Request("GET", self._listing.path, query))

    def _ask(
        self, method: str, params: list[tuple[str, str]], headers: dict[str, str] | None = None
    ) -> Reply:
        return self._run(Request(method, self._listing.path, query_string(params), None, headers or {}))

    def _run(self, request: Request) -> Reply:
        call = Call(
            request,
            lambda reply: reply,
            f"follow {self._name}",
            parents=self._listing.parents,
        )
        return self._listing.session.run(call)
