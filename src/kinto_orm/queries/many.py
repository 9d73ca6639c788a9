"""Fetching many objects by their ids, a hundred with each request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from kinto_orm.queries.columns import IDS_IN_A_REQUEST, Column
from kinto_orm.queries.findable import Findable
from kinto_orm.queries.pager import reading_all
from kinto_orm.queries.query import Query
from kinto_orm.queries.unfit import OnInvalid
from kinto_orm.wire.flows import Flow, side_by_side

M = TypeVar("M", bound=Findable)


def asked_for(query: Query[M], on_invalid: OnInvalid[M], prefetch: object) -> Query[M]:
    """The question to be asked for each hundred ids.

    Args:
        query: Where the objects are.
        on_invalid: What becomes of those that do not fit their model.
        prefetch: The links to be followed, or the only one.
    """
    one = isinstance(prefetch, str | Column) or not isinstance(prefetch, Iterable)
    links: Iterable[object] = (prefetch,) if one else prefetch  # type: ignore[assignment]
    return query.on_invalid(on_invalid).prefetch(*links)


def getting_many(query: Query[M], ids: Iterable[str]) -> Flow[dict[str, M]]:
    """Fetch objects by their ids (`GET ?in_id=...`).

    Args:
        query: Where they are.
        ids: Their ids.

    Returns:
        The objects by id; ids of which there is none are missing.
    """
    if isinstance(ids, str):
        raise TypeError(f"get_many() takes several ids, not the one text {ids!r}")
    column = Column[str](("id",))
    groups = _groups(iter(ids), IDS_IN_A_REQUEST)
    found = yield from side_by_side(reading_all(query.where(column.in_(group))) for group in groups)
    return {each.id: each for page in found for each in page}


def _groups(ids: Iterator[str], size: int) -> Iterator[list[str]]:
    while group := list(islice(ids, size)):
        yield group
