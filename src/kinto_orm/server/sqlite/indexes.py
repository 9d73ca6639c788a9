"""Indexes on fields of one list of objects, and which of them a query takes.

A collection asks for them in its JSON schema, by `"x-indexed": true` beside a field's type. They
are made and dropped with the collection, in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kinto.core import utils
from kinto.core.storage import Filter, Sort
from kinto.core.utils import COMPARISON

from kinto_orm.server.sqlite.conditions import OBJECTS, Fields, Sql, all_of, column, where
from kinto_orm.server.sqlite.times import resource_of

MOST = 20  # each makes every write dearer
_RECORD = "record"
_MARK = "x-indexed"
_HAVE_COLUMNS = {"id", "last_modified"}
_LONGEST = 200
_STEPS = 5000
# Up to so many objects are found by an index and then put into the order that is asked for. More
# are looked through in that order until a page is full.
FEW = 10_000
# The comparisons of which an index knows the beginning and the end.
_SOUGHT = {
    COMPARISON.EQ,
    COMPARISON.IN,
    COMPARISON.LT,
    COMPARISON.MAX,
    COMPARISON.MIN,
    COMPARISON.GT,
}


class Index(NamedTuple):
    """The number of an index, and that of its list."""

    number: int
    resource: int


def declared(schema: Any) -> list[str]:
    """Name the fields that a JSON schema marks, `address.city` for one inside of an object.

    Whatever else is in the schema; a part that is part of itself is followed some levels down.
    """
    found: dict[str, None] = {}
    for steps, (path, part) in enumerate(_parts(schema)):
        if steps == _STEPS or len(found) == MOST:
            break
        if path and part.get(_MARK) is True:
            found[path] = None
    return list(found)


def _parts(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Go through the parts of a schema with the fields that they describe, the outer ones first."""
    whole = schema if isinstance(schema, dict) else {}
    todo: list[tuple[str, Any]] = [("", whole)]
    for path, part in todo:
        if isinstance(part, dict):
            yield path, part
            todo.extend(_inside(whole, path, part))


