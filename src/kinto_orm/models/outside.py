"""What a model takes from outside, and what of that is said in its JSON schema.

Every way into a model asks the guard that stands in its Pydantic schema: constructor,
`model_validate`, a TypeAdapter, a model that contains it, the body of a web framework. Only for
what the server sent the loader leaves it out: stored fields that the model does not declare are
kept, and looking at each name would cost time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from kinto_orm.errors import InvalidData
from kinto_orm.models.declaring import computed_names, unknown_field
from kinto_orm.models.naming import is_unknown, refuse_reserved
from kinto_orm.wire.messages import id_pattern

_KEYS = "extras_keys_schema"
# What these hold is the program's, and no part of a schema.
_OPAQUE = frozenset({"metadata", "default", "expected", "cls", "config"})


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


def _left_out(model: type[Any]) -> set[str]:
    names: frozenset[str] = model.__kinto_server_made__
    return computed_names(model) | names


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
            _put_around(function, whole)
    return schema


def _put_around(function: _LeaveOut, schema: Any) -> None:
    """Let a function have what a schema makes; the schema stays the dictionary that it is."""
    inner, ref = dict(schema), schema.get("ref")
    inner.pop("ref", None)
    schema.clear()
    schema |= core_schema.no_info_after_validator_function(function, inner, ref=ref)


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
    return _unwrapped(function, copied) if isinstance(function, _LeaveOut) else copied


def _unwrapped(function: _LeaveOut, schema: dict[str, Any]) -> dict[str, Any]:
    inner: dict[str, Any] = schema["schema"]
    if "ref" in schema:
        inner["ref"] = schema["ref"]
    if function.computed:
        _put_around(_LeaveOut(function.computed, ()), inner)
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
