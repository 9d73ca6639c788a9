"""Writing JSON for the server, which changes or chokes on some of it, and reading its own."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, from_json, to_json

from kinto_orm.errors import InvalidData

MOST_LEVELS = 200
"""How deep lists and objects may be nested; Kinto answers 500 from about 400 levels on."""

_CONTAINERS = (dict, list, tuple)
_TOO_DEEP = f"its lists and objects are nested deeper than {MOST_LEVELS} levels"
_LARGEST, _SMALLEST = 2**64 - 1, -(2**63)
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
        raise InvalidData(f"{what} cannot be stored: {_TOO_DEEP}. Nothing was sent.")
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
        body = to_json(value, inf_nan_mode="constants")
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
            raise ValueError(_TOO_DEEP) from None


def _may_be_deep(body: bytes) -> bool:
    return body.count(b"[") + body.count(b"{") > MOST_LEVELS


def _may_be_unstorable(body: bytes) -> bool:
    return _LONG_NUMBER in body.translate(_ALL_ZERO) or _NUL in body


def is_deep(value: Any) -> bool:
    """Whether lists and objects are nested deeper than `MOST_LEVELS`."""
    layer = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(MOST_LEVELS):
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
        return _TOO_DEEP
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
    elif isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
        raise InvalidData(
            f"{what} cannot be stored{where}: the server would turn an integer beyond 64 bits "
            "into a float. Store it as a string. Nothing was sent."
        )
