"""The records of a collection as a table: found by conditions, sorted, page by page."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue
from starlette.responses import Response

from kinto_orm.errors import InvalidData
from kinto_orm.models.record import Record
from kinto_orm.models.structure import Collection
from kinto_orm.queries.filters import PLAIN_NAME
from kinto_orm.queries.pager import Page
from kinto_orm.queries.query import Query
from kinto_orm.queries.written import read_conditions, read_order
from kinto_orm.web.calls import Call
from kinto_orm.web.loaded import Data, data_of, first_page, raw, whatever
from kinto_orm.web.pages import page
from kinto_orm.web.shapes import shapes_of

SIZE: Final = 50
_COLUMNS: Final = 6


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: The field.
        numeric: Whether all that it shows are numbers.
        order: "ascending" or "descending" where the table is sorted by it.
    """

    name: str
    numeric: bool
    order: str = ""

    @property
    def is_sortable(self) -> bool:
        """Whether Kinto can sort by it: its name has letters, digits and underscores only."""
        return "." not in self.name and PLAIN_NAME.fullmatch(self.name) is not None

    @property
    def turned(self) -> str:
        """The order that a click asks for."""
        return f"-{self.name}" if self.order == "ascending" else self.name


async def table(call: Call) -> Response:
    """Show the records that meet the conditions."""
    collection = await Collection.aget(call.named("collection"), session=call.scope())
    wrong, found, count = "", Page[Record]([], None), 0
    try:
        found, count = await _found(call, query_of(call))
    except InvalidData as error:
        wrong = str(error)
    rows = [(each, data_of(Record, raw(each))) for each in found]
    shapes = shapes_of(collection.json_schema)
    names = columns_of(shapes, [data for _, data in rows])
    shown = _chosen(call, names) or names[:_COLUMNS]
    start = _start(call)
    if found.position:
        call.visit.follow(_place(call, call.asked("position"), start),
                          _place(call, found.position, start + len(rows)))  # fmt: skip
    return page(
        call,
        "table.html",
        422 if wrong else 200,
        collection=collection,
        wrong=wrong,
        rows=rows,
        count=count,
        columns=_with_order(call, shown, [data for _, data in rows]),
        names=names,
        start=start,
        position=found.position,
        before=_before(call, start),
        question=call.asked("q"),
        sort=call.asked("sort"),
    )


def query_of(call: Call) -> Query[Record]:
    """The query that the search line and the order ask for.

    Raises:
        InvalidData: They cannot be read.
    """
    query = Record.find(*read_conditions(call.asked("q")), session=call.scope())
    query = query.order_by(*read_order(call.asked("sort")))
    return whatever(query.page_size(SIZE))


async def _found(call: Call, query: Query[Record]) -> tuple[Page[Record], int]:
    """A page, and how many there are on all pages."""
    here = query.resume(call.asked("position") or None)
    found, count = await asyncio.gather(first_page(here), query.acount())
    return found, count


def columns_of(shapes: Mapping[str, Any], rows: Iterable[Data]) -> list[str]:
    """The fields that a table may show: those of the schema, then those that most rows have."""
    met = Counter(name for row in rows for name in row)
    return list(dict.fromkeys((*shapes, *(name for name, _ in met.most_common()))))


def _chosen(call: Call, names: list[str]) -> list[str]:
    asked = call.request.query_params.getlist("columns")
    return [each for each in names if each in asked]


def _with_order(call: Call, names: list[str], rows: list[Data]) -> list[Column]:
    sort = call.asked("sort").partition(",")[0].strip()
    return [Column(name, _is_numeric(name, rows), _order(sort, name)) for name in names]


def _order(sort: str, name: str) -> str:
    return {name: "ascending", f"-{name}": "descending"}.get(sort, "")


def _is_numeric(name: str, rows: list[Data]) -> bool:
    values = [row[name] for row in rows if row.get(name) is not None]
    return bool(values) and all(map(_is_number, values))


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _start(call: Call) -> int:
    """How many records come before this page, as far as the address says it."""
    text = call.asked("start")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _place(call: Call, position: str, start: int) -> str:
    """A page of this table as its address has it."""
    return call.again(position=position, start=start or "")


def _before(call: Call, start: int) -> str:
    """The address of the page before, where this browser came from there."""
    return call.visit.before.get(_place(call, call.asked("position"), start), "")
