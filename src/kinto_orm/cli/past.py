"""What became of objects between two times, by the server's history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import JsonValue

from kinto_orm import Bucket, Condition, HistoryEntry, Query, Session, any_of, col
from kinto_orm.cli.printing import Output, Row
from kinto_orm.cli.targets import NOT_DATA, Target, path_of
from kinto_orm.cli.unfit import Told, Unfit

Act = Literal["create", "update", "delete"]

SIGNS = {"create": "+", "update": "~", "delete": "-"}
_PAGE = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MISSING = object()


@dataclass(frozen=True)
class State:
    """An object as it was.

    Attributes:
        data: Its data.
        permissions: Who could do what.
    """

    data: dict[str, Any]
    permissions: dict[str, list[str]]

    def parts(self) -> dict[str, Any]:
        """Its fields by name, and its permissions; each as a text that is equal where it is."""
        fields = {name: each for name, each in self.data.items() if name not in NOT_DATA}
        sets = {f"permission {name}": sorted(who) for name, who in self.permissions.items() if who}
        return fields | sets


@dataclass(frozen=True)
class Difference:
    """What became of an object.

    Attributes:
        target: The object.
        before: How it was first; None: it was not there.
        after: How it was then.
    """

    target: Target
    before: State | None
    after: State | None

    @property
    def action(self) -> Act:
        """What was done to it."""
        if self.before is None:
            return "create"
        return "delete" if self.after is None else "update"

    def fields(self) -> dict[str, tuple[Any, Any]]:
        """What is different, by name: before, and after; None where it was not."""
        old = self.before.parts() if self.before else {}
        new = self.after.parts() if self.after else {}
        names = [*old, *(name for name in new if name not in old)]
        return {name: (old.get(name), new.get(name)) for name in names if _unlike(old, new, name)}

    @property
    def back(self) -> Difference:
        """What leads back."""
        return Difference(self.target, self.after, self.before)

    def show(self, output: Output) -> None:
        """Print it."""
        if output.as_json:
            fields: Any = {n: {"before": o, "after": a} for n, (o, a) in self.fields().items()}
            told: Row = {"action": self.action, "target": str(self.target), "fields": fields}
            output.rows([told], ())
            return
        output.line(f"{SIGNS[self.action]} {self.target}")
        for name, (old, new) in self.fields().items():
            output.fields(f"    {name}", _text(old), "->", _text(new))


@dataclass
class _Trace:
    """What was done to an object.

    Attributes:
        after: How it is then; None: it is gone.
        first: What was done first; None: it went with its collection.
    """

    after: State | None
    first: str | None


class Past:
    """What the history says of a target, and of what is inside.

    Args:
        target: The target, with the real id of its bucket.
        session: Of its server.

    Attributes:
        unknown: Paths of what was changed since a time, to which the history does not reach back.
    """

    def __init__(self, target: Target, session: Session) -> None:
        self._target = target
        self._bucket = Bucket(id=target.id_of("buckets") or "")
        self._session = session
        self._deletions: dict[tuple[str, int], int] = {}
        self._unfit = Unfit()
        self.unknown: list[str] = []

    def entries(self) -> Query[HistoryEntry]:
        """All entries, the newest first."""
        return self._history(self._about(str(self._target)))

    def told(self, most: int | None = None) -> Iterator[Told]:
        """The same, each with what it shows; the newest so many."""
        found = self.entries()
        return self._unfit.told(found if most is None else found.limit(most))

    def between(self, begin: int | datetime, end: int | datetime | None) -> Iterator[Difference]:
        """What is different between two times; an end of None is now.

        Containers come before what is inside of them. What the history does not show is noted in
        `unknown`.
        """
        traces = self._traces(begin, end)
        for uri in sorted(traces, key=lambda each: (each.count("/"), each)):
            trace = traces[uri]
            before = None if trace.first == "create" else self.at(uri, begin)
            if before is None and trace.first in ("update", "delete"):
                self.unknown.append(uri)
                continue
            found = Difference(path_of(uri), before, trace.after)
            if found.fields() or (before is None) != (found.after is None):
                yield found

    def at(self, uri: str, when: int | datetime) -> State | None:
        """An object as it was at a time; None: it was not there, or the history does not say."""
        last = self._last(uri, when)
        if last is None or _made(last.entry) <= self._emptied(_collection_of(uri), when):
            return None
        return _state(last)

    def _traces(self, begin: int | datetime, end: int | datetime | None) -> dict[str, _Trace]:
        """The objects to which something was done, by their paths."""
        until = [] if end is None else [_modified() <= milliseconds(end)]
        since = _modified() > milliseconds(begin)
        traces: dict[str, _Trace] = {}
        emptied: set[str] = set()
        for told in self._unfit.told(self.entries().where(since, *until).page_size(_PAGE)):
            entry, uri = told.entry, told.entry.object_uri
            if uri not in traces:
                is_gone = _collection_of(uri) in emptied
                traces[uri] = _Trace(None if is_gone else _state(told), entry.action)
            traces[uri].first = entry.action
            if entry.action == "delete" and entry.resource_name == "collection":
                emptied.add(uri)
        # The history says of a collection only that it was deleted, and not of its records.
        for collection in emptied:
            for uri in self._inside(collection, begin):
                traces.setdefault(uri, _Trace(None, None))
        return traces

    def _inside(self, collection: str, when: int | datetime) -> Iterator[str]:
        """The paths of records that a collection had until a time."""
        inside = f"{collection}/records/"
        path = col(HistoryEntry.object_uri)
        found = self._history(path.like(f"{inside}*"), _modified() <= milliseconds(when))
        for entry in self._unfit.kept(found):
            if entry.object_uri.startswith(inside):
                yield entry.object_uri

    def _last(self, uri: str, when: int | datetime, *more: Condition | bool) -> Told | None:
        """The last entry of an object until a time."""
        until = _modified() <= milliseconds(when)
        found = self._history(HistoryEntry.object_uri == uri, until, *more)
        return next(self._unfit.told(found.limit(1)), None)

    def _emptied(self, collection: str | None, when: int | datetime) -> int:
        """When a collection was deleted for the last time until then, with its records; or 0."""
        if collection is None:
            return 0
        key = collection, milliseconds(when)
        if key not in self._deletions:
            last = self._last(collection, when, HistoryEntry.action == "delete")
            self._deletions[key] = 0 if last is None else _made(last.entry)
        return self._deletions[key]

    def _history(self, *conditions: Condition | bool) -> Query[HistoryEntry]:
        return self._bucket.history(session=self._session).where(*conditions)

    def _about(self, uri: str) -> Condition:
        """Entries about an object, and what is inside of it."""
        path = col(HistoryEntry.object_uri)
        if self._target.kind == "buckets":
            return path.exists()
        return any_of(path == uri, path.like(f"{uri}/*"))


def _modified() -> Any:
    # An entry's own timestamp is some milliseconds later than the object's.
    return col(HistoryEntry.target)["data"]["last_modified"]


def change_of(told: Told, older: Told) -> dict[str, tuple[Any, Any]]:
    """What an update changed, by name; see Difference.fields."""
    target = path_of(told.entry.object_uri)
    return Difference(target, _state(older), _state(told)).fields()


def milliseconds(when: int | datetime) -> int:
    """A time as the server has it."""
    return when if isinstance(when, int) else (when - _EPOCH) // timedelta(milliseconds=1)


def _made(entry: HistoryEntry) -> int:
    return entry.last_modified or 0


def _collection_of(uri: str) -> str | None:
    """The path of the collection that a record is in; None for what is no record."""
    collection, records, _ = uri.rpartition("/records/")
    return collection if records else None


def _state(told: Told) -> State | None:
    """The object after an entry."""
    data, sets = told.target.get("data"), told.target.get("permissions")
    if told.entry.action == "delete" or not isinstance(data, dict):
        return None
    found = sets if isinstance(sets, dict) else {}
    return State(data, {name: list(map(str, who)) for name, who in found.items() if who})


def _unlike(old: dict[str, Any], new: dict[str, Any], name: str) -> bool:
    """Whether two values are different; true and 1 are."""
    one, other = old.get(name, _MISSING), new.get(name, _MISSING)
    if one is _MISSING or other is _MISSING:
        return one is not other
    return json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)


def _text(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)
