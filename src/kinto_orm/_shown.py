"""How objects are shown: in one line by `repr`, and as a table in notebooks and by Rich.

An object says what is to be seen of it once: as fields with values (`Described`), or as a table
(`Shown`). What is drawn of it is bounded, whatever it holds, and shows text as text: neither HTML
nor the markup of a console has a meaning in it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, time, timedelta
from decimal import Decimal
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

T = TypeVar("T")

LINE: Final = 240
"""The most letters of a repr."""

VALUE: Final = 80
"""The most letters of a value, in a repr and in a table."""

MOST_ROWS: Final = 20
MOST_COLUMNS: Final = 12
_NAMED = 10
_LETTERS = 300
# What is told better as it is than by its repr.
_PLAIN = (date, time, timedelta, Decimal, UUID)
# Notebooks put the text of cells to the right.
_LEFT = ' style="text-align: left"'


# Values


class _Said(str):
    """A text that is a repr already."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


# Of what has no such field.
_NOTHING: Final = _Said()
HIDDEN: Final = _Said("...")
"""What stands for a value that is not shown."""


def printable(text: str) -> str:
    """A text in one line, without what a terminal would do something at."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def line(text: str, most: int = LINE) -> str:
    """A text as one line that is no longer than that."""
    # No letter becomes less than one.
    said = printable(text[: most + 1])
    return said if len(said) <= most else f"{said[: most - 3]}..."


class _Bounded(reprlib.Repr):
    """The repr of any value, of which large ones are not written out first."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 20
        self.maxstring = self.maxother = self.maxlong = VALUE

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """As that of other dictionaries, in their own order."""
        if level <= 0 and x:
            return "{...}"
        said = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in islice(x.items(), self.maxdict)
        ]
        return f"{{{', '.join(said + ['...'] * (len(x) > self.maxdict))}}}"


_BOUNDED = _Bounded()


def brief(value: object) -> str:
    """The repr of a value, in one line of a bounded length."""
    return line(_BOUNDED.repr(value), VALUE)


def cell(value: object) -> str:
    """A value as a table has it: texts as they are."""
    if isinstance(value, str):
        return line(value, VALUE)
    return line(str(value), VALUE) if isinstance(value, _PLAIN) else brief(value)


def called(name: str, values: Mapping[str, object]) -> str:
    """A repr: a name with as many values as have room."""
    said: list[str] = []
    room = LINE - len(name) - len("(, and 1000 more)")
    for place, (field, value) in enumerate(values.items()):
        text = f"{line(field, VALUE)}={brief(value)}" if field else brief(value)
        room -= len(text) + 2
        if room < 0:
            said.append(f"and {len(values) - place} more")
            break
        said.append(text)
    return f"{name}({', '.join(said)})"


# Tables


@dataclass(frozen=True, slots=True)
class Table:
    """What is drawn, as texts that are short enough.

    Attributes:
        title: What it is about.
        columns: Their names.
        rows: As many texts each as there are columns.
        marked: The places of rows that are to be seen first; they begin with a `!`, too.
        notes: Lines below it.
    """

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    marked: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


def table(
    title: str,
    columns: Sequence[str],
    rows: Collection[Sequence[object]],
    *,
    size: int = 0,
    marked: Collection[str] = (),
    notes: Iterable[str] = (),
) -> Table:
    """A table of any values, of which no more is shown than can be looked at.

    Args:
        title: What it is about.
        columns: Their names; those that come last are left out where they are too many.
        rows: The values, in the order of the columns.
        size: How many rows there are, where no more were made than can be shown.
        marked: The first values of rows that are to be seen first.
        notes: Lines below it.
    """
    first = [*islice(rows, MOST_ROWS)]
    marks = frozenset(at for at, row in enumerate(first) if row and row[0] in marked)
    texts = [tuple(cell(each) for each in row[:MOST_COLUMNS]) for row in first]
    return Table(
        line(title),
        tuple(line(each, VALUE) for each in columns[:MOST_COLUMNS]),
        tuple(_noticed(row) if at in marks else row for at, row in enumerate(texts)),
        marks,
        (
            *_left_out(columns, max(size, len(rows)) - len(first)),
            *(line(each, _LETTERS) for each in notes),
        ),
    )


def _noticed(row: tuple[str, ...]) -> tuple[str, ...]:
    return (f"! {row[0]}", *row[1:])


