"""What the races share: the server, what is raced for, and how a race is run."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from kinto_orm import Bucket, Conflict, KeyNotFound, Record, Session
from kinto_orm.server import serve_process

RACERS = 8
INCREMENTS = 40


class Job(Record, collection="jobs"):
    taken: bool = False
    count: int = 0


@contextmanager
def racecourse() -> Iterator[Session]:
    """A Kinto on PostgreSQL in two processes, at the isolation level that we recommend."""
    with tempfile.TemporaryDirectory(prefix="kinto-orm-") as directory:
        url = f"local://{Path(directory).resolve()}/data"
        with (
            serve_process(url, processes=2) as server,
            Session(server.url, auth=server.auth, bucket="races", collection="jobs") as session,
        ):
            Bucket(id="races").save().collections.new(id="jobs").save()
            session.kv["first"] = 0  # makes the collection
            yield session


def winners(racers: int, race: Callable[[], bool]) -> int:
    """Run the same in threads that begin at the same time; how many say that they won."""
    start = threading.Barrier(racers)

    def run(_: int) -> bool:
        start.wait()
        return race()

    with ThreadPoolExecutor(racers) as pool:
        return sum(pool.map(run, range(racers)))


def won(act: Callable[[], object]) -> bool:
    """Whether something succeeded; a conflict, or that nothing is left, means it did not."""
    try:
        act()
    except (Conflict, KeyNotFound):
        return False
    return True
