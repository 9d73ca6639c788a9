"""What the types of a model tell: whether its values are surely read back, whether they stay.

All of it is taken from Pydantic's core schema, in which every validator, serializer, alias and
constraint of a model stands. What is not known here counts as doubtful, and is then found out by
loading.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

from pydantic import BaseModel, JsonValue

from kinto_orm.errors import ModelError
from kinto_orm.models.naming import cached, unguarded
from kinto_orm.models.stored import Stored

Kinds = frozenset[type]
"""The types of the JSON values of a field that are surely read back as what was written."""

Sure = Callable[[JsonValue], bool]
"""Whether this JSON value of a field is surely read back as what was written."""

_Schema = Mapping[str, Any]

# Pydantic writes a None in any place without a word.
_SCALARS: Mapping[str, Kinds] = {
    "str": frozenset({str}),
    "int": frozenset({int}),
    "float": frozenset({float}),
    "bool": frozenset({bool}),
    "uuid": frozenset({str}),
    "date": frozenset({str}),
}
_TIMES = frozenset({"datetime", "time"})
_LISTS = frozenset({"list", "set", "frozenset"})
_OWN_SETTINGS = frozenset({"model", "dataclass", "typed-dict"})
_FUNCTIONS = frozenset({"function-before", "function-after", "function-wrap", "function-plain"})
# What a schema may have besides its type without changing or refusing a value.
_HARMLESS = frozenset({"type", "ref", "metadata", "microseconds_precision", "items_schema"})
_HARMLESS_SETTINGS = frozenset({
    "title", "extra_fields_behavior", "validate_by_alias", "validate_by_name", "ser_json_inf_nan",
    "from_attributes", "frozen",
})  # fmt: skip
_HARMLESS_OF_FIELDS = frozenset({
    "type", "schema", "metadata", "validation_alias", "serialization_alias", "frozen",
})  # fmt: skip
_HARMLESS_OF_MODELS = frozenset({"type", "model_name", "fields", "computed_fields"})
_NO_SCHEMAS = frozenset({
    "default", "metadata", "config", "expected", "members", "serialization", "computed_fields",
})  # fmt: skip
# Their functions give the same for the same.
_TRUSTED = frozenset({"pydantic", "pydantic_core", "kinto_orm", "builtins"})
_EMPTY: frozenset[Any] = frozenset({list, dict, set, frozenset, tuple, str, int, float, bool})


_JSON: Kinds = frozenset({str, int, float, bool, list, dict, NoneType})


class _Sure:
    """Of which fields it can be told whether they are surely read back.

    Args:
        found: By stored name, what is sure of a field.
    """

    __slots__ = ("_checks", "_kinds")

    def __init__(self, found: Mapping[str, Kinds | Sure | None]) -> None:
        self._checks = [(name, each) for name, each in found.items() if callable(each)]
        self._kinds = {name: each for name, each in found.items() if isinstance(each, frozenset)}
        self._kinds |= {name: _JSON for name, _ in self._checks}

    def of(self, values: Mapping[str, JsonValue], names: Collection[str]) -> bool:
        """Whether the types alone show that these fields are read back as they are."""
        kinds = self._kinds
        try:
            for name in names:
                if type(values[name]) not in kinds[name]:
                    return False
        except KeyError:  # it is removed, or nothing is known of it
            return False
        return all(check(values[name]) for name, check in self._checks if name in names)


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a model.

    Attributes:
        sure: Of which fields it can be told whether they are surely read back.
        hiding: The fields, by stored names, that may change without changing what is written:
            those that are left out, or have a serializer of their own.
        loose: The fields, by stored names, that take values of any type.
        entangled: Whether the value of a field may depend on those of others.
        steady: Whether loading the same data twice gives the same values.
        plain: Whether each field is what is written of it, and no other.
    """

    sure: _Sure
    hiding: frozenset[str]
    loose: frozenset[str]
    entangled: bool
    steady: bool
    plain: bool

    def doubtful(self, values: Mapping[str, JsonValue], changed: Iterable[str]) -> set[str]:
        """The changed fields that have to be looked at, and those that may hide a change."""
        if self.entangled:
            return {*self.hiding, *self.loose, *changed}
        return {
            *self.hiding,
            *self.loose,
            *(name for name in changed if not self.sure.of(values, (name,))),
        }


def traits_of(model: type[Stored]) -> Traits:
    """What is known of a model; every save asks for it."""
    found: Traits | None = model.__kinto_cache__.get("traits")
    return cached(model, "traits", lambda: _traits(model)) if found is None else found


