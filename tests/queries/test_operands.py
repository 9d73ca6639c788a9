"""Whatever a field is compared with: a condition that means Python's `==`, or a refusal at once."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, Field, HttpUrl, JsonValue, SecretStr

from kinto_orm import InvalidData, Record, col
from kinto_orm.queries.conditions import Condition


class Color(Enum):
    RED = "red"


class Size(StrEnum):
    L = "l"


class Level(IntEnum):
    LOW = 1


class Part(BaseModel):
    x: int = 0
    y: int | None = None
    hidden: str = Field("", exclude=True)


class Priced(BaseModel):
    amount: Decimal = Decimal(0)


ONE = UUID(int=1)
HELD: dict[Any, list[Any]] = {
    bool: [True, False],
    int: [0, 1, 80, 10**400],
    float: [0.5, 1.0, float("nan"), float("inf")],
    str: [
        *("", "x", "1", "red", "l", "/tmp", "a/b", "10.0.0.1", "10.0.0.0/8", "::1", str(ONE)),
        *("http://a/", "2026-01-01", "12:00:00", "PT1S", "1.5", "\0", "\ud800"),
    ],
    bytes: [b"", b"x", b"\xff"],
    Decimal: [Decimal(text) for text in ("1", "1.5", "NaN", "sNaN", "Infinity", "1E+999999999")],
    datetime: [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), datetime.min, datetime.max],
    date: [date(2026, 1, 1), date.min],
    time: [time(12), time(12, tzinfo=UTC)],
    timedelta: [timedelta(seconds=1), timedelta.max],
    UUID: [ONE],
    IPv4Address: [IPv4Address("10.0.0.1")],
    IPv6Address: [IPv6Address("::1")],
    IPv4Interface: [IPv4Interface("10.0.0.1/8")],
    IPv4Network: [IPv4Network("10.0.0.0/8")],
    Path: [Path("/tmp"), PurePosixPath("a/b")],
    HttpUrl: [HttpUrl("http://a/")],
    AnyUrl: [AnyUrl("http://a/")],
    SecretStr: [SecretStr("x")],
    Color: [Color.RED],
    Size: [Size.L],
    Level: [Level.LOW],
    Part: [Part(), Part(x=1)],
    Literal["x", 1]: ["x", 1],
    Any: [None, object(), int, len, 1j, ..., range(3), memoryview(b"x"), ValueError("x")],
    JsonValue: [{"x": 1}, {"x": 1, "y": None}, [1, "x"], {1: 2}, {ONE: 1}],
}
TYPES = list(HELD)
SCALARS = [each for each in TYPES if each not in (Any, JsonValue, Part)]


def _model() -> Any:
    names: dict[str, Any] = {}
    for number, kind in enumerate(TYPES):
        shapes = (kind, kind | None, list[kind], dict[str, kind])  # type: ignore[valid-type]
        names |= {f"f{number}_{place}": shape for place, shape in enumerate(shapes)}
    names |= {
        "excluded": str,
        "union": int | str,
        "pair": tuple[int, Path],
        "uuids": dict[UUID, Priced],
    }
    defaults = dict.fromkeys(names) | {"excluded": Field(None, exclude=True)}
    return type(
        "Anything", (Record,), {"__annotations__": names, "__module__": __name__, **defaults}
    )


Anything = _model()
FIELDS = [each for each in Anything.model_fields if each not in ("id", "last_modified")]


def _deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def _circular() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


single = st.sampled_from([each for values in HELD.values() for each in values])
operands = (
    st.recursive(
        single,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text(max_size=2), inner, max_size=2)
        ),
        max_leaves=5,
    )
    | st.sampled_from([150, 190, 210, 260, 1100, 5000]).map(_deep)
    | st.builds(_circular)
    | st.integers(-(10**6000), 10**6000)
    | st.sampled_from([{1, "x"}, frozenset(), {ONE}, {Path("/tmp")}])
)
WAYS: list[Callable[[Any, Any], object]] = [
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    lambda column, value: column.in_(value),
    lambda column, value: column.in_([value, value, "x", None]),
    lambda column, value: column.not_in([value, 1]),
    lambda column, value: column.like(value),
    lambda column, value: column.has(value),
    lambda column, value: column.has_any([value, value]),
    lambda column, value: column[value] == 1,
    lambda column, value: column["x"] == value,
    lambda column, value: col(column)["x"]["y"] != value,
]


@given(name=st.sampled_from(FIELDS), way=st.sampled_from(WAYS), value=operands)
def test_any_operand_of_any_field(name: str, way: Callable[[Any, Any], object], value: Any) -> None:
    """Nothing else gets out than the two errors, no warning, and at once."""
    try:
        condition = way(getattr(Anything, name), value)
    except (InvalidData, TypeError):
        return
    assert isinstance(condition, Condition)
    repr(Anything.find(condition))
    condition.matches({"id": "x"})


def _stored(name: str, value: Any) -> tuple[Any, Any]:
    """A value as it is stored and as it is loaded again."""
    json = Anything.model_construct(**{name: value}).model_dump(mode="json", include={name})
    return json, getattr(Anything.model_validate(json), name)


@given(data=st.data(), place=st.sampled_from([0, 1, 2, 3]))
def test_what_is_equal_is_equal_in_python(data: st.DataObject, place: int) -> None:
    """For the value of any type, and a field of any type; and so for items and dicts' values."""
    kind, other = data.draw(st.sampled_from(SCALARS)), data.draw(st.sampled_from(TYPES))
    name = f"f{TYPES.index(kind)}_{place}"
    value, operand = data.draw(st.sampled_from(HELD[kind])), data.draw(st.sampled_from(HELD[other]))
    shape: Callable[[Any], Any] = (lambda v: v, lambda v: v, lambda v: [v], lambda v: {"x": v})[
        place
    ]
    try:
        json, loaded = _stored(name, shape(value))
        condition = getattr(Anything, name) == shape(operand)
    except (ValueError, InvalidData):
        return
    if isinstance(operand, bool) == isinstance(value, bool):
        assert condition.matches(json) == bool(loaded == shape(operand))
    if place == 2:
        condition = col(getattr(Anything, name)).has(operand)
        assert not condition.matches(json) or operand in loaded


