"""Indexes that a schema asks for: when there are any, who takes them, and what is found."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from kinto_orm import Bucket, Collection, Record, Session
from kinto_orm.server.sqlite.database import Database
from kinto_orm.server.sqlite.values import key

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from kinto.core.storage import MISSING, Filter, Sort
    from kinto.core.utils import COMPARISON

    from kinto_orm.server.sqlite import indexes
    from kinto_orm.server.sqlite.storage import Storage
    from kinto_orm.server.sqlite.transactions import Work

INDEXED = Field(json_schema_extra={"x-indexed": True})
RECORDS = "/buckets/b/collections/c"
FIELDS = ("x", "y", "address.city")


class Address(BaseModel):
    city: Annotated[str, INDEXED] = ""
    street: str = ""


class Plain(Record, collection="todos"):
    title: str
    n: int = 0


class Todo(Record, collection="todos"):
    title: Annotated[str, INDEXED]
    n: Annotated[int | None, INDEXED] = None
    address: Address | None = None
    others: list[Address] = []


def mark(*fields: str) -> dict[str, Any]:
    """A schema that marks these fields, which may be inside of objects."""
    whole: dict[str, Any] = {}
    for field in fields:
        part = whole
        for name in field.split("."):
            part = part.setdefault("properties", {}).setdefault(name, {})
        part["x-indexed"] = True
    return whole


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "app.db", durable=False, busy_seconds=5)
    yield opened
    opened.close()


@pytest.fixture
def storage(database: Database) -> Storage:
    return Storage(Work(database, joined=False), 10_000)


def there(database: Database, parent: str = RECORDS) -> set[str]:
    """The fields of a list that have an index, in the table and among the file's own."""
    with database.transaction(writes=False) as connection:
        found = indexes.of(connection, "record", parent)
        made = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name GLOB 'field_*'"
        )
        kept = connection.execute("SELECT count(*) FROM field_indexes")
        assert made.fetchone() == kept.fetchone()
    return set(found)


# --- what a schema asks for -----------------------------------------------------------------


def test_a_model_marks_its_fields_and_those_of_models_in_it() -> None:
    """Also where they are optional; not what is in lists, which no condition compares."""
    found = indexes.declared(Todo.model_json_schema())
    assert found == ["title", "n", "address.city"]


@pytest.mark.parametrize(
    "schema",
    [
        None,
        7,
        [],
        {"properties": 3},
        {"properties": {"a": 3}},
        {"properties": {"a": {"x-indexed": "yes"}, "": {"x-indexed": True}}},
        {"properties": {"a.b": {"x-indexed": True}, "\ud800": {"x-indexed": True}}},
        {"properties": {"a" * 300: {"x-indexed": True}}},
        {"x-indexed": True, "anyOf": 5, "$ref": "#/$defs/none", "$defs": []},
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 9}}},
    ],
)
def test_what_marks_no_field_is_no_error(schema: Any) -> None:
    """The server takes any schema, and so does this."""
    assert indexes.declared(schema) == []


def test_a_part_of_itself_is_followed_down() -> None:
    """As far as there may be indexes, the outer fields first."""
    node = {"properties": {"v": {"x-indexed": True}, "next": {"$ref": "#/$defs/n"}}}
    found = indexes.declared({**node, "$defs": {"n": node}})
    assert found[:3] == ["v", "next.v", "next.next.v"]
    assert len(found) == indexes.MOST


# --- when they are made and dropped ---------------------------------------------------------


def test_they_live_with_the_collection(database: Database, storage: Storage) -> None:
    """Made with it, changed with its schema, and gone with it."""
    storage.create("collection", "/buckets/b", {"id": "c", "schema": mark("x", "y")})
    assert there(database) == {"x", "y"}
    storage.update("collection", "/buckets/b", "c", {"schema": mark("y", "a.z")})
    assert there(database) == {"y", "a.z"}
    storage.delete("collection", "/buckets/b", "c")
    assert there(database) == set()
    storage.update("collection", "/buckets/b", "c", {"schema": mark("x")})
    assert there(database) == {"x"}
    storage.update("collection", "/buckets/b", "c", {"id": "c"})
    assert there(database) == set()


