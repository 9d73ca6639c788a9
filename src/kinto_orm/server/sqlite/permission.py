"""Kinto's permission backend in a SQLite file: `kinto.permission_backend` names this module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kinto.core.permission import PermissionBase
from pyramid.config import Configurator

from kinto_orm.server.sqlite.conditions import glob
from kinto_orm.server.sqlite.transactions import Work, work_of

Bound = tuple[str, str]
"""An object's URI and the name of a permission on it."""

# Who is in this group is so as everyone who is logged in.
_LOGGED_IN = "system.Authenticated"


class Permission(PermissionBase):  # type: ignore[misc]
    """Permissions in a SQLite file. The base class says what each method does."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work

    def initialize_schema(self, dry_run: bool = False) -> None:
        """Do nothing: the tables are made, or brought up to date, when the file is opened."""

    def flush(self) -> None:
        """Delete all permissions and all memberships."""
        with self.work.writing(commit=True) as connection:
            connection.execute("DELETE FROM user_principals")
            connection.execute("DELETE FROM access_control_entries")

    def add_user_principal(self, user_id: str, principal: str) -> None:
        """Give a user a principal, such as that of a group."""
        self._write("INSERT OR IGNORE INTO user_principals VALUES (?, ?)", user_id, principal)

    def remove_user_principal(self, user_id: str, principal: str) -> None:
        """Take a principal from a user."""
        self._write(
            "DELETE FROM user_principals WHERE user_id = ? AND principal = ?", user_id, principal
        )

    def remove_principal(self, principal: str) -> None:
        """Take a principal from all users."""
        self._write("DELETE FROM user_principals WHERE principal = ?", principal)

    def get_user_principals(self, user_id: str) -> set[str]:
        """Read the principals that a user was given."""
        return self._set(
            "SELECT principal FROM user_principals WHERE user_id IN (?, ?)", user_id, _LOGGED_IN
        )

    def add_principal_to_ace(self, object_id: str, permission: str, principal: str) -> None:
        """Grant a permission on an object to a principal."""
        self._write(_ADD, object_id, permission, principal)

    def remove_principal_from_ace(self, object_id: str, permission: str, principal: str) -> None:
        """Take a permission on an object from a principal."""
        self._write(
            "DELETE FROM access_control_entries "
            "WHERE object_id = ? AND permission = ? AND principal = ?",
            object_id,
            permission,
            principal,
        )

    def get_object_permission_principals(self, object_id: str, permission: str) -> set[str]:
        """Read who has a permission on an object."""
        return self._set(
            "SELECT principal FROM access_control_entries WHERE object_id = ? AND permission = ?",
            object_id,
            permission,
        )

    def get_authorized_principals(self, bound_permissions: Sequence[Bound]) -> set[str]:
        """Read who has one of some permissions."""
        if not bound_permissions:
            return set()
        return self._set(
            f"SELECT principal FROM {_bound(bound_permissions)}", *_flat(bound_permissions)
        )

    def check_permission(
        self, principals: Iterable[str], bound_permissions: Sequence[Bound]
    ) -> bool:
        """Tell whether one of the principals has one of the permissions."""
        if not bound_permissions:
            return False
        who = tuple(principals)
        query = (
            f"SELECT 1 FROM {_bound(bound_permissions)} WHERE principal IN ({_marks(who)}) LIMIT 1"
        )
        return bool(self._rows(query, *_flat(bound_permissions), *who))

    def get_accessible_objects(
        self,
        principals: Iterable[str],
        bound_permissions: Sequence[Bound] | None = None,
        with_children: bool = True,
    ) -> dict[str, set[str]]:
        """Find the objects that the principals may do something with, and what."""
        if bound_permissions is not None and not bound_permissions:
            return {}
        who = tuple(principals)
        query = (
            "SELECT DISTINCT object_id, permission FROM access_control_entries "
            f"WHERE principal IN ({_marks(who)})"
        )
        values: list[str] = [*who]
        if bound_permissions:
            tests = [_matching(each, with_children=with_children) for each in bound_permissions]
            query += " AND (" + " OR ".join(text for text, _ in tests) + ")"
            values += (value for _, wanted in tests for value in wanted)
        found: dict[str, set[str]] = {}
        for object_id, permission in self._rows(query, *values):
            found.setdefault(object_id, set()).add(permission)
        return found

    def get_objects_permissions(
        self, objects_ids: Sequence[str], permissions: Sequence[str] | None = None
    ) -> list[dict[str, set[str]]]:
        """Read who may do what with each of some objects."""
        query = (
            "SELECT object_id, permission, principal FROM access_control_entries "
            f"WHERE object_id IN ({_marks(objects_ids)})"
        )
        if permissions is not None:
            query += f" AND permission IN ({_marks(permissions)})"
        found: dict[str, dict[str, set[str]]] = {object_id: {} for object_id in objects_ids}
        for object_id, permission, principal in self._rows(
            query, *objects_ids, *(permissions or ())
        ):
            found[object_id].setdefault(permission, set()).add(principal)
        return list(found.values())

    def replace_object_permissions(
        self, object_id: str, permissions: Mapping[str, Iterable[str]]
    ) -> None:
        """Set who has the named permissions on an object; others stay."""
        if not permissions:
            return
        added = [
            (object_id, permission, principal)
            for permission, principals in permissions.items()
            for principal in principals
        ]
        with self.work.writing() as connection:
            connection.execute(
                "DELETE FROM access_control_entries WHERE object_id = ? "
                f"AND permission IN ({_marks(permissions)})",
                (object_id, *permissions),
            )
            connection.executemany(_ADD, added)

    def delete_object_permissions(self, *object_id_list: str) -> None:
        """Delete all permissions on objects; a star stands for any text."""
        with self.work.writing() as connection:
            for object_id in object_id_list:
                test, value = _same(object_id)
                connection.execute(f"DELETE FROM access_control_entries WHERE {test}", (value,))

    def _write(self, statement: str, *values: str) -> None:
        with self.work.writing() as connection:
            connection.execute(statement, values)

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self.work.reading() as connection:
            return connection.execute(query, values).fetchall()

    def _set(self, query: str, *values: str) -> set[str]:
        return {principal for (principal,) in self._rows(query, *values)}


_ADD = "INSERT OR IGNORE INTO access_control_entries VALUES (?, ?, ?)"


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)


def _flat(bound: Iterable[Bound]) -> list[str]:
    return [value for each in bound for value in each]


def _bound(bound: Sequence[Bound]) -> str:
    """Write the entries for pairs of an object and a permission; `_flat` has the values."""
    pairs = ", ".join(["(?, ?)"] * len(bound))
    return (
        f"(VALUES {pairs}) AS wanted JOIN access_control_entries AS entry "
        "ON entry.object_id = wanted.column1 AND entry.permission = wanted.column2"
    )


def _same(object_id: str) -> tuple[str, str]:
    """Write the condition for an object; a star in its URI stands for any text."""
    if "*" in object_id:
        return "object_id GLOB ?", glob(object_id)
    return "object_id = ?", object_id


def _matching(bound: Bound, *, with_children: bool) -> tuple[str, list[str]]:
    object_id, permission = bound
    test, value = _same(object_id)
    text = f"permission = ? AND {test}"
    values = [permission, value]
    if not with_children:
        text += " AND object_id NOT GLOB ?"
        values.append(f"{glob(object_id)}/*")
    return f"({text})", values


def load_from_config(config: Configurator) -> Permission:
    """Open the permissions that Kinto's settings name: `kinto.permission_url = sqlite:///app.db`."""
    return Permission(work_of(config, "permission"))
