"""Paths and queries: ids are checked against the server's rule and quoted, never rewritten."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, urlencode

from kinto_orm.errors import InvalidData

_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
_ACCOUNT_ID = re.compile(r"[a-zA-Z0-9][+.@a-zA-Z0-9_-]*")
_SIGNS = "'-' and '_' (no spaces, dots or slashes)"
_ACCOUNT_SIGNS = "'-', '_', '+', '.' and '@' (no spaces or slashes)"


def segment(value: str, kind: str) -> str:
    """Check an id against the server's rule and quote it for a path; it is never rewritten.

    Args:
        value: The id of a bucket, group, collection, record or account.
        kind: What it is the id of, for the message.

    Raises:
        InvalidData: The server would refuse this id. Kinto's rule is
            `^[a-zA-Z0-9][a-zA-Z0-9_-]*$` (accounts also `+.@`).
    """
    if not isinstance(value, str):
        raise InvalidData(
            f"{value!r:.80} cannot be the id of {'an' if kind == 'account' else 'a'} {kind}: an id "
            f"is a text, and this is of the type {type(value).__name__}. Write str(...), or .id of "
            "an object. Nothing was sent."
        )
    if not _rule(kind).fullmatch(value):
        rest = _ACCOUNT_SIGNS if kind == "account" else _SIGNS
        raise InvalidData(
            f"{value!r} cannot be the id of {'an' if kind == 'account' else 'a'} {kind}: an id "
            f"starts with a letter or digit, then come letters, digits, {rest}. Nothing was sent."
        )
    return quote(value, safe="") if kind == "account" else value


def id_pattern(kind: str) -> str:
    """The server's rule for ids as a regular expression, as JSON schemas write it."""
    return f"^{_rule(kind).pattern}$"


def _rule(kind: str) -> re.Pattern[str]:
    return _ACCOUNT_ID if kind == "account" else _ID


def query_string(params: Iterable[tuple[str, str]]) -> str:
    """Quote parameters for a URL; spaces become `%20`."""
    return urlencode(list(params), quote_via=quote)