def _traits(model: type[BaseModel]) -> Traits:
    model.model_rebuild()
    above, fields, definitions = _opened(unguarded(model.__pydantic_core_schema__))
    data = {
        each.get("serialization_alias", name): each
        for name, each in fields["fields"].items()
        if name not in ("id", "last_modified")
    }
    inside = {name: list(_nodes(each, definitions, set())) for name, each in data.items()}
    look = _Look(definitions)
    config: _Schema = next((each["config"] for each in reversed(above) if "config" in each), {})
    nodes = [*above, *(node for each in inside.values() for node in each)]
    _refuse_orders(model, inside)
    entangled = _is_entangled(above, fields, nodes)
    whole = _is_written_whole(above, fields)
    hiding = frozenset(name for name, each in inside.items() if whole or _hides(each))
    loose = frozenset(
        name for name, each in inside.items() if any(node["type"] == "any" for node in each)
    )
    return Traits(
        sure=_Sure({name: look.of_field(each, config) for name, each in data.items()}),
        hiding=hiding,
        loose=loose,
        entangled=entangled,
        steady=not any(map(_is_unsteady, nodes)),
        plain=not (entangled or hiding or loose),
    )


def _refuse_orders(model: type[BaseModel], inside: Mapping[str, Iterable[_Schema]]) -> None:
    for name, nodes in inside.items():
        if any(node["type"] == "ordered-dict" for node in nodes):
            raise ModelError(
                f"{model.__name__}.{name} holds an OrderedDict, but the server does not keep the "
                "order of names: declare a dict, or a list of pairs, whose order is kept"
            )


def _opened(schema: _Schema) -> tuple[list[_Schema], _Schema, dict[str, _Schema]]:
    """What stands around the fields of a model, the fields, and the definitions."""
    above: list[_Schema] = []
    definitions: dict[str, _Schema] = {}
    while schema["type"] != "model-fields":
        if schema["type"] == "definition-ref":
            schema = definitions[schema["schema_ref"]]
            continue
        definitions |= {each["ref"]: each for each in schema.get("definitions", ())}
        above.append(schema)
        schema = schema["schema"]
    return above, schema, definitions


def _nodes(schema: Any, definitions: Mapping[str, _Schema], seen: set[str]) -> Iterator[_Schema]:
    """Every schema inside of one; what refers to itself comes once."""
    if isinstance(schema, list | tuple):
        for each in schema:
            yield from _nodes(each, definitions, seen)
    elif isinstance(schema, dict):
        kind = schema.get("type")
        if kind == "definition-ref":
            name = schema["schema_ref"]
            if name not in seen:
                seen.add(name)
                yield from _nodes(definitions[name], definitions, seen)
            return
        known = isinstance(kind, str)
        if known:
            yield schema
        for name, each in schema.items():
            if not (known and name in _NO_SCHEMAS):
                yield from _nodes(each, definitions, seen)


# How a value depends on others, and whether it stays


def _is_entangled(above: Iterable[_Schema], fields: _Schema, nodes: Iterable[_Schema]) -> bool:
    return (
        any(map(_has_own_function, above))
        or _is_written_whole(above, fields)
        or "extras_schema" in fields
        or "extras_keys_schema" in fields
        or any(isinstance(each.get("validation_alias"), list) for each in fields["fields"].values())
        or any(
            node.get("default_factory_takes_data")
            or (_has_own_function(node) and node.get("function", {}).get("type") != "no-info")
            for node in nodes
        )
    )


def _is_written_whole(above: Iterable[_Schema], fields: _Schema) -> bool:
    """Whether the model has a serializer of its own, which may write anything."""
    return any("serialization" in each for each in (*above, fields))


def _is_unsteady(node: _Schema) -> bool:
    factory = node.get("default_factory")
    return _has_own_function(node) or (factory is not None and factory not in _EMPTY)


def _has_own_function(node: _Schema) -> bool:
    """Whether loading calls a function that is not Pydantic's."""
    if node["type"] in ("model", "dataclass"):
        return bool(node.get("post_init") or node.get("custom_init"))
    return node["type"] in _FUNCTIONS | {"call", "chain"} and not _is_trusted(node)


def _is_trusted(node: _Schema) -> bool:
    function = node.get("function")
    function = function.get("function") if isinstance(function, dict) else function
    return (getattr(function, "__module__", None) or "").partition(".")[0] in _TRUSTED


# What writing leaves out


def _hides(nodes: Collection[_Schema]) -> bool:
    """Whether a value may change while what is written stays the same."""
    kinds = {node["type"] for node in nodes}
    # Models of their own write an infinity as null.
    if kinds & _OWN_SETTINGS and {"nullable", "float"} <= kinds:
        return True
    return any(
        node.get("serialization_exclude")
        or "serialization_exclude_if" in node
        or ("function" in node.get("serialization", {}) and not _is_trusted(node["serialization"]))
        for node in nodes
    )


# What tells the members of a union apart


def tags_of(model: type[Stored]) -> dict[str, frozenset[str]]:
    """By stored name: the names inside of a field whose values tell what kind of object it is.

    That is what Pydantic is told, and what differs between dictionaries of declared names; models
    are told apart by their classes.
    """
    found: dict[str, frozenset[str]] = cached(model, "tags", lambda: _tags(model))
    return found