PATH = f"f{TYPES.index(Path)}"
REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: Anything.excluded == "x", "never stored"),
    (lambda: col(Anything.excluded).in_([]), "never stored"),
    (lambda: col(Anything.excluded).not_in(["x"]), "never stored"),
    (lambda: col(Anything.excluded).like("x"), "never stored"),
    (lambda: col(Anything.excluded).exists(), "never stored"),
    (lambda: col(Anything.excluded)["x"], "never stored"),
    (lambda: col(Anything.excluded).desc(), "never stored"),
    (lambda: Anything.find().order_by(Anything.excluded), "never stored"),
    (lambda: col(getattr(Anything, f"f{TYPES.index(Part)}_0"))["hidden"] == "x", "never stored"),
    (lambda: getattr(Anything, f"{PATH}_0") == "/tmp", "Write a value of its type"),
    (lambda: getattr(Anything, f"{PATH}_1") != "/tmp", "Write a value of its type"),
    (lambda: getattr(Anything, f"{PATH}_2") == ["/tmp"], "Write a value of its type"),
    (lambda: col(getattr(Anything, f"{PATH}_2")).has("/tmp"), "Write a value"),
    (lambda: col(getattr(Anything, f"{PATH}_3"))["x"] == "/tmp", "Write a value"),
    (lambda: Anything.pair == (1, "/tmp"), "Write a value"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_can_find_nothing_is_refused(make: Callable[[], object], message: str) -> None:
    """At once, with what is wrong."""
    with pytest.raises(InvalidData, match=message):
        make()


def test_the_values_of_a_dict_have_their_declared_type() -> None:
    """As fields have: `10` and `10.0` are equal."""
    amount = col(Anything.uuids)[str(ONE).replace("-", "_")]["amount"]
    assert (amount == Decimal(10)).matches(
        {"uuids": {str(ONE).replace("-", "_"): {"amount": "10.0"}}}
    )
    with pytest.raises(InvalidData, match="amount"):
        col(Anything.uuids)[str(ONE)]["amont"]


def test_a_key_that_is_no_text() -> None:
    """The text of the key is named."""
    with pytest.raises(
        TypeError, match=r"write its text, as in col\(Anything.uuids\)\[str\(key\)\]"
    ):
        col(Anything.uuids)[ONE]  # type: ignore[index]
