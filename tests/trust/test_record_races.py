"""Races for records on PostgreSQL: whoever is told that he won has won alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from kinto_orm import Session, retry_on_conflict
from trust.races import INCREMENTS, RACERS, Job, winners, won


def test_counters_end_exact(races: Session) -> None:
    """What was acknowledged is what is stored."""
    Job(id="visits").save(session=races)
    acknowledged: list[int] = []

    @retry_on_conflict(times=500)
    def increment() -> None:
        job = Job.get("visits", session=races)
        job.count += 1
        job.save()

    def work(_: int) -> None:
        for _ in range(INCREMENTS):
            increment()
            acknowledged.append(1)

    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(work, range(RACERS)))
    assert len(acknowledged) == RACERS * INCREMENTS
    assert Job.get("visits", session=races).count == len(acknowledged)


def test_one_creates(races: Session, rounds: range) -> None:
    """Eight racers create a record with the same id and the same value."""
    counts = [
        winners(RACERS, lambda id=f"create{number}": won(lambda: Job(id=id).save(session=races)))
        for number in rounds
    ]
    assert counts == [1] * len(rounds)


def test_one_gets_or_creates(races: Session, rounds: range) -> None:
    """Of eight racers one is told that it created the record, all get it."""
    counts = [
        winners(RACERS, lambda id=f"either{number}": Job.get_or_create(id, session=races)[1])
        for number in rounds
    ]
    assert counts == [1] * len(rounds)


def test_one_deletes(races: Session, rounds: range) -> None:
    """Eight racers delete the same record, loaded before."""
    counts = []
    for number in rounds:
        Job(id=f"delete{number}").save(session=races)
        jobs = iter([Job.get(f"delete{number}", session=races) for _ in range(RACERS)])
        counts.append(winners(RACERS, lambda jobs=jobs: won(next(jobs).delete)))  # type: ignore[misc]
    assert counts == [1] * len(rounds)
