"""How Kinto orders JSON, and the filters that keep an ordering within one type."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from kinto_orm.queries.filters import Param
from kinto_orm.queries.spelled import Operand
from kinto_orm.wire.jsonvalues import dump, escape, spellings


@dataclass(frozen=True)
class Order:
    """A field to sort by, made by `Column.asc()` or `Column.desc()`."""

    path: tuple[str, ...]
    descending: bool = False


# Kinto orders null < string < number < boolean < array < object < absent, and every ordering
# runs over all types. A second bound keeps it within one; that also keeps out the absent.
# Arrays are no bound: PostgreSQL puts the empty one below null.
LEAST_NUMBER: Final = "-1.7976931348623157e+308"
FLOOR: Final = {
    "string": ("min", '""'),
    "number": ("min", LEAST_NUMBER),
    "boolean": ("min", "false"),
}
ABOVE: Final = {
    "string": ("lt", LEAST_NUMBER),
    "number": ("lt", "false"),
    "boolean": ("max", "true"),
}
ORDERINGS: Final[Mapping[str, tuple[Callable[[Any, Any], object], Mapping[str, Param]]]] = {
    "lt": (operator.lt, FLOOR),
    "max": (operator.le, FLOOR),
    "gt": (operator.gt, ABOVE),
    "min": (operator.ge, ABOVE),
}

NO_ORDER: Final = (
    "a {} is stored here as a text, and the order of the texts is not that of the values. Store "
    "what has an order (a number such as cents or seconds, by another type or by a serializer of "
    "the field), or compare and sort in Python. Nothing was sent."
)

ARRAYS: Final = ("gt", "true")


def is_spelled(given: Iterable[Operand]) -> bool:
    """Whether the server finds other values than those that are meant."""
    return any(each.kind is not None or each.unordered for each in given)


def items_of(given: Iterable[Operand]) -> Iterable[JsonValue]:
    """The items of all values that are lists."""
    return itertools.chain.from_iterable(each.json for each in given)  # type: ignore[misc]


def written(bounds: Iterable[Param]) -> list[Param]:
    """Bounds on texts as filters."""
    return [(name, dump(escape(text) if name == "like" else text)) for name, text in bounds]


def having(items: list[JsonValue]) -> tuple[Param, ...]:
    """What finds the arrays with one of these items."""
    spelled = list(itertools.chain.from_iterable(map(spellings, items)))
    # A memory Kinto takes a string for the array of its characters.
    return ARRAYS, ("contains_any", dump(spelled))
