"""What a JSON schema says of a field, as far as a form needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from pydantic import JsonValue

from kinto_orm.models.contents import same_json

# In a form each is another control; "json" takes any value.
_OF_TYPES: Final = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "yesno",
}
_OF_FORMATS: Final = {"date": "date", "date-time": "moment", "email": "email", "uri": "uri"}
_MOST_REFERENCES: Final = 20
# What does not fit on a line.
_LONG: Final = 80


@dataclass(frozen=True)
class Shape:
    """What values a field may have.

    Attributes:
        kind: Which control it has: text, long, integer, number, yesno, choice, date, moment,
            email, uri or json.
        nullable: Whether null is one of them.
        required: Whether the field has to be there.
        choices: The values of a choice.
        help: What the schema says of it.
    """

    kind: str = "json"
    nullable: bool = True
    required: bool = False
    choices: tuple[JsonValue, ...] = ()
    help: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))


def shapes_of(schema: Mapping[str, Any] | None) -> dict[str, Shape]:
    """The fields that a collection's schema names, in its order."""
    properties = (schema or {}).get("properties")
    if not isinstance(properties, dict):
        return {}
    required = (schema or {}).get("required")
    names = required if isinstance(required, list) else []
    return {
        str(name): replace(_shape(each, schema or {}), required=name in names)
        for name, each in properties.items()
    }


def guessed(value: JsonValue) -> Shape:
    """The shape of a field of which no schema says anything, by what it holds."""
    if isinstance(value, str):
        long = len(value) > _LONG or any(each in value for each in "\r\n")
        return Shape("long" if long else "text")
    if isinstance(value, bool):
        return Shape("yesno")
    return Shape("number" if isinstance(value, int | float) else "json")


def fits(shape: Shape, value: JsonValue) -> bool:
    """Whether a control of this shape can show a value as it is."""
    if value is None:
        return True
    if shape.kind == "choice":
        return any(same_json(value, each) for each in shape.choices)
    if shape.kind == "date":
        return isinstance(value, str) and _is_date(value)
    wanted = _HELD.get(shape.kind, object)
    return isinstance(value, wanted) and not (isinstance(value, bool) and wanted is not bool)


def _is_date(text: str) -> bool:
    # A browser shows others as nothing, and would send them so.
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


_HELD: Final[dict[str, Any]] = {
    "integer": int,
    "number": (int, float),
    "yesno": bool,
    "json": object,
} | dict.fromkeys(("text", "long", "date", "moment", "email", "uri"), str)


def _shape(schema: object, root: Mapping[str, Any]) -> Shape:
    options = list(_options(schema, root, _MOST_REFERENCES))
    real = [each for each in options if not _is_null(each)]
    help = next(filter(None, map(_description, (schema, *real))), "")
    if len(real) != 1:
        return Shape("json", nullable=not real or len(real) < len(options), help=help)
    only = real[0]
    return Shape(
        _kind(only),
        nullable=len(real) < len(options) or _allows_null(only),
        choices=tuple(each for each in _choices(only) if each is not None),
        help=help,
    )


def _options(schema: object, root: Mapping[str, Any], left: int) -> Iterator[Mapping[str, Any]]:
    """The schemas of which one has to hold, without references to elsewhere in the root."""
    if not isinstance(schema, dict) or left == 0:
        yield {}
        return
    for name in ("anyOf", "oneOf"):
        if isinstance(schema.get(name), list):
            for each in schema[name]:
                yield from _options(each, root, left - 1)
            return
    of_all = schema.get("allOf")
    if isinstance(of_all, list) and len(of_all) == 1:
        yield from _options(of_all[0], root, left - 1)
    elif "$ref" in schema:
        yield from _options(_referred(schema["$ref"], root), root, left - 1)
    else:
        yield schema


def _referred(reference: object, root: Mapping[str, Any]) -> object:
    found: object = root
    for part in str(reference).removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _kind(schema: Mapping[str, Any]) -> str:
    if _choices(schema):
        return "choice"
    types = schema.get("type")
    names = [each for each in (types if isinstance(types, list) else [types]) if each != "null"]
    if len(names) != 1 or not isinstance(names[0], str):
        return "json"
    kind = _OF_TYPES.get(names[0], "json")
    return _OF_FORMATS.get(str(schema.get("format")), kind) if kind == "text" else kind


def _choices(schema: Mapping[str, Any]) -> list[JsonValue]:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else []


def _is_null(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "null" or _choices(schema) == [None]


def _allows_null(schema: Mapping[str, Any]) -> bool:
    types, choices = schema.get("type"), _choices(schema)
    # What says nothing of its type takes everything.
    return (
        None in choices
        or (types is None and not choices)
        or (isinstance(types, list) and "null" in types)
    )


def _description(schema: object) -> str:
    found = schema.get("description") if isinstance(schema, dict) else None
    return found if isinstance(found, str) else ""
