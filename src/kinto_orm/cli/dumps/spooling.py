"""Records in a file of their own, until all of them are known: what columns a table needs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from pydantic import JsonValue

from kinto_orm.cli.dumps.entries import Data


class Spool:
    """Records that were read once, and may be read again and again in constant memory.

    Args:
        records: Their data.

    Attributes:
        names: The names of all fields, in the order in which they came.
        kinds: By name, what kinds of values there are: "null", "bool", "int", "large" (an integer
            of more than 64 bits), "float", "text", or "json" for all else.
        missing: The names of fields that some record lacks.
    """

    def __init__(self, records: Iterable[Data]) -> None:
        self._file = tempfile.TemporaryFile(prefix="kinto-orm-")  # noqa: SIM115
        self.kinds: dict[str, set[str]] = {}
        self._counts: dict[str, int] = {}
        self._total = 0
        for each in records:
            self._add(each)

    def _add(self, record: Data) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._total += 1
        for name, value in record.items():
            self.kinds.setdefault(name, set()).add(_kind(value))
            self._counts[name] = self._counts.get(name, 0) + 1

    @property
    def names(self) -> list[str]:
        """The names of all fields."""
        return list(self.kinds)

    @property
    def missing(self) -> set[str]:
        """The names of fields that some record lacks."""
        return {name for name, count in self._counts.items() if count < self._total}

    def __iter__(self) -> Iterator[Data]:
        self._file.seek(0)
        for line in self._file:
            yield json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(2**63) <= value < 2**63 else "large"
    if isinstance(value, float):
        return "float"
    return "text" if isinstance(value, str) else "json"
