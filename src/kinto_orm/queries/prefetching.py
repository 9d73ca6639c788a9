"""Fetching what the objects of a page link to, with one request for each hundred ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from kinto_orm.errors import InvalidData
from kinto_orm.queries.columns import IDS_IN_A_REQUEST, Column
from kinto_orm.queries.filters import compile_conditions
from kinto_orm.queries.pager import Asked, Listing, Page, Pager, Read
from kinto_orm.wire.flows import ANEW, Flow, side_by_side
from kinto_orm.wire.messages import segment
from kinto_orm.wire.scope import Scope

M = TypeVar("M")


class Target(Protocol):
    """The class of what is linked."""

    @classmethod
    def __kinto_listing__(cls, given: Scope | None, plural: str | None) -> Flow[Listing[Any]]: ...


class Leading(Protocol):
    """A link."""

    @property
    def id(self) -> str:
        """The id of what is linked."""

    @property
    def model(self) -> type[Target]:
        """The class of it."""

    def __kinto_take__(self, found: Any) -> None: ...


class Holding(Protocol):
    """A class of objects with links."""

    @classmethod
    def __kinto_links__(cls, found: Iterable[Any], names: Iterable[str]) -> list[Any]: ...


class Readable(Protocol[M]):
    """Pages that are read, and then gone on from."""

    @property
    def has_more(self) -> bool: ...  # noqa: D102
    def fetching(self) -> Flow[Any]: ...  # noqa: D102
    def read(self, reply: Any, /) -> Read[M]: ...  # noqa: D102
    def settle(self, reply: Any, read: Read[M], /) -> Page[M]: ...  # noqa: D102


class Prefetching(Generic[M]):
    """Pages of objects whose links are fetched, too.

    Args:
        pager: Of the objects.
        model: Their class.
        names: The Python names of the fields whose links are followed.
        scope: Where the classes of what is linked do not say where it lives, this says.
    """

    def __init__(
        self, pager: Readable[M], model: type[Holding], names: Sequence[str], scope: Scope
    ) -> None:
        self._pager = pager
        self._model = model
        self._names = names
        self._scope = scope

    @property
    def has_more(self) -> bool:
        """Whether there is a page to be fetched."""
        return self._pager.has_more

    def fetching(self) -> Flow[tuple[Any, Read[M]]]:
        """Ask for the next page, then for what its objects link to.

        The pager stays where it is, so that another process may ask again.
        """
        reply = yield from self._pager.fetching()
        read = self._pager.read(reply)
        yield ANEW
        yield from prefetching(self._model.__kinto_links__(read[0], self._names), self._scope)
        return reply, read

    def take(self, answer: tuple[Any, Read[M]], /) -> Page[M]:
        """Give the page, and go on to the next."""
        return self._pager.settle(*answer)


def prefetching(links: Iterable[Leading], scope: Scope) -> Flow[None]:
    """Fetch what is linked (`GET ?in_id=...`), side by side; what there is none of is None.

    Args:
        links: Several to one object are given the same one.
        scope: Where the classes do not say where it lives, this says.
    """
    wanted: dict[type[Target], dict[str, list[Leading]]] = {}
    for link in links:
        wanted.setdefault(link.model, {}).setdefault(link.id, []).append(link)
    parts = [(model, ids) for model, each in wanted.items() for ids in _groups(each)]
    pages = yield from side_by_side(_fetching(model, ids, scope) for model, ids in parts)
    found = {
        (model, each.id): each
        for (model, _), page in zip(parts, pages, strict=True)
        for each in page
    }
    for model, linked in wanted.items():
        for id, each in linked.items():
            for link in each:
                link.__kinto_take__(found.get((model, id)))


def _groups(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = filter(_can_be, ids)
    while group := list(islice(rest, IDS_IN_A_REQUEST)):
        yield group


def _can_be(id: str) -> bool:
    """Whether there can be an object with this id."""
    try:
        segment(id, "record")
    except InvalidData:
        return False
    return True


def _fetching(model: type[Target], ids: list[str], scope: Scope) -> Flow[list[Any]]:
    """The objects with these ids, as far as there are any."""
    listing = yield from model.__kinto_listing__(scope, None)
    asked = Asked(
        filters=(compile_conditions([Column[str](("id",)).in_(ids)]),),
        sort="id",
        by_default="id",
        most=None,
        fields=None,
        stored=None,
        size=len(ids),
        doing=f"fetch the {model.__name__} objects that are linked",
    )
    pager: Pager[Any] = Pager(listing, asked)
    found: list[Any] = []
    while pager.has_more:
        found += pager.take((yield from pager.fetching()))
        yield ANEW
    return found
