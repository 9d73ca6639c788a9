"""What would not be read back as it is, is refused before it is sent.

What is to be stored is loaded with the model, and compared with the object.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from kinto_orm.errors import InvalidData
from kinto_orm.models.contents import dump_of, equal, in_order, name_of, same_json
from kinto_orm.models.fidelity import is_secret, parts, read_earlier
from kinto_orm.models.loading import loader_of
from kinto_orm.models.naming import names_of
from kinto_orm.models.stored import Stored
from kinto_orm.models.traits import traits_of
from kinto_orm.wire.veils import without_values

S = TypeVar("S", bound=Stored)


def refuse_unreadable(
    stored: Stored,
    values: Mapping[str, JsonValue],
    changed: Collection[str],
    whole: Callable[[], Mapping[str, JsonValue]],
) -> None:
    """Refuse to save what would not be read back as the object that is saved.

    Args:
        stored: The object.
        values: What is to be written.
        changed: The stored names of what is to be written or removed.
        whole: Gives all that the server will have of the object.

    Raises:
        InvalidData: It names the field, and says what to write.
    """
    traits = traits_of(type(stored))
    if traits.plain and not stored.__pydantic_extra__ and traits.sure.of(values, changed):
        return
    complaint = unreadable(stored, whole(), changed)
    if complaint is not None:
        raise InvalidData(f"{name_of(stored)} cannot be saved: {complaint} Nothing was sent.")


def refuse_unreadable_alone(stored: Stored, values: Mapping[str, JsonValue]) -> None:
    """Refuse to send values, without the others of an object, that would not be read back.

    Args:
        stored: Has these values only.
        values: What is to be written, by stored names.

    Raises:
        InvalidData: It names the field, and says what to write.
    """
    model, names = type(stored), names_of(type(stored))
    _refuse_untyped_loss(stored, values)
    given = names.keys() & values.keys() & traits_of(model).doubtful(values, values.keys())
    read = loader_of(model).fields(values, frozenset(names[name] for name in given))
    for name in sorted(given):
        if names[name] not in read:
            complaint: str | None = f"{names[name]} could not be loaded again."
        else:
            found = difference(stored.__dict__[names[name]], read[names[name]])
            found = _of_field(stored, names[name], found)
            sure = found is not None and found.given and not found.maybe
            complaint = _why(model, names[name], name, found, values) if sure and found else None
        complaint = _veiled(complaint, stored, values)
        if complaint is not None:
            raise InvalidData(f"{name_of(stored)} cannot be saved: {complaint} Nothing was sent.")


def unreadable(
    stored: Stored, data: Mapping[str, JsonValue], changed: Collection[str]
) -> str | None:
    """Say what would not be read back, in a sentence that ends with a full stop.

    What is to be stored is loaded with the model, and compared with the object. Models of which
    the types alone show that nothing can differ are not loaded.
    """
    traits, declared = traits_of(type(stored)), names_of(type(stored))
    _refuse_untyped_loss(stored, data)
    names = declared.keys() & traits.doubtful(data, changed)
    if not names and not (traits.entangled and changed):
        return None

    def compare() -> str | None:
        read = load_again(stored, data)
        said = (_compare(stored, read, name, data) for name in sorted(names))
        return next((each for each in said if each is not None), None)

    return complaint_of(compare, stored, data)


def complaint_of(
    act: Callable[[], str | None], stored: Stored, data: Mapping[str, JsonValue]
) -> str | None:
    """Call what loads an object again; what it says, or why that cannot be loaded.

    Args:
        act: What is called.
        stored: The object.
        data: What is loaded.
    """
    return _veiled(_said_by(act), stored, data)


def _veiled(said: str | None, stored: Stored, data: Mapping[str, JsonValue]) -> str | None:
    """The same without the values of secret fields."""
    veil = type(stored).__kinto_veil__()
    return said if said is None or veil is None else without_values(said, veil.values(data))


def _said_by(act: Callable[[], str | None]) -> str | None:
    try:
        return act()
    except ValidationError as error:
        return _unfit(error)
    except Exception as error:  # noqa: BLE001  (a validator of the model may raise anything)
        return f"it could not be loaded again: {type(error).__name__}: {error}."


def _refuse_untyped_loss(stored: Stored, data: Mapping[str, JsonValue]) -> None:
    extra = stored.__pydantic_extra__ or {}
    for name in extra:
        if extra[name] == data.get(name):
            continue
        odd = _odd_name(extra[name], data.get(name), name)
        if odd is not None:
            raise InvalidData(f"{name_of(stored)} cannot be saved: {odd} Nothing was sent.")
        if any(map(is_secret, parts(extra[name]))):
            raise InvalidData(
                f"{name_of(stored)} cannot be saved: {name} holds a secret, which is written as "
                "asterisks. Give its text (.get_secret_value()). Nothing was sent."
            )


def _odd_name(mine: Any, read: Any, path: str) -> str | None:
    """Say which name of an untyped value is no text, and not read back as it is."""
    ones, others = _named(mine), _named(read)
    if ones is None:
        if isinstance(mine, list | tuple):
            ones, others = (
                _numbered(mine),
                _numbered(read if isinstance(read, list | tuple) else ()),
            )
        else:
            return None
    elif isinstance(mine, dict):
        for name in mine.keys() - (others or {}).keys():
            if not isinstance(name, str):
                return (
                    f"{path} has the name {name!r}, which is no text: JSON has no other names, and "
                    f"two that are written alike would become one. Write {str(name)!r}."
                )
    for name, each in ones.items():
        found = _odd_name(each, (others or {}).get(name), f"{path}[{name!r}]")
        if found is not None:
            return found
    return None


def _named(value: Any) -> dict[Any, Any] | None:
    """The parts of a value that have names."""
    if isinstance(value, BaseModel):
        return _stored_parts(value, type(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name, None) for each in dataclasses.fields(value)}
    return value if isinstance(value, dict) else None


def hidden_changes(stored: S, load: Callable[[], S]) -> list[str]:
    """The stored names of fields that were changed without changing what is written.

    Args:
        stored: The object.
        load: Loads what it was.
    """
    names = traits_of(type(stored)).hiding & names_of(type(stored)).keys()
    if not names:
        return []
    then, again = load(), load()
    return sorted(name for name in names if _is_changed(stored, then, again, name))


def _is_changed(stored: Stored, then: Stored, again: Stored, name: str) -> bool:
    python_name = names_of(type(stored))[name]
    if not all(python_name in each.__dict__ for each in (stored, then, again)):
        return False
    mine, old, other = (each.__dict__[python_name] for each in (stored, then, again))
    found = _of_field(stored, python_name, difference(mine, old))
    if found is None or found.maybe:
        return False
    # What each load makes anew was never this object's own.
    return found.given or difference(old, other) is None


def load_again(stored: S, data: Mapping[str, JsonValue]) -> S:
    """What would be read if this were stored.

    Raises:
        pydantic.ValidationError: It does not fit the model; or what a validator raises.
    """
    raw = {**data, "id": stored.id, "last_modified": stored.last_modified}
    return loader_of(type(stored)).again(raw)


def _compare(stored: Stored, read: Stored, name: str, data: Mapping[str, JsonValue]) -> str | None:
    """What is wrong with a field of which this would be read."""
    python_name = names_of(type(stored))[name]
    if python_name not in stored.__dict__:
        return None
    mine = stored.__dict__[python_name]
    found = _of_field(stored, python_name, difference(mine, read.__dict__[python_name]))
    if found is None:
        return None
    if name in traits_of(type(stored)).loose:
        odd = _odd_name(mine, read.__dict__[python_name], f"{type(stored).__name__}.{python_name}")
        if odd is not None:
            return odd
    untyped = name in traits_of(type(stored)).loose and not any(map(is_secret, parts(mine)))
    if (found.maybe or untyped) and _written_alike(stored, read, name):
        return None
    if not found.given:
        # What each load makes anew was never this object's own.
        again = load_again(stored, data)
        if difference(read.__dict__[python_name], again.__dict__[python_name]) is not None:
            return None
    return _why(type(stored), python_name, name, found, data)


def _written_alike(one: Stored, other: Stored, name: str) -> bool:
    mine, theirs = dump_of(one), dump_of(other)
    return (
        name in mine and name in theirs and same_json(in_order(mine[name]), in_order(theirs[name]))
    )


def _unfit(error: ValidationError) -> str | None:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return None  # the encoder says it better
    where = ".".join(str(part) for part in first["loc"][1:])
    field = f"{where} " if where else "it "
    return f"{field}could not be loaded again: {first['msg']}."


def _why(
    model: type[Stored],
    name: str,
    stored: str,
    found: Difference,
    data: Mapping[str, JsonValue],
) -> str:
    info = model.model_fields[name]
    where = f"{model.__name__}.{name}{found.path}"
    if info.exclude and not found.path:
        return (
            f"{where} is never stored (exclude=True), so that its value would be lost. Leave "
            "exclude out to store it, or make it a PrivateAttr to keep it in this program only."
        )
    for first in read_earlier(model).get(name, ()):
        if first in data:
            return (
                f"{where} is stored as {stored!r}, but this record has {first!r} too, which is "
                "read first: what is saved would not be seen again. Read the new name first: "
                f"validation_alias=AliasChoices({stored!r}, {first!r}), serialization_alias="
                f"{stored!r}."
            )
    if found.kinds:
        return (
            f"{where} is {_a(found.kinds[0])}, and would be read back as {_a(found.kinds[1])}. "
            "Give a union a discriminator, or the field a serializer and a validator that fit "
            "together."
        )
    return (
        f"{where} would be read back with another value. A validator, a serializer, an alias or "
        "exclude=True in its type changes it: what is written has to be read as the same."
    )


def _a(kind: type) -> str:
    if kind is NoneType:
        return "None"
    return f"{'an' if kind.__name__[0] in 'aeiouAEIOU' else 'a'} {kind.__name__}"


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two values differ.

    Attributes:
        path: The way to the first difference, such as ".address.city" or "[0]".
        kinds: The types of what is there, if these differ.
        maybe: Whether they are of a type that tells nobody when two of it are equal.
        given: Whether it was given to a field that is never stored.
    """

    path: str
    kinds: tuple[type, type] | None = None
    maybe: bool = False
    given: bool = False


