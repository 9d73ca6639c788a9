"""The branches of an OR, asked side by side, and merged in the query's order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeAlias, TypeVar

from kinto_orm.queries.pager import (
    DEFAULT_PAGE,
    Asked,
    Listing,
    Page,
    Read,
    fetching,
    loaded,
    rows_of,
)
from kinto_orm.queries.positions import Circle, Start, position_of, starts_of
from kinto_orm.wire.flows import Flow, side_by_side
from kinto_orm.wire.jsonvalues import ABSENT, MaybeJson, look_up
from kinto_orm.wire.messages import Reply

M = TypeVar("M")

Row: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[Any, ...]


class Merged(Generic[M]):
    """Goes page by page through what any branch finds, each object once.

    Args:
        listing: Where the objects are.
        asked: What is asked: several filters.
        position: Where to begin, as a page of the same query said it.
    """

    def __init__(self, listing: Listing[M], asked: Asked, position: str | None = None) -> None:
        self._listing = listing
        self._asked = asked
        self._identity = asked.told_apart_by(listing.place.path)
        self._merge = Merge(listing, asked, self._starts(position))
        self._left = asked.most
        self._rows: list[Row] = []
        self._page: Page[M] | None = None
        self._is_reading = False

    def _starts(self, position: str | None) -> Sequence[Start | None] | None:
        if position is None:
            return None
        count = len(self._asked.filters)
        if self._asked.sort == "id":
            return starts_of(position, self._identity, 1) * count
        return starts_of(position, self._identity, count)

    @property
    def has_more(self) -> bool:
        """Whether there is a page to be fetched."""
        if self._is_reading:
            return True  # perhaps in another thread
        return self._left != 0 and (bool(self._rows) or self._merge.has_more)

    def fetching(self) -> Flow[list[Reply]]:
        """Ask for a page of each branch of which nothing is left here (`GET`, side by side)."""
        return self._merge.fetching(self._left, some=self._listing.on_invalid is not None)

    def take(self, replies: list[Reply], /) -> Page[M]:
        """Read the pages; an empty one as long as it takes more to fill one.

        Raises:
            InvalidData: A stored object does not fit the model.
            BadReply: One is no page, or the same one comes again.
        """
        return self.settle(replies, self.read(replies))

    def read(self, replies: list[Reply]) -> Read[M]:
        """The objects of the next page; the same ones until it is settled."""
        self._is_reading = True
        if self._page is None:
            self._page = self._next(replies)
        return self._page, None

    def settle(self, replies: list[Reply], read: Read[M]) -> Page[M]:
        """Go on to the page after the one that was read."""
        page, self._page, self._is_reading = self._page, None, False
        return Page([], None) if page is None else page

    def _next(self, replies: list[Reply]) -> Page[M]:
        self._merge.take(replies)
        size = self._asked.size or DEFAULT_PAGE
        room = size if self._left is None else min(size, self._left)
        for row in self._merge.rows(room - len(self._rows)):
            self._rows.append(row)
        if len(self._rows) < room and self._merge.has_more:
            return Page([], None)
        rows, self._rows = self._rows, []
        found, _ = loaded(self._listing, rows, self._asked, None)
        self._left = None if self._left is None else self._left - len(found)
        position = self._position(rows) if self._merge.has_more else None
        return Page(found, position, is_secret=self._asked.is_secretly_sorted)

    def _position(self, rows: Sequence[Row]) -> str:
        if self._asked.sort == "id":
            return Start("gt_id", rows[-1]["id"]).position(self._identity)
        return position_of(self._merge.places, self._identity)


class Merge:
    """Goes through the rows that any branch finds, in order, each once.

    By id nothing of what was given is kept in memory; in other orders the ids are, for an object
    may move while others write, and a database may sort texts in a way of its own.

    Args:
        listing: Where they are.
        asked: What is asked.
        starts: Where each branch begins; None for one that has ended.
    """

    def __init__(
        self, listing: Listing[Any], asked: Asked, starts: Sequence[Start | None] | None = None
    ) -> None:
        starts = starts or [Start()] * len(asked.filters)
        key = key_of(asked.sort)
        branches = _sorted_here(asked).branches
        self._branches = [
            _Branch(listing, branch, start, key)
            for branch, start in zip(branches, starts, strict=True)
        ]
        self._given: set[str] | None = None if asked.sort == "id" else set()

    @property
    def has_more(self) -> bool:
        """Whether there may be more rows."""
        return any(each.rows or each.following is not None for each in self._branches)

    @property
    def places(self) -> list[Start | None]:
        """Where each branch goes on; None for one that has ended."""
        return [each.place for each in self._branches]

    @property
    def _wanting(self) -> list[_Branch]:
        return [each for each in self._branches if each.wants]

    def fetching(self, left: int | None = None, *, some: bool = False) -> Flow[list[Reply]]:
        """Ask for a page of each branch of which nothing is left here (`GET`, side by side).

        Args:
            left: How many rows are wanted at most.
            some: Whether some of them may be left out.
        """
        return side_by_side([each.fetching(left, some) for each in self._wanting])

    def take(self, replies: Sequence[Reply]) -> None:
        """Read what `fetching` gave."""
        for branch, reply in zip(self._wanting, replies, strict=True):
            branch.take(reply)

    def rows(self, most: int | None = None) -> Iterator[Row]:
        """The next rows, as far as they are known: until a branch wants its next page.

        Args:
            most: How many at most.
        """
        count = 0
        while (most is None or count < most) and not self._wanting:
            heads = [each for each in self._branches if each.rows]
            if not heads:
                return
            id = min(heads, key=lambda each: each.rows[0][0]).rows[0][1]["id"]
            same = [each.pop() for each in heads if each.rows[0][1]["id"] == id]
            if self._is_new(id):
                count += 1
                # Of one that was changed between the requests the newest.
                yield max(same, key=lambda each: each["last_modified"])

    def _is_new(self, id: str) -> bool:
        if self._given is None:
            return True
        known = len(self._given)
        self._given.add(id)
        return len(self._given) > known


class _Branch:
    """The rows of one branch, page by page.

    Args:
        listing: Where they are.
        asked: What is asked: one filter.
        start: Where it begins; None: it has ended.
        key: Gives what a row is sorted by.

    Attributes:
        rows: Those of the page that were not given yet, with their keys.
        following: Where the next page begins; None after the last one.
    """

    def __init__(
        self, listing: Listing[Any], asked: Asked, start: Start | None, key: Callable[[Row], Key]
    ) -> None:
        self._listing = listing
        self._asked = asked
        self._key = key
        self.following = start
        self.rows: deque[tuple[Key, Row]] = deque()
        self._start = start
        self._size = 0
        self._last = ""
        self._circle = Circle()

    @property
    def wants(self) -> bool:
        return not self.rows and self.following is not None

    @property
    def place(self) -> Start | None:
        """Where to go on after what was given."""
        if not self.rows or self._start is None:
            return self.following
        return self._start.inside(self._last, self._size) if self._last else self._start

    def fetching(self, left: int | None, some: bool) -> Flow[Reply]:
        start = self.following or Start()
        query = self._asked.query(start, left, some=some)
        return fetching(self._listing, self._asked, query)

    def take(self, reply: Reply) -> None:
        start = self.following or Start()
        found = reply.objects
        last = found[-1]["id"] if found else None
        self.following = start.following(reply, self._asked.sort == "id", last)
        self._circle.check(self.following, reply)
        self._start, self._size, self._last = start, len(found), ""
        self.rows = deque(self._keyed(rows_of(reply, start, self._asked.filter)))

    def _keyed(self, rows: Sequence[Row]) -> list[tuple[Key, Row]]:
        """Rows with keys that never go down.

        Where the server has an order of its own, such as for empty lists on PostgreSQL, what it
        puts too early has the key of what follows: else all that follows would wait for it.
        """
        keyed: list[tuple[Key, Row]] = []
        for row in reversed(rows):
            key = self._key(row)
            keyed.append((min(key, keyed[-1][0]) if keyed else key, row))
        return keyed[::-1]

    def pop(self) -> Row:
        """Give the next row."""
        _, row = self.rows.popleft()
        self._last = row["id"]
        return row


def _sorted_here(asked: Asked) -> Asked:
    """The same question, with the fields that it is sorted by in the answer."""
    if asked.stored is None:
        return asked
    roots = (path[0] for path, _ in _paths(asked.sort))
    return replace(asked, stored=asked.stored.union(roots))


# The order of JSON, as of `orderings.py`: what has no order of its own is told apart only.


def key_of(sort: str) -> Callable[[Row], Key]:
    """What gives the key of a row in the order of a `_sort`; keys compare as Kinto sorts."""
    if sort == "id":
        return lambda row: (row["id"],)
    # Kinto puts the newest first where the rest is equal.
    paths = [*_paths(sort), (("last_modified",), True), (("id",), False)]

    def key(row: Row) -> Key:
        found = ((ordered(look_up(row, path)), down) for path, down in paths)
        return tuple(_Down(each) if down else each for each, down in found)

    return key


def _paths(sort: str) -> list[tuple[tuple[str, ...], bool]]:
    return [
        (tuple(each.removeprefix("-").split(".")), each.startswith("-")) for each in sort.split(",")
    ]


def ordered(value: MaybeJson) -> Key:
    """A value as what compares in Python as the JSON does in Kinto."""
    if value is ABSENT:
        return (6,)
    if value is None:
        return (0,)
    if isinstance(value, str):
        return 1, value
    if isinstance(value, bool):
        return 3, value
    if isinstance(value, int | float):
        return 2, value
    if isinstance(value, list):
        return 4, len(value), tuple(map(ordered, value))
    if isinstance(value, dict):
        items = sorted(value.items(), key=lambda item: (len(item[0]), item[0]))
        return 5, len(items), tuple((name, ordered(each)) for name, each in items)
    raise TypeError(f"{value!r} is no JSON")


class _Down:
    """A key that compares the other way round."""

    __slots__ = ("key",)

    def __init__(self, key: Key) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and self.key == other.key

    def __lt__(self, other: _Down) -> bool:
        return other.key < self.key

    __hash__ = None  # type: ignore[assignment]
