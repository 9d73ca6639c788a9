"""Finding objects: a query is immutable, sends nothing until it is used, and streams."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from kinto_orm._shown import Rows
from kinto_orm.errors import InvalidData, MultipleFound, NotFound
from kinto_orm.queries.ahead import pages_of
from kinto_orm.queries.alternatives import distributed
from kinto_orm.queries.columns import IDS_IN_A_REQUEST, Column
from kinto_orm.queries.conditions import Condition, compile_conditions, compile_order, order_of
from kinto_orm.queries.counting import counting
from kinto_orm.queries.deleting import deleting
from kinto_orm.queries.explaining import Explainable
from kinto_orm.queries.filters import Filter
from kinto_orm.queries.findable import Findable
from kinto_orm.queries.habits import hinted
from kinto_orm.queries.merging import Merged
from kinto_orm.queries.options import positive
from kinto_orm.queries.orderings import Order
from kinto_orm.queries.pager import Asked, Known, Listing, Page, Pager, Pages, reading_all
from kinto_orm.queries.positions import check_position
from kinto_orm.queries.prefetching import Followed, Prefetching
from kinto_orm.queries.twins import AsyncVerbs
from kinto_orm.queries.unfit import OnInvalid, checked_on_invalid, handler_of
from kinto_orm.queries.updating import Updating
from kinto_orm.wire.driving import run, run_each
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.forking import cached_property
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    from kinto_orm.bulk.summary import Summary
    from kinto_orm.queries.following import Follower
    from kinto_orm.queries.marks import AnyChange


M = TypeVar("M", bound=Findable)


@dataclass(frozen=True, eq=False, repr=False)
class Query(Explainable, AsyncVerbs[M], Generic[M]):
    """A question to the server, put together by chaining; each method gives a new query.

    Iterating streams: one page is in memory, the next one is fetched ahead. Without `order_by`
    it goes by id, so that no object is skipped or repeated while others write.
    """

    model: type[M]
    session: Scope | None = None
    plural: str | None = None
    conditions: tuple[Condition, ...] = ()
    orders: tuple[Order, ...] = ()
    most: int | None = None
    fields: frozenset[str] | None = None
    size: int | None = None
    position: str | None = None
    links: tuple[Followed, ...] = ()
    invalid: OnInvalid[M] = "raise"

    # By id no object is skipped or repeated while others write.
    _by_default: ClassVar[str] = "id"

    # Asking

    @hinted
    def where(self, *conditions: Condition | bool) -> Self:
        """Add conditions; an object has to meet all of them.

        Raises:
            TypeError: One is no condition, such as the bool of a comparison of two values.
            InvalidData: One names a field that the model does not have, or there are too many
                branches of `any_of`.
        """
        for each in conditions:
            if not isinstance(each, Condition):
                raise TypeError(
                    f"{each!r} is no condition; compare a field of the class with a value, as in "
                    f"{self.model.__name__}.find({self.model.__name__}.id == 'x')"
                )
            for name in each.names:
                self._check_field(name)
        found = self._with(conditions=(*self.conditions, *conditions))
        distributed(found.conditions)  # refuses too many branches
        return found

    def order_by(self, *orders: object) -> Self:
        """Sort by these fields; `col(Todo.due).desc()` for descending.

        While others write, a streamed order other than by id may skip or repeat objects that
        move. Datetimes sort as the server sorts their texts: right for those of one zone and one
        form.

        Raises:
            InvalidData: The model does not have the field or never stores it, or its values are
                texts of another order (decimals, time spans, addresses, paths).
        """
        found = tuple(order_of(each) for each in orders)
        for each in found:
            self._check_field(each.path[0])
        return self._with(orders=(*self.orders, *found))

    def limit(self, most: int) -> Self:
        """Stop after so many objects, 1 or more."""
        return self._with(most=positive(most, "limit"))

    def only(self, *fields: object) -> Self:
        """Fetch these fields (and id, last_modified) only; such objects cannot be saved."""
        names = {self._field_name(each) for each in fields}
        return self._with(fields=frozenset(names | {"id", "last_modified"}))

    def prefetch(self, *links: object, on_invalid: OnInvalid[Any] = "raise") -> Self:
        """Fetch what these fields link to, too: one request for each hundred distinct ids.

        What is linked is `loaded` then, or None where there is none. Fields that `only` leaves
        out are not followed.

        Args:
            *links: Such as `Todo.author`, or the names of fields; lists of links serve too.
            on_invalid: What becomes of linked records that do not fit their class, as in
                `on_invalid`. The link of one that is left out has None `loaded`.

        Raises:
            InvalidData: One holds no links.
        """
        names = [self._field_name(each, "prefetch") for each in links]
        for each in names:
            self.model.__kinto_check_link__(each)
        added = dict.fromkeys(names, checked_on_invalid(on_invalid))
        return self._with(links=tuple((dict(self.links) | added).items()))

    def page_size(self, size: int) -> Self:
        """Fetch so many objects with one request; the server may have a lower limit."""
        return self._with(size=positive(size, "page_size"))

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

    def on_invalid(self, what: OnInvalid[M]) -> Self:
        """Say what becomes of stored records that do not fit the model.

        What is left out counts for nothing: limits and pages go on to the next one. `count`,
        `exists` and `delete` load no records, and count these too.

        Args:
            what: "raise", as without this; "skip" leaves them out; a function is given the record
                as its JSON object and the error, and gives an object of the model to be used
                instead (one of its id is the record mended), or None to leave it out.
        """
        return self._with(invalid=checked_on_invalid(what))

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
        scope = self.scope()
        yield from pages_of(scope, run(scope, self.opening()))

    def all(self) -> list[M]:
        """All objects in one list."""
        return Rows([each for page in self.in_large_pages().pages() for each in page])

    def first(self) -> M | None:
        """The first object, or None when there is none."""
        return first_of(self.limit(1).all())

    def one(self) -> M:
        """The only object.

        Raises:
            NotFound: There is none.
            MultipleFound: There are several.
        """
        return self.only_one(self.up_to_two().all())

    def count(self) -> int:
        """How many objects there are; `limit` and a position do not count.

        The server says it (`HEAD`, the header Total-Objects). Where it cannot apply a condition
        exactly, such as one on a time, their ids and what is compared are read (`GET`).
        """
        return run(self.scope(), self.counting())

    def exists(self) -> bool:
        """Whether there is any."""
        return self.only("id").first() is not None

    def delete(self) -> int:
        """Delete all of them that you may write, not only the first page (`DELETE`, repeated).

        Returns:
            How many were deleted.

        Raises:
            InvalidData: The query has an order, a limit or a position.
            Unsupported: The model has hooks of deletion, which the server would not call; then
                `session.delete_all(query)` serves.
            TransportError: An answer was lost on the way, so that nobody can say how many were
                deleted. Where the server could be reached again all are, and the message says of
                how many it is known.
        """
        return run(self.scope(), self.deleting())

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
        from kinto_orm.bulk.many import Interrupted, save_all

        change = self.updating(fields, more, workers)
        parts = run(self.scope(), self.settling())
        fitting = (each for part in parts for each in part if change.fits(each))
        try:
            return change.completed(save_all(self.scope(), fitting, workers=change.workers))
        except Interrupted as interrupt:
            change.completed(interrupt.summary)
            raise

    def changes(self, since: str | None = None) -> Iterator[AnyChange[M]]:
        """What was created, updated and deleted since a token, each with a token to go on from.

        Nothing is missed while others write. An object may come twice when it changed twice.

        Args:
            since: The token of the last change that was dealt with; None for everything that
                there is, "now" for what comes from now on.

        Raises:
            CollectionReset: The collection was emptied or made anew since the token.
            InvalidData: The query has conditions: an object that no longer meets them, or a
                deleted one, would not be noticed.
        """
        return run_each(self.scope(), self.follower(since).once())

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
        from kinto_orm.queries.following import follow

        return follow(self.scope(), self.follower(since), interval, stop or threading.Event())

    # The same as flows, for whoever drives them.

    def opening(self) -> Flow[Pages[Page[M]]]:
        """Find where the objects are, and open their pages."""
        asked = self.asked()
        if not asked.filters:
            return Known[M](())
        make = Pager if len(asked.filters) == 1 else Merged
        pages = make((yield from self.listing()), asked, self.position)
        if not self.links:
            return pages
        return Prefetching(pages, self.model, self.links, self.scope())

    def counting(self) -> Flow[int]:
        """Count all; see `count`."""
        return counting(self)

    def deleting(self) -> Flow[int]:
        """Delete all; see `delete`."""
        self.model.__kinto_check_unseen_deletion__()
        if self.orders or self.most or self.position:
            raise InvalidData(
                "a query with an order, a limit or a position cannot be deleted: the server "
                "deletes all that meet the conditions; delete the objects one by one, or in a "
                "batch. Nothing was sent."
            )
        return deleting(self)

    def settling(self) -> Flow[list[Query[M]]]:
        """Find queries that give each object once, although what is made of them changes them."""
        if self.position is None and (self.most is None or not self.orders):
            return [self._with(orders=(), links=())]
        ids = [each.id for each in (yield from reading_all(self.only("id")))]
        here: Query[M] = Query(self.model, self.session, self.plural, invalid=self.invalid)
        id = Column[str](("id",))
        chunks = (ids[at : at + IDS_IN_A_REQUEST] for at in range(0, len(ids), IDS_IN_A_REQUEST))
        return [here.where(id.in_(chunk)) for chunk in chunks]

    def updating(
        self, fields: Mapping[str, object] | None, more: Mapping[str, object], workers: int | None
    ) -> Updating[M]:
        """Check what `update` is given."""
        change = Updating[M](self.model, fields, more, workers)
        if self.fields is not None:
            raise InvalidData("objects loaded with only() cannot be saved: update() without it")
        return change

    def follower(self, since: str | None) -> Follower[M]:
        """Check that the changes can be told, and make what reads them."""
        own = self.model.__kinto_told_apart__()[0]
        asks = self.orders or self.most or self.fields or self.position or self.links
        if own or self.conditions or asks:
            raise InvalidData(
                "changes() and follow() take the whole collection, without conditions, order, "
                "limit, only() or prefetch(): choose among the changes in Python. Nothing was sent."
            )
        from kinto_orm.queries.following import Follower

        return Follower(self.listing(), repr(self), since, self.size)

    def in_large_pages(self) -> Self:
        """The same in pages as large as may be, for what is wanted as a whole."""
        return self if self.size or self.most else self._with(size=10_000)

    def up_to_two(self) -> Self:
        """The same, as far as it takes to know whether there is one only."""
        return self.limit(min(self.most or 2, 2))

    def only_one(self, found: Sequence[M]) -> M:
        """The only one of these.

        Raises:
            NotFound: There is none.
            MultipleFound: There are several.
        """
        if not found:
            raise NotFound(f"no {self.model.__name__} meets {self!r}", status=404)
        if len(found) > 1:
            raise MultipleFound(f"more than one {self.model.__name__} meets {self!r}")
        return found[0]

    # Inside

    def _with(self, **changes: Any) -> Self:
        return dataclasses.replace(self, **changes)

    @cached_property
    def _filters(self) -> list[Filter]:
        """The branches, in an order of their own, for positions."""
        own = (*self.model.__kinto_told_apart__()[0], *self.conditions)
        found = map(compile_conditions, distributed(own))
        return sorted(found, key=lambda each: sorted(each.meaning))

    def scope(self) -> Scope:
        """Over which session it asks."""
        return self.model.__kinto_scope__(self.session)

    def listing(self) -> Flow[Listing[M]]:
        """Find where the objects are."""
        found: Listing[M] = yield from self.model.__kinto_listing__(self.session, self.plural)
        yield from self.model.__kinto_check_compared__(self.conditions, found.place.scope)
        handler = handler_of(self.invalid, self.model)
        if handler is None and self._veil is None:
            return found
        return dataclasses.replace(found, on_invalid=handler, veil=self._veil)

    def asked(self) -> Asked:
        """What is asked of the server."""
        return Asked(
            filters=tuple(each for each in self._filters if not each.impossible),
            sort=compile_order(self.orders) or self._by_default,
            by_default=self._by_default,
            most=self.most,
            fields=self.fields,
            stored=self._stored_names(),
            size=self.size,
            doing=f"find {self!r}",
            veil=self._veil,
        )

    def _stored_names(self) -> frozenset[str] | None:
        """The stored names of the fields that `only` names."""
        if self.fields is None:
            return None
        names = {name: stored for stored, name in self.model.__kinto_names__().items()}
        needed = self.model.__kinto_told_apart__()[1]
        return needed.union(names.get(each, each) for each in self.fields)

    def _check_field(self, stored: str) -> None:
        self.model.__kinto_check_stored_name__(stored)

    def _field_name(self, given: object, verb: str = "only") -> str:
        """The Python name of a field given as a name or as an expression."""
        if isinstance(given, str) and given in self.model.__kinto_names__().values():
            return given
        if not isinstance(given, str | Column):
            raise TypeError(f"{verb}() takes fields or their names, not {given!r}")
        stored = given if isinstance(given, str) else given.path[0]
        self._check_field(stored)
        return self.model.__kinto_names__().get(stored, stored)


def first_of(found: Sequence[M]) -> M | None:
    """The first of these, if there is any."""
    return found[0] if found else None
