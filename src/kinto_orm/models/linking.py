"""Where a link leads, and where its id will lead once it is stored: both have to be the same.

Only the id is stored. What it means is said by the class of what is linked, and what that does not
say by the scope of the object that holds the link.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kinto_orm._shown import HIDDEN
from kinto_orm.errors import ConfigurationError, InvalidData
from kinto_orm.models.contents import name_of
from kinto_orm.models.expressions import LinkColumn
from kinto_orm.models.links import Link, link_fields, links_of, read_items
from kinto_orm.models.state import state_of
from kinto_orm.models.stored import Stored
from kinto_orm.queries.alternatives import compared_in
from kinto_orm.queries.conditions import Column, Condition
from kinto_orm.queries.query import Query
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.places import known_path, place_at
from kinto_orm.wire.scope import Scope

_PERSONAL: Final = "default"


def check_links(stored: Stored, scope: Scope) -> Flow[None]:
    """Refuse to save links that would mean other objects than they lead to.

    Args:
        stored: The object that holds them.
        scope: In which it is saved.

    Raises:
        ConfigurationError: One would; it says which, and what to do.
        InvalidData: What was put into a list of links cannot be one.
    """
    read_items(stored)
    for name in link_fields(type(stored)):
        for link in links_of(stored, [name]):
            if link.__kinto_scope__ is not scope or link.loaded is not None:
                doing = f"save {name_of(stored)}: its {name}"
                veil = type(stored).__kinto_veil__()
                is_secret = veil is not None and veil.hides([name])
                yield from refuse_elsewhere(link, scope, doing, is_secret=is_secret)


def check_compared(compared: Iterable[tuple[object, bool]], scope: Scope) -> Flow[None]:
    """Refuse to find what links to objects of another place: other ones would be found.

    Args:
        compared: What fields are compared with; also what is no link. And whether it is secret.
        scope: In which is asked.

    Raises:
        ConfigurationError: One lives elsewhere.
    """
    for each, is_secret in compared:
        if isinstance(each, Stored) and type(each).__kinto_title__ == "id":
            link, name = Link.to(each), name_of(each)
        elif isinstance(each, Link):
            link, name = each, repr(each)
        else:
            continue
        doing = f"find by {'a link' if is_secret else name}: it"
        yield from refuse_elsewhere(link, scope, doing, is_secret=is_secret)


def refuse_elsewhere(
    link: Link[Any], scope: Scope, what: str, *, is_secret: bool = False
) -> Flow[None]:
    """Refuse a link to an object of another place than the one that its id means in a scope.

    Args:
        link: The link. Where it leads need not be known: then it is taken.
        scope: What the class of what is linked does not say, this says.
        what: What is being done, and what leads there, for the message.
        is_secret: Whether the message has to go without the id.

    Raises:
        ConfigurationError: It is one.
    """
    known = _place_of(link)
    if known is None:
        return
    origin, path = known
    try:
        meant = known_path(scope, link.model.__kinto_path__(scope))
    except ConfigurationError:
        return  # the scope does not say where such objects are
    same_server = origin is None or origin.shares_server(scope)
    if same_server and meant != path and meant.split("/")[2:3] == [_PERSONAL]:
        meant = (yield from place_at(scope, meant)).path
    if same_server and meant == path:
        return
    here = "" if same_server else f" on {scope.server_url}"
    there = "" if same_server or origin is None else f" on {origin.server_url}"
    id = HIDDEN if is_secret else link.id
    raise ConfigurationError(
        f"cannot {what} leads to {link.model.__name__} {id!r} in {path}{there}. Only the id "
        f"is kept, which here means what is in {meant}{here}: another object, or none. Work in the "
        f"session where that one lives (session=...), or give the id, {id!r}, if the one that "
        "is here is meant. Nothing was sent."
    )


def _place_of(link: Link[Any]) -> tuple[Scope | None, str] | None:
    """Over which session what is linked was reached, and its plural path; None: not known."""
    scope = link.__kinto_scope__
    state = None if link.loaded is None else state_of(link.loaded)
    # It may be fetched from anywhere, and leads where it led.
    if state is not None and state.plural is not None and scope in (None, state.scope):
        return state.scope, state.plural
    scope = state.scope if scope is None and state is not None else scope
    if scope is None:
        return None
    try:
        return scope, known_path(scope, link.model.__kinto_path__(scope))
    except ConfigurationError:
        return None


class Linked:
    """What links make of every stored object."""

    @classmethod
    def __kinto_links__(cls, found: Iterable[Any], names: Iterable[str]) -> list[Any]:
        """The links of some fields of objects that were found."""
        return [link for each in found for link in links_of(each, names)]

    @classmethod
    def __kinto_check_link__(cls: Any, name: str) -> None:
        """Refuse a field that holds no links.

        Raises:
            InvalidData: It says which ones do.
        """
        if name not in link_fields(cls):
            others = ", ".join(link_fields(cls)) or "none"
            raise InvalidData(
                f"{cls.__name__}.{name} holds no links (those that do: {others}). Nothing was sent."
            )

    @classmethod
    def __kinto_check_compared__(cls, conditions: Iterable[Condition], scope: Scope) -> Flow[None]:
        """Refuse conditions on links that would mean other objects; see `refuse_elsewhere`."""
        return check_compared(compared_in(conditions), scope)

    def backlinks(self: Any, field: object, /) -> Query[Any]:
        """A query over the objects that link here by a field: `author.backlinks(Todo.author)`.

        Nothing is sent yet. Checkers do not know the class from its field: where they should,
        write `Todo.find(Todo.author == author)`, which asks the same.

        Args:
            field: A link, or a list of links, on the class that links here.

        Raises:
            InvalidData: The field does not link here.
        """
        if not isinstance(field, Column):
            raise TypeError(f"backlinks() takes a field of a model class, not {field!r:.80}")
        if not isinstance(field, LinkColumn) or field.model is None:
            raise InvalidData(
                f"{field!r} is neither a link nor a list of links on a class. Nothing was sent."
            )
        condition: Condition = field.has(self) if field.many else field == self
        return Query[Any](field.model, state_of(self).scope).where(condition)
