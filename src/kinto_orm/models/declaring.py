"""The names that a class declares for its fields, and those that it must not."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic import (
    AliasChoices,
    BaseModel,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticUndefined
from typing_extensions import TypeAliasType

from kinto_orm.errors import ModelError


def suggestion(name: str, known: Iterable[str]) -> str:
    """A question such as "; did you mean 'title'?", or nothing."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown_field(model: Any, name: str) -> PydanticCustomError:
    """What is wrong with a field that a model does not take."""
    if name in computed_names(model):
        return PydanticCustomError(
            "computed_field",
            "{model} computes this field: it cannot be given",
            {"model": model.__name__},
        )
    return PydanticCustomError(
        "unknown_field",
        "{model} has no such field{hint}",
        {"model": model.__name__, "hint": suggestion(name, model.model_fields)},
    )


def refuse_unknown(model: Any, names: Mapping[str, object]) -> None:
    """Raise the error for fields that a typed model does not declare.

    Raises:
        pydantic.ValidationError: Always; it names each field, and one that was perhaps meant.
    """
    raise ValidationError.from_exception_data(
        model.__name__,
        [
            InitErrorDetails(type=unknown_field(model, name), loc=(name,), input=value)
            for name, value in names.items()
        ],
        hide_input=bool(model.model_config.get("hide_input_in_errors")),
    )


def refuse_other_identity(model: type[BaseModel]) -> None:
    """Refuse an id that is no text, and a timestamp that is not the server's.

    Raises:
        ModelError: It says what to write.
    """
    for name, info in model.model_fields.items() if model.__pydantic_fields_complete__ else ():
        if name not in _IDENTITY:
            continue
        wanted, meaning = _IDENTITY[name]
        if not all(issubclass(each, wanted) for each in classes_of(info.annotation)):
            raise ModelError(
                f"{model.__name__}.{name} cannot be {type_name(info.annotation)}: {meaning}"
            )
        if stored_name(name, info) != name:
            raise ModelError(
                f"{model.__name__}.{name} is stored as {name!r} on every server: give it "
                f"Field(alias={name!r}), or leave it out of the class"
            )


def refuse_shared_names(model: type[BaseModel]) -> None:
    """Refuse a field with an alias that stands for another field, such as the server's id.

    Raises:
        ModelError: It says what to write.
    """
    owners = {name: name for name in _IDENTITY}
    for name, info in model.model_fields.items():
        written = set() if info.exclude else {stored_name(name, info)}
        for each in sorted(written | accepted_names(name, info) & _IDENTITY.keys()):
            owner = owners.setdefault(each, name)
            if owner != name:
                raise ModelError(
                    f"{model.__name__}.{name} cannot be stored as {each!r} or read from there: "
                    f"{owner_of(model, owner)} is. Give it another alias"
                )


def owner_of(model: type[BaseModel], name: str) -> str:
    """How messages call what has a field of this name."""
    return f"the server's own {name}" if name in _IDENTITY else f"{model.__name__}.{name}"


def classes_of(annotation: Any) -> Iterator[type]:
    """The classes of which a value may be."""
    annotation = getattr(annotation, "__supertype__", annotation)
    for each in alternatives(annotation):
        if get_origin(each) is Literal:
            yield from map(type, get_args(each))
        elif get_origin(each) is Annotated:
            yield from classes_of(get_args(each)[0])
        elif isinstance(each, type):
            yield each


_IDENTITY: dict[str, tuple[type | tuple[type, ...], str]] = {
    "id": (
        str,
        "an id is a text of letters, digits, '-' and '_'. Leave it out of the class for a random "
        "UUID, write id_factory=lambda: str(...) into its head for others, and keep a number or a "
        "UUID of your own in a field of another name",
    ),
    "last_modified": (
        (int, NoneType),
        "it is the server's time in milliseconds, int | None, and None until the object is saved. "
        "Leave it out of the class; a time of your own needs another name",
    ),
}


def set_default_factory(model: type[BaseModel], name: str, factory: Callable[[], Any]) -> None:
    """Give a field another default, wherever an object of the model is made."""
    info = copy.copy(model.model_fields[name])
    info.default, info.default_factory = PydanticUndefined, factory
    model.__pydantic_fields__[name] = info
    if model.__pydantic_complete__:
        model.model_rebuild(force=True)


def computed_names(model: type[BaseModel]) -> set[str]:
    """The names of a model's computed fields, in Python and in dumps."""
    computed = model.__pydantic_decorators__.computed_fields
    return computed.keys() | {each.info.alias or name for name, each in computed.items()}


def stored_name(name: str, info: FieldInfo) -> str:
    """The name under which the server keeps a field."""
    return info.serialization_alias or info.alias or name


def accepted_names(name: str, info: FieldInfo) -> set[str]:
    """The names that a constructor takes for a field."""
    alias = info.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return {name, stored_name(name, info), *(c for c in choices if isinstance(c, str))}


def alternatives(annotation: Any) -> list[Any]:
    """The types that a value may have: the parts of a union, or the type itself."""
    if isinstance(annotation, TypeAliasType):
        return alternatives(annotation.__value__)
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [part for each in get_args(annotation) for part in alternatives(each)]
    return [annotation]


def is_link(annotation: Any) -> bool:
    """Whether a type is that of links."""
    return hasattr(get_origin(annotation), "__kinto_link__")


def is_list_of_links(annotation: Any) -> bool:
    """Whether a type is that of lists or sets of links."""
    return get_origin(annotation) in (list, set, frozenset, tuple) and any(
        is_link(each) for held in get_args(annotation) for each in alternatives(held)
    )


def has_links(annotation: Any, seen: frozenset[type] = frozenset()) -> bool:
    """Whether values of a type may hold links, themselves or inside of containers and models."""
    if is_link(annotation):
        return True
    if isinstance(annotation, TypeAliasType):
        return has_links(annotation.__value__, seen)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        inside = annotation.model_fields.values() if annotation not in seen else ()
        return any(has_links(each.annotation, seen | {annotation}) for each in inside)
    return any(has_links(each, seen) for each in get_args(annotation))


def link_error(model: type[BaseModel], value: object) -> PydanticCustomError:
    """What is wrong with a value that is no link to an object of a class."""
    return PydanticCustomError(
        "link",
        "Input should be {article} {model}, a Link[{model}] or an id, not {given}",
        {
            "model": model.__name__,
            "article": "an" if model.__name__[0] in "AEIOU" else "a",
            "given": type(value).__name__ if type(value).__name__ != "Link" else repr(value),
        },
    )


def link_id_error(said: str) -> PydanticCustomError:
    """What is wrong with a text that no object can have for its id."""
    return PydanticCustomError("link_id", "{said}", {"said": said})


def refuse_link_id(model: type[BaseModel], name: str, value: object, said: str) -> NoReturn:
    """Raise the error for a field that is given a link to what cannot be.

    Raises:
        pydantic.ValidationError: Always.
    """
    raise ValidationError.from_exception_data(
        model.__name__,
        [InitErrorDetails(type=link_id_error(said), loc=(name,), input=value)],
        hide_input=bool(model.model_config.get("hide_input_in_errors")),
    )


def type_name(annotation: Any) -> str:
    """How messages call a type."""
    if is_link(annotation):
        return f"Link[{type_name(get_args(annotation)[0])}]"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
