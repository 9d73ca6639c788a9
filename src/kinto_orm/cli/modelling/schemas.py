"""The shape of what a JSON schema allows.

Bounds and patterns are left to the server, which checks them: older records need not keep them.
What a schema says in a way that is not known here may be anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kinto_orm.cli.modelling.formats import TYPES
from kinto_orm.cli.modelling.shapes import Member, Shape

Schema = Mapping[str, Any]

_SCALARS = {"boolean": "bool", "integer": "int", "number": "float", "string": "text"}
_ALTERNATIVES = ("anyOf", "oneOf")
# Of these it would have to be found out what they leave of the rest.
_UNKNOWN = ("allOf", "if", "not", "dependentSchemas", "patternProperties")


def shape_of(schema: Schema) -> Shape | None:
    """The shape of a collection's records; None where the schema names no fields."""
    found = _Reader(schema).shape(schema)
    return found if found.members else None


class _Reader:
    """Reads a schema, and the definitions in it.

    Args:
        root: The whole schema.
    """

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._referred: dict[str, Shape] = {}

    def shape(self, schema: object) -> Shape:
        """The shape of a part of the schema."""
        if not isinstance(schema, dict):
            return Shape(declared=True, anything=True)
        if "$ref" in schema:
            return self._reference(schema["$ref"])
        parts = schema.get("allOf", ())
        if len(parts) == 1 and isinstance(parts[0], dict):
            return self.shape({**schema, "allOf": [], **parts[0]})
        shape = Shape(declared=True)
        self._fill(shape, schema)
        return shape

    def _reference(self, reference: object) -> Shape:
        """What another part of the schema says; it may be part of itself."""
        if reference not in self._referred:
            shape = Shape(declared=True)
            if not isinstance(reference, str):
                return Shape(declared=True, anything=True)
            self._referred[reference] = shape
            shape.title = reference.rpartition("/")[2]
            target = self._target(reference)
            if target is None or "$ref" in target:
                found = Shape(anything=True) if target is None else self.shape(target)
                shape.absorb(found)
            else:
                self._fill(shape, target)
        return self._referred[str(reference)]

    def _target(self, reference: str) -> dict[str, Any] | None:
        if not reference.startswith("#"):
            return None
        found: Any = self._root
        for step in filter(None, reference[1:].split("/")):
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else None

    def _fill(self, shape: Shape, schema: Schema) -> None:
        """Take in what a schema allows."""
        types = list(_types(schema))
        values = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if isinstance(values, list):
            self._fill_literals(shape, values)
        elif any(schema.get(name) for name in _UNKNOWN) and not types:
            shape.anything = True
        elif any(name in schema for name in _ALTERNATIVES) and not types:
            for name in _ALTERNATIVES:
                for each in schema.get(name, ()):
                    shape.absorb(self.shape(each))
        elif not types:
            shape.anything = True
        for each in types if values is None else ():
            self._fill_type(shape, each, schema)
        shape.null |= schema.get("nullable") is True

    def _fill_literals(self, shape: Shape, values: list[Any]) -> None:
        shape.null = None in values
        scalars = [each for each in values if isinstance(each, str | int)]
        if len(scalars) + shape.null == len(values):
            shape.literals = [each for _, each in dict.fromkeys((type(v), v) for v in scalars)]
            shape.literals = shape.literals or None
            shape.anything = not scalars
            return
        shape.null, shape.anything = False, True

    def _fill_type(self, shape: Shape, name: str, schema: Schema) -> None:
        if name == "null":
            shape.null = True
        elif name == "array":
            shape.items = self._items(schema)
        elif name == "object":
            self._fill_object(shape, schema)
        else:
            shape.kinds.add(_SCALARS[name])
            if name == "string":
                shape.formats = {schema.get("format")} & TYPES.keys()  # type: ignore[assignment]

    def _items(self, schema: Schema) -> Shape:
        inside = schema.get("items", schema.get("prefixItems", True))
        if not isinstance(inside, list):
            return self.shape(inside)
        shape = Shape(declared=True)
        for each in inside:
            shape.absorb(self.shape(each))
        return shape

    def _fill_object(self, shape: Shape, schema: Schema) -> None:
        properties, more = schema.get("properties"), schema.get("additionalProperties", True)
        shape.title = shape.title or str(schema.get("title", ""))
        if not properties or not isinstance(properties, dict):
            shape.values = self.shape(more)
            return
        required = schema.get("required", ())
        shape.members = {
            name: Member(self.shape(each), name in required, _default(each))
            for name, each in properties.items()
        }


def _types(schema: Schema) -> Iterator[str]:
    """The types that a schema names, or that follow from what else it says."""
    given = schema.get("type")
    names = given if isinstance(given, list) else [given]
    known = [each for each in names if each in _SCALARS or each in ("null", "array", "object")]
    if not known and "properties" in schema:
        known = ["object"]
    yield from known


def _default(schema: object) -> Any:
    return schema.get("default") if isinstance(schema, dict) else None
