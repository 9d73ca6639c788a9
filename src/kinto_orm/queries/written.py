"""Conditions and orders as people write them, at a terminal or in a search line.

A condition is a field, an operator and a value, with or without blanks between them:

| written | is |
|---|---|
| `price>=74`, `>`, `<`, `<=` | `field("price") >= 74` |
| `done=false` | `field("done") == False` |
| `title!="Buy milk"` | `field("title") != "Buy milk"` |
| `name~n*` | `field("name").like("n*")` |
| `prio in 1,2,3`, `prio in [1,2,3]` | `field("prio").in_([1, 2, 3])` |
| `prio not in 1,2` | `field("prio").not_in([1, 2])` |
| `tags has urgent` | `field("tags").has("urgent")` |
| `due exists`, `due not exists` | `field("due").exists()`, `field("due").exists(False)` |
| `place.city=Lyon` | `field("place")["city"] == "Lyon"` |
| `"a-b c"=2` | `field("a-b c") == 2` |

A value is JSON if it parses as JSON, else a text: `2` is a number, `"2"` a text, `null` null, and
`Lyon` the same as `"Lyon"`. A pattern behind `~` is always a text.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from kinto_orm.errors import InvalidData
from kinto_orm.queries.conditions import Column, Condition, Order, field

_SYMBOLS: Final[dict[str, Callable[[Column[Any], Any], Any]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "~": Column.like,
}
_LISTS: Final[dict[str, Callable[[Column[Any], Any], Condition]]] = {
    "in": Column.in_,
    "not in": Column.not_in,
}
_ALONE: Final = {"exists": True, "not exists": False}
OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=", "~", "in", "not in", "has", "exists")
"""The operators that can be written, in the order in which they are explained."""

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_NAME = re.compile(rf'{_QUOTED}|[^\s"=!<>~.,]+')
_OPERATOR = re.compile(r"\s*(?:([=!<>~]+)|(not\s+in|not\s+exists|in|has|exists)(?![^\s\[\"]))\s*")
_BARE = re.compile(r"\S*")
_ITEM = re.compile(rf'{_QUOTED}|[^\s",]+')
_COMMA = re.compile(r"\s*,\s*")
# What looks like another condition behind a blank.
_ANOTHER = re.compile(r"\s[^\s=!<>~]+\s*[=!<>~]")
_HOW: Final = "Write a field, an operator and a value, such as price>=74, done=false or name~n*"


def read_condition(text: str, model: type[BaseModel] | None = None) -> Condition:
    """Read one condition; its value is all that follows the operator.

    Args:
        text: Such as `title=Write the report`.
        model: The class whose field it is, which says of what type the value is; None for
            untyped records.

    Raises:
        InvalidData: It is no condition, or the field or the value does not suit it; the message
            says what to write.
    """
    reader = _Reader(text.strip(), model)
    condition = reader.condition(whole=True)
    reader.finish()
    return condition


def read_conditions(line: str, model: type[BaseModel] | None = None) -> list[Condition]:
    """Read a line of conditions with blanks between them, all of which have to hold.

    Args:
        line: Such as `done=false title~"*the report*"`. A value with blanks is in double quotes;
            an empty line has no conditions.
        model: The class whose fields they are; None for untyped records.

    Raises:
        InvalidData: One is no condition; the message says what to write.
    """
    reader = _Reader(line.strip(), model)
    found: list[Condition] = []
    while not reader.ended:
        found.append(reader.condition(whole=False))
        reader.gap()
    return found


def read_order(text: str, model: type[BaseModel] | None = None) -> list[Order]:
    """Read fields to sort by, the first the most important; `-` before one is downwards.

    Args:
        text: Such as `-price,title`; an empty text is no order.
        model: The class whose fields they are; None for untyped records.

    Raises:
        InvalidData: A name is missing or no field.
    """
    return [_order(each.strip(), model) for each in text.split(",")] if text.strip() else []


def _order(text: str, model: type[BaseModel] | None) -> Order:
    reader = _Reader(text.removeprefix("-"), model)
    found = reader.column()
    reader.finish()
    return found.desc() if text.startswith("-") else found.asc()


class _Reader:
    """Where reading has got to in a text, and what is read there."""

    def __init__(self, text: str, model: type[BaseModel] | None) -> None:
        self._text = text
        self._model = model
        self._at = 0
        self._path: list[str] = []

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return self._at >= len(self._text)

    @property
    def _rest(self) -> str:
        return self._text[self._at :]

    def finish(self) -> None:
        """Refuse what is left."""
        if not self.ended:
            self._refuse(f"{self._rest!r} is left over")

    def gap(self) -> None:
        """Go over the blanks between two conditions."""
        around = self._text[self._at - 1 : self._at + 1]
        if not self.ended and not any(map(str.isspace, around)):
            self._refuse(f"a blank is missing before {self._rest!r}")
        self._at += len(self._rest) - len(self._rest.lstrip())

    def condition(self, *, whole: bool) -> Condition:
        """Read a condition; a whole one's value goes up to the end."""
        column = self.column()
        name = self._operator()
        if name in _ALONE:
            return column.exists(_ALONE[name])
        if self.ended:
            self._refuse(
                f'there is no value behind {name}; the empty text is written {self._shown}=""'
            )
        if name in _LISTS:
            return _LISTS[name](column, [self._typed(each) for each in self._items()])
        text = self._whole() if whole else self._word()
        if name == "~":
            return column.like(_text(text))
        if name == "has":
            return column.has(self._typed(text, item=True))
        return _SYMBOLS[name](column, self._typed(text))  # type: ignore[no-any-return]

    def column(self) -> Column[Any]:
        """Read a name, with the names inside of it."""
        self._path = [self._segment()]
        while self._rest.startswith("."):
            self._at += 1
            self._path.append(self._segment())
        try:
            return self._column()
        except AttributeError as error:
            raise InvalidData(f"in {self._text!r}: {error}", status=400) from None

    def _column(self) -> Column[Any]:
        first, *inner = self._path
        found = field(first) if self._model is None else getattr(self._model, first)
        if not isinstance(found, Column):
            raise AttributeError(f"{self._model} has no field {first!r}")
        for each in inner:
            found = found[each]
        return found

    def _segment(self) -> str:
        found = _NAME.match(self._text, self._at)
        if found is None:
            self._refuse("the name of a field is missing")
        self._at = found.end()
        return _text(found[0])

    @property
    def _shown(self) -> str:
        return ".".join(each if _NAME.fullmatch(each) else json.dumps(each) for each in self._path)

    def _operator(self) -> str:
        found = _OPERATOR.match(self._text, self._at)
        if found is None:
            self._refuse(f"there is no operator behind {self._shown}")
        self._at = found.end()
        name = found[1] or " ".join(found[2].split())
        if found[1] and name not in _SYMBOLS:
            self._refuse(
                f"{name} is no operator; there are {', '.join(OPERATORS)}. A value that begins "
                "with one of their signs is in double quotes"
            )
        return name

    def _items(self) -> list[str]:
        """The values of a list, as they are written."""
        if self._rest.startswith("["):
            array = json.loads(self._json(), parse_constant=_refuse_constant)
            return [json.dumps(each) for each in array]
        items = [self._item()]
        while comma := _COMMA.match(self._text, self._at):
            self._at = comma.end()
            items.append(self._item())
        return items

    def _item(self) -> str:
        found = _ITEM.match(self._text, self._at)
        if found is None:
            self._refuse("a value is missing; a list is written 1,2,3 or [1,2,3]")
        self._at = found.end()
        return found[0]

    def _whole(self) -> str:
        text = self._rest
        if _ANOTHER.search(text) and not _is_json(text):
            self._refuse(
                "this looks like several conditions: give each by itself, or put a value with "
                f"blanks and signs in double quotes: {self._shown}={json.dumps(text)}"
            )
        self._at = len(self._text)
        return text

    def _word(self) -> str:
        """A value up to the next blank; in quotes and brackets blanks are part of it."""
        if self._rest[0] in '"[{':
            return self._json()
        found = _BARE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found[0] if found else ""

    def _json(self) -> str:
        start = self._at
        try:
            _, self._at = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode(
                self._text, start
            )
        except (ValueError, RecursionError):
            self._refuse(
                f'{self._rest!r} begins like JSON and is none; a text that begins with ", [ or '
                "{ is written as JSON, in double quotes"
            )
        return self._text[start : self._at]

    def _typed(self, text: str, *, item: bool = False) -> Any:
        """A value as the field's own type has it; for untyped records as JSON."""
        value = _value(text)
        annotation = _annotation(self._model, self._path)
        if item:
            annotation = (get_args(annotation) or (None,))[0]
        if annotation is None or value is None:
            return value
        return next(_fitting(annotation, (value, text)), value)

    def _refuse(self, what: str) -> NoReturn:
        raise InvalidData(f"in {self._text!r}: {what}. {_HOW}", status=400)


def _fitting(annotation: Any, values: tuple[Any, ...]) -> Iterator[Any]:
    """The values that a type takes, as it takes them."""
    adapter = TypeAdapter[Any](annotation)
    for each in values:
        try:
            yield adapter.validate_python(each)
        except ValidationError:
            continue


def _annotation(model: Any, path: list[str]) -> Any:
    """The type of a field, as far as classes say it."""
    for name in path:
        options = (model, *get_args(model))
        model = next((each for each in options if hasattr(each, "model_fields")), None)
        known = model.model_fields if model else {}
        model = known[name].annotation if name in known else None
    return model


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _text(text: str) -> str:
    value = _value(text) if text.startswith('"') else text
    return value if isinstance(value, str) else text


def _is_json(text: str) -> bool:
    return bool(_value(text) != text)


def _refuse_constant(name: str) -> NoReturn:
    # JSON has neither NaN nor infinities: such a word is a text like any other.
    raise ValueError(name)
