"""`dump`: buckets with all that is in them, to a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

from rich.progress import Progress, TaskID
from typer import Argument, Context, Option

from kinto_orm import Bucket, Session
from kinto_orm.cli import completing
from kinto_orm.cli.dumps import columns, ndjson, tables, wizard
from kinto_orm.cli.dumps.entries import Entry, Parts, in_bucket
from kinto_orm.cli.dumps.fetching import Fetching, Notes, records_of
from kinto_orm.cli.dumps.files import FORMATS, TABLES, format_of, written
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import tell
from kinto_orm.cli.progress import progress_bars
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.targets import require_there, target_of

_FORMATS = ", ".join(FORMATS)
_WHAT = "Collections of the bucket, or paths such as /buckets/blog; all of the bucket by default"


def dump(
    ctx: Context,
    collections: Annotated[
        list[str] | None,
        Argument(metavar="COLLECTION", help=_WHAT, autocompletion=completing.targets),
    ] = None,
    output: Annotated[Path | None, Option(help="The file; - and nothing: standard output")] = None,
    format: Annotated[str | None, Option(help=f"One of {_FORMATS}; by the file's name")] = None,
    only: Annotated[
        list[str] | None, Option(help="Some of attributes, groups, records, permissions")
    ] = None,
    workers: Annotated[int, Option(min=1, help="How many connections ask at a time")] = 4,
) -> None:
    """Write buckets, groups, collections and records to a file, with their permissions.

    Examples:
        kinto-orm dump --bucket blog --output blog.ndjson
        kinto-orm dump articles --format csv > articles.csv
        kinto-orm dump /buckets --only attributes,groups,permissions > who.ndjson
    """
    settings = settings_of(ctx)
    output = None if str(output) == "-" else output
    notes, parts = Notes(), Parts.named(only or ())
    shown = output is not None or not sys.stdout.isatty()
    with settings.session(reads=True) as session, progress_bars(shown=shown) as progress:
        wanted = _wanted(collections or _default(session), session)
        bars = _Bars(progress)
        fetching = Fetching(session, parts, workers, bars.begin, notes)
        kind = format_of(format, output)
        if kind in TABLES:
            _dump_table(kind, wanted, session, output)
        else:
            _dump_objects(
                kind, bars.counted(_entries(wanted, fetching)), list(wanted), parts, output
            )
    for each in notes.lines():
        tell(each)


Wanted = dict[str, list[str]]
"""By bucket, the ids of collections; none of them means all."""


def _default(session: Session) -> list[str]:
    if session.collection is not None:
        return [session.collection]
    return [f"/buckets/{session.bucket}"]


def _wanted(given: list[str], session: Session) -> Wanted:
    """The buckets and collections that were named.

    Raises:
        Misuse: Something else was.
    """
    wanted: Wanted = {}
    for target in (target_of(each, session) for each in given):
        if target.kind not in ("buckets", "collections"):
            raise Misuse(f"{target} is no bucket and no collection: those are dumped")
        if target.id is not None:
            require_there(target if target.kind == "collections" else target.bucket, session)
        bucket = target.id_of("buckets")
        ids = [bucket] if bucket else [each.id for each in session.find(Bucket)]
        for each in ids:
            wanted.setdefault(each, [])
        if bucket and target.kind == "collections" and target.id:
            wanted[bucket].append(target.id)
    return wanted


def _entries(wanted: Wanted, fetching: Fetching) -> Iterator[Entry]:
    """All objects. What is in the personal bucket is said to be in "default", anybody's own."""
    for bucket, collections in wanted.items():
        own = fetching.session.resolve_bucket(bucket)
        for entry in fetching.bucket(own, collections):
            yield in_bucket(entry, own, bucket)


def _dump_objects(
    kind: str, entries: Iterator[Entry], buckets: list[str], parts: Parts, output: Path | None
) -> None:
    # Nothing is written before there is an answer.
    first = list(islice(entries, 1))
    with written(output) as file:
        is_own = kind == "ndjson"
        writer = ndjson.Writer(file, buckets, parts) if is_own else wizard.Writer(file)
        for entry in chain(first, entries):
            writer.write(entry)
        writer.close()


def _dump_table(kind: str, wanted: Wanted, session: Session, output: Path | None) -> None:
    """Dump the records of one collection."""
    named = [(bucket, each) for bucket, collections in wanted.items() for each in collections]
    if len(named) != 1:
        raise Misuse(f"{kind} has the records of one collection: kinto-orm dump COLLECTION")
    bucket, collection = named[0]
    inside = session.scoped(bucket=bucket, collection=collection)
    with written(output) as file:
        (tables if kind == "csv" else columns).write(file, records_of(inside))


class _Bars:
    """A bar for each collection.

    Args:
        progress: Where they are shown.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, collection: str, count: int) -> None:
        """Begin the bar of a collection."""
        self._task = self._progress.add_task(collection, total=count)

    def counted(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """The same entries; records move the bar."""
        for entry in entries:
            if self._task is not None and entry.target.kind == "records":
                self._progress.advance(self._task)
            yield entry
