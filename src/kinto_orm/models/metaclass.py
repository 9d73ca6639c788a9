"""The metaclass of models: `Todo.title` is a field expression, constructors are guarded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import (
    TYPE_CHECKING,
    Any,
    dataclass_transform,
)

from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    main,
)
from pydantic._internal._model_construction import ModelMetaclass, build_lenient_weakvaluedict
from pydantic._internal._typing_extra import parent_frame_namespace

from kinto_orm.errors import ModelError
from kinto_orm.models.declaring import suggestion
from kinto_orm.models.expressions import column
from kinto_orm.models.signatures import ConstructorSignature
from kinto_orm.queries.habits import OF_CLASSES, advice
from kinto_orm.wire.forking import fork_between

# Newer versions of Pydantic have one lock for all models, held while one is built on first use.
if hasattr(main, "_rebuild_lock"):
    fork_between(main._rebuild_lock)

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
                cls.__kinto_configure__(**options)
                return cls

            def __init__(cls, name, bases, namespace, **keywords):  # noqa: N805
                """Keep the class keywords from `type`."""
                own = _own_keywords(bases)
                super().__init__(
                    name, bases, namespace, **{k: v for k, v in keywords.items() if k not in own}
                )

            def __call__(cls, /, *args, **fields):  # noqa: N805
                """Make a new object, refusing fields that the model does not have.

                Of several kinds it is one of the class that has the kind.
                """
                made = cls.__kinto_class_to_make__(fields)
                if made is not cls:
                    return made(*args, **fields)
                return cls.__kinto_make__(
                    lambda given: super(ResourceMeta, cls).__call__(*args, **given), fields
                )

            def __getattr__(cls, name):  # noqa: N805
                """A field of the model as an expression for conditions and orders."""
                if not name.startswith("_") and not getattr(_building, "depth", 0):
                    info = cls.model_fields.get(name)
                    if info is not None:
                        return column(cls, name, info)
                    raise AttributeError(
                        f"{cls.__name__} has no field {name!r}"
                        f"{advice(OF_CLASSES, name, cls.__name__)}"
                        f"{suggestion(name, cls.model_fields)}"
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
