"""Fields of a class as expressions: `Todo.title == "x"`, with the values as they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from types import NoneType
from typing import (
    Any,
    Literal,
    NoReturn,
    get_args,
    get_origin,
)
from uuid import UUID

from pydantic import (
    BaseModel,
    JsonValue,
    TypeAdapter,
)
from pydantic.fields import FieldInfo

from kinto_orm.errors import InvalidData
from kinto_orm.models.choices import Choices
from kinto_orm.models.declaring import (
    alternatives,
    is_link,
    is_list_of_links,
    stored_name,
    suggestion,
    type_name,
)
from kinto_orm.models.veiling import veil_of
from kinto_orm.queries.conditions import Column, Condition
from kinto_orm.queries.spelled import Operand, is_other
from kinto_orm.wire.jsonvalues import shown
from kinto_orm.wire.veils import Veil

_SCALARS = (str, int, float, Decimal, date, time, timedelta, UUID, NoneType)
_UNTYPED = (Any, object, JsonValue)
# Of numbers and of nesting.
_LIMITS = (ArithmeticError, RecursionError)


class LinkColumn(Column[Any]):
    """A field that is a link, or a list of links.

    Attributes:
        model: The class of which it is a field; None for a field inside of another one.
    """

    model: Any = None

    @property
    def many(self) -> bool:
        """Whether it is a list of links."""
        return not self._scalar

    # What it is compared with is kept: where that lives is known once the query is asked.

    def _equal(self, given: Operand) -> Condition:
        return replace(super()._equal(given), compared=(given.value,))

    def in_(self, values: Iterable[Any]) -> Condition:
        """See `Column.in_`."""
        given = _each(values)
        return replace(super().in_(given), compared=tuple(given))

    def not_in(self, values: Iterable[Any]) -> Condition:
        """See `Column.not_in`."""
        given = _each(values)
        return replace(super().not_in(given), compared=tuple(given))

    def _has(self, values: Iterable[object]) -> Condition:
        given = _each(values)
        return replace(super()._has(given), compared=tuple(given))


def _each(values: Iterable[Any]) -> Iterable[Any]:
    """The values, to be gone through twice; what is none of several is as it was."""
    return list(values) if isinstance(values, Iterator) else values


def column(cls: Any, name: str, info: FieldInfo) -> Column[Any]:
    """The expression for a field, with the field's own way of writing values as JSON."""
    cache, kinds = cls.__kinto_cache__, cls.__kinto_kinds__
    # Kinds below a class may be defined at any time.
    known = len(kinds.classes()) if kinds is not None and name == kinds.field else 0
    key = ("column", name, known)
    if key not in cache:
        if not cls.__pydantic_fields_complete__:
            cls.model_rebuild(raise_errors=False)
            info = cls.model_fields[name]
        cache[key] = _column((), cls, name, info, cls.__name__, veil_of(cls))
        if isinstance(cache[key], LinkColumn):
            cache[key].model = cls
    return cache[key]  # type: ignore[no-any-return]


def _column(
    above: tuple[str, ...],
    model: Any,
    name: str,
    info: FieldInfo,
    owner: str,
    veil: Veil | None,
) -> Column[Any]:
    path = (*above, stored_name(name, info))
    kinds, annotation = getattr(model, "__kinto_kinds__", None), info.annotation
    if kinds is not None:
        annotation = kinds.annotation_of(model, name, annotation)
    by_value = bool(model.model_config.get("use_enum_values"))
    choices = Choices(annotation, f"{model.__name__}.{name}", by_value=by_value)
    encode = _encoder(model, name, choices)
    return _typed(path, annotation, encode, choices, owner, veil, stored=not info.exclude)


def _typed(
    path: tuple[str, ...],
    annotation: Any,
    encode: Callable[[Any], Any],
    choices: Choices,
    owner: str,
    veil: Veil | None,
    *,
    stored: bool = True,
) -> Column[Any]:
    kinds = alternatives(annotation)
    holds_links = any(is_link(each) or is_list_of_links(each) for each in kinds)
    return (LinkColumn if holds_links else Column)(
        path,
        encode=encode,
        encode_item=_item_encoder(annotation, choices.inside, ".".join((owner, *path))),
        encode_bound=lambda value: choices.bound(value, encode),
        owner=owner,
        scalar=all(map(_is_scalar, kinds)),
        kinds=[each for each in kinds if isinstance(each, type)],
        child=_children(path, kinds, owner, veil),
        stored=stored,
        veil=veil,
    )


