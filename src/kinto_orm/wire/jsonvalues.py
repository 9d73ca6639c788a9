"""JSON values: how they are written for Kinto and read, and how Kinto tells them apart.

Kinto changes some JSON, and chokes on some. The rules are those of Kinto 26.5, found by experiment
on its memory and PostgreSQL backends.
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
from pydantic_core import PydanticSerializationError, from_json, to_jsonable_python
from pydantic_core import to_json as write_json

from kinto_orm.errors import InvalidData

MOST_LEVELS = 200
"""How deep lists and objects may be nested; Kinto answers 500 from about 400 levels on."""

_CONTAINERS = (dict, list, tuple)
TOO_DEEP = f"its lists and objects are nested deeper than {MOST_LEVELS} levels"
"""What messages say of it."""

_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
# What json makes of names in an object that are numbers, booleans or None looks like this.
_COERCED_NAME = re.compile(rb'"(?:[-\d][\d.e+-]*|true|false|null)":')
_NUL = b"\\u0000"
# To find many digits in a row: faster than a regular expression.
_ALL_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19


def encode(value: Any, what: str = "this value") -> bytes:
    """Write JSON for the server, refusing what it would change or choke on.

    Args:
        value: Any JSON value.
        what: What it is, for the message.

    Raises:
        InvalidData: NaN or an infinity (JSON has none), an integer beyond 64 bits (the server
            makes a float of it), a NUL character (PostgreSQL stores none), half of a
            surrogate pair, a name in an object that is no text, or over `MOST_LEVELS` levels.
    """
    try:
        body = _COMPACT.encode(value).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidData(
            f"{what} cannot be stored: {_complaint(error)}. Nothing was sent."
        ) from None
    if _may_be_deep(body) and is_deep(value):
        raise InvalidData(f"{what} cannot be stored: {TOO_DEEP}. Nothing was sent.")
    if _may_be_unstorable(body) or _COERCED_NAME.search(body):
        _refuse_unstorable(value, what, ())
    return body


def encode_dumped(value: Any, what: str) -> bytes:
    """The same for what Pydantic dumped in its JSON mode, in a fifth of the time.

    Args:
        value: Has JSON's types and names that are texts, and nothing else.
        what: What it is, for the message.

    Raises:
        InvalidData: As by `encode`.
    """
    try:
        body = write_json(value, inf_nan_mode="constants")
    except PydanticSerializationError:
        return encode(value, what)
    # "NaN" and "Infinity" may be texts.
    if _may_be_deep(body) or _may_be_unstorable(body) or b"NaN" in body or b"Infinity" in body:
        return encode(value, what)
    return body


def sent(value: Any, what: str) -> JsonValue:
    """The JSON value that reaches the server for this one: a list for a tuple, a text for its enum.

    Raises:
        InvalidData: As by `encode`.
    """
    return decode(encode(value, what))  # type: ignore[no-any-return]


def decode(body: bytes) -> Any:
    """Read JSON, in about half of the time that `json` takes.

    Raises:
        ValueError: It is none.
    """
    try:
        return from_json(body)
    except ValueError:
        # Half of a surrogate pair and many levels are read by this one only.
        try:
            return json.loads(body)
        except RecursionError:
            raise ValueError(TOO_DEEP) from None


def _may_be_deep(body: bytes) -> bool:
    return body.count(b"[") + body.count(b"{") > MOST_LEVELS


def _may_be_unstorable(body: bytes) -> bool:
    return _LONG_NUMBER in body.translate(_ALL_ZERO) or _NUL in body


def is_deep(value: Any, most: int = MOST_LEVELS) -> bool:
    """Whether lists and objects are nested deeper than so many levels."""
    layer = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(most):
        layer = [
            item
            for each in layer
            for item in (each.values() if isinstance(each, dict) else each)
            if isinstance(item, _CONTAINERS)
        ]
    return bool(layer)


def _complaint(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "it contains half of a surrogate pair, which is no Unicode character"
    if "JSON compliant" in str(error):
        return "it contains NaN or an infinity, and JSON has neither"
    if isinstance(error, RecursionError):
        return TOO_DEEP
    if "keys must be" in str(error):
        return "a name in an object is no text"
    return str(error)


def _refuse_unstorable(value: Any, what: str, path: tuple[str, ...]) -> None:
    where = f" (at {'/'.join(path)})" if path else ""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidData(
                    f"{what} cannot be stored{where}: the name {key!r} in an object is no text. "
                    "Nothing was sent."
                )
            _refuse_unstorable(key, what, (*path, "(name)"))
            _refuse_unstorable(item, what, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_unstorable(item, what, (*path, str(index)))
    elif isinstance(value, str) and "\0" in value:
        raise InvalidData(
            f"{what} cannot be stored{where}: it contains a NUL character, which PostgreSQL "
            "cannot keep. Nothing was sent."
        )
    elif is_beyond(value):
        raise InvalidData(
            f"{what} cannot be stored{where}: the server would turn an integer beyond 64 bits "
            "into a float. Store it as a string. Nothing was sent."
        )


# How Kinto tells them apart, and how they are written into a query string


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
    return _agree(a, b, _are_same)


def alike(a: MaybeJson, b: MaybeJson) -> bool:
    """Equality but for the last digits of floats, which Kinto's parser may change."""
    return _agree(a, b, _are_alike)


def _agree(a: MaybeJson, b: MaybeJson, agree: Callable[[MaybeJson, MaybeJson], bool]) -> bool:
    """Whether two values have the same shape, and agree in all that is no array and no object.

    Other clients nest deeper than Python calls functions of functions: this goes no level down.
    """
    pairs = [(a, b)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pairs += zip(one, other, strict=True)
        elif isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            pairs += ((each, other[name]) for name, each in one.items())
        elif not agree(one, other):
            return False
    return True


def _are_same(a: MaybeJson, b: MaybeJson) -> bool:
    return kind(a) == kind(b) and a == b


def _are_alike(a: MaybeJson, b: MaybeJson) -> bool:
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


def has_name(value: JsonValue, name: str) -> bool:
    """Whether an object with this name, or a list with this index, is inside of a value."""
    if isinstance(value, dict):
        return name in value or any(has_name(each, name) for each in value.values())
    if isinstance(value, list):
        index = name.isdecimal() and int(name) < len(value)
        return index or any(has_name(each, name) for each in value)
    return False


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
    """The same as a copy; other clients nest deeper than Python calls functions of functions."""
    held = [value]
    containers: list[Any] = [held]
    while containers:
        container = containers.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for place, item in items:
            if isinstance(item, dict | list):
                container[place] = item.copy()
                containers.append(container[place])
            elif isinstance(item, int) and is_beyond(item):
                container[place] = _as_float(item)
    return held[0]


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
