"""Conditions on fields, and the query string that means them on a Kinto server.

A condition means what the same comparison in Python would mean over the stored JSON, with
JSON's own types kept apart:

- `== 2` finds 2 and 2.0, never "2" or true. `== None` finds a stored null, not a record
  without the field.
- `!=` and `not_in` find every record whose value differs, a record without the field included.
- `<`, `<=`, `>`, `>=` find only values of the bound's own type: a string, a number or a boolean.
  A record without the field is never found.
- `exists()` asks whether the field is there at all: null, false, 0 and "" are there.

Values that are stored as text compare as values: datetimes and times in any zone, decimals of any
number of digits. Where the server cannot tell, it is asked for more, and what is not meant is left
out by `Condition.test` (`spelled.py`). What has no order as text is refused in orderings: decimals,
time spans, times with zones, addresses, paths.

Strings sort by code point on the memory backend and on a PostgreSQL database with the collation C
or C.UTF-8; another collation has an order of its own.

Kinto reads floats of more than 15 digits less than exactly, when it stores and when it
compares: such a float equals itself, and may be in the wrong order to its next neighbour.

What a memory Kinto does differently, and no query string can cure:

- `like`: a `*` stops at a line break there, and a few letters, such as the Turkish i and the
  final sigma, have other partners in the other case.
- `has("x")` also finds an object with a key "x".
- Equality of whole arrays and objects takes `true` for 1 and `false` for 0 inside of them.
- Numbers beyond 2**53 that are stored as floats equal their nearest integer there and in a file,
  and the digits of their shortest form on PostgreSQL.

The filters are Kinto's, as of its documentation of filtering and by experiment with 26.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar, overload

from kinto_orm.errors import InvalidData
from kinto_orm.queries.alternatives import any_of
from kinto_orm.queries.columns import Column
from kinto_orm.queries.filters import (
    Condition,
    Filter,
    compile_conditions,
    dotted,
    plain_name,
)
from kinto_orm.queries.orderings import Order

__all__ = [
    "Column",
    "Condition",
    "Filter",
    "Order",
    "any_of",
    "col",
    "compile_conditions",
    "compile_order",
    "field",
]

T = TypeVar("T")
M_co = TypeVar("M_co", covariant=True)


class Linking(Protocol[M_co]):
    """A link, which is compared with an object, with another link, or with an id."""

    @property
    def id(self) -> str:
        """The id of what is linked."""

    @property
    def loaded(self) -> M_co | None:
        """What is linked, once it was fetched."""


@overload
def col(x: Column[T]) -> Column[T]: ...
@overload
def col(x: Linking[M_co] | None) -> Column[M_co | Linking[M_co] | str]: ...
@overload
def col(x: Sequence[Linking[M_co]]) -> Column[list[M_co | Linking[M_co] | str]]: ...
@overload
def col(x: T | None) -> Column[T]: ...
def col(x: object) -> Column[Any]:
    """Give a model's field its type as a column, so that checkers know the methods.

    Args:
        x: A field of a model class, such as `Todo.title`.

    Raises:
        TypeError: It is something else, such as a field of an object.
    """
    if not isinstance(x, Column):
        raise TypeError(f"col takes a field of a model class, as in col(Todo.title), not {x!r}")
    return x


def field(name: str) -> Column[Any]:
    """Name a field of untyped records in a condition.

    Args:
        name: The name as the server stores it; one inside of it is `field("a")["b"]`.

    Raises:
        InvalidData: The name is empty, has a dot, or Kinto cannot filter by it.
    """
    dotted((name,))
    return Column((name,))


def compile_order(orders: Iterable[object]) -> str:
    """Write the value of `_sort` for these orders, the first the most important.

    Args:
        orders: `Order` objects or columns, which sort ascending; none gives an empty string.

    Raises:
        TypeError: One is neither.
        InvalidData: Kinto cannot sort by a field of such a name.
    """
    return ",".join(_sort_key(each) for each in orders)


def _sort_key(order: object) -> str:
    if isinstance(order, Column):
        order = order.asc()
    if not isinstance(order, Order):
        raise TypeError(f"order_by takes fields, such as col(Todo.title).desc(), not {order!r}")
    name = plain_name(order.path)
    if name is None:
        raise InvalidData(
            f"Kinto cannot sort by {'.'.join(order.path)!r}: it wants names of letters, digits and "
            "underscores"
        )
    return f"-{name}" if order.descending else name


def order_of(given: object) -> Order:
    """An order; a field by itself goes up.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(given, Order):
        return given
    if isinstance(given, Column):
        return given.asc()
    if isinstance(given, str) and given.lstrip("-").isidentifier():
        name = given.lstrip("-")
        meant = f"col(Todo.{name}).desc()" if given.startswith("-") else f"Todo.{name}"
        raise TypeError(f"order_by() takes fields, not their names: write order_by({meant})")
    raise TypeError(f"order_by() takes fields, as in order_by(Todo.title), not {given!r}")
