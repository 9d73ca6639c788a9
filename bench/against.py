"""This source tree beside that of another commit: CPU time of the client, the sides taking turns.

    python bench/against.py v0.1.0

Each side is a process of its own on the same server. The median of the ratios, round by round, is
printed: whatever disturbs the machine disturbs both.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _both import BUCKET, COLLECTION, Article, article_data

from kinto_orm import Bucket, Session
from kinto_orm.server import serve_process

HERE = Path(__file__).resolve().parent
PASSWORD = "bench"
WORK = ("get_one", "save_one", "save_unchanged", "load_page", "save_all")
MODEL = "from kinto_orm import Record\nclass Todo(Record): title: str"


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The tree of a commit, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="kinto-orm-against-") as directory:
        archive = subprocess.run(
            ["git", "archive", commit, "src"], check=True, capture_output=True, cwd=HERE.parent
        ).stdout
        subprocess.run(["tar", "-x", "-C", directory], input=archive, check=True)
        yield Path(directory) / "src"


def environment(source: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(source)}


class Side:
    """One source tree at work."""

    def __init__(self, source: Path, url: str) -> None:
        self._source = source
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "_work.py"), url, PASSWORD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(source),
        )

    def seconds(self, work: str) -> float:
        """CPU time of one call."""
        if work == "import_time":
            return self._importing()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(work + "\n")
        self._process.stdin.flush()
        found: float = json.loads(self._process.stdout.readline())
        return found

    def _importing(self) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", MODEL], check=True, env=environment(self._source))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def fill(server: Any) -> None:
    """What `load_page` loads."""
    with Session(server.url, auth=("bench", PASSWORD), bucket=BUCKET) as session:
        Bucket(id=BUCKET).save().collections.new(id=COLLECTION).save()
        session.save_all(Article(**article_data(number)) for number in range(2000))


arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("commit", help="what to compare with")
arguments.add_argument("--rounds", type=int, default=15)
given = arguments.parse_args()

settings = {"history.exclude_resources": f"/buckets/{BUCKET}"}
with (
    checkout(given.commit) as theirs,
    serve_process("memory://", settings=settings) as server,
):
    fill(server)
    sides = [Side(HERE.parent / "src", server.url), Side(theirs, server.url)]
    try:
        for work in (*WORK, "import_time"):
            ours, others = [], []
            for number in range(given.rounds):
                turn = list(zip(sides, (ours, others), strict=True))
                for side, found in turn[:: 1 if number % 2 else -1]:
                    found.append(side.seconds(work))
            ratios = sorted(a / b for a, b in zip(ours, others, strict=True))
            print(
                f"{work:<15} {statistics.median(ours) * 1000:9.3f} ms, was "
                f"{statistics.median(others) * 1000:9.3f} ms: {statistics.median(ratios):.2f} "
                f"({ratios[len(ratios) // 4]:.2f} to {ratios[-1 - len(ratios) // 4]:.2f})"
            )
    finally:
        for side in sides:
            side.close()
