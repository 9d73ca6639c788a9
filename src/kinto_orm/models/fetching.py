"""Verbs that get an object by its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from kinto_orm.models.asking import scope_for
from kinto_orm.models.getting import getting_or_creating, getting_or_none
from kinto_orm.models.stored import Stored
from kinto_orm.queries.habits import hinted
from kinto_orm.queries.options import given_fields
from kinto_orm.wire.driving import run
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    _Base = Stored
else:
    # For checkers they are methods of a stored object; Pydantic need not know of another model.
    _Base = object


class Getting(_Base):
    """Getting objects by their ids."""

    __slots__ = ()

    @classmethod
    @hinted
    def get(cls, id: str, *, session: Scope | None = None) -> Self:
        """Fetch one object (`GET`).

        Args:
            id: Its id, as it is.
            session: Which session to use; by default the current one or the class's.

        Raises:
            NotFound: There is none; `.resource` tells whether its collection is missing too.
            InvalidData: What is stored does not fit the model.
        """
        scope = scope_for(cls, session)
        return run(scope, cls.__kinto_get__(scope, id))

    @classmethod
    @hinted
    def get_or_none(cls, id: str, *, session: Scope | None = None) -> Self | None:
        """Fetch one object, or None when there is none of the class (`GET`).

        Raises:
            NotFound: Its collection does not exist.
        """
        scope = scope_for(cls, session)
        return run(scope, getting_or_none(cls, scope, id))

    @classmethod
    @hinted
    def get_or_create(
        cls,
        id: str,
        defaults: Mapping[str, object] | None = None,
        /,
        *,
        session: Scope | None = None,
        **more: object,
    ) -> tuple[Self, bool]:
        """Fetch one object, or create it when there is none (`GET`, then `PUT`).

        Args:
            id: Its id.
            defaults: The fields of the one to be created. Here every name is a field's.
            session: Which session to use. Where the model has a field `session`, a field is meant
                in `defaults` only.
            **more: More fields, and `permissions`, as a constructor takes them.

        Returns:
            The object, and whether it was created; as in Django. When somebody else creates it
            meanwhile, theirs is fetched.

        Raises:
            Conflict: Unconfirmed: the answer was lost, and an equal object is there. Whether this
                call or somebody else created it cannot be told.
            TypeError: It is not clear whether an option or a field is meant.
        """
        verb = f"get_or_create({id!r}, "
        given_fields(
            cls, verb, defaults, more, {"session": session}, refused=("id", cls.__kinto_title__)
        )
        scope = scope_for(cls, session)
        return run(scope, getting_or_creating(cls, scope, id, defaults, more))