@pytest.mark.parametrize("resource_name", [None, "collection"])
def test_they_go_with_the_bucket(
    database: Database, storage: Storage, resource_name: str | None
) -> None:
    """However its collections are deleted; those of other buckets stay."""
    for bucket in ("b", "other"):
        schema = mark("x", "id", "y")
        storage.create("collection", f"/buckets/{bucket}", {"id": "c", "schema": schema})
        storage.create("record", f"/buckets/{bucket}/collections/c", {"id": "r", "x": 1})
    storage.delete_all(resource_name, "/buckets/b*", with_deleted=resource_name is not None)
    storage.purge_deleted(None, "/buckets/b*")
    assert there(database) == set()
    assert there(database, "/buckets/other/collections/c") == {"x", "y"}
    storage.flush()
    assert there(database, "/buckets/other/collections/c") == set()


def test_an_empty_collection_that_is_purged_keeps_them(
    database: Database, storage: Storage
) -> None:
    """Else its number would be another list's, and its next records would have none."""
    storage.create("collection", "/buckets/b", {"id": "c", "schema": mark("x")})
    storage.purge_deleted(None, "*")
    storage.create("record", RECORDS, {"id": "r", "x": 1})
    assert there(database) == {"x"}
    assert storage.count_all("record", RECORDS, [Filter("x", 1, COMPARISON.EQ)]) == 1


@pytest.mark.parametrize(
    "name", ["x'); DROP TABLE objects; --", 'a"b', "a b", "é😀", "%", "x'00'", "\0", "select"]
)
def test_any_name_can_have_one(database: Database, storage: Storage, name: str) -> None:
    """No name of a field becomes a part of a statement."""
    storage.create("collection", "/buckets/b", {"id": "c", "schema": mark(name)})
    storage.create("record", RECORDS, {"id": "r", name: 1})
    storage.create("record", RECORDS, {"id": "s", name: 2})
    assert there(database) == {name}
    found = storage.list_all("record", RECORDS, [Filter(name, 2, COMPARISON.EQ)])
    assert [each["id"] for each in found] == ["s"]
    found = storage.list_all("record", RECORDS, sorting=[Sort(name, -1)])
    assert [each["id"] for each in found] == ["s", "r"]


def test_a_model_with_indexes_is_synced_once(tmp_path: Path) -> None:
    """The plan says which; that alone reads no record; what was declared goes with the model."""
    path = tmp_path / "app.db"
    with Session(f"sqlite:///{path}", bucket="b") as session:
        session.sync_schema(Plain)
        Plain(title="x").save()
        plan = session.sync_schema(Todo)
        assert plan[0].indexed == ["title"]
        assert (plan[0].added, plan[0].changed) == (["address", "others"], ["n"])
        assert not session.sync_schema(Todo)
        assert Todo.find(Todo.title == "x").count() == 1
        collection = Collection.get("todos")
        schema = collection.json_schema
        assert schema is not None
        del schema["properties"]["title"]["x-indexed"]
        collection.json_schema = schema
        collection.save()
        plan = session.sync_schema(Todo)
        assert str(plan) == "Todo in b/todos: other indexes: title"
        assert not plan[0].moves_fields
        assert plan[0].applied
        assert names(path) == 3
        Bucket.get("b").delete()
        assert names(path) == 0