def _tags(model: type[BaseModel]) -> dict[str, frozenset[str]]:
    model.model_rebuild()
    _, fields, definitions = _opened(unguarded(model.__pydantic_core_schema__))
    return {
        each.get("serialization_alias", name): frozenset(
            tag
            for node in _nodes(each, definitions, set())
            if node["type"] in ("tagged-union", "union")
            for tag in (*_discriminators(node), *_literals(node, definitions))
        )
        for name, each in fields["fields"].items()
    }


def _discriminators(union: _Schema) -> Iterator[str]:
    told = union.get("discriminator")
    for each in [told] if isinstance(told, str) else told if isinstance(told, list) else ():
        yield str(each[0]) if isinstance(each, list) else each


def _literals(union: _Schema, definitions: Mapping[str, _Schema]) -> Iterator[str]:
    """The names that all of several dictionaries declare with values of their own."""
    choices = union["choices"]
    choices = choices.values() if isinstance(choices, dict) else choices
    declared = [each["fields"] for each in _schemas(choices, definitions) if "fields" in each]
    for name in set.intersection(*map(set, declared)) if len(declared) > 1 else ():
        if all(each[name]["schema"]["type"] == "literal" for each in declared):
            yield name


def _schemas(choices: Iterable[Any], definitions: Mapping[str, _Schema]) -> Iterator[_Schema]:
    for each in choices:
        choice = each[0] if isinstance(each, tuple) else each
        if choice["type"] == "definition-ref":
            choice = definitions[choice["schema_ref"]]
        if choice["type"] == "typed-dict":
            yield choice


# What is surely read back


class _Look:
    """Makes the checks of fields.

    Args:
        definitions: The schemas that others refer to.
    """

    def __init__(self, definitions: Mapping[str, _Schema]) -> None:
        self._definitions = definitions
        self._open: set[str] = set()

    def of_field(self, field: _Schema, config: _Schema) -> Kinds | Sure | None:
        """The check of a field; None when nothing is sure."""
        stored, read = field.get("serialization_alias"), field.get("validation_alias")
        if field.keys() - _HARMLESS_OF_FIELDS or stored != read or isinstance(read, list):
            return None
        if config.keys() - _HARMLESS_SETTINGS:
            return None
        return self._of(field["schema"], config)

    def _of(self, schema: _Schema, config: _Schema) -> Kinds | Sure | None:
        kind = schema["type"]
        if kind == "default":
            return None if "serialization" in schema else self._of(schema["schema"], config)
        if kind == "nullable":
            return self._nullable(schema, config)
        if kind == "definition-ref":
            return self._of(self._definitions[schema["schema_ref"]], config)
        if kind == "model":
            return self._model(schema)
        if schema.get("metadata", {}).get("kinto_link"):
            return _SCALARS["str"]
        if schema.keys() - _HARMLESS:
            return None
        if kind in _SCALARS:
            return _SCALARS[kind]
        if kind in _TIMES:
            return _is_whole_zone
        return self._items(schema, config) if kind in _LISTS else None

    def _nullable(self, schema: _Schema, config: _Schema) -> Kinds | Sure | None:
        inner = self._of(schema["schema"], config)
        if inner is None or "serialization" in schema:
            return None
        if schema["schema"]["type"] == "float" and config.get("ser_json_inf_nan") != "constants":
            return inner  # an infinity is written as null
        if isinstance(inner, frozenset):
            return inner | {NoneType}
        return lambda value: value is None or inner(value)

    def _items(self, schema: _Schema, config: _Schema) -> Sure | None:
        inner = self._of(schema.get("items_schema", {"type": "any"}), config)
        if inner is None:
            return None
        if isinstance(inner, frozenset):
            if inner & {int, float}:
                return None  # true may have been put in the place of a number, and is written as 1
            return lambda value: isinstance(value, list) and inner.issuperset(map(type, value))
        return lambda value: isinstance(value, list) and all(map(inner, value))

    def _model(self, schema: _Schema) -> Sure | None:
        fields, config, name = schema["schema"], schema.get("config", {}), str(schema.get("ref"))
        if (
            name in self._open
            or "serialization" in schema
            or schema.get("root_model")
            or _has_own_function(schema)
            or fields["type"] != "model-fields"
            or fields.keys() - _HARMLESS_OF_MODELS
        ):
            return None
        self._open.add(name)
        found = {
            each.get("serialization_alias", python_name): self.of_field(each, config)
            for python_name, each in fields["fields"].items()
        }
        self._open.discard(name)
        if None in found.values():
            return None
        sure = _Sure(found).of
        return lambda value: (
            isinstance(value, dict) and value.keys() == found.keys() and sure(value, value)
        )


def _is_whole_zone(value: JsonValue) -> bool:
    # The seconds of an offset are not written: "+00:19" may have been +00:19:32.
    return isinstance(value, str) and value[-6:-5] not in ("+", "-")
