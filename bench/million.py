"""Very many records in an embedded Kinto: a file beside a directory with PostgreSQL.

They are put in past HTTP, or it would take an hour: into the file by its storage backend, one after
the other in one transaction; into PostgreSQL by one statement. Some hundreds are put in by the
library before, so that it is known how long all would have taken. Then the library iterates over
all, reads a page by id, and counts what has a value, in the file before and after there is an
index on that field.

CPU time is that of this process, client and Kinto together; PostgreSQL has processes of its own.

    python bench/million.py                         # 200,000 records
    python bench/million.py --records 1000000       # some minutes on two cores
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import psycopg2
from pydantic import Field

from kinto_orm import Bucket, Record, Session
from kinto_orm.server.postgres import Postgres
from kinto_orm.server.sqlite.database import open_database

BUCKET, COLLECTION = "bench", "items"
PARENT = f"/buckets/{BUCKET}/collections/{COLLECTION}"
GROUPS = 1000
FIRST = 1_790_000_000_000
BY_LIBRARY = 500
GROWTH_GOAL = 60

INSERT = """
SET session_replication_role = replica;
INSERT INTO objects (id, parent_id, resource_name, last_modified, data, deleted)
SELECT 'r' || lpad(n::text, 9, '0'), %s, 'record', from_epoch(%s + n),
    jsonb_build_object('title', 'Item number ' || n, 'n', n %% %s, 'note', %s::text), FALSE
FROM generate_series(0, %s - 1) AS n;
"""
NOTE = "The quick brown fox jumps over the lazy dog. " * 4


class Item(Record, collection=COLLECTION):
    """A record without an index."""

    title: str
    n: int
    note: str


class Indexed(Record, collection=COLLECTION):
    """The same with one."""

    title: str
    n: Annotated[int, Field(json_schema_extra={"x-indexed": True})]
    note: str


def item(number: int) -> dict[str, object]:
    return {"title": f"Item number {number}", "n": number % GROUPS, "note": NOTE}


def megabytes() -> float:
    """The most memory that this process has ever held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took."""
    clock, cpu = time.perf_counter(), time.process_time()
    yield
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    print(f"  {what:<44} {clock * 1000:11.1f} ms, {cpu * 1000:10.1f} ms CPU", flush=True)


def into_file(path: Path, count: int) -> None:
    """Put records into a file that is open in this process."""
    from kinto_orm.server.sqlite.storage import Storage
    from kinto_orm.server.sqlite.transactions import Work

    database = open_database(path, durable=True, busy_seconds=10)
    with Storage(Work(database, joined=False), 10_000).alone() as storage:
        for number in range(count):
            made = {"id": f"r{number:09}", "last_modified": FIRST + number, **item(number)}
            storage.create("record", PARENT, made)


def into_directory(directory: Path, count: int) -> None:
    """Put records into the PostgreSQL of a directory."""
    url = Postgres(directory / "postgres").url
    connection = psycopg2.connect(url.replace("+psycopg2", "").replace("+", "%20"))
    with connection, connection.cursor() as cursor:
        cursor.execute(INSERT, (PARENT, FIRST, GROUPS, NOTE, count))
    with connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE objects")
    connection.close()


def size(path: Path) -> float:
    """Megabytes on the disk."""
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
    return sum(each.stat().st_size for each in files if each.is_file()) / 2**20


def iterate(count: int) -> None:
    before, found = megabytes(), 0
    for found, _ in enumerate(Item.find(), 1):
        if found % (count // 4) == 0:
            print(f"    {found:>9} records  {megabytes() - before:5.1f} MB above the start")
    if found != count:
        raise SystemExit(f"{found} records came instead of {count}")
    grown = megabytes() - before
    verdict = "met   " if grown < GROWTH_GOAL else "MISSED"
    print(f"  {verdict} memory grows by {grown:.1f} MB; goal: under {GROWTH_GOAL} MB")


def counted(model: type[Item] | type[Indexed], count: int) -> None:
    found = model.find(model.n == 7).count()
    if found != count // GROUPS:
        raise SystemExit(f"{found} records were counted")


def run(url: str, path: Path, put: Callable[[Path, int], None], count: int) -> None:
    """Measure one of the two."""
    print(url.partition("/")[0])
    with Session(url, bucket=BUCKET) as session:
        session.sync_schema(Item)
        with timed(f"{BY_LIBRARY} records by save_all()"):
            session.save_all(Item(**item(n)) for n in range(BY_LIBRARY))  # type: ignore[arg-type]
        Bucket.get(BUCKET).delete()
        session.sync_schema(Item)
        with timed(f"{count} records past HTTP"):
            put(path, count)
        print(f"  {size(path):.0f} MB on the disk")
        with timed("iterate over all"):
            iterate(count)
        middle = f"r{count // 2:09}"
        for number in (1, 2):
            with timed(f"a page of 1000 by id, from the middle ({number})"):
                page = Item.find(Item.id > middle).limit(1000).all()
            if len(page) != 1000:
                raise SystemExit(f"{len(page)} records came")
        with timed("count n == 7, without an index"):
            counted(Item, count)
        if url.startswith("sqlite"):
            with timed("make the index (sync_schema)"):
                session.sync_schema(Indexed)
            print(f"  {size(path):.0f} MB on the disk")
            with timed("count n == 7, with the index"):
                counted(Indexed, count)
            with timed("all of n == 7, with the index"):
                Indexed.find(Indexed.n == 7).all()
            with timed("the first 100 in the order of n"):
                Indexed.find().order_by(Indexed.n).limit(100).all()
        with timed("one more, saved"):
            Item(**item(count)).save()  # type: ignore[arg-type]


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--records", type=int, default=200_000)
    arguments.add_argument("--only", choices=["sqlite", "local"])
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="kinto-orm-") as name:
        file, directory = Path(name) / "app.db", Path(name) / "data"
        if given.only != "local":
            run(f"sqlite:///{file}", file, into_file, given.records)
        if given.only != "sqlite":
            run(f"local://{directory}", directory, into_directory, given.records)
