"""Races of workers who claim a job, by each way to save: one gets it."""

from __future__ import annotations

import threading
from contextlib import suppress

from kinto_orm import BatchError, Conflict, Session
from trust.races import RACERS, Job, winners, won


def test_a_job_is_claimed_once(races: Session, rounds: range) -> None:
    """Two workers write the same into a job."""

    def claim(id: str) -> bool:
        job = Job.get(id, session=races)
        if job.taken:
            return False
        job.taken = True
        return won(job.save)

    counts = []
    for number in rounds:
        id = Job(id=f"claim{number}").save(session=races).id
        counts.append(winners(2, lambda id=id: claim(id)))  # type: ignore[misc]
    assert counts == [1] * len(rounds)


def test_one_claims_by_save_all(races: Session, rounds: range) -> None:
    """Eight racers claim by save_all: one counts an update, the others a failure."""

    def claim(id: str) -> bool:
        job = Job.get(id, session=races)
        job.taken = True
        start.wait()
        return races.save_all([job]).updated == 1

    counts = []
    for number in rounds:
        start = threading.Barrier(RACERS)
        Job(id=f"all{number}").save(session=races)
        counts.append(winners(RACERS, lambda id=f"all{number}": claim(id)))
    assert counts == [1] * len(rounds)


def test_one_claims_by_batch(races: Session, rounds: range) -> None:
    """The same by a batch of two, of which the other one is nobody's concern."""

    def claim(id: str) -> bool:
        job = Job.get(id, session=races)
        job.taken = True
        batch = races.batch()
        start.wait()
        batch.get(Job, "visits")
        batch.save(job)
        with suppress(BatchError):
            batch.run()
        read, saved = batch.outcomes
        assert read.error is None
        assert saved.error is None or isinstance(saved.error, Conflict)
        return saved.error is None

    Job(id="visits").save(session=races, force=True)
    counts = []
    for number in rounds:
        start = threading.Barrier(RACERS)
        Job(id=f"batch{number}").save(session=races)
        counts.append(winners(RACERS, lambda id=f"batch{number}": claim(id)))
    assert counts == [1] * len(rounds)
