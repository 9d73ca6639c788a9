"""An object becomes what is there, but for all that it says itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticUndefined

from kinto_orm.errors import InvalidData
from kinto_orm.models.asking import from_raw
from kinto_orm.models.contents import dump_of, extra_of, is_given, name_of
from kinto_orm.models.kinds import refuse_other_kind
from kinto_orm.models.naming import names_of
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.pristine import reload, unsaved
from kinto_orm.models.state import own_state, state_of
from kinto_orm.models.stored import NOT_DATA, Stored
from kinto_orm.wire.places import Place

# Milliseconds, of 2001: what a record is stamped with is later, and what it holds hardly is.
_FIRST_STAMP = 10**12

_HELP = "existing='replace' overwrites what is there. Nothing was sent."


def take_over(
    stored: Stored,
    raw: Mapping[str, Any],
    place: Place,
    held: object,
    names: frozenset[str] | None = None,
) -> frozenset[str]:
    """Become what is there, but for all that the object says itself.

    Args:
        stored: The object.
        raw: What is there.
        place: Where.
        held: The permissions that it holds.
        names: The stored names of what it says itself; None: those that it was given.

    Returns:
        The names.

    Raises:
        InvalidData: What is there does not fit the model, or not together with the rest.
    """
    try:
        fresh = from_raw(type(stored), raw, place, in_hand=True)
        refuse_other_kind(stored, dump_of(stored), raw)
        kept = held if isinstance(held, Permissions) else None
        rehearsed = state_of(stored).rehearsed
        state = state_of(fresh).replaced(permissions=kept, rehearsed=rehearsed)
        if names is None:
            names = _own_names(stored) - stamps_in(stored, raw)
        reload(stored, fresh, state, names)
    except InvalidData as error:
        raise InvalidData(f"cannot update {name_of(stored)}: {error} {_HELP}") from error
    return names


class Saying:
    """In this block the form in which an object writes some fields is the one to be stored.

    Args:
        stored: The object, which is compared with what is there.
        names: The stored names of the fields.
    """

    def __init__(self, stored: Stored, names: frozenset[str]) -> None:
        self._stored = stored
        self._names = names

    def __enter__(self) -> None:
        own_state(self._stored).said = self._names

    def __exit__(self, *error: object) -> None:
        own_state(self._stored).said = frozenset()


def _own_names(stored: Stored) -> frozenset[str]:
    """The stored names of what an object says itself: all that it was given.

    A default is for new objects, and so is what a hook makes where nothing was given: neither says
    anything of what is there, unless it was changed.
    """
    given = {name for name in names_of(type(stored)) if is_given(stored, name)}
    return frozenset(given | extra_of(stored).keys() | unsaved(stored)) - NOT_DATA


def say_defaults(stored: Stored) -> None:
    """Let an object say its defaults, too: a collection that is to be equal to it has them.

    None, and what a factory makes, say nothing of what is there: such a default is for new objects.
    """
    stored.__pydantic_fields_set__.update(
        name
        for name, field in type(stored).model_fields.items()
        if name in stored.__dict__
        and field.default is not None
        and field.default is not PydanticUndefined
    )


def stamps_in(stored: Stored, raw: Mapping[str, Any]) -> frozenset[str]:
    """The stored names of what the server wrote into the data, here or where it was loaded.

    Where a collection has a JSON schema, Kinto adds its timestamp to each record, as `schema`. A
    field that a program stores under this name holds something else.
    """
    sides = (extra_of(stored), stored.last_modified or 0), (raw, raw.get("last_modified", 0))
    made = stored.__kinto_server_made__ - NOT_DATA - names_of(type(stored)).keys()
    return frozenset(
        name for name in made for data, latest in sides if _is_stamp(data.get(name), latest)
    )


def _is_stamp(value: object, latest: int) -> bool:
    return type(value) is int and _FIRST_STAMP < value <= latest
