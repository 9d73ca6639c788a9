"""The pages of a query: each step is a flow, so that any driver may take it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from kinto_orm._shown import Rows
from kinto_orm.errors import Forbidden, InvalidData, NotFound
from kinto_orm.queries.filters import Filter, distinct
from kinto_orm.queries.positions import Circle, Start
from kinto_orm.queries.unfit import OnUnfit
from kinto_orm.wire.flows import ANEW, Flow, ask
from kinto_orm.wire.messages import Reply, Request, query_string
from kinto_orm.wire.places import Place, is_absent
from kinto_orm.wire.veils import Veil

M = TypeVar("M")

DEFAULT_PAGE = 1000
# Of objects of which some are left out here, for a few that are wanted.
FEW = 100


@dataclass(frozen=True, slots=True)
class Listing(Generic[M]):
    """Where a model's objects are listed, and how a page of them is read.

    Attributes:
        place: The plural endpoint.
        load: Makes objects of a page's reply; with the Python names of the fields for partial
            ones.
        unmade: Whether the first write makes the collection: before that it is empty.
        says_total: Whether the server says how many objects there are.
        mend: As `load`, with what is done with those that do not fit; None where one is left out.
        on_invalid: What is done with objects that do not fit their model; None: it is an error.
        veil: Hides the values of the model's secret fields; None where it has none.
    """

    place: Place
    load: Callable[[Reply, frozenset[str] | None], list[M]]
    unmade: bool = False
    says_total: bool = True
    mend: Callable[[Reply, frozenset[str] | None, OnUnfit], list[M | None]] | None = None
    on_invalid: OnUnfit | None = None
    veil: Veil | None = None

    def loaded(self, reply: Reply, fields: frozenset[str] | None) -> Sequence[M | None]:
        """The objects of a page's reply, None for those that are left out.

        Raises:
            InvalidData: One does not fit the model, and nothing else is to be done with it.
        """
        if self.on_invalid is None or self.mend is None:
            return self.load(reply, fields)
        return self.mend(reply, fields, self.on_invalid)


class Page(Rows[M]):
    """One page of objects, in the order of the server."""

    def __init__(
        self, objects: Sequence[M], position: str | None, *, is_secret: bool = False
    ) -> None:
        super().__init__(objects)
        self._position = position
        self._is_secret = is_secret

    @property
    def position(self) -> str | None:
        """Where the next page starts, for `Query.resume`; None on the last page.

        Raises:
            InvalidData: The objects are sorted by a secret field: it would have their values, and
                a position may be given to anybody.
        """
        if self._is_secret and self._position is not None:
            raise InvalidData(
                "there is no position in the order of a secret field: it would have the values of "
                "that field, for everybody to read. Sort by another field, or go on with pages()"
            )
        return self._position


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a plural endpoint.

    Attributes:
        filters: The conditions; more than one where what any of them finds is meant, none where
            nothing can be found.
        sort: The order, by stored names.
        by_default: The order where none was asked for.
        most: How many objects at most; None for all.
        fields: The Python names of the fields; None for all.
        stored: The stored names of the same.
        size: How many objects a page has; None for the default.
        doing: The act, for messages.
        veil: Hides the values of secret fields; None where there are none.
    """

    filters: tuple[Filter, ...]
    sort: str
    by_default: str
    most: int | None
    fields: frozenset[str] | None
    stored: frozenset[str] | None
    size: int | None
    doing: str
    veil: Veil | None = None

    @property
    def filter(self) -> Filter:
        """The only conditions.

        Raises:
            ValueError: There are branches: see `branches`.
        """
        (only,) = self.filters
        return only

    @property
    def branches(self) -> list[Asked]:
        """The same question for each of the filters."""
        return [replace(self, filters=(each,)) for each in self.filters]

    def told_apart_by(self, path: str) -> list[str]:
        """What tells this from other questions, for positions.

        Of secret fields it is the names only: from what is made of short values these are guessed.
        """
        meanings = [each.shown(self.veil) for each in self.filters]
        if len(self.filters) > 1:
            branches = (json.dumps(sorted(each)) for each in meanings)
            return [path, f"_sort={self.sort}", *branches]
        meaning = (*meanings[0], ("_sort", self.sort))
        return [path, *sorted(f"{name}={value}" for name, value in meaning)]

    @property
    def shown_sort(self) -> str:
        """The order, as it may be shown."""
        return self.sort if self.veil is None else self.veil.sort(self.sort)

    @property
    def is_secretly_sorted(self) -> bool:
        """Whether it is sorted by a secret field."""
        return self.veil is not None and self.veil.orders(self.sort)

    def query(self, start: Start, left: int | None, *, some: bool = False) -> str:
        """A query string that asks for a page, and for no more than is left to be given.

        Args:
            start: Where the page begins.
            left: How many are left to be given; None for all.
            some: Whether more objects may be left out than the conditions say.
        """
        size = self.size or DEFAULT_PAGE
        if left is not None:
            size = min(size, max(left, FEW) if some or self.filter.inexact else left)
        size = int(start.size or size)
        params = [*self.filter.params, ("_sort", self.sort), *start.params]
        if self.stored is not None:
            names = self.stored | {each.path[0] for each in self.filter.inexact}
            params.append(("_fields", ",".join(sorted(names))))
        return query_string([*distinct(params), ("_limit", str(size))])


