"""The metaclass of models: `Todo.title` is a field expression, constructors are guarded."""

from __future__ import annotations

import copy
import difflib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
)
from uuid import UUID

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    main,
)
from pydantic._internal._model_construction import ModelMetaclass, build_lenient_weakvaluedict
from pydantic._internal._typing_extra import parent_frame_namespace
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticUndefined
from typing_extensions import TypeAliasType

from kinto_orm.conditions import Column
from kinto_orm.errors import InvalidData, ModelError
from kinto_orm.forking import fork_between
from kinto_orm.jsonvalues import shown
from kinto_orm.signatures import ConstructorSignature
from kinto_orm.spelled import is_other

_building = threading.local()
_SCALARS = (str, int, float, Decimal, date, time, timedelta, UUID, NoneType)
_UNTYPED = (Any, object, JsonValue)
# Of numbers and of nesting.
_LIMITS = (ArithmeticError, RecursionError)

# Newer versions of Pydantic have one lock for all models, held while one is built on first use.
if hasattr(main, "_rebuild_lock"):
    fork_between(main._rebuild_lock)


@contextmanager
def _class_being_built() -> Iterator[None]:
    # Pydantic asks the bases for attributes named like fields while it collects them; a field
    # expression in answer would become the default of an inherited field.
    _building.depth = getattr(_building, "depth", 0) + 1
    try:
        yield
    finally:
        _building.depth -= 1


def constructor_keyword(*, default_factory: Callable[[], Any], alias: str) -> Any:
    """A keyword of constructors that is no field: to checkers only."""


# Mypy takes this name for a constant that is True; other checkers do not.
MYPY = False
if MYPY:
    # The default of a field specifier counts only when it is written default=: every
    # `Field(0, ge=0)` would be a required argument, even for Pydantic's plugin, whose constructor
    # is replaced by this one. The price is that mypy takes `Field(ge=0)` for a default, too.
    @dataclass_transform(kw_only_default=True, field_specifiers=(constructor_keyword,))
    class ResourceMeta(ModelMetaclass):
        """Makes classes of models whose fields are expressions at class level."""
else:

    @dataclass_transform(
        kw_only_default=True, field_specifiers=(Field, PrivateAttr, constructor_keyword)
    )
    class ResourceMeta(ModelMetaclass):
        """Makes classes of models whose fields are expressions at class level."""

        if not TYPE_CHECKING:
            __signature__ = ConstructorSignature()

            def __new__(mcs, name, bases, namespace, **keywords):
                """Build a model class, refusing what could not work."""
                own = _own_keywords(bases)
                options = {key: keywords.pop(key) for key in own & keywords.keys()}
                if own:
                    options |= _take_extra(namespace, keywords)
                _defer_building(namespace, keywords)
                _refuse_unknown_keywords(name, bases, keywords)
                _refuse_clashes(name, bases, namespace)
                with _class_being_built():
                    cls = super().__new__(mcs, name, bases, namespace, **keywords)
                    _resolve_local_names(cls)
                del cls.model_config["defer_build"]
                cls.__kinto_cache__ = {}
                cls._configure(**options)
                return cls

            def __init__(cls, name, bases, namespace, **keywords):  # noqa: N805
                """Keep the class keywords from `type`."""
                own = _own_keywords(bases)
                super().__init__(
                    name, bases, namespace, **{k: v for k, v in keywords.items() if k not in own}
                )

            def __call__(cls, /, *args, **fields):  # noqa: N805
                """Make a new object, refusing fields that the model does not have."""
                return cls._make(
                    lambda given: super(ResourceMeta, cls).__call__(*args, **given), fields
                )

            def __getattr__(cls, name):  # noqa: N805
                """A field of the model as an expression for conditions and orders."""
                if not name.startswith("_") and not getattr(_building, "depth", 0):
                    info = cls.model_fields.get(name)
                    if info is not None:
                        return column(cls, name, info)
                    raise AttributeError(
                        f"{cls.__name__} has no field {name!r}{suggestion(name, cls.model_fields)}"
                    )
                return super().__getattr__(name)


def _resolve_local_names(cls: Any) -> None:
    """Let annotations name what is local to the function in which a class is defined.

    Pydantic looks at the frame that called its metaclass, which is ours.
    """
    if cls.__pydantic_fields_complete__:
        return
    names = parent_frame_namespace(parent_depth=3)
    cls.__pydantic_parent_namespace__ = build_lenient_weakvaluedict(names)
    cls.model_rebuild(raise_errors=False)


