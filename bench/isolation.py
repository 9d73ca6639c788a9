"""How many updates a Kinto loses on PostgreSQL, by the isolation level of its storage.

Writers read a record, add one to its number and save it; after a Conflict they do so again. Each
addition was acknowledged by the server, so that the number has to be their sum at the end. What is
missing was overwritten, and nobody was told: Kinto compares If-Match and writes in two steps.

    python bench/isolation.py --processes 2
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from kinto_orm import Conflict, Record, Session
from kinto_orm.server import serve_process

LEVELS = ("READ COMMITTED", "REPEATABLE READ")


class Counter(Record, collection="counters"):
    """The record that all of them write."""

    number: int = 0


def add(session: Session, times: int) -> int:
    """Add one as often as that; how many conflicts were met."""
    met = done = 0
    while done < times:
        counter = Counter.get("all", session=session)
        counter.number += 1
        try:
            counter.save(session=session)
            done += 1
        except Conflict:
            met += 1
    return met


def race(level: str, processes: int, writers: int, times: int) -> bool:
    """Let the writers add at this level; whether nothing was lost."""
    settings = {"kinto.storage_isolation_level": level}
    with (
        tempfile.TemporaryDirectory(prefix="kinto-orm-bench-") as directory,
        serve_process(
            f"local://{directory}/data", processes=processes, settings=settings
        ) as server,
        Session(server.url, auth=server.auth, bucket="bench") as session,
    ):
        session.sync_schema(Counter)
        Counter(id="all").save()
        with ThreadPoolExecutor(writers) as pool:
            conflicts = sum(pool.map(add, [session] * writers, [times] * writers))
        left = Counter.get("all").number
    said, lost = writers * times, writers * times - left
    print(f"  {level:16} {said} acknowledged, {left} there, {lost} lost; {conflicts} conflicts")
    return lost == 0


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--processes", type=int, default=2, help="of Kinto, on one database")
    arguments.add_argument("--writers", type=int, default=8)
    arguments.add_argument("--times", type=int, default=20, help="that each writer adds one")
    given = arguments.parse_args()
    print(f"{given.writers} writers, {given.processes} server processes")
    kept = [race(level, given.processes, given.writers, given.times) for level in LEVELS]
    sys.exit(not kept[-1])
