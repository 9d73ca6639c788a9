"""Whether a server lets two writers with the same precondition both win: tried, not guessed."""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from kinto_orm import (
    BatchError,
    Bucket,
    Collection,
    Conflict,
    KintoError,
    Record,
    ServerError,
    Session,
)

_ROUNDS = 6
_ALONE = 4
_IN_BATCHES = 2
_BATCH = 10

# Kinto validates a record between looking at its timestamp and writing it. That all items differ
# takes a server some hundredths of a second for so many of them.
_SLOW = {"type": "object", "properties": {"ballast": {"uniqueItems": True}}}
_BALLAST = [{"n": number} for number in range(200)]


@dataclass(frozen=True)
class Races:
    """How the races went.

    Attributes:
        writes: How many writes were told that they had won.
        lost: How many of these were overwritten by one that had not seen them.
        kept: How many records are in the scratch place after them.
        is_sure: Whether the writers had the time to meet: without a schema a server with nothing
            but memory has only a moment between looking and writing.
    """

    writes: int
    lost: int
    kept: int
    is_sure: bool


@contextmanager
def scratch(session: Session) -> Iterator[Session]:
    """A collection of its own to try things in; it is deleted at the end, however that comes.

    It is in a bucket of its own, which the server deletes with all that was in it.

    Raises:
        Forbidden: The user may not make a bucket.
    """
    bucket = Bucket(id=f"doctor-{uuid.uuid4()}")
    try:
        bucket.save(session=session)
        inside = session.scoped(bucket=bucket.id, collection="scratch")
        Collection(id="scratch", schema=_SLOW).save(session=inside)
        yield inside
    except BaseException:
        with suppress(KintoError):  # what went wrong first says more
            bucket.delete(session=session, missing_ok=True, force=True)
        raise
    bucket.delete(session=session, missing_ok=True, force=True)


def race(session: Session) -> Races:
    """Let writers that have read the same state write at the same time, several times.

    Some write in a batch. It is one transaction, which goes on for a while after the write: so a
    writer that comes meanwhile meets one that is not yet committed. Where that does not stop it
    (READ COMMITTED) both win, each time. Where there are no transactions at all (Kinto's memory
    backend) the schema makes the moment long between looking and writing.

    Args:
        session: On the scratch collection; without trying again.
    """
    winners = [_winners(session, f"round{number}") for number in range(_ROUNDS)]
    lost = sum(max(each - 1, 0) for each in winners)
    kept = Record.find(session=session).count()
    return Races(sum(winners), lost, kept, "schema" in session.server_info().capabilities)


def _winners(session: Session, id: str) -> int:
    """How many writers of one record are told that they have won."""
    read = Record(id=id, writer=None, ballast=_BALLAST).save(session=session)
    copies = [copy.deepcopy(read) for _ in range(_ALONE + _IN_BATCHES)]
    for number, each in enumerate(copies):
        each["writer"] = number
    works: list[Callable[[], None]] = [
        *(lambda each=each: _write(session, each) for each in copies[:_ALONE]),
        *(lambda each=each: _write_in_batch(session, each) for each in copies[_ALONE:]),
    ]
    _side_by_side(works)
    return sum(not each.diff() for each in copies)


def _write(session: Session, record: Record) -> None:
    record.save(session=session)


def _write_in_batch(session: Session, record: Record) -> None:
    with session.batch() as batch:
        batch.save(record, *(Record(after=record.id) for _ in range(_BATCH - 1)))


def _side_by_side(works: list[Callable[[], None]]) -> None:
    """Run them at the same time; that a writer is refused is no error."""
    start = threading.Barrier(len(works))
    errors: list[Exception] = []

    def run(work: Callable[[], None]) -> None:
        start.wait()
        try:
            work()
        except (Conflict, ServerError):
            return  # it has lost
        except BatchError as error:
            _, other = error.split((Conflict, ServerError))
            errors.extend(other.exceptions if other else ())
        except Exception as error:  # noqa: BLE001  (raised below)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if errors:
        raise errors[0]
