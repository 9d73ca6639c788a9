"""Conditions against real servers: what is found is what the condition means in Python.

Each table and each generated case runs on a Kinto with the memory backend, on one with PostgreSQL,
and on one in a file, with and without indexes. Where the library accepts a condition, all find the
records that `.matches` says.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from kinto_orm.errors import InvalidData
from kinto_orm.queries.conditions import Column, Condition, compile_conditions, compile_order, field
from kinto_orm.server import EmbeddedServer, open_local, open_memory, open_sqlite

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A collection of its own with some records in it."""

    get: Callable[[Iterable[tuple[str, str]]], list[Row]]
    delete: Callable[[str], None]

    def find(self, *conditions: Condition) -> set[str]:
        """The ids of the records that the server finds."""
        compiled = compile_conditions(conditions)
        return set() if compiled.impossible else {row["id"] for row in self.get(compiled.params)}


@dataclass(frozen=True)
class Backend:
    """A server under test: `fill` makes a table of these records, the key being the id."""

    name: str
    fill: Callable[[Mapping[str, Row]], Table]


@pytest.fixture(scope="module", params=["memory", "postgresql", "sqlite", "indexed"])
def backend(request: Any, tmp_path_factory: Any) -> Iterator[Backend]:
    """A Kinto with the memory backend, one with PostgreSQL, and two in files."""
    if request.param == "memory":
        server = open_memory()
    elif request.param == "postgresql":
        server = open_local(tmp_path_factory.mktemp("kinto"), durable=False)
    else:
        server = open_sqlite(tmp_path_factory.mktemp("kinto") / "app.db", durable=False)
    with server, requests.Session() as http:
        yield Backend(request.param, _filler(server, http, indexed=request.param == "indexed"))


def _schema(records: Mapping[str, Row]) -> Row:
    """A schema that takes anything, and asks for an index on each field."""
    names = {name for row in records.values() for name in row}
    return {"schema": {"properties": {name: {"x-indexed": True} for name in names}}}


def _filler(
    server: EmbeddedServer, http: requests.Session, *, indexed: bool
) -> Callable[[Mapping[str, Row]], Table]:
    http.mount(server.base_url, server.adapter())
    http.auth = server.auth
    numbers = itertools.count()

    def send(method: str, path: str, **keywords: Any) -> Any:
        reply = http.request(method, server.base_url + path, **keywords)
        assert reply.ok, reply.text
        return reply.json()

    def fill(records: Mapping[str, Row]) -> Table:
        bucket = "/buckets/filters"
        collection = f"{bucket}/collections/c{next(numbers)}"
        puts = [(bucket, {}), (collection, _schema(records) if indexed else {})]
        puts += [(f"{collection}/records/{name}", row) for name, row in records.items()]
        calls = [{"method": "PUT", "path": path, "body": {"data": row}} for path, row in puts]
        for start in range(0, len(calls), 25):
            answers = send("POST", "/batch", json={"requests": calls[start : start + 25]})
            assert all(each["status"] < 300 for each in answers["responses"]), answers
        return Table(
            get=lambda params: send("GET", f"{collection}/records", params=list(params))["data"],
            delete=lambda name: send("DELETE", f"{collection}/records/{name}"),
        )

    return fill


x = field("x")
tags = field("tags")

