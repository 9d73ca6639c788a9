"""What was deleted, and bringing it back: by the history, without an object in hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from kinto_orm._shown import Described
from kinto_orm.errors import Conflict, InvalidData
from kinto_orm.models.asking import home_of
from kinto_orm.models.conflicts import conflict_with
from kinto_orm.models.getting import getting_or_none
from kinto_orm.models.history import (
    HistoryEntry,
    Unreadable,
    as_it_was,
    history_in,
    newest_of,
    shown_by,
)
from kinto_orm.models.hooks import around_save
from kinto_orm.models.kinds import kinds_of
from kinto_orm.models.pristine import adopt
from kinto_orm.models.resource import Resource
from kinto_orm.models.saving import creating_again
from kinto_orm.models.state import call_of
from kinto_orm.models.upserting import reading
from kinto_orm.queries.conditions import col
from kinto_orm.queries.pager import Pages
from kinto_orm.wire.clock import milliseconds
from kinto_orm.wire.flows import ANEW, Flow
from kinto_orm.wire.places import Place, require
from kinto_orm.wire.scope import Scope

R = TypeVar("R", bound=Resource)

_DELETIONS_IN_A_PAGE = 100


@dataclass(frozen=True, slots=True, repr=False)
class Deletion(Described, Generic[R]):
    """An object that was deleted, by the history.

    Attributes:
        id: Its id.
        object: How it was before; None when the history does not reach back so far, and when it
            does not fit the model or cannot be loaded.
        date: When it was deleted, as the server writes it.
        user_id: Who deleted it.
        last_modified: When it was deleted, in milliseconds.
        error: Why there is no object of what the history shows; None otherwise.
    """

    id: str
    object: R | None
    date: datetime
    user_id: str
    last_modified: int | None
    error: InvalidData | None = None


def deletions(model: type[R], scope: Scope) -> Iterator[Flow[list[Deletion[R]]]]:
    """What was deleted and is not there again, page by page; see Record.deleted."""
    pages = _DeletionPages(model, scope)
    while pages.has_more:
        yield pages.reading()


class _DeletionPages(Generic[R]):
    """Pages of deletions, one after the other, the newest first.

    Attributes:
        has_more: Whether there is a page to be read.
    """

    def __init__(self, model: type[R], scope: Scope) -> None:
        self._model = model
        self._scope = scope
        self._place: Place | None = None
        self._pages: Pages[list[HistoryEntry]] | None = None
        self._seen: set[str] = set()
        self.has_more = True

    def reading(self) -> Flow[list[Deletion[R]]]:
        """Fetch the next page, what of it is there again, and how the rest was before."""
        if self._pages is None or self._place is None:
            self._place = (yield from home_of(self._model, self._scope)).explaining()
            self._pages = yield from self._opening(self._place)
        entries = self._pages.take((yield from self._pages.fetching()))
        self.has_more = self._pages.has_more
        yield ANEW
        gone = yield from self._still_gone(self._place, entries)
        unreadable = Unreadable()
        before = yield from self._before(self._place, gone, unreadable)
        told = [(each, before.get(each.object_uri)) for each in gone]
        own = [(each, old, unreadable.of(old)) for each, old in told if self._is_own(old)]
        return [self._deletion(self._place, *each) for each in own]

    def _is_own(self, before: HistoryEntry | None) -> bool:
        """Whether what was deleted was an object of the class; of several kinds that shows."""
        kinds = kinds_of(self._model)
        if kinds is None or kinds.base is self._model:
            return True
        raw = None if before is None else before.target.get("data")
        return isinstance(raw, dict) and kinds.has(self._model, raw)

    def _opening(self, place: Place) -> Flow[Pages[list[HistoryEntry]]]:
        history = yield from history_in(place)
        uri = col(HistoryEntry.object_uri)
        query = history.where(HistoryEntry.action == "delete", uri.like(f"{place.path}/*"))
        return (yield from query.page_size(_DELETIONS_IN_A_PAGE).opening())

    def _still_gone(self, place: Place, entries: list[HistoryEntry]) -> Flow[list[HistoryEntry]]:
        """The deletions of what is not there again; of two of one object the newer."""
        newest = {}
        for each in entries:
            id = _id_in(each, place)
            if id is not None and id not in self._seen:
                self._seen.add(id)
                newest[id] = each
        there = {each.id for each in (yield from reading(self._model, place, [*newest]))}
        return [each for id, each in newest.items() if id not in there]

    def _before(
        self, place: Place, gone: list[HistoryEntry], unreadable: Unreadable
    ) -> Flow[dict[str, HistoryEntry]]:
        """The last entry of each before it was deleted, by the object's path."""
        history = unreadable.passed_by((yield from history_in(place)))
        return (yield from newest_of(history, (each.object_uri for each in gone)))

    def _deletion(
        self,
        place: Place,
        entry: HistoryEntry,
        before: HistoryEntry | None,
        error: InvalidData | None,
    ) -> Deletion[R]:
        id = entry.object_uri.rpartition("/")[2]
        name = f"{self._model.__name__} {id!r}"
        old = None
        try:
            if before is not None and error is None:
                old = shown_by(self._model, before, place, id, name)
        except InvalidData as unfit:
            error = unfit
        tombstone = entry.target.get("data")
        when = tombstone.get("last_modified") if isinstance(tombstone, dict) else None
        stamp = when if isinstance(when, int) else None
        return Deletion(id, old, entry.date, entry.user_id, stamp, error)


def _id_in(entry: HistoryEntry, place: Place) -> str | None:
    """The id of the object that an entry is about; None when that lives elsewhere."""
    plural, _, id = entry.object_uri.rpartition("/")
    return id if plural == place.path else None


def restoring(model: type[R], scope: Scope, id: str, when: int | datetime | None) -> Flow[R]:
    """Bring back an object, or make it what it was at a time; see Record.restore.

    Raises:
        NotFound: The history does not show it.
        InvalidData: What it shows cannot be loaded.
        Conflict: It is there, and no time was given; or somebody else was first.
    """
    if when is not None:
        milliseconds(when)  # refused before anything is sent
    yield from require(scope, "history", f"restore {model.__name__} {id!r}")
    place = yield from home_of(model, scope)
    there = yield from getting_or_none(model, scope, id)
    if there is not None and when is None:
        raise _is_there(there, place)
    name = f"{model.__name__} {id!r}"
    old = yield from as_it_was(model, place, model.__kinto_id_of__(id), when, name)
    if there is None:
        yield from around_save(old, scope, creating_again(old, place))
        return old
    adopt(there, old, frozenset())
    yield from there.__kinto_save__(scope)
    return there


def _is_there(stored: Resource, place: Place) -> Conflict:
    name = f"{type(stored).__name__}"
    return conflict_with(
        stored,
        f"{stored.__kinto_name__} is there, and was not deleted. To make it what it was at a time "
        f"give that: {call_of(stored, f'{name}.restore(id, at=...)')}. Nothing was sent.",
        place,
    )
