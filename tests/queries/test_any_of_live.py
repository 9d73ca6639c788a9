"""OR on real servers, on both sessions: what is found is what Python finds, however it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from both import AnySession, do, either, either_wire
from conftest import Wire
from kinto_orm import Bucket, HistoryEntry, InvalidData, Record, any_of, col, field
from kinto_orm.queries.conditions import Condition

session = either
wire = either_wire


class Todo(Record, collection="todos"):
    title: str
    prio: int = 0
    color: str | None = Field(default=None, alias="colour")
    tags: list[str] = []


def ids(objects: Sequence[Any]) -> list[str]:
    return [each.id for each in objects]


# In any way, compared with Python

x, y, at, tags = field("x"), field("y"), field("at"), field("tags")
SCALARS = st.sampled_from([None, "", "a", "B", "é", "😀", -1, 0, 0.5, 2, False, True])
TIMES = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(3)]
ZONES = [UTC, timezone(timedelta(hours=9))]
ROWS = st.lists(
    st.fixed_dictionaries(
        {"y": st.integers(0, 2)},
        optional={
            "x": SCALARS,
            "tags": st.lists(st.sampled_from("ab"), max_size=2),
            "at": st.builds(
                lambda when, zone: when.astimezone(zone).isoformat(),
                st.sampled_from(TIMES),
                st.sampled_from(ZONES),
            ),
        },
    ),
    min_size=2,
    max_size=9,
)
CONDITIONS = st.one_of(
    st.builds(lambda value: x == value, SCALARS),
    st.builds(lambda value: x != value, SCALARS),
    st.builds(lambda value: x >= value, st.sampled_from(["a", 0])),
    st.builds(lambda value: y == value, st.integers(0, 2)),
    st.builds(lambda value: y < value, st.integers(0, 2)),
    st.builds(lambda value: at <= value, st.sampled_from(TIMES)),
    st.builds(lambda value: at == value, st.sampled_from(TIMES)),
    st.builds(lambda value: tags.has(value), st.sampled_from("ab")),
    st.just(x.exists()),
    st.just(x.in_([])),
    st.just(x.not_in([])),
)
BRANCHES = st.lists(CONDITIONS | st.lists(CONDITIONS, min_size=1, max_size=2), max_size=3)
ASKED = st.tuples(st.lists(CONDITIONS, max_size=1), st.lists(BRANCHES, min_size=1, max_size=2))
ORDERS: list[list[Any]] = [[], [field("id").desc()], [x], [x.desc(), y], [y, x], [at.desc()]]


@given(rows=ROWS, asked=ASKED, orders=st.sampled_from(ORDERS), data=st.data())
@settings(max_examples=settings.default.max_examples // 8)
async def test_what_is_found_is_what_python_finds(
    session: AnySession, rows: list[dict[str, Any]], asked: Any, orders: list[Any], data: Any
) -> None:
    """For any records, conditions and order: in the order of a query without conditions."""
    bucket = Bucket(id=session.bucket)
    collection = await do(bucket.collections.new(id=_new_id()).save)
    here = session.scoped(collection=collection.id)
    records = [Record(id=f"r{number}", **row) for number, row in enumerate(rows)]
    await do(here.save_all, records)
    plain, alternatives = asked
    raws = {f"r{number}": {"id": f"r{number}", **row} for number, row in enumerate(rows)}
    query = here.find(Record, *plain, *(any_of(*each) for each in alternatives))
    query = query.order_by(*orders)
    everything = ids(await do(here.find(Record).order_by(*orders).all))
    expected = [each for each in everything if _meets(raws[each], plain, alternatives)]
    await _agrees(query, expected, data.draw(st.integers(1, 4)))
    changed = await do(query.limit(3).update if orders else query.update, {"z": 1})
    assert changed.updated == (min(3, len(expected)) if orders else len(expected))
    assert not changed.failed
    found = ids(await do(here.find(Record, field("z") == 1).order_by(*orders)))
    assert found == (expected[:3] if orders else expected)
    deleted = here.find(Record, *plain, *(any_of(*each) for each in alternatives))
    assert await do(deleted.delete) == len(expected)
    left = ids(await do(here.find(Record).order_by(*orders)))
    assert left == [each for each in everything if each not in expected]


def _new_id(numbers: list[int] = [0]) -> str:  # noqa: B006  (it counts)
    numbers[0] += 1
    return f"any-of-{numbers[0]}"


def _meets(raw: dict[str, Any], plain: list[Condition], alternatives: list[Any]) -> bool:
    def holds(each: Any) -> bool:
        return all(map(holds, each)) if isinstance(each, list) else each.matches(raw)

    return all(map(holds, plain)) and all(any(map(holds, each)) for each in alternatives)


async def _agrees(query: Any, expected: list[str], size: int) -> None:
    """All ways to ask give the same objects."""
    assert ids(await do(query)) == expected
    assert ids(await do(query.all)) == expected
    assert await do(query.count) == len(expected)
    assert await do(query.limit(1).count) == len(expected)
    assert await do(query.exists) == bool(expected)
    first = await do(query.first)
    assert (first and first.id) == (expected[0] if expected else None)
    if len(expected) == 1:
        assert (await do(query.one)).id == expected[0]
    assert ids(await do(query.only("y"))) == expected
    assert ids(await do(query.limit(2).page_size(1))) == expected[:2]
    pages = await do(query.page_size(size).pages)
    assert [one for each in pages for one in ids(each)] == expected
    assert all(len(each) == size for each in pages[:-1])
    for number, each in enumerate(pages, 1):
        rest = expected[number * size :]
        assert bool(each.position) == bool(rest)
        if each.position:
            assert ids(await do(query.resume(each.position))) == rest
            assert ids(await do(query.resume(each.position).limit(2))) == rest[:2]


# What is sent, and what is loaded


@pytest.fixture
async def todos(wire: Wire) -> list[Todo]:
    """Some todos, of which some meet two conditions, and one has an undeclared field."""
    rows: list[dict[str, Any]] = [
        {"id": "a", "title": "x", "prio": 1, "colour": "red"},
        {"id": "b", "title": "y", "prio": 2},
        {"id": "c", "title": "x", "prio": 2, "colour": "blue", "owner": "ada"},
        {"id": "d", "title": "z", "prio": 3},
        {"id": "e", "title": "z", "prio": 2, "colour": "red"},
    ]
    here = wire.session.scoped(collection="todos")
    assert (await do(here.save_all, [Record(**row) for row in rows])).created == len(rows)
    found: list[Todo] = await do(Todo.find().all)
    wire.clear()
    return found


async def test_one_request_for_each_branch(wire: Wire, todos: list[Todo]) -> None:
    """However many objects several branches find."""
    query = Todo.find(any_of(Todo.title == "x", Todo.prio == 2))
    assert ids(await do(query)) == ["a", "b", "c", "e"]
    assert len(wire.requests) == 2


async def test_what_is_found_can_be_saved(wire: Wire, todos: list[Todo]) -> None:
    """It is loaded as by any query: nothing has changed, and undeclared fields are kept."""
    found = await do(Todo.find(any_of(Todo.title == "x", Todo.color == "red")).order_by(Todo.title))
    assert ids(found) == ["c", "a", "e"]
    assert [each.color for each in found] == ["blue", "red", "red"]
    assert all(each.diff() == {} for each in found)
    found[0].prio = 9
    await do(found[0].save)
    assert (await do(Todo.get, "c"))["owner"] == "ada"


async def test_times_of_change(wire: Wire, todos: list[Todo]) -> None:
    """A condition on last_modified brings no tombstones, beside others too."""
    await do(todos[1].delete)
    stamp = todos[2].last_modified
    query = Todo.find(any_of(col(Todo.last_modified) >= stamp, Todo.title == "y"))
    assert set(ids(await do(query))) == {each.id for each in todos[2:]}
    assert await do(query.count) == 3


async def test_an_update_out_of_a_branch(wire: Wire, todos: list[Todo]) -> None:
    """What is changed so that another branch finds it is not met again."""
    query = Todo.find(any_of(Todo.prio == 2, Todo.prio == 7)).page_size(1)
    summary = await do(query.update, prio=7)
    assert (summary.updated, summary.unchanged) == (3, 0)


async def test_several_exists(wire: Wire, todos: list[Todo]) -> None:
    """Two of them cannot be asked in one query; in two branches they are two questions."""
    here = wire.session.scoped(collection="todos")
    query = here.find(Record, any_of(field("owner").exists(), field("colour").exists(False)))
    assert ids(await do(query)) == ["b", "c", "d"]


async def test_objects_of_other_kinds(wire: Wire) -> None:
    """Whatever has a find: the history, which comes newest first, too."""
    bucket = Bucket(id=wire.session.bucket)
    for name in ("one", "two", "three"):
        await do(bucket.collections.new(id=name).save)
    here = wire.session.find(type(await do(bucket.collections.get, "one")))
    assert ids(await do(here.where(any_of(field("id") == "two", field("id") == "one")))) == [
        "one", "two",
    ]  # fmt: skip
    history = await do(bucket.history)
    entries = history.where(
        any_of(HistoryEntry.action == "update", HistoryEntry.resource_name == "collection")
    )
    found = ids(await do(entries))
    plain = [each for each in await do(history) if each.resource_name == "collection"]
    assert found == ids(plain)


async def test_what_cannot_be_asked(wire: Wire, todos: list[Todo]) -> None:
    """It is refused before anything is sent, as it is without branches."""
    query = Todo.find(any_of(Todo.prio == 1, Todo.prio == 2))
    with pytest.raises(InvalidData, match="whole collection"):
        await do(query.changes)
    with pytest.raises(InvalidData, match="cannot be deleted"):
        await do(query.limit(1).delete)
    with pytest.raises(InvalidData, match="11 branches"):
        await do(Todo.find(any_of(*(Todo.prio == each for each in range(11)))))
    assert wire.requests == []
