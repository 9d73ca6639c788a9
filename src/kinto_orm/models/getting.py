"""Getting an object: `GET`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from kinto_orm.errors import Conflict, NotFound, ResponseError
from kinto_orm.models.asking import ask_about, home_of, loaded
from kinto_orm.models.kinds import OtherKind
from kinto_orm.models.making import of_fields
from kinto_orm.models.stored import Stored
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Request
from kinto_orm.wire.refusals import is_hidden
from kinto_orm.wire.scope import Scope

S = TypeVar("S", bound=Stored)


def getting(model: type[S], scope: Scope, id: str, plural: str | None = None) -> Flow[S]:
    """Fetch one object.

    Args:
        model: Its class.
        scope: Where the class does not say where it is, this says.
        id: Its id, as it is.
        plural: The plural path, when that is known.

    Raises:
        NotFound: There is none; `.resource` tells whether its collection is missing too.
        InvalidData: What is stored does not fit the model.
    """
    scope.require_kinto(f"get {model.__name__} {id!r}")
    place = yield from home_of(model, scope, plural)
    request = Request("GET", place.of(id, model.__kinto_kind__))
    doing = f"get {model.__name__} {id!r} in {place.path}"
    reply = yield from ask_about(model, request, doing, place.parents)
    return loaded(model, reply, place, id)


def getting_or_none(model: type[S], scope: Scope, id: str) -> Flow[S | None]:
    """Fetch one object, or None when there is none, or one of another class of several kinds.

    Args:
        model: Its class.
        scope: Where the class does not say where it is, this says.
        id: By which the class gets its objects: the name of a template, else the id.

    Raises:
        NotFound: Its collection does not exist, and is not made by the first write.
    """
    try:
        return (yield from model.__kinto_get__(scope, id))
    except OtherKind:
        return None
    except ResponseError as error:
        if not is_missing(model, error):
            raise
        return None


def is_missing(model: type[Stored], error: ResponseError) -> bool:
    """Whether an error says that there is no such object."""
    if isinstance(error, NotFound):
        return model.__kinto_unmade__ or error.resource == model.__kinto_kind__
    return model.__kinto_hidden__ and is_hidden(error)


def getting_or_creating(
    model: type[S],
    scope: Scope,
    id: str,
    defaults: Mapping[str, object] | None,
    more: Mapping[str, object],
) -> Flow[tuple[S, bool]]:
    """Fetch one object, or create it when there is none; when somebody else does, fetch theirs.

    Args:
        model: Its class.
        scope: Where the class does not say where it is, this says.
        id: By which the class gets its objects: the name of a template, else the id.
        defaults: The fields of the one to be created.
        more: The same as keywords.

    Raises:
        Conflict: Unconfirmed: an answer was lost, and an equal object is there.
    """
    found = yield from getting_or_none(model, scope, id)
    if found is not None:
        return found, False
    made = of_fields(model, defaults, {**more, model.__kinto_title__: id})
    try:
        yield from made.__kinto_save__(scope)
    except Conflict as conflict:
        if conflict.unconfirmed or conflict.of_hook or conflict.local is not made:
            raise
        return (yield from model.__kinto_get__(scope, id)), False
    return made, True
