"""One transaction for each request, which Kinto's transaction manager ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from json import JSONDecodeError
from typing import Any

import transaction
from kinto.core.errors import ERRORS, http_error
from kinto.core.storage import exceptions
from kinto.core.views import errors as views
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPInternalServerError, HTTPServiceUnavailable
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.settings import asbool
from pyramid.tweens import EXCVIEW

from kinto_orm.server.sqlite import files
from kinto_orm.server.sqlite.database import BUSY_SECONDS, Database, open_database
from kinto_orm.server.sqlite.files import path_of

_WRITING = {"POST", "PUT", "PATCH", "DELETE"}
# Whether the request that this thread answers may write.
_may_write: ContextVar[bool] = ContextVar("may_write", default=False)


class Work:
    """Gives the backends a connection that is in the right transaction.

    Args:
        database: The file.
        joined: Whether the transaction is that of the request; else each call has its own.
    """

    def __init__(self, database: Database, *, joined: bool) -> None:
        self.database = database
        self._joined = joined

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection to read."""
        with _as_kinto_says():
            if self._joined:
                yield self._part().connection
            else:
                with self.database.transaction(writes=False) as connection:
                    yield connection

    @contextmanager
    def writing(self, *, commit: bool = False) -> Iterator[sqlite3.Connection]:
        """Give a connection to write.

        Args:
            commit: End the transaction afterwards, also when it is that of the request.
        """
        with _as_kinto_says():
            if not self._joined:
                with self.database.transaction(writes=True) as connection:
                    yield connection
                return
            part = self._part(writes=True)
            part.let_write()
            yield part.connection
            if commit:
                transaction.commit()

    @contextmanager
    def alone(self) -> Iterator[Within]:
        """Begin a transaction apart from that of the request, which must have ended."""
        with _as_kinto_says(), self.database.transaction(writes=True) as connection:
            yield Within(connection)

    def _part(self, *, writes: bool = False) -> _Part:
        """Find this file's part in the current transaction, or begin it.

        A request that may write waits for its turn before it reads: then nobody writes between
        the look at a precondition and the write that depends on it.
        """
        current = transaction.get()
        try:
            part: _Part = current.data(self.database)
            part.check()
        except KeyError:
            part = _Part(self.database, writes=writes or _may_write.get())
            current.join(part)
            current.set_data(self.database, part)
        return part


class Within:
    """Gives the backends one connection for all calls; others end its transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to read."""
        with _as_kinto_says():
            yield self._connection

    @contextmanager
    def writing(self, *, commit: bool = False) -> Iterator[sqlite3.Connection]:
        """Give the connection to write; it is not committed here."""
        with _as_kinto_says():
            yield self._connection

    @contextmanager
    def alone(self) -> Iterator[Within]:
        """Go on in the same transaction: nobody else writes in it."""
        yield self


class _Part:
    """What one file has to do with a transaction: a resource manager of the package."""

    def __init__(self, database: Database, *, writes: bool) -> None:
        self.connection = database.begin(writes=writes)
        self._database = database
        self._writes = writes
        self._ended = False

    def check(self) -> None:
        """Make sure that the transaction goes on: SQLite rolls it back when the disk is full."""
        if not self.connection.in_transaction:
            raise sqlite3.OperationalError("the transaction was rolled back after an error")

    def let_write(self) -> None:
        """Wait for the turn to write, unless it is there."""
        if not self._writes:
            self._database.begin_writing(self.connection)
            self._writes = True

    def _end(self, *, commit: bool) -> None:
        if not self._ended:
            self._ended = True
            self._database.end(self.connection, writes=self._writes, commit=commit)

    def abort(self, current: object) -> None:
        """Roll back."""
        self._end(commit=False)

    def tpc_begin(self, current: object) -> None:
        """Do nothing yet."""

    def commit(self, current: object) -> None:
        """Do nothing yet."""

    def tpc_vote(self, current: object) -> None:
        """Commit: SQLite does it in one step, so that this is the last one to vote."""
        with _as_kinto_says():
            self.check()
            self._end(commit=True)

    def tpc_finish(self, current: object) -> None:
        """Do nothing more."""

    def tpc_abort(self, current: object) -> None:
        """Roll back what another one voted against."""
        self._end(commit=False)

    def sortKey(self) -> str:  # noqa: N802  (the interface's name)
        """Come last in the order of votes."""
        return f"~sqlite:{self._database.path}"


@contextmanager
def _as_kinto_says() -> Iterator[None]:
    """Raise Kinto's own errors for those of SQLite: they become 409 and 503."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise exceptions.IntegrityError(original=error) from error
    except sqlite3.Error as error:
        raise FileError(original=error) from error
    except OverflowError as error:
        raise exceptions.BackendError(original=error) from error
    except JSONDecodeError as error:  # nobody wrote that
        raise FileError(original=files.damaged("what is stored is no JSON")) from error


class FileError(exceptions.BackendError):  # type: ignore[misc]
    """Something is wrong with the file, or with its disk."""


def _say_why(error: FileError, request: Any) -> Any:
    """Answer with what is wrong: Kinto would only say that it is overloaded.

    With 503, which clients try again, where that may help; else with 500. The path is nothing that
    everybody should know.
    """
    is_lasting = files.is_lasting(error.original)
    views.logger.critical(error.original, exc_info=error)
    kind = HTTPInternalServerError if is_lasting else HTTPServiceUnavailable
    message = f"The file of this Kinto: {files.why(error.original)}."
    answer = http_error(kind(), errno=ERRORS.BACKEND, message=message)
    return (
        views.error(answer, request) if is_lasting else views.service_unavailable(answer, request)
    )


def _add_view(config: Configurator) -> None:
    config.add_view(_say_why, context=FileError, permission=NO_PERMISSION_REQUIRED)


def work_of(config: Configurator, prefix: str) -> Work:
    """Open the file that Kinto's settings name.

    The settings are `storage_url` and `permission_url`, and for each prefix `durable` (true:
    wait for the disk at each write) and `busy_seconds` (10: how long to wait for other writers).
    Who opens a file first in a process decides on these two.

    Raises:
        ConfigurationError: The file cannot be opened.
    """
    settings: Mapping[str, Any] = config.get_settings()
    joined = asbool(settings.get("transaction_per_request", False))
    config.include(_add_view)
    if joined:
        config.include(_add_tween)
    database = open_database(
        path_of(settings[f"{prefix}_url"]),
        durable=asbool(settings.get(f"{prefix}_durable", True)),
        busy_seconds=float(settings.get(f"{prefix}_busy_seconds", BUSY_SECONDS)),
    )
    return Work(database, joined=joined)


def _add_tween(config: Configurator) -> None:
    """Learn of each request inside of its transaction, before anything is read."""
    name = f"{__name__}.{knowing_the_method.__name__}"
    config.add_tween(name, under="pyramid_tm.tm_tween_factory", over=EXCVIEW)


def knowing_the_method(handler: Callable[[Any], Any], registry: object) -> Callable[[Any], Any]:
    """Make the tween that tells by its method whether a request may write."""

    def tween(request: Any) -> Any:
        before = _may_write.set(request.method in _WRITING)
        try:
            return handler(request)
        finally:
            _may_write.reset(before)

    return tween
