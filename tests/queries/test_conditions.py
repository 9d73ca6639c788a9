"""Conditions as data: what they ask of the server, and what they refuse before it is asked."""

from __future__ import annotations

import enum
import math
import uuid
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinto_orm.errors import InvalidData
from kinto_orm.queries.conditions import (
    Column,
    Condition,
    Order,
    col,
    compile_conditions,
    compile_order,
    field,
)

LEAST = "-1.7976931348623157e+308"

x = field("x")


class Color(enum.Enum):
    RED = "red"


def encode_color(value: Color) -> str:
    """Fail on what is already encoded, as the serialiser of a typed field does."""
    return value.value


color = Column[Color](("color",), encode=encode_color, owner="Car")


COMPILED = [
    (x == "a", [("eq_x", '"a"')]),
    (x == "2", [("eq_x", '"2"')]),
    (x == 2, [("eq_x", "2")]),
    (x == None, [("eq_x", "null")]),  # noqa: E711
    (x == [1, "a,b"], [("eq_x", '[1,"a,b"]')]),
    (x != True, [("not_x", "true")]),
    (x >= 3, [("min_x", "3"), ("lt_x", "false")]),
    (3 <= x, [("min_x", "3"), ("lt_x", "false")]),  # noqa: SIM300
    (x > "a", [("gt_x", '"a"'), ("lt_x", LEAST)]),
    (x < 3, [("lt_x", "3"), ("min_x", LEAST)]),
    (x <= "a", [("max_x", '"a"'), ("min_x", '""')]),
    (x < True, [("lt_x", "true"), ("min_x", "false")]),
    (x.in_(["a,b", 'c"', 5]), [("in_x", '"a\\u002cb","c\\"",5')]),
    (x.in_([1, "a"]), [("in_x", '1,"a"'), ("not_x", "true")]),
    (x.in_([True, 1.0]), [("in_x", "true,1.0")]),
    (x.in_(["a"]), [("eq_x", '"a"')]),
    (x.in_(["a", "a"]), [("eq_x", '"a"')]),
    (x.not_in(["a", "b"]), [("exclude_x", '"a","b"')]),
    (x.not_in(["a", "b", 1]), [("exclude_x", '"a","b"'), ("not_x", "1")]),
    (x.not_in([]), []),
    (x.like("*50%_.*"), [("min_x", '""'), ("lt_x", LEAST), ("like_x", '"*50\\\\%\\\\_\\\\.*"')]),
    (x.like("a***b"), [("min_x", '""'), ("lt_x", LEAST), ("like_x", '"a*b"')]),
    (x.has("a"), [("gt_x", "true"), ("contains_any_x", '["a"]')]),
    (x.has(1), [("gt_x", "true"), ("contains_any_x", "[1,1.0]")]),
    (x.has_any([True, None]), [("gt_x", "true"), ("contains_any_x", "[true,null]")]),
    (x.exists(), [("has_x", "true")]),
    (x.exists(False), [("has_x", "false")]),
    (x["city"] == "Paris", [("eq_x.city", '"Paris"')]),
    (field("min_age") == 3, [("eq_min_age", "3")]),
    (field("_x") == 3, [("eq__x", "3")]),
    (field("a-b") == "2", [("a-b", '"2"')]),
    (field("in") != 3, [("not_in", "3")]),
    (field("id") == "2", [("eq_id", '"2"')]),
    (field("id") > "2", [("gt_id", '"2"')]),
    (field("id").like("a*"), [("like_id", '"a*"')]),
    (field("id").exists(), []),
    (field("last_modified") > 5, [("gt_last_modified", "5"), ("not_deleted", "true")]),
    (field("last_modified").exists(), []),
    (color == Color.RED, [("eq_color", '"red"')]),
    (color.in_([Color.RED]), [("eq_color", '"red"')]),
    (col(color).eq(Color.RED), [("eq_color", '"red"')]),
    (x == date(2026, 1, 31), [("eq_x", '"2026-01-31"')]),
    (x == uuid.UUID(int=1), [("eq_x", '"00000000-0000-0000-0000-000000000001"')]),
    (x > date(2026, 1, 31), [("gt_x", '"2026-01-31"'), ("lt_x", LEAST)]),
]


@pytest.mark.parametrize(("condition", "params"), COMPILED, ids=lambda each: repr(each)[:60])
def test_query_string(condition: Condition, params: list[tuple[str, str]]) -> None:
    """A condition becomes these parameters: an operator always, values as JSON, one type only."""
    compiled = compile_conditions([condition])
    assert list(compiled.params) == params
    assert not compiled.impossible


IMPOSSIBLE = [
    [x.in_([])],
    [x.has_any([])],
    [field("id").exists(False)],
    [x == 1, x.in_([])],
    [Column[int](("x",), scalar=True).exists(yes) for yes in (True, False)],
]


