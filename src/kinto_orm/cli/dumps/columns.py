"""Parquet: the records of one collection, a column for each field; needs the extra `arrow`.

A column has the type of its values. Where they have several, or are lists or objects, it has their
JSON as text, and says so in its metadata. A null is one where the column says that it has nulls,
and else a field that is missing; where a column has both, `__missing__` names what a record lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from pydantic import JsonValue

from kinto_orm import ConfigurationError
from kinto_orm.cli.dumps.entries import Data, Entry, Unreadable
from kinto_orm.cli.dumps.fetching import chunked
from kinto_orm.cli.dumps.spooling import Spool
from kinto_orm.cli.dumps.tables import record_in
from kinto_orm.cli.targets import Target

MISSING = "__missing__"

_ROWS = 10_000
_JSON = {b"kinto": b"json"}
_NULLS = {b"kinto": b"null"}


def write(file: IO[bytes], records: Iterable[Data]) -> None:
    """Write records; they are kept in a file of their own until all columns are known.

    Raises:
        ConfigurationError: pyarrow is missing.
    """
    arrow = _arrow()
    with Spool(records) as spool:
        columns = [_column(arrow, name, spool) for name in spool.names or ["id"]]
        both = [each.name for each in columns if each.has_nulls and each.name in spool.missing]
        fields = [arrow.field(each.name, each.type, True, each.metadata) for each in columns]
        if both:
            fields.append(arrow.field(MISSING, arrow.list_(arrow.string())))
        schema = arrow.schema(fields)
        with arrow.parquet.ParquetWriter(file, schema) as writer:
            for chunk in chunked(spool, _ROWS):
                rows = [_row(each, columns, both) for each in chunk]
                writer.write_table(arrow.Table.from_pylist(rows, schema))


def entries(file: IO[bytes], collection: Target) -> Iterator[Entry | Unreadable]:
    """The records of a file.

    Args:
        file: The file.
        collection: Where they are to live.

    Raises:
        Unreadable: It is no Parquet with a column `id`.
        ConfigurationError: pyarrow is missing.
    """
    arrow = _arrow()
    try:
        parquet = arrow.parquet.ParquetFile(file)
        said = {each.name: (each.metadata or {}).get(b"kinto") for each in parquet.schema_arrow}
        if "id" not in said:
            raise Unreadable("the file has no column `id`")
        number = 0
        for batch in parquet.iter_batches(_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield _entry(row, said, f"row {number}", collection)
    except arrow.ArrowInvalid as error:
        raise Unreadable(f"the file is no Parquet: {error}") from None


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigurationError("Parquet needs pyarrow: pip install 'kinto-orm[arrow]'") from None
    return pyarrow


@dataclass(frozen=True, slots=True)
class _Column:
    """How the values of a field are written.

    Attributes:
        name: The field's.
        type: Of Arrow.
        value: Makes what Arrow takes of a JSON value.
        has_nulls: Whether there are nulls.
        metadata: What says so to who reads.
    """

    name: str
    type: Any
    value: Callable[[JsonValue], Any]
    has_nulls: bool
    metadata: dict[bytes, bytes] | None


def _column(arrow: Any, name: str, spool: Spool) -> _Column:
    found_kinds = spool.kinds.get(name, {"text"})
    kinds, nulls = found_kinds - {"null"}, "null" in found_kinds
    simple = {
        frozenset({"bool"}): arrow.bool_(),
        frozenset({"int"}): arrow.int64(),
        frozenset({"float"}): arrow.float64(),
        frozenset({"text"}): arrow.string(),
    }
    found = simple.get(frozenset(kinds))
    if found is None or name == MISSING:
        return _Column(name, arrow.string(), _json, False, _JSON)
    return _Column(name, found, _as_it_is, nulls, _NULLS if nulls else None)


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)


def _as_it_is(value: JsonValue) -> JsonValue:
    return value


def _row(record: Data, columns: Iterable[_Column], both: list[str]) -> dict[str, Any]:
    row = {each.name: each.value(record[each.name]) for each in columns if each.name in record}
    if both:
        row[MISSING] = [name for name in both if name not in record]
    return row


def _entry(
    row: dict[str, Any], said: dict[str, bytes | None], place: str, where: Target
) -> Entry | Unreadable:
    missing = set(row.pop(MISSING, None) or ()) if said.get(MISSING) is None else set()
    try:
        data = {
            name: json.loads(value) if said[name] == b"json" and value is not None else value
            for name, value in row.items()
            if name not in missing and not (value is None and said[name] != b"null")
        }
        json.dumps(data)
    except (ValueError, TypeError) as error:
        return Unreadable(f"{place} cannot be stored as JSON: {error}")
    if not isinstance(data.get("id"), str):
        return Unreadable(f"{place} has no id that is a text")
    return Entry(record_in(where, data["id"]), data, None, place, whole=False)