def _inside(
    whole: dict[str, Any], path: str, part: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, each in _mapping(part.get("properties")).items():
        inner = f"{path}.{name}" if path else name
        if _is_usable(name) and inner not in _HAVE_COLUMNS and len(inner) <= _LONGEST:
            yield inner, each
    for word in ("allOf", "anyOf", "oneOf"):
        several = part.get(word)
        yield from ((path, each) for each in (several if isinstance(several, list) else ()))
    reference = part.get("$ref")
    if isinstance(reference, str):
        definitions = _mapping(whole.get("$defs"))
        yield path, definitions.get(reference.removeprefix("#/$defs/"), {})


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_usable(name: str) -> bool:
    """Whether a condition can name the field: a dot goes down, and half a character is no text."""
    return bool(name) and "." not in name and not any("\ud800" <= each <= "\udfff" for each in name)


def keep(connection: sqlite3.Connection, parent_id: str, object_id: str, schema: Any) -> None:
    """Let the records of a collection have the indexes that its schema asks for, and no others.

    Args:
        connection: In a transaction that writes.
        parent_id: The bucket's path.
        object_id: The collection's id.
        schema: What the collection has as its JSON schema; None when there is no collection.
    """
    records = f"{parent_id}/collections/{object_id}"
    wanted = declared(schema)
    there = of(connection, _RECORD, records)
    for field in there.keys() - set(wanted):
        _drop(connection, there[field])
    new = [field for field in wanted if field not in there]
    if new:
        resource, _ = resource_of(connection, records, _RECORD, utils.msec_time())
        for field in new:
            _make(connection, resource, field)


def _make(connection: sqlite3.Connection, resource: int, field: str) -> None:
    """Index what lives in one list: by the field, and by the id where that is the same."""
    made = connection.execute(
        "INSERT INTO field_indexes (resource, field) VALUES (?, ?)", (resource, field)
    )
    expression = column(field, {field}).text.replace("o.data", "data")
    connection.execute(
        f"CREATE INDEX {_name(made.lastrowid or 0)} ON objects ({expression}, id) "
        f"WHERE resource = {resource:d} AND NOT deleted"
    )


def _drop(connection: sqlite3.Connection, index: Index) -> None:
    connection.execute("DELETE FROM field_indexes WHERE number = ?", (index.number,))
    connection.execute(f"DROP INDEX {_name(index.number)}")


def drop_all(connection: sqlite3.Connection) -> None:
    """Drop the indexes of all lists."""
    found = connection.execute("SELECT number, resource FROM field_indexes")
    for row in found.fetchall():  # SQLite drops nothing while somebody reads
        _drop(connection, Index(*row))


def _name(number: int) -> str:
    return f"field_index_{number:d}"


def of(connection: sqlite3.Connection, resource_name: str, parent_id: str) -> dict[str, Index]:
    """Find the indexes of a list, by field."""
    rows = connection.execute(
        "SELECT i.field, i.number, i.resource FROM resources AS r JOIN field_indexes AS i "
        "ON i.resource = r.key WHERE r.parent_id = ? AND r.resource_name = ?",
        (parent_id, resource_name),
    )
    return {field: Index(number, resource) for field, number, resource in rows}


class Way(NamedTuple):
    """How a query gets to its objects.

    Attributes:
        resource_name: The name of the lists.
        parent_id: Their parents.
        fields: What the fields are called, and which of them have an index.
        include_deleted: Tombstones, too.
        by: The index that the query takes.
    """

    resource_name: str | None
    parent_id: str
    fields: Fields
    include_deleted: bool = False
    by: Index | None = None

    @property
    def objects(self) -> str:
        """What stands after FROM."""
        if self.by is None:
            return OBJECTS
        return OBJECTS.replace("AS o", f"AS o INDEXED BY {_name(self.by.number)}")

    def where(
        self,
        filters: Sequence[Filter] | None,
        rules: Sequence[Sequence[Filter]] | None = None,
    ) -> Sql:
        """Write the condition for what fits all filters and one rule of a page."""
        found = where(
            self.resource_name,
            self.parent_id,
            self.fields,
            filters,
            rules,
            include_deleted=self.include_deleted,
        )
        if self.by is None:
            return found
        # What the index is of, in its own words: by that SQLite sees that it has all.
        return Sql(f"{found.text} AND o.resource = {self.by.resource:d}", found.values)


def way(
    connection: sqlite3.Connection,
    resource_name: str | None,
    parent_id: str,
    fields: Fields,
    filters: Sequence[Filter] | None,
    sorting: Sequence[Sort] | None,
    *,
    include_deleted: bool = False,
) -> Way:
    """Choose the index that a query takes, or none.

    SQLite would have to be told by ANALYZE, again and again, how many objects a list has, and would
    still not know how many of them are in a range. So that is looked up here.

    Args:
        connection: In the transaction that reads.
        resource_name: The name of the lists.
        parent_id: Their parents; several lists have no index in common.
        fields: What the fields are called.
        filters: Those that all have to hold.
        sorting: The order; None where none is needed, as for a count.
        include_deleted: Tombstones, too; they are in no index.
    """
    plain = Way(resource_name, parent_id, fields, include_deleted)
    asked = {each.field for each in (*(filters or ()), *(sorting or ()))}
    if include_deleted or resource_name is None or not asked - {fields.id, fields.modified}:
        return plain
    there = of(connection, resource_name, parent_id)
    if asked.isdisjoint(there):
        return plain
    fields = fields._replace(indexed=there.keys())
    field = _chosen(connection, there, fields, filters or (), sorting)
    return plain if field is None else plain._replace(fields=fields, by=there[field])


def _chosen(
    connection: sqlite3.Connection,
    there: Mapping[str, Index],
    fields: Fields,
    filters: Iterable[Filter],
    sorting: Sequence[Sort] | None,
) -> str | None:
    sought = [each for each in filters if each.field in there and _is_sought(each)]
    first = sorting[0].field if sorting else None
    if first == fields.id or sorting is None:
        for each in sought:
            if each.operator is COMPARISON.EQ:
                return str(each.field)
    found = {
        each.field: all_of((f for f in sought if f.field == each.field), fields) for each in sought
    }
    many = {field: _count(connection, there[field], wanted) for field, wanted in found.items()}
    best = min(many, key=lambda field: many[field], default=None)
    if best is not None and (many[best] <= FEW or sorting is None or first == best):
        return str(best)
    return first if first in there else None


def _is_sought(wanted: Filter) -> bool:
    if wanted.operator is COMPARISON.HAS:
        return not wanted.value
    return wanted.operator in _SOUGHT and (wanted.operator is not COMPARISON.IN or wanted.value)


def _count(connection: sqlite3.Connection, index: Index, wanted: Sql) -> int:
    """Count what a condition finds in an index, up to one more than a few."""
    number, resource = index
    query = (
        f"SELECT count(*) FROM (SELECT 1 FROM objects AS o INDEXED BY {_name(number)} "
        f"WHERE o.resource = {resource:d} AND NOT o.deleted AND {wanted.text} LIMIT ?)"
    )
    (count,) = connection.execute(query, (*wanted.values, FEW + 1)).fetchone()
    return int(count)
