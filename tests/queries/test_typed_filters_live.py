"""Conditions over every scalar type that Pydantic has: what is found is what Python would find.

Each generated case runs on the memory backend and on PostgreSQL. The records are written by the
library; what a query answers is compared with a filter in Python over the loaded objects, and all
ways of asking are compared with each other.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AnyUrl,
    AwareDatetime,
    NaiveDatetime,
    PlainSerializer,
    SecretStr,
    create_model,
)

from conftest import Backend
from kinto_orm import Bucket, InvalidData, Record, Session, col


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Size(StrEnum):
    L = "l"
    S = "s"
    XL = "xl"


class Level(IntEnum):
    LOW = 1
    HIGH = 10


class Kind(Enum):
    ONE = 1
    TEN = 10


ZONES = [UTC, *(timezone(timedelta(minutes=m)) for m in (120, -210, 840, -720, 1439, -1439))]
NOON = datetime(2026, 3, 1, 12)

naive = st.builds(
    lambda base, seconds, micros: base + timedelta(seconds=seconds, microseconds=micros),
    st.sampled_from([NOON, NOON - timedelta(hours=11, minutes=59), datetime(999, 12, 31, 23, 59)]),
    st.sampled_from([0, 0, 1, 59, 60, 3600, 86399, -86400]),
    st.sampled_from([0, 0, 1, 1000, 100_000, 999_999]),
)
aware = st.builds(
    lambda at, zone: at.replace(tzinfo=UTC).astimezone(zone), naive, st.sampled_from(ZONES)
)
SPELLINGS = (
    "0 -0 0.0 0E+3 0E-9 1 1.0 -1 9 10 10.0 10.00 1E+1 1.0E+1 100 1E+2 -10 -1E+1 9.99 9.990 0.5 "
    "0.50 0.000001 0.0000010 1E-7 1.0E-7 0.00000010 123456789012345678901234567890.5"
)
decimals = st.sampled_from([Decimal(text) for text in SPELLINGS.split()]) | st.decimals(
    -100, 100, places=2
)
times = st.builds(
    time,
    st.sampled_from([0, 9, 10, 23]),
    st.sampled_from([0, 59]),
    st.sampled_from([0, 5]),
    st.sampled_from([0, 0, 1, 500_000]),
)
addresses = st.sampled_from(["10.0.0.9", "10.0.0.10", "9.1.1.1", "100.0.0.1"])

TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "bool": (bool, st.booleans()),
    "int": (int, st.sampled_from([0, 1, 9, 10, -1, -10, 2**53 + 1])),
    "float": (float, st.sampled_from([0.0, 1.0, 0.5, 9.0, 10.0, -1.5, 1e300])),
    "str": (str, st.sampled_from(["", "a", "b", "ab", "B", "é", "10", "9", "true", "null"])),
    "bytes": (bytes, st.sampled_from([b"", b"a", b"b", b"ab", "é".encode(), b"10", b"9", b"Z~"])),
    "decimal": (Decimal, decimals),
    "datetime": (datetime, aware | naive),
    "aware": (AwareDatetime, aware),
    "naive": (NaiveDatetime, naive),
    "date": (date, st.sampled_from([date(999, 12, 31), date(2026, 1, 9), date(2026, 1, 10)])),
    "time": (time, times | st.builds(time.replace, times, tzinfo=st.sampled_from(ZONES))),
    "timedelta": (
        timedelta,
        st.sampled_from([0, 1, 9, 10, -9, 60, 0.5, 86400]).map(lambda n: timedelta(seconds=n)),
    ),
    "uuid": (UUID, st.sampled_from([0, 9, 10, 2**127]).map(lambda n: UUID(int=n))),
    "ipv4": (IPv4Address, addresses.map(IPv4Address)),
    "ipv6": (IPv6Address, st.sampled_from(["::9", "::10", "::a", "1::"]).map(IPv6Address)),
    "interface": (IPv4Interface, addresses.map(lambda text: IPv4Interface(f"{text}/8"))),
    "network": (IPv4Network, st.sampled_from(["9.0.0.0/8", "10.0.0.0/8"]).map(IPv4Network)),
    "path": (Path, st.sampled_from(["a/b", "a-b", "a", "b"]).map(Path)),
    "url": (AnyUrl, st.sampled_from(["http://a/b", "http://a-b/", "http://a/"]).map(AnyUrl)),
    "color": (Color, st.sampled_from(Color)),
    "size": (Size, st.sampled_from(Size)),
    "level": (Level, st.sampled_from(Level)),
    "kind": (Kind, st.sampled_from(Kind)),
    "literal": (Literal["a", "b", 1, 10], st.sampled_from(["a", "b", 1, 10])),
    "union": (int | str, st.sampled_from([1, 10, 9, "1", "10", "9", "a"])),
    "secret": (
        Annotated[SecretStr, PlainSerializer(SecretStr.get_secret_value, when_used="json")],
        st.sampled_from(["a", "b", "ab"]).map(SecretStr),
    ),
    "cents": (
        Annotated[Decimal, PlainSerializer(float, when_used="json")],
        st.sampled_from([Decimal(n) for n in ("9", "10", "10.0", "0.5", "-1", "100")]),
    ),
    "fixed": (
        Annotated[
            AwareDatetime,
            PlainSerializer(
                lambda at: at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), when_used="json"
            ),
        ],
        aware.filter(lambda at: at.year > 1000),
    ),
}

# What else such a field may be compared with: the values of members, and bounds that are none.
ALSO: dict[str, st.SearchStrategy[Any]] = {
    "color": st.sampled_from(["red", "blue"]),
    "size": st.sampled_from(["l", "s", "xl", "m", ""]),
    "level": st.sampled_from([1, 10, 1.0, True, 5, 0, 10.5]),
    "kind": st.sampled_from([1, 10]),
    "literal": st.sampled_from([True, 1.0, "b", "ab", 9]),
}

Part = create_model(
    "Part",
    **{name: (kind | None, None) for name, (kind, _) in TYPES.items()},  # type: ignore[call-overload]
)
Everything: Any = create_model(
    "Everything",
    __base__=Record,
    part=(Part, Part()),
    **{name: (kind | None, None) for name, (kind, _) in TYPES.items()},
    **{f"{name}_list": (list[kind], []) for name, (kind, _) in TYPES.items()},
    **{f"{name}_set": (set[kind], set()) for name, (kind, _) in TYPES.items()},
)


@dataclass(frozen=True)
class Asked:
    """A condition, and what it means in Python."""

    condition: Any
    test: Callable[[Any], bool]
    shown: str


def _ordering(compare: Callable[[Any, Any], Any], bound: Any) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        if _kind(value) != _kind(bound):
            return False
        try:
            return bool(compare(value, bound))
        except TypeError:
            return False

    return test


def _kind(value: Any) -> str:
    if isinstance(value, datetime | time):
        return f"{type(value)} {value.utcoffset() is None}"
    return "text" if isinstance(value, str) else "number" if isinstance(value, int) else ""


ORDERINGS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def _same(value: Any, other: Any) -> bool:
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


@st.composite
def _asked(draw: Any) -> Asked | None:
    """A condition on a field, on one inside another, on a list or a set; None: it is refused."""
    name = draw(st.sampled_from(sorted(TYPES)))
    values = TYPES[name][1]
    shape = draw(st.sampled_from(["plain", "nested", "list", "set"]))
    how = draw(st.sampled_from(["==", "!=", "in", "not in", "several", *ORDERINGS]))
    get = operator.attrgetter(f"part.{name}" if shape == "nested" else name)
    column = col(Everything.part)[name] if shape == "nested" else getattr(Everything, name)
    if shape in ("list", "set"):
        column, get = getattr(Everything, f"{name}_{shape}"), operator.attrgetter(f"{name}_{shape}")
        how = draw(st.sampled_from(["has", "has any", "whole", "not whole"]))
    values = values | ALSO[name] if name in ALSO else values
    value, several = draw(values), draw(st.lists(st.none() | values, max_size=3))
    held = [each for each in several if each is not None]
    whole = [value, *held] if shape == "list" else {value, *held}
    ways: dict[str, tuple[Callable[[], Any], Callable[[Any], bool]]] = {
        "==": (lambda: column == value, lambda v: v == value),
        "!=": (lambda: column != value, lambda v: v != value),
        "in": (lambda: column.in_([value, *several]), lambda v: v in [value, *several]),
        "several": (lambda: column.in_(several), lambda v: v in several),
        "not in": (lambda: column.not_in(several), lambda v: v not in several),
        "has": (lambda: column.has(value), lambda v: any(_same(each, value) for each in v)),
        "has any": (lambda: column.has_any(held), lambda v: any(each in held for each in v)),
        "whole": (lambda: column == whole, lambda v: v == whole),
        "not whole": (lambda: column != whole, lambda v: v != whole),
    }
    for sign, compare in ORDERINGS.items():
        ways[sign] = (lambda c=compare: c(column, value), _ordering(compare, value))  # type: ignore[misc]
    make, test = ways[how]
    try:
        condition = make()
    except InvalidData:
        return None
    shown = f"{name} {shape} {how} {value!r} {several!r}"
    return Asked(condition, lambda each: test(get(each)), shown)


@st.composite
def _record(draw: Any, number: int) -> Any:
    given: dict[str, Any] = {}
    part: dict[str, Any] = {}
    for name, (_, values) in TYPES.items():
        given[name] = draw(st.none() | values)
        part[name] = draw(st.none() | values)
        given[f"{name}_list"] = draw(st.lists(values, max_size=2))
        given[f"{name}_set"] = draw(st.sets(values, max_size=2))
    return Everything(id=f"r{number}", part=Part(**part), **given)


@pytest.fixture
def place(backend: Backend) -> Any:
    """Gives sessions, each with an empty collection."""
    session = backend.session(bucket=backend.new_id("typed"))
    with session:
        bucket = Bucket(id=session.bucket).save()

        def new() -> Session:
            collection = bucket.collections.new(id=backend.new_id("c")).save()
            return session.scoped(collection=collection.id)

        yield new


@given(data=st.data())
@settings(max_examples=settings.default.max_examples // 6)
def test_what_is_found_is_what_python_finds(place: Callable[[], Session], data: Any) -> None:
    """For any records and conditions that are not refused, however they are asked."""
    session = place()
    records = [data.draw(_record(number)) for number in range(data.draw(st.integers(2, 8)))]
    assert session.save_all(records).created == len(records)
    loaded = Everything.find(session=session).all()
    asked = [each for each in data.draw(st.lists(_asked(), min_size=25, max_size=25)) if each]
    for each in asked:
        expected = [item.id for item in loaded if each.test(item)]
        query = Everything.find(each.condition, session=session)
        assert [item.id for item in query] == expected, each.shown
        assert query.count() == len(expected), each.shown
        assert all(item.diff() == {} for item in query)
    pair = asked[:2]
    expected = [item.id for item in loaded if all(each.test(item) for each in pair)]
    query = Everything.find(*(each.condition for each in pair), session=session)
    _agrees(query, expected)
    assert query.delete() == len(expected)
    left = [item.id for item in Everything.find(session=session)]
    assert left == [item.id for item in loaded if item.id not in expected]


def _agrees(query: Any, expected: list[str]) -> None:
    """All ways to ask give the same objects."""
    assert query.exists() == bool(expected)
    first = query.first()
    assert (first and first.id) == (expected[0] if expected else None)
    assert [item.id for item in query.only("int")] == expected
    for size in (1, 3):
        sized = query.page_size(size)
        assert [item.id for item in sized] == expected
        for page in sized.pages():
            position = page.position
            rest = expected[expected.index(page[-1].id) + 1 :]
            assert position or not rest
            if position:
                assert [item.id for item in query.resume(position)] == rest
    for most in (1, 2, 5):
        assert [item.id for item in query.limit(most)] == expected[:most]


# Orderings and orders that are refused, and those that are not

ORDERED = {"bool", "int", "float", "str", "bytes", "datetime", "aware", "naive", "date", "uuid"} | {
    "time", "size", "level", "literal", "union", "cents", "fixed",
}  # fmt: skip
UNSORTABLE = {"decimal", "timedelta", "ipv4", "ipv6", "interface", "network", "path"}


def _sample(name: str, data: st.DataObject) -> Any:
    values = TYPES[name][1]
    if name == "time":
        values = values.filter(lambda each: each.tzinfo is None)
    return data.draw(values)


@given(data=st.data())
@settings(max_examples=5)
@pytest.mark.parametrize("name", sorted(TYPES))
def test_what_has_no_order_is_refused(name: str, data: st.DataObject) -> None:
    """An ordering is accepted or refused by the type; the refusal says what to do instead."""
    column, value = getattr(Everything, name), _sample(name, data)
    for compare in ORDERINGS.values():
        if name in ORDERED:
            compare(column, value)
            continue
        with pytest.raises(InvalidData, match=r"cannot be ordered.*(Store|in_)"):
            compare(column, value)
    if name in UNSORTABLE:
        with pytest.raises(InvalidData, match="cannot sort by"):
            Everything.find().order_by(column)
        with pytest.raises(InvalidData, match="cannot sort by"):
            col(column).desc()
    else:
        Everything.find().order_by(column, col(column).desc())


@given(data=st.data())
@settings(max_examples=5)
@pytest.mark.parametrize("name", sorted(TYPES))
def test_equality_is_never_refused_for_a_scalar(name: str, data: st.DataObject) -> None:
    """Whatever the type; so the comparison above compares what it says."""
    column, value = getattr(Everything, name), _sample(name, data)
    for condition in (column == value, column != value, column.in_([value, None])):
        assert condition.params or not condition.exact
    assert getattr(Everything, f"{name}_list").has(value).params
