"""Counting what a query finds: `HEAD`, or `GET` where the server cannot tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kinto_orm.queries.merging import Merge
from kinto_orm.queries.pager import Asked, Listing, Question, Scan, asking
from kinto_orm.wire.flows import ANEW, Flow
from kinto_orm.wire.messages import Reply, Request, query_string

_NOTHING = Reply(200, {"Total-Objects": "0"}, b"")


def counting(query: Question) -> Flow[int]:
    """Count all that a query finds; its limit and its position do not count.

    Args:
        query: What finds them.
    """
    asked = query.asked()
    if not asked.filters:
        return 0
    listing = yield from query.listing()
    if len(asked.filters) > 1:
        return (yield from _counting_merged(listing, asked))
    if asked.filter.inexact or not listing.says_total:
        return (yield from _counting_rows(listing, asked))
    request = Request("HEAD", listing.place.path, query_string(asked.filter.params))
    doing = asked.doing.replace("find ", "count ", 1)
    return (yield from asking(listing, request, doing, _NOTHING)).total


def _counting_rows(listing: Listing[Any], asked: Asked) -> Flow[int]:
    """Read the ids of what is found, and what is compared, page by page."""
    scan, total = Scan(listing, bare(asked)), 0
    while scan.has_more:
        total += len((yield from scan.reading()))
        yield ANEW
    return total


def _counting_merged(listing: Listing[Any], asked: Asked) -> Flow[int]:
    """Read the ids that the branches find, and count each once."""
    merge, total = Merge(listing, bare(asked)), 0
    while merge.has_more:
        merge.take((yield from merge.fetching()))
        total += sum(1 for _ in merge.rows())
        yield ANEW
    return total


def bare(asked: Asked) -> Asked:
    """The same question, without its order, and with no more than the ids in the answer."""
    ids = frozenset({"id"})
    return replace(asked, sort=asked.by_default, most=None, fields=ids, stored=ids)
