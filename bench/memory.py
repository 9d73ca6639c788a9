"""Iterate over very many records: how far the client's memory grows.

The records go straight into the server's PostgreSQL, so that a million takes a minute or two.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import psycopg2
from _both import BUCKET, COLLECTION, Article, article_data

from kinto_orm import Bucket, Session
from kinto_orm.server import serve_process
from kinto_orm.server.postgres import Postgres

GOAL = 60

INSERT = """
SET session_replication_role = replica;
INSERT INTO objects (id, parent_id, resource_name, last_modified, data, deleted)
SELECT 'r' || lpad(n::text, 9, '0'), %s, 'record', from_epoch(1790000000000 + n), %s, FALSE
FROM generate_series(1, %s) AS n;
"""


def megabytes() -> float:
    """The most memory that this process has ever held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def insert(directory: Path, count: int) -> None:
    """Put records into the collection, past Kinto."""
    url = Postgres(directory / "postgres").url
    connection = psycopg2.connect(url.replace("+psycopg2", "").replace("+", "%20"))
    with connection, connection.cursor() as cursor:
        parent = f"/buckets/{BUCKET}/collections/{COLLECTION}"
        cursor.execute(INSERT, (parent, json.dumps(article_data(1)), count))
    with connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE objects")
    connection.close()


def iterate(url: str, auth: tuple[str, str], directory: Path, count: int) -> float:
    """Iterate over all; the growth in megabytes."""
    with Session(url, auth=auth, bucket=BUCKET):
        Bucket(id=BUCKET).save().collections.new(id=COLLECTION).save()
        Article(**article_data(0)).save().delete()
        insert(directory, count)
        before, start, found = megabytes(), time.perf_counter(), 0
        for found, _ in enumerate(Article.find(), 1):
            if found % (count // 5) == 0:
                print(f"  {found:>9} records  {megabytes() - before:5.1f} MB above the start")
        if found != count:
            raise SystemExit(f"{found} records came instead of {count}")
        print(f"  {time.perf_counter() - start:.0f} s")
        return megabytes() - before


arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--records", type=int, default=200_000)
given = arguments.parse_args()

with tempfile.TemporaryDirectory(prefix="kinto-orm-") as name:
    path = Path(name) / "data"
    with serve_process(f"local://{path}") as server:
        print(f"iterate over {given.records} records, a page at a time")
        grown = iterate(server.url, server.auth, path, given.records)
verdict = "met   " if grown < GOAL else "MISSED"
print(f"  {verdict} memory grows by {grown:.1f} MB; goal: under {GOAL} MB")
