"""What is written with less than it holds is refused, instead of being lost.

Pydantic writes secrets as asterisks, and an instance of a subclass with the fields of the declared
class only. And some fields of a class could never be read from where they are stored.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, get_args, get_origin

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    PlainSerializer,
    SerializeAsAny,
    WrapSerializer,
)
from pydantic.fields import FieldInfo
from typing_extensions import TypeAliasType

from kinto_orm.errors import InvalidData, ModelError
from kinto_orm.models.declaring import is_link, stored_name
from kinto_orm.models.stored import Stored
from kinto_orm.models.veiling import SECRETS

_OWN_WAY = (PlainSerializer, WrapSerializer, SerializeAsAny)

Lossy = dict[str, frozenset[type[BaseModel]]]
"""The fields whose values have to be looked at, with the models that they declare."""


def refuse_unread_fields(model: type[BaseModel]) -> None:
    """Refuse a field that is not read from where it is stored, or of which the server loses a part.

    Raises:
        ModelError: It says what to write.
    """
    for name, info in model.model_fields.items():
        if _is_ordered(info.annotation):
            raise ModelError(
                f"{model.__name__}.{name} is an OrderedDict, but the server does not keep the "
                "order of names: declare a dict, or a list of pairs, whose order is kept"
            )
        if info.exclude and info.is_required():
            raise ModelError(
                f"{model.__name__}.{name} is required, but never stored (exclude=True), so that "
                "what is saved could not be loaded: give it a default, leave exclude out, or make "
                "it a PrivateAttr"
            )
        stored = stored_name(name, info)
        if stored not in (name, *_read_from(info)) and not info.exclude:
            raise ModelError(
                f"{model.__name__}.{name} is stored as {stored!r}, but not read from there: give "
                f"it an alias ({name}: ... = Field(alias={stored!r})), or validation_alias="
                f"{stored!r} too"
            )


@lru_cache(maxsize=1000)
def read_earlier(model: type[BaseModel]) -> dict[str, list[str]]:
    """By field: the names in a record that are read before that under which it is stored."""
    found = {}
    for name, info in model.model_fields.items():
        stored, earlier = stored_name(name, info), list[str]()
        for each in _read_from(info):
            if each == stored:
                break
            earlier.append(_first(each))
        if earlier:
            found[name] = earlier
    return found


def names_read(info: FieldInfo) -> set[str]:
    """The names in a record that a field is read from, besides that under which it is stored."""
    return set(map(_first, _read_from(info)))


def older_names(model: type[BaseModel]) -> frozenset[str]:
    """The names in a record that are read as a field which is stored under another name."""
    fields = model.model_fields
    read = {each for info in fields.values() for each in _read_from(info) if isinstance(each, str)}
    return frozenset(read - {stored_name(name, info) for name, info in fields.items()})


def _first(alias: str | AliasPath) -> str:
    return str(alias.path[0]) if isinstance(alias, AliasPath) else alias


def _is_ordered(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return origin is OrderedDict or any(map(_is_ordered, get_args(annotation)))


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
    if id(annotation) in seen or is_link(annotation):
        return None
    seen.add(id(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    if isinstance(annotation, type) and issubclass(annotation, SECRETS):
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
        owner: What it is called in the message; by default by its class, and its id if it has one.

    Raises:
        InvalidData: It says how the field is written in full.
    """
    values = model.__dict__
    for name, declared in lossy_fields(type(model)).items():
        whole = values.get(name)
        kind: Any = type(whole)
        if whole is None or (kind in declared and not lossy_fields(kind)):
            continue
        owner = owner or _title(model)
        for value in parts(whole):
            if is_secret(value):
                raise InvalidData(
                    f"{owner} cannot be saved: {name} is a {type(value).__name__}, which is "
                    "written as asterisks. Give the field a serializer of its own: "
                    f"@field_serializer({name!r}, when_used='json'). Nothing was sent."
                )
            if isinstance(value, BaseModel):
                _refuse_more_than_declared(owner, name, type(value), declared)
                if lossy_fields(type(value)):
                    refuse_loss(value, f"{owner}.{name}")


def _title(model: BaseModel) -> str:
    named = f" {model.__dict__['id']!r}" if isinstance(model, Stored) else ""
    return type(model).__name__ + named


def is_secret(value: object) -> bool:
    """Whether Pydantic writes this as asterisks."""
    return isinstance(value, SECRETS)


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


def parts(value: Any) -> Iterator[Any]:
    """A value, or what a container holds."""
    if isinstance(value, dict):
        for each in value.values():
            yield from parts(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from parts(each)
    else:
        yield value