def difference(mine: Any, read: Any, path: str = "") -> Difference | None:
    """Where two values differ, by what is stored of them: not by private attributes."""
    if mine is read:
        return None
    same = equal(mine, read)
    if same:
        return _other_truth(mine, read, path)
    if type(mine) is not type(read) and not _is_declared_base(mine, read):
        return Difference(path, (type(mine), type(read)))
    if same is None:
        return Difference(path, maybe=True)
    inside = _inside(mine, read)
    if inside is None:
        return Difference(path)
    for step, one, other in inside:
        found = difference(one, other, path + step)
        if found is not None:
            return _of_field(mine, step[1:], found)
    return None


def _other_truth(mine: Any, read: Any, path: str) -> Difference | None:
    """Where equal values have true or false in the place of a number: JSON tells them apart."""
    if isinstance(mine, bool) != isinstance(read, bool):
        return Difference(path, (type(mine), type(read)))
    for step, one, other in _inside(mine, read) or ():
        found = difference(one, other, path + step)
        if found is not None:
            return found
    return None


def _of_field(model: Any, name: str, found: Difference | None) -> Difference | None:
    """The same, with what is known of the field of a model in which it was found."""
    info = type(model).model_fields.get(name) if isinstance(model, BaseModel) else None
    if found is None or info is None or not info.exclude or name not in model.model_fields_set:
        return found
    return dataclasses.replace(found, given=True)