VALUES: dict[str, Any] = {
    "null": None,
    "zero": 0,
    "one": 1,
    "onefloat": 1.0,
    "two": 2,
    "half": 0.5,
    "least": -1.7976931348623157e308,
    "int53": 2**53,
    "int53b": 2**53 + 1,
    "int64": 2**64 - 1,
    "minus64": -(2**63),
    "false": False,
    "true": True,
    "empty": "",
    "text1": "1",
    "text2": "2.0",
    "texttrue": "true",
    "textnull": "null",
    "textlist": "[1]",
    "quoted": '"a"',
    "a": "a",
    "B": "B",
    "b": "b",
    "e": "é",
    "E": "É",
    "emoji": "😀",
    "private": "\ue000",
    "comma": "a,b",
    "quote": 'a"b',
    "backslash": "a\\b",
    "percent": "a%b",
    "underscore": "a_b",
    "dot": "a.b",
    "axb": "axb",
    "star": "a*b",
    "paren": "a(b",
    "bracket": "a[b",
    "nolist": [],
    "listone": [1],
    "listonefloat": [1.0],
    "listtrue": [True],
    "lista": ["a", "x,y"],
    "listnested": [[1], {"k": "v"}],
    "noobject": {},
    "city": {"city": "Paris", "n": 3},
    "cities": {"city": ["Paris"]},
    "town": {"city": None},
}
ROWS = {name: {"x": value} for name, value in VALUES.items()} | {"missing": {"y": 1}}
TEXTS = {name for name, value in VALUES.items() if isinstance(value, str)}
NUMBERS = {name for name, value in VALUES.items() if type(value) in (int, float)}
ALL = set(ROWS)


@pytest.fixture(scope="module")
def table(backend: Backend) -> Table:
    """One record for each kind of value."""
    return backend.fill(ROWS)


FOUND: list[tuple[list[Condition], set[str]]] = [
    # Values are decoded as JSON: numbers, strings and booleans stay apart.
    ([x == 1], {"one", "onefloat"}),
    ([x == "1"], {"text1"}),
    ([x == True], {"true"}),
    ([x == "true"], {"texttrue"}),
    ([x == None], {"null"}),  # noqa: E711
    ([x == "null"], {"textnull"}),
    ([x == "[1]"], {"textlist"}),
    ([x == '"a"'], {"quoted"}),
    ([x == "a,b"], {"comma"}),
    ([x == 2**53 + 1], {"int53b"}),
    ([x == 2**64 - 1], {"int64"}),
    ([x == []], {"nolist"}),
    ([x == ["a", "x,y"]], {"lista"}),
    ([x == {}], {"noobject"}),
    ([x == {"n": 3, "city": "Paris"}], {"city"}),
    ([field("nobody") == 1], set()),
    # Differing includes the records without the field.
    ([x != 1], ALL - {"one", "onefloat"}),
    ([x != None], ALL - {"null"}),  # noqa: E711
    ([x != []], ALL - {"nolist"}),
    ([x != "a,b"], ALL - {"comma"}),
    # Lists are split at commas before they are decoded; memory takes true for 1.
    ([x.in_(["a,b", 'a"b', "1", 2])], {"comma", "quote", "text1", "two"}),
    ([x.in_([1, 2, None])], {"one", "onefloat", "two", "null"}),
    ([x.in_([True, "a"])], {"true", "a"}),
    ([x.in_([0, False])], {"zero", "false"}),
    ([x.in_([])], set()),
    ([x.not_in(["a,b", 1])], ALL - {"comma", "one", "onefloat"}),
    ([x.not_in([True, None, ["a", "x,y"], "a"])], ALL - {"true", "null", "lista", "a"}),
    ([x.not_in([])], ALL),
    # Orderings stay within one type, and leave out the records without the field.
    ([x > 0.5], NUMBERS - {"zero", "half", "least", "minus64"}),
    ([x >= -(2**63)], NUMBERS - {"least"}),
    ([x < 1], {"zero", "half", "least", "minus64"}),
    ([x <= 1], {"zero", "half", "least", "minus64", "one", "onefloat"}),
    ([x > 2**53], {"int53b", "int64"}),
    ([x >= ""], TEXTS),
    ([x < ""], set()),
    ([x < "a"], {"empty", "text1", "text2", "textlist", "quoted", "B"}),
    ([x > "b"], {"e", "E", "emoji", "private", "texttrue", "textnull"}),
    ([x > "é"], {"emoji", "private"}),
    ([x > "\uffff"], {"emoji"}),
    ([x >= False], {"true", "false"}),
    ([x > False], {"true"}),
    ([x < True], {"false"}),
    ([x > 0, x < 2], {"half", "one", "onefloat"}),
    ([x > 0, x > 1, x != 2, x != 2**53], {"int53b", "int64"}),
    # like: one wildcard, the rest stands for itself, strings only.
    ([x.like("a*b")], {name for name in TEXTS if str(VALUES[name])[:1] == "a"} - {"a"}),
    ([x.like("a%b")], {"percent"}),
    ([x.like("A_B")], {"underscore"}),
    ([x.like("a.b")], {"dot"}),
    ([x.like("a(b")], {"paren"}),
    ([x.like("a[b")], {"bracket"}),
    ([x.like("a\\b")], {"backslash"}),
    ([x.like('A"*')], {"quote"}),
    ([x.like("1")], {"text1", "textlist"}),
    ([x.like("")], TEXTS),
    ([x.like("*")], TEXTS),
    ([x.like("b*")], {"b", "B"}),
    ([x.like("é")], {"e", "E"}),
    ([x.like("a*"), x.like("*b"), x.like("*,*")], {"comma"}),
    # has: items of arrays, never characters of strings.
    ([x.has("a")], {"lista"}),
    ([x.has("x,y")], {"lista"}),
    ([x.has(1)], {"listone", "listonefloat"}),
    ([x.has(True)], {"listtrue"}),
    ([x.has([1.0])], {"listnested"}),
    ([x.has({"k": "v"})], {"listnested"}),
    ([x.has_any(["a", True])], {"lista", "listtrue"}),
    ([x.has("a"), x.has("x,y")], {"lista"}),
    ([x.has_any([])], set()),
    # exists: there at all.
    ([x.exists()], ALL - {"missing"}),
    ([x.exists(False)], {"missing"}),
    ([x == 0, x.exists()], {"zero"}),
    ([x != 0, x.exists(), x.not_in(["a", "b"])], ALL - {"zero", "missing", "a", "b"}),
    ([field("y").exists(), x != 1], {"missing"}),
    # Nested names; one that leads nowhere is a missing field.
    ([x["city"] == "Paris"], {"city"}),
    ([x["city"] == None], {"town"}),  # noqa: E711
    ([x["city"] != "Paris"], ALL - {"city"}),
    ([x["n"] > 2], {"city"}),
    ([x["city"].like("p*")], {"city"}),
    ([x["city"].has("Paris")], {"cities"}),
    ([x["city"].exists()], {"city", "cities", "town"}),
    ([x["city"]["deeper"] == 1], set()),
    # The id is a string, always.
    ([field("id") == "one"], {"one"}),
    ([field("id") == "1"], set()),
    ([field("id") != "one"], ALL - {"one"}),
    ([field("id").in_(["one", "two", "3"])], {"one", "two"}),
    ([field("id").not_in(["one", "two"])], ALL - {"one", "two"}),
    ([field("id").like("LIST*")], {name for name in ALL if name.startswith("list")}),
    ([field("id") >= "t", field("id") < "te"], set()),
    ([field("id") > "e"], {name for name in ALL if name > "e"}),
    ([field("id").exists()], ALL),
]