@pytest.mark.parametrize("conditions", IMPOSSIBLE, ids=range(len(IMPOSSIBLE)))
def test_nothing_to_ask(conditions: list[Condition]) -> None:
    """What no record can meet is known without the server."""
    assert compile_conditions(conditions).impossible
    assert not all(each.matches({"id": "a", "x": 1}) for each in conditions)


UNSENDABLE = [
    (lambda: x == -math.inf, "NaN"),
    (lambda: x > math.inf, "infinities"),
    (lambda: x == 2**64, "64 bits"),
    (lambda: x != {"a": [-(2**63) - 1]}, "64 bits"),
    (lambda: x == "\0", "NUL"),
    (lambda: x.like("a\0"), "NUL"),
    (lambda: x.in_(["a", "\ud800"]), "surrogates"),
    (lambda: x == {"\ud800": 1}, "surrogates"),
    (lambda: x == object(), "no form in JSON"),
    (lambda: x < None, "cannot be ordered"),
    (lambda: x >= [1], "cannot be ordered"),
    (lambda: x > {"a": 1}, "cannot be ordered"),
    (lambda: x.in_([[1], [2]]), "by =="),
    (lambda: field("last_modified").in_([1, 2]), "by =="),
    (lambda: field("last_modified") == "12", "always int"),
    (lambda: field("last_modified") > -1, "always int"),
    (lambda: field("last_modified") == True, "always int"),
    (lambda: field("last_modified").like("1*"), "like is for strings"),
    (lambda: field("id") == 2, "always str"),
    (lambda: field("id") != None, "always str"),  # noqa: E711
    (lambda: field("id").has("a"), "for arrays"),
    (lambda: x.has(list(range(7))), "so many whole numbers"),
    (lambda: field("a.b"), r'field\("a"\)\["b"\]'),
    (lambda: field("a")["b.c"] == 1, "a dot in its name"),
    (lambda: field(""), "with the name ''"),
    (lambda: field(" a"), "with the name ' a'"),
    (lambda: field("a\n"), "with the name"),
    (lambda: field("\ud800"), "with the name"),
    (lambda: field("a-b") != 1, "only ask for equality"),
    (lambda: field("a b") > 1, "only ask for equality"),
    (lambda: field("a-b").in_([1, 2]), "only ask for equality"),
    (lambda: field("a-b").exists(), "only ask for equality"),
    (lambda: field("a")["b-c"].like("x"), "only ask for equality"),
    (lambda: field("_a-b") == 1, "cannot filter"),
    (lambda: field("in_a-b") == 1, "cannot filter"),
    (lambda: compile_order([field("a-b").asc()]), "cannot sort"),
    (lambda: compile_conditions([x.exists(), field("y").exists()]), "both x and y"),
    (lambda: compile_conditions([x.exists(), field("y").exists(False)]), "both x and y"),
]


@pytest.mark.parametrize(("make", "message"), UNSENDABLE, ids=range(len(UNSENDABLE)))
def test_refused_before_sending(make: Any, message: str) -> None:
    """What the server would misread, or answer with 500, is an error that says so."""
    with pytest.raises(InvalidData, match=message):
        make()


MISUSED = [
    (lambda: bool(x == 1), "no truth value"),
    (lambda: 1 < x < 3, r"find\(x > 1, x < 3\)"),
    (lambda: (x > 1) and (x < 3), "no truth value"),
    (lambda: not (x > 1), "no truth value"),
    (lambda: (x > 1) | (x < 0), "no OR"),
    (lambda: True | (x < 0), "no OR"),
    (lambda: (x > 1) & (x < 3), "all that are given must hold"),
    (lambda: True & (x < 3), "all that are given must hold"),
    (lambda: ~(x == 1), "!=, not_in"),
    (lambda: bool(x), "compare it"),
    (lambda: not x, "compare it"),
    (lambda: "a" in x, r"\.has\(\'a\'\)"),
    (lambda: list(x), "not iterable"),
    (lambda: x[0], "not into arrays"),
    (lambda: x == field("y"), "with a value"),
    (lambda: x.in_([x == 1]), "with a value"),
    (lambda: x.in_("abc"), "a list of values"),
    (lambda: x.in_({"a": 1}), "a list of values"),
    (lambda: x.has_any(3), "a list of values"),
    (lambda: x.like(3), "a pattern"),
    (lambda: col("title"), r"col\(Todo.title\)"),
    (lambda: compile_conditions([True]), "takes conditions"),
    (lambda: compile_conditions([x]), "takes conditions"),
    (lambda: compile_order(["-x"]), r"col\(Todo.title\).desc\(\)"),
]


@pytest.mark.parametrize(("make", "message"), MISUSED, ids=range(len(MISUSED)))
def test_misuse_says_what_to_write(make: Any, message: str) -> None:
    """What Python allows and a query cannot mean is a TypeError that names the way."""
    with pytest.raises(TypeError, match=message):
        make()


