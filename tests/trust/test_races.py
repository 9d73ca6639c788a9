"""Races on PostgreSQL with two server processes: whoever is told that he won has won alone."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from kinto_orm import (
    BatchError,
    Bucket,
    Conflict,
    KeyNotFound,
    Record,
    Session,
    retry_on_conflict,
)
from kinto_orm.server import ProcessServer, serve_process

RACERS = 8
INCREMENTS = 40


class Job(Record, collection="jobs"):
    taken: bool = False
    count: int = 0


@pytest.fixture(scope="module")
def server() -> Iterator[ProcessServer]:
    """A Kinto on PostgreSQL in two processes, at the isolation level that we recommend."""
    with tempfile.TemporaryDirectory(prefix="kinto-orm-") as directory:
        url = f"local://{Path(directory).resolve()}/data"
        with serve_process(url, processes=2) as served:
            yield served


@pytest.fixture(scope="module")
def session(server: ProcessServer) -> Iterator[Session]:
    with Session(server.url, auth=server.auth, bucket="races", collection="jobs") as session:
        Bucket(id="races").save().collections.new(id="jobs").save()
        session.kv["first"] = 0  # makes the collection
        yield session


@pytest.fixture(scope="module")
def rounds(request: pytest.FixtureRequest) -> range:
    return range(request.config.getoption("--rounds"))


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


def test_counters_end_exact(session: Session) -> None:
    """What was acknowledged is what is stored."""
    Job(id="visits").save(session=session)
    acknowledged: list[int] = []

    @retry_on_conflict(times=500)
    def increment() -> None:
        job = Job.get("visits", session=session)
        job.count += 1
        job.save()

    def work(_: int) -> None:
        for _ in range(INCREMENTS):
            increment()
            acknowledged.append(1)

    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(work, range(RACERS)))
    assert len(acknowledged) == RACERS * INCREMENTS
    assert Job.get("visits", session=session).count == len(acknowledged)


def test_nested_counters_end_exact(session: Session) -> None:
    """Writers below one key lose nothing: the kind of counter that key values allow."""
    session.kv["list"] = []

    def work(number: int) -> None:
        for _ in range(INCREMENTS // 8):
            session.kv["list/-"] = number

    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(work, range(RACERS)))
    assert sorted(session.kv["list"]) == sorted(list(range(RACERS)) * (INCREMENTS // 8))


def test_a_job_is_claimed_once(session: Session, rounds: range) -> None:
    """Two workers write the same into a job."""

    def claim(id: str) -> bool:
        job = Job.get(id, session=session)
        if job.taken:
            return False
        job.taken = True
        return won(job.save)

    counts = []
    for number in rounds:
        id = Job(id=f"claim{number}").save(session=session).id
        counts.append(winners(2, lambda id=id: claim(id)))  # type: ignore[misc]
    assert counts == [1] * len(rounds)


def test_one_deletes(session: Session, rounds: range) -> None:
    """Eight racers delete the same record, loaded before."""
    counts = []
    for number in rounds:
        Job(id=f"delete{number}").save(session=session)
        jobs = iter([Job.get(f"delete{number}", session=session) for _ in range(RACERS)])
        counts.append(winners(RACERS, lambda jobs=jobs: won(next(jobs).delete)))  # type: ignore[misc]
    assert counts == [1] * len(rounds)


def test_one_creates(session: Session, rounds: range) -> None:
    """Eight racers create a record with the same id and the same value."""
    counts = [
        winners(RACERS, lambda id=f"create{number}": won(lambda: Job(id=id).save(session=session)))
        for number in rounds
    ]
    assert counts == [1] * len(rounds)


def test_one_gets_or_creates(session: Session, rounds: range) -> None:
    """Of eight racers one is told that it created the record, all get it."""
    counts = [
        winners(RACERS, lambda id=f"either{number}": Job.get_or_create(id, session=session)[1])
        for number in rounds
    ]
    assert counts == [1] * len(rounds)


def test_one_pops_a_key(session: Session, rounds: range) -> None:
    """Eight racers pop the same root key."""
    counts = []
    for number in rounds:
        session.kv[f"pop{number}"] = {"job": number}
        key = f"pop{number}"
        counts.append(winners(RACERS, lambda key=key: won(lambda: session.kv.pop(key))))
    assert counts == [1] * len(rounds)


def test_one_deletes_a_key(session: Session, rounds: range) -> None:
    """Eight racers delete the same root key; the others are told that there is none."""
    counts = []
    for number in rounds:
        session.kv[f"del{number}"] = number
        key = f"del{number}"
        counts.append(winners(RACERS, lambda key=key: won(lambda: session.kv.delete(key))))
    assert counts == [1] * len(rounds)


def test_each_pops_another_item(session: Session, rounds: range) -> None:
    """Of a list each gets an item of its own."""
    for number in rounds:
        session.kv["items"] = list(range(RACERS))
        popped: list[object] = []
        winners(
            RACERS,
            lambda popped=popped: won(  # type: ignore[misc]
                lambda: popped.append(session.kv.pop("items/0"))
            ),
        )
        left = session.kv["items"]
        assert sorted([*popped, *left]) == list(range(RACERS)), (number, popped, left)


def test_one_claims_by_save_all(session: Session, rounds: range) -> None:
    """Eight racers claim by save_all: one counts an update, the others a failure."""

    def claim(id: str) -> bool:
        job = Job.get(id, session=session)
        job.taken = True
        start.wait()
        return session.save_all([job]).updated == 1

    counts = []
    for number in rounds:
        start = threading.Barrier(RACERS)
        Job(id=f"all{number}").save(session=session)
        counts.append(winners(RACERS, lambda id=f"all{number}": claim(id)))
    assert counts == [1] * len(rounds)


def test_one_claims_by_batch(session: Session, rounds: range) -> None:
    """The same by a batch of two, of which the other one is nobody's concern."""

    def claim(id: str) -> bool:
        job = Job.get(id, session=session)
        job.taken = True
        batch = session.batch()
        start.wait()
        batch.get(Job, "visits")
        batch.save(job)
        with suppress(BatchError):
            batch.run()
        read, saved = batch.outcomes
        assert read.error is None
        assert saved.error is None or isinstance(saved.error, Conflict)
        return saved.error is None

    Job(id="visits").save(session=session, force=True)
    counts = []
    for number in rounds:
        start = threading.Barrier(RACERS)
        Job(id=f"batch{number}").save(session=session)
        counts.append(winners(RACERS, lambda id=f"batch{number}": claim(id)))
    assert counts == [1] * len(rounds)
