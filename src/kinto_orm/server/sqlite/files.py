"""The file on the disk: its name in a URL, its modes, a connection to it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kinto_orm.errors import ConfigurationError
from kinto_orm.server.sqlite import schema
from kinto_orm.server.sqlite.values import teach

_OLDEST = (3, 35)  # RETURNING
# SQLite waits so long by itself when a file is busy; who wants to wait longer asks again.
_PATIENCE = 0.01
_STATEMENTS = 256
_LEAST_PAGE = 512
_PRAGMAS = (
    "PRAGMA cache_size = -16000",
    "PRAGMA journal_size_limit = 67108864",
)
# What macOS calls fsync does not wait for the disk itself; fullfsync does.
_DURABLE = ("PRAGMA synchronous = FULL", "PRAGMA fullfsync = ON")
_FAST = ("PRAGMA synchronous = OFF",)


MOVED = (
    "it was moved, deleted or exchanged while it was open: close what has it open, and open it "
    "again"
)
# The first that the name of SQLite's error begins with.
_REASONS = {
    "SQLITE_READONLY_DBMOVED": MOVED,
    "SQLITE_NOTADB": "it is no SQLite file",
    "SQLITE_CORRUPT": "it is damaged or cut off: put it back from a copy",
    "SQLITE_READONLY": "it may not be written to: give yourself the right to write to the file "
    "and to its directory",
    "SQLITE_CANTOPEN": "the system refuses: you need the right to write to the file and to its "
    "directory, where SQLite puts two files beside it",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR": "the disk cannot be read or written: is it full, or gone? Or the file is open "
    "under another name: close it there, for it cannot have two",
    "SQLITE_BUSY": "another program has locked it",
    "SQLITE_LOCKED": "it is being written to",
}
_LASTING = ("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_READONLY")


class MovedError(sqlite3.OperationalError):
    """There is another file, or none, where one was opened: what is written would be lost."""

    # As SQLite's own, which it has for files without a log.
    sqlite_errorname = "SQLITE_READONLY_DBMOVED"


def path_of(url: str) -> Path:
    """Find the path in `sqlite:///relative.db` or `sqlite:////absolute.db`, as SQLAlchemy does.

    Raises:
        ConfigurationError: There is none in it.
    """
    parts = urlsplit(url)
    name = unquote(parts.path)[1:]
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ConfigurationError(
            f"{url!r} names no file: write sqlite:///app.db, with %3F for a question mark in its "
            "name, and %23 for a #"
        )
    if parts.scheme != "sqlite" or parts.netloc or not name:
        raise ConfigurationError(
            f"{url!r} names no file: write sqlite:///app.db, or sqlite:////home/me/app.db with "
            "four slashes for an absolute path"
        )
    if name == ":memory:":
        raise ConfigurationError("a Kinto in memory is memory://, not sqlite:///:memory:")
    return resolved(name)


def resolved(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute, without links, so that one file has one name.

    Raises:
        ConfigurationError: No file can have that name.
    """
    try:
        return Path(path).expanduser().resolve()
    except (ValueError, RuntimeError, OSError) as error:  # a null byte, links in a circle
        raise ConfigurationError(f"{os.fspath(path)!r} can be no file: {error}") from error


def identity(path: Path) -> tuple[int, int] | None:
    """Tell which file is there, whatever its name; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def make(path: Path) -> bool:
    """Make the file when it is missing, for its owner only; return whether it was.

    Raises:
        ConfigurationError: It cannot be there, or it is the rest of one that was cut off.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        _check_file(path)
        return False
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be made: {error.strerror}. The directory must exist; in a URL, an "
            "absolute path has four slashes: sqlite:////home/me/app.db"
        ) from error
    return True


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigurationError(f"{path} is no file: give the name of one")
    _check_modes(path)
    log = _log_of(path)
    size, logged = _size(path), _size(log)
    # SQLite would take the empty file for a new one, and throw away what is in the log.
    if size == 0 and logged > 0:
        raise ConfigurationError(
            f"{path} is empty, but {log.name} beside it is not: the file was cut off or "
            "exchanged. Put it back from a copy. Nothing was changed."
        )
    # It would take the rest of a page for a whole one. With a log, it may yet become one.
    if size % _LEAST_PAGE and not logged:
        raise ConfigurationError(
            f"{path} is no SQLite file, or is damaged or cut off: put it back from a copy. "
            "Nothing was changed."
        )


