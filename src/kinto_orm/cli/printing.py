"""What is asked for, on standard output; all else, on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Literal

from pydantic import JsonValue
from rich.cells import cell_len
from rich.console import Console
from rich.json import JSON
from rich.table import Table
from rich.text import Text

Row = Mapping[str, JsonValue]
Cells = Sequence[JsonValue]

# So many rows are looked at before the first of a table is printed.
_PIECE = 100
_WIDEST, _NARROWEST = 60, 8
# What a terminal takes for a command, and JSON leaves as it is.
_CONTROLS = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


class Output:
    """Prints what a command found.

    Args:
        as_json: Whether it is for a script: one JSON value in each line.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = Console(soft_wrap=True)

    def value(self, value: JsonValue) -> None:
        """Print a JSON value: readable at a terminal, one line for a script."""
        if self.as_json:
            self.line(_json(value))
        elif self.console.is_terminal:
            self.console.print(JSON(_json(value), ensure_ascii=_is_narrow(_json(value))))
        else:
            self.line(_json(value, indent=2))

    def rows(self, rows: Iterable[Row], columns: Sequence[str]) -> None:
        """Print rows: as a table at a terminal, else with tabs between, or as JSON lines.

        Args:
            rows: Names and values; a script is given all of them, a reader those of `columns`.
            columns: The names that make the columns.
        """
        if self.as_json:
            for row in rows:
                self.line(_json(dict(row)))
        else:
            self.table(([row.get(name) for name in columns] for row in rows), columns)

    def table(self, rows: Iterable[Cells], columns: Sequence[str]) -> None:
        """Print rows for a reader: as a table at a terminal, else with tabs between.

        Args:
            rows: The values in the order of the columns; they are printed as they come.
            columns: The names of the columns.
        """
        if not self.console.is_terminal:
            for row in rows:
                self.fields(*row)
            return
        console = Console()
        lines = ([_cell(value) for value in row] for row in rows)
        for table in _tables(lines, columns, console.width):
            console.print(table)

    def fields(self, *values: JsonValue) -> None:
        """Print values as one line, with tabs between."""
        self.line("\t".join(map(_cell, values)))

    @property
    def is_terminal(self) -> bool:
        """Whether somebody reads it."""
        return not self.as_json and self.console.is_terminal

    def facts(self, facts: Mapping[str, JsonValue]) -> None:
        """Print what is known of one thing: a name and a value in each line, or a JSON object.

        Args:
            facts: By name; None for what is not known, which a script is told, too.
        """
        if self.as_json:
            self.line(_json(dict(facts)))
            return
        width = max(map(len, facts), default=0)
        for name, value in facts.items():
            if value is not None:
                self.line(f"{name:{width}}  {_cell(value)}")

    def text(self, text: str) -> None:
        """Print a text to the letter: no line is added at its end."""
        sys.stdout.write(text)

    def flush(self) -> None:
        """Let whoever reads it have what is printed, now: the command goes on for a while."""
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """Print a line as it is."""
        if _is_narrow(text):
            encoding = sys.stdout.encoding
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        print(text)


def complain(text: str) -> None:
    """Say on standard error what went wrong."""
    tell(f"kinto-orm: {text}")


def tell(text: str) -> None:
    """Say on standard error what is going on."""
    shown_so_far()
    Console(stderr=True, soft_wrap=True).print(Text(text))


def shown_so_far() -> None:
    """Let what was printed before be seen before what is said now.

    Where it cannot be, that is said when the command ends: what was done has to be said all the
    same.
    """
    with suppress(OSError):
        sys.stdout.flush()


def moment(stamp: int | None) -> str | None:
    """A timestamp for a reader, in UTC; times may be given in this form, too."""
    if stamp is None:
        return None
    try:
        when = datetime.fromtimestamp(stamp // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(stamp)  # beyond the year 9999
    return f"{when:%Y-%m-%dT%H:%M:%S}.{stamp % 1000:03d}Z"


def _tables(lines: Iterator[list[str]], columns: Sequence[str], room: int) -> Iterator[Table]:
    """Tables of some rows each, to be printed one below the other."""
    widths = [cell_len(name) for name in columns]
    is_first = True
    while piece := list(islice(lines, _PIECE)):
        lengths = ([cell_len(each) for each in line] for line in piece)
        widths = _fitting([max(found) for found in zip(widths, *lengths, strict=True)], room)
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=is_first)
        for name, width in zip(columns, widths, strict=True):
            # What names an object is never cut.
            is_name = name == columns[0]
            overflow: Literal["fold", "ellipsis"] = "fold" if is_name else "ellipsis"
            table.add_column(name, width=width, no_wrap=not is_name, overflow=overflow)
        for line in piece:
            table.add_row(*map(Text, line))
        is_first = False
        yield table


def _fitting(widths: list[int], room: int) -> list[int]:
    """The widths of columns, of which the widest are made narrower until all have room."""
    widths = [widths[0], *(min(each, _WIDEST) for each in widths[1:])]
    left = room - 2 * (len(widths) - 1)
    while sum(widths) > left and max(widths[1:], default=0) > _NARROWEST:
        widest = widths.index(max(widths[1:]), 1)
        widths[widest] -= 1
    return widths


def _cell(value: JsonValue) -> str:
    """A value as one field of a line: texts as they are, but for what would break it."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else _json(value)
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _json(value: JsonValue, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent).translate(_CONTROLS)
    return json.dumps(value, indent=indent) if _is_narrow(text) else text


def _is_narrow(text: str) -> bool:
    """Whether standard output cannot say a text."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return True
    return False
