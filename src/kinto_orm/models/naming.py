"""Which names a model takes for fields, from constructors, assignments and conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kinto_orm.errors import InvalidData
from kinto_orm.models.declaring import (
    accepted_names,
    computed_names,
    refuse_unknown,
    stored_name,
    suggestion,
)

Model = Any
"""A class of stored objects: `type[Stored]`, which is built on this."""

RESERVED = {
    "__permissions__": "the server takes it for the permissions; give permissions=... instead",
    "deleted": "the server takes an object with it for a tombstone; choose another name, such "
    "as 'removed'",
}


def cached(model: Model, key: str, make: Callable[[], Any]) -> Any:
    """What is known of a class, made when it is first asked for."""
    cache = model.__kinto_cache__
    if key not in cache:
        cache[key] = make()
    return cache[key]


def names_of(model: Model) -> dict[str, str]:
    """Stored name to Python name, for all declared fields."""
    found: dict[str, str] | None = model.__kinto_cache__.get("names")
    return cached(model, "names", lambda: _names(model)) if found is None else found


def _names(model: Model) -> dict[str, str]:
    return {stored_name(name, info): name for name, info in model.model_fields.items()}


def field_of(model: Model, name: str) -> str | None:
    """The declared field with this Python name or stored name."""
    return name if name in model.model_fields else names_of(model).get(name)


def field_names(model: Model) -> set[str]:
    """Every name by which a constructor takes a declared field."""
    return cached(model, "accepted", lambda: _accepted(model))  # type: ignore[no-any-return]


def _accepted(model: Model) -> set[str]:
    names = (accepted_names(name, info) for name, info in model.model_fields.items())
    return set().union(*names) - RESERVED.keys()


def is_unknown(model: Model, name: str) -> bool:
    """Whether a field of this name is refused from outside."""
    if name in field_names(model):
        return False
    return not model.__kinto_open__ or name in computed_names(model)


def refuse_undeclared(model: Model, given: Mapping[str, Any]) -> None:
    """Refuse fields that a model does not take.

    Raises:
        pydantic.ValidationError: It names each of them, and one that was perhaps meant.
        InvalidData: The server takes one of them for something else.
    """
    if given.keys() <= field_names(model):
        return
    refuse_reserved(model, given)
    unknown = {name: given[name] for name in given if is_unknown(model, name)}
    if unknown:
        refuse_unknown(model, unknown)


def refuse_reserved(model: Model, names: Iterable[str]) -> None:
    """Refuse names that the server takes for something else than a field.

    Raises:
        InvalidData: There is one among them.
    """
    if RESERVED.keys().isdisjoint(names):
        return
    for name in RESERVED.keys() & set(names):
        raise InvalidData(f"{model.__name__} cannot have a field {name!r}: {RESERVED[name]}")


def check_stored_name(model: Model, stored: str) -> None:
    """Refuse a stored name in a condition that a typed model does not declare.

    Raises:
        InvalidData: It does not declare it.
    """
    known = names_of(model)
    if not model.__kinto_open__ and stored not in known:
        raise InvalidData(
            f"{model.__name__} has no field stored as {stored!r}{suggestion(stored, known)}. "
            "Nothing was sent."
        )