def _own_keywords(bases: Iterable[type]) -> set[str]:
    """The class keywords that are ours, where the bases are models."""
    models: list[Any] = [base for base in bases if isinstance(base, ResourceMeta)]
    return set().union(*(base.__kinto_options__ for base in models))


def _take_extra(namespace: Mapping[str, Any], keywords: dict[str, Any]) -> dict[str, Any]:
    """What the class wants of `extra`; Pydantic is told to allow it: stored fields are kept."""
    config = namespace.get("model_config") or {}
    wanted = keywords.get("extra", config.get("extra"))
    keywords["extra"] = "allow"
    return {} if wanted is None else {"extra": wanted}


def _defer_building(namespace: Mapping[str, Any], keywords: dict[str, Any]) -> None:
    """Let a class be compiled when it is first used: importing models stays quick.

    The setting is there while the class is made only. Pydantic would defer every adapter of such a
    class too, and then speak of what is no concern of the program (under FastAPI, warnings of
    its parameters, which that suppresses where it makes them).
    """
    config = namespace.get("model_config") or {}
    keywords.setdefault("defer_build", config.get("defer_build", True))


def _refuse_unknown_keywords(name: str, bases: Iterable[type], keywords: Iterable[str]) -> None:
    """Refuse a misspelt class keyword, unless a base of the program may know it."""
    own, settings = _own_keywords(bases), ConfigDict.__annotations__.keys()
    unknown = [each for each in keywords if each not in settings and not each.startswith("_")]
    if unknown and own and not any(map(_takes_keywords, bases)):
        raise ModelError(
            f"{name} cannot take the class keyword {unknown[0]!r} (there are "
            f"{', '.join(sorted(own))} and Pydantic's settings)"
            f"{suggestion(unknown[0], own | settings)}"
        )


def _takes_keywords(base: type) -> bool:
    return any(
        "__init_subclass__" in each.__dict__ and each.__module__ not in ("builtins", "typing")
        for each in base.__mro__
    )


def _refuse_clashes(name: str, bases: Iterable[type], namespace: Mapping[str, Any]) -> None:
    """Refuse a field that would hide, or be hidden by, a method or property of a model."""
    models: list[Any] = [base for base in bases if isinstance(base, ResourceMeta)]
    mixed = [getattr(base, "model_fields", {}) for base in bases if base not in models]
    own = set(namespace.get("__annotations__", ())).union(*mixed)
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
        if not all(issubclass(each, wanted) for each in _classes(info.annotation)):
            raise ModelError(
                f"{model.__name__}.{name} cannot be {_type_name(info.annotation)}: {meaning}"
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
                    f"{_owner(model, owner)} is. Give it another alias"
                )


def _owner(model: type[BaseModel], name: str) -> str:
    return f"the server's own {name}" if name in _IDENTITY else f"{model.__name__}.{name}"


def _classes(annotation: Any) -> Iterator[type]:
    """The classes of which a value may be."""
    annotation = getattr(annotation, "__supertype__", annotation)
    for each in _alternatives(annotation):
        if get_origin(each) is Literal:
            yield from map(type, get_args(each))
        elif get_origin(each) is Annotated:
            yield from _classes(get_args(each)[0])
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


def column(cls: Any, name: str, info: FieldInfo) -> Column[Any]:
    """The expression for a field, with the field's own way of writing values as JSON."""
    cache = cls.__kinto_cache__
    key = ("column", name)
    if key not in cache:
        cache[key] = _column((), cls, name, info, cls.__name__)
    return cache[key]  # type: ignore[no-any-return]


def _column(
    above: tuple[str, ...], model: Any, name: str, info: FieldInfo, owner: str
) -> Column[Any]:
    path = (*above, stored_name(name, info))
    return _typed(path, info.annotation, _encoder(model, name), owner, stored=not info.exclude)


def _typed(
    path: tuple[str, ...],
    annotation: Any,
    encode: Callable[[Any], Any],
    owner: str,
    *,
    stored: bool = True,
) -> Column[Any]:
    kinds = _alternatives(annotation)
    return Column(
        path,
        encode=encode,
        encode_item=_item_encoder(annotation, ".".join((owner, *path))),
        owner=owner,
        scalar=all(map(_is_scalar, kinds)),
        kinds=[each for each in kinds if isinstance(each, type)],
        child=_children(path, kinds, owner),
        stored=stored,
    )


