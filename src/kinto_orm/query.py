"""Finding objects: a query is immutable, sends nothing until it is used, and streams."""

from __future__ import annotations

import dataclasses
import importlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from pydantic import ValidationError

from kinto_orm.conditions import (
    IDS_IN_A_REQUEST,
    Column,
    Condition,
    Order,
    compile_conditions,
    compile_order,
)
from kinto_orm.errors import InvalidData, MultipleFound, NotFound, TransportError
from kinto_orm.filters import Filter, Param, distinct
from kinto_orm.forking import cached_property
from kinto_orm.jsonvalues import join
from kinto_orm.options import given_fields
from kinto_orm.pages import Ahead, Circle, Page, Place, check_position
from kinto_orm.protocol import Call, Parents, Reply, Request, query_string
from kinto_orm.session import Session

if TYPE_CHECKING:
    from kinto_orm.bulk import Summary
    from kinto_orm.following import AnyChange, Follower
    from kinto_orm.reading import Readable

    M = TypeVar("M", bound=Readable)
else:
    M = TypeVar("M")

T = TypeVar("T")

__all__ = ["Listing", "Page", "Query"]

DEFAULT_PAGE = 1000
# Of objects of which some are left out here, for a few that are wanted.
FEW = 100


@dataclass(frozen=True, slots=True)
class Listing(Generic[M]):
    """Where a model's objects are listed, and how a page of them is read.

    Attributes:
        session: Runs the calls.
        path: The plural endpoint.
        parents: What must exist for it.
        load: Makes objects of a page's reply; with the Python names of the fields for partial
            ones.
    """

    session: Session
    path: str
    parents: Parents | None
    load: Callable[[Reply, frozenset[str] | None], list[M]]


