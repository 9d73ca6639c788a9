"""Conditions as data: what they ask of a Kinto server, put together into one query string."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from pydantic import JsonValue

from kinto_orm._shown import line
from kinto_orm.errors import InvalidData
from kinto_orm.wire.jsonvalues import MaybeJson, is_storable, look_up
from kinto_orm.wire.veils import Veil

Param = tuple[str, str]

ID: Final = ("id",)
LAST_MODIFIED: Final = ("last_modified",)
OWN_TYPES: Final[Mapping[tuple[str, ...], type]] = {ID: str, LAST_MODIFIED: int}
"""The two fields that every record has, and that Kinto does not keep as JSON."""

PLAIN_NAME: Final = re.compile(r"[\w.]+")


@dataclass(frozen=True, eq=False, repr=False)
class Condition:
    """One condition on one field, made by comparing a `Column`.

    Args:
        path: The field's name as the server stores it, with the names inside of it.
        test: The condition in Python, over the stored value.
        params: Names and values for the query string, not yet quoted; order matters.
        requires: The `has_` filter, which must be the first of the query string.
        instead: What may stand for `requires`, where the field holds a single value.
        impossible: True if no record can match, so that there is nothing to ask.
        exact: False if `params` find more than what meets the condition, so that `test` has to
            be applied to what is found.
        meaning: What tells an inexact condition from others with the same `params`.
        compared: What a field of links is compared with, as it was given.
        veil: Hides the values of the model's secret fields; None where it has none.
    """

    path: tuple[str, ...]
    test: Callable[[MaybeJson], bool]
    params: tuple[Param, ...] = ()
    requires: tuple[Param, ...] = ()
    instead: tuple[Param, ...] = ()
    impossible: bool = False
    exact: bool = True
    meaning: tuple[Param, ...] = ()
    compared: tuple[object, ...] = ()
    veil: Veil | None = None

    @property
    def names(self) -> frozenset[str]:
        """The fields that it asks for, as the server stores them."""
        return frozenset(self.path[:1])

    def matches(self, record: Mapping[str, JsonValue]) -> bool:
        """Say whether a record, given as its JSON object, meets the condition."""
        return self.test(look_up(record, self.path))

    def __repr__(self) -> str:
        asked = (*self.requires, *(self.meaning or self.params))
        told = asked if self.veil is None else self.veil.params(asked)
        said = ", ".join(f"{name}={value}" for name, value in told)
        return line(f"<condition {said or '.'.join(self.path) or 'of several'}>")

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a condition has no truth value before the server is asked: `and`, `not`, `in` and "
            "`1 < x < 3` do not work on it. All conditions of a query must hold: "
            "write find(x > 1, x < 3); where one of several is enough, any_of(a, b)"
        )

    def __and__(self, other: object) -> NoReturn:
        raise TypeError(
            "conditions are not joined by `&`: all that are given must hold, find(a, b)"
        )

    __rand__ = __and__

    def __or__(self, other: object) -> NoReturn:
        raise TypeError(
            "Kinto has no OR: write any_of(a, b), or, for several values of one field, "
            "col(field).in_([a, b])"
        )

    __ror__ = __or__

    def __invert__(self) -> NoReturn:
        raise TypeError("a condition cannot be negated by `~`: use !=, not_in or exists(False)")


@dataclass(frozen=True)
class Filter:
    """The conditions of a query, put together for one request.

    Args:
        params: Names and values for the query string, in this order, not yet quoted.
        impossible: True if no record can match, so that there is nothing to ask.
        meaning: The parameters as they would be if each could say what its condition means.
        inexact: The conditions that have to be applied to what is found.
    """

    params: tuple[Param, ...]
    impossible: bool
    meaning: tuple[Param, ...] = ()
    inexact: tuple[Condition, ...] = ()

    def shown(self, veil: Veil | None) -> Sequence[Param]:
        """What is asked, as it may be shown."""
        return self.meaning if veil is None else veil.params(self.meaning)

    def matches(self, record: Mapping[str, JsonValue]) -> bool:
        """Whether a record that was found is meant."""
        return all(each.matches(record) for each in self.inexact)


def compile_conditions(conditions: Iterable[object]) -> Filter:
    """Put conditions together into one query string, all of which must hold.

    Args:
        conditions: `Condition` objects; anything else is an error.

    Returns:
        The parameters, `has_` first; a condition on last_modified adds `not_deleted=true`, as
        Kinto would answer with tombstones too. That hides records of which a field `deleted` is
        true.

    Raises:
        TypeError: One is no condition, or has branches: `distributed` gives what one request asks.
        InvalidData: They ask for the existence of several fields of any type, where a memory
            Kinto would heed only the last.
    """
    given = [_checked(condition) for condition in conditions]
    presence = _presence(given)
    params = [*presence, *(param for each in given for param in each.params)]
    if any(each.path == LAST_MODIFIED and each.params for each in given):
        params.append(("not_deleted", "true"))
    impossible = any(each.impossible for each in given) or _contradict(given)
    meaning = (*presence, *(param for each in given for param in each.meaning or each.params))
    inexact = tuple(each for each in given if not each.exact)
    return Filter(tuple(distinct(params)), impossible, meaning, inexact)


def plain_name(path: tuple[str, ...]) -> str | None:
    """The name that Kinto's operators and `_sort` take for a field; None: they take it not.

    Raises:
        InvalidData: Kinto cannot filter by such a field at all.
    """
    name = dotted(path)
    return name if PLAIN_NAME.fullmatch(name) else None


def dotted(path: tuple[str, ...]) -> str:
    """The name of a field in a query string.

    Raises:
        InvalidData: Kinto cannot filter by such a field at all.
    """
    for name in path:
        _check_name(name)
    return ".".join(path)


def equality(path: tuple[str, ...]) -> str:
    """The parameter that asks for equality: the bare name where that is not plain.

    Raises:
        InvalidData: Kinto cannot filter by such a field at all.
    """
    name = dotted(path)
    if plain_name(path):
        return f"eq_{name}"
    # Kinto ignores bare names in _, and reads values behind these prefixes as lists.
    if name.startswith(("_", "in_", "exclude_", "contains_")):
        raise InvalidData(f"Kinto cannot filter by a field with the name {name!r}")
    return name


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name or name != name.strip() or not is_storable(name):
        raise InvalidData(f"Kinto cannot filter by a field with the name {name!r}")
    if "." in name:
        raise InvalidData(
            f"Kinto cannot filter by a field with a dot in its name: {name!r}. "
            'A field inside another one is written field("a")["b"]'
        )


def _checked(condition: object) -> Condition:
    if isinstance(condition, Condition):
        if not condition.path:
            raise TypeError("one request takes one branch of any_of: distributed() gives them")
        return condition
    raise TypeError(f"a query takes conditions, such as Todo.title == 'x', not {condition!r}")


def _presence(conditions: list[Condition]) -> list[Param]:
    """The filters for existence: `has_` once, as a memory Kinto heeds only the last one."""
    asked = list({each.requires: each for each in conditions if each.requires}.values())
    asked.sort(key=lambda each: bool(each.instead))
    if len(asked) > 1 and not asked[1].instead:
        names = " and ".join(".".join(each.path) for each in asked[:2])
        raise InvalidData(
            f"exists() of both {names} cannot be asked in one query: a Kinto with the memory "
            "backend heeds only the last one. Ask for one, or compare the other with a value"
        )
    return [
        *(param for each in asked[:1] for param in each.requires),
        *(param for each in asked[1:] for param in each.instead),
    ]


def _contradict(conditions: list[Condition]) -> bool:
    """Whether one field is asked to be there and not to be there."""
    asked = {each.requires: each.path for each in conditions if each.requires}
    return len(set(asked.values())) < len(asked)


def distinct(params: Iterable[Param]) -> Iterator[Param]:
    """Make each name the only one of its kind: of two equal ones Kinto forgets the first.

    It strips names, so that a space behind makes another name for the same filter.
    """
    seen: Counter[str] = Counter()
    for name, value in dict.fromkeys(params):
        yield name + " " * seen[name], value
        seen[name] += 1
