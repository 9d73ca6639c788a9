"""What is in the file: its tables, their version, and whose it is."""

from __future__ import annotations

import secrets
import sqlite3

from kinto_orm.errors import ConfigurationError

Migrations = tuple[tuple[str, ...], ...]

# "Knto": the file's header has it, by which `file` and others tell whose a SQLite file is.
APPLICATION_ID = 0x4B6E746F

# One for each version, which it makes of the one before. What is here was released: append only.
#
# `resources` has a line for each list of objects: the records of a collection, the collections of
# a bucket. Its time stands still when the list's last object is purged, so that it never goes back.
# A page by id and one by last_modified each have their index. Tombstones are few, so that those
# alone are indexed, and what lives is counted as all but them.
MIGRATIONS: Migrations = (
    (
        """
        CREATE TABLE metadata (
            name TEXT PRIMARY KEY NOT NULL,
            value TEXT NOT NULL
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE resources (
            key INTEGER PRIMARY KEY,
            parent_id TEXT NOT NULL,
            resource_name TEXT NOT NULL,
            last_modified INTEGER NOT NULL,
            UNIQUE (parent_id, resource_name)
        )
        """,
        "CREATE INDEX resources_by_name ON resources (resource_name)",
        """
        CREATE TABLE objects (
            number INTEGER PRIMARY KEY,
            resource INTEGER NOT NULL,
            id TEXT NOT NULL,
            last_modified INTEGER NOT NULL,
            deleted INTEGER NOT NULL DEFAULT 0,
            data TEXT NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX objects_by_id ON objects (resource, id)",
        "CREATE UNIQUE INDEX objects_by_time ON objects (resource, last_modified)",
        "CREATE INDEX tombstones ON objects (resource, last_modified) WHERE deleted",
        """
        CREATE TABLE user_principals (
            user_id TEXT NOT NULL,
            principal TEXT NOT NULL,
            PRIMARY KEY (user_id, principal)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX users_by_principal ON user_principals (principal)",
        """
        CREATE TABLE access_control_entries (
            object_id TEXT NOT NULL,
            permission TEXT NOT NULL,
            principal TEXT NOT NULL,
            PRIMARY KEY (object_id, permission, principal)
        ) WITHOUT ROWID
        """,
        """
        CREATE INDEX entries_by_principal
            ON access_control_entries (principal, permission, object_id)
        """,
    ),
    # Which fields of a list have an index: that of number 7 is called field_index_7.
    (
        """
        CREATE TABLE field_indexes (
            number INTEGER PRIMARY KEY,
            resource INTEGER NOT NULL,
            field TEXT NOT NULL,
            UNIQUE (resource, field)
        )
        """,
    ),
)
VERSION = len(MIGRATIONS)
SECRET = "userid_hmac_secret"  # noqa: S105


def check(connection: sqlite3.Connection, path: str, known: int = VERSION) -> int:
    """Find out which version the file has; 0 for a new one.

    Raises:
        ConfigurationError: It has a version above those that are known, or is another program's.
    """
    version = _number(connection, "user_version")
    application = _number(connection, "application_id")
    if application == APPLICATION_ID and version <= known:
        return version
    if application == APPLICATION_ID:
        raise ConfigurationError(
            f"{path} was written by a later version of kinto-orm (its tables have version "
            f"{version}, this one knows {known}): upgrade kinto-orm. Nothing was changed."
        )
    is_used = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if application or version or is_used:
        raise ConfigurationError(
            f"{path} is the SQLite file of another program: choose another name. "
            "Nothing was changed."
        )
    return 0


def migrate(connection: sqlite3.Connection, path: str, migrations: Migrations = MIGRATIONS) -> None:
    """Make the tables, or bring them up to date; the caller's transaction has the write lock."""
    for statements in migrations[check(connection, path, len(migrations)) :]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(migrations)}")


def secret(connection: sqlite3.Connection) -> str:
    """Read the secret that user ids derive from, made when missing."""
    made = secrets.token_urlsafe(32)
    connection.execute("INSERT OR IGNORE INTO metadata VALUES (?, ?)", (SECRET, made))
    found = connection.execute("SELECT value FROM metadata WHERE name = ?", (SECRET,))
    return str(found.fetchone()[0])


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
