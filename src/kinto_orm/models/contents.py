"""What an object holds, how that is written as JSON, and what changed since it was loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, SecretStr
from pydantic_core import PydanticSerializationError

from kinto_orm.errors import InvalidData
from kinto_orm.models.fidelity import lossy_fields, refuse_loss
from kinto_orm.models.links import read_items
from kinto_orm.models.loading import without
from kinto_orm.models.naming import names_of
from kinto_orm.models.state import state_of
from kinto_orm.models.stored import NOT_DATA, Stored
from kinto_orm.models.traits import traits_of
from kinto_orm.wire.floats import is_kept
from kinto_orm.wire.jsonvalues import TOO_DEEP, alike, as_stored, is_beyond

_NOT_DATA = set(NOT_DATA)
# As Pydantic names them in its complaints.
_FIELD_NAME = re.compile(r"field_name='([^']*)'")

Held = tuple[dict[str, Any], set[str], dict[str, Any]]
"""All values of an object: its fields, the names of those that were given, and the others."""


def name_of(stored: Stored) -> str:
    """How messages call an object: "Todo 'x'"."""
    return stored.__kinto_name__


def dump_of(stored: Stored) -> dict[str, JsonValue]:
    """The data as JSON, by stored names.

    What was put into lists of links is links from then on.

    Raises:
        InvalidData: It cannot be written, or less would be written than there is.
    """
    model = type(stored)
    read_items(stored)
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
        raise _unwritten(stored, error) from _cause(model, error)
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


def _unwritten(stored: Stored, error: Exception) -> InvalidData:
    """What to raise of an object that cannot be written as JSON."""
    why = f"written as JSON: {error}"
    if "serialization depth" in str(error):
        why = f"stored: {TOO_DEEP}"
    elif type(stored).__kinto_veil__() is not None:
        # Pydantic says the values, which may be those of secret fields.
        names = dict.fromkeys(_FIELD_NAME.findall(str(error)))
        why = (
            f"written as JSON ({type(error).__name__}): look at {', '.join(names) or 'its fields'}"
        )
    return InvalidData(f"{name_of(stored)} cannot be {why}. Nothing was sent.")


def _cause(model: type[Stored], error: Exception) -> Exception | None:
    """What is chained to an error; None where it may say values of secret fields."""
    return error if model.__kinto_veil__() is None else None


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


def fits(stored: Stored, raw: Mapping[str, Any], expected: Mapping[str, JsonValue]) -> bool:
    """Whether stored data is what was sent, but for what the server makes."""
    if not stored.__kinto_secrets__.isdisjoint(expected):
        return False  # whether a stored hash is that of a password cannot be told
    made = stored.__kinto_server_made__
    return alike(without(raw, made), without(expected, made))


def shows(stored: Stored, raw: Mapping[str, Any], expected: Mapping[str, JsonValue]) -> bool:
    """Whether stored data has all that was sent, as it was sent; the server may have added more."""
    left_out = stored.__kinto_server_made__ | stored.__kinto_secrets__
    return all(
        name in raw and alike(raw[name], value)
        for name, value in expected.items()
        if name not in left_out
    )


# What changed


@dataclass(frozen=True, slots=True)
class Changes:
    """Changed and removed top-level fields, by stored names.

    Attributes:
        changed: The new values as JSON.
        removed: What is to be taken away.
    """

    changed: dict[str, JsonValue]
    removed: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)

    @property
    def names(self) -> set[str]:
        """Every name that is not as it was."""
        return set(self.changed) | self.removed

    def with_stamp(self, stamp: Mapping[str, int]) -> Changes:
        """The same, with a timestamp that is to be stored."""
        return Changes({**self.changed, **stamp}, self.removed) if stamp else self

    def applied_to(self, raw: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """What the server has once they are saved."""
        return {name: each for name, each in raw.items() if name not in self.removed} | self.changed

    def operations(self) -> list[dict[str, Any]]:
        """As JSON-Patch operations; `add` on an object sets or replaces a member (RFC 6902)."""
        added = [
            {"op": "add", "path": _pointer(name), "value": value}
            for name, value in self.changed.items()
        ]
        return added + [{"op": "remove", "path": _pointer(name)} for name in sorted(self.removed)]


def _pointer(name: str) -> str:
    return "/data/" + name.replace("~", "~0").replace("/", "~1")


def find_changes(
    now: Stored, load: Callable[[], Stored], raw: dict[str, Any], said: frozenset[str]
) -> Changes:
    """What has to be sent so that the server has what the object has.

    Args:
        now: The object.
        load: Loads the same again from what the server sent.
        raw: What the server sent.
        said: The stored names of which the object's own form is to be stored.
    """
    new = dump_of(now)
    suspects = _unlike(new, raw)
    if not suspects and raw.keys() <= new.keys():
        return Changes({}, frozenset())
    pristine = load()
    old = dump_at_load(pristine)
    found = {
        name: restored(value, old.get(name), raw.get(name))
        for name, value in suspects.items()
        if (name in said and not _is_form(now, pristine, name, value, raw))
        or _newly_given(now, pristine, name, raw)
        or (
            not (name in old and _same_field(now, pristine, name, old[name], value))
            and not _untouched_default(now, name, value, raw)
        )
    }
    # What is read as another field is no field of the object.
    others = said - names_of(type(now)).keys()
    removed = frozenset(name for name in (*old, *others) if name not in new and name in raw)
    return Changes(_unlike(found, raw), removed)


def unlike(one: Mapping[str, JsonValue], other: Mapping[str, JsonValue]) -> set[str]:
    """The names whose JSON values differ."""
    return {
        name
        for name in one.keys() | other.keys()
        if name not in one or name not in other or not same_json(one[name], other[name])
    }


def _unlike(values: dict[str, JsonValue], raw: dict[str, Any]) -> dict[str, JsonValue]:
    """The values that are not stored already."""
    return {
        name: value
        for name, value in values.items()
        if name not in raw or not is_kept(value, raw[name])
    }


def differing(one: Stored, other: Stored) -> set[str]:
    """The stored names whose values differ between two objects of one model."""
    try:
        mine = dump_of(one)
    except InvalidData:
        mine = {}
    theirs = dump_of(other)
    names = mine.keys() | theirs.keys() | _left_out(one, theirs)
    hiding = traits_of(type(one)).hiding
    return {
        name
        for name in names
        if (name in mine) != (name in theirs)
        or name not in mine
        or not _same_field(one, other, name, mine[name], theirs[name])
        or (name in hiding and not equal(value_of(one, name), value_of(other, name)))
    }


def _left_out(model: Stored, dumped: dict[str, JsonValue]) -> set[str]:
    """Stored names of fields that dumps leave out (`exclude=True`)."""
    return set(names_of(type(model))) - dumped.keys() - NOT_DATA


def _same_field(one: Stored, other: Stored, name: str, mine: JsonValue, theirs: JsonValue) -> bool:
    if same_json(mine, theirs):
        return True
    # Sets have no order, their dumps have one.
    return bool(value_of(one, name) == value_of(other, name)) and same_json(
        in_order(mine), in_order(theirs)
    )


def _is_form(
    now: Stored, pristine: Stored, name: str, value: JsonValue, raw: Mapping[str, Any]
) -> bool:
    """Whether a value is stored as the object writes it, whatever the server makes of numbers."""
    if name not in raw:
        return False
    there = as_stored(raw[name])
    if is_kept(value, there, like=True):
        return True
    # Sets have no order.
    is_equal = equal(value_of(now, name), value_of(pristine, name)) is True
    return is_equal and is_kept(in_order(value), in_order(there), like=True)


def _newly_given(now: Stored, pristine: Stored, name: str, raw: dict[str, Any]) -> bool:
    """Whether a field that the server lacks was given a value, be it that of its default."""
    if name in raw:
        return False
    python_name = names_of(type(now)).get(name)
    return python_name in now.model_fields_set and python_name not in pristine.model_fields_set


def _untouched_default(now: Stored, name: str, value: JsonValue, raw: dict[str, Any]) -> bool:
    """Whether this is a default that a factory made anew, for a field that the server lacks.

    Containers may have been changed in place, so that they are sent when they differ.
    """
    python_name = names_of(type(now)).get(name)
    return (
        name not in raw
        and python_name is not None
        and python_name not in now.model_fields_set
        and not isinstance(value, dict | list)
    )


def equal(one: object, other: object) -> bool | None:
    """Whether two values are equal; None when nobody can tell."""
    try:
        # Of NaN the encoder says it better.
        if one == other or (one != one and other != other):
            return True
    except Exception:  # noqa: BLE001  (arrays have no truth value)
        return None
    return None if type(one).__eq__ is object.__eq__ else False


def same_json(one: JsonValue, other: JsonValue) -> bool:
    """Whether two JSON values are the same; unlike in Python, 1 is neither True nor 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(  # type: ignore[union-attr]
            same_json(value, other[name])  # type: ignore[call-overload, index]
            for name, value in one.items()
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_json, one, other))  # type: ignore[arg-type]
    return one == other


