"""Following changes, answered by hand: the passes, the look-back, the witness, the history."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

import pytest

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
    root,
    says,
)
from kinto_orm import (
    BadReply,
    CollectionReset,
    Created,
    Deleted,
    InvalidData,
    KintoError,
    NotFound,
    Record,
    Session,
    Updated,
)
from kinto_orm.queries.following import Follower
from kinto_orm.queries.marks import Mark
from kinto_orm.wire.flows import Anew
from kinto_orm.wire.messages import Reply
from kinto_orm.wire.places import info_of

TODOS = "/buckets/b/collections/todos/records"
BACK = 2000
"""Milliseconds that a pass looks back."""


class Todo(Record, collection="todos"):
    title: str


def follower(since: str | None = None, *, history: bool = False, size: int = 2) -> Follower[Todo]:
    """Of a collection whose server is known to keep a history, or not to."""
    scope: Session = nowhere()
    feed(info_of(scope), root(25, *["history"] * history))
    query = Todo.find(session=scope)
    return Follower(query.listing(), "Todo.find()", since, size)


def head(now: int = NOW) -> Reply:
    return Reply(200, {"ETag": f'"{now}"', "Total-Objects": "1"}, b"")


def page(rows: Iterable[Any], now: int = NOW, token: str | None = None) -> Reply:
    """A page of the collection, whose timestamp is `now`."""
    more = {} if token is None else {"Next-Page": f"http://x/v1/y?_limit=2&_token={token}"}
    return says(200, {"data": list(rows)}, {"ETag": f'"{now}"'} | more)


def row(id: str, at: int) -> dict[str, Any]:
    return object_of(id, at, title=id)


def tombstone(id: str, at: int) -> dict[str, Any]:
    return {"id": id, "last_modified": at, "deleted": True}


def run(follower_: Follower[Todo], *answers: Any) -> tuple[list[Any], list[str]]:
    """Feed all steps of a pass; what it told, and the requests that it made."""
    left, told, requests = list(answers), [], []
    for flow in follower_.once():
        answers_: list[Any] = []
        try:
            step = next(flow)
            while True:
                answers_.append(step)
                assert left or isinstance(step, Anew), f"what is the answer to {step!r}?"
                answer = None if isinstance(step, Anew) else left.pop(0)
                failed = isinstance(answer, BaseException)
                step = flow.throw(answer) if failed else flow.send(answer)
        except StopIteration as end:
            told += end.value
        requests += asked(answers_)
    assert not left, f"{left} are answers to nothing"
    return told, requests


def what(changes: Iterable[Any]) -> list[tuple[str, str]]:
    return [(type(each).__name__, each.id) for each in changes]


def token(floor: int, high: int, witness: str = "", seen: Iterable[int] = ()) -> str:
    return Mark(floor, high, witness, frozenset(seen)).token()


# The first pass


def test_from_the_beginning() -> None:
    """Everything that is there, by id, as created; then what changed meanwhile."""
    follow = follower()
    old, new = row("b", NOW - 5000), row("a", NOW)
    told, requests = run(
        follow,
        head(),
        page([new]),  # what the mark has seen
        page([new, old], token="t"),
        page([row("c", NOW - 9)]),
        page([new], NOW),
    )
    assert what(told) == [("Created", "a"), ("Created", "b"), ("Created", "c")]
    assert requests[0] == f"HEAD {TODOS}?_limit=1"
    assert f"_since={NOW - BACK}" in requests[1]
    assert "_sort=id" in requests[2]
    assert "_sort=last_modified" in requests[4]
    assert all(isinstance(each, Created) and each.object is not None for each in told)


def test_an_empty_collection() -> None:
    """Nothing is told, and the next pass goes on from there."""
    follow = follower()
    told, requests = run(follow, head(), page([]), page([]), page([]))
    assert told == []
    assert len(requests) == 4
    told, requests = run(follow, page([row("a", NOW + 1)], NOW + 1))
    assert what(told) == [("Updated", "a")]
    assert len(requests) == 1


def test_what_changes_during_the_first_pass() -> None:
    """It has a later timestamp: the later pass tells of it, once."""
    follow = follower()
    changed = row("b", NOW + 5)
    told, _ = run(
        follow,
        head(),
        page([row("a", NOW)]),
        page([row("a", NOW), changed]),
        page([row("a", NOW), changed], NOW + 5),
    )
    assert what(told) == [("Created", "a"), ("Updated", "b")]


def test_the_first_pass_is_gone_on_with() -> None:
    """From a token of its middle: after the last id that was given out."""
    follow = follower()
    flows = follow.once()
    feed(next(flows), head(), page([]), None)
    told, _ = feed(next(flows), page([row("a", 5), row("b", 6)], token="t"))
    again = follower(told[0].token)
    rest, requests = run(again, page([row("b", 6), row("c", 7)]), page([]))
    assert what(rest) == [("Created", "b"), ("Created", "c")]
    assert "gt_id=%22a%22" in requests[0]


# Later passes


def test_what_happened_since() -> None:
    """Updates and deletions, in the order of time."""
    follow = follower(token(NOW, NOW))
    told, requests = run(follow, page([row("a", NOW + 1), tombstone("b", NOW + 2)], NOW + 2))
    assert what(told) == [("Updated", "a"), ("Deleted", "b")]
    assert isinstance(told[0], Updated)
    assert told[0].object.title == "a"
    assert isinstance(told[1], Deleted)
    assert told[1].object is None
    assert f"_since={NOW}" in requests[0]


def test_the_look_back() -> None:
    """A page counts as complete up to two seconds ago only; what was seen is not told again."""
    follow = follower(token(NOW, NOW))
    run(follow, page([row("a", NOW + 100), row("b", NOW + 5000)], NOW + 5000))
    late = row("c", NOW + 4000)
    told, requests = run(follow, page([late, row("b", NOW + 5000)], NOW + 5000))
    assert f"_since={NOW + 5000 - BACK}" in requests[0]
    assert what(told) == [("Updated", "c")]


def test_what_settled_long_ago_is_not_read_again() -> None:
    """The next pass begins at the last change."""
    follow = follower(token(NOW, NOW))
    run(follow, page([row("a", NOW + 1)], NOW + 60_000))
    assert f"_since={NOW + 1}" in run(follow, page([row("a", NOW + 1)], NOW + 60_000))[1][0]


def test_several_pages() -> None:
    """Each has its changes; the timestamp of the first one counts."""
    follow = follower(token(NOW, NOW))
    told, requests = run(
        follow,
        page([row("a", NOW + 1), row("b", NOW + 2)], NOW + 3, token="t"),
        page([row("c", NOW + 3)], NOW + 9000),
    )
    assert what(told) == [("Updated", each) for each in "abc"]
    assert requests[1].endswith("?_limit=2&_token=t")
    # What committed late while the pages were read is found by the next pass.
    assert f"_since={NOW}" in run(follow, page([row("c", NOW + 3)]))[1][0]


def test_what_settles_while_pages_are_read() -> None:
    """What commits late on the first page is found by the next pass only, however long it took."""
    follow = follower(token(NOW, NOW))
    run(
        follow,
        page([row("a", NOW + 1), row("b", NOW + 2)], NOW + 3, token="t"),
        page([row("c", NOW + 9000)], NOW + 9000),
    )
    assert f"_since={NOW}" in run(follow, page([row("c", NOW + 9000)], NOW + 9000))[1][0]


def test_the_mark_before_the_first_pass() -> None:
    """It is of what was there when it began; what is newer is not read for it."""
    follow = follower()
    later = row("b", NOW + 1)
    told, requests = run(
        follow,
        head(),
        page([row("a", NOW - 1), later], token="t"),
        page([row("a", NOW - 1), later]),
        page([row("a", NOW - 1), later], NOW + 1),
    )
    assert what(told) == [("Created", "a"), ("Updated", "b")]
    assert len(requests) == 4


def test_from_now_on() -> None:
    """What is there is not told, and not read but for what is as new as a late commit may be."""
    told, requests = run(
        follower("now"),
        head(),
        page([row("a", NOW - 1)]),
        page([row("a", NOW - 1), row("b", NOW + 1)], NOW + 1),
    )
    assert what(told) == [("Updated", "b")]
    assert all("_since" in each or "HEAD" in str(each) for each in map(str, requests[1:]))


def test_a_token_for_each_change() -> None:
    """From each of them the rest is told, and nothing twice."""
    rows = [row(each, NOW + n) for n, each in enumerate("abc", 1)]
    told, _ = run(follower(token(NOW, NOW), size=9), page(rows, NOW + 3))
    for n, change in enumerate(told):
        rest, _ = run(follower(change.token, size=9), page(rows, NOW + 3))
        assert [each.id for each in rest] == list("abc")[n + 1 :]


@pytest.mark.parametrize(
    "bad", ["", "x", "[]", "[1,2]", '[-1,0,"",[],null]', "[1,1,5,[],null]", '["1",1,"",[],null]']
)
def test_what_is_no_token(bad: str) -> None:
    """It is refused at once."""
    with pytest.raises(InvalidData, match="start with since=None"):
        follower(bad)


# The witness


def test_the_witness_is_there() -> None:
    """The object that had the highest timestamp is on the page, or is asked for."""
    told, requests = run(follower(token(NOW, NOW, "w")), page([tombstone("w", NOW + 1)], NOW + 1))
    assert (what(told), len(requests)) == ([("Deleted", "w")], 1)
    told, requests = run(
        follower(token(NOW, NOW, "w")), page([], NOW + 9000), page([row("w", NOW)], NOW + 9000)
    )
    assert told == []
    assert "eq_id=%22w%22" in requests[1]
    assert f"_since={NOW - 1}" in requests[1]


def test_the_witness_is_gone() -> None:
    """Neither it nor its tombstone: the collection was emptied, and nothing is told."""
    follow = follower(token(NOW, NOW, "w"))
    flow = next(follow.once())
    answers = page([row("a", NOW + 1)], NOW + 1), page([], NOW + 1)
    error, _ = fails(flow, CollectionReset, *answers)
    assert "Start again with since=None" in str(error)


# The history


def entry(id: str, at: int, **other: Any) -> dict[str, Any]:
    return object_of(f"h{id}", NOW, record_id=id, target={"data": {"last_modified": at}}, **other)


def test_the_history_tells_what_is_new() -> None:
    """A creation after what was seen; an older one was an update."""
    follow = follower(token(NOW, NOW, seen=[NOW + 1]), history=True, size=9)
    rows = [row("old", NOW + 2), row("new", NOW + 3), tombstone("gone", NOW + 4)]
    entries = [entry("old", NOW - 9), entry("new", NOW + 2)]
    told, requests = run(follow, page(rows, NOW + 4), page(entries))
    assert what(told) == [("Updated", "old"), ("Created", "new"), ("Deleted", "gone")]
    assert requests[1].startswith("GET /buckets/b/history?")
    assert "in_record_id=%22old%22%2C%22new%22" in requests[1]
    assert f"gt_last_modified={NOW - 1000}" in requests[1]
    assert "gone" not in requests[1]


def test_a_creation_that_was_seen() -> None:
    """Told as created already: what comes now is an update."""
    follow = follower(token(NOW, NOW + 1, seen=[NOW + 1]), history=True)
    told, _ = run(follow, page([row("a", NOW + 2)], NOW + 2), page([entry("a", NOW + 1)]))
    assert what(told) == [("Updated", "a")]


def test_pages_of_the_history() -> None:
    """All of them are read; without a live object none is."""
    follow = follower(token(NOW, NOW), history=True)
    told, requests = run(
        follow,
        page([row("a", NOW + 1), row("b", NOW + 2)], NOW + 2),
        page([entry("a", NOW + 1)], token="h"),
        page([entry("b", NOW + 2)]),
    )
    assert what(told) == [("Created", "a"), ("Created", "b")]
    assert requests[2] == "GET /buckets/b/history?_limit=2&_token=h"
    follow = follower(token(NOW, NOW), history=True)
    assert len(run(follow, page([tombstone("a", NOW + 1)], NOW + 1))[1]) == 1


def test_a_history_that_may_not_be_read() -> None:
    """Creations are not told from updates then."""
    follow = follower(token(NOW, NOW), history=True)
    told, _ = run(follow, page([row("a", NOW + 1)], NOW + 1), forbids())
    assert what(told) == [("Updated", "a")]


@pytest.mark.parametrize(
    "odd",
    [
        object_of("h"),
        object_of("h", record_id=5, target={"data": {"last_modified": 5}}),
        object_of("h", record_id="a", target={"data": {"last_modified": "5"}}),
        object_of("h", record_id="a", target={"data": []}),
        object_of("h", record_id="a", target=None),
    ],
)
def test_an_odd_history(odd: dict[str, Any]) -> None:
    """It does not say of which record it is."""
    flow = next(follower(token(NOW, NOW), history=True).once())
    error, _ = fails(flow, BadReply, page([row("a", NOW + 1)], NOW + 1), page([odd]))
    assert "does not say which record" in str(error)


# Circles, failures


@pytest.mark.parametrize("history", [False, True])
def test_a_circle(history: bool) -> None:
    """Of the collection's pages, or of the history's."""
    follow = follower(token(NOW, NOW), history=history)
    flows = follow.once()
    if history:
        first = page([row("a", NOW + 1)], NOW + 1)
        again = [page([entry("a", NOW + 1)], token="t") for _ in range(2)]
        fails(next(flows), BadReply, first, *again)
        return
    feed(next(flows), page([row("a", NOW + 1)], NOW + 1, token="t"))
    fails(next(flows), BadReply, page([row("b", NOW + 2)], NOW + 2, token="t"))


@pytest.mark.parametrize(
    "failure",
    [
        no_answer(),
        busy(),
        is_missing("collection"),
        says(200, {"data": [{"id": "a"}]}),
        says(200, {}),
        Reply(200, {}, b"<html>"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_a_pass_that_fails(failure: Any) -> None:
    """Nothing of it is told; another follower goes on from the last token."""
    follow = follower(token(NOW, NOW), size=1)
    flows = follow.once()
    told, _ = feed(next(flows), page([row("a", NOW + 1)], NOW + 9000, token="t"))
    expected = type(failure) if isinstance(failure, BaseException) else KintoError
    error, _ = fails(next(flows), expected, copy.copy(failure))
    if isinstance(error, KintoError):
        assert "follow Todo.find()" in str(error)
    witness = page([row("a", NOW + 1)], NOW + 9000)
    again = follower(told[-1].token)
    rest, requests = run(again, page([row("b", NOW + 2)], NOW + 9000), witness)
    assert what(rest) == [("Updated", "b")]
    assert f"_since={NOW + 1}" in requests[0]


def test_a_collection_that_is_missing() -> None:
    """Following makes nothing."""
    flow = next(follower().once())
    error, steps = fails(flow, NotFound, Reply(404, {}, b""), is_missing("collection"))
    assert [each.split()[0] for each in asked(steps)] == ["HEAD", "GET"]
    assert "sync_schema(Todo)" in str(error)


# Waiting


def test_is_anything_new() -> None:
    """Asked with the collection's timestamp, as it was when the last pass began."""
    follow = follower(token(NOW, NOW))
    assert not follow.may_wait
    run(follow, page([], NOW + 7))
    assert follow.may_wait
    found, (request,) = feed(follow.looking(), Reply(304, {}, b""))
    assert found is False
    assert request.headers == {"If-None-Match": f'"{NOW + 7}"'}
    assert feed(follow.looking(), head(NOW + 8))[0] is True


def test_a_server_without_timestamps() -> None:
    """Who has none cannot be asked whether anything is new."""
    follow = follower(token(NOW, NOW))
    run(follow, says(200, {"data": []}))
    assert not follow.may_wait


def test_marks_are_short_texts() -> None:
    """What is below the floor is not kept."""
    mark = Mark(NOW, NOW, "w", frozenset([NOW - 1, NOW, NOW + 1]))
    assert json.loads(mark.token())[3] == [1]
    assert Mark.of(mark.token()).seen == {NOW + 1}
