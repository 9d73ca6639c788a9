"""A Kinto whose data stays in one file, in SQLite."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kinto_orm.errors import ConfigurationError
from kinto_orm.server.embedded import EmbeddedServer, build, own_user, plain
from kinto_orm.server.quiet import extra
from kinto_orm.wire.forking import call_in_children

if TYPE_CHECKING:
    from kinto_orm.server.sqlite.database import Database

_open: dict[Path, _File] = {}
_opening = threading.Lock()


@call_in_children
def _begin_anew() -> None:
    """Leave the open files to the parent, in a forked child, which may open them itself."""
    global _opening  # noqa: PLW0603
    _opening = threading.Lock()
    _open.clear()


def open_sqlite(
    path: str | os.PathLike[str],
    *,
    settings: Mapping[str, str] | None = None,
    durable: bool = True,
) -> EmbeddedServer:
    """Open the Kinto whose data is in a file, made when missing, for its owner only.

    Threads and processes may open the same file. One writes at a time, and the others wait for
    their turn, up to ten seconds; after that a write is answered with the status 503. Who reads
    waits for nobody. SQLite has two files beside it, with `-wal` and `-shm` after its name, while
    it is open and after a crash: they belong to it.

    Args:
        path: The file; its directory must exist, on a disk of this machine.
        settings: Kinto's settings by name, merged over the server's own;
            `kinto.includes` adds plugins to its own.
        durable: Wait for the disk at each write: what was answered is there after a crash of the
            machine, too. False may lose everything when the machine stops: for tests. Whoever
            opens the file first in a process decides.

    Raises:
        ConfigurationError: The extra `server` is not installed, the file cannot be used, or this
            process has it open with other settings. Nothing in the file was changed then.
    """
    from kinto_orm.server.sqlite.files import resolved

    found = resolved(path)
    given = plain(settings)
    with _opening:
        shared = _open.get(found)
        if shared is None:
            shared = _open[found] = _File(found, given, durable=durable)
        elif shared.settings != given:
            raise ConfigurationError(f"{found} is open in this process with other settings")
        shared.database.refuse_moved()
        shared.users += 1
    return shared.entrance()


class _File:
    """What the servers of this process that are open on one file share."""

    users = 0

    def __init__(self, path: Path, settings: dict[str, str], *, durable: bool) -> None:
        with extra():  # before anything is made
            from kinto_orm.server.application import sqlite_settings
        from kinto_orm.server.sqlite.database import BUSY_SECONDS, open_database

        self.settings = settings
        self._path = path
        busy_seconds = float(settings.get("storage_busy_seconds", BUSY_SECONDS))
        self.database = open_database(path, durable=durable, busy_seconds=busy_seconds)
        with _closed_on_error(self.database, path):
            secret = settings.get("userid_hmac_secret") or self.database.secret()
            self._application = build(sqlite_settings(path), secret, settings)
            self._auth = own_user(secret)

    def entrance(self) -> EmbeddedServer:
        """Make one server of those that share this file."""
        return EmbeddedServer(
            self._application, self._auth, one_at_a_time=False, on_close=self._leave
        )

    def _leave(self) -> None:
        """Close the file when the last server of this process is closed."""
        with _opening:
            self.users -= 1
            if self.users == 0:
                del _open[self._path]
                self.database.close()


@contextmanager
def _closed_on_error(database: Database, path: Path) -> Iterator[None]:
    from kinto_orm.server.sqlite.files import explained

    try:
        yield
    except BaseException as error:
        database.close()
        if isinstance(error, sqlite3.Error):
            raise explained(error, path) from error
        raise
