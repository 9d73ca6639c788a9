"""Pages, answered by hand: by id and by token, circles, limits, and places to go on from."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeding import (
    NOW,
    asked,
    busy,
    fails,
    feed,
    forbids,
    is_missing,
    no_answer,
    nowhere,
    object_of,
    says,
)
from kinto_orm import BadReply, InvalidData, NotFound, Query, Record, ServerError, Timeout
from kinto_orm.kv.entries import Entries
from kinto_orm.queries.conditions import Condition
from kinto_orm.queries.counting import counting
from kinto_orm.queries.pager import Page, Pager, Scan
from kinto_orm.wire.messages import Reply, Request

SCOPE = nowhere()
TODOS = "/buckets/b/collections/todos/records"


class Todo(Record, collection="todos"):
    title: str
    n: int = 0


def row(id: str, **fields: Any) -> dict[str, Any]:
    return object_of(id, NOW, **{"title": id, "n": 0, **fields})


def page(rows: Iterable[Any], token: str | None = None) -> Reply:
    """A page; with a token there is another one. Its URL is of whatever host the server takes."""
    here = f"http://internal:8888/v1{TODOS}?_limit=2&_token={quote(token or '', safe='')}"
    return says(200, {"data": list(rows)}, {} if token is None else {"Next-Page": here})


BY_ID = Todo.find(session=SCOPE)
BY_TITLE = BY_ID.order_by(Todo.title)
# What the server is not asked for, so that it finds all: those of which n is a multiple of 3.
THIRDS = Condition(("n",), lambda n: n % 3 == 0, exact=False, meaning=(("n", "thirds"),))  # type: ignore[operator]


def pager_of(query: Query[Any], position: str | None = None) -> Pager[Any]:
    listing, steps = feed(query.listing())
    assert not steps
    return Pager(listing, query.asked(), position)


def turn(pager: Pager[Any], answer: Any) -> tuple[Page[Any], dict[str, str]]:
    """Give a pager its next page; that, and what it asked for."""
    reply, (request,) = feed(pager.fetching(), answer)
    assert isinstance(request, Request)
    assert (request.method, request.path) == ("GET", TODOS)
    return pager.take(reply), {name: each[0] for name, each in parse_qs(request.query).items()}


def ids(objects: Iterable[Any]) -> list[str]:
    return [each.id for each in objects]


# From page to page


def test_pages_by_id() -> None:
    """Each begins after the last id, which an index finds; the server's token is not used."""
    pager = pager_of(BY_ID.page_size(2))
    first, asked_ = turn(pager, page([row("a"), row("b")], "t1"))
    assert (ids(first), asked_) == (["a", "b"], {"_sort": "id", "_limit": "2"})
    assert pager.has_more
    second, asked_ = turn(pager, page([row("c")]))
    assert (ids(second), asked_) == (["c"], {"_sort": "id", "_limit": "2", "gt_id": '"b"'})
    assert not pager.has_more
    assert second.position is None


def test_pages_by_token() -> None:
    """In another order the server says where the next one begins."""
    pager = pager_of(BY_TITLE)
    _, asked_ = turn(pager, page([row("b"), row("a")], "t1"))
    assert asked_ == {"_sort": "title", "_limit": "1000"}
    _, asked_ = turn(pager, page([row("c")], "t/2 +"))
    assert asked_["_token"] == "t1"
    last, asked_ = turn(pager, page([row("d")]))
    assert asked_["_token"] == "t/2 +"
    assert (ids(last), pager.has_more) == (["d"], False)


def test_an_empty_page() -> None:
    """It is the last one, whatever it says of another."""
    for query in (BY_ID, BY_TITLE):
        pager = pager_of(query)
        assert turn(pager, page([], "t1"))[0] == []
        assert not pager.has_more


def test_some_fields_only() -> None:
    """They and the two that every object has are asked for."""
    pager = pager_of(BY_ID.only(Todo.title))
    objects, asked_ = turn(pager, says(200, {"data": [object_of("a", title="x")]}))
    assert asked_["_fields"] == "id,last_modified,title"
    assert objects[0].is_partial


# Circles


