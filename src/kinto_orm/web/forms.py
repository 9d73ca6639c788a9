"""A record as a form: a control for each field, and what was filled in as JSON again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

from pydantic import JsonValue

from kinto_orm.models.contents import same_json
from kinto_orm.web.calls import Form
from kinto_orm.web.loaded import Data
from kinto_orm.web.pages import pretty
from kinto_orm.web.shapes import Shape, fits, guessed
from kinto_orm.web.texts import as_sent, is_plain, key_of, restored

# How a field is: it has a value, is null, or is not there at all.
VALUE, NULL, ABSENT = "value", "null", "absent"
_MORE: Final = 3
OWN: Final = frozenset({"id", "last_modified", "schema"})
"""Fields of a record that the server writes by itself."""
_TOLD: Final = {
    VALUE: "has a value",
    NULL: "null",
    ABSENT: "not there",
    # Without JavaScript nobody turns the switch beside what is written.
    f"{NULL}?": "null, until something is written",
    f"{ABSENT}?": "not there, until something is written",
}


class Unreadable(ValueError):
    """What was filled in is no value of its field; the message says what to write."""


class Doubled(Unreadable):
    """In an object a name is there twice, so that one of the values would be lost."""


@dataclass
class Field:
    """A field of a form.

    Attributes:
        name: As the server stores it.
        shape: What values it may have.
        state: "value", "null" or "absent".
        text: What stands in the control.
        error: What is wrong with that.
        was: The state as it was loaded.
        chosen: What the switch beside it says.
    """

    name: str
    shape: Shape
    state: str = VALUE
    text: str = ""
    error: str = ""

    def __post_init__(self) -> None:
        self.was = self.state
        self.chosen = VALUE if self.was == VALUE else f"{self.was}?"

    @property
    def key(self) -> str:
        """How its controls are called."""
        return key_of(self.name)

    @property
    def states(self) -> list[str]:
        """The states to choose from."""
        found = [VALUE]
        if self.shape.nullable or NULL in (self.state, self.was):
            found.append(NULL)
        if not self.shape.required or ABSENT in (self.state, self.was):
            found.append(ABSENT)
        return found

    @property
    def switch(self) -> list[tuple[str, str]]:
        """The states as a switch offers them: what is sent, and what is shown."""
        first = [] if self.was == VALUE else [f"{self.was}?"]
        return [(each, _TOLD[each]) for each in (*first, *self.states)]

    @property
    def choices(self) -> list[tuple[str, str]]:
        """What a control that offers a choice has: what is sent, and what is shown."""
        if self.shape.kind == "yesno":
            return [("true", "yes"), ("false", "no")]
        return [(json.dumps(e), e if isinstance(e, str) else json.dumps(e))
                for e in self.shape.choices]  # fmt: skip

    def read(self, given: Form) -> None:
        """Take what was filled in."""
        self.text = given.get(f"value:{self.key}", self.text)
        if self.shape.kind in ("yesno", "choice"):
            self.state = self.text if self.text in (NULL, ABSENT) else VALUE
            return
        chosen = given.get(f"state:{self.key}", self.chosen)
        self.chosen = chosen if chosen in _TOLD else VALUE
        # Who types into a field that was empty wants what was typed.
        self.state = VALUE if self.chosen.endswith("?") and self.text else self.chosen.rstrip("?")

    def value(self, before: Mapping[str, JsonValue]) -> JsonValue:
        """The value that was filled in; what is emptied, and no text, may be null or go away.

        Raises:
            Unreadable: It is none.
        """
        if self.state == NULL:
            return None
        old = before.get(self.name)
        if old is not None and self.text == text_of(old, self.shape):
            return old  # not a digit of what nobody touched is written in another way
        if self.shape.kind in _FORMATTED and not self.text.strip():
            self._empty()
            return None
        value: JsonValue = _READERS.get(self.shape.kind, _read_text)(self.text)
        return restored(value, old) if value == self.text and isinstance(old, str) else value

    def _empty(self) -> None:
        if self.shape.required and not self.shape.nullable:
            raise Unreadable("a value has to be here")
        self.state = self.chosen = NULL if self.shape.nullable else ABSENT


def text_of(value: JsonValue, shape: Shape) -> str:
    """What stands in the control for a value."""
    if value is None:
        return ""
    if shape.kind == "choice":
        # As the schema writes it, and so as the control offers it.
        return json.dumps(next((e for e in shape.choices if same_json(e, value)), value))
    if shape.kind in ("json", "yesno", "number", "integer"):
        return pretty(value) if isinstance(value, list | dict) else json.dumps(value)
    return as_sent(str(value))


def fields_of(shapes: Mapping[str, Shape], data: Mapping[str, JsonValue]) -> list[Field]:
    """The fields of a form: those of the schema, then what else is there."""
    names = dict.fromkeys((*shapes, *data))
    return [_field(name, shapes.get(name), data) for name in names]


def _field(name: str, shape: Shape | None, data: Mapping[str, JsonValue]) -> Field:
    if name not in data:
        return Field(name, shape or Shape(), ABSENT)
    value = data[name]
    shape = _shown(shape or guessed(value), value)
    return Field(name, shape, NULL if value is None else VALUE, text_of(value, shape))


def _shown(shape: Shape, value: JsonValue) -> Shape:
    """The shape of the control that shows a value as it is."""
    if not fits(shape, value) or (isinstance(value, str) and not is_plain(value)):
        return replace(shape, kind="json")
    if shape.kind in ("text", "email", "uri", "moment") and guessed(value).kind == "long":
        return replace(shape, kind="long")
    return shape


def read_fields(
    fields: list[Field], given: Form, before: Mapping[str, JsonValue]
) -> tuple[Data | None, str]:
    """What was filled in as JSON; None where something cannot be read, and then what is wrong."""
    found: Data = {}
    for each in fields:
        each.read(given)
        try:
            value = each.value(before) if each.state != ABSENT else None
        except Unreadable as error:
            each.error = str(error)
            continue
        if each.state != ABSENT:
            found[each.name] = value
    wrong = ["correct the fields below"] if any(each.error for each in fields) else []
    added, refused = _added(given, {each.name for each in fields})
    wrong += refused
    return (None, f"Nothing was saved: {'; '.join(wrong)}.") if wrong else (found | added, "")


def _added(given: Form, known: set[str]) -> tuple[Data, list[str]]:
    """The fields that were added, and what is wrong with others."""
    found: Data = {}
    wrong: list[str] = []
    for number in range(_MORE):
        name, text = given.get(f"name:{number}"), given.get(f"new:{number}")
        try:
            if name or text.strip():
                _check_name(name, known | found.keys())
                found[name] = loose(text)
        except Unreadable as error:
            wrong.append(f"{name or 'more fields'}: {error}")
    return found, wrong


def _check_name(name: str, known: Set[str]) -> None:
    if not name:
        raise Unreadable("a value has no name")
    if name in OWN:
        raise Unreadable("this name is the server's own: choose another one")
    if name in known:
        raise Unreadable("there is a field of this name already: change that")


def loose(text: str) -> JsonValue:
    """A value that is JSON if it parses as JSON, else a text.

    Raises:
        Doubled: It is JSON, and a name is there twice.
    """
    try:
        return read_json(text)
    except Doubled:
        raise
    except Unreadable:
        return text


def read_json(text: str) -> JsonValue:
    """A JSON value.

    Raises:
        Unreadable: It is none.
    """
    try:
        return json.loads(  # type: ignore[no-any-return]
            text, parse_constant=_refuse, object_pairs_hook=_each_once
        )
    except Doubled:
        raise
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


def _each_once(pairs: list[tuple[str, JsonValue]]) -> Data:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Doubled(f"{json.dumps(twice, ensure_ascii=False)} is there twice: keep one of them")
    return found


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


def _read_date(text: str) -> JsonValue:
    try:
        return date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        raise Unreadable("a date is wanted here, such as 2026-01-31") from None


def _read_moment(text: str) -> JsonValue:
    value = text.strip()
    try:
        datetime.fromisoformat(value)
    except ValueError:
        value = ""
    if len(value) <= len("2026-01-31"):
        raise Unreadable("a date and a time are wanted here, such as 2026-01-31T12:00:00Z")
    return value


def _read_email(text: str) -> JsonValue:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", text.strip()):
        raise Unreadable("an e-mail address is wanted here, such as alexis@example.com")
    return text.strip()


def _read_uri(text: str) -> JsonValue:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", text.strip()):
        raise Unreadable("an address is wanted here, such as https://example.com/")
    return text.strip()


_READERS: Final[dict[str, Any]] = {
    "json": read_json,
    "yesno": read_json,
    "choice": read_json,
    "number": _read_number,
    "integer": _read_integer,
    "date": _read_date,
    "moment": _read_moment,
    "email": _read_email,
    "uri": _read_uri,
}
# An empty text is none of their values.
_FORMATTED: Final = _READERS.keys() - {"json", "yesno", "choice"}
