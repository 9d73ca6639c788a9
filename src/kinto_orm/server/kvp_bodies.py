"""The bodies of requests: JSON that is stored as it was sent, or refused with what is wrong."""

from __future__ import annotations

import json
import math
from typing import Final, NoReturn

from pydantic import JsonValue

from kinto_orm.wire.jsonvalues import MOST_LEVELS, is_beyond, is_deep, is_storable

_LONGEST: Final = 20
"""Characters of the longest integer that has 64 bits."""
_SHOWN: Final = 30
_DEEP: Final = f"the body's lists and objects are nested deeper than {MOST_LEVELS} levels"


def parse(content: bytes) -> JsonValue:
    """Read a body.

    Raises:
        ValueError: It is no JSON in UTF-8, or Kinto would store something else; the message says
            which value is at fault.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"the body is not valid JSON in UTF-8: byte {error.start} is none of it"
        ) from None
    try:
        value: JsonValue = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_integer,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"the body is not valid JSON: {error.msg} at {place}") from None
    except RecursionError:
        raise ValueError(_DEEP) from None
    if is_deep(value):
        raise ValueError(_DEEP)
    if "\\u" in text:  # these come as escapes only
        _refuse_texts(value)
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"the body is not valid JSON: {text} is no number of it")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the body holds {text:.{_SHOWN}}, a number too large to be stored")
    return number


def _integer(text: str) -> int:
    if len(text) > _LONGEST or is_beyond(int(text)):
        raise ValueError(
            f"the body holds {text:.{_SHOWN}}, an integer of more than 64 bits, which would be "
            "stored as a float: send it as a text"
        )
    return int(text)


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the body has an object with the key {name!r:.{_SHOWN}} twice")
    return found


def _refuse_texts(value: JsonValue) -> None:
    stack: list[JsonValue] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str) and not is_storable(item):
            raise ValueError(
                f"the body holds the text {item!a:.{_SHOWN}}, with the character NUL or half of a "
                "surrogate pair in it: neither can be stored"
            )
        if isinstance(item, dict):
            stack.extend(item)
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