def _is_declared_base(mine: object, read: object) -> bool:
    """Whether an object of a subclass is read as one of the declared class.

    Where a part of it would not be written, it was refused before.
    """
    return isinstance(read, BaseModel) and isinstance(mine, type(read))


def _inside(mine: Any, read: Any) -> Iterable[tuple[str, Any, Any]] | None:
    """The parts of two values of a type side by side; None when they have none, or others."""
    if isinstance(mine, BaseModel):
        ones, others = _stored_parts(mine, type(read)), _stored_parts(read, type(read))
        step = ".{}"
    elif dataclasses.is_dataclass(mine):
        fields = [each.name for each in dataclasses.fields(mine)]
        ones, others = ({n: getattr(of, n, None) for n in fields} for of in (mine, read))
        step = ".{}"
    elif isinstance(mine, dict):
        ones, others, step = mine, read, "[{!r}]"
    elif isinstance(mine, list | tuple):
        ones, others, step = _numbered(mine), _numbered(read), "[{}]"
    elif isinstance(mine, set | frozenset):
        ones, others, step = {each: each for each in mine}, {each: each for each in read}, "[{!r}]"
    else:
        return None
    if ones.keys() != others.keys():
        return None
    return [(step.format(key), value, others[key]) for key, value in ones.items()]


def _numbered(items: Iterable[Any]) -> dict[Any, Any]:
    return dict(enumerate(items))


def _stored_parts(model: BaseModel, declared: type[BaseModel]) -> dict[str, Any]:
    names = declared.model_fields
    held = {name: value for name, value in model.__dict__.items() if name in names}
    # What a subclass adds may be an extra field of the declared class.
    return held | (model.__pydantic_extra__ or {}) if type(model) is declared else held
