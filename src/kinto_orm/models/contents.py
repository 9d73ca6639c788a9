"""What an object holds: its values, how they are written, and what the server sent of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue, SecretStr
from pydantic_core import PydanticSerializationError

from kinto_orm.errors import InvalidData
from kinto_orm.models.fidelity import lossy_fields, refuse_loss
from kinto_orm.models.loading import without
from kinto_orm.models.naming import names_of
from kinto_orm.models.state import state_of
from kinto_orm.models.stored import NOT_DATA, Stored
from kinto_orm.wire.jsonvalues import alike

_NOT_DATA = set(NOT_DATA)

Held = tuple[dict[str, Any], set[str], dict[str, Any]]
"""All values of an object: its fields, the names of those that were given, and the others."""


def name_of(stored: Stored) -> str:
    """How messages call an object: "Todo 'x'"."""
    return stored.__kinto_name__


def dump_of(stored: Stored) -> dict[str, JsonValue]:
    """The data as JSON, by stored names.

    Raises:
        InvalidData: It cannot be written, or less would be written than there is.
    """
    model = type(stored)
    if lossy_fields(model):
        refuse_loss(stored)
    try:
        data: dict[str, JsonValue] = _dumper(model)(
            stored,
            mode="json",
            by_alias=True,
            exclude=_NOT_DATA,
            exclude_computed_fields=True,
            warnings="error",
        )
    except (PydanticSerializationError, TypeError, ValueError) as error:
        raise InvalidData(
            f"{name_of(stored)} cannot be written as JSON: {error}. Nothing was sent."
        ) from error
    if not isinstance(data, dict):
        raise InvalidData(
            f"{name_of(stored)} cannot be saved: the serializer of its model gives no object of "
            "JSON, which a record is. Nothing was sent."
        )
    # A serializer of the model's own excludes nothing.
    unwanted = NOT_DATA | model.__kinto_figures__
    if not data.keys().isdisjoint(unwanted):
        data = without(data, unwanted)
    for name in model.__kinto_secrets__:
        secret = getattr(stored, name)
        if isinstance(secret, SecretStr):
            data[name] = secret.get_secret_value()
    return data


def _dumper(model: type[Stored]) -> Any:
    """What dumps an object: Pydantic's serializer, unless the program has a way of its own."""
    found = model.__kinto_cache__.get("dumper")
    if found is None:
        is_ours = model.model_dump.__module__.startswith("kinto_orm.")
        model.model_rebuild()
        found = model.__pydantic_serializer__.to_python if is_ours else model.model_dump
        model.__kinto_cache__["dumper"] = found
    return found


def dump_at_load(pristine: Stored) -> dict[str, JsonValue]:
    """How a pristine object was written when it was loaded."""
    source = state_of(pristine).source
    kept = None if source is None else source.dump(pristine.id)
    return dump_of(pristine) if kept is None else kept


def raw_of(stored: Stored) -> dict[str, Any]:
    """What the server has, without id and last_modified."""
    source = state_of(stored).source
    return {} if source is None else without(source.raw(stored.id), NOT_DATA)


def value_of(stored: Stored, name: str) -> Any:
    """The value that is stored under a name; None when there is none."""
    field = names_of(type(stored)).get(name, name)
    return stored.__dict__.get(field, (stored.__pydantic_extra__ or {}).get(name))


def is_given(stored: Stored, name: str) -> bool:
    """Whether the field that is stored under a name was given a value."""
    return names_of(type(stored)).get(name) in stored.__pydantic_fields_set__


def extra_of(stored: Stored) -> dict[str, Any]:
    """The fields that are not declared, to be read and written."""
    if stored.__pydantic_extra__ is None:
        object.__setattr__(stored, "__pydantic_extra__", {})
    return stored.__pydantic_extra__  # type: ignore[return-value]


def held_by(stored: Stored) -> Held:
    """All values, to go back to."""
    given = stored.__pydantic_fields_set__.copy()
    return stored.__dict__.copy(), given, dict(extra_of(stored))


def go_back(stored: Stored, held: Held) -> None:
    """Let an object have the values again that it had."""
    values, given, extra = held
    object.__setattr__(stored, "__dict__", values)
    object.__setattr__(stored, "__pydantic_fields_set__", given)
    object.__setattr__(stored, "__pydantic_extra__", extra)


def stamp(stored: Stored, raw: Mapping[str, Any]) -> None:
    """Take the id and the timestamp that the server says."""
    stored.__dict__["id"] = raw["id"]
    stored.__dict__["last_modified"] = raw["last_modified"]


def is_new(stored: Stored) -> bool:
    """Whether it was never saved nor loaded."""
    state = state_of(stored)
    if state.source is None:
        return not state.gone
    # A copy may have been given another id.
    return not state.source.knows(stored.id)


def fits(stored: Stored, raw: Mapping[str, Any], expected: Mapping[str, JsonValue]) -> bool:
    """Whether stored data is what was sent, but for what the server makes."""
    if not stored.__kinto_secrets__.isdisjoint(expected):
        return False  # whether a stored hash is that of a password cannot be told
    made = stored.__kinto_server_made__
    return alike(without(raw, made), without(expected, made))