def _children(
    path: tuple[str, ...], kinds: list[Any], owner: str, veil: Veil | None
) -> Callable[[str], Column[Any]] | None:
    """What makes the columns of what a field holds: the fields of a model, or a dict's values."""
    if any(map(is_link, kinds)):
        return lambda below: _refuse_below_link(".".join((owner, *path)), below)
    inner = next((each for each in kinds if _is_model(each)), None)
    if inner is not None:
        return lambda below: _child(path, inner, below, owner, veil)
    held = next((get_args(each)[1] for each in kinds if _is_typed_dict(each)), None)
    if held is None:
        return None

    def value(below: str) -> Column[Any]:
        name = ".".join((owner, *path, below))
        choices = Choices(held, name)
        return _typed((*path, below), held, _adapted(held, choices, name), choices, owner, veil)

    return value


def _refuse_below_link(name: str, below: str) -> NoReturn:
    raise InvalidData(
        f"{name} is a link, of which the server keeps the id only: it cannot look at {below!r} of "
        f"what is linked. Find those first, and give them: col({name}).in_(...)"
    )


def _is_typed_dict(annotation: Any) -> bool:
    """Whether this is a dict whose values are declared to be of a type."""
    arguments = get_args(annotation)
    return get_origin(annotation) in (dict, Mapping) and arguments[1] not in _UNTYPED


def _child(
    above: tuple[str, ...], model: Any, name: str, owner: str, veil: Veil | None
) -> Column[Any]:
    """The column of a nested model's field, by its Python or its stored name."""
    for each, info in model.model_fields.items():
        if name in (each, stored_name(each, info)):
            return _column(above, model, each, info, owner, veil)
    raise InvalidData(
        f"{model.__name__} has no field {name!r}{suggestion(name, model.model_fields)}"
    )


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_scalar(annotation: Any) -> bool:
    if get_origin(annotation) is Literal or is_link(annotation):
        return True
    if not isinstance(annotation, type):
        return False
    if issubclass(annotation, Enum):
        return all(isinstance(each.value, _SCALARS) for each in annotation)
    return issubclass(annotation, _SCALARS)


def _encoder(cls: Any, name: str, choices: Choices) -> Callable[[Any], Any]:
    annotation = cls.model_fields[name].annotation

    def dump(value: object) -> Any:
        # A model with this one field, so that the field's own serializers are used.
        single = cls.model_construct({name}, **{name: value})
        dumped = single.model_dump(mode="json", include={name}, by_alias=False, warnings="error")
        if not isinstance(dumped, dict) or name not in dumped:
            raise ValueError("it writes no such value")
        return dumped[name]

    return _guarded(dump, annotation, choices, f"{cls.__name__}.{name}")


def _adapted(annotation: Any, choices: Choices, name: str) -> Callable[[Any], Any]:
    """What writes a value of a type that is no field's by itself: an item, a dict's value."""
    adapter = _adapter_of(annotation)

    def dump(value: object) -> Any:
        return adapter().dump_python(value, mode="json", warnings="error")

    return _guarded(dump, annotation, choices, name)


def _adapter_of(annotation: Any) -> Callable[[], TypeAdapter[Any]]:
    """What reads and writes values of a type; it is made when it is needed, and once."""
    return cache(lambda: TypeAdapter[Any](annotation))


def _guarded(
    dump: Callable[[Any], Any], annotation: Any, choices: Choices, name: str
) -> Callable[[Any], Any]:
    kinds = alternatives(annotation)
    numeric = int in kinds and bool not in kinds
    adapter = _adapter_of(annotation)

    def encode(value: object) -> Any:
        value = choices.meant(value)
        try:
            json = dump(value)
        # A serializer meets what it does not expect.
        except (ValueError, TypeError, AttributeError, LookupError, *_LIMITS) as error:
            raise InvalidData(
                f"{shown(value)} cannot be compared with {name}, which is {type_name(annotation)}"
            ) from error
        if type(value) not in kinds and is_other(value, json, adapter):
            raise InvalidData(
                f"{shown(value)} cannot be compared with {name}, which is "
                f"{type_name(annotation)}: in Python no such value equals it. Write a value "
                "of its type"
            )
        # Where true is no value, it is Python's 1.
        return int(json) if numeric and isinstance(json, bool) else json

    return encode


def _item_encoder(
    annotation: Any, choices: Choices | None, name: str
) -> Callable[[Any], Any] | None:
    for part in (annotation, *get_args(annotation)):
        arguments = get_args(part)
        if get_origin(part) in (list, set, frozenset, tuple) and arguments:
            told = f"an item of {name}"
            return _adapted(arguments[0], choices or Choices(arguments[0], told), told)
    return None
