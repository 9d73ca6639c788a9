"""Several writers of one file: exact counts, one winner, all or nothing, and kill -9."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kinto_orm import Bucket, Conflict, Record, ServerError, Session
from kinto_orm.server import open_sqlite, serve, serve_process


class Counter(Record, collection="counters"):
    n: int = 0


# What each process does: each line of its output is a write that was acknowledged.
INCREMENT = """
import sys
from kinto_orm import Conflict, Record, Session
class Counter(Record, collection="counters"):
    n: int = 0
url, times = sys.argv[1], int(sys.argv[2])
with Session(url):
    for _ in range(times):
        while True:
            counter = Counter.get("x")
            counter.n += 1
            try:
                counter.save()
                break
            except Conflict:
                pass
"""
WRITE = """
import sys
from kinto_orm import Record, Session
class Note(Record, collection="notes"):
    text: str
with Session(sys.argv[1]):
    n = 0
    while True:
        note = Note(text=f"{n} " + "x" * (n % 7) * 500).save()
        print(note.id, flush=True)
        if n % 5 == 4:
            note.text += "!"
            note.save()
            print(note.id + "!", flush=True)
        n += 1
"""


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
    )


def integrity(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [said for (said,) in connection.execute("PRAGMA integrity_check")]


def side_by_side(threads: int, act: Callable[[], None]) -> None:
    workers = [threading.Thread(target=act) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def increment(session: Session, times: int) -> None:
    for _ in range(times):
        while True:
            counter = Counter.get("x", session=session)
            counter.n += 1
            try:
                counter.save()
                break
            except Conflict:
                continue


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file with a counter in it."""
    found = f"sqlite:///{tmp_path / 'app.db'}"
    with Session(found):
        Counter(id="x").save()
    return found


def test_threads_that_increment_lose_no_count(url: str, one_in: int) -> None:
    """8 threads that share a session, and none of them gets anything but a conflict."""
    with Session(url, retry=None) as session:
        side_by_side(8, lambda: increment(session, 40 // one_in))
        assert Counter.get("x").n == 320 // one_in


def test_processes_that_increment_lose_no_count(url: str, one_in: int) -> None:
    """4 processes that have the file open themselves."""
    children = [python(INCREMENT, url, str(80 // one_in)) for _ in range(4)]
    for child in children:
        child.communicate()
    assert [child.returncode for child in children] == [0] * 4
    with Session(url):
        assert Counter.get("x").n == 320 // one_in


def test_two_served_processes_share_a_file(tmp_path: Path) -> None:
    """Whichever of them answers, it is the same Kinto; both end with this process."""
    url = f"sqlite:///{tmp_path / 'app.db'}"
    with serve_process(url, processes=2) as served:
        with Session(served.url, auth=served.auth) as session:
            Counter(id="x").save()
            side_by_side(4, lambda: increment(session, 10))
        assert len(served.pids) == 2
    with Session(url):
        assert Counter.get("x").n == 40


def test_of_many_who_create_one_wins(url: str) -> None:
    """A creation with `If-None-Match: *` has one winner."""
    won, lost = [], []

    def create() -> None:
        try:
            won.append(Counter(id="y").save(session=session))
        except Conflict as error:
            lost.append(error)

    with Session(url) as session:
        side_by_side(8, create)
    assert (len(won), len(lost)) == (1, 7)


def test_who_reads_does_not_wait_for_who_writes(url: str, tmp_path: Path) -> None:
    """A writer that another program holds up keeps no reader waiting; its own write waits."""
    with Session(url) as session, closing(sqlite3.connect(tmp_path / "app.db")) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE metadata SET value = value")
        saving = threading.Thread(target=increment, args=(session, 1))
        saving.start()
        began = time.monotonic()
        for _ in range(20):
            assert Counter.get("x").n == 0
        assert time.monotonic() - began < 5
        assert saving.is_alive()
        other.execute("ROLLBACK")
        saving.join()
        assert Counter.get("x").n == 1


def test_who_waits_too_long_is_told_so(tmp_path: Path) -> None:
    """The write is answered with the status 503, and was not done."""
    path = tmp_path / "app.db"
    settings = {"storage_busy_seconds": "0.2"}
    with (
        open_sqlite(path, settings=settings) as server,
        serve(server) as served,
        Session(served.url, auth=server.auth, retry=None) as session,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        Bucket(id="b").save()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServerError) as caught:
            Bucket(id="c").save()
        assert caught.value.status == 503
        other.execute("ROLLBACK")
        assert Bucket.get_or_none("c", session=session) is None


def test_times_grow_and_are_unique_across_processes(tmp_path: Path) -> None:
    """Each change of a collection has a time of its own."""
    url = f"sqlite:///{tmp_path / 'app.db'}"
    children = [python(WRITE, url) for _ in range(2)]
    for child in children:
        for _ in range(20):
            assert child.stdout
            child.stdout.readline()
    for child in children:
        child.kill()
        child.communicate()
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        twice = connection.execute(
            "SELECT 1 FROM objects GROUP BY resource, last_modified HAVING count(*) > 1"
        )
        assert twice.fetchall() == []


def test_what_was_acknowledged_survives_being_killed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Two processes write and are killed (SIGKILL) at random moments; `--rounds` says how often."""
    path = tmp_path / "app.db"
    url = f"sqlite:///{path}"
    chance = random.Random(request.config.getoption("--rounds"))
    for _ in range(max(2, request.config.getoption("--rounds") // 10)):
        acknowledged = killed_while_writing(url, chance.uniform(0.05, 0.6))
        assert acknowledged <= stored(path)
        assert integrity(path) == ["ok"]


def killed_while_writing(url: str, seconds: float) -> set[str]:
    """Let two processes write for a while and kill them; return what they were told is stored."""
    children = [python(WRITE, url) for _ in range(2)]
    first = [str(child.stdout and child.stdout.readline()) for child in children]
    time.sleep(seconds)
    for child in children:
        os.kill(child.pid, signal.SIGKILL)
    rest = [child.communicate()[0] for child in children]
    lines = "".join(first + rest).split("\n")
    return {line for line in lines[:-1] if line}


def stored(path: Path) -> set[str]:
    """The ids of the notes in a file, and with a mark those that were changed."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT id, json_extract(data, '$.text') FROM objects AS o "
            "JOIN resources AS r ON r.key = o.resource WHERE r.resource_name = 'record'"
        ).fetchall()
    return {name for name, _ in rows} | {f"{name}!" for name, text in rows if text[-1:] == "!"}