def _left_out(columns: Sequence[str], rows: int) -> Iterator[str]:
    """The lines that say how much more there is."""
    if rows > 0:
        yield f"and {rows} more rows" if rows > 1 else "and 1 more row"
    if more := columns[MOST_COLUMNS:]:
        names = ", ".join(line(each, VALUE // 2) for each in more[:_NAMED])
        dots = ", ..." if len(more) > _NAMED else ""
        yield line(f"and {len(more)} more columns: {names}{dots}", _LETTERS)


def html_of(shown: Table) -> str:
    """A table as HTML, in which every text is text."""
    head = "".join(f"<th{_LEFT}>{escape(each)}</th>" for each in shown.columns)
    rows = "".join(_html_row(row, at in shown.marked) for at, row in enumerate(shown.rows))
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    notes = "".join(f"<div>{escape(each)}</div>" for each in shown.notes)
    return f"<div><div><b>{escape(shown.title)}</b></div>{body}{notes}</div>"


def _html_row(row: tuple[str, ...], is_marked: bool) -> str:
    name = "th" if is_marked else "td"
    return f"<tr>{''.join(f'<{name}{_LEFT}>{escape(each)}</{name}>' for each in row)}</tr>"


def rich_of(shown: Table) -> Any:
    """A table as Rich draws it, in which every text is text."""
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid()
    for each in shown.columns:
        grid.add_column(Text(each), overflow="fold")
    for at, row in enumerate(shown.rows):
        grid.add_row(*map(Text, row), style="bold" if at in shown.marked else None)
    notes = [Text(each) for each in shown.notes]
    return Group(Text(shown.title, style="bold"), *([grid] if shown.rows else []), *notes)


# What objects are


class Shown:
    """What a notebook and Rich draw as a table; `__kinto_table__` says which."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __kinto_table__(self) -> Table: ...

    def _repr_html_(self) -> str:
        return html_of(self.__kinto_table__())

    def __rich__(self) -> Any:
        return rich_of(self.__kinto_table__())


class Described(Shown):
    """What has fields with values: a dataclass, of which those without a repr are not shown."""

    __slots__ = ()

    def __kinto_cells__(self) -> Mapping[str, object]:
        own: Any = self
        return {each.name: getattr(self, each.name) for each in fields(own) if each.repr}

    def __kinto_table__(self) -> Table:
        rows = [(name, value) for name, value in self.__kinto_cells__().items()]
        return table(type(self).__name__, ("field", "value"), rows)

    def __repr__(self) -> str:
        return called(type(self).__name__, self.__kinto_cells__())

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        """Tell Rich what it shows of the object inside of another one."""
        yield from ((name, _Said(brief(value))) for name, value in self.__kinto_cells__().items())


class DescribedModel(Described):
    """The same for a model of Pydantic."""

    __slots__ = ()

    def __kinto_cells__(self) -> Mapping[str, object]:
        return {name or "": value for name, value in self.__repr_args__()}

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """As Pydantic's; of a computed field that fails, as where fields were not loaded, why."""
        try:
            return [*super().__repr_args__()]  # type: ignore[misc]
        except Exception:  # noqa: BLE001  (whatever the program's property raises)
            return [*_fields_of(self)]


def _fields_of(model: Any) -> Iterator[tuple[str, object]]:
    """The fields of a model of Pydantic, whatever its computed ones raise."""
    kind = type(model)
    declared = {name for name, info in kind.model_fields.items() if info.repr}
    yield from ((name, value) for name, value in vars(model).items() if name in declared)
    yield from (model.model_extra or {}).items()
    for name in (name for name, info in kind.model_computed_fields.items() if info.repr):
        try:
            yield name, getattr(model, name)
        except Exception as error:  # noqa: BLE001  (as above)
            yield name, _Said(f"<{type(error).__name__}>")


class Rows(Shown, list[T]):
    """A list that is shown as a table: a row for each, and a column for each of their fields."""

    def __kinto_table__(self) -> Table:
        kinds = ", ".join(dict.fromkeys(type(each).__name__ for each in self[:MOST_ROWS]))
        return of_rows(f"{kinds}: {len(self)}" if self else "nothing", self)


def _veiled(value: object) -> object:
    """Three dots for a value; but for none, and for what hides itself, as Pydantic's secrets do."""
    return value if value is None or hasattr(value, "get_secret_value") else HIDDEN


class Differences(Shown, dict[str, tuple[Any, Any]]):
    """What differs, by field: (old, new).

    Attributes:
        hidden: The fields whose values are not to be seen.
    """

    hidden: Collection[str] = ()

    def __repr__(self) -> str:
        return repr({name: self._seen(name) for name in self})

    def _seen(self, name: str) -> tuple[object, ...]:
        return tuple(map(_veiled, self[name])) if name in self.hidden else self[name]

    def __kinto_table__(self) -> Table:
        rows = [(name, *self._seen(name)) for name in self]
        return table("what differs" if self else "nothing differs", ("field", "old", "new"), rows)


def of_rows(title: str, objects: Sequence[object]) -> Table:
    """A row for each object, and a column for each of their fields."""
    first = [_cells_of(each) for each in objects[:MOST_ROWS]]
    columns = [*dict.fromkeys(name for cells in first for name in cells)]
    rows = [[cells.get(name, _NOTHING) for name in columns] for cells in first]
    return table(title, columns, rows, size=len(objects))


def _cells_of(each: object) -> Mapping[str, object]:
    return each.__kinto_cells__() if isinstance(each, Described) else {"value": each}


def compared(
    title: str, sides: Mapping[str, object], marked: Collection[str], *notes: str
) -> Table:
    """The fields in which objects differ, beside each other.

    Args:
        title: What it is about.
        sides: The objects by the names of their columns; there is none of None.
        marked: The fields that are to be seen first.
        *notes: Lines below it.
    """
    there = {name: _cells_of(each) for name, each in sides.items() if each is not None}
    cells = there.values()
    names = dict.fromkeys(name for each in cells for name in each)
    rows = {name: [each.get(name, _NOTHING) for each in cells] for name in names}
    told = [(name, *row) for name, row in rows.items() if name in marked or _differ(row)]
    told.sort(key=lambda row: row[0] not in marked)
    same = len(rows) - len(told)
    equal = [f"{same} fields are the same" if same > 1 else "1 field is the same"] if same else []
    return table(title, ("field", *there), told, marked=marked, notes=(*equal, *notes))


def _differ(row: Sequence[object]) -> bool:
    first = row[0]
    return any(type(each) is not type(first) or each != first for each in row[1:])