def test_existence_comes_first() -> None:
    """A memory Kinto forgets every filter before `has_`, so it is the first of all."""
    compiled = compile_conditions([x > 1, field("y").exists(), field("z") == 2])
    assert [name for name, _ in compiled.params] == ["has_y", "gt_x", "lt_x", "eq_z"]


def test_existence_of_several_single_values() -> None:
    """Only one `has_` is ever sent; for fields of single values an ordering stands for others."""
    a, b = (Column[int]((name,), scalar=True) for name in "ab")
    assert compile_conditions([a.exists(), x.exists(), b.exists(False)]).params == (
        ("has_x", "true"),
        ("min_a", "null"),
        ("max_a", "true"),
        ("gt_b", "true"),
    )
    assert compile_conditions([x.exists(), x.exists()]).params == (("has_x", "true"),)


def test_no_name_twice() -> None:
    """Kinto keeps the last of two parameters of one name, so a repeated one gets a space behind."""
    compiled = compile_conditions([x != 1, x != 2, x != 1, x != 3])
    assert compiled.params == (("not_x", "1"), ("not_x ", "2"), ("not_x  ", "3"))


def test_tombstones_are_left_out_once() -> None:
    """Conditions on last_modified bring tombstones, which one filter leaves out again."""
    changed = field("last_modified")
    compiled = compile_conditions([changed > 1, changed < 9])
    assert compiled.params == (
        ("gt_last_modified", "1"),
        ("lt_last_modified", "9"),
        ("not_deleted", "true"),
    )


def test_order() -> None:
    """Orders and plain columns become the value of `_sort`, the first the most important."""
    assert compile_order([col(x).desc(), field("a")["b"], field("_c").asc()]) == "-x,a.b,_c"
    assert compile_order([]) == ""
    assert x.desc() == Order(("x",), descending=True)


def test_nested_columns_of_a_model() -> None:
    """The model makes the columns inside of a field, so that aliases count there too."""
    city = Column[str](("ville",), owner="Address")
    address = Column[Any](("address",), child={"city": city}.__getitem__)
    assert address["city"] is city


def test_names_in_messages() -> None:
    """A column calls itself as it is written, and may be a key of a dictionary."""
    assert repr(color) == "Car.color"
    assert repr(x) == "field('x')"
    assert {x: 1}[x] == 1


MATCHES: list[tuple[Condition, list[Any], list[Any]]] = [
    (x == 2, [2, 2.0], ["2", True, None, [2]]),
    (x == 1, [1, 1.0], [True, "1"]),
    (x == "2", ["2"], [2]),
    (x == {"a": [1]}, [{"a": [1.0]}], [{"a": [True]}, {"a": [1], "b": 1}]),
    (x != 2, ["2", None, [2]], [2, 2.0]),
    (x < 3, [-1, 2.5], [3, "1", None, False, [1]]),
    (x >= "b", ["b", "é"], ["B", 3, None]),
    (x.in_([1, None]), [1, None], [True, "1"]),
    (x.not_in([1, None]), [True, "1"], [1, None]),
    (x.like("a*z"), ["az", "A Z", "a\nz"], ["baz", 3]),
    (x.like("a.c"), ["xA.Cx"], ["abc"]),
    (x.has(1), [[1], [2, 1.0]], [[True], ["1"], 1, "1", {"1": 1}]),
    (x.exists(), [None, False, 0, "", []], []),
    (x["a"] == 1, [{"a": 1}], [{"b": 1}, [1], "a"]),
]


@pytest.mark.parametrize(("condition", "yes", "no"), MATCHES)
def test_meaning(condition: Condition, yes: list[Any], no: list[Any]) -> None:
    """A condition means the comparison in Python, with JSON's types kept apart."""
    assert [value for value in yes if not condition.matches({"x": value})] == []
    assert [value for value in no if condition.matches({"x": value})] == []


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (x == None, False),  # noqa: E711
        (x != None, True),  # noqa: E711
        (x != 1, True),
        (x.not_in([1, 2]), True),
        (x < 3, False),
        (x > "", False),
        (x.like("*"), False),
        (x.exists(), False),
        (x.exists(False), True),
        (x["a"] != 1, True),
    ],
)
def test_record_without_the_field(condition: Condition, found: bool) -> None:
    """A missing field differs from every value, null included, and is in no order."""
    assert condition.matches({"y": 1}) is found


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_lists_survive_the_split_at_commas(values: list[str]) -> None:
    """The server splits the list at every comma; each part is then one value's JSON."""
    params = dict(compile_conditions([x.not_in([*values, "a", "b"])]).params)
    assert len(params["exclude_x"].split(",")) == len({*values, "a", "b"})
