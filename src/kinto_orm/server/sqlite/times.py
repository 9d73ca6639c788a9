"""The clock of each list of objects: its times are unique, and grow."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from kinto.core import utils

from kinto_orm.server.sqlite.conditions import Sql

BURY = "UPDATE objects SET deleted = 1, last_modified = ?, data = ? WHERE number = ?"
_FIND = "SELECT key, last_modified FROM resources WHERE parent_id = ? AND resource_name = ?"


def time_of(connection: sqlite3.Connection, parent_id: str, resource_name: str) -> int | None:
    """Read the time of the last change of a list; None when it never had one."""
    found = connection.execute(_FIND, (parent_id, resource_name)).fetchone()
    return int(found[1]) if found else None


def start(connection: sqlite3.Connection, parent_id: str, resource_name: str) -> int:
    """Read the time of a list, which is now when it never had one."""
    return resource_of(connection, parent_id, resource_name, utils.msec_time())[1]


def tick(
    connection: sqlite3.Connection, parent_id: str, resource_name: str, given: int | None
) -> tuple[int, int]:
    """Choose the time of a change; return the list's number and that time.

    The time grows with each change of a list, by one millisecond at least. One that is given is
    taken, also one of the past, unless it is that of the last change.
    """
    found = connection.execute(_FIND, (parent_id, resource_name)).fetchone()
    last = found[1] if found else -1
    now = given
    if now is None or now == last:
        now = max(utils.msec_time(), last + 1)
    if not found:
        return resource_of(connection, parent_id, resource_name, now)
    if now > last:
        connection.execute("UPDATE resources SET last_modified = ? WHERE key = ?", (now, found[0]))
    return found[0], now


def bury(connection: sqlite3.Connection, rows: Iterable[Any], data: str) -> list[tuple[str, int]]:
    """Make tombstones of objects, each with a time of its own."""
    gone = []
    for number, object_id, _, parent_id, resource_name in rows:
        _, now = tick(connection, parent_id, resource_name, None)
        connection.execute(BURY, (now, data, number))
        gone.append((object_id, now))
    return gone


def forget_empty(connection: sqlite3.Connection, those: Sql) -> None:
    """Forget the times of lists with nothing in them, not even a tombstone, nor an index."""
    connection.execute(
        "DELETE FROM resources WHERE key IN (SELECT r.key FROM resources AS r "
        f"WHERE {those.text} AND NOT EXISTS (SELECT 1 FROM objects WHERE resource = r.key) "
        "AND NOT EXISTS (SELECT 1 FROM field_indexes WHERE resource = r.key))",
        those.values,
    )


def resource_of(
    connection: sqlite3.Connection, parent_id: str, resource_name: str, now: int
) -> tuple[int, int]:
    """Find a list's number and its time, or make it with the time that is given."""
    found = connection.execute(_FIND, (parent_id, resource_name)).fetchone()
    if found:
        key, modified = found
        return key, modified
    made = connection.execute(
        "INSERT INTO resources (parent_id, resource_name, last_modified) VALUES (?, ?, ?)",
        (parent_id, resource_name, now),
    )
    return int(made.lastrowid or 0), now
