"""Deleting all that a query finds: `DELETE`, repeated until nothing is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kinto_orm.errors import TransportError
from kinto_orm.queries.columns import IDS_IN_A_REQUEST
from kinto_orm.queries.counting import bare
from kinto_orm.queries.filters import Param, distinct
from kinto_orm.queries.pager import Asked, Listing, Question, Scan, asking
from kinto_orm.queries.positions import Circle
from kinto_orm.wire.flows import ANEW, Flow
from kinto_orm.wire.jsonvalues import join
from kinto_orm.wire.messages import Reply, Request, query_string

_NOTHING = Reply(200, {}, b'{"data":[]}')


def deleting(query: Question) -> Flow[int]:
    """Delete all that a query finds and that the user may write.

    Returns:
        How many were deleted.

    Raises:
        TransportError: An answer was lost on the way, so that nobody can say how many.
    """
    asked = query.asked()
    if not asked.filters:
        return 0
    listing = yield from query.listing()
    deleted = _Deleted(asked.doing.replace("find ", "delete ", 1))
    with deleted:
        # What one branch deleted the next one does not find: nothing is counted twice.
        for branch in asked.branches:
            # The server deletes page by page, and what somebody writes meanwhile is met again.
            while (yield from _delete_round(listing, branch, deleted)):
                pass
    return deleted.total


def _delete_round(listing: Listing[Any], asked: Asked, deleted: _Deleted) -> Flow[int]:
    """Delete what is found now; how many that were.

    What the server cannot choose by itself it deletes by id, and only as it was when it was read.
    """
    if not asked.filter.inexact:
        return (yield from _delete(listing, asked, [], deleted))
    scan, count = Scan(listing, bare(asked)), 0
    while scan.has_more:
        rows = yield from scan.reading()
        yield ANEW
        for start in range(0, len(rows), IDS_IN_A_REQUEST):
            chosen = _as_read(rows[start : start + IDS_IN_A_REQUEST])
            count += yield from _delete(listing, asked, chosen, deleted)
    return count


def _as_read(rows: Sequence[dict[str, Any]]) -> list[Param]:
    """What chooses these objects, as long as nobody changes them."""
    newest = max(each["last_modified"] for each in rows)
    ids = join([each["id"] for each in rows])
    return [("in_id", ids), ("max_last_modified", str(newest))]


def _delete(
    listing: Listing[Any], asked: Asked, chosen: list[Param], deleted: _Deleted
) -> Flow[int]:
    query = query_string(distinct([*asked.filter.params, *chosen]))
    request = Request("DELETE", listing.place.path, query, alone=True)
    reply = yield from asking(listing, request, deleted.doing, _NOTHING)
    yield ANEW
    return deleted.count(reply)


class _Deleted:
    """How many were deleted, as far as the server said so.

    Args:
        doing: The act, for messages.
    """

    def __init__(self, doing: str) -> None:
        self.total = 0
        self.doing = doing
        self._lost = False
        self._circle = Circle()

    def count(self, reply: Reply) -> int:
        """Count what an answer says; an earlier one, which was lost, may have said more."""
        found = reply.objects
        if found:
            # Each deletion has a timestamp of its own, also of an object that was made anew.
            self._circle.check((found[0]["id"], found[0]["last_modified"]), reply)
        self.total += len(found)
        self._lost = self._lost or reply.lost
        return len(found)

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(f"until then {self.total} were deleted, as far as answers came")
        elif self._lost:
            raise TransportError(
                f"cannot {self.doing} and say how many: an answer was lost, and the request was "
                f"sent again. Nothing that you may delete is left; {self.total} were deleted for "
                "certain, and more may have been by the request whose answer was lost."
            )