def restored(new: JsonValue, old: JsonValue, stored: JsonValue) -> JsonValue:
    """A value as it is to be sent, with all of the stored one that its model does not show.

    That is what the models inside of it do not declare, and floats that PostgreSQL gave back as
    integers too large to be sent.

    Args:
        new: What the object has.
        old: The same before it was changed.
        stored: What the server sent.
    """
    floats = _large_integers(stored)
    if floats:
        new = _as_floats(new, floats)
    return new if same_json(old, stored) else _completed(new, old, stored)


def _completed(new: JsonValue, old: JsonValue, stored: JsonValue) -> JsonValue:
    if isinstance(new, dict) and isinstance(old, dict) and isinstance(stored, dict):
        hidden = {name: stored[name] for name in stored.keys() - old.keys() - new.keys()}
        return hidden | {
            name: _completed(value, old.get(name), stored.get(name)) for name, value in new.items()
        }
    if isinstance(new, list) and isinstance(old, list) and isinstance(stored, list):
        return [
            item if place is None else _completed(item, old[place], stored[place])
            for item, place in zip(new, _former_places(new, old, stored), strict=True)
        ]
    return new


def _former_places(
    new: list[JsonValue], old: list[JsonValue], stored: list[JsonValue]
) -> list[int | None]:
    """Where each item of a list was before, as far as that can be told.

    An item that did not change is found again wherever it is. Of a list that did not get shorter
    the others are taken to be at their old places, or in their old order.
    """
    if len(old) != len(stored):
        return [None] * len(new)
    left = list(range(len(old)))
    places: list[int | None] = [_take(left, old, item) for item in new]
    if len(new) < len(old):
        return places
    for here, place in enumerate(places):
        if place is None and here in left:
            left.remove(here)
            places[here] = here
    if places.count(None) == len(left):
        return [left.pop(0) if place is None else place for place in places]
    return places


def _take(left: list[int], old: list[JsonValue], item: JsonValue) -> int | None:
    """Take the place of an equal item from those that are left."""
    for place in left:
        if same_json(old[place], item):
            left.remove(place)
            return place
    return None


def _large_integers(value: JsonValue) -> set[int]:
    """The integers of a stored value that were floats when they were sent."""
    if isinstance(value, dict):
        return set().union(*map(_large_integers, value.values()))
    if isinstance(value, list):
        return set().union(*map(_large_integers, value))
    return {value} if isinstance(value, int) and is_beyond(value) else set()


def _as_floats(value: JsonValue, floats: set[int]) -> JsonValue:
    if isinstance(value, dict):
        return {name: _as_floats(item, floats) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_floats(item, floats) for item in value]
    return float(value) if type(value) is int and value in floats else value


def in_order(value: JsonValue) -> JsonValue:
    """The same with every list in an order of its own, as for sets that have none."""
    if isinstance(value, dict):
        return {name: in_order(item) for name, item in value.items()}
    if isinstance(value, list):
        return sorted((in_order(item) for item in value), key=repr)
    return value
