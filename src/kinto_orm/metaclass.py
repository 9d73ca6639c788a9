"""The metaclass of models: `Todo.title` is a field expression, constructors are guarded."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, dataclass_transform, get_args, get_origin

from pydantic import AliasChoices, Field, PrivateAttr, TypeAdapter, ValidationError
from pydantic._internal._model_construction import ModelMetaclass
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from kinto_orm.conditions import Column
from kinto_orm.errors import InvalidData, ModelError

_building = threading.local()


@contextmanager
def _class_being_built() -> Iterator[None]:
    # Pydantic asks the bases for attributes named like fields while it collects them; a field
    # expression in answer would become the default of an inherited field.
    _building.depth = getattr(_building, "depth", 0) + 1
    try:
        yield
    finally:
        _building.depth -= 1


@dataclass_transform(kw_only_default=True, field_specifiers=(Field, PrivateAttr))
class ResourceMeta(ModelMetaclass):
    """Makes classes of models whose fields are expressions at class level."""

    if not TYPE_CHECKING:

        def __new__(mcs, name, bases, namespace, **keywords):
            """Build a model class, refusing what could not work."""
            options = {key: keywords.pop(key) for key in _own_keywords(bases) & keywords.keys()}
            _refuse_clashes(name, bases, namespace)
            with _class_being_built():
                cls = super().__new__(mcs, name, bases, namespace, **keywords)
            cls.__kinto_cache__ = {}
            cls._configure(**options)
            return cls

        def __init__(cls, name, bases, namespace, **keywords):
            """Keep the class keywords from `type`."""
            own = _own_keywords(bases)
            super().__init__(
                name, bases, namespace, **{k: v for k, v in keywords.items() if k not in own}
            )

        def __call__(cls, *args, **fields):
            """Make a new object, refusing fields that the model does not have."""
            return cls._make(lambda given: super(ResourceMeta, cls).__call__(*args, **given), fields)

        def __getattr__(cls, name):
            """A field of the model as an expression for conditions and orders."""
            if not name.startswith("_") and not getattr(_building, "depth", 0):
                info = cls.model_fields.get(name)
                if info is not None:
                    return column(cls, name, info)
                raise AttributeError(
                    f"{cls.__name__} has no field {name!r}{suggestion(name, cls.model_fields)}"
                )
            return super().__getattr__(name)


def _own_keywords(bases: Iterable[type]) -> set[str]:
    return {"collection", "bucket", "id_factory"} if any(
        isinstance(base, ResourceMeta) for base in bases
    ) else set()


def _refuse_clashes(name: str, bases: Iterable[type], namespace: Mapping[str, Any]) -> None:
    """Refuse a field that would hide, or be hidden by, a method or property of a model."""
    models = [base for base in bases if isinstance(base, ResourceMeta)]
    own = set(namespace.get("__annotations__", ()))
    for field in sorted(each for each in own if not each.startswith("_")):
        for base in models:
            if field not in base.model_fields and _has(base, field):
                raise ModelError(
                    f"{name} cannot have a field {field!r}: it clashes with {name}.{field} of "
                    f"every model. Give it another name and keep the stored one: "
                    f"{field}_: ... = Field(validation_alias={field!r}, "
                    f"serialization_alias={field!r})"
                )


def _has(cls: type, name: str) -> bool:
    return any(name in base.__dict__ for base in cls.__mro__)


def suggestion(name: str, known: Iterable[str]) -> str:
    """A question such as "; did you mean 'title'?", or nothing."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def refuse_unknown(model: Any, names: Mapping[str, object]) -> None:  # noqa: ANN401
    """Raise the error for fields that a typed model does not declare.

    Raises:
        pydantic.ValidationError: Always; it names each field, and one that was perhaps meant.
    """
    raise ValidationError.from_exception_data(
        model.__name__,
        [
            InitErrorDetails(
                type=PydanticCustomError(
                    "unknown_field",
                    "{model} has no such field{hint}",
                    {"model": model.__name__, "hint": suggestion(name, model.model_fields)},
                ),
                loc=(name,),
                input=value,
            )
            for name, value in names.items()
        ],
    )


def stored_name(name: str, info: FieldInfo) -> str:
    """The name under which the server keeps a field."""
    return info.serialization_alias or info.alias or name


def accepted_names(name: str, info: FieldInfo) -> set[str]:
    """The names that a constructor takes for a field."""
    alias = info.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return {name, stored_name(name, info), *(c for c in choices if isinstance(c, str))}


def column(cls: Any, name: str, info: FieldInfo) -> Column[Any]:  # noqa: ANN401
    """The expression for a field, with the field's own way of writing values as JSON."""
    cache = cls.__kinto_cache__
    key = ("column", name)
    if key not in cache:
        cache[key] = Column(
            (stored_name(name, info),),
            encode=_encoder(cls, name),
            encode_item=_item_encoder(info.annotation),
            owner=cls.__name__,
        )
    return cache[key]  # type: ignore[no-any-return]


def _encoder(cls: Any, name: str) -> Callable[[Any], Any]:  # noqa: ANN401
    def encode(value: object) -> Any:  # noqa: ANN401
        # A model with this one field, so that the field's own serializers are used.
        single = cls.model_construct({name}, **{name: value})
        try:
            dumped = single.model_dump(
                mode="json", include={name}, by_alias=False, warnings="error"
            )
        except ValueError as error:
            raise InvalidData(
                f"{value!r} cannot be compared with {cls.__name__}.{name}: {error}"
            ) from None
        return dumped[name]

    return encode


def _item_encoder(annotation: Any) -> Callable[[Any], Any] | None:  # noqa: ANN401
    for part in (annotation, *get_args(annotation)):
        arguments = get_args(part)
        if get_origin(part) in (list, set, frozenset, tuple) and arguments:
            adapter = TypeAdapter[Any](arguments[0])
            return lambda value: adapter.dump_python(value, mode="json")
    return None
