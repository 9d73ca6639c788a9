"""What was done in a bucket since a time, and what was there then: by its history.

When something was done is told by the history, not by the object: whoever writes an object may
give it any timestamp, and one far ahead makes all later ones of its collection follow it.

Entries are read from the newest to the oldest, so that what others write meanwhile is not met.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from kinto_orm.errors import BadReply, InvalidData
from kinto_orm.models.history import (
    History,
    HistoryEntry,
    Unreadable,
    done_at,
    history_of_bucket,
    near,
    newest_of,
)
from kinto_orm.queries.alternatives import any_of
from kinto_orm.queries.conditions import Condition, col
from kinto_orm.queries.pager import Page, Pages, reading_all
from kinto_orm.wire.flows import ANEW, Flow
from kinto_orm.wire.scope import Scope

_ENTRIES_IN_A_PAGE = 500
# Each question about so many objects makes the server look through the whole history.
_ASKED_AT_ONCE = 20
# Of so many objects the last entry is kept until it is asked for.
_KEPT = 10_000


@dataclass(slots=True)
class Trace:
    """One object to which something was done since a time.

    Attributes:
        kind: "bucket", "group", "collection" or "record".
        was_there: Whether it was there at the time.
        is_there: Whether it is there now, by the history.
        last_modified: The object's timestamp by its last entry, in milliseconds.
        seen_at: The timestamp of that entry; all entries of a bucket share one clock.
        emptied_at: The same of the last deletion of a collection; None where there was none.
        error: Why one of its entries cannot be loaded; None where all can be.
    """

    kind: str
    was_there: bool
    is_there: bool
    last_modified: int
    seen_at: int
    emptied_at: int | None = None
    error: InvalidData | None = None


@dataclass(frozen=True, slots=True)
class Then:
    """A bucket at a time.

    Attributes:
        scope: Where.
        bucket: Its real id.
        when: Milliseconds.
        within: The path in the bucket to which it is limited; empty for all of it.
        unreadable: The entries that cannot be loaded.
    """

    scope: Scope
    bucket: str
    when: int
    within: str = ""
    unreadable: Unreadable = field(default_factory=Unreadable, repr=False, compare=False)
    _known: dict[str, HistoryEntry] = field(default_factory=dict, repr=False, compare=False)

    @property
    def path(self) -> str:
        """The path of the bucket."""
        return f"/buckets/{self.bucket}"

    @property
    def root(self) -> str:
        """The path of what is looked at: the bucket, or something in it."""
        return f"{self.path}/{self.within}" if self.within else self.path

    def tracing(self) -> Flow[dict[str, Trace]]:
        """Find what was done since, by the path of the object.

        The deletion of a collection takes its records with it, and the history says so of the
        collection only: what was in it is looked for.

        Raises:
            Unsupported: The server lacks the history plugin.
        """
        traces: dict[str, Trace] = {}
        done: set[str] = set()
        pages = yield from self._entries(near(self.when)[0])
        while pages.has_more:
            for entry in pages.take((yield from pages.fetching())):
                if entry.object_uri not in done:
                    self._note(traces, done, entry)
            yield ANEW
        for uri in [uri for uri, each in traces.items() if each.emptied_at is not None]:
            yield from self._finding_records(traces, uri)
        inside = f"{self.root}/"
        return {
            uri: each for uri, each in traces.items() if uri == self.root or uri.startswith(inside)
        }

    def _note(self, traces: dict[str, Trace], done: set[str], entry: HistoryEntry) -> None:
        """Note an entry; those that were noted are newer, and the first until then is the last."""
        if not self._was_by_then(entry):
            _note(traces, entry)
            error = self.unreadable.of(entry)
            if error is not None:
                traces[entry.object_uri].error = error
            return
        done.add(entry.object_uri)
        if entry.object_uri in traces:
            traces[entry.object_uri].was_there = entry.action != "delete"

    def _was_by_then(self, entry: HistoryEntry) -> bool:
        return done_at(entry) <= self.when

    def _finding_records(self, traces: dict[str, Trace], collection: str) -> Flow[None]:
        """Find the records that a collection had, which was deleted since."""
        emptied = traces[collection]
        were_there = yield from self._records_of(collection) if emptied.was_there else _nothing()
        inside = f"{collection}/records/"
        for uri, each in traces.items():
            if uri.startswith(inside):
                each.was_there = were_there.pop(uri, False)
                each.is_there = each.is_there and each.seen_at > (emptied.emptied_at or 0)
        for uri, was_there in were_there.items():
            if was_there:
                traces[uri] = Trace("record", True, False, 0, 0)

    def _records_of(self, collection: str) -> Flow[dict[str, bool]]:
        """Whether each record was there, by its path; of those that the history shows by then."""
        made = yield from self._last_made(collection)
        inside = f"{collection}/records/"
        path = col(HistoryEntry.object_uri)
        pages = yield from self._entries(self._until(), path.like(f"{inside}*"))
        found: dict[str, bool] = {}
        while pages.has_more:
            page = pages.take((yield from pages.fetching()))
            for entry in page:
                is_inside = entry.object_uri.startswith(inside) and self._was_by_then(entry)
                if is_inside and (entry.last_modified or 0) > made:
                    found.setdefault(entry.object_uri, entry.action != "delete")
            if page and (page[-1].last_modified or 0) <= made:
                break  # what is older went with an earlier collection of this id
            yield ANEW
        return found

    def _last_made(self, collection: str) -> Flow[int]:
        """The timestamp of the last creation of a collection until then; 0 where none is known."""
        created = HistoryEntry.action == "create"
        this = HistoryEntry.object_uri == collection
        history = yield from self._history()
        found = yield from reading_all(history.where(this, created, self._until()))
        made = (each.last_modified or 0 for each in found if self._was_by_then(each))
        return next(made, 0)

    def looking_ahead(self, uris: Iterable[str]) -> Flow[None]:
        """Read the history before then once, for the last entries of many objects.

        It reads as many pages as there would be questions about some objects each, at most: what
        is further back is asked for when it is needed.
        """
        wanted = set(islice(uris, _KEPT))
        present = col(HistoryEntry.action) != "delete"
        pages = yield from self._entries(self._until(), present)
        for _ in range(len(wanted) // _ASKED_AT_ONCE):
            if not pages.has_more or self._known.keys() >= wanted:
                return
            for entry in pages.take((yield from pages.fetching())):
                if entry.object_uri in wanted and self._was_by_then(entry):
                    self._known.setdefault(entry.object_uri, entry)
            yield ANEW

    def last_entries(self, uris: Iterable[str]) -> Flow[dict[str, HistoryEntry]]:
        """The last entry of each of these objects until then, by its path; it is not kept then."""
        found = {uri: self._known.pop(uri, None) for uri in uris}
        known = {uri: entry for uri, entry in found.items() if entry is not None}
        history = yield from self._history()
        rest = [uri for uri in found if uri not in known]
        asked = history.where(self._until())
        return known | (yield from newest_of(asked, rest, self._was_by_then))

    def _history(self) -> Flow[History]:
        history = yield from history_of_bucket(self.scope, self.bucket)
        return self.unreadable.passed_by(history)

    def _until(self) -> Condition:
        return near(self.when)[1]

    def _entries(self, *conditions: Condition) -> Flow[Pages[Page[HistoryEntry]]]:
        history = (yield from self._history()).where(*self._of_root(), *conditions)
        return (yield from history.page_size(_ENTRIES_IN_A_PAGE).opening())

    def _of_root(self) -> Iterator[Condition]:
        """What finds the entries of what is looked at, and of the collection that it is in."""
        path = col(HistoryEntry.object_uri)
        above, records, _ = self.root.rpartition("/records/")
        if records:
            yield path.in_([self.root, above])
        elif self.within:
            yield any_of(path == self.root, path.like(f"{self.root}/*"))


def _nothing() -> Flow[dict[str, bool]]:
    yield from ()
    return {}


def _note(traces: dict[str, Trace], entry: HistoryEntry) -> None:
    """Note an entry; those that were noted are newer."""
    uri, seen_at = entry.object_uri, entry.last_modified or 0
    trace = traces.get(uri)
    if trace is None:
        kind, is_there = entry.resource_name, entry.action != "delete"
        trace = traces[uri] = Trace(kind, False, is_there, _stamp_of(entry), seen_at)
    # What was done first says whether there was something before.
    trace.was_there = entry.action != "create"
    if entry.action == "delete" and trace.kind == "collection":
        trace.emptied_at = trace.emptied_at or seen_at


def _stamp_of(entry: HistoryEntry) -> int:
    """The timestamp of the object that an entry shows."""
    data = entry.target.get("data")
    found = data.get("last_modified") if isinstance(data, dict) else None
    if type(found) is not int:
        raise BadReply(f"the history does not show {entry.object_uri} in the entry {entry.id!r}")
    return found
