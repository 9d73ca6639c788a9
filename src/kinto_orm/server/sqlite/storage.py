"""Kinto's storage backend in a SQLite file: `kinto.storage_backend` names this module."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kinto.core.decorators import deprecate_kwargs
from kinto.core.storage import (
    DEFAULT_DELETED_FIELD,
    DEFAULT_ID_FIELD,
    DEFAULT_MODIFIED_FIELD,
    Filter,
    Sort,
    StorageBase,
    exceptions,
)
from pyramid.config import Configurator
from pyramid.settings import asbool

from kinto_orm.server.sqlite import conditions, indexes, times
from kinto_orm.server.sqlite.conditions import Fields, Sql
from kinto_orm.server.sqlite.transactions import Within, Work, work_of
from kinto_orm.server.sqlite.values import decode, encode

Object = dict[str, Any]

_RESOURCE = "(SELECT key FROM resources WHERE parent_id = ? AND resource_name = ?)"
_GET = f"""
    SELECT last_modified, data FROM objects
    WHERE resource = {_RESOURCE} AND id = ? AND NOT deleted
"""
_PUT = """
    INSERT INTO objects (resource, id, last_modified, data) VALUES (?, ?, ?, ?)
    ON CONFLICT (resource, id) DO UPDATE
    SET last_modified = excluded.last_modified, data = excluded.data, deleted = 0