@pytest.mark.parametrize(("conditions", "found"), FOUND, ids=range(len(FOUND)))
def test_found(table: Table, conditions: list[Condition], found: set[str]) -> None:
    """The server finds the records that the condition names, and Python agrees."""
    assert table.find(*conditions) == found
    assert {name for name in ALL if _meets({"id": name, **ROWS[name]}, conditions)} == found


def _meets(record: Row, conditions: Iterable[Condition]) -> bool:
    return all(each.matches(record) for each in conditions)


NAMES = ["min_age", "in_stock", "has_pets", "not_", "any_x", "_x", "été", "0", "eq_a-b"]
ODD_NAMES = ["a-b", "a b", "a:b", "a/b", "a&b", "a+b=c", "x,y", "min_a-b"]


@pytest.mark.parametrize("name", NAMES + ODD_NAMES)
def test_names_that_look_like_something_else(backend: Backend, name: str) -> None:
    """A field may be called like an operator, and with dashes it can be compared by ==."""
    rows = {"one": {name: 1}, "text": {name: "1"}, "two": {name: 2}, "other": {"other": 1}}
    table = backend.fill(rows)
    column = field(name)
    assert table.find(column == 1) == {"one"}
    assert table.find(column == "1") == {"text"}
    assert table.find(column == 1, column == 2) == set()
    if name in ODD_NAMES or "-" in name:
        with pytest.raises(InvalidData):
            column.in_([1, 2])
    else:
        assert table.find(column.in_([1, 2])) == {"one", "two"}
        assert table.find(column > 1) == {"two"}
        assert table.find(column.exists()) == {"one", "text", "two"}
        assert table.find(column != 1) == {"text", "two", "other"}


