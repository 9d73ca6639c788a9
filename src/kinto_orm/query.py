"""Finding objects: a query is immutable, sends nothing until it is used, and streams."""

from __future__ import annotations

import dataclasses
import importlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit

from pydantic import ValidationError

from kinto_orm.conditions import (
    IDS_IN_A_REQUEST,
    Column,
    Condition,
    Order,
    compile_conditions,
    compile_order,
)
from kinto_orm.errors import InvalidData, MultipleFound, NotFound
from kinto_orm.options import given_fields
from kinto_orm.protocol import Call, Parents, Reply, Request, query_string
from kinto_orm.session import Session

if TYPE_CHECKING:
    from kinto_orm.bulk import Summary
    from kinto_orm.following import Change, Follower
    from kinto_orm.reading import Readable

    M = TypeVar("M", bound=Readable)
else:
    M = TypeVar("M")

T = TypeVar("T")

DEFAULT_PAGE = 1000


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


class Page(list[M]):
    """One page of objects, in the order of the server.

    Attributes:
        position: Where the next page starts, for `Query.resume`; None on the last page.
    """

    def __init__(self, objects: Sequence[M], position: str | None) -> None:
        super().__init__(objects)
        self.position = position


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
        move. Raises InvalidData for a field that the model does not have.
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
            position: Of the last page that was dealt with; it brings the conditions and the order
                of its query along. None: from the beginning.
        """
        if position is not None and not {"_token", "gt_id"} & dict(parse_qsl(position)).keys():
            raise InvalidData(f"{position!r} is no position of a page; see Page.position")
        return self._with(position=position)

    # Answers

    def __iter__(self) -> Iterator[M]:
        for page in self.pages():
            yield from page

    def pages(self) -> Iterator[Page[M]]:
        """The objects page by page, the next page being fetched ahead (`GET`).

        Raises:
            InvalidData: A stored object does not fit the model.
        """
        if self._compiled.impossible:
            return
        listing = self._listing()
        left = self.most
        query = self.position or query_string(self._params())
        upcoming: Callable[[], Reply] | None = partial(
            self._fetch, listing, self._limited(query, left)
        )
        while upcoming is not None:
            reply = upcoming()
            found = self._load(listing, query, reply)
            # How many objects a page has is the server's choice.
            left = None if left is None else left - len(found)
            position, upcoming = _next_position(query, reply, found), None
            if position is not None and left != 0:
                query = self._limited(position, left)
                upcoming = _Ahead(partial(self._fetch, listing, query)).result
            if found:
                yield Page(found, position)

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
        """How many objects there are (`HEAD`, the header Total-Objects); `limit` does not count."""
        if self._compiled.impossible:
            return 0
        listing = self._listing()
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
        request = Request("DELETE", listing.path, query_string(self._compiled.params), alone=True)
        call = Call(
            request,
            lambda reply: len(reply.objects),
            f"delete {self!r}",
            parents=listing.parents,
        )
        total = 0
        while found := listing.session.run(call):
            total += found
        return total

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

    def changes(self, since: str | None = None) -> Iterator[Change[M]]:
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
    ) -> Iterator[Change[M]]:
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

    @property
    def _compiled(self) -> Any:
        return compile_conditions(self.conditions)

    def _listing(self) -> Listing[M]:
        return self.model._listing(self.session, self.parent)

    def _page_call(self, listing: Listing[M], query: str, receive: Callable[[Reply], T]) -> Call[T]:
        request = Request("GET", listing.path, query)
        return Call(request, receive, f"find {self!r}", parents=listing.parents)

    def _fetch(self, listing: Listing[M], query: str) -> Reply:
        return listing.session.run(self._page_call(listing, query, lambda reply: reply))

    def _load(self, listing: Listing[M], query: str, reply: Reply) -> list[M]:
        call = self._page_call(listing, query, lambda reply: listing.load(reply, self.fields))
        return call.complete(reply)

    def _limited(self, query: str, left: int | None) -> str:
        """A query string that asks for a page, and for no more than is left to be given."""
        size = self.size or DEFAULT_PAGE
        params = [pair for pair in parse_qsl(query, True) if pair[0] != "_limit"]
        return query_string([*params, ("_limit", str(size if left is None else min(size, left)))])

    def _params(self) -> list[tuple[str, str]]:
        params = list(self._compiled.params)
        params.append(("_sort", compile_order(self.orders) or "id"))
        if self.fields is not None:
            names = {name: stored for stored, name in self.model._python_names().items()}
            params.append(("_fields", ",".join(sorted(names.get(f, f) for f in self.fields))))
        return params

    def _check_field(self, stored: str) -> None:
        self.model._check_stored_name(stored)

    def _field_name(self, given: object) -> str:
        """The Python name of a field given as a name or as an expression."""
        if isinstance(given, Column):
            self._check_field(given.path[0])
            return self.model._python_names().get(given.path[0], given.path[0])
        if isinstance(given, str):
            if given not in self.model.model_fields:
                self._check_field(given)
            return given
        raise TypeError(f"only() takes fields or their names, not {given!r}")

    def __repr__(self) -> str:
        asked = ", ".join(f"{name}={value}" for name, value in self._compiled.params)
        return f"{self.model.__name__}.find({asked})"


class _Ahead:
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


def _next_position(query: str, reply: Reply, found: Sequence[Readable]) -> str | None:
    """The query string of the page after these objects; None after the last one.

    By id it begins after the last id, which an index finds. To find the place of its own token
    PostgreSQL reads everything before it, so that the pages of a large collection get slow.
    """
    theirs = next_position(reply)
    params = parse_qsl(query, True)
    if theirs is None or not found or ("_sort", "id") not in params:
        return theirs
    kept = [pair for pair in params if pair[0] not in ("_token", "gt_id", "_limit")]
    return query_string([*kept, ("gt_id", json.dumps(found[-1].id))])


def next_position(reply: Reply) -> str | None:
    """The query string of the next page; None after the last one."""
    # Only its query counts: the URL is built from whatever host name the server was asked for,
    # and credentials go to the session's own server only.
    url = reply.headers.get("Next-Page")
    return urlsplit(url).query if url else None


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
