"""OR: what any_of makes of conditions, and how the pages of its branches are merged, by hand."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from functools import reduce
from typing import Any
from urllib.parse import parse_qs, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeding import NOW, fails, feed, is_missing, nowhere, object_of, requests_of, says
from kinto_orm import BadReply, InvalidData, NotFound, Query, Record, any_of, field
from kinto_orm.queries.alternatives import distributed
from kinto_orm.queries.conditions import Condition, compile_conditions
from kinto_orm.queries.counting import counting
from kinto_orm.queries.deleting import deleting
from kinto_orm.queries.merging import Merged, key_of, ordered
from kinto_orm.queries.pager import Page
from kinto_orm.queries.positions import Start, position_of
from kinto_orm.wire.jsonvalues import ABSENT
from kinto_orm.wire.messages import Reply, Request

SCOPE = nowhere()
TODOS = "/buckets/b/collections/todos/records"


class Todo(Record, collection="todos"):
    title: str = ""
    n: int = 0


A, B, C, D = (field(name) == 1 for name in "abcd")


def branches(*conditions: Condition) -> list[set[str]]:
    """The names of the fields of each branch."""
    return [{each.path[0] for each in branch} for branch in distributed(conditions)]


# What it makes of conditions


def test_branches_are_distributed() -> None:
    """Each is asked together with what stands beside it; several any_of multiply."""
    assert branches(A, B) == [{"a", "b"}]
    assert branches(any_of(A, B)) == [{"a"}, {"b"}]
    assert branches(A, any_of(B, C)) == [{"a", "b"}, {"a", "c"}]
    assert branches(any_of(A, B), any_of(C, D)) == [
        {"a", "c"}, {"a", "d"}, {"b", "c"}, {"b", "d"},
    ]  # fmt: skip


def test_branches_inside_of_branches() -> None:
    """An OR in an OR is one; in a list, all have to hold, an OR among them too."""
    assert branches(any_of(A, any_of(B, C))) == [{"a"}, {"b"}, {"c"}]
    assert branches(any_of(A, (B, C))) == [{"a"}, {"b", "c"}]
    assert branches(any_of(A, [B, any_of(C, D)])) == [{"a"}, {"b", "c"}, {"b", "d"}]


def test_branches_that_add_nothing() -> None:
    """What another branch finds already, or what nothing can meet, is not asked."""
    assert branches(any_of(A, field("a") == 1, [A, B])) == [{"a"}]
    assert branches(any_of(A, B), any_of(A, C)) == [{"a"}, {"b", "c"}]
    assert branches(any_of(A, field("b").in_([]))) == [{"a"}]
    assert any_of(A) is A


def test_no_branches() -> None:
    """As any([]) in Python: nothing is found, and nothing is sent."""
    for nothing in (any_of(), any_of(field("b").in_([])), any_of([A, field("b").in_([])])):
        query = Todo.find(session=SCOPE).where(nothing)
        assert feed(query.opening())[0].has_more is False
        assert feed(query.counting()) == (0, [])
        assert feed(query.deleting()) == (0, [])
        assert not nothing.matches({"id": "x", "a": 1})


def test_a_branch_without_conditions() -> None:
    """All of none hold: everything is found, by one request."""
    assert branches(any_of(A, []), B) == [{"b"}]


def test_too_many_branches() -> None:
    """More than ten are refused where they are written, however they come together."""

    def numbers(count: int) -> list[Condition]:
        return [field("n") == each for each in range(count)]

    assert len(distributed([any_of(*numbers(10))])) == 10
    with pytest.raises(InvalidData, match=r"11 branches.*at most 10.*in_.*Nothing was sent"):
        any_of(*numbers(11))
    query = Todo.find(any_of(*(Todo.n == each for each in range(5))))
    with pytest.raises(InvalidData, match="15 branches"):
        query.where(any_of(*(Todo.title == each for each in "abc")))
    assert len(query.where(any_of(Todo.title == "a", Todo.title == "b")).asked().filters) == 10


@pytest.mark.parametrize("wrong", [True, "x", None, field("x"), [1], [[A]]], ids=repr)
def test_what_is_no_condition(wrong: Any) -> None:
    """It is refused as by find, which says what would be one."""
    with pytest.raises(TypeError, match=r"any_of\(\) takes conditions"):
        any_of(A, wrong)


def test_a_bar_between_conditions() -> None:
    """The error says what to write."""
    with pytest.raises(TypeError, match=r"no OR: write any_of\(a, b\)"):
        A | B
    with pytest.raises(TypeError, match=r"any_of\(a, b\)"):
        any_of(A, B) | C
    with pytest.raises(TypeError, match=r"any_of\(a, b\)"):
        bool(A)


def test_fields_in_branches_are_checked() -> None:
    """A misspelt one in any branch is refused as it is alone."""
    with pytest.raises((AttributeError, InvalidData), match="titel"):
        Todo.find(any_of(Todo.n == 1, [Todo.n == 2, field("titel") == "x"]))


def test_one_request_takes_one_branch() -> None:
    """Whoever compiles conditions for a single request is told."""
    with pytest.raises(TypeError, match="distributed"):
        compile_conditions([any_of(A, B)])


def test_how_it_is_shown() -> None:
    """Messages show the branches."""
    assert repr(Todo.find(any_of(Todo.n == 1, Todo.n == 2))) == "Todo.find(any_of(eq_n=1 | eq_n=2))"
    assert repr(Todo.find(Todo.n == 1)) == "Todo.find(eq_n=1)"
    assert repr(Todo.find(any_of())) == "Todo.find(any_of())"


CONDITIONS = st.sampled_from([A, B, C, D])


@given(
    given=st.lists(
        CONDITIONS | st.lists(CONDITIONS | st.lists(CONDITIONS, max_size=2), max_size=3).map(tuple),
        max_size=2,
    ),
    row=st.fixed_dictionaries({name: st.integers(0, 1) for name in "abcd"}),
)
def test_the_branches_mean_the_same(given: list[Any], row: dict[str, Any]) -> None:
    """For any conditions and any record: what is asked is what Python says."""

    def holds(each: Any) -> bool:
        if isinstance(each, tuple):
            return any(holds(inside) for inside in each)
        return all(map(holds, each)) if isinstance(each, list) else each.matches(row)

    conditions = [any_of(*each) if isinstance(each, tuple) else each for each in given]
    expected = all(map(holds, given))
    assert all(each.matches(row) for each in conditions) == expected
    found = distributed(conditions)
    assert any(all(each.matches(row) for each in branch) for branch in found) == expected


# The order

MIXED: list[Any] = [None, "", "a", "b", "é", "\ue000", "😀", -1, 0, 0.5, 2**53 + 1, False, True]
MIXED += [[], [True], [0, 0], {}, {"a": 1}, ABSENT]


def test_order_of_json() -> None:
    """As Kinto sorts: types apart, texts by code point, what is missing last."""
    for low, high in itertools.pairwise(MIXED):
        assert ordered(low) < ordered(high), (low, high)
    assert ordered(1) == ordered(1.0)


def test_order_of_several_fields() -> None:
    """The first is the most important; the newest comes first where the rest is equal."""
    rows = [object_of("a", NOW, n=1, o={"t": "x"}), object_of("b", NOW + 1, n=1, o={"t": "x"})]
    rows += [object_of("c", NOW, n=2), object_of("d", NOW, n=2, o={"t": "a"})]
    for sort, expected in [
        ("n,o.t", "badc"),
        ("-n,o.t", "dcba"),
        ("-o.t,n", "cbad"),
        ("id", "abcd"),
    ]:
        assert "".join(each["id"] for each in sorted(rows, key=key_of(sort))) == expected, sort


# The pages

TWO = Todo.find(any_of(Todo.n == 1, Todo.title == "x"), session=SCOPE)
BY_N = TWO.order_by(Todo.n)


def row(id: str, n: int = 0, last_modified: int = NOW, **fields: Any) -> dict[str, Any]:
    return object_of(id, last_modified, n=n, **fields)


def page(rows: Iterable[Any], token: str | None = None) -> Reply:
    """A page of rows, or of ids; with a token there is another one."""
    data = [row(each) if isinstance(each, str) else each for each in rows]
    here = f"http://internal:8888/v1{TODOS}?_limit=2&_token={quote(token or '', safe='')}"
    return says(200, {"data": data}, {} if token is None else {"Next-Page": here})


def merged(query: Query[Any], position: str | None = None) -> Merged[Any]:
    found, steps = feed(query.resume(position).opening())
    assert not steps
    assert isinstance(found, Merged)
    return found


def turn(pager: Merged[Any], *answers: Reply) -> tuple[Page[Any], list[dict[str, str]]]:
    """Answer all that is asked side by side; what comes of it, and what was asked."""
    replies, steps = feed(requests_of(pager.fetching()), *answers)
    requests = [each for each in steps if isinstance(each, Request)]
    assert all((each.method, each.path) == ("GET", TODOS) for each in requests)
    asked = [{name: value[0] for name, value in parse_qs(each.query).items()} for each in requests]
    return pager.take(replies), asked


def ids(objects: Iterable[Any]) -> str:
    return "".join(each.id for each in objects)


def test_the_branches_are_asked_side_by_side() -> None:
    """One request each, with the order and the size of the query; each object comes once."""
    pager = merged(TWO)
    found, asked = turn(pager, page("acd"), page("bcde"))
    assert asked == [
        {"eq_n": "1", "_sort": "id", "_limit": "1000"},
        {"eq_title": '"x"', "_sort": "id", "_limit": "1000"},
    ]
    assert ids(found) == "abcde"
    assert (pager.has_more, found.position) == (False, None)


def test_only_the_branch_that_ran_dry_is_asked_again() -> None:
    """A page is given when it is full, or when nothing more comes."""
    pager = merged(TWO.page_size(3))
    found, _ = turn(pager, page("abc", "t"), page("bxyz"))
    assert ids(found) == "abc"
    assert found.position
    found, asked = turn(pager, page("d", "t"))
    assert asked == [{"eq_n": "1", "_sort": "id", "_limit": "3", "gt_id": '"c"'}]
    assert (found, pager.has_more) == ([], True)  # not full, and `a` may have what comes before x
    found, asked = turn(pager, page("ey"))
    assert ids(found) == "dex"
    found, asked = turn(pager)
    assert (ids(found), asked, found.position) == ("yz", [], None)


def test_a_limit() -> None:
    """No branch is asked for more than is left, and nothing beyond is asked."""
    pager = merged(TWO.limit(2))
    found, asked = turn(pager, page("ac", "t"), page("ad", "t"))
    assert [each["_limit"] for each in asked] == ["2", "2"]
    assert ids(found) == "ac"
    assert not pager.has_more


def test_the_newer_of_two_versions() -> None:
    """An object that was changed between the requests comes as it is now."""
    found, _ = turn(merged(TWO), page([row("a", 1)]), page([row("a", 2, NOW + 1)]))
    assert [each.n for each in found] == [2]


def test_another_order() -> None:
    """The fields are merged as Kinto sorts; an object that moved meanwhile comes once."""
    pager = merged(BY_N)
    first = page([row("a", 1), row("b", 3), row("c", 5)])
    second = page([row("d", 2), row("e", 3, NOW + 5), row("a", 4, NOW + 9)])
    assert ids(turn(pager, first, second)[0]) == "adebc"


def test_what_the_server_sorts_in_its_own_way() -> None:
    """PostgreSQL puts empty lists first: what follows them does not wait for what is after it."""
    query = Record.find(any_of(A, B), session=nowhere(collection="todos")).order_by(field("x"))
    first = page([object_of("e", x=[]), object_of("a", x=None), object_of("c", x="m")])
    second = page([object_of("b", x="a"), object_of("d", x=True)])
    assert ids(turn(merged(query), first, second)[0]) == "eabcd"


def test_some_fields_only() -> None:
    """What they are sorted by is asked for, too, and not in the objects."""
    pager = merged(BY_N.only("title"))
    found, asked = turn(pager, page([row("b", 2, title="x")]), page([row("a", 1, title="y")]))
    assert asked[0]["_fields"] == "id,last_modified,n,title"
    assert ids(found) == "ab"
    assert found[0].is_partial
    assert "n" not in found[0].__dict__


# Positions


def test_positions_by_id() -> None:
    """All branches go on after the last id that was given."""
    pager = merged(TWO.page_size(2))
    found, _ = turn(pager, page("ab", "t"), page("bc"))
    _, asked = turn(merged(TWO.page_size(2), found.position), page("c"), page("c"))
    assert [each["gt_id"] for each in asked] == ['"b"', '"b"']


def test_positions_in_another_order() -> None:
    """Each branch goes on where it is: inside of a page, at the next one, or not at all."""
    query = Todo.find(any_of(Todo.n == 1, Todo.n == 2, Todo.n == 3), session=SCOPE)
    query = query.order_by(Todo.title).page_size(4)
    pager = merged(query)
    first = page([row("a", title="a"), row("c", title="c"), row("e", title="e")], "t1")
    second = page([row("b", title="b")])
    third = page([row("d", title="d"), row("f", title="f")], "t2")
    found, _ = turn(pager, first, second, third)
    assert ids(found) == "abcd"
    again = merged(query, found.position)
    found, asked = turn(again, first, third)
    # The same pages as they were, of which a part was given; the second one has ended.
    assert [(each["_limit"], "_token" in each) for each in asked] == [("3", False), ("2", False)]
    assert found == []
    found, asked = turn(again, page([row("g", title="g")]))
    assert [each["_token"] for each in asked] == ["t1"]
    assert found == []  # f was given by no page yet: what comes after it may come before g
    found, asked = turn(again, page([row("h", title="h")]))
    assert ([each["_token"] for each in asked], ids(found)) == (["t2"], "efgh")


OTHERS = [TWO.where(Todo.n > 0), BY_N, Todo.find(Todo.n == 1, session=SCOPE)]


@pytest.mark.parametrize("other", OTHERS, ids=repr)
@pytest.mark.parametrize("query", [TWO, BY_N.limit(5).order_by(Todo.title)], ids=["id", "n"])
def test_positions_of_other_queries(query: Query[Todo], other: Query[Todo]) -> None:
    """They are refused before anything is asked."""
    found, _ = turn(merged(query.page_size(1)), page("ab"), page("c"))
    assert found.position
    with pytest.raises(InvalidData, match="another query"):
        feed(other.resume(found.position).opening())


def test_positions_that_were_made_up() -> None:
    """Whoever can reckon a digest gets no place that the query does not have."""
    one = Todo.find(Todo.n == 1, session=SCOPE)
    for query, starts in [(one, [None]), (one, [Start()] * 2), (BY_N, [None] * 2), (TWO, [None])]:
        made_up = position_of(starts, query.asked().told_apart_by(TODOS))
        with pytest.raises(InvalidData, match="another query"):
            feed(query.resume(made_up).opening())


def test_the_order_of_branches_does_not_matter() -> None:
    """The same question, written the other way round, goes on at the same place."""
    one, two = (
        Todo.find(any_of(*pair), session=SCOPE).order_by(Todo.title).page_size(1)
        for pair in itertools.permutations([Todo.n == 1, Todo.n == 2])
    )
    found, _ = turn(merged(one), page([row("a", title="a")], "t"), page([row("b", title="b")]))
    merged(two, found.position)


# Errors


def test_a_missing_collection() -> None:
    """It is the error that it is for one request."""
    flow = requests_of(merged(TWO).fetching())
    error, _ = fails(flow, NotFound, is_missing("collection"))
    assert "sync_schema" in str(error)


def test_the_same_page_again() -> None:
    """A cache that answers with one page for ever is noticed in each branch."""
    pager = merged(TWO)
    turn(pager, page("ab", "t"), page("z"))
    with pytest.raises(BadReply, match="come again"):
        turn(pager, page("ab", "t"))


# Counting and deleting


def test_counting() -> None:
    """The ids are read, and what two branches find counts once."""
    total, steps = feed(requests_of(counting(BY_N)), page("abc", "t"), page("bd"), page("e"))
    assert total == 5
    queries = [each.query for each in steps if isinstance(each, Request)]
    assert all("_fields=id&_limit" in each and "_sort=id" in each for each in queries)


def test_deleting() -> None:
    """Branch after branch: what one deleted the next does not find."""
    gone = [{**object_of(each, NOW + at), "deleted": True} for at, each in enumerate("abc")]
    answers = [says(200, {"data": each}) for each in (gone[:2], [], gone[2:], [])]
    total, steps = feed(requests_of(deleting(TWO)), *answers)
    assert total == 3
    requests = [each for each in steps if isinstance(each, Request)]
    assert [(each.method, each.query.split("=")[0]) for each in requests] == [
        ("DELETE", "eq_n"), ("DELETE", "eq_n"), ("DELETE", "eq_title"), ("DELETE", "eq_title"),
    ]  # fmt: skip


# In all


@given(data=st.data())
def test_any_pages_are_merged(data: Any) -> None:
    """However the rows are cut in pages: in order, each once, and from any position the rest."""
    rows = {id: row(id, data.draw(st.integers(0, 2)), NOW + at) for at, id in enumerate("abcdefg")}
    parts = [data.draw(st.sets(st.sampled_from(sorted(rows)))) for _ in range(2)]
    by_n = data.draw(st.booleans())
    key = key_of("n" if by_n else "id")
    query = (BY_N if by_n else TWO).page_size(data.draw(st.integers(1, 4)))
    expected = [
        each["id"] for each in sorted((rows[each] for each in parts[0] | parts[1]), key=key)
    ]
    shown = [sorted((rows[each] for each in part), key=key) for part in parts]

    def answer(request: Request) -> Reply:
        given = {name: value[0] for name, value in parse_qs(request.query).items()}
        left = shown["eq_title" in given]
        start = 0
        if "gt_id" in given:
            left = [each for each in left if each["id"] > json.loads(given["gt_id"])]
        elif "_token" in given:
            start = int(given["_token"])
        end = start + min(int(given["_limit"]), 3)
        return page(left[start:end], str(end) if end < len(left) else None)

    def read(position: str | None) -> list[Page[Any]]:
        pager, found = merged(query, position), []
        while pager.has_more:
            flow = requests_of(pager.fetching())
            reply = None
            try:
                while True:
                    reply = answer(flow.send(reply) if reply else next(flow))  # type: ignore[arg-type]
            except StopIteration as end:
                found.append(pager.take(end.value))
        return [each for each in found if each]

    pages = read(None)
    assert ids(reduce(list.__add__, map(list, pages), [])) == "".join(expected)
    assert all(len(each) == query.size for each in pages[:-1])
    for number, each in enumerate(pages, 1):
        assert (each.position is None) == (number == len(pages))
        if each.position:
            rest = [one for later in read(each.position) for one in later]
            assert ids(rest) == "".join(expected[number * (query.size or 0) :])
