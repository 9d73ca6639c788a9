"""From a dump to a server: what is there and equal is left alone, so that it may be run again.

Objects are looked for, a hundred with a request, and created or changed with preconditions. What
was not loaded when it was interrupted is loaded by the next run; a journal is not needed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from kinto_orm import (
    BatchError,
    Collection,
    Conflict,
    KintoError,
    NotFound,
    Record,
    Session,
    TransportError,
    Unauthorized,
)
from kinto_orm.cli.dumps.comparing import Comparing
from kinto_orm.cli.dumps.entries import Entry, Parts, Unreadable
from kinto_orm.cli.dumps.fetching import AT_ONCE, chunked, fetched, side_by_side
from kinto_orm.cli.targets import MODELS, Stored, Target
from kinto_orm.cli.unfit import is_unfit
from kinto_orm.cli.wording import said_of

Place = tuple[str, str]
"""A bucket's id, and that of a collection in it."""

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an object of a dump.

    Attributes:
        target: The object; None for a line that has none.
        status: "created", "updated", "unchanged", "deleted" or "failed".
        fields: Of an update, what changed.
        error: Why it failed.
        place: Where it stands in the file.
    """

    target: Target | None
    status: str
    fields: tuple[str, ...] = ()
    error: Exception | None = None
    place: str = ""

    def __str__(self) -> str:
        if self.target is None:
            return said_of(self.error) if self.error else ""
        where = dict.fromkeys(filter(None, (self.place, str(self.target))))
        return ": ".join([*where, said_of(self.error)] if self.error else where)


@dataclass
class Loading:
    """Loads a dump.

    Attributes:
        session: Over which.
        parts: Which parts are wanted.
        comparing: Says what has to be written.
        tell: Is told what became of each object.
        dry_run: Write nothing.
        workers: How many connections write at the same time.
        counts: How many were created, updated and so on.
        ids: By collection, the ids of the records of the dump; None when nobody asks for them.
        deletes: Whether all was loaded, and what is missing is being deleted.
    """

    session: Session
    parts: Parts
    comparing: Comparing
    tell: Callable[[Done], object]
    dry_run: bool = False
    workers: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    ids: dict[Place, set[str]] | None = None
    deletes: bool = False
    _finished: deque[list[Done]] = field(default_factory=deque)
    _fresh: set[str] = field(default_factory=set)
    _schemas: dict[Place, bool] = field(default_factory=dict)

    def run(self, entries: Iterable[Entry | Unreadable]) -> None:
        """Load all of it.

        Raises:
            TransportError: The server is gone.
            Unauthorized: The server does not know the user.
            Unreadable: The file is no dump, or was cut.
        """
        try:
            for _ in side_by_side(self._work, self._chunks(entries), self.workers):
                self._note_finished()
        finally:
            # Of an interrupt, too: what was under way has ended by now.
            self._note_finished()
        if self.ids is not None and not self.counts["failed"]:
            self.deletes = True
            for place, ids in self.ids.items():
                self._delete_missing(place, ids)

    def _work(self, entries: list[Entry]) -> None:
        self._finished.append(self._records(entries))

    def _note_finished(self) -> None:
        while self._finished:
            self._note(self._finished.popleft())

    def _note(self, all_done: Iterable[Done]) -> None:
        for done in all_done:
            if isinstance(done.error, TransportError | Unauthorized):
                raise done.error
            self.counts[done.status] += 1
            self.tell(done)

    def _chunks(self, entries: Iterable[Entry | Unreadable]) -> Iterator[list[Entry]]:
        """Records of one collection that are written together; what they live in comes before."""
        chunk: dict[str, Entry] = {}
        place: Place | None = None
        for entry in entries:
            if isinstance(entry, Unreadable):
                self._note([Done(None, "failed", error=entry)])
                continue
            if not self.parts.have(entry.target.kind):
                continue
            here = _place_of(entry)
            if chunk and (here != place or entry.id in chunk or len(chunk) == AT_ONCE):
                yield list(chunk.values())
                chunk = {}
            if entry.target.kind != "records":
                self._structure(entry)
                continue
            place = here
            if self.ids is not None:
                self.ids.setdefault(here, set()).add(entry.id)
            chunk[entry.id] = entry
        if chunk:
            yield list(chunk.values())

    # What records live in

    def _structure(self, entry: Entry) -> None:
        bucket, collection = _place_of(entry)
        has_all = entry.whole or entry.implied
        if entry.target.kind == "collections" and self.ids is not None and has_all:
            # A file that does not say all may leave the records of a collection out.
            self.ids.setdefault((bucket, collection), set())
        model = MODELS[entry.target.kind]
        try:
            inside = self.session.scoped(bucket=bucket)
            found = None if self._is_fresh(entry) else inside_or_none(inside, model, entry.id)
        except KintoError as error:
            self._note([_failed(entry, error)])
            return
        done = self._write([entry], {} if found is None else {entry.id: found}, inside)
        if done[0].status == "created":
            self._fresh.add(str(entry.target))
        if entry.target.kind == "collections" and done[0].error is None:
            schema = found.json_schema if isinstance(found, Collection) else _schema_in(entry)
            self._schemas[bucket, collection] = schema is not None
        if not (entry.implied and done[0].status == "unchanged"):
            self._note(done)

    def _is_fresh(self, entry: Entry) -> bool:
        """Whether it lives in what was made just now, so that it cannot be there."""
        above = Target(entry.target.steps[:-1])
        return bool(above.steps) and str(above) in self._fresh

    def _made_by_server(self, place: Place) -> frozenset[str]:
        """The fields that the server makes in records: those of a schema say which one it was."""
        if place not in self._schemas:
            bucket, collection = place
            inside = self.session.scoped(bucket=bucket)
            there = inside_or_none(inside, Collection, collection)
            self._schemas[place] = isinstance(there, Collection) and there.json_schema is not None
        return frozenset({"schema"}) if self._schemas[place] else _NONE

    # Records

    def _records(self, entries: list[Entry]) -> list[Done]:
        bucket, collection = _place_of(entries[0])
        try:
            inside = self.session.scoped(bucket=bucket, collection=collection)
            there = {} if self._is_fresh(entries[0]) else self._there(inside, entries)
            return self._written(entries, there, inside)
        except KintoError as error:
            if is_unfit(error) and len(entries) > 1:
                # What cannot be loaded is there for one of them; the others are none the worse.
                half = len(entries) // 2
                return self._records(entries[:half]) + self._records(entries[half:])
            return [_failed(each, error) for each in entries]

    def _written(
        self, entries: list[Entry], there: dict[str, Stored], inside: Session
    ) -> list[Done]:
        """Write records; those that somebody else made meanwhile are looked at once more."""
        done = {each.place: each for each in self._write(entries, there, inside)}
        made = [
            each
            for each in entries
            if each.id not in there and isinstance(done[each.place].error, Conflict)
        ]
        if made:
            again = self._write(made, self._there(inside, made), inside)
            done |= {each.place: each for each in again}
        return list(done.values())

    def _there(self, inside: Session, entries: list[Entry]) -> dict[str, Stored]:
        found = inside.get_many(Record, [each.id for each in entries])
        if found and self.parts.permissions:
            return {each.id: each for each in fetched(inside, Record, found)}
        return dict(found)

    def _write(self, entries: list[Entry], there: dict[str, Stored], inside: Session) -> list[Done]:
        """Write objects; what became of each."""
        of_records = entries[0].target.kind == "records"
        made = self._made_by_server(_place_of(entries[0])) if of_records else _NONE
        steps = [self._step(each, there.get(each.id), made) for each in entries]
        batch = inside.batch()
        sent = [] if self.dry_run else [each for each in steps if each.wanted is not None]
        for step in sent:
            batch.save(step.wanted, force=self.comparing.force and not step.is_new)
        with suppress(BatchError):
            batch.run()
        for step, outcome in zip(sent, batch.outcomes, strict=True):
            step.error = outcome.error
        return [each.done() for each in steps]

    def _step(self, entry: Entry, there: Stored | None, made: frozenset[str]) -> _Step:
        """What has to be written for an object."""
        try:
            if there is None:
                return _Step(entry, self.comparing.new(entry, made), is_new=True)
            fields = self.comparing.change(entry, there, made)
        except (KintoError, ValueError, TypeError) as error:
            return _Step(entry, error=error)
        return _Step(entry, there if fields else None, tuple(sorted(fields)))

    # What is not in the dump

    def _delete_missing(self, place: Place, ids: set[str]) -> None:
        bucket, collection = place
        if str(Target((("buckets", bucket), ("collections", collection)))) in self._fresh:
            return
        inside = self.session.scoped(bucket=bucket, collection=collection)
        found = inside.find(Record).only("id").page_size(1000)
        missing = (each for each in found if each.id not in ids)
        for chunk in chunked(missing, AT_ONCE):
            self._note(self._deleted(inside, chunk, place))

    def _deleted(self, inside: Session, records: list[Record], place: Place) -> list[Done]:
        batch = inside.batch()
        if not self.dry_run:
            batch.delete(*records, missing_ok=True, force=self.comparing.force)
            with suppress(BatchError):
                batch.run()
        errors = [each.error for each in batch.outcomes] or [None] * len(records)
        return [
            Done(_record(place, each.id), "failed" if error else "deleted", error=error)
            for each, error in zip(records, errors, strict=True)
        ]


@dataclass
class _Step:
    """What has to be written for an object.

    Attributes:
        entry: Of the dump.
        wanted: The object to be saved; None when nothing is to be sent.
        fields: What changes.
        is_new: Whether it is to be created.
        error: Why it cannot be written.
    """

    entry: Entry
    wanted: Stored | None = None
    fields: tuple[str, ...] = ()
    is_new: bool = False
    error: Exception | None = None

    def done(self) -> Done:
        """What became of it."""
        if self.error is not None:
            return _failed(self.entry, self.error)
        status = "unchanged" if self.wanted is None else "created" if self.is_new else "updated"
        return Done(self.entry.target, status, self.fields, place=self.entry.place)


def inside_or_none(inside: Session, model: type[Stored], id: str) -> Stored | None:
    """An object with its permissions; None where it, or what it lives in, is missing."""
    try:
        return model.get_or_none(id, session=inside)
    except NotFound:
        return None


def _schema_in(entry: Entry) -> object:
    """The schema of a collection that was made of an entry."""
    return entry.data.get("schema")


def _failed(entry: Entry, error: Exception) -> Done:
    return Done(entry.target, "failed", error=error, place=entry.place)


def _place_of(entry: Entry) -> Place:
    return entry.target.id_of("buckets") or "", entry.target.id_of("collections") or ""


def _record(place: Place, id: str) -> Target:
    return Target((("buckets", place[0]), ("collections", place[1]), ("records", id)))