"""
_CREATE = f"{_PUT} WHERE objects.deleted"


class Storage(StorageBase):  # type: ignore[misc]
    """Objects in a SQLite file. The base class says what each method does."""

    def __init__(self, work: Work | Within, max_fetch_size: int, *, readonly: bool = False) -> None:
        super().__init__()
        self.work = work
        self.readonly = readonly
        self._max_fetch_size = max_fetch_size

    def initialize_schema(self, dry_run: bool = False) -> None:
        """Do nothing: the tables are made, or brought up to date, when the file is opened."""

    @contextmanager
    def alone(self) -> Iterator[Storage]:
        """Give the same storage in a transaction apart, in which nobody else writes.

        The transaction of the request must have ended, or not begun.
        """
        with self.work.alone() as within:
            yield Storage(within, self._max_fetch_size, readonly=self.readonly)

    def flush(self) -> None:
        """Delete all objects, and the times of their lists."""
        with self.work.writing(commit=True) as connection:
            indexes.drop_all(connection)
            connection.execute("DELETE FROM objects")
            connection.execute("DELETE FROM resources")

    def resource_timestamp(self, resource_name: str, parent_id: str) -> int:
        """Tell when a list was last changed; one that is asked for the first time is new now."""
        with self.work.reading() as connection:
            last = times.time_of(connection, parent_id, resource_name)
        if last is not None:
            return last
        if self.readonly:
            raise exceptions.ReadonlyError(
                message="Cannot initialize empty resource timestamp when running in readonly."
            )
        with self.work.writing() as connection:
            return times.start(connection, parent_id, resource_name)

    def all_resources_timestamps(self, resource_name: str) -> dict[str, int]:
        """Tell when the lists of one name were last changed, by their parents."""
        with self.work.reading() as connection:
            rows = connection.execute(
                "SELECT parent_id, last_modified FROM resources WHERE resource_name = ? "
                "ORDER BY last_modified DESC LIMIT ?",
                (resource_name, self._max_fetch_size + 1),
            )
            return dict(rows.fetchall())

    @deprecate_kwargs({"collection_id": "resource_name", "record": "obj"})  # type: ignore[untyped-decorator]
    def create(
        self,
        resource_name: str,
        parent_id: str,
        obj: Object,
        id_generator: Any = None,
        id_field: str = DEFAULT_ID_FIELD,
        modified_field: str = DEFAULT_MODIFIED_FIELD,
    ) -> Object:
        """Store a new object.

        Raises:
            UnicityError: There is one with its id.
        """
        made = {**obj}
        if id_field not in made:
            made[id_field] = (id_generator or self.id_generator)()
        data = _data(made, id_field, modified_field)
        with self.work.writing() as connection:
            existing = _get(connection, resource_name, parent_id, made[id_field])
            if existing:
                raise exceptions.UnicityError(
                    id_field, _object(made[id_field], existing, id_field, modified_field)
                )
            given = made.get(modified_field)
            resource, now = times.tick(connection, parent_id, resource_name, given)
            connection.execute(_CREATE, (resource, made[id_field], now, data))
            _keep_indexes(connection, resource_name, parent_id, made[id_field], made)
        made[modified_field] = now
        return made

    @deprecate_kwargs({"collection_id": "resource_name"})  # type: ignore[untyped-decorator]
    def get(
        self,
        resource_name: str,
        parent_id: str,
        object_id: str,
        id_field: str = DEFAULT_ID_FIELD,
        modified_field: str = DEFAULT_MODIFIED_FIELD,
    ) -> Object:
        """Read an object.

        Raises:
            ObjectNotFoundError: There is none with this id.
        """
        with self.work.reading() as connection:
            row = _get(connection, resource_name, parent_id, object_id)
            if not row:
                raise exceptions.ObjectNotFoundError(object_id)
            return _object(object_id, row, id_field, modified_field)

    @deprecate_kwargs({"collection_id": "resource_name", "record": "obj"})  # type: ignore[untyped-decorator]
    def update(
        self,
        resource_name: str,
        parent_id: str,
        object_id: str,
        obj: Object,
        id_field: str = DEFAULT_ID_FIELD,
        modified_field: str = DEFAULT_MODIFIED_FIELD,
    ) -> Object:
        """Store an object, whether there is one with its id or not."""
        data = _data(obj, id_field, modified_field)
        with self.work.writing() as connection:
            given = obj.get(modified_field)
            resource, now = times.tick(connection, parent_id, resource_name, given)
            connection.execute(_PUT, (resource, object_id, now, data))
            _keep_indexes(connection, resource_name, parent_id, object_id, obj)
        return {**obj, id_field: object_id, modified_field: now}

    @deprecate_kwargs({"collection_id": "resource_name"})  # type: ignore[untyped-decorator]
    def delete(
        self,
        resource_name: str,
        parent_id: str,
        object_id: str,
        id_field: str = DEFAULT_ID_FIELD,
        with_deleted: bool = True,
        modified_field: str = DEFAULT_MODIFIED_FIELD,
        deleted_field: str = DEFAULT_DELETED_FIELD,
        last_modified: int | None = None,
    ) -> Object:
        """Delete an object, and leave a tombstone unless told otherwise.

        Raises:
            ObjectNotFoundError: There is none with this id.
        """
        with self.work.writing() as connection:
            row = connection.execute(
                f"SELECT number, last_modified FROM objects WHERE resource = {_RESOURCE} "
                "AND id = ? AND NOT deleted",
                (parent_id, resource_name, object_id),
            ).fetchone()
            if not row:
                raise exceptions.ObjectNotFoundError(object_id)
            number, now = row
            if with_deleted:
                _, now = times.tick(connection, parent_id, resource_name, last_modified)
                connection.execute(times.BURY, (now, encode({deleted_field: True}), number))
            else:
                connection.execute("DELETE FROM objects WHERE number = ?", (number,))
            _keep_indexes(connection, resource_name, parent_id, object_id, {})
        return {modified_field: now, id_field: object_id, deleted_field: True}

    @deprecate_kwargs({"collection_id": "resource_name"})  # type: ignore[untyped-decorator]
    def delete_all(
        self,
        resource_name: str | None,
        parent_id: str,
        filters: Sequence[Filter] | None = None,
        sorting: Sequence[Sort] | None = None,
        pagination_rules: Sequence[Sequence[Filter]] | None = None,
        limit: int | None = None,
        id_field: str = DEFAULT_ID_FIELD,
        with_deleted: bool = True,
        modified_field: str = DEFAULT_MODIFIED_FIELD,
        deleted_field: str = DEFAULT_DELETED_FIELD,
    ) -> list[Object]:
        """Delete the objects that fit, and leave tombstones unless told otherwise."""
        fields = Fields(id_field or self.id_field, modified_field or self.modified_field)
        with self.work.writing() as connection:
            way = indexes.way(connection, resource_name, parent_id, fields, filters, sorting or ())
            query = conditions.selected(
                "o.number, o.id, o.last_modified, r.parent_id, r.resource_name",
                way.where(filters, pagination_rules),
                conditions.order(sorting or (), way.fields),
                min(self._max_fetch_size, limit) if limit else self._max_fetch_size,
                way.objects,
            )
            rows = connection.execute(*query).fetchall()
            if not with_deleted:
                numbers = [(number,) for number, *_ in rows]
                connection.executemany("DELETE FROM objects WHERE number = ?", numbers)
                gone = [(object_id, modified) for _, object_id, modified, *_ in rows]
            else:
                gone = times.bury(connection, rows, encode({deleted_field: True}))
            for _, object_id, _, parent_id, resource_name in rows:
                _keep_indexes(connection, resource_name, parent_id, object_id, {})
        return [
            {fields.id: object_id, fields.modified: modified, deleted_field: True}
            for object_id, modified in gone
        ]

    @deprecate_kwargs({"collection_id": "resource_name"})  # type: ignore[untyped-decorator]
    def purge_deleted(
        self,
        resource_name: str | None,
        parent_id: str,
        before: int | None = None,
        max_retained: int | None = None,
        id_field: str = DEFAULT_ID_FIELD,
        modified_field: str = DEFAULT_MODIFIED_FIELD,
        force_commit: bool = False,
    ) -> int:
        """Delete tombstones; return how many."""
        if max_retained is not None and before is not None:
            raise ValueError("`before` and `max_retained` are exclusive arguments. Pick one.")
        those = conditions.resources(resource_name, parent_id)
        ranked = (
            "SELECT o.number, o.last_modified, row_number() OVER "
            "(PARTITION BY o.resource ORDER BY o.last_modified DESC) AS place "
            "FROM objects AS o JOIN resources AS r ON r.key = o.resource "
            f"WHERE o.deleted AND {those.text}"
        )
        test = Sql("1")
        if before is not None:
            test = Sql("last_modified < ?", (before,))
        elif max_retained is not None:
            test = Sql("place > ?", (max_retained,))
        purge = (
            f"DELETE FROM objects WHERE number IN (SELECT number FROM ({ranked}) WHERE {test.text})"
        )
        with self.work.writing(commit=force_commit) as connection:
            purged = connection.execute(purge, those.values + test.values).rowcount
            if resource_name is None and before is None:
                times.forget_empty(connection, those)
        return purged

    def list_all(
        self,
        resource_name: str,
        parent_id: str,
        filters: Sequence[Filter] | None = None,
        sorting: Sequence[Sort] | None = None,
        pagination_rules: Sequence[Sequence[Filter]] | None = None,
        limit: int | None = None,
        include_deleted: bool = False,
        id_field: str = DEFAULT_ID_FIELD,
        modified_field: str = DEFAULT_MODIFIED_FIELD,
        deleted_field: str = DEFAULT_DELETED_FIELD,
    ) -> list[Object]:
        """Read the objects that fit, in order."""
        fields = Fields(id_field, modified_field)
        with self.work.reading() as connection:
            way = indexes.way(
                connection,
                resource_name,
                parent_id,
                fields,
                filters,
                sorting or (),
                include_deleted=include_deleted,
            )
            query = conditions.selected(
                "o.id, o.last_modified, o.data",
                way.where(filters, pagination_rules),
                conditions.order(sorting or (), way.fields),
                min(self._max_fetch_size + 1, limit) if limit else self._max_fetch_size,
                way.objects,
            )
            rows = connection.execute(*query).fetchall()
            return [_object(row[0], row[1:], id_field, modified_field) for row in rows]

    def count_all(
        self,
        resource_name: str,
        parent_id: str,
        filters: Sequence[Filter] | None = None,
        include_deleted: bool = False,
        id_field: str = DEFAULT_ID_FIELD,
        modified_field: str = DEFAULT_MODIFIED_FIELD,
        deleted_field: str = DEFAULT_DELETED_FIELD,
    ) -> int:
        """Count the objects that fit."""
        fields = Fields(id_field, modified_field)
        everything = not filters and not include_deleted
        with self.work.reading() as connection:
            way = indexes.way(
                connection,
                resource_name,
                parent_id,
                fields,
                filters,
                None,
                include_deleted=include_deleted or everything,
            )
            chosen = way.where(filters)
            counted = f"SELECT count(*) FROM {way.objects} WHERE {chosen.text}"
            (count,) = connection.execute(counted, chosen.values).fetchone()
            if everything:  # counting the tombstones, too, takes two indexes and no table
                buried = connection.execute(f"{counted} AND o.deleted", chosen.values)
                count -= buried.fetchone()[0]
        return int(count)

    def trim_objects(
        self,
        resource_name: str,
        parent_id: str,
        filters: Sequence[Filter],
        max_objects: int,
        id_field: str = DEFAULT_ID_FIELD,
        modified_field: str = DEFAULT_MODIFIED_FIELD,
    ) -> int:
        """Delete all but the latest of the objects that fit; return how many."""
        fields = Fields(id_field, modified_field)
        chosen = conditions.where(resource_name, parent_id, fields, filters, include_deleted=True)
        trim = (
            f"DELETE FROM objects WHERE number IN (SELECT o.number FROM {conditions.OBJECTS} "
            f"WHERE {chosen.text} ORDER BY o.last_modified DESC LIMIT -1 OFFSET ?)"
        )
        with self.work.writing() as connection:
            return connection.execute(trim, (*chosen.values, max_objects)).rowcount


def _keep_indexes(
    connection: sqlite3.Connection, resource_name: str, parent_id: str, object_id: str, obj: Object
) -> None:
    """Let the records of a collection have the indexes that it asks for, once it has changed."""
    if resource_name == "collection":
        indexes.keep(connection, parent_id, object_id, obj.get("schema"))


def _data(obj: Object, id_field: str, modified_field: str) -> str:
    """Write what is in an object besides what has columns of its own."""
    return encode({name: obj[name] for name in obj if name not in (id_field, modified_field)})


def _get(
    connection: sqlite3.Connection, resource_name: str, parent_id: str, object_id: str
) -> tuple[int, str] | None:
    row: tuple[int, str] | None = connection.execute(
        _GET, (parent_id, resource_name, object_id)
    ).fetchone()
    return row


def _object(object_id: str, row: Sequence[Any], id_field: str, modified_field: str) -> Object:
    modified, data = row
    found: Object = decode(data)
    found[id_field] = object_id
    found[modified_field] = modified
    return found


def load_from_config(config: Configurator) -> Storage:
    """Open the storage that Kinto's settings name: `kinto.storage_url = sqlite:///app.db`."""
    settings = config.get_settings()
    return Storage(
        work_of(config, "storage"),
        int(settings.get("storage_max_fetch_size", 10_000)),
        readonly=asbool(settings.get("readonly", False)),
    )