def test_times_without_tombstones(backend: Backend) -> None:
    """A condition on last_modified finds living records only."""
    table = backend.fill({name: {"x": 1} for name in "abcd"})
    times = {row["id"]: row["last_modified"] for row in table.get([])}
    table.delete("b")
    changed = field("last_modified")
    assert table.find(changed >= times["a"]) == {"a", "c", "d"}
    assert table.find(changed > times["a"], changed < times["d"]) == {"c"}
    assert table.find(changed == times["c"]) == {"c"}
    assert table.find(changed != times["c"]) == {"a", "d"}
    assert table.find(changed.not_in([times["a"], times["c"]])) == {"d"}
    assert table.find(changed.in_([times["a"]])) == {"a"}
    assert table.find(changed.exists(), field("x") == 1) == {"a", "c", "d"}


def test_existence_of_two_fields(backend: Backend) -> None:
    """Fields declared as single values can be asked for together."""
    rows = {"both": {"a": None, "b": 0}, "a": {"a": False}, "b": {"b": ""}, "none": {}}
    table = backend.fill(rows)
    a, b = (Column[Any]((name,), scalar=True) for name in "ab")
    assert table.find(a.exists(), b.exists()) == {"both"}
    assert table.find(a.exists(False), b.exists()) == {"b"}
    assert table.find(a.exists(False), b.exists(False)) == {"none"}


def test_order(backend: Backend) -> None:
    """Records come in the order of their types, then of their values, as documented."""
    values = {"missing": {}, "f": {"x": False}, "n2": {"x": 2}, "n1": {"x": 1}, "s": {"x": "é"}}
    rows = values | {"null": {"x": None}, "S": {"x": "Z"}}
    table = backend.fill(rows)
    up = ["null", "S", "s", "n1", "n2", "f", "missing"]
    assert [row["id"] for row in table.get([("_sort", compile_order([x]))])] == up
    assert [row["id"] for row in table.get([("_sort", compile_order([x.desc()]))])] == up[::-1]


def test_documented_limits_of_memory(backend: Backend) -> None:
    """What is said of what a memory Kinto does differently is all true."""
    rows = {
        "lines": {"x": "a\nb"},
        "keys": {"x": {"a": 1}},
        "true": {"x": [True, 5]},
        "one": {"x": [1, 5]},
        "sigma": {"x": "ς"},
        "big": {"x": 1.2345678901234567e19},
    }
    table = backend.fill(rows)
    on_memory = backend.name == "memory"
    assert table.find(x.like("a*b")) == (set() if on_memory else {"lines"})
    assert table.find(x.has("a")) == ({"keys"} if on_memory else set())
    assert table.find(x == [1, 5]) == ({"one", "true"} if on_memory else {"one"})
    assert table.find(x.like("Σ")) == ({"sigma"} if on_memory else set())
    nearest, shortest = int(1.2345678901234567e19), 12345678901234567000
    by_digits = backend.name == "postgresql"
    assert table.find(x == nearest) == (set() if by_digits else {"big"})
    assert table.find(x == shortest) == ({"big"} if by_digits else set())


