"""Pages of a query: where the next one starts, how it is fetched ahead, and how its place is kept.

A position says where a query goes on, and nothing of what it asks: a program may give it to those
who may not choose the conditions, such as a web client.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit

from kinto_orm.errors import BadReply, InvalidData
from kinto_orm.filters import Param
from kinto_orm.jsonvalues import is_storable
from kinto_orm.protocol import Reply

if TYPE_CHECKING:
    from kinto_orm.reading import Readable

    M = TypeVar("M", bound=Readable)
else:
    M = TypeVar("M")

_PLACES = ("gt_id", "_token", "")
_AGAIN = "the same objects would come again and again; does a proxy or a cache answer instead?"
_SIZE = re.compile(r"[0-9]{0,6}")


class Page(list[M]):
    """One page of objects, in the order of the server.

    Attributes:
        position: Where the next page starts, for `Query.resume`; None on the last page.
    """

    def __init__(self, objects: Sequence[M], position: str | None) -> None:
        super().__init__(objects)
        self.position = position


@dataclass(frozen=True, slots=True)
class Place:
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

    def following(self, reply: Reply, by_id: bool, last: str | None) -> Place | None:
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
            raise BadReply(f"the page after {self.value!r} ends with {last!r}: {_AGAIN}")
        if query is None or last is None:
            return None
        found = Place("gt_id", last) if by_id else Place("_token", dict(parse_qsl(query))["_token"])
        if (found.name, found.value) == (self.name, self.value):
            raise BadReply(f"a page is its own next one: {_AGAIN}")
        return found

    def inside(self, last: str, size: int) -> Place:
        """The place after one of the objects of this page, which has so many."""
        return Place(self.name, self.value, last, str(size))

    def position(self, asked: Iterable[str]) -> str:
        """The text from which `of` makes this place again.

        Args:
            asked: What tells the query from others.
        """
        parts = [self.name, self.value, self.after, self.size]
        content = json.dumps([_digest(asked, parts), *parts], separators=(",", ":"))
        return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")

    @classmethod
    def of(cls, position: str, asked: Iterable[str]) -> Self:
        """The place that a position of the same query says.

        Raises:
            InvalidData: It is one of another query, or was changed.
        """
        digest, *parts = _parts(position)
        if digest != _digest(asked, parts):
            raise InvalidData(
                "the position is one of another query, or was changed: a query is resumed with the "
                "same collection, conditions and order as the one whose page had it. Nothing was "
                "sent."
            )
        return cls(*parts)


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
        valid = len(parts) == 5 and all(
            isinstance(each, str) and is_storable(each) for each in parts
        )
        valid = valid and parts[1] in _PLACES and bool(_SIZE.fullmatch(parts[4]))
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
        raise BadReply("the answer's Next-Page has no _token; does a proxy change its headers?")
    return query


class Circle:
    """Notices that a server goes round in a circle, however long, and keeps one step in memory.

    Compared is with the first step, the second, the fourth, the eighth and so on (Brent).
    """

    def __init__(self) -> None:
        self._steps = 0
        self._kept: object = None

    def check(self, step: object) -> None:
        """Take the next step.

        Raises:
            BadReply: It was made before.
        """
        if self._steps and step == self._kept:
            raise BadReply(f"an answer came before: {_AGAIN}")
        self._steps += 1
        if self._steps & (self._steps - 1) == 0:
            self._kept = step


class Ahead:
    """A page that is fetched in a thread of its own, before it is needed.

    Nobody waits for one that is not needed after all, not even the end of the program.
    """

    def __init__(self, fetch: Callable[[], Reply]) -> None:
        self._fetch = fetch
        self._reply: Reply | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="kinto-orm-page", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._reply = self._fetch()
        except BaseException as error:  # noqa: BLE001  (it is raised where the page is needed)
            self._error = error

    def result(self) -> Reply:
        """Wait for it."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        # In a forked child there is no such thread.
        return self._reply or self._fetch()
