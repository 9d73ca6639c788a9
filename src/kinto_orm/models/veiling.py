"""Which fields of a class are secret; nowhere else is that decided.

A field is secret that has `repr=False`, or whose type is Pydantic's `SecretStr`, `SecretBytes` or
`Secret`; so is what holds such a field, as far as it cannot be told apart. Ids and timestamps are
not: the server writes them into paths. What is done with it, `wire/veils.py` says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from typing_extensions import TypeAliasType, get_type_hints, is_typeddict

from kinto_orm.models.declaring import accepted_names, alternatives, is_link
from kinto_orm.wire.veils import Path, Veil

SECRETS: Final = (Secret, SecretStr, SecretBytes)
_OPEN: Final = frozenset({"id", "last_modified"})


def veil_of(model: Any) -> Veil | None:
    """What hides the secret fields of a class; None where it has none.

    Of several kinds (models/kinds.py) it hides what any of them keeps secret: what is read by one
    class may be of another.
    """
    cache, kinds = model.__kinto_cache__, model.__kinto_kinds__
    # Kinds below a class may be defined at any time.
    key = "veil" if kinds is None else ("veil", len(kinds.classes()))
    if key not in cache:
        models = [model] if kinds is None else [model, *kinds.classes()]
        for each in models:
            if not each.__pydantic_fields_complete__:
                each.model_rebuild(raise_errors=False)
        paths = [path for each in models for path in (*_paths(each), *_sent_only(each))]
        veil = Veil(paths) if paths else None
        if not all(each.__pydantic_fields_complete__ for each in models):
            return veil  # a name in its annotations is not defined yet
        cache[key] = veil
    return cache[key]  # type: ignore[no-any-return]


def has_secrets(model: Any) -> bool:
    """Whether a class has secret fields, as far as its annotations are known."""
    return any(True for _ in (*_paths(model), *_sent_only(model)))


def _sent_only(model: Any) -> Iterator[Path]:
    for name in model.__kinto_secrets__:
        yield (name,)


def _paths(
    model: type[BaseModel], above: Path = (), around: tuple[type, ...] = ()
) -> Iterator[Path]:
    """The paths of the secret fields of a model, by all names under which they may be stored."""
    for name, info in model.model_fields.items():
        if name not in _OPEN or above:
            for each in _names_of(name, info):
                yield from _paths_of(info, (*above, each), around)


def _paths_of(info: FieldInfo, path: Path, around: tuple[type, ...]) -> Iterator[Path]:
    """The paths of what is secret in a field."""
    parts = alternatives(info.annotation)
    models = [each for each in parts if _is_model(each) and each not in around]
    if not info.repr or any(_holds(each) for each in parts if each not in models):
        yield path
    else:
        for each in models:
            yield from _paths(each, path, (*around, each))


def _names_of(name: str, info: FieldInfo) -> set[str]:
    """The names of a field in records, old ones too."""
    alias = info.validation_alias
    read = alias.choices if isinstance(alias, AliasChoices) else [alias]
    inside = {str(each.path[0]) for each in read if isinstance(each, AliasPath)}
    return accepted_names(name, info) | inside


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _holds(annotation: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether values of a type may have something secret in them, however deep."""
    if isinstance(annotation, TypeAliasType):
        key: Any = id(annotation)
        return key not in seen and _holds(annotation.__value__, seen | {key})
    if is_link(annotation):
        return False
    if isinstance(annotation, FieldInfo):
        return not annotation.repr
    kind = get_origin(annotation) or annotation
    if isinstance(kind, type):
        if issubclass(kind, SECRETS):
            return True
        if kind not in seen and any(
            not shown or _holds(each, seen | {kind}) for shown, each in _fields_of(kind)
        ):
            return True
    inside = (*get_args(annotation), *getattr(annotation, "__metadata__", ()))
    return any(_holds(each, seen) for each in inside if each is not annotation)


def _fields_of(kind: type) -> Iterator[tuple[bool, Any]]:
    """Whether each field of a class is shown, and its type."""
    if issubclass(kind, BaseModel):
        for info in kind.model_fields.values():
            yield info.repr, info.annotation
    elif dataclasses.is_dataclass(kind) or is_typeddict(kind):
        hidden = {
            each.name
            for each in (dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ())
            if not each.repr
        }
        for name, annotation in _hints_of(kind).items():
            yield name not in hidden, annotation


def _hints_of(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except NameError:  # something that is not there, of which Pydantic speaks
        return dict(vars(kind).get("__annotations__", {}))
