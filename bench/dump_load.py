"""Dump a bucket and load it into another server, with the permissions of each record.

Made records are loaded into a first server, dumped, and loaded into a second one by a command that
is interrupted half way and run again. Then the dumps of both are compared, line by line. Each
command is a process of its own; the most memory that it held is told beside that of a dump of
nothing.

    python bench/dump_load.py                     # 2,000 records
    python bench/dump_load.py --records 100000    # an hour on two cores that have other work
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from _both import article_data

from kinto_orm.server import serve_process

# How much more than for nothing a command may hold, whatever it dumps or loads.
GOAL = 40
BUCKET = "/buckets/bench"
# One secret, so that one user is the same principal on both servers.
SETTINGS = {"history.exclude_resources": BUCKET, "kinto.userid_hmac_secret": "bench"}


class Ran(NamedTuple):
    """How a command ended, in how many seconds, and the most megabytes that it held."""

    status: int
    seconds: float
    megabytes: float


def run(*arguments: str, server: Any, interrupt_after: float | None = None) -> Ran:
    """Run a command; after so many seconds Ctrl-C is pressed."""
    environment = {
        **os.environ,
        "KINTO_ORM_SERVER": server.url,
        "KINTO_ORM_AUTH": ":".join(server.auth),
    }
    start = time.perf_counter()
    command = [sys.executable, "-m", "kinto_orm.cli", *arguments]
    process = subprocess.Popen(command, env=environment)
    if interrupt_after is not None:
        time.sleep(interrupt_after)
        process.send_signal(signal.SIGINT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Ran(process.returncode, time.perf_counter() - start, usage.ru_maxrss / unit)


def made(count: int) -> Iterator[dict[str, Any]]:
    """The lines of a dump of so many records."""
    yield {"format": "kinto-orm dump", "version": 1, "buckets": ["bench"]}
    yield {"uri": BUCKET, "data": {"theme": "dark"}}
    collection = f"{BUCKET}/collections/articles"
    yield {"uri": collection, "data": {}, "permissions": {"read": ["system.Everyone"]}}
    for number in range(count):
        yield {
            "uri": f"{collection}/records/r{number:07}",
            "data": article_data(number) | {"größe": number * 0.25, "odd name": [None, True, {}]},
            "permissions": {"read": [f"account:{number % 100}", "system.Authenticated"]},
        }
    yield {"complete": True, "objects": count + 2}


def compare(one: Path, other: Path) -> int:
    """Compare two dumps but for the times; how many lines are equal."""
    count = 0
    with one.open() as mine, other.open() as theirs:
        for count, (a, b) in enumerate(itertools.zip_longest(mine, theirs, fillvalue="null"), 1):
            if _content(a) != _content(b):
                raise SystemExit(f"line {count} differs:\n{a}{b}")
    return count


def _content(line: str) -> Any:
    value = json.loads(line)
    if value and "uri" in value:
        value["data"].pop("last_modified")
    return value


def show(what: str, ran: Ran, count: int) -> None:
    print(
        f"  {what:<34} {ran.seconds:8.1f} s, {count / ran.seconds:6.0f} records a second, "
        f"{ran.megabytes:6.1f} MB",
        flush=True,
    )


# A shell lets what it runs in the background ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--records", type=int, default=2000)
arguments.add_argument("--workers", default="4")
given = arguments.parse_args()
count, workers = given.records, ("--workers", given.workers)

with (
    tempfile.TemporaryDirectory(prefix="kinto-orm-bench-") as name,
    serve_process(f"sqlite:///{name}/one.db", settings=SETTINGS) as first,
    serve_process(f"sqlite:///{name}/two.db", settings=SETTINGS) as second,
):
    second.auth = first.auth
    source, one, two = (Path(name) / f"{each}.ndjson" for each in ("made", "one", "two"))
    with source.open("w") as file:
        file.writelines(json.dumps(each) + "\n" for each in made(count))
    print(f"{count} records of twelve fields with permissions, {given.workers} workers")
    nothing = run("ls", server=first)
    ran = run("load", str(source), *workers, server=first)
    assert ran.status == 0
    show("load", ran, count)
    grown = [ran]
    where = ("--bucket", "bench", *workers)
    ran = run("dump", "--output", str(one), *where, server=first)
    assert ran.status == 0
    show("dump", ran, count)
    grown.append(ran)
    half = run("load", str(one), *workers, server=second, interrupt_after=grown[0].seconds / 2)
    assert half.status == 130, half
    show("load, interrupted half way", half, count // 2)
    ran = run("load", str(one), *workers, server=second)
    assert ran.status == 0
    show("the rest, by the same command", ran, count - count // 2)
    grown.append(ran)
    ran = run("load", str(one), *workers, server=second)
    assert ran.status == 0
    show("once more, nothing to do", ran, count)
    assert run("dump", "--output", str(two), *where, server=second).status == 0
    print(f"  {compare(one, two)} lines are equal in both dumps")

most = max(each.megabytes for each in grown) - nothing.megabytes
verdict = "met   " if most < GOAL else "MISSED"
print(f"  {verdict} memory grows by {most:.1f} MB; goal: under {GOAL} MB, however many records")
