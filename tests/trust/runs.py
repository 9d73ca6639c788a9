"""Cells of earlier runs, in files of JSON, so that a run may be stopped and go on later."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Entry = Mapping[str, Any]
Row = tuple[str, str]
"""The names of an operation and of a session."""


def earlier(files: Iterable[Path]) -> list[Entry]:
    """The cells of earlier runs; a row that is in several files is that of the first."""
    rows: dict[Row, list[Entry]] = {}
    for file in files:
        found: dict[Row, list[Entry]] = {}
        for each in json.loads(file.read_text()):
            found.setdefault(_row_of(each), []).append(each)
        rows = found | rows
    return [each for cells in rows.values() for each in cells]


def left(rows: Iterable[Row], entries: Iterable[Entry]) -> list[Row]:
    """The rows of which there is no cell yet."""
    known = {_row_of(each) for each in entries}
    return [each for each in rows if each not in known]


def keep(entries: Sequence[Entry], file: Path) -> None:
    """Write all cells; whoever stops the run in between finds those of before."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(json.dumps(entries, indent=1))
    part.replace(file)


def _row_of(entry: Entry) -> Row:
    return entry["operation"], entry["session"]
