"""What is shown of objects of the server, and objects as they were when they were shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import JsonValue

from kinto_orm.async_session import AsyncSession
from kinto_orm.errors import InvalidData
from kinto_orm.models.asking import from_raw, home_of
from kinto_orm.models.contents import raw_of, same_json
from kinto_orm.models.record import Record
from kinto_orm.models.resource import Resource
from kinto_orm.models.state import state_of
from kinto_orm.queries.pager import Page
from kinto_orm.queries.query import Query
from kinto_orm.wire.awaiting import arun
from kinto_orm.wire.flows import Flow

R = TypeVar("R", bound=Resource)

Data = dict[str, JsonValue]

# What the server writes by itself: a record's schema is the timestamp of its collection.
_OF_THE_SERVER = ("id", "last_modified")


def raw(stored: Resource) -> Data:
    """All that the server has of an object, as it sent it."""
    return raw_of(stored) | {"id": stored.id, "last_modified": stored.last_modified}


def data_of(model: type[Resource], shown: Mapping[str, JsonValue]) -> Data:
    """What of it somebody may change."""
    hidden = model.__kinto_server_made__ if model.__kinto_kind__ == "record" else _OF_THE_SERVER
    return {name: value for name, value in shown.items() if name not in hidden}


async def as_shown(model: type[R], shown: Mapping[str, JsonValue], scope: AsyncSession) -> R:
    """The object as it was when it was shown: what is saved is the difference to that.

    Args:
        model: Its class.
        shown: What `raw` gave.
        scope: The session, in the bucket and the collection where it lives.
    """
    return await arun(scope, _loading(model, shown, scope))


def _loading(model: type[R], shown: Mapping[str, JsonValue], scope: AsyncSession) -> Flow[R]:
    return from_raw(model, shown, (yield from home_of(model, scope)))


def change(stored: Resource, data: Mapping[str, JsonValue]) -> None:
    """Let an object have these fields and no others.

    Raises:
        pydantic.ValidationError: The model refuses a value.
        KintoError: It refuses a name.
    """
    for name in data_of(type(stored), raw(stored)).keys() - data.keys():
        del stored[name]
    for name, value in data.items():
        stored[name] = value


async def first_page(query: Query[R]) -> Page[R]:
    """The first page of a query, and nothing fetched ahead."""
    return await arun(query.scope(), _first(query))


def whatever(query: Query[Record]) -> Query[Record]:
    """The same query; what cannot be loaded hides no other, and is shown as it is stored."""
    return query.on_invalid(_only_shown)


def _only_shown(shown: Data, error: InvalidData) -> Record:
    """A record in the place of one that is nested too deeply: it has what the server has."""
    return Record(id=str(shown["id"]))


def _first(query: Query[R]) -> Flow[Page[R]]:
    pages = yield from query.opening()
    if not pages.has_more:
        return Page([], None)
    return pages.take((yield from pages.fetching()))


def is_shown(stored: Resource) -> bool:
    """Whether the server tells who may do what with it: it does to those who may write it."""
    return state_of(stored).permissions is not None and stored.permissions.is_loaded


def merged(
    base: Mapping[str, JsonValue],
    theirs: Mapping[str, JsonValue],
    mine: Mapping[str, JsonValue],
    chosen: Mapping[str, Any],
) -> Data:
    """Their state with my changes.

    Args:
        base: How it was when I began.
        theirs: How it is now.
        mine: How I want it.
        chosen: "mine" or "theirs" for each field that both changed.
    """
    found = dict(theirs)
    for name in dict.fromkeys((*base, *mine)):
        if same(base, mine, name) or chosen.get(name) == "theirs":
            continue
        if name in mine:
            found[name] = mine[name]
        else:
            found.pop(name, None)
    return found


def same(one: Mapping[str, JsonValue], other: Mapping[str, JsonValue], name: str) -> bool:
    """Whether a field is the same in both: not there, or of an equal JSON value."""
    if (name in one) != (name in other):
        return False
    return name not in one or same_json(one[name], other[name])
