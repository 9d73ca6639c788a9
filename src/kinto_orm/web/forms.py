"""A record as a form: a control for each field, and what was filled in as JSON again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from kinto_orm.web.calls import Form
from kinto_orm.web.loaded import Data
from kinto_orm.web.pages import pretty
from kinto_orm.web.shapes import Shape, fits, guessed

# How a field is: it has a value, is null, or is not there at all.
VALUE, NULL, ABSENT = "value", "null", "absent"
_MORE: Final = 3


class Unreadable(ValueError):
    """What was filled in is no value of its field; the message says what to write."""


@dataclass
class Field:
    """A field of a form.

    Attributes:
        name: As the server stores it.
        shape: What values it may have.
        state: "value", "null" or "absent".
        text: What stands in the control.
        error: What is wrong with that.
    """

    name: str
    shape: Shape
    state: str = VALUE
    text: str = ""
    error: str = ""

    @property
    def states(self) -> list[str]:
        """The states to choose from."""
        found = [VALUE]
        if self.shape.nullable or self.state == NULL:
            found.append(NULL)
        if not self.shape.required or self.state == ABSENT:
            found.append(ABSENT)
        return found

    @property
    def choices(self) -> list[tuple[str, str]]:
        """What a control that offers a choice has: what is sent, and what is shown."""
        if self.shape.kind == "yesno":
            return [("true", "yes"), ("false", "no")]
        return [(json.dumps(e), e if isinstance(e, str) else json.dumps(e))
                for e in self.shape.choices]  # fmt: skip

    def read(self, given: Form) -> None:
        """Take what was filled in."""
        before = self.state
        self.text = given.get(f"value:{self.name}", self.text)
        self.state = given.get(f"state:{self.name}", self.state)
        if self.state not in (VALUE, NULL, ABSENT):
            self.state = VALUE
        if self.shape.kind in ("yesno", "choice"):
            self.state = self.text if self.text in (NULL, ABSENT) else VALUE
        elif self.state == before != VALUE and self.text:
            # Who types into a field that was empty wants what was typed.
            self.state = VALUE

    def value(self, before: Mapping[str, JsonValue]) -> JsonValue:
        """The value that was filled in.

        Raises:
            Unreadable: It is none.
        """
        if self.state == NULL:
            return None
        old = before.get(self.name)
        if self.name in before and old is not None and self.text == text_of(old, self.shape):
            return old  # not a digit of what nobody touched is written in another way
        value: JsonValue = _READERS.get(self.shape.kind, _read_text)(self.text)
        return value


def text_of(value: JsonValue, shape: Shape) -> str:
    """What stands in the control for a value."""
    if value is None:
        return ""
    if shape.kind in ("json", "yesno", "choice", "number", "integer"):
        return pretty(value) if isinstance(value, list | dict) else json.dumps(value)
    # As a browser sends it back.
    return str(value).replace("\r\n", "\n").replace("\r", "\n")


def fields_of(shapes: Mapping[str, Shape], data: Mapping[str, JsonValue]) -> list[Field]:
    """The fields of a form: those of the schema, then what else is there."""
    names = dict.fromkeys((*shapes, *data))
    return [_field(name, shapes.get(name), data) for name in names]


def _field(name: str, shape: Shape | None, data: Mapping[str, JsonValue]) -> Field:
    if name not in data:
        return Field(name, shape or Shape(), ABSENT)
    value = data[name]
    if shape is None:
        shape = guessed(value)
    elif not fits(shape, value):
        shape = Shape("json", shape.nullable, shape.required, help=shape.help)
    elif shape.kind in ("text", "email", "uri", "moment") and guessed(value).kind == "long":
        shape = Shape("long", shape.nullable, shape.required, help=shape.help)
    return Field(name, shape, NULL if value is None else VALUE, text_of(value, shape))


def read_fields(fields: list[Field], given: Form, before: Mapping[str, JsonValue]) -> Data | None:
    """What was filled in as JSON; None where something cannot be read: its field says so."""
    found: Data = {}
    for each in fields:
        each.read(given)
        if each.state == ABSENT:
            continue
        try:
            found[each.name] = each.value(before)
        except Unreadable as error:
            each.error = str(error)
    found |= dict(_added(given, fields))
    return None if any(each.error for each in fields) else found


def _added(given: Form, fields: list[Field]) -> Iterator[tuple[str, JsonValue]]:
    """The fields that were added: a name, and a value that is JSON if it parses as JSON."""
    known = {each.name for each in fields}
    own = {"id", "last_modified", "schema"}
    for number in range(_MORE):
        name, text = given.get(f"name:{number}"), given.get(f"new:{number}")
        if not name:
            continue
        added = Field(name, Shape(), VALUE, text)
        if name in known | own:
            added.error = (
                "this name is the server's own: choose another one"
                if name in own
                else "there is a field of this name already: change that"
            )
            fields.append(added)
            continue
        known.add(name)
        yield name, loose(text)


def loose(text: str) -> JsonValue:
    """A value that is JSON if it parses as JSON, else a text."""
    try:
        return read_json(text)
    except Unreadable:
        return text


def read_json(text: str) -> JsonValue:
    """A JSON value.

    Raises:
        Unreadable: It is none.
    """
    try:
        return json.loads(text, parse_constant=_refuse)  # type: ignore[no-any-return]
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Unreadable(f"this is no JSON ({error.msg}, {where}); a text is in quotes") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"this is no JSON that can be stored: {error}") from None


def read_object(text: str) -> Data:
    """A JSON object.

    Raises:
        Unreadable: It is none.
    """
    value = read_json(text)
    if not isinstance(value, dict):
        raise Unreadable('a JSON object is wanted here, such as {"title": "x"}')
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"there is no {name} in JSON")


def _read_text(text: str) -> JsonValue:
    return text


def _read_number(text: str) -> JsonValue:
    value = loose(text.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable("a number is wanted here, such as 12 or 3.5")
    return value


def _read_integer(text: str) -> JsonValue:
    value = loose(text.strip())
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unreadable("a whole number is wanted here, such as 12")
    return value


_READERS: Final[dict[str, Any]] = {
    "json": read_json,
    "yesno": read_json,
    "choice": read_json,
    "number": _read_number,
    "integer": _read_integer,
}
