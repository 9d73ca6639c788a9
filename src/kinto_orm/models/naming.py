"""Which names a model takes for fields, and the guard that asks it for them.

Every way into a model asks the guard that stands in its Pydantic schema: constructor,
`model_validate`, a TypeAdapter, a model that contains it, the body of a web framework. Only for
what the server sent the loader leaves it out: stored fields that the model does not declare are
kept, and looking at each name would cost time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema, to_json

from kinto_orm.errors import InvalidData
from kinto_orm.models.declaring import (
    accepted_names,
    computed_names,
    refuse_unknown,
    stored_name,
    suggestion,
    unknown_field,
)
from kinto_orm.wire.messages import id_pattern

Model = Any
"""A class of stored objects: `type[Stored]`, which is built on this."""

RESERVED = {
    "__permissions__": "the server takes it for the permissions; give permissions=... instead",
    "deleted": "the server takes an object with it for a tombstone; choose another name, such "
    "as 'removed'",
}

_KEYS = "extras_keys_schema"
# What these hold is the program's, and no part of a schema.
_OPAQUE = frozenset({"metadata", "default", "expected", "cls", "config"})


def cached(model: Model, key: str, make: Callable[[], Any]) -> Any:
    """What is known of a class, made when it is first asked for."""
    cache = model.__kinto_cache__
    if key not in cache:
        cache[key] = make()
    return cache[key]


def names_of(model: Model) -> dict[str, str]:
    """Stored name to Python name, for all declared fields."""
    found: dict[str, str] | None = model.__kinto_cache__.get("names")
    return cached(model, "names", lambda: _names(model)) if found is None else found


def _names(model: Model) -> dict[str, str]:
    return {stored_name(name, info): name for name, info in model.model_fields.items()}


def field_of(model: Model, name: str) -> str | None:
    """The declared field with this Python name or stored name."""
    return name if name in model.model_fields else names_of(model).get(name)


def field_names(model: Model) -> set[str]:
    """Every name by which a constructor takes a declared field."""
    return cached(model, "accepted", lambda: _accepted(model))  # type: ignore[no-any-return]


def _accepted(model: Model) -> set[str]:
    names = (accepted_names(name, info) for name, info in model.model_fields.items())
    return set().union(*names) - RESERVED.keys()


def is_unknown(model: Model, name: str) -> bool:
    """Whether a field of this name is refused from outside."""
    if name in field_names(model):
        return False
    return not model.__kinto_open__ or name in computed_names(model)


def refuse_undeclared(model: Model, given: Mapping[str, Any]) -> None:
    """Refuse fields that a model does not take.

    Raises:
        pydantic.ValidationError: It names each of them, and one that was perhaps meant.
        InvalidData: The server takes one of them for something else.
    """
    if given.keys() <= field_names(model):
        return
    refuse_reserved(model, given)
    unknown = {name: given[name] for name in given if is_unknown(model, name)}
    if unknown:
        refuse_unknown(model, unknown)


def refuse_reserved(model: Model, names: Iterable[str]) -> None:
    """Refuse names that the server takes for something else than a field.

    Raises:
        InvalidData: There is one among them.
    """
    if RESERVED.keys().isdisjoint(names):
        return
    for name in RESERVED.keys() & set(names):
        raise InvalidData(f"{model.__name__} cannot have a field {name!r}: {RESERVED[name]}")


def check_stored_name(model: Model, stored: str) -> None:
    """Refuse a stored name in a condition that a typed model does not declare.

    Raises:
        InvalidData: It does not declare it.
    """
    known = _names_of_kinds(model)
    first, dot, _ = stored.partition(".")
    if dot and first in known and not model.__kinto_open__:
        raise InvalidData(
            f"{stored!r} is more than one level: what is meant here is a field of "
            f"{model.__name__}, such as {model.__name__}.{first}. Of what is linked ask by a query "
            "of its own. Nothing was sent."
        )
    if not model.__kinto_open__ and stored not in known:
        raise InvalidData(
            f"{model.__name__} has no field stored as {stored!r}{suggestion(stored, known)}. "
            "Nothing was sent."
        )


def _names_of_kinds(model: Model) -> set[str]:
    """The stored names of a model's fields, and of those of the kinds that it finds."""
    kinds = [] if model.__kinto_kinds__ is None else model.__kinto_kinds__.classes()
    return {name for each in (model, *kinds) if issubclass(each, model) for name in names_of(each)}


# The guard: what a model takes from outside, and what its JSON schema says of that


class _Guard:
    """Asks a model about the name of a field that it does not declare."""

    def __init__(self, model: type[Any]) -> None:
        self._model = model

    def __call__(self, name: str) -> str:
        try:
            refuse_reserved(self._model, (name,))
        except InvalidData as error:
            raise PydanticCustomError("reserved_name", "{said}", {"said": str(error)}) from error
        if is_unknown(self._model, name) and name not in _left_out(self._model):
            raise unknown_field(self._model, name)
        return name


class FromOutside:
    """Reads what a program gives for a field.

    Args:
        read: What a program gives.
        stored: What the server has, which is taken as it is.
    """

    def __init__(self, read: Callable[[Any], Any], stored: Callable[[Any], Any]) -> None:
        self._read = read
        self.stored = stored

    def __call__(self, value: Any) -> Any:
        """What a program gives, read."""
        return self._read(value)


