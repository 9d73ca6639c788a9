"""Asking a server about objects of a class, and what every answer about one has to say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from kinto_orm.errors import ResponseError
from kinto_orm.models.loading import Loader, Source, loader_of
from kinto_orm.models.state import State, put_state
from kinto_orm.models.stored import NOT_DATA, Stored
from kinto_orm.models.traits import traits_of
from kinto_orm.wire.flows import Flow, ask
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.parents import Parents
from kinto_orm.wire.places import Place

S = TypeVar("S", bound=Stored)


def ask_about(
    model: type[Stored], request: Request, doing: str, parents: Parents | None
) -> Flow[Reply]:
    """Send a request about objects of a class; see `ask`.

    Nothing that is to be kept secret is in the answer, or in the error.
    """
    try:
        reply = yield from ask(request, doing, parents)
    except ResponseError as error:
        model.__kinto_refused__(error)
        raise
    return model.__kinto_read__(reply)


def require_id(model: type[Stored], reply: Reply, raw: Mapping[str, Any], id: str) -> None:
    """Make sure that an answer is about the object with this id.

    Raises:
        BadReply: It is about another one.
    """
    if id not in model.__kinto_aliases__:
        reply.require_id(raw, id)


def loaded(model: type[S], reply: Reply, place: Place, id: str) -> S:
    """The object that an answer shows.

    Raises:
        InvalidData: It does not fit the model.
        BadReply: It shows another one, or none.
    """
    found, permissions = loader_of(model).single(reply)
    _require_stamps([found], reply)
    require_id(model, reply, found.__dict__, id)
    source = source_of(model, [found], reply.body)
    put_state(found, State(place.scope, place.path, source, permissions=permissions))
    return found


def from_raw(model: type[S], raw: Mapping[str, Any], place: Place) -> S:
    """The object that its JSON data shows.

    Raises:
        InvalidData: It does not fit the model.
    """
    found = loader_of(model).of(raw)
    source = source_of(model, [found], raws={found.id: dict(raw)})
    put_state(found, State(place.scope, place.path, source))
    return found


def page_at(
    model: type[S], reply: Reply, place: Place, only: frozenset[str] | None = None
) -> list[S]:
    """The objects of a page.

    Args:
        model: Their class.
        reply: The page.
        place: Where they live.
        only: The Python names of the fields, if not all were asked for.

    Raises:
        InvalidData: One does not fit the model.
        BadReply: It is no page.
    """
    loader: Loader[S] = loader_of(model)
    reply = model.__kinto_read__(reply)
    found = loader.page(reply) if only is None else loader.partial(reply, only)
    _require_stamps(found, reply)
    source = source_of(model, found, reply.body)
    state = State(place.scope, place.path, source, partial=only is not None, shared=True)
    put = put_state
    for each in found:
        put(each, state)
    return found


def source_of(
    model: type[S],
    found: list[S],
    body: bytes | None = None,
    raws: Mapping[str, dict[str, Any]] | None = None,
) -> Source:
    """What the server sent for objects that were loaded of it."""
    kept = None if traits_of(model).steady else loader_of(model).kept(found)
    return Source(body, raws, kept)


def _require_stamps(found: Iterable[Stored], reply: Reply) -> None:
    """Make sure that objects came with what every stored one has.

    Raises:
        BadReply: One has no id or no timestamp.
    """
    for each in found:
        if not each.__pydantic_fields_set__ >= NOT_DATA or each.__dict__["last_modified"] is None:
            raise reply.bad()