@dataclass(frozen=True, eq=False, repr=False)
class Query(Generic[M]):
    """A question to the server, put together by chaining; each method gives a new query.

    Iterating streams: one page is in memory, the next one is fetched ahead. Without `order_by`
    it goes by id, so that no object is skipped or repeated while others write.
    """

    model: type[M]
    session: Session | None = None
    parent: str | None = None
    conditions: tuple[Condition, ...] = ()
    orders: tuple[Order, ...] = ()
    most: int | None = None
    fields: frozenset[str] | None = None
    size: int | None = None
    position: str | None = None

    # By id no object is skipped or repeated while others write.
    _by_default: ClassVar[str] = "id"

    # Asking

    def where(self, *conditions: Condition | bool) -> Self:
        """Add conditions; an object has to meet all of them.

        Raises:
            TypeError: One is no condition, such as the bool of a comparison of two values.
            InvalidData: One names a field that the model does not have.
        """
        for each in conditions:
            if not isinstance(each, Condition):
                raise TypeError(
                    f"{each!r} is no condition; compare a field of the class with a value, as in "
                    f"{self.model.__name__}.find({self.model.__name__}.id == 'x')"
                )
            self._check_field(each.path[0])
        return self._with(conditions=(*self.conditions, *conditions))

    def order_by(self, *orders: object) -> Self:
        """Sort by these fields; `col(Todo.due).desc()` for descending.

        While others write, a streamed order other than by id may skip or repeat objects that
        move. Datetimes sort as the server sorts their texts: right for those of one zone and one
        form.

        Raises:
            InvalidData: The model does not have the field or never stores it, or its values are
                texts of another order (decimals, time spans, addresses, paths).
        """
        found = tuple(_order(each) for each in orders)
        for each in found:
            self._check_field(each.path[0])
        return self._with(orders=(*self.orders, *found))

    def limit(self, most: int) -> Self:
        """Stop after so many objects, 1 or more."""
        return self._with(most=_positive(most, "limit"))

    def only(self, *fields: object) -> Self:
        """Fetch these fields (and id, last_modified) only; such objects cannot be saved."""
        names = {self._field_name(each) for each in fields}
        return self._with(fields=frozenset(names | {"id", "last_modified"}))

    def page_size(self, size: int) -> Self:
        """Fetch so many objects with one request; the server may have a lower limit."""
        return self._with(size=_positive(size, "page_size"))

    def resume(self, position: str | None) -> Self:
        """Go on where a page of the same query ended; see `Page.position`.

        Args:
            position: Of the last page that was dealt with. It says a place only, and holds for
                the same collection, conditions and order; so it may be kept, or given to those
                who may not choose what is asked. None: from the beginning.

        Raises:
            InvalidData: It is no position. That of another query is refused when the query runs,
                before anything is asked.
        """
        if position is not None:
            check_position(position)
        return self._with(position=position)

    # Answers

    def __iter__(self) -> Iterator[M]:
        for page in self.pages():
            yield from page

    def pages(self) -> Iterator[Page[M]]:
        """The objects page by page, the next page being fetched ahead (`GET`).

        Raises:
            InvalidData: A stored object does not fit the model, or the position is one of another
                query.
            BadReply: The same page comes again, as from a cache.
        """
        if self._compiled.impossible:
            return
        listing = self._listing()
        asked = self._asked(listing)
        place = Place() if self.position is None else Place.of(self.position, asked)
        left, circle = self.most, Circle()
        upcoming: Callable[[], Reply] | None = partial(
            self._fetch, listing, self._page_query(place, left)
        )
        while upcoming is not None:
            found, following = self._read(listing, place, upcoming(), left)
            circle.check(following)
            upcoming = None
            # How many objects a page has is the server's choice.
            left = None if left is None else left - len(found)
            if following is not None:
                place = following
                if left != 0:
                    fetch = partial(self._fetch, listing, self._page_query(place, left))
                    upcoming = Ahead(fetch).result
            if found:
                yield Page(found, following.position(asked) if following else None)

    def all(self) -> list[M]:
        """All objects in one list."""
        query = self if self.size or self.most else self._with(size=10_000)
        return [each for page in query.pages() for each in page]

    def first(self) -> M | None:
        """The first object, or None when there is none."""
        found = self.limit(1).all()
        return found[0] if found else None

    def one(self) -> M:
        """The only object.

        Raises:
            NotFound: There is none.
            MultipleFound: There are several.
        """
        found = self.limit(2).all()
        if not found:
            raise NotFound(f"no {self.model.__name__} meets {self!r}", status=404)
        if len(found) > 1:
            raise MultipleFound(f"more than one {self.model.__name__} meets {self!r}")
        return found[0]

    def count(self) -> int:
        """How many objects there are; `limit` and a position do not count.

        The server says it (`HEAD`, the header Total-Objects). Where it cannot apply a condition
        exactly, such as one on a time, their ids and what is compared are read (`GET`).
        """
        if self._compiled.impossible:
            return 0
        listing = self._listing()
        if self._compiled.inexact:
            return sum(len(found) for found in self._raw_pages(listing))
        request = Request("HEAD", listing.path, query_string(self._compiled.params))
        call = Call(request, lambda reply: reply.total, f"count {self!r}", parents=listing.parents)
        return listing.session.run(call)

    def exists(self) -> bool:
        """Whether there is any."""
        return self.only("id").first() is not None

    def delete(self) -> int:
        """Delete all of them that you may write, not only the first page (`DELETE`, repeated).

        Returns:
            How many were deleted.

        Raises:
            InvalidData: The query has an order, a limit or a position.
            TransportError: An answer was lost on the way, so that nobody can say how many were
                deleted. Where the server could be reached again all are, and the message says of
                how many it is known.
        """
        if self.orders or self.most or self.position:
            raise InvalidData(
                "a query with an order, a limit or a position cannot be deleted: the server "
                "deletes all that meet the conditions; delete the objects one by one, or in a "
                "batch. Nothing was sent."
            )
        if self._compiled.impossible:
            return 0
        listing = self._listing()
        deleted = _Deleted(f"delete {self!r}")
        with deleted:
            # The server deletes page by page, and what somebody writes meanwhile is met again.
            while sum(
                deleted.count(self._run_delete(listing, more)) for more in self._chosen(listing)
            ):
                pass
        return deleted.total

    def _chosen(self, listing: Listing[M]) -> Iterator[list[Param]]:
        """What is to be deleted, as conditions in addition to those of the query.

        What the server cannot choose by itself it deletes by id, and only as it was when it was
        read.
        """
        if not self._compiled.inexact:
            yield []
            return
        for page in self._raw_pages(listing):
            for start in range(0, len(page), IDS_IN_A_REQUEST):
                chunk = page[start : start + IDS_IN_A_REQUEST]
                newest = max(each["last_modified"] for each in chunk)
                yield [
                    ("in_id", join([each["id"] for each in chunk])),
                    ("max_last_modified", str(newest)),
                ]

    def _run_delete(self, listing: Listing[M], more: list[Param]) -> Reply:
        query = query_string(distinct([*self._compiled.params, *more]))
        request = Request("DELETE", listing.path, query, alone=True)
        call = Call(request, _whole, f"delete {self!r}", parents=listing.parents)
        return listing.session.run(call)

    def update(
        self,
        fields: Mapping[str, object] | None = None,
        /,
        *,
        workers: int | None = None,
        **more: object,
    ) -> Summary:
        """Set the same values on all of them, in batches; each with its precondition.

        The values are validated together, with the other fields of each object. Which objects
        these are is settled before the first one is changed when the query has both an order and
        a limit: then their ids are kept in memory.

        Args:
            fields: The new values. Here every name is a field's.
            workers: How many connections send at the same time, by default 1. Where the model has
                a field `workers`, a field is meant in `fields` only.
            **more: More new values.

        Returns:
            A summary: updated, unchanged, and failed with the errors; those too for which the
            values do not fit an object's other fields.

        Raises:
            pydantic.ValidationError: A field that the model does not have, or a value that is
                wrong for every object.
            TypeError: It is not clear whether an option or a field is meant, or nothing is set.
        """
        values = self._new_values(fields, more, workers)
        if self.fields is not None:
            raise InvalidData("objects loaded with only() cannot be saved: update() without it")
        from kinto_orm.bulk import Failure, Interrupted

        assignment = self.model._assignment(values)
        unfit: list[Failure] = []

        def changed() -> Iterator[Any]:
            for each in self._standing_still():
                try:
                    assignment.apply(each)
                except ValidationError as error:
                    unfit.append(Failure(each, error))
                else:
                    yield each

        try:
            summary = self._listing().session.save_all(changed(), workers=workers or 1)
        except Interrupted as interrupt:
            interrupt.summary.failed += unfit
            raise
        summary.failed += unfit
        return summary

    def _new_values(
        self, fields: Mapping[str, object] | None, more: Mapping[str, object], workers: int | None
    ) -> dict[str, object]:
        model = self.model
        if "permissions" in more:
            raise TypeError(
                "update() sets fields: permissions are changed on each object, as in "
                "for each in query: each.permissions.grant('read', Everyone).save()"
            )
        refused = ("id", "last_modified")
        values = given_fields(model, "update(", fields, more, {"workers": workers}, refused=refused)
        if not values:
            raise TypeError(
                "update() was given no field to set; workers= is an option, and a field of that "
                "name is given as update({'workers': ...})"
            )
        return values

    def _standing_still(self) -> Iterator[M]:
        """All objects, each once, although they are changed meanwhile by what is made of them."""
        if self.position is None and (self.most is None or not self.orders):
            yield from self._with(orders=())
            return
        ids = [each.id for each in self.only("id")]
        here = Query(self.model, self.session, self.parent)
        for start in range(0, len(ids), IDS_IN_A_REQUEST):
            chunk = ids[start : start + IDS_IN_A_REQUEST]
            yield from here.where(Column[str](("id",)).in_(chunk))

    def changes(self, since: str | None = None) -> Iterator[AnyChange[M]]:
        """What was created, updated and deleted since a token, each with a token to go on from.

        Nothing is missed while others write. An object may come twice when it changed twice.

        Args:
            since: The token of the last change that was dealt with; None for everything that
                there is.

        Raises:
            CollectionReset: The collection was emptied or made anew since the token.
            InvalidData: The query has conditions: an object that no longer meets them, or a
                deleted one, would not be noticed.
        """
        return self._follower(since).once()

    def follow(
        self,
        since: str | None = None,
        *,
        interval: float = 5.0,
        stop: threading.Event | None = None,
    ) -> Iterator[AnyChange[M]]:
        """The changes as they come; asks with If-None-Match and heeds the server's Backoff.

        Args:
            since: As in `changes`.
            interval: Seconds between two questions.
            stop: Ends the iteration when it is set.
        """
        return self._follower(since).forever(interval, stop or threading.Event())

    # Inside

    def _follower(self, since: str | None) -> Follower[M]:
        if self.conditions or self.orders or self.most or self.fields or self.position:
            raise InvalidData(
                "changes() and follow() take the whole collection, without conditions, order, "
                "limit or only(): choose among the changes in Python. Nothing was sent."
            )
        following = importlib.import_module("kinto_orm.following")
        return following.Follower(  # type: ignore[no-any-return]
            self._listing(), repr(self), since, self.size
        )

    def _with(self, **changes: Any) -> Self:
        return dataclasses.replace(self, **changes)

    @cached_property
    def _compiled(self) -> Filter:
        return compile_conditions(self.conditions)

    def _listing(self) -> Listing[M]:
        return self.model._listing(self.session, self.parent)

    def _asked(self, listing: Listing[M]) -> list[str]:
        """What tells this query from others, for positions."""
        meaning = (*self._compiled.meaning, ("_sort", self._sort))
        return [listing.path, *sorted(f"{name}={value}" for name, value in meaning)]

    def _page_call(self, listing: Listing[M], query: str, receive: Callable[[Reply], T]) -> Call[T]:
        request = Request("GET", listing.path, query)
        return Call(request, receive, f"find {self!r}", parents=listing.parents)

    def _fetch(self, listing: Listing[M], query: str) -> Reply:
        return listing.session.run(self._page_call(listing, query, lambda reply: reply))

    def _read(
        self, listing: Listing[M], place: Place, reply: Reply, left: int | None
    ) -> tuple[list[M], Place | None]:
        """The objects of a page, and the place of what follows; None when nothing does."""
        by_id = self._sort == "id"
        if not self._compiled.inexact and not place.after:
            found = self._load(listing, reply)
            return found, place.following(reply, by_id, found[-1].id if found else None)
        call = self._page_call(listing, "", lambda reply: reply.objects)
        rows = call.complete(reply)
        kept = [each for each in _after(rows, place.after) if self._compiled.matches(each)]
        following = place.following(reply, by_id, rows[-1]["id"] if rows else None)
        if left is not None and len(kept) > left:
            kept = kept[:left]
            last = kept[-1]["id"]
            following = Place("gt_id", last) if by_id else place.inside(last, len(rows))
        return self._load(listing, _page_of(kept, self._stored_names())), following

    def _load(self, listing: Listing[M], reply: Reply) -> list[M]:
        call = self._page_call(listing, "", lambda reply: listing.load(reply, self.fields))
        return call.complete(reply)

    def _raw_pages(self, listing: Listing[M]) -> Iterator[list[dict[str, Any]]]:
        """What is found, as JSON with no more than the conditions need."""
        query = self._with(orders=(), most=None, fields=frozenset({"id"}), position=None)
        place: Place | None = Place()
        circle = Circle()
        while place is not None:
            reply = query._fetch(listing, query._page_query(place, None))
            rows = self._page_call(listing, "", lambda reply: reply.objects).complete(reply)
            place = place.following(reply, query._sort == "id", rows[-1]["id"] if rows else None)
            circle.check(place)
            yield [each for each in rows if self._compiled.matches(each)]

    def _page_query(self, place: Place, left: int | None) -> str:
        """A query string that asks for a page, and for no more than is left to be given."""
        size = self.size or DEFAULT_PAGE
        if left is not None:
            size = min(size, max(left, FEW) if self._compiled.inexact else left)
        size = int(place.size or size)
        names = self._stored_names()
        if names is not None:
            names |= {each.path[0] for each in self._compiled.inexact}
        params = [*self._compiled.params, ("_sort", self._sort), *place.params]
        if names is not None:
            params.append(("_fields", ",".join(sorted(names))))
        return query_string([*distinct(params), ("_limit", str(size))])

    def _stored_names(self) -> frozenset[str] | None:
        """The stored names of the fields that `only` names."""
        if self.fields is None:
            return None
        names = {name: stored for stored, name in self.model._python_names().items()}
        return frozenset(names.get(each, each) for each in self.fields)

    @property
    def _sort(self) -> str:
        return compile_order(self.orders) or self._by_default

    def _check_field(self, stored: str) -> None:
        self.model._check_stored_name(stored)

    def _field_name(self, given: object) -> str:
        """The Python name of a field given as a name or as an expression."""
        if isinstance(given, Column):
            self._check_field(given.path[0])
            return self.model._python_names().get(given.path[0], given.path[0])
        if isinstance(given, str):
            if given in self.model.model_fields:
                return given
            self._check_field(given)
            return self.model._python_names().get(given, given)
        raise TypeError(f"only() takes fields or their names, not {given!r}")

    def __repr__(self) -> str:
        asked = ", ".join(f"{name}={value}" for name, value in self._compiled.meaning)
        return f"{self.model.__name__}.find({asked})"