class _LeaveOut:
    """Leaves out what clients send back because they got it, and what has no place in an object.

    Args:
        computed: The names of computed fields; a dump would have them twice, stored ones too.
        servers: What the server writes into objects, to be left out of new ones.
    """

    def __init__(self, computed: Iterable[str], servers: Iterable[str]) -> None:
        self.computed = frozenset(computed)
        self.names = self.computed.union(servers)

    def __call__(self, made: Any) -> Any:
        extra = made.__pydantic_extra__
        if extra:
            for name in self.names if made.is_new else self.computed:
                extra.pop(name, None)
        return made


class _OfItsKind:
    """Lets data be validated by the class that has its kind, as a constructor does.

    Args:
        model: The class that was named.
    """

    def __init__(self, model: type[Any]) -> None:
        self._model = model

    def __call__(
        self, given: Any, validate: Callable[[Any], Any], info: ValidationInfo[Any]
    ) -> Any:
        made = self._model
        if isinstance(given, Mapping):
            made = made.__kinto_class_to_make__(given)
        if made is self._model:
            return validate(given)
        if info.mode == "json":
            return made.model_validate_json(to_json(given), context=info.context)
        return made.model_validate(given, context=info.context)


_OURS = (_LeaveOut, _OfItsKind)


def _left_out(model: type[Any]) -> set[str]:
    names: frozenset[str] = model.__kinto_server_made__
    return computed_names(model) | names


def of_a_client(model: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a mapping that may be a dump, without what no program gives.

    That are computed fields, the timestamp, and what the server adds where the class does not
    declare it; a class that takes any name may have such a field of its own.
    """
    left_out = computed_names(model) | {"last_modified"}
    if not model.__kinto_open__:
        left_out |= model.__kinto_server_made__ - field_names(model) - {"id"}
    return {name: value for name, value in given.items() if name not in left_out}


def guarded(model: type[Any], schema: CoreSchema, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Put the guard into the schema that Pydantic made of a model."""
    whole: Any = handler.resolve_ref_schema(schema)
    fields = whole
    while fields["type"] != "model-fields":
        fields = fields["schema"]
    if _KEYS not in fields:
        fields[_KEYS] = core_schema.no_info_plain_validator_function(_Guard(model))
        servers = () if model.__kinto_open__ else model.__kinto_server_made__
        function = _LeaveOut(computed_names(model), servers)
        if function.names:
            _put_around(core_schema.no_info_after_validator_function, function, whole)
        if model.__kinto_kinds__ is not None:
            _put_around(core_schema.with_info_wrap_validator_function, _OfItsKind(model), whole)
    return schema


def _put_around(around: Any, function: _LeaveOut | _OfItsKind, schema: Any) -> None:
    """Put a function around a schema, which stays the dictionary that it is."""
    inner, ref = dict(schema), schema.get("ref")
    inner.pop("ref", None)
    schema.clear()
    schema |= around(function, inner, ref=ref)


def unguarded(schema: Any) -> Any:
    """The same schema for what the server sent, records inside of it included."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(unguarded, schema))
    if not isinstance(schema, dict):
        return schema
    # Beside schemas there are mappings of names to schemas, in which every name is a field's.
    opaque = _OPAQUE if isinstance(schema.get("type"), str) else ()
    copied = {
        name: each if name in opaque else unguarded(each)
        for name, each in schema.items()
        if not (name == _KEYS and isinstance(_function(each), _Guard))
    }
    function = _function(copied)
    if isinstance(function, FromOutside):
        copied["function"] = {**copied["function"], "function": function.stored}
    return _unwrapped(function, copied) if isinstance(function, _OURS) else copied


def _unwrapped(function: _LeaveOut | _OfItsKind, schema: dict[str, Any]) -> dict[str, Any]:
    inner: dict[str, Any] = schema["schema"]
    if "ref" in schema:
        inner["ref"] = schema["ref"]
    if isinstance(function, _LeaveOut) and function.computed:
        around = core_schema.no_info_after_validator_function
        _put_around(around, _LeaveOut(function.computed, ()), inner)
    return inner


def _function(schema: Any) -> object:
    """The function that a schema calls, if it is one that does."""
    found = schema.get("function") if isinstance(schema, dict) else None
    return found.get("function") if isinstance(found, dict) else None


def described(
    model: type[Any], schema: CoreSchema, handler: GetJsonSchemaHandler
) -> dict[str, Any]:
    """The JSON schema of a model: what is the server's is read-only.

    What is taken from outside is described by its bounds too; what is stored inside of another
    object has none.
    """
    found = handler(schema)
    whole = handler.resolve_ref_schema(found)
    properties = whole.get("properties", {})
    for name in {"id", "last_modified"} & properties.keys():
        properties[name]["readOnly"] = True
    properties.get("id", {}).pop("maxLength", None)
    if handler.mode == "validation":
        _bound(properties, model.__kinto_kind__)
        whole["additionalProperties"] = model.__kinto_open__
    return found


def _bound(properties: dict[str, dict[str, Any]], kind: str) -> None:
    if "id" in properties:
        properties["id"]["pattern"] = id_pattern(kind)
    for each in _integers(properties.get("last_modified", {})):
        each["minimum"] = 1


def _integers(schema: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return [each for each in schema.get("anyOf", [schema]) if each.get("type") == "integer"]
