"""Load the same rows twice: what the second load sends, and how long both take.

With `existing="update"` the second load reads a hundred rows with each request, and writes
nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from _counting import Counting, shown

from kinto_orm import Record, Session

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--rows", type=int, default=20_000)
given = arguments.parse_args()


class Row(Record, collection="rows"):
    """What is loaded."""

    name: str
    n: int
    tags: list[str]


def rows() -> Iterator[Row]:
    return (Row(id=f"r{n}", name=f"Row {n}", n=n, tags=["a", "b"]) for n in range(given.rows))


counting = Counting()
with Session("memory://", auth=counting, bucket="bench") as session:
    session.sync_schema(Row)
    shown("first load", counting, lambda: session.save_all(rows(), existing="update"))
    shown("second load", counting, lambda: session.save_all(rows(), existing="update"))
    shown("replace", counting, lambda: session.save_all(rows(), existing="replace"))
    shown("sync", counting, lambda: session.sync(Row, rows(), delete_missing=True))