@pytest.mark.parametrize("last", ["b", "a", "Z"])
def test_the_same_page_by_id(last: str) -> None:
    """A cache that forgets the query: the page ends no later than it should begin."""
    pager = pager_of(BY_ID)
    turn(pager, page([row("a"), row("b")], "t1"))
    with pytest.raises(BadReply, match="the same objects would come again"):
        turn(pager, page([row(last)], "t2"))


def test_the_last_page_by_id_again() -> None:
    """Also where it says that there is no more."""
    pager = pager_of(BY_ID)
    turn(pager, page([row("a"), row("b")], "t1"))
    with pytest.raises(BadReply, match="ends with 'b'"):
        turn(pager, page([row("a"), row("b")]))


def test_a_page_that_is_its_own_next_one() -> None:
    """By its token."""
    pager = pager_of(BY_TITLE)
    turn(pager, page([row("a")], "t1"))
    with pytest.raises(BadReply, match="its own next one"):
        turn(pager, page([row("b")], "t1"))


@pytest.mark.parametrize("length", [2, 3, 5, 8, 13])
@pytest.mark.parametrize("before", [0, 1, 6])
def test_a_circle_of_tokens(length: int, before: int) -> None:
    """However long, and wherever it begins, it is noticed."""
    tokens = [f"b{n}" for n in range(before)] + [f"c{n}" for n in range(length)] * 20
    pager, taken = pager_of(BY_TITLE), itertools.count()

    def around() -> None:
        for n, token in zip(taken, tokens, strict=False):
            turn(pager, page([row(f"x{n}")], token))

    with pytest.raises(BadReply, match="an answer came before"):
        around()
    assert next(taken) <= 4 * (before + length) + 1


@pytest.mark.parametrize(
    "url", ["http://x/v1/y?_limit=2", "text", "http://[", "?_token", "/y?_since=5&_token="]
)
@pytest.mark.parametrize("query", [BY_ID, BY_TITLE])
def test_a_next_page_without_a_place(query: Query[Todo], url: str) -> None:
    """Objects would be missing, or come again."""
    answer = says(200, {"data": [row("a")]}, {"Next-Page": url})
    with pytest.raises(BadReply, match="no _token"):
        turn(pager_of(query), answer)


# Odd answers


@pytest.mark.parametrize(
    "answer",
    [
        says(200, {"data": {}}),
        says(200, {"data": None}),
        says(200, {}),
        says(200, []),
        says(200, {"data": ["a"]}),
        says(200, {"data": [{"id": "a", "title": "x"}]}),
        says(200, {"data": [{"last_modified": 5, "title": "x"}]}),
        Reply(200, {}, b"<html>"),
        Reply(200, {}, b""),
        Reply(304, {}, b""),
    ],
)
@pytest.mark.parametrize("query", [BY_ID, BY_TITLE, BY_ID.where(THIRDS)])
def test_what_is_no_page(query: Query[Todo], answer: Reply) -> None:
    """It is a BadReply, and nothing is given out."""
    with pytest.raises(BadReply):
        turn(pager_of(query), answer)


def test_what_does_not_fit_the_model() -> None:
    """The message says which object."""
    with pytest.raises(InvalidData, match="'b'"):
        turn(pager_of(BY_ID), page([row("a"), row("b", n="many")]))


@pytest.mark.parametrize(
    ("answer", "cls"),
    [(no_answer(), Timeout), (busy(), ServerError), (is_missing("collection"), NotFound)],
)
def test_a_page_that_is_not_given(answer: Any, cls: type[Exception]) -> None:
    """It can be asked for again: the pager is where it was."""
    pager = pager_of(BY_ID)
    turn(pager, page([row("a")], "t1"))
    error, _ = fails(pager.fetching(), cls, answer)
    assert "find Todo.find()" in str(error)
    assert turn(pager, page([row("b")]))[1]["gt_id"] == '"a"'