def _check_modes(path: Path) -> None:
    """Look before SQLite does: it makes the two files beside one that is read-only as it is."""
    for each in (path, _log_of(path), path.with_name(path.name + "-shm")):
        if each.exists() and not os.access(each, os.W_OK):
            raise ConfigurationError(
                f"{path} cannot be opened: {each.name} may not be written to. Give yourself the "
                "right to write to it. Nothing was changed."
            )


def has_log(path: Path) -> bool:
    """Whether there is something in the log beside a file."""
    return _size(_log_of(path)) > 0


def left_behind(path: Path) -> str:
    """Say what to do about a log whose file is elsewhere."""
    return (
        f"{path} was moved, deleted or exchanged while it was open, and what was written last is "
        f"only in {_log_of(path).name} beside it. If you moved the file, give it this name again "
        "before anything opens it: then all is there."
    )


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def remove_empty(path: Path) -> None:
    """Remove a file that was made and could not be used, unless something is in it now."""
    with suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()


def remove_unused(path: Path) -> bool:
    """Remove a file into which nothing was ever put, if nobody has it open; whether it was.

    Whoever opens it meanwhile waits for the lock, and then writes nothing into what is gone.
    """
    url = f"{path.resolve().as_uri()}?mode=rw"  # of none that is not there
    with suppress(sqlite3.Error, OSError), closing(sqlite3.connect(url, uri=True)) as connection:
        connection.isolation_level = None
        # It takes the log away, and does that only where nobody else has the file open.
        (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        if mode != "delete":
            return False
        connection.execute("BEGIN EXCLUSIVE")
        if connection.execute("SELECT 1 FROM objects LIMIT 1").fetchone() is None:
            path.unlink()
            return True
    return False


def connect(path: Path, *, durable: bool) -> sqlite3.Connection:
    """Open a connection that any one thread at a time may use; transactions are begun by hand.

    Raises:
        ConfigurationError: Python has a SQLite that is too old, or the file is not ours.
        sqlite3.Error: The file cannot be opened, or is no SQLite file.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ConfigurationError(
            f"this Python has SQLite {sqlite3.sqlite_version}: it takes 3.35 or later"
        )
    connection = sqlite3.connect(
        path,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS,
    )
    try:
        schema.check(connection, str(path))  # before anything is changed
        _write_ahead(connection, path)
        for pragma in _PRAGMAS + (_DURABLE if durable else _FAST):
            connection.execute(pragma)
        teach(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection, path: Path) -> None:
    """Write into a log beside the file, so that who reads need not wait for who writes."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise ConfigurationError(
            f"{path} is where SQLite can keep no log beside a file (on a network drive?): put it "
            "on a disk of this machine"
        )


def why(error: sqlite3.Error) -> str:
    """Say what is wrong with a file, and what to do about it."""
    name = getattr(error, "sqlite_errorname", "")
    found = (reason for start, reason in _REASONS.items() if name.startswith(start))
    return next(found, f"it is damaged, or another program has changed it (SQLite: {error})")


def damaged(what: str) -> sqlite3.DatabaseError:
    """Make the error that SQLite itself raises of a damaged file."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def is_lasting(error: sqlite3.Error) -> bool:
    """Whether it is of no use to try again."""
    return getattr(error, "sqlite_errorname", "").startswith(_LASTING)


def explained(error: sqlite3.Error, path: Path) -> ConfigurationError:
    """Say why a file cannot be opened, and what to do about it."""
    return ConfigurationError(f"{path} cannot be opened: {why(error)}. Nothing was changed.")
