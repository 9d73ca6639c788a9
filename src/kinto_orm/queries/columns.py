"""The parts of a condition: a field, what it is compared with, and the filters that mean it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from types import NoneType
from typing import Any, Generic, NoReturn, TypeVar, overload

from pydantic import JsonValue

from kinto_orm._shown import HIDDEN, line
from kinto_orm.errors import InvalidData
from kinto_orm.queries.filters import (
    ID,
    LAST_MODIFIED,
    OWN_TYPES,
    Condition,
    Param,
    equality,
    plain_name,
)
from kinto_orm.queries.orderings import (
    ABOVE,
    ARRAYS,
    FLOOR,
    NO_ORDER,
    ORDERINGS,
    Order,
    having,
    is_spelled,
    items_of,
    written,
)
from kinto_orm.queries.spelled import ZONED_TIME, Operand, keeps_order, operand, sorts_wrongly
from kinto_orm.queries.unseen import unseen
from kinto_orm.wire.jsonvalues import (
    ABSENT,
    MOST_LEVELS,
    MaybeJson,
    contains,
    dump,
    escape,
    is_bit,
    is_container,
    is_deep,
    join,
    kind,
    matcher,
    shown,
    to_json,
    twins,
)
from kinto_orm.wire.veils import Veil

T = TypeVar("T")
V = TypeVar("V")

# As many as fit into a URL that every server takes.
IDS_IN_A_REQUEST = 100


class Column(Generic[T]):
    """A field of a model in a condition, such as `Todo.title` on the class.

    Comparing it makes a `Condition`. For type checkers `Todo.title` is a `str`; `col(Todo.title)`
    is the same object under its true type, and offers the methods.

    Args:
        path: The field's name as the server stores it, with the names inside of it.
        encode: Turns a value of the field into JSON, by the field's own serialisation.
        encode_item: The same for one item of a list field.
        encode_bound: The same for a bound of an ordering, which need be no value of the field.
        owner: The model's name, for messages.
        scalar: The field never holds an array or an object.
        child: Makes the column of a field inside this one; without it the name is
            taken as it is.
        kinds: The types that a value may have, as far as they are known.
        stored: Whether the server has it at all.
        veil: Hides the values of the model's secret fields; None where it has none.
    """

    __iter__ = None

    def __init__(
        self,
        path: tuple[str, ...],
        *,
        encode: Callable[[Any], JsonValue] = to_json,
        encode_item: Callable[[Any], JsonValue] | None = None,
        encode_bound: Callable[[Any], JsonValue] | None = None,
        owner: str = "",
        scalar: bool = False,
        child: Callable[[str], Column[Any]] | None = None,
        kinds: Iterable[type] = (),
        stored: bool = True,
        veil: Veil | None = None,
    ) -> None:
        self.path = path
        self._encode = encode
        self._encode_item = encode_item or to_json
        self._encode_bound = encode_bound or encode
        self._owner = owner
        self._scalar = scalar
        self._child = child
        self._kinds = tuple(kinds)
        self._stored = stored
        self._veil = veil
        # Its name for messages that do not show values; empty where they may.
        self._secret = repr(self) if veil is not None and veil.hides(path) else ""

    def __repr__(self) -> str:
        path = self.path if self._veil is None else self._veil.cut(self.path)
        named = ".".join((self._owner, *path)) if self._owner else f"field({self.name!r})"
        return line(named)

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self!r} is a field, not a value: compare it, as in {self!r} == True")

    def __contains__(self, item: object) -> NoReturn:
        raise TypeError(f"`in` does not ask the server: col({self!r}).has({self._told(item)})")

    __hash__ = object.__hash__

    @property
    def name(self) -> str:
        """The field's name in a query string, with dots between nested names."""
        return ".".join(self.path)

    def __getitem__(self, name: str) -> Column[Any]:
        """A field inside this one, which holds an object: `col(Todo.address)["city"]`."""
        self._refuse_unstored()
        if not isinstance(name, str):
            raise TypeError(
                "Kinto looks into objects by name, not into arrays by place; for a key of a "
                f"dictionary write its text, as in col({self!r})[str(key)], not {shown(name)}"
            )
        if self._child:
            return self._child(name)
        return Column((*self.path, name), owner=self._owner, veil=self._veil)

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        """The field is there and has this value."""
        return self._equal(self._operand(other))

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        """The field is not there, or has another value."""
        return self.not_in([other])  # type: ignore[list-item]

    def __lt__(self, other: T) -> Condition:
        """The field is there, of the same type, and less."""
        return self._ordering("lt", other)

    def __le__(self, other: T) -> Condition:
        """The field is there, of the same type, and less or equal."""
        return self._ordering("max", other)

    def __gt__(self, other: T) -> Condition:
        """The field is there, of the same type, and greater."""
        return self._ordering("gt", other)

    def __ge__(self, other: T) -> Condition:
        """The field is there, of the same type, and greater or equal."""
        return self._ordering("min", other)

    def eq(self, value: T | None) -> Condition:
        """The same as `==`, but type checkers check the value."""
        return self == value

    def in_(self, values: Iterable[T | None]) -> Condition:
        """The field is there and has one of these values; none given, nothing matches.

        Raises:
            InvalidData: Of several values one is an array or object, or the field is
                last_modified.
        """
        given = self._operands(values)
        items = [each.json for each in given]
        if len(items) < 2:
            return self._equal(given[0]) if given else self._never()
        if self.path == LAST_MODIFIED or any(map(is_container, items)):
            raise InvalidData(
                f"Kinto's in_ takes strings, numbers, booleans and null, and not last_modified: "
                f"compare {self!r} with each value by ==, and give these to any_of()"
            )
        condition = self._condition(
            lambda value: any(each.equals(value) for each in given),
            ("in", join(items)),
            *(("not", dump(twin)) for twin in twins(items)),
        )
        return self._widened(condition, given) if is_spelled(given) else condition

    def not_in(self, values: Iterable[T | None]) -> Condition:
        """The field is not there, or has none of these values; none given, everything matches."""
        given = self._operands(values)
        items = [each.json for each in given]
        # In a list, commas of arrays and objects would split it, and a memory Kinto takes true
        # for 1; last_modified has no lists at all.
        single = self.path == LAST_MODIFIED or len(items) == 1
        alone = [item for item in items if single or is_container(item) or is_bit(item)]
        listed = [item for item in items if not contains(alone, item)]
        condition = self._condition(
            lambda value: not any(each.equals(value) for each in given),
            *([("exclude", join(listed))] if listed else []),
            *(("not", dump(item)) for item in alone),
        )
        # What is written in another way is found too, and so is a set in another order.
        return dataclasses.replace(condition, exact=False) if is_spelled(given) else condition

    def like(self, pattern: str) -> Condition:
        """The field is a string that fits a pattern; upper and lower case are the same.

        Args:
            pattern: `*` stands for any characters, all else for itself; a `*` itself cannot be
                asked for. Without any `*` the text may stand anywhere. Whether letters outside
                ASCII have two cases depends on the database's locale.

        Raises:
            InvalidData: The field is last_modified.
        """
        if not isinstance(pattern, str):
            raise TypeError(f"like takes a pattern, a str, not {self._told(pattern)}")
        if self.path == LAST_MODIFIED:
            raise InvalidData("last_modified is a number: like is for strings")
        # A memory Kinto fails on what is no string, unless an earlier filter keeps it out.
        strings = () if self.path == ID else (FLOOR["string"], ABOVE["string"])
        written = unseen(self._secret, pattern, lambda: dump(escape(pattern)))
        return self._condition(matcher(pattern), *strings, ("like", written))

    @overload
    def has(self: Column[list[V]], value: V) -> Condition: ...
    @overload
    def has(self: Column[set[V]], value: V) -> Condition: ...
    @overload
    def has(self: Column[frozenset[V]], value: V) -> Condition: ...
    @overload
    def has(self: Column[tuple[V, ...]], value: V) -> Condition: ...
    def has(self, value: object) -> Condition:
        """The field is an array that has this item."""
        return self._has([value])

    @overload
    def has_any(self: Column[list[V]], values: Iterable[V]) -> Condition: ...
    @overload
    def has_any(self: Column[set[V]], values: Iterable[V]) -> Condition: ...
    @overload
    def has_any(self: Column[frozenset[V]], values: Iterable[V]) -> Condition: ...
    @overload
    def has_any(self: Column[tuple[V, ...]], values: Iterable[V]) -> Condition: ...
    def has_any(self, values: Iterable[object]) -> Condition:
        """The field is an array that has one of these items; none given, nothing matches.

        Raises:
            InvalidData: The field is id or last_modified, or an item is an array or object of
                too many whole numbers.
        """
        return self._has(values)

    def _has(self, values: Iterable[object]) -> Condition:
        if self.path in OWN_TYPES:
            raise InvalidData(f"{self.name} is no array: has and has_any are for arrays")
        given = self._operands(values, self._encode_item)
        if not given:
            return self._never()
        condition = self._condition(
            lambda value: (
                isinstance(value, list) and any(e.equals(v) for v in value for e in given)
            ),
            *having([each.json for each in given]),
        )
        if not is_spelled(given):
            return condition
        return dataclasses.replace(
            condition, params=self._named([ARRAYS]), exact=False, meaning=condition.params
        )

    def exists(self, yes: bool = True) -> Condition:
        """The field is there at all, even as null, false, 0 or ""; or is not, for `False`."""
        self._refuse_unstored()
        if self.path in OWN_TYPES:
            return self._condition(lambda _: True) if yes else self._never()
        bounds = (("min", "null"), ("max", "true")) if yes else (("gt", "true"),)
        return Condition(
            self.path,
            lambda value: (value is not ABSENT) == bool(yes),
            requires=self._named((("has", dump(bool(yes))),)),
            instead=self._named(bounds) if self._scalar else (),
            veil=self._veil,
        )

    def asc(self) -> Order:
        """Sort by this field upwards: null, strings, numbers, booleans, last those without it.

        Datetimes sort as the server sorts their texts: right for those of one zone and one form,
        and not refused.

        Raises:
            InvalidData: Its values are texts of another order (decimals, time spans, addresses,
                paths), or it is never stored.
        """
        return self._order(False)

    def desc(self) -> Order:
        """Sort by this field downwards: first those without it, booleans, numbers, strings.

        Datetimes sort as the server sorts their texts; see `asc`.

        Raises:
            InvalidData: Its values are texts of another order (decimals, time spans, addresses,
                paths), or it is never stored.
        """
        return self._order(True)

    def _order(self, descending: bool) -> Order:
        self._refuse_unstored()
        for each in self._kinds:
            if sorts_wrongly(each, self._encode):
                raise InvalidData(
                    f"Kinto cannot sort by {self!r}: {NO_ORDER.format(each.__name__)}"
                )
        return Order(self.path, descending)

    def _refuse_unstored(self) -> None:
        if not self._stored:
            raise InvalidData(
                f"{self!r} is never stored (exclude=True), so that the server can neither find nor "
                "sort by it: choose among the objects in Python"
            )

    def _condition(self, test: Callable[[MaybeJson], bool], *filters: Param) -> Condition:
        self._refuse_unstored()
        return Condition(self.path, test, self._named(filters), veil=self._veil)

    def _never(self) -> Condition:
        self._refuse_unstored()
        return Condition(self.path, lambda _: False, impossible=True, veil=self._veil)

    def _equal(self, given: Operand) -> Condition:
        params = ((equality(self.path), dump(given.json)),)
        condition = Condition(self.path, given.equals, params, veil=self._veil)
        return self._widened(condition, [given]) if is_spelled([given]) else condition

    def _widened(self, condition: Condition, given: list[Operand]) -> Condition:
        """A condition that asks for all spellings of values, and leaves out what is not meant."""
        kinds = {each.kind for each in given}
        jsons = {type(each.json) for each in given}
        filters: list[Param] = []
        if jsons <= {str, NoneType}:
            filters = [ABOVE["string"]] if NoneType in jsons else [FLOOR["string"], ABOVE["string"]]
        if len(kinds) == 1 and (only := given[0].kind):
            filters += written(only.bounds([each.value for each in given]))
        elif jsons == {list}:
            filters = list(itertools.chain(*(having([item]) for item in items_of(given))))
        return dataclasses.replace(
            condition, params=self._named(filters), exact=False, meaning=condition.params
        )

    def _ordering(self, name: str, other: object) -> Condition:
        given = self._operand(other, self._encode_bound)
        bound = given.json
        wanted = kind(bound)
        self._refuse_unordered(other, given)
        compare, within = ORDERINGS[name]
        guard = () if self.path in OWN_TYPES else (within[wanted],)
        condition = self._condition(
            lambda value: kind(value) == wanted and bool(compare(value, bound)),
            (name, dump(bound)),
            *guard,
        )
        if given.kind is None or not given.kind.ordered:
            return condition
        read, least = given.kind.read, given.value
        return dataclasses.replace(
            condition,
            test=lambda value: (found := read(value)) is not ABSENT and bool(compare(found, least)),
            params=self._named((*written(given.kind.ordering(name, least)), *guard)),
            exact=False,
            meaning=condition.params,
        )

    def _refuse_unordered(self, value: object, given: Operand) -> None:
        """Refuse a bound that has no order in Python, or another one as it is stored."""
        if kind(given.json) not in FLOOR:
            raise InvalidData(
                f"{self!r} cannot be ordered against {self._told(value)}: Kinto orders strings, "
                "numbers and booleans"
            )
        if given.kind is not None and given.kind.ordered:
            return
        name = type(value).__name__
        if isinstance(value, str | int | float):
            return
        if isinstance(value, Enum):
            raise InvalidData(
                f"{self!r} cannot be ordered against {self._told(value)}: a {name} has no order in "
                "Python; use in_ with those that are meant, or make it an IntEnum or a StrEnum"
            )
        kept = given.kind is not ZONED_TIME and keeps_order(type(value), self._encode)
        if kept is False or (isinstance(given.json, str) and not kept):
            raise InvalidData(
                f"{self!r} cannot be ordered against {self._told(value)}: {NO_ORDER.format(name)}"
            )

    def _operands(
        self, values: Iterable[object], encode: Callable[[Any], JsonValue] | None = None
    ) -> list[Operand]:
        """The values, each once."""
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
            raise TypeError(f"{self!r} wants a list of values here, not {self._told(values)}")
        given: list[Operand] = []
        for each in (self._operand(value, encode) for value in values):
            if not any(other.equals(each.json) for other in given):
                given.append(each)
        return given

    def _operand(self, value: object, encode: Callable[[Any], JsonValue] | None = None) -> Operand:
        if isinstance(value, Column | Condition):
            raise TypeError(f"Kinto compares a field with a value, not {self!r} with {value!r}")
        self._refuse_unstored()
        return unseen(self._secret, value, lambda: self._read(value, encode or self._encode))

    def _read(self, value: object, encode: Callable[[Any], JsonValue]) -> Operand:
        given = operand(value, encode, repr(self))
        encoded = given.json
        if is_deep(encoded):
            raise InvalidData(
                f"{self!r} cannot be compared with this {type(value).__name__}: its lists and "
                f"objects are nested deeper than {MOST_LEVELS} levels, and nothing such is stored"
            )
        own = OWN_TYPES.get(self.path)
        if own and (type(encoded) is not own or (isinstance(encoded, int) and encoded < 0)):
            raise InvalidData(f"{self.name} is always {own.__name__}, never {shown(value)}")
        dump(encoded)
        return given

    def _told(self, value: object) -> str:
        return repr(HIDDEN) if self._secret else shown(value)

    def _named(self, filters: Iterable[Param]) -> tuple[Param, ...]:
        """Operators and values as parameters; Kinto's operators take plain names only."""
        name = plain_name(self.path)
        if name is None:
            raise InvalidData(
                f"Kinto can only ask for equality (==) of {self.name!r}: its operators want names "
                "of letters, digits and underscores"
            )
        return tuple((f"{prefix}_{name}", value) for prefix, value in filters)
