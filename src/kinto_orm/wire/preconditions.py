"""Preconditions: what the server has to have, for a request to do anything."""

from __future__ import annotations

from collections.abc import Mapping

from kinto_orm.errors import InvalidData

_MOST_DIGITS = 20


def if_match(last_modified: int) -> dict[str, str]:
    """The precondition for changing what has not changed since `last_modified` (milliseconds).

    The server takes "0" for no condition at all, so 0 is refused here.
    """
    if last_modified <= 0:
        raise InvalidData(f"last_modified must be a positive timestamp, not {last_modified}")
    return {"If-Match": f'"{last_modified}"'}


def if_none_match(last_modified: int | None = None) -> dict[str, str]:
    """The precondition for a creation (None), or for fetching only what is newer."""
    return {"If-None-Match": "*" if last_modified is None else f'"{last_modified}"'}


def timestamp(headers: Mapping[str, str]) -> int | None:
    """The ETag of a reply in milliseconds; None where there is none."""
    return whole_number(headers.get("ETag", "").removeprefix("W/").strip('"'))


def whole_number(digits: str) -> int | None:
    """The number that a header gives, None when it gives none or more than 64 bits."""
    return int(digits) if digits.isdecimal() and len(digits) < _MOST_DIGITS else None
