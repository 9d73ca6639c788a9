"""Two sides of a comparison, taking turns in one process, and the tables that come of it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from kinto_http import Client
from pydantic import BaseModel

from kinto_orm import Bucket, Record, Session
from kinto_orm.server import serve_process

BUCKET, COLLECTION = "bench", "articles"


class Author(BaseModel):
    name: str
    email: str
    karma: int


class Article(Record, collection=COLLECTION):
    """A record of twelve fields, one of them a model."""

    title: str
    body: str
    author: Author
    published: datetime
    draft: bool = False
    stars: int = 0
    score: float = 0.0
    language: str = "en"
    tags: list[str] = []
    summary: str | None = None
    views: int = 0
    section: str = "news"


def article_data(number: int) -> dict[str, Any]:
    """The JSON of an article, without id."""
    return {
        "title": f"Article number {number}",
        "body": "The quick brown fox jumps over the lazy dog. " * 4,
        "author": {"name": f"Author {number % 97}", "email": "author@example.com", "karma": number},
        "published": (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)).isoformat(),
        "draft": number % 3 == 0,
        "stars": number % 6,
        "score": number / 7,
        "language": "en",
        "tags": ["news", f"tag{number % 13}"],
        "summary": None if number % 2 else "In short.",
        "views": number * 3,
        "section": "world",
    }


@contextmanager
def both_clients() -> Iterator[tuple[Client, Session]]:
    """kinto-http and kinto-orm on one new server, which is a process of its own."""
    # The history of thousands of writes would only slow the server down.
    settings = {"history.exclude_resources": f"/buckets/{BUCKET}"}
    with serve_process("memory://", settings=settings) as server:
        client = Client(
            server_url=server.url, auth=server.auth, bucket=BUCKET, collection=COLLECTION
        )
        with Session(server.url, auth=server.auth, bucket=BUCKET) as session:
            Bucket(id=BUCKET).save().collections.new(id=COLLECTION).save()
            yield client, session


class Side(NamedTuple):
    """One side: its name and what it does once."""

    name: str
    work: Callable[[], object]


def take_turns(sides: list[Side], *, rounds: int, calls: int = 1) -> dict[str, float]:
    """Run the sides in turns, so that what disturbs the machine disturbs all of them.

    Args:
        sides: What to measure.
        rounds: How often each has its turn; the first one only warms up.
        calls: How often it works in one turn.

    Returns:
        By side: the median of the turns, in CPU seconds of this process for one call.
    """
    turns: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds + 1):
        # Each one begins a round now and then: none of them has the warmest cache.
        first = number % len(sides)
        for side in sides[first:] + sides[:first]:
            turns[side.name].append(_cpu_seconds(side.work, calls))
    return {name: statistics.median(seconds[1:]) for name, seconds in turns.items()}


def _cpu_seconds(work: Callable[[], object], calls: int) -> float:
    gc.collect()
    start = time.process_time()
    for _ in range(calls):
        work()
    return (time.process_time() - start) / calls


class Goal(NamedTuple):
    """A ratio of two sides and its bound.

    A bound of `at most` is on time of `side` / time of `beside`; `times as fast` is the inverse.
    """

    side: str
    beside: str
    at_most: float | None = None
    times_as_fast: float | None = None


def show(title: str, medians: dict[str, float], goals: list[Goal]) -> None:
    """Print the medians in milliseconds and how the goals were met."""
    print(title)
    width = max(map(len, medians))
    for name, seconds in medians.items():
        print(f"  {name:<{width}}  {seconds * 1000:10.3f} ms CPU")
    for goal in goals:
        print(f"  {_verdict(goal, medians)}")


def _verdict(goal: Goal, medians: dict[str, float]) -> str:
    ratio = medians[goal.side] / medians[goal.beside]
    if goal.at_most is not None:
        met = ratio <= goal.at_most
        found = f"{goal.side} takes {ratio:.2f} of {goal.beside}; goal: at most {goal.at_most}"
    else:
        wanted = goal.times_as_fast or 1.0
        met = 1 / ratio >= wanted
        found = f"{goal.side} is {1 / ratio:.2f} times as fast as {goal.beside}; goal: {wanted}"
    return f"{'met   ' if met else 'MISSED'} {found}"
