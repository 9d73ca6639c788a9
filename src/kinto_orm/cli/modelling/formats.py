"""Texts that are times, dates, UUIDs and the like: which Python type has them without a loss."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from pydantic import AnyUrl, TypeAdapter

_TIME = r"\d\d:\d\d:\d\d(\.\d{1,6})?"
_ZONE = r"(Z|[+-]\d\d:\d\d)"
_DATE_TIME = re.compile(rf"\d{{4}}-\d\d-\d\dT{_TIME}{_ZONE}?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK = re.compile(rf"{_TIME}{_ZONE}?", re.ASCII)
# Longer ones are none of all these but URLs, which nobody guesses.
_LONGEST = 2000

_date_time, _date, _clock = (TypeAdapter(each) for each in (dt.datetime, dt.date, dt.time))


def _is(pattern: re.Pattern[str], adapter: TypeAdapter[object]) -> Callable[[str], bool]:
    def accepts(text: str) -> bool:
        if pattern.fullmatch(text) is None:
            return False
        adapter.validate_python(text)
        return True

    return accepts


def _reads_back(kind: Callable[[str], object]) -> Callable[[str], bool]:
    return lambda text: str(kind(text)) == text


_CHECKS: dict[str, Callable[[str], bool]] = {
    "date-time": _is(_DATE_TIME, _date_time),
    "date": _is(_DATE, _date),
    "time": _is(_CLOCK, _clock),
    "uuid": _reads_back(UUID),
    "uri": _reads_back(AnyUrl),
    "ipv4": _reads_back(IPv4Address),
    "ipv6": _reads_back(IPv6Address),
}

TYPES = {
    "date-time": "dt.datetime",
    "date": "dt.date",
    "time": "dt.time",
    "uuid": "UUID",
    "uri": "AnyUrl",
    "ipv4": "IPv4Address",
    "ipv6": "IPv6Address",
}
"""The type of each format. There is none for an email: Pydantic's needs more to be installed."""

GUESSED = ("date-time", "date", "uuid")
"""The formats that texts are taken for without a schema that says so."""


def formats_of(text: str, wanted: Iterable[str] | None) -> set[str]:
    """The formats that a text has.

    Args:
        text: The text.
        wanted: Of which of them it is asked; None: of those that are guessed.
    """
    if len(text) > _LONGEST:
        return set()
    return {each for each in (GUESSED if wanted is None else wanted) if _has(text, each)}


def _has(text: str, format: str) -> bool:
    try:
        return _CHECKS[format](text)
    except ValueError:
        return False