def _children(
    path: tuple[str, ...], kinds: list[Any], owner: str
) -> Callable[[str], Column[Any]] | None:
    """What makes the columns of what a field holds: the fields of a model, or a dict's values."""
    inner = next((each for each in kinds if _is_model(each)), None)
    if inner is not None:
        return lambda below: _child(path, inner, below, owner)
    held = next((get_args(each)[1] for each in kinds if _is_typed_dict(each)), None)
    if held is None:
        return None

    def value(below: str) -> Column[Any]:
        name = ".".join((owner, *path, below))
        return _typed((*path, below), held, _adapted(held, name), owner)

    return value


def _is_typed_dict(annotation: Any) -> bool:
    """Whether this is a dict whose values are declared to be of a type."""
    arguments = get_args(annotation)
    return get_origin(annotation) in (dict, Mapping) and arguments[1] not in _UNTYPED


def _child(above: tuple[str, ...], model: Any, name: str, owner: str) -> Column[Any]:
    """The column of a nested model's field, by its Python or its stored name."""
    for each, info in model.model_fields.items():
        if name in (each, stored_name(each, info)):
            return _column(above, model, each, info, owner)
    raise InvalidData(
        f"{model.__name__} has no field {name!r}{suggestion(name, model.model_fields)}"
    )


def _alternatives(annotation: Any) -> list[Any]:
    """The types that a value may have: the parts of a union, or the type itself."""
    if isinstance(annotation, TypeAliasType):
        return _alternatives(annotation.__value__)
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [part for each in get_args(annotation) for part in _alternatives(each)]
    return [annotation]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_scalar(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return True
    if not isinstance(annotation, type):
        return False
    if issubclass(annotation, Enum):
        return all(isinstance(each.value, _SCALARS) for each in annotation)
    return issubclass(annotation, _SCALARS)


def _encoder(cls: Any, name: str) -> Callable[[Any], Any]:
    annotation = cls.model_fields[name].annotation

    def dump(value: object) -> Any:
        # A model with this one field, so that the field's own serializers are used.
        single = cls.model_construct({name}, **{name: value})
        dumped = single.model_dump(mode="json", include={name}, by_alias=False, warnings="error")
        if not isinstance(dumped, dict) or name not in dumped:
            raise ValueError("it writes no such value")
        return dumped[name]

    return _guarded(dump, annotation, f"{cls.__name__}.{name}")


def _adapted(annotation: Any, name: str) -> Callable[[Any], Any]:
    """What writes a value of a type that is no field's by itself: an item, a dict's value."""
    adapter = _adapter_of(annotation)

    def dump(value: object) -> Any:
        return adapter().dump_python(value, mode="json", warnings="error")

    return _guarded(dump, annotation, name)


def _adapter_of(annotation: Any) -> Callable[[], TypeAdapter[Any]]:
    """What reads and writes values of a type; it is made when it is needed, and once."""
    return cache(lambda: TypeAdapter[Any](annotation))


def _guarded(dump: Callable[[Any], Any], annotation: Any, name: str) -> Callable[[Any], Any]:
    kinds = _alternatives(annotation)
    numeric = int in kinds and bool not in kinds
    adapter = _adapter_of(annotation)

    def encode(value: object) -> Any:
        try:
            json = dump(value)
        # A serializer meets what it does not expect.
        except (ValueError, TypeError, AttributeError, LookupError, *_LIMITS) as error:
            raise InvalidData(
                f"{shown(value)} cannot be compared with {name}, which is {_type_name(annotation)}"
            ) from error
        if type(value) not in kinds and is_other(value, json, adapter):
            raise InvalidData(
                f"{shown(value)} cannot be compared with {name}, which is "
                f"{_type_name(annotation)}: in Python no such value equals it. Write a value "
                "of its type"
            )
        # Where true is no value, it is Python's 1.
        return int(json) if numeric and isinstance(json, bool) else json

    return encode


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _item_encoder(annotation: Any, name: str) -> Callable[[Any], Any] | None:
    for part in (annotation, *get_args(annotation)):
        arguments = get_args(part)
        if get_origin(part) in (list, set, frozenset, tuple) and arguments:
            return _adapted(arguments[0], f"an item of {name}")
    return None