# Generated cases. Three fields, so that each limit above is met nowhere: `like` is asked of
# text without line breaks and odd letters, `has` of fields without objects.
LOOKS_LIKE_JSON = [
    "2",
    "2.0",
    "true",
    "null",
    "[1]",
    '{"a":1}',
    '"x"',
    "NaN",
    "1e3",
    "-0",
    "\\u002c",
]
TRICKY = "aAbBzéÉ ,;\"'\\%_*.$^()[]{}+?|:&=#/019\t\x7f\u2028😀\ue000日"
tricky_text = st.sampled_from(LOOKS_LIKE_JSON) | st.text(TRICKY, max_size=4)
any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
numbers = (
    st.sampled_from([0, 1, 2, -1, 0.0, -0.0, 1.0, 0.5, 2**53, 2**53 + 1, 2**63, -(2**63)])
    | st.integers(-(2**63), 2**64 - 1)
    # Kinto reads floats of more than 15 digits less than exactly: one in ten changes a little.
    | st.integers(-(10**12), 10**12).map(lambda number: number / 1000)
)
scalars = st.none() | st.booleans() | numbers | tricky_text
items = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from("kl"), scalars)
plain = st.none() | st.integers(2, 9) | tricky_text
containers = st.lists(plain, max_size=2) | st.dictionaries(st.sampled_from("kl"), plain)


def _records() -> st.SearchStrategy[list[dict[str, Any]]]:
    record = st.fixed_dictionaries(
        {},
        optional={
            "x": scalars | containers,
            "text": any_text,
            "tags": st.lists(items, max_size=3) | scalars,
            "in_stock": st.dictionaries(st.sampled_from("kl"), scalars, max_size=2) | scalars,
        },
    )
    return st.lists(record, min_size=1, max_size=12)


def _patterns() -> st.SearchStrategy[str]:
    parts = st.lists(st.sampled_from(TRICKY.replace("*", "")) | st.just("*"), max_size=4)
    return parts.map("".join) | st.sampled_from(LOOKS_LIKE_JSON)


def _comparisons(column: Column[Any], values: st.SearchStrategy[Any]) -> list[Any]:
    ordered = values.filter(lambda each: isinstance(each, str | int | float))
    several = st.lists(values, max_size=4)
    return [
        values.map(lambda value: column == value),
        values.map(lambda value: column != value),
        ordered.map(lambda value: column < value),
        ordered.map(lambda value: column <= value),
        ordered.map(lambda value: column > value),
        ordered.map(lambda value: column >= value),
        several.map(column.in_),
        several.map(column.not_in),
    ]


def _conditions() -> st.SearchStrategy[Condition]:
    stock = field("in_stock")
    return st.one_of(
        *_comparisons(x, scalars),
        *_comparisons(field("text"), any_text),
        *_comparisons(stock["k"], scalars),
        containers.map(lambda value: x == value),
        containers.map(lambda value: x != value),
        containers.map(lambda value: x.not_in([value, 1])),
        _patterns().map(x.like),
        _patterns().map(stock["k"].like),
        items.map(tags.has),
        st.lists(items, max_size=3).map(tags.has_any),
        st.booleans().map(tags.exists),
        st.booleans().map(stock["l"].exists),
    )


def _anchored(data: st.DataObject, records: list[dict[str, Any]]) -> list[Condition]:
    """Conditions whose values are those of a record, so that something is found."""
    held = [row["x"] for row in records if "x" in row]
    texts = [each for each in held if isinstance(each, str)]
    found = [x == each for each in held[:1] if not isinstance(each, list | dict)]
    found += [x.like(each) for each in texts[:1]]
    found += [x.in_([*texts, 5])]
    found += [tags.has_any(row["tags"]) for row in records if isinstance(row.get("tags"), list)]
    return found


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_whatever_is_accepted_means_the_same_everywhere(
    backend: Backend, data: st.DataObject
) -> None:
    """For any records and conditions, the server finds what Python finds among its records."""
    records = data.draw(_records())
    table = backend.fill({f"r{number}": row for number, row in enumerate(records)})
    stored = table.get([])
    queries = data.draw(st.lists(st.lists(_conditions(), min_size=1, max_size=4), max_size=8))
    queries += [[condition] for condition in _anchored(data, records)]
    for query in queries:
        try:
            found = table.find(*query)
        except InvalidData:
            continue
        assert found == {row["id"] for row in stored if _meets(row, query)}, query