Read: TypeAlias = tuple[list[M], Start | None]
"""The objects of a page, and where what follows begins; None when nothing does."""

P_co = TypeVar("P_co", bound=Sequence[Any], covariant=True)
T_co = TypeVar("T_co", covariant=True)


class Pages(Protocol[P_co]):
    """What is read page by page, each a P: a page is fetched, and taken.

    The two are apart so that a driver may fetch a page while the one before is worked on.
    """

    @property
    def has_more(self) -> bool:
        """Whether there is a page to be fetched."""

    def fetching(self) -> Flow[Any]:
        """Ask for the next page."""

    def take(self, answer: Any, /) -> P_co:
        """Read what `fetching` gave, and go on to the next page."""


class Question(Protocol):
    """What is asked, and where: a query."""

    def asked(self) -> Asked:
        """What is asked of the server."""

    def listing(self) -> Flow[Listing[Any]]:
        """Find where the objects are."""


class Openable(Protocol[T_co]):
    """What has pages: a query."""

    def opening(self) -> Flow[Pages[Sequence[T_co]]]:
        """Open its pages."""


class Known(Generic[M]):
    """What is known already, as one page; as none when there is nothing.

    Args:
        objects: Of the page.

    Attributes:
        has_more: Whether it was not taken yet.
    """

    def __init__(self, objects: Sequence[M]) -> None:
        self._objects = objects
        self.has_more = bool(objects)

    def fetching(self) -> Flow[None]:
        """Ask nobody."""
        yield from ()

    def take(self, answer: None, /) -> Page[M]:
        """Give it."""
        self.has_more = False
        return Page(self._objects, None)


class Mapped(Generic[M]):
    """Pages of something else, of which each is made a page of this.

    Args:
        pages: Of something else.
        function: Makes a page of theirs one of this.
    """

    def __init__(self, pages: Pages[Any], function: Callable[[Any], Sequence[M]]) -> None:
        self._pages = pages
        self._function = function

    @property
    def has_more(self) -> bool:
        """Whether there is a page to be fetched."""
        return self._pages.has_more

    def fetching(self) -> Flow[Any]:
        """Ask for the next page."""
        return self._pages.fetching()

    def take(self, answer: Any, /) -> Sequence[M]:
        """Read it."""
        return self._function(self._pages.take(answer))


class Pager(Generic[M]):
    """Goes through a query page by page.

    Args:
        listing: Where the objects are.
        asked: What is asked.
        position: Where to begin, as a page of the same query said it.

    Attributes:
        has_more: Whether there is a page to be fetched.
    """

    def __init__(self, listing: Listing[M], asked: Asked, position: str | None = None) -> None:
        self._listing = listing
        self._asked = asked
        self._identity = asked.told_apart_by(listing.place.path)
        self._start = Start() if position is None else Start.of(position, self._identity)
        self._left = asked.most
        self._circle = Circle()
        self.has_more = True

    def fetching(self) -> Flow[Reply]:
        """Ask for the next page (`GET`)."""
        some = self._listing.on_invalid is not None
        query = self._asked.query(self._start, self._left, some=some)
        return fetching(self._listing, self._asked, query)

    def take(self, reply: Reply, /) -> Page[M]:
        """Read a page, and go on to the next.

        Raises:
            InvalidData: A stored object does not fit the model.
            BadReply: It is no page, has more than was asked for, or the same one comes again.
        """
        return self.settle(reply, self.read(reply))

    def settle(self, reply: Reply, read: Read[M]) -> Page[M]:
        """Go on to the page after the one that was read."""
        found, following = read
        self._circle.check(following, reply)
        # How many objects a page has is the server's choice.
        self._left = None if self._left is None else self._left - len(found)
        self.has_more = following is not None and self._left != 0
        if following is None:
            return Page(found, None)
        self._start = following
        position = following.position(self._identity)
        return Page(found, position, is_secret=self._asked.is_secretly_sorted)

    def read(self, reply: Reply) -> Read[M]:
        """The objects of a page, and where what follows begins; None when nothing does."""
        start, asked, listing = self._start, self._asked, self._listing
        by_id = asked.sort == "id"
        if not asked.filter.inexact and not start.after and listing.on_invalid is None:
            found: list[Any] = listing.load(reply, asked.fields)
            reply.require(self._left is None or len(found) <= self._left)
            return found, start.following(reply, by_id, found[-1].id if found else None)
        rows = reply.objects
        kept = rows_of(reply, start, asked.filter)
        following = start.following(reply, by_id, rows[-1]["id"] if rows else None)
        found, used = loaded(listing, kept, asked, self._left)
        if used < len(kept):
            last = kept[used - 1]["id"]
            following = Start("gt_id", last) if by_id else start.inside(last, len(rows))
        return found, following


