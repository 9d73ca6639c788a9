"""Fetching what the objects of a page link to, with one request for each hundred ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from kinto_orm.errors import InvalidData
from kinto_orm.queries.columns import IDS_IN_A_REQUEST, Column
from kinto_orm.queries.filters import compile_conditions
from kinto_orm.queries.pager import Asked, Listing, Page, Pager, Read
from kinto_orm.queries.unfit import OnInvalid, handler_of
from kinto_orm.wire.flows import ANEW, Flow, side_by_side
from kinto_orm.wire.messages import segment
from kinto_orm.wire.scope import Scope

M = TypeVar("M")

Followed: TypeAlias = tuple[str, OnInvalid[Any]]
"""The Python name of a field, and what becomes of what it links to and does not fit."""

_KEPT = 1000
"""How many linked objects are kept from page to page, for each option about what does not fit."""


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


Known: TypeAlias = dict[tuple[type[Target], str], Any]
"""What was found by class and id; None for what there is none of."""


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
        links: The Python names of the fields whose links are followed, each with what becomes of
            linked objects that do not fit their class.
        scope: Where the classes of what is linked do not say where it lives, this says.
    """

    def __init__(
        self, pager: Readable[M], model: type[Holding], links: Sequence[Followed], scope: Scope
    ) -> None:
        self._pager = pager
        self._model = model
        self._links = _grouped(links)
        self._scope = scope
        self._known: list[Known] = [{} for _ in self._links]

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
        yield from side_by_side(
            prefetching(self._model.__kinto_links__(read[0], names), self._scope, what, known=known)
            for (names, what), known in zip(self._links, self._known, strict=True)
        )
        return reply, read

    def take(self, answer: tuple[Any, Read[M]], /) -> Page[M]:
        """Give the page, and go on to the next."""
        return self._pager.settle(*answer)


def _grouped(links: Iterable[Followed]) -> list[tuple[list[str], OnInvalid[Any]]]:
    """The names of the fields, those together with which the same is done."""
    groups: list[tuple[list[str], OnInvalid[Any]]] = []
    for name, what in links:
        names = next((names for names, other in groups if other == what), None)
        if names is None:
            groups.append(([name], what))
        else:
            names.append(name)
    return groups


def prefetching(
    links: Iterable[Leading],
    scope: Scope,
    on_invalid: OnInvalid[Any] = "raise",
    *,
    known: Known | None = None,
) -> Flow[None]:
    """Fetch what is linked (`GET ?in_id=...`), side by side; what there is none of is None.

    Args:
        links: Several to one object are given the same one.
        scope: Where the classes do not say where it lives, this says.
        on_invalid: What becomes of what does not fit its class.
        known: What was found before; it is not asked for again, and what is found is added.
    """
    known = {} if known is None else known
    wanted: dict[tuple[type[Target], str], list[Leading]] = {}
    for link in links:
        wanted.setdefault((link.model, link.id), []).append(link)
    unknown: dict[type[Target], list[str]] = {}
    for model, id in wanted:
        if (model, id) not in known:
            unknown.setdefault(model, []).append(id)
    parts = [(model, ids) for model, each in unknown.items() for ids in _groups(each)]
    pages = yield from side_by_side(
        _fetching(model, ids, scope, on_invalid) for model, ids in parts
    )
    found = {
        (model, each.id): each
        for (model, _), page in zip(parts, pages, strict=True)
        for each in page
    }
    for key, leading in wanted.items():
        # Taken out first: those that were asked for last are kept.
        known[key] = target = known.pop(key, found.get(key))
        for link in leading:
            link.__kinto_take__(target)
    for key in list(known)[:-_KEPT]:
        del known[key]


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


def _fetching(
    model: type[Target], ids: list[str], scope: Scope, on_invalid: OnInvalid[Any]
) -> Flow[list[Any]]:
    """The objects with these ids, as far as there are any."""
    listing = yield from model.__kinto_listing__(scope, None)
    listing = replace(listing, on_invalid=handler_of(on_invalid, model))
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
