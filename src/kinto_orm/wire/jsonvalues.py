"""JSON values as Kinto tells them apart, and how they are written into a query string.

The rules are those of Kinto 26.5, found by experiment on its memory and PostgreSQL backends.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final, TypeGuard

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_jsonable_python

from kinto_orm.errors import InvalidData


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""What a record has in the place of a field that it does not have."""

MaybeJson = JsonValue | _Absent

KINDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "boolean"),
    (int, "number"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
    (type(None), "null"),
)
EXACT: Final = 2**53
MOST_SPELLINGS: Final = 64
SPECIAL: Final = re.compile(r"([\\%_.^$+?{}\[\]|()])")


def to_json(value: object) -> JsonValue:
    """Write a Python value as JSON; dates, enums, UUIDs and models as Pydantic does.

    Raises:
        InvalidData: There is no JSON for such a value.
    """
    try:
        return to_jsonable_python(value)  # type: ignore[no-any-return]
    except (PydanticSerializationError, ValueError, TypeError, ArithmeticError) as error:
        raise InvalidData(f"{shown(value)} has no form in JSON: {error}") from None


def shown(value: object) -> str:
    """A value in a message: Python writes neither what is nested deeply nor very long numbers."""
    try:
        return f"{value!r:.200}"
    except (RecursionError, ValueError):
        return f"this {type(value).__name__}"


def kind(value: MaybeJson) -> str:
    """The JSON type of a value: null, string, number, boolean, array, object, or absent."""
    return next((name for python, name in KINDS if isinstance(value, python)), "absent")


def same(a: MaybeJson, b: MaybeJson) -> bool:
    """Equality of JSON values: 1 is 1.0, and neither is true."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return kind(a) == kind(b) and a == b


def alike(a: MaybeJson, b: MaybeJson) -> bool:
    """Equality but for the last digits of floats, which Kinto's parser may change."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if kind(a) != kind(b):
        return False
    return a == b or ((isinstance(a, float) or isinstance(b, float)) and _are_near(a, b))


def _are_near(a: Any, b: Any) -> bool:
    try:
        return math.isclose(a, b, rel_tol=1e-14, abs_tol=1e-300)
    except OverflowError:  # an integer beyond all floats
        return False


def contains(items: Iterable[JsonValue], value: MaybeJson) -> bool:
    """Whether one of the items is the same as the value."""
    return any(same(item, value) for item in items)


def look_up(record: Mapping[str, JsonValue], path: tuple[str, ...]) -> MaybeJson:
    """The value at a path of names in a record, ABSENT where it leads nowhere."""
    value: MaybeJson = dict(record)
    for name in path:
        value = value.get(name, ABSENT) if isinstance(value, dict) else ABSENT
    return value


def dump(value: JsonValue) -> str:
    """Write a value as compact JSON.

    Raises:
        InvalidData: It would reach the server as another value, or not at all: NaN, infinities,
            integers beyond 64 bits, NUL, lone surrogates.
    """
    _check(value)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise InvalidData(f"JSON has neither NaN nor infinities: {shown(value)}") from None


def _check(value: JsonValue) -> None:
    if isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            _check(item)
    elif isinstance(value, str) and not is_storable(value):
        raise InvalidData(f"Kinto stores neither NUL nor lone surrogates: {shown(value)}")
    elif is_beyond(value):
        raise InvalidData(f"Kinto turns integers beyond 64 bits into floats: {shown(value)}")


def is_beyond(value: MaybeJson) -> bool:
    """Whether this is an integer that Kinto does not take: PostgreSQL made it of a large float."""
    return isinstance(value, int) and not -(2**63) <= value < 2**64


def holds_beyond(value: JsonValue) -> bool:
    """Whether a value holds such an integer anywhere."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif is_beyond(item):
            return True
    return False


def as_stored(value: JsonValue) -> JsonValue:
    """Give a value that was read as it was written: 1e300 comes back from PostgreSQL as 10**300."""
    return _with_floats(value) if holds_beyond(value) else value


def _with_floats(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _with_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    return _as_float(value) if isinstance(value, int) and is_beyond(value) else value


def _as_float(value: int) -> JsonValue:
    try:
        return float(value)
    except OverflowError:  # Kinto made no such number of a float
        return value


def is_storable(text: str) -> bool:
    """Whether Kinto keeps this text: it has neither NUL nor lone surrogates."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def join(items: Iterable[JsonValue]) -> str:
    """Write the list of an `in_` or `exclude_`, which the server splits at every comma."""
    return ",".join(dump(item).replace(",", "\\u002c") for item in items)


def is_container(value: JsonValue) -> bool:
    """Whether the value is an array or an object."""
    return isinstance(value, list | dict)


def is_bit(value: JsonValue) -> bool:
    """Whether the value is true, false, 1 or 0, which a memory Kinto may take for each other."""
    return isinstance(value, int | float) and value in (0, 1)


def twins(items: list[JsonValue]) -> Iterator[JsonValue]:
    """What a memory Kinto finds in a list of these items though it is not there: true for 1."""
    for item in items:
        if isinstance(item, int | float) and is_bit(item):
            twin: JsonValue = int(item) if isinstance(item, bool) else bool(item)
            if not contains(items, twin):
                yield twin


def spellings(value: JsonValue) -> list[JsonValue]:
    """All forms that JSON has for a value: a memory Kinto tells 1 from 1.0 in an array.

    Raises:
        InvalidData: There are too many, for an array or object of many whole numbers.
    """
    if isinstance(value, list):
        return [list(row) for row in _combine(value)]
    if isinstance(value, dict):
        return [dict(zip(value, row, strict=True)) for row in _combine(value.values())]
    if not _is_whole(value):
        return [value]
    return [int(value), float(value)] if value else [0, 0.0, -0.0]


def _is_whole(value: JsonValue) -> TypeGuard[int | float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= EXACT and value == int(value)


def _combine(items: Iterable[JsonValue]) -> list[tuple[JsonValue, ...]]:
    rows = itertools.product(*map(spellings, items))
    found = list(itertools.islice(rows, MOST_SPELLINGS + 1))
    if len(found) > MOST_SPELLINGS:
        raise InvalidData("has and has_any cannot look for an item of so many whole numbers")
    return found


def escape(pattern: str) -> str:
    """Write a pattern so that it serves as a regular expression (memory) and LIKE (PostgreSQL)."""
    return re.sub(r"\*+", "*", SPECIAL.sub(r"\\\1", pattern))


def matcher(pattern: str) -> Callable[[MaybeJson], bool]:
    """The meaning of a pattern in Python: `*` is anything, the whole text must fit."""
    wild = pattern if "*" in pattern else f"*{pattern}*"
    expression = ".*".join(re.escape(part) for part in re.split(r"\*+", wild))
    compiled = re.compile(expression, re.IGNORECASE | re.DOTALL)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None