class Scan(Generic[M]):
    """Goes through what is found as JSON, with no more than the conditions need.

    Args:
        listing: Where the objects are.
        asked: What is asked.

    Attributes:
        has_more: Whether there is a page to be read.
    """

    def __init__(self, listing: Listing[M], asked: Asked) -> None:
        self._listing = listing
        self._asked = asked
        self._start = Start()
        self._circle = Circle()
        self.has_more = True

    def reading(self) -> Flow[list[dict[str, Any]]]:
        """Fetch the next page (`GET`), without what the conditions leave out."""
        asked = self._asked
        reply = yield from fetching(self._listing, asked, asked.query(self._start, None))
        rows = reply.objects
        last = rows[-1]["id"] if rows else None
        following = self._start.following(reply, asked.sort == "id", last)
        self._circle.check(following, reply)
        self.has_more = following is not None
        self._start = following or self._start
        return [each for each in rows if asked.filter.matches(each)]


def reading_all(openable: Openable[M]) -> Flow[Rows[M]]:
    """Read all pages, one after the other."""
    found = Rows[M]()
    pages = yield from openable.opening()
    while pages.has_more:
        found += pages.take((yield from pages.fetching()))
        yield ANEW
    return found


def fetching(listing: Listing[M], asked: Asked, query: str) -> Flow[Reply]:
    """Ask for a page (`GET`)."""
    request = Request("GET", listing.place.path, query)
    return asking(listing, request, asked.doing, Reply(200, {}, b'{"data":[]}'))


def asking(listing: Listing[M], request: Request, doing: str, nothing: Reply) -> Flow[Reply]:
    """Send a request to a plural endpoint.

    Args:
        listing: The endpoint.
        request: What is sent.
        doing: The act, for messages.
        nothing: The answer of an empty collection, for one that is not made yet.
    """
    request.veil = listing.veil
    try:
        return (yield from ask(request, doing, listing.place.parents))
    except (NotFound, Forbidden) as error:
        if not (listing.unmade and is_absent(error, listing.place)):
            raise
        return nothing


def rows_of(reply: Reply, start: Start, chosen: Filter) -> list[dict[str, Any]]:
    """What a page has, without what is before its start and what is not meant."""
    return [each for each in _after(reply.objects, start.after) if chosen.matches(each)]


def loaded(
    listing: Listing[M], rows: Sequence[dict[str, Any]], asked: Asked, most: int | None
) -> tuple[list[M], int]:
    """Make objects of rows, without those that are left out as they do not fit their model.

    Args:
        listing: Makes them.
        rows: As the server gave them.
        asked: What was asked.
        most: How many objects are wanted; None for all.

    Returns:
        The objects, and of how many rows they are.
    """
    found: list[M] = []
    used = 0
    while used < len(rows) and (most is None or len(found) < most):
        end = None if most is None else used + most - len(found)
        part = rows[used:end]
        page = _page_of(part, asked.stored, asked.doing)
        found += [each for each in listing.loaded(page, asked.fields) if each is not None]
        used += len(part)
    return found, used


def _after(rows: list[dict[str, Any]], id: str) -> list[dict[str, Any]]:
    """The objects after this one; all when it is not there."""
    places = [place for place, each in enumerate(rows) if each["id"] == id]
    return rows[places[0] + 1 :] if places else rows


def _page_of(rows: Sequence[dict[str, Any]], names: frozenset[str] | None, doing: str) -> Reply:
    """A page with these objects only; of fields that were fetched to compare them nothing."""
    if names is not None:
        rows = [{name: each[name] for name in each.keys() & names} for each in rows]
    page = Reply(200, {}, json.dumps({"data": rows}).encode())
    page.doing = doing
    return page
