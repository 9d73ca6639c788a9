"""Writers of one bucket take turns, so that a read-modify-write loses nothing.

Kinto's If-Match is not atomic: two writers that read the same state can both be accepted. So a
write on the kvp.io surface waits here until no other one is under way on its bucket. Three
things work together:

- a lock inside the process, held until the transaction has ended: enough for the memory backend,
  and it keeps a process from racing itself; in a SQLite file the transaction that begins after it
  is the only one that writes;
- a PostgreSQL advisory lock, held as long, for several processes over one database;
- If-Match and another try, for writers on Kinto's own API.
"""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections.abc import Callable
from typing import Final

from kinto.core.errors import ERRORS, http_error
from kinto.core.storage.exceptions import BackendError, IntegrityError
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPServiceUnavailable
from pyramid.request import Request

_ATTEMPTS: Final = 20
_LOCKS: Final = 8  # each writer needs two connections, and Kinto's pool has 20
_PATIENCE: Final = 30.0  # seconds to wait for one's turn
_PAUSE: Final = 0.01  # seconds, times the number of the attempt, at most
_RACES: Final = frozenset({"40001", "40P01"})  # PostgreSQL: serialization failure, deadlock
_ADVISORY_SPACE: Final = 0x6B7670  # "kvp": keeps our advisory locks apart from others'


class LostRace(Exception):
    """Another writer was first: the work has to be done again from its start."""


def setup(config: Configurator) -> None:
    """Make the locks of this process."""
    config.registry.kvp_locks = [threading.Lock() for _ in range(_LOCKS)]


def in_turn(request: Request, name: str, work: Callable[[], None]) -> None:
    """Run a read-modify-write while no other one is under way on the same thing.

    Args:
        request: The request that is being answered. Its transaction is begun anew.
        name: What is written, for instance a bucket's id.
        work: What to do; done again from its start when another writer was first.

    Raises:
        HTTPServiceUnavailable: 503: the turn did not come in time, or every attempt lost.
    """
    number = zlib.crc32(name.encode())
    _wait_in_process(request, number % _LOCKS)
    _wait_in_database(request, number - 2**31)
    for attempt in range(1, _ATTEMPTS + 1):
        _begin(request)
        try:
            return work()
        except (LostRace, BackendError) as error:
            if not _is_race(error):
                raise
        time.sleep(random.uniform(0, _PAUSE * attempt))  # noqa: S311
    raise _busy("other writers were first each time")


def _wait_in_process(request: Request, number: int) -> None:
    lock = request.registry.kvp_locks[number]
    request.tm.abort()  # who has the lock may need what this transaction holds: a file's write lock
    if not lock.acquire(timeout=_PATIENCE):
        raise _busy("other writers hold this bucket")
    # The transaction commits after the view: the lock must outlive it.
    request.add_finished_callback(lambda _: lock.release())


def _wait_in_database(request: Request, number: int) -> None:
    """Wait on a connection apart: the request's transaction must begin after the wait.

    Under REPEATABLE READ a transaction that itself had waited would not see what the writer
    before it stored.
    """
    client = getattr(request.registry.storage, "client", None)
    if client is None:
        return
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        connection = client.session_factory.get_bind().connect()
        # Closing ends this connection's transaction, and with it the lock.
        request.add_finished_callback(lambda _: connection.close())
        connection.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE:.0f}s'"))
        connection.execute(
            text("SELECT pg_advisory_xact_lock(:space, :number)"),
            {"space": _ADVISORY_SPACE, "number": number},
        )
    except SQLAlchemyError as error:
        raise _busy("other writers hold this bucket") from error


def _begin(request: Request) -> None:
    """Start from what is committed now, and drop what a lost attempt left behind."""
    request.tm.abort()
    request.tm.begin()
    request.bound_data.clear()


def _is_race(error: LostRace | BackendError) -> bool:
    if isinstance(error, LostRace | IntegrityError):
        return True
    cause = getattr(error.original, "orig", None)
    return getattr(cause, "pgcode", None) in _RACES


def _busy(reason: str) -> HTTPServiceUnavailable:
    return http_error(
        HTTPServiceUnavailable(),
        errno=ERRORS.BACKEND,
        message=f"The write was not done: {reason}. Send it again later.",
    )
