"""Fetching many objects by their ids, a hundred with each request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from kinto_orm.queries.columns import IDS_IN_A_REQUEST, Column
from kinto_orm.queries.pager import Pager
from kinto_orm.queries.query import Findable, Query
from kinto_orm.wire.flows import ANEW, Flow, side_by_side

M = TypeVar("M", bound=Findable)


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
    found = yield from side_by_side(getting_all(query.where(column.in_(group))) for group in groups)
    return {each.id: each for page in found for each in page}


def getting_all(query: Query[M]) -> Flow[list[M]]:
    """Fetch all that a query finds, page after page."""
    asked = query.asked()
    if asked.filter.impossible:
        return []
    found: list[M] = []
    pager = Pager((yield from query.listing()), asked, query.position)
    while pager.has_more:
        found += pager.take((yield from pager.fetching()))
        yield ANEW
    return found


def _groups(ids: Iterator[str], size: int) -> Iterator[list[str]]:
    while group := list(islice(ids, size)):
        yield group
