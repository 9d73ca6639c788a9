"""What cannot come back from the server as it was sent is refused, instead of being lost.

Pydantic writes some values with less than they hold: secrets as asterisks, and an instance of
a subclass with the fields of the declared class only. And a field whose old name is read first
would hide what was saved under its new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, get_args

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    SerializeAsAny,
    WrapSerializer,
)
from pydantic.fields import FieldInfo
from typing_extensions import TypeAliasType

from kinto_orm.errors import InvalidData, ModelError
from kinto_orm.metaclass import stored_name

_SECRETS = (Secret, SecretStr, SecretBytes)
_OWN_WAY = (PlainSerializer, WrapSerializer, SerializeAsAny)

Lossy = dict[str, frozenset[type[BaseModel]]]
"""The fields whose values have to be looked at, with the models that they declare."""


def refuse_unread_names(model: type[BaseModel]) -> None:
    """Refuse a field that is stored under a name from which it is not read.

    Raises:
        ModelError: It says what to write.
    """
    for name, info in model.model_fields.items():
        stored = stored_name(name, info)
        if stored not in (name, *_read_from(info)) and not info.exclude:
            raise ModelError(
                f"{model.__name__}.{name} is stored as {stored!r}, but not read from there: give "
                f"it an alias ({name}: ... = Field(alias={stored!r})), or validation_alias="
                f"{stored!r} too"
            )


def refuse_hidden(model: type[BaseModel], changed: Iterable[str], raw: Mapping[str, Any]) -> None:
    """Refuse to save a field over which the record has an older name, which is read first.

    Args:
        model: The model.
        changed: The stored names of what is to be saved.
        raw: What is stored.

    Raises:
        InvalidData: It says what to write.
    """
    for name, (stored, earlier) in _read_earlier(model).items():
        for first in earlier if stored in changed else ():
            if first in raw:
                raise InvalidData(
                    f"{model.__name__}.{name} is stored as {stored!r}, but this record has "
                    f"{first!r} too, which is read first: what is saved would not be seen again. "
                    f"Read the new name first: validation_alias=AliasChoices({stored!r}, "
                    f"{first!r}), serialization_alias={stored!r}. Nothing was sent."
                )


@lru_cache(maxsize=1000)
def _read_earlier(model: type[BaseModel]) -> dict[str, tuple[str, list[str]]]:
    """By field: its stored name, and the names in a record that are read before that one."""
    found = {}
    for name, info in model.model_fields.items():
        stored, earlier = stored_name(name, info), list[str]()
        for each in _read_from(info):
            if each == stored:
                break
            earlier.append(str(each.path[0]) if isinstance(each, AliasPath) else each)
        if earlier:
            found[name] = (stored, earlier)
    return found


def _read_from(info: FieldInfo) -> list[str | AliasPath]:
    """Where a value is looked for, before the field's own name."""
    alias = info.validation_alias
    if alias is None:
        return []
    return alias.choices if isinstance(alias, AliasChoices) else [alias]


@lru_cache(maxsize=1000)
def lossy_fields(model: type[BaseModel]) -> Lossy:
    """The fields of a model in whose values something may be lost, as far as their types tell."""
    decorators = model.__pydantic_decorators__
    if decorators.model_serializers:
        return {}
    serialized = {
        name for each in decorators.field_serializers.values() for name in each.info.fields
    }
    return {
        name: frozenset(models)
        for name, info in model.model_fields.items()
        if not (info.exclude or name in serialized or "*" in serialized)
        and not any(isinstance(each, _OWN_WAY) for each in info.metadata)
        and (models := _models(info.annotation, set())) is not None
    }


def _models(annotation: Any, seen: set[int]) -> set[type[BaseModel]] | None:
    """The models in a type; None when it has neither models nor secrets."""
    if isinstance(annotation, TypeAliasType):
        annotation = annotation.__value__
    if id(annotation) in seen:
        return None
    seen.add(id(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    if isinstance(annotation, type) and issubclass(annotation, _SECRETS):
        return set()
    if any(isinstance(each, _OWN_WAY) for each in get_args(annotation)):
        return None
    found = [_models(each, seen) for each in get_args(annotation)]
    held = [each for each in found if each is not None]
    return set().union(*held) if held else None


def refuse_loss(model: BaseModel, owner: str | None = None) -> None:
    """Refuse values of which a part would not be written.

    Args:
        model: The object, or one inside of it.
        owner: What it is called in the message; by default by its class.

    Raises:
        InvalidData: It says how the field is written in full.
    """
    values = model.__dict__
    owner = owner or type(model).__name__
    for name, declared in lossy_fields(type(model)).items():
        whole = values.get(name)
        kind: Any = type(whole)
        if whole is None or (kind in declared and not lossy_fields(kind)):
            continue
        for value in _parts(whole):
            if isinstance(value, _SECRETS):
                raise InvalidData(
                    f"{owner} cannot be saved: {name} is a {type(value).__name__}, which is "
                    "written as asterisks. Give the field a serializer of its own: "
                    f"@field_serializer({name!r}, when_used='json'). Nothing was sent."
                )
            if isinstance(value, BaseModel):
                _refuse_more_than_declared(owner, name, type(value), declared)
                if lossy_fields(type(value)):
                    refuse_loss(value, f"{owner}.{name}")


def _refuse_more_than_declared(
    owner: str, name: str, model: type[BaseModel], declared: Iterable[type[BaseModel]]
) -> None:
    bases = [each for each in declared if issubclass(model, each)]
    if not bases or model in bases:
        return
    lost = model.model_fields.keys() - set().union(*(each.model_fields.keys() for each in bases))
    if lost:
        raise InvalidData(
            f"{owner} cannot be saved: {name} holds a {model.__name__} where "
            f"{bases[0].__name__} is declared, so that {', '.join(sorted(lost))} would not be "
            f"written. Declare it as {bases[0].__name__} | {model.__name__}, or as "
            f"SerializeAsAny[{bases[0].__name__}]. Nothing was sent."
        )


def _parts(value: Any) -> Iterator[Any]:
    """A value, or what a container holds."""
    if isinstance(value, dict):
        for each in value.values():
            yield from _parts(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _parts(each)
    else:
        yield value
