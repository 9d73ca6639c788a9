"""The format of its own: JSON values, one in each line, the first and the last about the dump.

{"format": "kinto-orm dump", "version": 1, "buckets": ["blog"]}
{"uri": "/buckets/blog", "data": {...}, "permissions": {"write": ["account:ada"]}}
{"uri": "/buckets/blog/collections/articles", "data": {...}, "permissions": {...}}
{"uri": "/buckets/blog/collections/articles/records/first", "data": {...}, ...}
{"complete": true, "objects": 3}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import IO, Any

from kinto_orm.cli.dumps.entries import Entry, Parts, Unreadable
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.targets import Target, path_of

FORMAT = "kinto-orm dump"
VERSION = 1
# A last line is short; so much of the end of a file has it for sure.
_TAIL = 4096


class Writer:
    """Writes a dump.

    Args:
        file: Where to.
        buckets: The ids of the buckets that it is of.
        parts: Which parts of them it has.
    """

    def __init__(self, file: IO[bytes], buckets: list[str], parts: Parts) -> None:
        self._file = file
        self._count = 0
        head = {"format": FORMAT, "version": VERSION, "buckets": buckets}
        self._line(head | ({"only": sorted(parts.names)} if parts.names else {}))

    def write(self, entry: Entry) -> None:
        """Write an object."""
        line: dict[str, Any] = {"uri": str(entry.target)}
        if entry.says_data:
            line["data"] = entry.data
        if entry.permissions is not None:
            line["permissions"] = entry.permissions
        self._line(line)
        self._count += 1

    def close(self) -> None:
        """Write that nothing is missing."""
        self._line({"complete": True, "objects": self._count})

    def _line(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n")


class Reader:
    """Reads a dump.

    Args:
        file: The file; when one can go to and fro in it, its end is looked at before all else.
        cut: Whether it may be cut.

    Attributes:
        buckets: The ids of the buckets that it is of.
        parts: Which parts of them it has.
        total: How many objects it has; None when that is not known.
        is_whole: Whether nothing is missing: where the end does not say so, reading it fails.

    Raises:
        Unreadable: It is no dump, or was cut.
    """

    def __init__(self, file: IO[bytes], *, cut: bool) -> None:
        self._file = file
        self._cut = cut
        self.is_whole = not cut
        begin = file.readline()
        head = _head(begin)
        self.buckets: list[str] = head.get("buckets", [])
        self.parts = Parts(frozenset(head.get("only", ())))
        self.total: int | None = None
        if file.seekable():
            self.total = _total_of(file)
            file.seek(len(begin))
            if self.total is None and not cut:
                raise Unreadable(f"{_CUT}. Nothing was loaded.")

    def entries(self) -> Iterator[Entry | Unreadable]:
        """The objects, and what is wrong with a line that has none.

        Raises:
            Unreadable: It was cut, or has another number of objects than it says.
        """
        count = 0
        lines = enumerate(self._file, 2)
        for number, line in lines:
            if self._cut and not line.endswith(b"\n"):
                return
            if not line.strip():
                continue
            try:
                value = _value(line, number)
                if value.get("complete") is True:
                    _check_end(value, count, lines)
                    return
                yield _entry(value, number)
            except _Wrong as error:
                yield error
            count += 1
        if not self._cut:
            raise Unreadable(f"{_CUT}; the {count} objects before that were read")


_CUT = (
    "the dump has no last line that says that it is complete: it was cut, or is still being "
    "written. Dump again, or give --cut to load what there is"
)


def _total_of(file: IO[bytes]) -> int | None:
    """How many objects the last line says there are; None when there is no such line."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    try:
        value = json.loads(file.read().rstrip().rpartition(b"\n")[2])
    except ValueError:
        return None
    complete = isinstance(value, dict) and value.get("complete") is True
    return value.get("objects") if complete else None


def _head(line: bytes) -> dict[str, Any]:
    try:
        head = json.loads(line)
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise Unreadable(
            f"line 1 is not that of a dump: {FORMAT!r} has to stand there as `format`. Is the file "
            "of another --format: csv, parquet or yaml?"
        )
    if head.get("version") != VERSION:
        raise Unreadable(
            f"this is version {head.get('version')!r} of the format, and version {VERSION} is "
            "known here: load it with a newer kinto-orm"
        )
    return head


class _Wrong(Unreadable):
    """One line is wrong, which says nothing of the others."""


def _value(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"line {number} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _Wrong(f"line {number} is not a JSON object")
    return value


def _check_end(value: dict[str, Any], count: int, lines: Iterable[tuple[int, bytes]]) -> None:
    if value.get("objects") != count:
        raise Unreadable(
            f"the last line says that there are {value.get('objects')} objects, and {count} were "
            "read: lines are missing, or were added"
        )
    for number, line in lines:
        if line.strip():
            raise Unreadable(f"line {number} stands behind the last one of the dump")


def _entry(value: dict[str, Any], number: int) -> Entry:
    place = f"line {number}"
    data, permissions = value.get("data", {}), value.get("permissions")
    if not isinstance(data, dict) or not is_access(permissions):
        raise _Wrong(f"{place}: `data` is an object, and `permissions` one of lists of texts")
    target, says_data = _target(value.get("uri"), place), "data" in value
    return Entry(target, data, permissions, place, says_data=says_data)


def _target(uri: object, place: str) -> Target:
    try:
        target = path_of(uri) if isinstance(uri, str) else None
    except Misuse as error:
        raise _Wrong(f"{place}: {error}") from None
    if target is None or target.id is None:
        raise _Wrong(f"{place}: `uri` is the path of an object, not {uri!r:.80}")
    return target


def is_access(value: object) -> bool:
    """Whether a JSON value is one of permissions, or nothing."""
    return value is None or (
        isinstance(value, dict)
        and all(
            isinstance(who, list) and all(isinstance(each, str) for each in who)
            for who in value.values()
        )
    )