class _Deleted:
    """How many were deleted, as far as the server said so.

    Args:
        doing: The act, for messages.
    """

    def __init__(self, doing: str) -> None:
        self.total = 0
        self._doing = doing
        self._lost = False
        self._circle = Circle()

    def count(self, reply: Reply) -> int:
        """Count what an answer says; an earlier one, which was lost, may have said more."""
        found = reply.objects
        if found:
            # Each deletion has a timestamp of its own, also of an object that was made anew.
            self._circle.check((found[0]["id"], found[0]["last_modified"]))
        self.total += len(found)
        self._lost = self._lost or reply.lost
        return len(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(f"until then {self.total} were deleted, as far as answers came")
        elif self._lost:
            raise TransportError(
                f"cannot {self._doing} and say how many: an answer was lost, and the request was "
                f"sent again. Nothing that you may delete is left; {self.total} were deleted for "
                "certain, and more may have been by the request whose answer was lost."
            )


def _whole(reply: Reply) -> Reply:
    """The reply, if it is a list of objects; who finds out later cannot say what it was for."""
    _ = reply.objects
    return reply


def _after(rows: list[dict[str, Any]], id: str) -> list[dict[str, Any]]:
    """The objects after this one; all when it is not there."""
    places = [place for place, each in enumerate(rows) if each["id"] == id]
    return rows[places[0] + 1 :] if places else rows


def _page_of(rows: list[dict[str, Any]], names: frozenset[str] | None) -> Reply:
    """A page with these objects only; of fields that were fetched to compare them nothing."""
    if names is not None:
        rows = [{name: each[name] for name in each.keys() & names} for each in rows]
    return Reply(200, {}, json.dumps({"data": rows}).encode())


def _order(given: object) -> Order:
    if isinstance(given, Order):
        return given
    if isinstance(given, Column):
        return given.asc()
    raise TypeError(f"order_by() takes fields, as in order_by(Todo.title), not {given!r}")


def _positive(value: int, what: str) -> int:
    if not isinstance(value, int) or value < 1:
        raise InvalidData(f"{what} must be 1 or more, not {value!r}")
    return value
