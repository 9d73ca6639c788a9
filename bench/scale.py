"""Write very many records with save_all and read them back: memory, speed, and what got lost.

Three passes, each into a collection of its own, on a Kinto with PostgreSQL in a process of its
own. The server is the limit: it keeps no history here, and does not wait for the disk.

1. one worker writes all records, then they are iterated over;
2. four workers write them;
3. four workers write them, and half way the server is killed and started again.

After each pass every id is accounted for: it is stored once, or a failure names it.

    python bench/scale.py                               # 1,000 records each
    python bench/scale.py --records 100000 --passes 1   # a quarter of an hour on two cores
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

from _both import BUCKET, Article, article_data

from kinto_orm import Retry, Session, Summary

GOAL = 60
SERVER = """
import json, sys
from kinto_orm.server import open_local, serve
quick = {"settings": {"history.exclude_resources": "/buckets/bench"}, "durable": False}
with open_local(sys.argv[1], **quick) as kinto, serve(kinto, port=int(sys.argv[2]), threads=8):
    print(json.dumps(kinto.auth), flush=True)
    sys.stdin.read()
"""


class Server:
    """A Kinto on a fixed port, in a process that can be killed and started again."""

    def __init__(self, directory: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.directory = directory
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, self.directory, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.auth = tuple(json.loads(self.process.stdout.readline()))

    def restart(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.communicate()


def megabytes() -> float:
    """The most memory that this process has ever held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def id_of(number: int) -> str:
    return f"r{number:08}"


def articles(model: type[Article], count: int) -> Iterator[Article]:
    return (model(id=id_of(n), **article_data(n)) for n in range(count))


def account(model: type[Article], count: int, summary: Summary) -> tuple[int, int]:
    """How many are stored; how many are neither stored nor named by a failure."""
    failed = {each.target.id for each in summary.failed}
    expected = map(id_of, range(count))
    stored = lost = 0
    for found in model.find():
        stored += 1
        # Both go by id: whatever is skipped here is not on the server.
        for id in expected:
            if id == found.id:
                break
            lost += id not in failed
        else:
            raise AssertionError(f"{found.id} comes twice, or was never written")
    return stored, lost + sum(id not in failed for id in expected)


def run(title: str, server: Server, count: int, *, workers: int, restart: bool = False) -> bool:
    """One pass; whether the goals were met."""

    class Here(Article, collection=title.split()[0]):
        pass

    restarts: list[threading.Thread] = []

    def progress(summary: Summary) -> None:
        if restart and not restarts and summary.total >= count // 2:
            restarts.append(threading.Thread(target=server.restart))
            restarts[0].start()

    with Session(server.url, auth=server.auth, bucket=BUCKET, retry=Retry(30)) as session:
        session.sync_schema(Here)
        Here(id="warm", **article_data(0)).save().delete()
        before, start = megabytes(), time.perf_counter()
        summary = session.save_all(articles(Here, count), workers=workers, progress=progress)
        written = time.perf_counter()
        for each in restarts:
            each.join()
        stored, lost = account(Here, count, summary)
        read = time.perf_counter()
        grown = megabytes() - before
    print(f"{title}: {summary}")
    print(f"  written {count / (written - start):8.0f} a second ({written - start:.1f} s)")
    print(f"  read    {stored / (read - written):8.0f} a second ({read - written:.1f} s)")
    met = grown <= GOAL and lost == 0
    print(
        f"  {'met   ' if met else 'MISSED'} {stored} stored, {lost} lost without a failure;", end=""
    )
    print(f" {grown:.1f} MB above the start; goal: at most {GOAL}", flush=True)
    return met


PASSES = {
    "1": ("one worker", {"workers": 1}),
    "2": ("four workers", {"workers": 4}),
    "3": ("restart half way, four workers", {"workers": 4, "restart": True}),
}

if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--records", type=int, default=1_000)
    arguments.add_argument("--passes", nargs="*", choices=PASSES, default=list(PASSES))
    given = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="kinto-orm-scale-") as directory,
        Server(directory) as server,
    ):
        met = []
        for name in given.passes:
            title, options = PASSES[name]
            met.append(run(title, server, given.records, **options))
    sys.exit(not all(met))
