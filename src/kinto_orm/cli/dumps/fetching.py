"""From a server into a dump: buckets, groups, collections and records, each with its permissions.

Lists carry no permissions, and the server's permissions endpoint tells only what the user may do.
So ids are listed, and the objects fetched by them, in batches that go side by side. Each object is
as it was at one time between the begin and the end of the dump.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from kinto_orm import BatchError, Bucket, Collection, Forbidden, Group, NotFound, Record, Session
from kinto_orm import field as named
from kinto_orm.cli.dumps.entries import Access, Data, Entry, Parts
from kinto_orm.cli.targets import Stored, Target, stored
from kinto_orm.cli.unfit import Whole, data_of, is_unfit, read

T = TypeVar("T")
R = TypeVar("R")
M = TypeVar("M", Bucket, Collection, Group, Record)

AT_ONCE = 100
"""How many objects a worker fetches, or writes, before it takes more."""

_PAGE = 1000


@dataclass(slots=True)
class Notes:
    """What one has to know of a dump.

    Attributes:
        hidden: How many objects have permissions that the server does not show.
        example: One of them.
        moved: The collections that changed meanwhile.
    """

    hidden: int = 0
    example: Target | None = None
    moved: list[str] = field(default_factory=list)

    def hide(self, target: Target) -> None:
        """Note that the permissions of an object are not shown."""
        self.hidden += 1
        self.example = self.example or target

    def lines(self) -> Iterator[str]:
        """What to say."""
        if self.hidden:
            yield (
                f"the permissions of {self.hidden} objects, such as {self.example}, are not in the "
                "dump: the server shows them to those only who may write the object"
            )
        for each in self.moved:
            yield (
                f"{each} changed while it was dumped: each record is as it was at one time, but "
                "not all of them at the same"
            )


@dataclass(frozen=True, slots=True)
class Fetching:
    """What is fetched, and how.

    Attributes:
        session: Over which.
        parts: Which parts are wanted.
        workers: How many connections ask at the same time.
        begin: Is told of each collection whose records come next, and of how many there are.
        notes: Takes what the user has to know of the dump.
    """

    session: Session
    parts: Parts
    workers: int
    begin: Callable[[str, int], object]
    notes: Notes

    def bucket(self, id: str, collections: Sequence[str] = ()) -> Iterator[Entry]:
        """A bucket: itself, its groups, its collections and their records.

        Args:
            id: The bucket's id.
            collections: The ids of the collections that are wanted; none of them means all. With
                some, the bucket itself comes, and its groups do not.
        """
        inside = self.session.scoped(bucket=id)
        if self.parts.have("buckets"):
            yield from self._bucket(inside, id, optional=bool(collections))
        if self.parts.have("groups") and not collections:
            yield from self._all(inside, Group, (("buckets", id), ("groups", None)))
        for each in collections or _ids(inside, Collection):
            yield from self.collection(id, each)

    def collection(self, bucket: str, id: str) -> Iterator[Entry]:
        """A collection, and its records."""
        steps = (("buckets", bucket), ("collections", id))
        inside = self.session.scoped(bucket=bucket, collection=id)
        if self.parts.have("collections"):
            yield self._entry(Target(steps), inside.get(Collection, id))
        if self.parts.have("records"):
            before = _state(inside)
            self.begin(id, before[0])
            yield from self._all(inside, Record, (*steps, ("records", None)))
            if _state(inside) != before:
                self.notes.moved.append(id)

    def _all(
        self, inside: Session, model: type[M], steps: tuple[tuple[str, str | None], ...]
    ) -> Iterator[Entry]:
        plural = Target(steps)
        if not self.parts.permissions:
            for data in data_of(inside.find(model).page_size(_PAGE)):
                yield self._entry(plural.at(str(data["id"])), Whole(str(data["id"]), data, {}))
            return
        chunks = chunked(_ids(inside, model), AT_ONCE)

        def work(ids: list[str]) -> list[M | Whole]:
            return fetched(inside, model, ids, lambda id: read(plural.at(id), inside))

        for found in side_by_side(work, chunks, self.workers):
            for each in found:
                yield self._entry(plural.at(each.id), each)

    def _bucket(self, inside: Session, id: str, *, optional: bool) -> Iterator[Entry]:
        try:
            yield self._entry(Target((("buckets", id),)), inside.get(Bucket, id))
        except Forbidden:
            # Who may read a collection may not always read its bucket.
            if not optional:
                raise

    def _entry(self, target: Target, found: Stored | Whole) -> Entry:
        says_data = self.parts.data_of(target.kind)
        access = access_of(found) if self.parts.permissions else None
        if self.parts.permissions and access is None:
            self.notes.hide(target)
        data = _data_of(found) if says_data else {}
        return Entry(target, data, access, says_data=says_data)


def records_of(session: Session) -> Iterator[Data]:
    """The data of all records of the session's collection."""
    yield from data_of(session.find(Record).page_size(_PAGE))


def fetched(
    inside: Session, model: type[M], ids: Iterable[str], unfit: Callable[[str], R] | None = None
) -> list[M | R]:
    """Objects with their permissions, in batches; those that are gone by now are left out.

    Args:
        inside: Over which session.
        model: Their class.
        ids: Their ids.
        unfit: Gives what is used instead of one that cannot be loaded.

    Raises:
        KintoError: One of them could not be fetched.
    """
    batch = inside.batch()
    outcomes = {each: batch.get(model, each) for each in ids}
    with suppress(BatchError):
        batch.run()
    found: list[M | R] = []
    for id, outcome in outcomes.items():
        if unfit is not None and is_unfit(outcome.error):
            found.append(unfit(id))
        elif outcome.error is not None and not isinstance(outcome.error, NotFound):
            raise outcome.error from None
        elif outcome.result is not None:
            found.append(outcome.result)
    return found


def _data_of(found: Stored | Whole) -> Data:
    return found.data if isinstance(found, Whole) else stored(found)


def access_of(found: Stored | Whole) -> Access | None:
    """Who may do what with an object; None where the server does not show it."""
    if isinstance(found, Whole):
        return {name: sorted(who) for name, who in sorted(found.permissions.items())} or None
    if not found.permissions.is_loaded:
        return None
    return {name: sorted(who) for name, who in sorted(found.permissions.wanted().items())}


def side_by_side(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """What a function gives for each item, in their order; only a few are under way at a time."""
    if workers == 1:
        yield from map(work, items)
        return
    rest = iter(items)
    with ThreadPoolExecutor(workers, "kinto-orm") as pool:
        pending: deque[Future[R]] = deque()
        try:
            pending.extend(pool.submit(work, each) for each in islice(rest, workers + 1))
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(work, each) for each in islice(rest, 1))
                yield result
        finally:
            for each in pending:
                each.cancel()


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` items, taken when they are needed."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _state(inside: Session) -> tuple[int, int | None]:
    """How many records there are, and when the newest was written."""
    records = inside.find(Record)
    newest = records.order_by(named("last_modified").desc()).only("id").first()
    return records.count(), None if newest is None else newest.last_modified


def _ids(inside: Session, model: type[M]) -> Iterator[str]:
    for found in inside.find(model).only("id").page_size(_PAGE):
        yield found.id
