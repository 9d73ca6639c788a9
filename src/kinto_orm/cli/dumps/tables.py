"""CSV: the records of one collection, without permissions, and nothing lost of their values.

A cell is the text itself, where that cannot be taken for something else; every other value is JSON.
So a text that looks like a number is `"12"`, in quotes. An empty cell is a field that is missing.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

from pydantic import JsonValue

from kinto_orm.cli.dumps.entries import Data, Entry, Unreadable
from kinto_orm.cli.dumps.spooling import Spool
from kinto_orm.cli.targets import Target

_FIRST = ("id", "last_modified")
# The module has a limit of 128 kB by itself; Kinto's own for a whole body is less than this.
_LARGEST_CELL = 2**27


def write(file: IO[bytes], records: Iterable[Data]) -> None:
    """Write records; they are kept in a file of their own until all columns are known."""
    with Spool(records) as spool:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        rows = csv.writer(text)
        columns = [*_FIRST, *(name for name in spool.names if name not in _FIRST)]
        rows.writerow(columns)
        for record in spool:
            rows.writerow([_cell(name, record) for name in columns])
        text.detach()


def entries(file: IO[bytes], collection: Target) -> Iterator[Entry | Unreadable]:
    """The records of a file.

    Args:
        file: The file.
        collection: Where they are to live.

    Raises:
        Unreadable: It is no CSV with a column `id`.
    """
    csv.field_size_limit(_LARGEST_CELL)
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    rows = csv.reader(text, strict=True)
    try:
        columns = next(rows, [])
        _check_columns(columns)
        seen: dict[str, int] = {}
        for row in rows:
            if row:
                yield _once(_entry(columns, row, f"line {rows.line_num}", collection), seen, rows)
    except (csv.Error, UnicodeDecodeError) as error:
        raise Unreadable(f"line {rows.line_num + 1} is no CSV: {error}") from None
    finally:
        if not file.closed:  # as it is when the command failed elsewhere
            text.detach()


def _once(entry: Entry | Unreadable, seen: dict[str, int], rows: Any) -> Entry | Unreadable:
    """The same entry, if no other line had its id: only one of them could be stored."""
    if isinstance(entry, Unreadable):
        return entry
    first = seen.setdefault(entry.id, rows.line_num)
    if first == rows.line_num:
        return entry
    return Unreadable(f"{entry.place}: the id {entry.id!r} stands in line {first}, too")


def _check_columns(columns: list[str]) -> None:
    if "id" not in columns:
        raise Unreadable("line 1 has to name the columns, and one of them is `id`")
    twice = {each for each in columns if columns.count(each) > 1}
    if twice:
        raise Unreadable(f"line 1 has two columns {min(twice)!r}")


def _entry(columns: list[str], row: list[str], place: str, where: Target) -> Entry | Unreadable:
    if len(row) != len(columns):
        return Unreadable(f"{place} has {len(row)} cells, and line 1 names {len(columns)} columns")
    data = {
        name: cell if name == "id" else _value(cell)
        for name, cell in zip(columns, row, strict=True)
        if cell
    }
    if "id" not in data:
        return Unreadable(f"{place} has no id")
    return Entry(record_in(where, str(data["id"])), data, None, place, whole=False)


def record_in(collection: Target, id: str) -> Target:
    """A record of a collection."""
    return Target((*collection.steps, ("records", id)))


def _cell(name: str, record: Data) -> str:
    if name not in record:
        return ""
    value = record[name]
    if isinstance(value, str) and (name == "id" or (value and _value(value) == value)):
        return value
    return json.dumps(value, ensure_ascii=False)


def _value(cell: str) -> JsonValue:
    """What a cell says: JSON, where it is some."""
    try:
        value: JsonValue = json.loads(cell, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return cell
    return value


def _no_json(name: str) -> None:
    raise ValueError(name)
