"""Floats as Kinto stores them: its parser gets the last digit of some wrong, always in one way.

Kinto 26.5 reads JSON with rapidjson's quick way (`kParseDefaultFlags`, rapidjson's reader.h): the
digits make an integer of 53 bits, then a float, which a power of ten is multiplied with. What goes
through `/batch` or the memory backend is written and read more than once.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import JsonValue

# How often a number is read on its way to a store, at most: the body, a batch, the memory backend.
_READINGS = 4
# Up to this the digits are an integer.
_EXACT = 0x1FFFFFFFFFFFFF
# So many digits are looked at, and powers of ten go so far.
_MOST_DIGITS = 17
_MOST_POWER = 308


def is_kept(value: JsonValue, stored: JsonValue, *, like: bool = False) -> bool:
    """Whether sending a value leaves in a store what is there.

    Args:
        value: What would be sent.
        stored: What is stored.
        like: Whether 1 and 1.0 are the same. Of numbers beyond 53 bits they always are:
            PostgreSQL gives back 1e16 as an integer.
    """
    if isinstance(value, dict):
        return (
            isinstance(stored, dict)
            and value.keys() == stored.keys()
            and all(is_kept(each, stored[name], like=like) for name, each in value.items())
        )
    if isinstance(value, list):
        return (
            isinstance(stored, list)
            and len(value) == len(stored)
            and all(is_kept(*both, like=like) for both in zip(value, stored, strict=True))
        )
    if type(value) is type(stored):
        return value == stored or (type(value) is float and _is_made_of(value, stored))
    if type(value) is float and type(stored) is int and (like or abs(value) > _EXACT):
        return _is_made_of(value, _near(stored))
    return like and type(value) is int and type(stored) is float and value == stored


def _near(number: int) -> float:
    try:
        return float(number)
    except OverflowError:  # nobody made it of a float
        return math.nan


def _is_made_of(value: float, stored: Any) -> bool:
    """Whether Kinto stores this for a value."""
    if value == stored:
        return True
    for _ in range(_READINGS):
        if not math.isfinite(value):
            return False
        value, before = as_read(value), value
        if value == stored:
            return True
        if value == before:
            return False
    return False


def as_read(value: float) -> float:
    """What Kinto reads for a finite float, from the shortest text that means it."""
    digits, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = digits.partition(".")
    number, power = int(whole), int(exponent or 0)
    if exponent and fraction == "0":
        fraction = ""
    seen = len(whole.lstrip("0"))
    for place, digit in enumerate(fraction):
        if number > _EXACT:
            fraction = fraction[place:]
            break
        number, power = number * 10 + int(digit), power - 1
        seen += number != 0
    else:
        fraction = ""
    rest = fraction[: max(0, _MOST_DIGITS - seen)]
    found = float(number)
    for digit in rest:
        found = found * 10.0 + int(digit)
    return math.copysign(_with_power(found, power - len(rest)), value)


def _with_power(number: float, power: int) -> float:
    if power < -_MOST_POWER:
        number, power = number / float(f"1e{_MOST_POWER}"), power + _MOST_POWER
        if power < -_MOST_POWER:
            return 0.0
    return number * float(f"1e{power}") if power >= 0 else number / float(f"1e{-power}")
