"""Conditions as they are written: what each means, and what is said of those that mean nothing."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from kinto_orm import InvalidData, Record, Session, col, field
from kinto_orm.queries.conditions import Condition, compile_conditions, compile_order
from kinto_orm.queries.written import read_condition, read_conditions, read_order

x = field("x")


class Place(BaseModel):
    city: str
    floor: int = 0


class Todo(Record, collection="todos"):
    title: str
    done: bool = False
    price: Decimal | None = None
    due: datetime | None = None
    tags: list[str] = []
    place: Place | None = None


def asked(conditions: list[Condition]) -> list[tuple[str, str]]:
    return list(compile_conditions(conditions).params)


WRITTEN = [
    ("x=1", x == 1),
    ("x = 1", x == 1),
    ('x="1"', x == "1"),
    ("x=one", x == "one"),
    ("x=null", x == None),  # noqa: E711
    ("x=false", x == False),
    ("x!=1.5", x != 1.5),
    ("x<2", x < 2),
    ("x<=2", x <= 2),
    ("x>b", x > "b"),
    ("x>=74", x >= 74),
    ("x~n*", x.like("n*")),
    ("x~7*", x.like("7*")),
    ("x~7", x.like("7")),
    ('x~"a b"', x.like("a b")),
    ("x in 1,2,three", x.in_([1, 2, "three"])),
    ("x in [1, 2]", x.in_([1, 2])),
    ("x in 1, 2", x.in_([1, 2])),
    ('x in "a,b",c', x.in_(["a,b", "c"])),
    ("x in 1", x == 1),
    ("x in []", x.in_([])),
    ("x not in a,b", x.not_in(["a", "b"])),
    ("x  not  in  a", x != "a"),
    ("x has urgent", x.has("urgent")),
    ("x has 1", x.has(1)),
    ("x exists", x.exists()),
    ("x not exists", x.exists(False)),
    ("x.city=Lyon", x["city"] == "Lyon"),
    ('x."city"=Lyon', x["city"] == "Lyon"),
    ('"a-b c"=2', field("a-b c") == 2),
    ("a-b=2", field("a-b") == 2),
    ("in=3", field("in") == 3),
    ("in in 3", field("in") == 3),
    ("has has 3", field("has").has(3)),
    ("exists exists", field("exists").exists()),
    ("not not exists", field("not").exists(False)),
    ("index=1", field("index") == 1),
    ("größe=ä", field("größe") == "ä"),
    ("x=NaN", x == "NaN"),
    ("x=-Infinity", x == "-Infinity"),
    ("x=[1,2]", x == [1, 2]),
    ('x={"a": 1}', x == {"a": 1}),
    ("x=2026-01-31", x == "2026-01-31"),
    ("x=a=b", x == "a=b"),
    ("x=https://a.example/?b", x == "https://a.example/?b"),
    ('x=""', x == ""),
    ("last_modified>5", field("last_modified") > 5),
]


@pytest.mark.parametrize(("text", "meant"), WRITTEN, ids=[each for each, _ in WRITTEN])
def test_what_is_written_is_what_is_asked(text: str, meant: Condition) -> None:
    """A condition means the same by itself and in a line, and as it means in Python."""
    line = "y=1 " + text + " z=2"
    for read in ([read_condition(text)], read_conditions(text), read_conditions(line)[1:2]):
        assert asked(read) == asked([meant])
    assert len(read_conditions(line)) == 3


def test_alone_a_value_goes_up_to_the_end() -> None:
    """What a shell gives as one argument needs no quotes inside; in a line they are needed."""
    assert asked([read_condition("x=Write the report")]) == asked([x == "Write the report"])
    with pytest.raises(InvalidData, match="no operator behind the"):
        read_conditions("x=Write the report")


def test_an_empty_line_has_no_conditions() -> None:
    """Nothing is asked, so that all is found."""
    assert read_conditions("") == read_conditions("  ") == []


REFUSED = [
    ("", "name of a field is missing"),
    ("x", "no operator behind x"),
    ("x y", "no operator behind x"),
    ("=1", "name of a field is missing"),
    ("x=", 'the empty text is written x=""'),
    ("x in ", "no value behind in"),
    ("x==1", "== is no operator"),
    ("x=>1", "=> is no operator"),
    ("x<>1", "<> is no operator"),
    ("x!1", "! is no operator"),
    ("x!~a", "!~ is no operator"),
    ("x.=1", "name of a field is missing"),
    ("x in 1,", "a value is missing"),
    ("x in [1", "begins like JSON and is none"),
    ("x in [1] y", "left over"),
    ("x exists y", "left over"),
    ("x=1 y=2", "looks like several conditions"),
    ('x=a y="b"', "looks like several conditions"),
    ('"a.b"=1', "a dot"),
    ("a-b>1", "only ask for equality"),
    ("x<null", "cannot be ordered"),
    ("id=7", "always str"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_what_means_nothing_is_refused(text: str, said: str) -> None:
    """The error says what is wrong with it, and no request is made of it."""
    with pytest.raises(InvalidData, match=said.replace('"', '\\"')):
        read_condition(text)


@pytest.mark.parametrize("line", ['x="a', 'x="a"y=1', "x=[1,2", "x={a}"])
def test_a_line_with_an_open_quote_is_refused(line: str) -> None:
    """Where a value ends must be plain."""
    with pytest.raises(InvalidData, match=r"begins like JSON|a blank is missing"):
        read_conditions(line)


TYPED = [
    ("title=123", Todo.title == "123"),
    ("done=false", Todo.done == False),
    ("price=10.50", Todo.price == Decimal("10.50")),
    ("due>=2026-01-31T00:00:00Z", col(Todo.due) >= datetime(2026, 1, 31, tzinfo=UTC)),
    ("due=null", col(Todo.due).eq(None)),
    ("tags has 7", col(Todo.tags).has("7")),
    ("title in 1,b", col(Todo.title).in_(["1", "b"])),
    ("place.city=5", col(Todo.place)["city"] == "5"),
    ("place.floor=5", col(Todo.place)["floor"] == 5),
    ("id=abc", Todo.id == "abc"),
    ("last_modified>5", Todo.last_modified > 5),
]


@pytest.mark.parametrize(("text", "meant"), TYPED, ids=[each for each, _ in TYPED])
def test_a_model_says_of_what_type_a_value_is(text: str, meant: Any) -> None:
    """A text field is compared with a text, a time with a time, however it is written."""
    assert asked([read_condition(text, Todo)]) == asked([meant])


@pytest.mark.parametrize("text", ["titel=x", "place.town=x", "due>soon", "done=maybe", "save=1"])
def test_a_model_refuses_what_it_does_not_have(text: str) -> None:
    """A wrong name or value is an error before anything is sent."""
    with pytest.raises(InvalidData):
        read_condition(text, Todo)


def test_orders() -> None:
    """Names with commas between them; a dash before one turns it around."""
    assert compile_order(read_order("-price, title,place.city")) == "-price,title,place.city"
    assert compile_order(read_order("-title", Todo)) == "-title"
    assert read_order("") == []
    for each in ["price,", "-", "a b", "price desc", "a.b.", "a-b,c"]:
        with pytest.raises(InvalidData):
            compile_order(read_order(each))
    with pytest.raises(InvalidData, match="did you mean 'title'"):
        read_order("titel", Todo)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.tuples(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), JSON), max_size=3))
def test_each_json_value_can_be_written(pairs: list[tuple[str, Any]]) -> None:
    """Whatever is written as JSON is compared as it is, alone and in a line."""
    written = [f"{name}={json.dumps(value)}" for name, value in pairs]
    try:
        meant = [field(name) == value for name, value in pairs]
    except InvalidData:
        return
    assert [each.params for each in read_conditions(" ".join(written))] == [
        each.params for each in meant
    ]
    assert [read_condition(each).params for each in written] == [each.params for each in meant]


@given(st.text(alphabet='ab1 "\\[]{}=!<>~.,-\n', max_size=12))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    """No text makes another error than the one that says what to write."""
    for read in (read_condition, read_conditions, read_order):
        with contextlib.suppress(InvalidData):
            read(text)


def test_what_is_found(session: Session) -> None:
    """A server finds by a written line what is meant by it."""
    todos = session.scoped(collection="todos")
    for number, city in enumerate(["Lyon", "Linz", "Ulm"]):
        Record(id=f"r{number}", city=city, price=number).save(session=todos)
    found = todos.find(Record, *read_conditions("city~l* price<1"))
    assert [each.id for each in found] == ["r0"]
    found = todos.find(Record, *read_conditions('city in "Lyon",Ulm')).order_by(
        *read_order("-price")
    )
    assert [each.id for each in found] == ["r2", "r0"]