def names(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM field_indexes").fetchone()[0])


# --- who takes them -------------------------------------------------------------------------


@pytest.fixture
def many(storage: Storage) -> Storage:
    """A list with an index on x and y, and one that has none; both with the same records."""
    storage.create("collection", "/buckets/b", {"id": "c", "schema": mark(*FIELDS)})
    return storage


def plans(database: Database, act: Any) -> list[str]:
    """How SQLite goes about what is asked, by its own account."""
    with database.transaction(writes=False) as connection:
        asked: list[str] = []
        connection.set_trace_callback(asked.append)
    act()
    connection.set_trace_callback(None)
    with database.transaction(writes=False) as connection:
        return [
            row[3]
            for text in asked
            if "FROM resources AS r JOIN objects" in text
            for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")
        ]


ASKED: dict[str, tuple[list[Filter], list[Sort]]] = {
    "equal": ([Filter("x", 3, COMPARISON.EQ)], [Sort("id", 1)]),
    "equal, by time": ([Filter("x", 3, COMPARISON.EQ)], [Sort("last_modified", -1)]),
    "two bounds": (
        [Filter("x", 3, COMPARISON.MIN), Filter("x", 5, COMPARISON.LT)],
        [Sort("last_modified", -1)],
    ),
    "above": ([Filter("x", 3, COMPARISON.GT)], [Sort("id", 1)]),
    "one of": ([Filter("x", [3, "a"], COMPARISON.IN)], [Sort("id", 1)]),
    "missing": ([Filter("x", False, COMPARISON.HAS)], [Sort("id", 1)]),
    "inside": ([Filter("address.city", "Paris", COMPARISON.EQ)], [Sort("id", 1)]),
}


@pytest.mark.parametrize("asked", ASKED)
def test_conditions_take_an_index(database: Database, many: Storage, asked: str) -> None:
    """SQLite searches it, and looks through nothing."""
    filters, sorting = ASKED[asked]
    for found in (
        plans(database, lambda: many.list_all("record", RECORDS, filters, sorting)),
        plans(database, lambda: many.count_all("record", RECORDS, filters)),
        plans(database, lambda: many.delete_all("record", RECORDS, filters)),
    ):
        assert any("SEARCH o USING INDEX field_index" in line for line in found), found


@pytest.mark.parametrize("direction", [1, -1])
def test_an_order_takes_an_index_and_a_page_begins_in_it(
    database: Database, many: Storage, direction: int
) -> None:
    """Nothing is sorted but what has the same value; the next page is not looked for."""
    sorting = [Sort("y", direction), Sort("last_modified", -1)]
    (_, found, *_) = plans(database, lambda: many.list_all("record", RECORDS, [], sorting, limit=5))
    assert "USING INDEX field_index" in found
    rules = [
        [Filter("y", 2, COMPARISON.EQ), Filter("last_modified", 9, COMPARISON.LT)],
        [Filter("y", 2, COMPARISON.GT if direction == 1 else COMPARISON.LT)],
    ]
    found = plans(database, lambda: many.list_all("record", RECORDS, [], sorting, rules, 5))
    assert any("SEARCH o USING INDEX field_index" in line for line in found), found
    assert not any(line == "USE TEMP B-TREE FOR ORDER BY" for line in found), found


def test_what_finds_most_goes_by_the_order(
    database: Database, many: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of many is full soon; sorting all of them for each page would take longer."""
    monkeypatch.setattr(indexes, "FEW", 5)
    for number in range(9):
        many.create("record", RECORDS, {"id": f"r{number}", "x": number})
    filters, sorting = [Filter("x", 0, COMPARISON.MIN)], [Sort("id", 1)]
    found = plans(database, lambda: many.list_all("record", RECORDS, filters, sorting))
    assert any("objects_by_id" in line for line in found), found
    few = [Filter("x", 7, COMPARISON.MIN)]
    found = plans(database, lambda: many.list_all("record", RECORDS, few, sorting))
    assert any("SEARCH o USING INDEX field_index" in line for line in found), found
    # Whoever only counts needs no order.
    found = plans(database, lambda: many.count_all("record", RECORDS, filters))
    assert any("SEARCH o USING INDEX field_index" in line for line in found), found


# --- what is found --------------------------------------------------------------------------

scalars = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        1.0,
        1.5,
        2**53 + 1,
        -(2**63),
        1e300,
        "",
        "a",
        "A",
        "é",
        "1",
        "😀",
    ]
)
anything = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from("ab"), scalars)
rows = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "x": anything,
            "y": scalars,
            "address": scalars | st.fixed_dictionaries({}, optional={"city": scalars}),
        },
    ),
    max_size=12,
)
asked_fields = st.sampled_from(FIELDS)
one_value = {
    COMPARISON.EQ, COMPARISON.NOT, COMPARISON.LT, COMPARISON.MAX, COMPARISON.MIN, COMPARISON.GT,
}  # fmt: skip
filters = (
    st.builds(Filter, asked_fields, scalars, st.sampled_from(sorted(one_value, key=str)))
    | st.builds(
        Filter,
        asked_fields,
        st.lists(scalars, min_size=1, max_size=3),
        st.sampled_from([COMPARISON.IN, COMPARISON.EXCLUDE]),
    )
    | st.builds(Filter, asked_fields, st.booleans(), st.just(COMPARISON.HAS))
    | st.builds(Filter, asked_fields, st.sampled_from(["a", "*"]), st.just(COMPARISON.LIKE))
)
sorts = st.lists(
    st.builds(Sort, st.sampled_from((*FIELDS, "id", "last_modified")), st.sampled_from([1, -1])),
    max_size=2,
)


def position(row: dict[str, Any], sorting: list[Sort]) -> list[list[Filter]]:
    """The rules of the page after a row, as Kinto makes them."""
    values = [_value(row, each.field) for each in sorting]
    signs = {1: COMPARISON.GT, -1: COMPARISON.LT}
    return [
        [Filter(each.field, value, COMPARISON.EQ) for each, value in zip(sorting[:n], values)]  # noqa: B905
        + [Filter(sorting[n].field, values[n], signs[sorting[n].direction])]
        for n in reversed(range(len(sorting)))
    ]


def _value(row: dict[str, Any], field: str) -> Any:
    value: Any = row
    for name in field.split("."):
        value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
    return value


@pytest.fixture
def two(storage: Storage) -> Storage:
    """Two collections, the second one with indexes."""
    storage.create("collection", "/buckets/b", {"id": "c", "schema": mark(*FIELDS)})
    return storage


@pytest.mark.parametrize("few", [0, 10_000])
def test_with_and_without_an_index_the_same_is_found(
    two: Storage, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """In the same order, on each page; counted and deleted, too; after changes of all kinds."""
    monkeypatch.setattr(indexes, "FEW", few)
    plain = "/buckets/b/collections/plain"

    @settings(max_examples=150)
    @given(rows, st.lists(filters, max_size=2), sorts, st.data())
    def compare(made: list[Any], wanted: list[Filter], sorting: list[Sort], data: Any) -> None:
        for parent in (plain, RECORDS):
            two.delete_all("record", parent)
            for number, row in enumerate(made):
                put = {"id": f"r{number}", "last_modified": 100 + number, **row}
                two.create("record", parent, {**put, "x": number})
                two.update("record", parent, put["id"], {**put, "last_modified": 200 + number})
        order = [*sorting, Sort("last_modified", -1)]

        def ask(parent: str, rules: Any = None, limit: Any = None) -> Any:
            return two.list_all("record", parent, wanted, order, rules, limit)

        found = ask(plain)
        assert ask(RECORDS) == found
        assert two.count_all("record", RECORDS, wanted) == len(found)
        assert two.count_all("record", plain, wanted) == len(found)
        if found:
            place = data.draw(st.integers(0, len(found) - 1))
            rules = position(found[place], order)
            assert ask(RECORDS, rules) == ask(plain, rules) == found[place + 1 :]
            assert ask(RECORDS, rules, 2) == found[place + 1 : place + 3]
        gone = [
            {each["id"] for each in two.delete_all("record", p, wanted)} for p in (plain, RECORDS)
        ]
        assert gone[0] == gone[1] == {each["id"] for each in found}
        with two.work.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    compare()


def test_the_bytes_in_the_indexes_are_those_that_were_written() -> None:
    """Files have them: whoever makes others of a value has to build the indexes anew."""
    written = "".join(key(value).hex() for value in [None, "é", -1.5, 2**53 + 1, True, [1, "a"]])
    written += key({"a": False}).hex()
    assert written == GOLDEN


GOLDEN = (
    "0001c3a9024007ffffffffffff400000000000000002c340000000000000400000000000000104050000000202"
    "bff000ff00ff00ff00ff00ff00ff4000ff00ff00ff00ff00ff00ff00ff000001610000060000000101610000030000"
)
