"""Create many records: kinto-http's batch beside save_all, with one worker and with more.

First the client's own CPU time, on a memory Kinto; then records a second by the clock, on a Kinto
with PostgreSQL in two processes, where the server is the limit.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import statistics
import tempfile
import time
from collections.abc import Callable

from _both import (
    BUCKET,
    COLLECTION,
    Article,
    Goal,
    Side,
    article_data,
    both_clients,
    show,
    take_turns,
)
from kinto_http import Client

from kinto_orm import Bucket, Session
from kinto_orm.server import serve_process

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--records", type=int, default=200, help="in each turn")
arguments.add_argument("--rounds", type=int, default=9)
given = arguments.parse_args()

# It logs a line for each record.
logging.getLogger("kinto_http").setLevel(logging.ERROR)
turns = itertools.count()


def by_kinto_http(client: Client) -> None:
    """What its documentation shows for many records."""
    turn = next(turns)
    with client.batch() as batch:
        for n in range(given.records):
            batch.create_record(id=f"r{turn}-{n}", data=article_data(n))


def by_save_all(session: Session, workers: int = 1) -> None:
    turn = next(turns)
    articles = (Article(id=f"r{turn}-{n}", **article_data(n)) for n in range(given.records))
    summary = session.save_all(articles, workers=workers)
    assert summary.created == given.records, summary


def by_the_clock(sides: list[Side]) -> dict[str, list[float]]:
    """By side: records a second in each round, the sides taking turns."""
    found: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(given.rounds + 1):
        for side in sides[number % len(sides) :] + sides[: number % len(sides)]:
            found[side.name].append(given.records / _seconds(side.work))
    return {name: rates[1:] for name, rates in found.items()}


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


with both_clients() as (client, session):
    medians = take_turns(
        [
            Side("kinto-http", lambda: by_kinto_http(client)),
            Side("kinto-orm", lambda: by_save_all(session)),
        ],
        rounds=given.rounds,
    )
show(f"create {given.records} records", medians, [Goal("kinto-orm", "kinto-http", at_most=1.0)])

with (
    tempfile.TemporaryDirectory(prefix="kinto-orm-bench-") as directory,
    serve_process(f"local://{directory}/data", processes=2) as server,
    Session(server.url, auth=server.auth, bucket=BUCKET) as session,
):
    client = Client(server_url=server.url, auth=server.auth, bucket=BUCKET, collection=COLLECTION)
    Bucket(id=BUCKET).save().collections.new(id=COLLECTION).save()
    rates = by_the_clock(
        [
            Side("kinto-http", lambda: by_kinto_http(client)),
            Side("1 worker", lambda: by_save_all(session)),
            Side("2 workers", lambda: by_save_all(session, 2)),
            Side("4 workers", lambda: by_save_all(session, 4)),
        ]
    )

print(f"create {given.records} records on PostgreSQL, two server processes")
for name, own in rates.items():
    ratios = sorted(a / b for a, b in zip(own, rates["kinto-http"], strict=True))
    print(
        f"  {name:<10}  {statistics.median(own):8.0f} records a second, "
        f"{statistics.median(ratios):.2f} of kinto-http in the same round "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )
