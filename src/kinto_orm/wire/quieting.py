"""Keeping values of secret fields out of what urllib3 logs at DEBUG: the URL of each request."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_query: Final[ContextVar[str | None]] = ContextVar("kinto_orm_shown_query", default=None)


def _shown(value: object, query: str) -> object:
    """What is logged of a value: of a URL its query as it may be shown."""
    if not isinstance(value, str) or "?" not in value:
        return value
    return f"{value.partition('?')[0]}?{query}"


def _veil(record: logging.LogRecord) -> bool:
    query = _query.get()
    if query is not None and isinstance(record.args, tuple):
        record.args = tuple(_shown(each, query) for each in record.args)
    return True


@contextmanager
def unlogged(query: str) -> Iterator[None]:
    """Let what is sent in the block be logged with another query; other requests are not touched.

    Args:
        query: That which may be shown.
    """
    # The same function is not added twice.
    logging.getLogger("urllib3.connectionpool").addFilter(_veil)
    before = _query.set(query)
    try:
        yield
    finally:
        _query.reset(before)