@pytest.mark.parametrize("answer", [is_missing("collection"), forbids()])
def test_a_collection_that_is_not_made_yet(answer: Reply) -> None:
    """One that the first write makes is empty before that; no other one is."""
    listing = feed(Entries(SCOPE).listing())[0]
    pager: Pager[Any] = Pager(listing, Entries(SCOPE).asked())
    if answer.status == 403:  # another's bucket, or none: that is not told apart
        assert "b" in str(fails(pager.fetching(), Exception, answer)[0])
        return
    assert pager.take(feed(pager.fetching(), answer)[0]) == []
    assert not pager.has_more


# Limits


def test_a_limit() -> None:
    """No more is asked for than is left; the place after it is known."""
    pager = pager_of(BY_ID.page_size(2).limit(3))
    assert turn(pager, page([row("a"), row("b")], "t1"))[1]["_limit"] == "2"
    last, asked_ = turn(pager, page([row("c")], "t2"))
    assert asked_["_limit"] == "1"
    assert not pager.has_more
    assert last.position is not None
    again = pager_of(BY_ID, last.position)
    assert turn(again, page([row("d")]))[1]["gt_id"] == '"c"'


def test_a_server_with_smaller_pages() -> None:
    """How many a page has is its choice."""
    pager = pager_of(BY_ID.limit(3))
    sizes = []
    for id in "abc":
        sizes.append(turn(pager, page([row(id)], f"t{id}"))[1]["_limit"])
    assert sizes == ["3", "2", "1"]
    assert not pager.has_more


@pytest.mark.parametrize("query", [BY_ID, BY_TITLE])
def test_a_limit_that_is_not_heeded(query: Query[Todo]) -> None:
    """A proxy drops the query string: who asked for two is not given three."""
    pager = pager_of(query.limit(2))
    with pytest.raises(BadReply, match="proxy"):
        turn(pager, page([row("a"), row("b"), row("c")], "t1"))


def test_what_is_left_out_here() -> None:
    """Objects that do not meet an inexact condition are not given out, and do not count."""
    pager = pager_of(BY_ID.where(THIRDS).limit(2))
    rows = [row("a", n=1), row("b", n=3), row("c", n=2)]
    first, asked_ = turn(pager, page(rows, "t1"))
    assert (ids(first), asked_["_limit"]) == (["b"], "100")
    rows = [row("d", n=6), row("e", n=9)]
    second, asked_ = turn(pager, page(rows))
    assert (ids(second), asked_["gt_id"]) == (["d"], '"c"')
    assert not pager.has_more
    assert (
        turn(pager_of(BY_ID.where(THIRDS), second.position), page([row("e", n=9)]))[1]["gt_id"]
        == '"d"'
    )


def test_a_limit_inside_of_a_page() -> None:
    """In an order of the server's the rest of the page is asked for again, and cut there."""
    query = BY_TITLE.where(THIRDS)
    rows = [row("a", n=3), row("b", n=1), row("c", n=6)]
    first, _ = turn(pager_of(query.limit(1)), page(rows, "t1"))
    assert ids(first) == ["a"]
    pager = pager_of(query, first.position)
    second, asked_ = turn(pager, page(rows, "t1"))
    assert (ids(second), asked_["_limit"]) == (["c"], "3")
    assert "_token" not in asked_
    assert turn(pager, page([row("d", n=9)]))[1]["_token"] == "t1"


def test_what_an_inexact_condition_needs() -> None:
    """It is fetched to compare it, and not given out."""
    pager = pager_of(BY_ID.where(THIRDS).only(Todo.title))
    objects, asked_ = turn(pager, page([row("a", n=3)]))
    assert asked_["_fields"] == "id,last_modified,n,title"
    assert "n" not in objects[0].__dict__


# Places


def test_a_position_of_another_query() -> None:
    """It is refused before anything is asked."""
    position = turn(pager_of(BY_ID), page([row("a")], "t1"))[0].position
    for other in (BY_TITLE, BY_ID.where(Todo.n == 1), BY_ID.where(THIRDS)):
        with pytest.raises(InvalidData, match="another query"):
            pager_of(other, position)
    assert pager_of(BY_ID.limit(5).page_size(9), position).has_more


# A whole server


