"""Where the pages of a query begin, and how such a place is kept as a text.

A position says where a query goes on, and nothing of what it asks: a program may give it to those
who may not choose the conditions, such as a web client.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from kinto_orm.errors import InvalidData
from kinto_orm.queries.filters import Param
from kinto_orm.wire.jsonvalues import is_storable
from kinto_orm.wire.messages import Reply

_PLACES = ("gt_id", "_token", "")
# Of a branch that has nothing more.
_END = "end"
_AGAIN = "the same objects would come again and again; does a proxy or a cache answer instead?"
_SIZE = re.compile(r"[0-9]{0,6}")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a page starts.

    Args:
        name: "gt_id" for the page after an id, "_token" for one at the server's own token, empty
            for the first page.
        value: The id or the token.
        after: An id inside of the page, after which it is to be given; empty for all of it.
        size: How many objects the page has, where that matters; a decimal number.
    """

    name: str = ""
    value: str = ""
    after: str = ""
    size: str = ""

    @property
    def params(self) -> list[Param]:
        """What asks for the page."""
        if self.name == "gt_id":
            return [("gt_id", json.dumps(self.value))]
        return [(self.name, self.value)] if self.name else []

    def following(self, reply: Reply, by_id: bool, last: str | None) -> Start | None:
        """The place of the page after this one; None after the last one.

        By id it begins after the last id, which an index finds. To find the place of its own
        token PostgreSQL reads everything before it, so that the pages of a large collection get
        slow.

        Args:
            reply: The page.
            by_id: Whether the order is that of the ids.
            last: The last id of the page.

        Raises:
            BadReply: This very page would be the next one, or the answer is an earlier page.
        """
        query = next_position(reply)
        if self.name == "gt_id" and last is not None and last <= self.value:
            raise reply.bad(f"the page after {self.value!r} ends with {last!r}: {_AGAIN}")
        if query is None or last is None:
            return None
        found = Start("gt_id", last) if by_id else Start("_token", dict(parse_qsl(query))["_token"])
        if (found.name, found.value) == (self.name, self.value):
            raise reply.bad(f"a page is its own next one: {_AGAIN}")
        return found

    def inside(self, last: str, size: int) -> Start:
        """The place after one of the objects of this page, which has so many."""
        return Start(self.name, self.value, last, str(size))

    def position(self, asked: Iterable[str]) -> str:
        """The text from which `of` makes this place again.

        Args:
            asked: What tells the query from others.
        """
        return position_of([self], asked)

    @classmethod
    def of(cls, position: str, asked: Iterable[str]) -> Self:
        """The place that a position of the same query says.

        Raises:
            InvalidData: It is one of another query, or was changed.
        """
        (start,) = starts_of(position, asked, 1)
        assert start is not None  # noqa: S101  (for the type checker: it has not ended)
        return cls(start.name, start.value, start.after, start.size)


def position_of(starts: Iterable[Start | None], asked: Iterable[str]) -> str:
    """The text from which `starts_of` makes these places again.

    Args:
        starts: Where each branch of a query goes on; None for one that has ended.
        asked: What tells the query from others.
    """
    ended = Start(_END)
    places = [each or ended for each in starts]
    parts = [part for each in places for part in (each.name, each.value, each.after, each.size)]
    content = json.dumps([_digest(asked, parts), *parts], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def starts_of(position: str, asked: Iterable[str], count: int) -> list[Start | None]:
    """The places that a position of the same query says, one for each branch.

    Raises:
        InvalidData: It is one of another query, or was changed.
    """
    digest, *parts = _parts(position)
    places = [Start(*parts[at : at + 4]) for at in range(0, len(parts), 4)]
    starts = [None if each.name == _END else each for each in places]
    if digest != _digest(asked, parts) or len(starts) != count or starts == [None] * count:
        raise InvalidData(
            "the position is one of another query, or was changed: a query is resumed with the "
            "same collection, conditions and order as the one whose page had it. Nothing was "
            "sent."
        )
    return starts


def check_position(position: object) -> None:
    """Refuse what cannot be a position of any query.

    Raises:
        InvalidData: It is none.
    """
    _parts(position)


def _parts(position: Any) -> list[str]:
    try:
        content = base64.b64decode(position + "=" * (-len(position) % 4), b"-_", validate=True)
        parts = json.loads(content)
        valid = (
            len(parts) % 4 == 1
            and len(parts) > 4
            and all(isinstance(each, str) and is_storable(each) for each in parts)
        )
        valid = valid and all(each in (*_PLACES, _END) for each in parts[1::4])
        valid = valid and all(map(_SIZE.fullmatch, parts[4::4]))
    except (TypeError, ValueError, RecursionError):
        valid = False
    if not valid:
        raise InvalidData(f"{position!r:.100} is no position of a page; see Page.position")
    return list(parts)


def _digest(asked: Iterable[str], parts: Sequence[str]) -> str:
    content = json.dumps([*asked, *parts]).encode()
    return hashlib.sha256(content).hexdigest()[:32]


def next_position(reply: Reply) -> str | None:
    """The query string of the next page; None after the last one.

    Raises:
        BadReply: It names no place: the same objects would come again, or others be missing.
    """
    # Only its query counts: the URL is built from whatever host name the server was asked for,
    # and credentials go to the session's own server only.
    url = reply.headers.get("Next-Page")
    if not url:
        return None
    try:
        query = urlsplit(url).query
    except ValueError:
        query = ""
    if "_token" not in dict(parse_qsl(query)):
        raise reply.bad("the answer's Next-Page has no _token; does a proxy change its headers?")
    return query


class Circle:
    """Notices that a server goes round in a circle, however long, and keeps one step in memory.

    Compared is with the first step, the second, the fourth, the eighth and so on (Brent).
    """

    def __init__(self) -> None:
        self._steps = 0
        self._kept: object = None

    def check(self, step: object, reply: Reply) -> None:
        """Take the next step.

        Args:
            step: What tells it from others.
            reply: What says so.

        Raises:
            BadReply: It was made before.
        """
        if self._steps and step == self._kept:
            raise reply.bad(f"an answer came before: {_AGAIN}")
        self._steps += 1
        if self._steps & (self._steps - 1) == 0:
            self._kept = step
