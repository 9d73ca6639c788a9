"""Whether a value fits a JSON schema, as Kinto judges it: draft 7, without formats."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from kinto_orm.wire.jsonvalues import same

Check = Callable[[Any, Any, Mapping[str, Any], Mapping[str, Any]], bool]
"""Takes a value, what its keyword says, the schema around that, and the whole schema."""


def fits_schema(value: Any, schema: Any, whole: Mapping[str, Any] | None = None) -> bool:
    """Whether a value fits a schema.

    Args:
        value: Any JSON value.
        schema: The schema; what it says in words that are unknown here is taken to fit.
        whole: That of which it is a part, with the definitions.
    """
    if isinstance(schema, bool):
        return schema
    whole = schema if whole is None else whole
    if "$ref" in schema:  # what is beside it does not count in draft 7
        return fits_schema(value, _found(whole, schema["$ref"]), whole)
    return all(
        _CHECKS[word](value, said, schema, whole)
        for word, said in schema.items()
        if word in _CHECKS and isinstance(value, _KINDS.get(word, object)) and _counts(word, value)
    )


def _found(whole: Mapping[str, Any], reference: str) -> Any:
    found: Any = whole
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def _counts(word: str, value: object) -> bool:
    """Whether a word is about a value: what is said of numbers is not said of booleans."""
    return not (isinstance(value, bool) and _KINDS.get(word) == (int, float))


def _has_type(value: Any, name: str) -> bool:
    if name == "integer":
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return whole and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, _TYPES[name])


def _type(value: Any, said: Any, schema: Any, whole: Any) -> bool:
    return any(_has_type(value, name) for name in ([said] if isinstance(said, str) else said))


def _properties(value: Any, said: Any, schema: Any, whole: Any) -> bool:
    return all(
        fits_schema(value[name], each, whole) for name, each in said.items() if name in value
    )


def _patterns(value: Any, said: Any, schema: Any, whole: Any) -> bool:
    return all(
        fits_schema(value[name], each, whole)
        for pattern, each in said.items()
        for name in value
        if re.search(pattern, name)
    )


def _others(value: Any, said: Any, schema: Any, whole: Any) -> bool:
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    return all(
        fits_schema(each, said, whole)
        for name, each in value.items()
        if name not in known and not any(re.search(pattern, name) for pattern in patterns)
    )


def _items(value: Any, said: Any, schema: Any, whole: Any) -> bool:
    if isinstance(said, list):
        return all(fits_schema(*both, whole) for both in zip(value, said, strict=False))
    return all(fits_schema(each, said, whole) for each in value)


def _unique(value: Any, said: Any, schema: Any, whole: Any) -> bool:
    return not said or not any(
        same(one, other) for place, one in enumerate(value) for other in value[:place]
    )


def _multiple(value: Any, said: Any, schema: Any, whole: Any) -> bool:
    return bool((value / said).is_integer()) if isinstance(said, float) else value % said == 0


_TYPES: Final[Mapping[str, Any]] = {
    "string": str,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
_NUMBERS = (int, float)
_KINDS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), _NUMBERS),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), _NUMBERS),
    **dict.fromkeys(("minLength", "maxLength", "pattern"), str),
    **dict.fromkeys(("items", "minItems", "maxItems", "uniqueItems", "contains"), list),
    **dict.fromkeys(("properties", "patternProperties", "additionalProperties"), dict),
    **dict.fromkeys(("required", "propertyNames", "minProperties", "maxProperties"), dict),
}
_CHECKS: Final[Mapping[str, Check]] = {
    "type": _type,
    "enum": lambda value, said, schema, whole: any(same(value, each) for each in said),
    "const": lambda value, said, schema, whole: same(value, said),
    "anyOf": lambda value, said, schema, whole: any(fits_schema(value, s, whole) for s in said),
    "allOf": lambda value, said, schema, whole: all(fits_schema(value, s, whole) for s in said),
    "oneOf": lambda value, said, schema, whole: (
        sum(fits_schema(value, each, whole) for each in said) == 1
    ),
    "not": lambda value, said, schema, whole: not fits_schema(value, said, whole),
    "minimum": lambda value, said, schema, whole: value >= said,
    "maximum": lambda value, said, schema, whole: value <= said,
    "exclusiveMinimum": lambda value, said, schema, whole: value > said,
    "exclusiveMaximum": lambda value, said, schema, whole: value < said,
    "multipleOf": _multiple,
    "minLength": lambda value, said, schema, whole: len(value) >= said,
    "maxLength": lambda value, said, schema, whole: len(value) <= said,
    "pattern": lambda value, said, schema, whole: re.search(said, value) is not None,
    "items": _items,
    "minItems": lambda value, said, schema, whole: len(value) >= said,
    "maxItems": lambda value, said, schema, whole: len(value) <= said,
    "uniqueItems": _unique,
    "contains": lambda value, said, schema, whole: any(fits_schema(v, said, whole) for v in value),
    "properties": _properties,
    "patternProperties": _patterns,
    "additionalProperties": _others,
    "required": lambda value, said, schema, whole: all(name in value for name in said),
    "propertyNames": lambda value, said, schema, whole: all(
        fits_schema(name, said, whole) for name in value
    ),
    "minProperties": lambda value, said, schema, whole: len(value) >= said,
    "maxProperties": lambda value, said, schema, whole: len(value) <= said,
}
