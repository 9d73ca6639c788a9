"""What a model takes from outside, and what of that is said in its JSON schema.

Every way into a model asks the guard that stands in its Pydantic schema: constructor,
`model_validate`, a TypeAdapter, a model that contains it, the body of a web framework. Only for
what the server sent the loader leaves it out: stored fields that the model does not declare are
kept, and looking at each name would cost time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from kinto_orm.errors import InvalidData
from kinto_orm.metaclass import computed_names, unknown_field
from kinto_orm.protocol import id_pattern

if TYPE_CHECKING:
    from kinto_orm.stored import Stored

_KEYS = "extras_keys_schema"
# What these hold is the program's, and no part of a schema.
_OPAQUE = frozenset({"metadata", "default", "expected", "cls", "config"})


class _Guard:
    """Asks a model about the name of a field that it does not declare."""

    def __init__(self, model: type[Stored]) -> None:
        self._model = model

    def __call__(self, name: str) -> str:
        try:
            self._model._refuse_reserved((name,))
        except InvalidData as error:
            raise PydanticCustomError("reserved_name", "{said}", {"said": str(error)}) from error
        if self._model._is_unknown(name):
            raise unknown_field(self._model, name)
        return name


def guarded(model: type[Stored], schema: CoreSchema, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Put the guard into the schema that Pydantic made of a model."""
    inner: Any = handler.resolve_ref_schema(schema)
    while inner["type"] != "model-fields":
        inner = inner["schema"]
    inner[_KEYS] = core_schema.no_info_plain_validator_function(_Guard(model))
    return schema


def unguarded(schema: Any) -> Any:
    """The same schema for what the server sent, records inside of it included."""
    if isinstance(schema, dict):
        # Beside schemas there are mappings of names to schemas, in which every name is a field's.
        opaque = _OPAQUE if isinstance(schema.get("type"), str) else ()
        copied = {
            name: each if name in opaque else unguarded(each)
            for name, each in schema.items()
            if not (name == _KEYS and _is_guard(each))
        }
        return _without_computed(copied) if copied.get("type") == "model" else copied
    if isinstance(schema, list | tuple):
        return type(schema)(map(unguarded, schema))
    return schema


def _without_computed(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is stored under the name of a computed field: a dump would have it twice."""
    names = computed_names(schema["cls"])
    if not names:
        return schema

    def leave_out(made: BaseModel) -> BaseModel:
        for name in names if made.__pydantic_extra__ else ():
            made.__pydantic_extra__.pop(name, None)  # type: ignore[union-attr]
        return made

    outer = core_schema.no_info_after_validator_function(leave_out, schema)
    return {**outer, "ref": schema.pop("ref")} if "ref" in schema else {**outer}


def _is_guard(schema: Any) -> bool:
    function = schema.get("function") if isinstance(schema, dict) else None
    return isinstance(function, dict) and isinstance(function.get("function"), _Guard)


def described(
    model: type[Stored], schema: CoreSchema, handler: GetJsonSchemaHandler
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
