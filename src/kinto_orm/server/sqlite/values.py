"""JSON values as they compare: in order, by pattern, by what they contain.

The order is that of PostgreSQL's jsonb: null, texts, numbers, booleans, arrays, objects. SQLite's
own JSON functions would not do: they read some floats wrong in the last digit, find no key with
a quote in it, and have no order of types.
"""

from __future__ import annotations

import json
import re
import sqlite3
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1
# The first byte of a key: the rank of the type.
_NULL, _TEXT, _NUMBER, _FALSE, _TRUE, _ARRAY, _OBJECT = (bytes([rank]) for rank in range(7))
_BIG = 2**53  # integers up to it are floats without loss
_MISSING = object()
_ALONE = {0x3A3: "\u03c3", 0x130: "i"}  # the great sigma, and the great i with a dot
# What is missing is greater than all that is there.
MISSING_KEY = bytes([7])

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# Kinto's own parser gets the last digit of some floats wrong.
decode: Callable[[str], Any] = json.JSONDecoder().decode


def encode(value: Any) -> str:
    """Write a JSON value, always the same way.

    Raises:
        TypeError: There is something in it that JSON has not, such as bytes.
    """
    text = _encode(value)
    # Half a character cannot be stored as UTF-8, but can as an escape.
    return text if text.isascii() else _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def key(value: Any) -> bytes:
    """Make bytes that compare as the value does among JSON values; equal ones have equal bytes.

    Indexes in the files have these bytes in them: where others are to be made of a value, a
    migration has to build those indexes anew.
    """
    if value is None:
        return _NULL
    if isinstance(value, str):
        return _TEXT + value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int | float):
        return _NUMBER + _number(value)
    if isinstance(value, dict):
        return _OBJECT + _object(value)
    return _ARRAY + _array(value)


def _number(value: float) -> bytes:
    """Keep the order of floats, and of integers between two of them."""
    try:
        near = float(value)
    except OverflowError:
        near = float("inf") if value > 0 else float("-inf")
    (bits,) = struct.unpack(">Q", struct.pack(">d", near + 0.0))
    ordered = struct.pack(">Q", bits ^ (_ALL if bits & _SIGN else _SIGN))
    if isinstance(value, int) and abs(value) > _BIG and abs(near) != float("inf"):
        # How far it is from the float: less than a thousand for 64 bits.
        return ordered + struct.pack(">q", value - int(near) + _SIGN // 2)
    return ordered + struct.pack(">q", _SIGN // 2)


def _array(values: Any) -> bytes:
    """A longer array is greater; those of one length compare item by item."""
    return struct.pack(">I", len(values)) + b"".join(_ended(key(each)) for each in values)


def _object(values: dict[str, Any]) -> bytes:
    """More members are greater; those of one number compare by the names, then by the values."""
    names = sorted(values, key=lambda name: (len(name.encode("utf-8", "surrogatepass")), name))
    members = (_ended(key(name)) + _ended(key(values[name])) for name in names)
    return struct.pack(">I", len(values)) + b"".join(members)


def _ended(part: bytes) -> bytes:
    """Mark the end, so that nothing that follows counts before it."""
    return part.replace(b"\0", b"\0\xff") + b"\0\0"


def teach(connection: sqlite3.Connection) -> None:
    """Make the functions known to SQL that conditions use."""
    functions: tuple[tuple[str, int, Callable[..., Any]], ...] = (
        ("kinto_key", 2, _key_of),
        ("kinto_like", 3, _like),
        ("kinto_fits", 2, fits),
        ("kinto_contains", 3, _contains),
        ("kinto_contains_any", 3, _contains_any),
    )
    for name, arguments, function in functions:
        connection.create_function(name, arguments, function, deterministic=True)


@lru_cache(maxsize=4)
def _decoded(data: str) -> Any:
    """Conditions on several fields, and the order, ask for the same row one after the other."""
    return decode(data)


@lru_cache(maxsize=256)
def _names(field: str | bytes) -> tuple[str, ...]:
    text = field if isinstance(field, str) else field.decode()
    return tuple(text.split("."))


def _find(data: str, field: str | bytes) -> Any:
    """Find the value of a field, `address.city` for one inside of an object."""
    value = _decoded(data)
    for name in _names(field):
        if not isinstance(value, dict):
            return _MISSING
        value = value.get(name, _MISSING)
    return value


def _key_of(data: str, field: str | bytes) -> bytes:
    value = _find(data, field)
    return MISSING_KEY if value is _MISSING else key(value)


def _like(data: str, field: str, pattern: str) -> bool:
    value = _find(data, field)
    if value is _MISSING or value is None:
        return False
    return fits(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), pattern)


def fits(text: object, pattern: str) -> bool:
    """Whether a text fits a pattern of SQL's LIKE, upper and lower case being the same."""
    return _compiled(pattern).fullmatch(_lower(str(text))) is not None


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\\.|.", _lower(pattern), re.DOTALL)
    wild = {"%": ".*", "_": "."}
    found = (wild.get(part) or re.escape(part[-1]) for part in parts)
    return re.compile("".join(found), re.DOTALL)


def _lower(text: str) -> str:
    """Make small letters, each by itself; Python looks at what stands beside a sigma."""
    return text.translate(_ALONE).lower()


def _contains(data: str, field: str, wanted: str) -> bool:
    value = _find(data, field)
    return value is not _MISSING and _includes(value, _decoded_wanted(wanted))


def _contains_any(data: str, field: str, wanted: str) -> bool:
    value = _find(data, field)
    if not isinstance(value, list):
        return False
    keys = _keys(wanted)
    return any(key(each) in keys for each in value)


@lru_cache(maxsize=64)
def _decoded_wanted(text: str) -> Any:
    return decode(text)


@lru_cache(maxsize=64)
def _keys(text: str) -> frozenset[bytes]:
    return frozenset(map(key, decode(text)))


def _includes(value: Any, wanted: Any) -> bool:
    """Whether there is all in a value that is in another: PostgreSQL's operator @> of jsonb."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(
            name in value and _includes(value[name], part) for name, part in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(value, list) and all(
            any(_includes(each, part) for each in value) for part in wanted
        )
    return not isinstance(value, dict | list) and key(value) == key(wanted)
