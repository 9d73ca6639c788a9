"""Where the objects of a class are listed, for queries."""

from __future__ import annotations

from typing import TypeVar

from kinto_orm.models.asking import page_at
from kinto_orm.models.placing import home_of, scope_for
from kinto_orm.models.stored import Stored
from kinto_orm.queries.pager import Listing
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Reply
from kinto_orm.wire.scope import Scope

S = TypeVar("S", bound=Stored)


def listing(model: type[S], given: Scope | None, plural: str | None) -> Flow[Listing[S]]:
    """Find where the objects of a class are.

    Args:
        model: The class.
        given: The scope that the query was given.
        plural: The plural path, when that is known.
    """
    scope = scope_for(model, given)
    scope.require_kinto(f"find {model.__name__}")
    place = yield from home_of(model, scope, plural)

    def load(reply: Reply, only: frozenset[str] | None) -> list[S]:
        return page_at(model, reply, place, only)

    return Listing(place, load, model.__kinto_unmade__, model.__kinto_says_total__)
