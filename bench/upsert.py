"""Load the same rows twice: what the second load sends, and how long both take.

With `existing="update"` the second load reads a hundred rows with each request, and writes
nothing.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

from kinto_orm import Record, Session

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--rows", type=int, default=20_000)
given = arguments.parse_args()


class Row(Record, collection="rows"):
    """What is loaded."""

    name: str
    n: int
    tags: list[str]


class Counting(AuthBase):
    """Credentials that count what is sent, by method."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self._basic = HTTPBasicAuth("bench", "bench")

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        self.sent[str(request.method)] += 1
        self._basic(request)
        return request


def rows() -> Iterator[Row]:
    return (Row(id=f"r{n}", name=f"Row {n}", n=n, tags=["a", "b"]) for n in range(given.rows))


def shown(what: str, counting: Counting, act: Any) -> None:
    counting.sent.clear()
    start = time.perf_counter()
    said = str(act()).splitlines()[0]
    sent = ", ".join(f"{count} {method}" for method, count in sorted(counting.sent.items()))
    print(f"{what:12} {time.perf_counter() - start:6.1f} s   {sent:24} {said}")


counting = Counting()
with Session("memory://", auth=counting, bucket="bench") as session:
    session.sync_schema(Row)
    shown("first load", counting, lambda: session.save_all(rows(), existing="update"))
    shown("second load", counting, lambda: session.save_all(rows(), existing="update"))
    shown("sync", counting, lambda: session.sync(Row, rows(), delete_missing=True))