class Served:
    """The records of a collection, as a Kinto answers with them: it knows no inexact condition.

    Args:
        rows: All of them.
        most: How many the server gives at most in a page.
    """

    def __init__(self, rows: Sequence[dict[str, Any]], most: int) -> None:
        self._rows = rows
        self._most = most

    def answer(self, request: Request) -> Reply:
        asked_ = {name: each[0] for name, each in parse_qs(request.query).items()}
        rows = sorted(self._rows, key=lambda each: (each[asked_["_sort"]], each["id"]))
        rows = [each for each in rows if each["id"] > json.loads(asked_.get("gt_id", '""'))]
        begin, size = int(asked_.get("_token", 0)), min(int(asked_["_limit"]), self._most)
        end = begin + size
        return page(rows[begin:end], str(end) if end < len(rows) else None)


def read(query: Query[Any], server: Served, position: str | None = None) -> Iterator[Page[Any]]:
    pager = pager_of(query, position)
    for _ in range(1000):
        if not pager.has_more:
            return
        flow = pager.fetching()
        request: Any = next(flow)
        with pytest.raises(StopIteration) as end:
            flow.send(server.answer(request))
        yield pager.take(end.value.value)
    pytest.fail("it does not end")


@given(
    numbers=st.lists(st.integers(0, 9), max_size=25),
    most=st.integers(1, 10),
    size=st.none() | st.integers(1, 10),
    limit=st.none() | st.integers(1, 30),
    by_id=st.booleans(),
    thirds=st.booleans(),
    stop=st.integers(0, 25),
)
def test_each_comes_once(
    numbers: list[int],
    most: int,
    size: int | None,
    limit: int | None,
    by_id: bool,
    thirds: bool,
    stop: int,
) -> None:
    """All in their order, whatever the sizes; and as many from each place to go on from."""
    rows = [row(f"r{n:02}", n=each, title=f"{each}") for n, each in enumerate(numbers)]
    query = (BY_ID if by_id else BY_TITLE).where(*[THIRDS] * thirds)
    if size is not None:
        query = query.page_size(size)
    meant = [each for each in rows if not thirds or each["n"] % 3 == 0]
    meant.sort(key=lambda each: ("" if by_id else each["title"], each["id"]))
    every = [each["id"] for each in meant]
    server = Served(rows, most)

    pages = list(read(query if limit is None else query.limit(limit), server))
    given_ = [each.id for found in pages for each in found]
    assert given_ == every[:limit]

    pages = pages[: stop + 1]
    seen = [each.id for found in pages for each in found]
    position = pages[-1].position
    if position is not None:
        rest = [each.id for found in read(query, server, position) for each in found]
        assert seen + rest == every


# Counting


def test_a_count() -> None:
    """The server says it in a header."""
    flow = counting(BY_ID.where(Todo.n == 1))
    total, steps = feed(flow, Reply(200, {"Total-Objects": "7"}, b""))
    assert (total, asked(steps)) == (7, [f"HEAD {TODOS}?eq_n=1"])


@pytest.mark.parametrize("said", [{}, {"Total-Objects": "many"}, {"Total-Objects": "-1"}])
def test_a_count_that_is_none(said: dict[str, str]) -> None:
    """A proxy may answer without Kinto's headers."""
    error, _ = fails(counting(BY_ID), BadReply, Reply(200, said, b""))
    assert "cannot count Todo.find()" in str(error)


def test_a_count_of_what_is_compared_here() -> None:
    """Pages with the ids and what is compared are read."""
    flow = counting(BY_TITLE.where(THIRDS).limit(1))
    pages = page([row("a", n=3), row("b", n=1)], "t1"), None, page([row("c", n=6)]), None
    total, steps = feed(flow, *pages)
    assert total == 2
    assert all("_fields=id%2Cn" in each for each in asked(steps))
    assert "gt_id=%22b%22" in asked(steps)[1]


def test_a_scan_that_goes_round() -> None:
    """It ends."""
    listing = feed(BY_ID.listing())[0]
    scan: Scan[Any] = Scan(listing, BY_TITLE.asked())
    feed(scan.reading(), page([row("a")], "t1"))
    fails(scan.reading(), BadReply, page([row("a")], "t1"))
