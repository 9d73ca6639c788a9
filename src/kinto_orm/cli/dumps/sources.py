"""What is loaded of a file, and where to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Protocol

from kinto_orm import Session
from kinto_orm.cli.dumps import columns, ndjson, tables, wizard
from kinto_orm.cli.dumps.entries import Entry, Parts, Unreadable, in_bucket
from kinto_orm.cli.dumps.files import TABLES
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.targets import Target


class Source(Protocol):
    """A file that is read."""

    @property
    def buckets(self) -> list[str]:
        """The ids of the buckets that are in it; empty where it says nothing of them."""

    @property
    def parts(self) -> Parts:
        """Which parts of them it has."""

    @property
    def total(self) -> int | None:
        """How many objects it has; None when that is not known."""

    @property
    def is_whole(self) -> bool:
        """Whether the file says of itself that nothing is missing at its end."""

    def entries(self) -> Iterator[Entry | Unreadable]:
        """The objects, and what is wrong where there is none."""


def opened(file: IO[bytes], kind: str, session: Session, *, cut: bool) -> Source:
    """A file of a format.

    Args:
        file: The file.
        kind: The format.
        session: Says where the records of a table are to live.
        cut: Whether it may be cut.

    Raises:
        Unreadable: It is of another format, or was cut.
        Misuse: It is a table, and nobody said of which collection.
    """
    if kind == "ndjson":
        return ndjson.Reader(file, cut=cut)
    if kind == "yaml":
        return wizard.Reader(file)
    if session.collection is None:
        raise Misuse(f"a {kind} file has records of one collection: say of which, --collection ID")
    collection = Target((("buckets", session.bucket), ("collections", session.collection)))
    is_csv = kind == TABLES[0]
    read = (tables if is_csv else columns).entries
    return _Table(file, read, collection, is_whole=not is_csv)  # Parquet has its end at its end


@dataclass
class _Table:
    """Records of one collection."""

    file: IO[bytes]
    read: Callable[[IO[bytes], Target], Iterator[Entry | Unreadable]]
    collection: Target
    is_whole: bool
    parts: Parts = Parts()  # noqa: RUF009  (immutable)
    total: int | None = None

    @property
    def buckets(self) -> list[str]:
        """That of the collection."""
        return [str(self.collection.id_of("buckets"))]

    def entries(self) -> Iterator[Entry | Unreadable]:
        """The bucket and the collection, which have to be there; and the records."""
        records = self.read(self.file, self.collection)
        # Nothing is made before the file has begun well.
        first = list(islice(records, 1))
        for steps in (self.collection.steps[:1], self.collection.steps):
            yield Entry(Target(steps), {}, None, "the file", whole=False, implied=True)
        yield from chain(first, records)


def chosen(
    source: Source, bucket: str | None, collection: str | None, session: Session
) -> Iterator[Entry | Unreadable]:
    """What is to be loaded of a file, and where it goes.

    Args:
        source: The file.
        bucket: The only bucket that is loaded; or where to, if the file has one of another id.
        collection: The only collection that is loaded.
        session: Says which is the personal bucket.

    Raises:
        Misuse: The file has several buckets, and none of this id.
    """
    renamed = bucket is not None and bucket not in source.buckets
    if renamed and len(source.buckets) != 1:
        raise Misuse(
            f"the file has no bucket {bucket!r}, and several others, so that none of them is "
            f"loaded into it: {', '.join(source.buckets)}"
        )
    for entry in source.entries():
        if isinstance(entry, Unreadable):
            yield entry
            continue
        of = entry.target.id_of("buckets") or ""
        if _is_wanted(entry.target, None if renamed else bucket, collection):
            yield in_bucket(entry, of, session.resolve_bucket(bucket if renamed else of))


def _is_wanted(target: Target, bucket: str | None, collection: str | None) -> bool:
    if bucket is not None and target.id_of("buckets") != bucket:
        return False
    return (
        collection is None or target.kind == "buckets" or target.id_of("collections") == collection
    )
