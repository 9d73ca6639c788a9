"""The connections of this process to one file, and whose turn it is to write."""

from __future__ import annotations

import atexit
import os
import random
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from kinto_orm.errors import ConfigurationError
from kinto_orm.server.sqlite import files, schema

T = TypeVar("T")

BUSY_SECONDS = 10.0
_FORK_SECONDS = 5.0

_opening = threading.RLock()
_open: WeakValueDictionary[Path, Database] = WeakValueDictionary()
# Files that the parent was using in the moment of the fork. What SQLite knows in this process of
# the locks on them is not true of a child, and nothing makes it forget.
_of_the_parent: set[Path] = set()


class Database:
    """One file that is open in this process.

    Whoever reads or writes takes a connection for the time of a transaction. One thread of the
    process writes at a time, and waits for writers of other processes.

    Args:
        path: The file, absolute; made when missing.
        durable: Wait for the disk at each commit.
        busy_seconds: How long to wait for other writers.

    Raises:
        ConfigurationError: It cannot be opened, or is not ours.
    """

    def __init__(self, path: Path, *, durable: bool, busy_seconds: float) -> None:
        self.path = path
        self.durable = durable
        self._busy_seconds = busy_seconds
        self._idle: list[sqlite3.Connection] = []
        self._in_use: dict[object, int] = {}
        self._calm = threading.Condition()
        self._writing = threading.Lock()
        self._paused = False
        self._closed = False
        self._prepare()

    def begin(self, *, writes: bool) -> sqlite3.Connection:
        """Take a connection and begin a transaction on it.

        Args:
            writes: Wait until nobody else writes, and be the only writer until the end. Else
                what is read is the state of now, and nobody waits for anybody.

        Raises:
            sqlite3.Error: Others wrote for too long, or the file cannot be read.
        """
        connection = self._take()
        try:
            if writes:
                self._begin_writing(connection)
            else:
                self._patiently(lambda: _begin_reading(connection))
        except BaseException:
            self._give_back(connection)
            raise
        return connection

    def begin_writing(self, connection: sqlite3.Connection) -> None:
        """Go over from reading to writing, in a state that may be a later one.

        SQLite does not let a reader write when another wrote since.
        """
        connection.execute("COMMIT")
        self._begin_writing(connection)

    def end(self, connection: sqlite3.Connection, *, writes: bool, commit: bool) -> None:
        """End the transaction and give the connection back.

        Raises:
            sqlite3.Error: It could not be committed, and is rolled back.
        """
        try:
            if commit:
                connection.execute("COMMIT")
        finally:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            finally:
                if writes:
                    self._writing.release()
                self._give_back(connection)

    @contextmanager
    def transaction(self, *, writes: bool) -> Iterator[sqlite3.Connection]:
        """Run one transaction: committed at the end, rolled back when there is an error."""
        connection = self.begin(writes=writes)
        done = False
        try:
            yield connection
            done = True
        finally:
            self.end(connection, writes=writes, commit=done)

    def refuse_moved(self) -> None:
        """Make sure that who opens the file now gets the one that is there.

        Raises:
            ConfigurationError: Another file, or none, is where this one was opened.
        """
        if self._is_moved():
            raise ConfigurationError(f"{self.path} cannot be opened: {files.MOVED}.")

    def secret(self) -> str:
        """Read the secret that the ids of users derive from."""
        with self.transaction(writes=True) as connection:
            return schema.secret(connection)

    def close(self) -> None:
        """Let transactions under way end, then close the connections. Idempotent.

        SQLite leaves its log where it is when the file is not there any more: that is said by a
        RuntimeWarning, for what was written last is in the log alone.
        """
        with self._calm:
            was_open, self._closed = not self._closed, True
            self._calm.wait_for(lambda: not self._in_use, self._busy_seconds)
            self._close_idle()
        with _opening:
            if _open.get(self.path) is self:
                del _open[self.path]
        if was_open and self._is_moved() and files.has_log(self.path):
            warnings.warn(files.left_behind(self.path), RuntimeWarning, stacklevel=2)

    def pause(self) -> None:
        """Close all connections before a fork, when those in use are given back."""
        with self._calm:
            self._paused = True
            own = threading.get_ident()
            self._calm.wait_for(
                lambda: own in self._in_use.values() or not self._in_use, _FORK_SECONDS
            )
            self._close_idle()

    def resume(self) -> None:
        """Go on after a fork, in the parent."""
        with self._calm:
            self._paused = False
            self._calm.notify_all()

    def begin_anew(self) -> bool:
        """Go on after a fork, in the child; return whether the parent left it a connection."""
        self._calm = threading.Condition()
        self._writing = threading.Lock()
        self._paused = False
        return bool(self._in_use)

    def _prepare(self) -> None:
        """Make the file or look whose it is, and bring its tables up to date."""
        is_new = files.make(self.path)
        self._identity = files.identity(self.path)
        try:
            self._idle.append(self._connect())
            with self.transaction(writes=True) as connection:
                schema.migrate(connection, str(self.path))
        except BaseException as error:
            self._close_idle()
            if is_new and not isinstance(error, KeyboardInterrupt):
                files.remove_empty(self.path)
            if isinstance(error, sqlite3.Error):
                raise files.explained(error, self.path) from error
            raise

    def _connect(self) -> sqlite3.Connection:
        return self._patiently(lambda: files.connect(self.path, durable=self.durable))

    def _take(self) -> sqlite3.Connection:
        with self._calm:
            self._calm.wait_for(lambda: not self._paused, self._busy_seconds)
            if self._closed or self.path in _of_the_parent:
                raise sqlite3.ProgrammingError(f"{self.path} is closed")
            place = self._idle.pop() if self._idle else object()
            self._in_use[place] = threading.get_ident()
        return place if isinstance(place, sqlite3.Connection) else self._fill(place)

    def _fill(self, place: object) -> sqlite3.Connection:
        """Open one more connection, for which a place is kept among those in use."""
        connection = None
        try:
            connection = self._connect()
        finally:
            with self._calm:
                owner = self._in_use.pop(place)
                if connection is not None:
                    self._in_use[connection] = owner
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._calm:
            del self._in_use[connection]
            self._idle.append(connection)
            if self._closed or self._paused:
                self._close_idle()
            if not self._in_use:
                self._calm.notify_all()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _begin_writing(self, connection: sqlite3.Connection) -> None:
        """Wait for the writers of this process in a queue, then for those of others."""
        if not self._writing.acquire(timeout=self._busy_seconds):
            raise sqlite3.OperationalError("database is locked: another thread is writing")
        try:
            self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
            self._check_place(connection)
        except BaseException:
            self._writing.release()
            raise

    def _check_place(self, connection: sqlite3.Connection) -> None:
        """Write nothing into a file that is not there any more."""
        if self._is_moved():
            connection.execute("ROLLBACK")
            raise files.MovedError(files.MOVED)

    def _is_moved(self) -> bool:
        """Whether another file, or none, is where this one was opened."""
        return files.identity(self.path) != self._identity

    def _patiently(self, act: Callable[[], T]) -> T:
        """Do something again for as long as the file is busy, and there is time."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                return act()
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
            # Others wait, too: not all in step.
            time.sleep(random.uniform(0.0005, 0.005))  # noqa: S311


def open_database(path: Path, *, durable: bool, busy_seconds: float) -> Database:
    """Open a file, or give the one that is open in this process already.

    Storage and permissions must write in one transaction, so they share the connections.
    """
    with _opening:
        if path in _of_the_parent:
            raise ConfigurationError(
                f"this process was forked while {path} was being used, so that it cannot open "
                "that file: fork between requests, or start the process another way (spawn)"
            )
        database = _open.get(path)
        if database is None:
            database = _open[path] = Database(path, durable=durable, busy_seconds=busy_seconds)
        database.refuse_moved()
        return database


@atexit.register
def _close_all() -> None:
    """Close what is still open at the end, so that SQLite needs no log beside the files."""
    for database in list(_open.values()):
        database.close()


def _begin_reading(connection: sqlite3.Connection) -> None:
    """Begin with a look at the file: what is read from now on is its state of now."""
    connection.execute("BEGIN")
    try:
        connection.execute("SELECT 1 FROM metadata LIMIT 1").fetchone()
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _before_fork() -> None:
    _opening.acquire()
    for database in list(_open.values()):
        database.pause()


def _after_fork_in_parent() -> None:
    for database in list(_open.values()):
        database.resume()
    _opening.release()


def _after_fork_in_child() -> None:
    global _opening  # noqa: PLW0603
    _opening = threading.RLock()
    for path, database in list(_open.items()):
        if database.begin_anew():
            _of_the_parent.add(path)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
