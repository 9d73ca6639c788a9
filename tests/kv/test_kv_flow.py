"""Key values, answered by hand: races, doubts, and writes of which nobody knows."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeding import (
    NOW,
    after_loss,
    asked,
    body,
    busy,
    fails,
    feed,
    forbids,
    gateway,
    is_missing,
    is_there,
    no_answer,
    no_connection,
    nowhere,
    object_of,
    refuses,
    requests_of,
    root,
    says,
    shows,
)
from kinto_orm import (
    BadReply,
    Conflict,
    Forbidden,
    KeyNotFound,
    KintoError,
    PathError,
    ServerError,
    Timeout,
)
from kinto_orm.kv.kinto import KintoStore
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Reply, Request

LATER = NOW + 1000
RECORD = "/buckets/b/collections/kv/records/k"
STORE = KintoStore(nowhere(), "b")


def record(value: Any, at: int = NOW) -> dict[str, Any]:
    return object_of("k", at, key="k", value=value)


def holds(value: Any, at: int = NOW) -> Reply:
    """The record of the key."""
    return shows(record(value, at))


def gone(at: int = LATER) -> Reply:
    return says(200, {"data": {"id": "k", "last_modified": at, "deleted": True}})


def set_(path: str, value: Any) -> Flow[Any]:
    return requests_of(STORE.writing("k", path.split("/") if path else [], value))


def add(path: str, value: Any) -> Flow[Any]:
    return requests_of(STORE.adding("k", path.split("/") if path else [], value))


def delete(path: str, *, missing_ok: bool = False) -> Flow[Any]:
    return requests_of(STORE.deleting("k", path.split("/") if path else [], missing_ok))


def pop(path: str) -> Flow[Any]:
    return requests_of(STORE.popping("k", path.split("/") if path else []))


def methods(steps: Any) -> list[str]:
    return [each.method for each in steps]


# A whole value


def test_a_whole_value() -> None:
    """It is stored without a precondition, whatever was there."""
    _, (put,) = feed(set_("", [1]), holds([1]))
    assert asked([put]) == [f"PUT {RECORD}"]
    assert put.headers == {}
    assert body(put) == {"data": {"key": "k", "value": [1]}}


@pytest.mark.parametrize(
    "answer",
    [
        holds(2),
        holds(True),
        shows(object_of("other", key="other", value=1)),
        shows(object_of("k", key="other", value=1)),
        shows(object_of("k", key="k")),
        shows(object_of("k", 0, key="k", value=1)),
        says(200, {}),
        Reply(200, {}, b""),
        Reply(304, {}, b""),
    ],
)
def test_an_answer_that_says_something_else(answer: Reply) -> None:
    """That it is stored is believed only of an answer that says it."""
    error, _ = fails(set_("", 1), BadReply, answer)
    assert "cannot set the key 'k'" in str(error)


def test_the_collection_is_made() -> None:
    """By the first write, in any bucket; reading makes nothing."""
    _, steps = feed(set_("", 1), is_missing("collection"), says(201, {}), holds(1))
    assert asked(steps)[1] == "PUT /buckets/b/collections/kv"
    fails(requests_of(STORE.reading("k")), KeyNotFound, is_missing("collection"))
    assert feed(requests_of(STORE.reading_many(["k"])), is_missing("collection"))[0] == {}
    empty = Reply(404, {}, b""), is_missing("collection"), is_missing("collection")
    assert feed(requests_of(STORE.counting("")), *empty)[0] == 0


def test_a_bucket_is_not_made() -> None:
    """It is another's, or is not there."""
    fails(set_("", 1), Forbidden, forbids(), forbids())
    fails(requests_of(STORE.reading("k")), Forbidden, forbids())


def test_a_personal_bucket_that_was_never_used() -> None:
    """It is empty: the server forbids to look at it."""
    store = KintoStore(nowhere("default", auth="a:b"), "default")
    user = {"id": "basicauth:1", "bucket": "3e2d"}
    fails(requests_of(store.reading("k")), KeyNotFound, root(user=user), forbids())


# Below a key


def test_a_write_below_a_key() -> None:
    """The record is read, and one JSON-Patch is sent if it is still so."""
    flow = set_("a/b", 1)
    _, (read, patch) = feed(flow, holds({"x": 1}), holds({"x": 1, "a": {"b": 1}}, LATER))
    assert methods([read, patch]) == ["GET", "PATCH"]
    assert patch.headers["If-Match"] == f'"{NOW}"'
    assert patch.alone
    assert body(patch) == [{"op": "add", "path": "/data/value/a", "value": {"b": 1}}]


def test_a_write_below_nothing() -> None:
    """The whole is stored, if nobody else was first."""
    _, (_, put) = feed(set_("a/b", 1), is_missing(), holds({"a": {"b": 1}}))
    assert put.headers == {"If-None-Match": "*"}
    assert body(put)["data"]["value"] == {"a": {"b": 1}}


def test_a_record_without_a_value() -> None:
    """It was put there by hand: it is completed, not overwritten unseen."""
    by_hand = shows(object_of("k", note="by hand"))
    _, (_, put) = feed(set_("a", 1), by_hand, holds({"a": 1}, LATER))
    assert put.headers == {"If-Match": f'"{NOW}"'}


@pytest.mark.parametrize("race", [is_there(record({"y": 2}, LATER)), is_missing()])
def test_another_writer_was_first(race: Reply) -> None:
    """Both are done again, with what is there now."""
    now = is_missing() if race.status == 404 else holds({"y": 2}, LATER)
    after = {"a": 1} if race.status == 404 else {"y": 2, "a": 1}
    _, steps = feed(set_("a", 1), holds({}), copy.copy(race), now, holds(after, LATER + 1))
    last = "PUT" if race.status == 404 else "PATCH"
    assert methods(steps) == ["GET", "PATCH", "GET", last]


def test_somebody_made_it_meanwhile() -> None:
    """What was nothing is something by now."""
    race = is_there(record({"y": 2}))
    _, steps = feed(
        set_("a", 1), is_missing(), race, holds({"y": 2}), holds({"y": 2, "a": 1}, LATER)
    )
    assert methods(steps) == ["GET", "PUT", "GET", "PATCH"]


def test_others_are_always_first() -> None:
    """After 31 times it is a Conflict."""
    answers = [holds({}), is_there(record({}, LATER))] * 31
    error, steps = fails(set_("a", 1), Conflict, *answers)
    assert len(steps) == 62
    assert "Another writer was first" in str(error)
    assert not error.unconfirmed


def test_the_time_is_over_after_a_race() -> None:
    """Nothing was sent any more: the race is what is told."""
    late = Timeout("the time of the call was over")
    late.lost = False
    error, _ = fails(set_("a", 1), Conflict, holds({}), is_there(record({}, LATER)), late)
    assert not error.lost
    fails(set_("a", 1), Timeout, late)


def test_a_path_through_what_is_no_container() -> None:
    """Also where another writer put it there between the two readings."""
    fails(set_("a/b", 1), PathError, holds({"a": "text"}))
    race = holds({}), is_there(record({"a": 5}, LATER)), holds({"a": 5}, LATER)
    fails(set_("a/b", 1), PathError, *race)


@pytest.mark.parametrize(
    "failure",
    [no_answer(), no_connection(), gateway(504), busy(), busy(409), gateway(404), refuses(400, 1)],
    ids=repr,
)
def test_a_write_that_may_be_repeated_is_raised(failure: Any) -> None:
    """The driver has tried it again already; here it would do no more."""
    error, steps = fails(set_("a", 1), KintoError, holds({}), copy.copy(failure))
    assert methods(steps) == ["GET", "PATCH"]
    assert steps[1].repeatable
    assert "cannot change the key 'k'" in str(error)


@pytest.mark.parametrize(
    "answer",
    [holds({"a": 2}), holds({}), shows(object_of("other", key="k", value={"a": 1})), says(200, {})],
)
def test_a_patch_that_is_answered_otherwise(answer: Reply) -> None:
    """It is not believed."""
    fails(set_("a", 1), BadReply, holds({}), answer)


def test_a_412_after_a_loss_is_run_again() -> None:
    """Doing it twice is no more than doing it once, so that nothing need be known."""
    answers = holds({}), after_loss(is_there(record({"a": 1}, LATER))), holds({"a": 1}, LATER)
    _, steps = feed(set_("a", 1), *answers, holds({"a": 1}, LATER + 1))
    assert methods(steps) == ["GET", "PATCH", "GET", "PATCH"]


# Items of lists


def test_an_item_is_set() -> None:
    """The one that was read."""
    flow = set_("0", "new")
    _, steps = feed(flow, holds(["a", "b"]), holds(["new", "b"], LATER))
    assert body(steps[1])[-1] == {"op": "replace", "path": "/data/value/0", "value": "new"}


@pytest.mark.parametrize("now", [["x", "a", "b"], ["b"], []])
@pytest.mark.parametrize("act", ["set", "delete"])
def test_another_item_is_there_now(act: str, now: list[str]) -> None:
    """Another writer moved the list: nothing is done, and both items are told."""
    flow = set_("0", "new") if act == "set" else delete("0")
    answers = holds(["a", "b"]), is_there(record(now, LATER)), holds(now, LATER)
    error, steps = fails(flow, Conflict, *answers)
    assert methods(steps) == ["GET", "PATCH", "GET"]
    assert (error.base, error.unconfirmed) == ("a", False)
    assert error.remote == (now[0] if now else None)


@pytest.mark.parametrize("act", ["set", "delete"])
def test_equal_items_cannot_be_told_apart(act: str) -> None:
    """A list that lost one has moved the others."""
    flow = set_("0", "new") if act == "set" else delete("0")
    answers = holds(["a", "a"]), is_there(record(["a"], LATER)), holds(["a"], LATER)
    error, _ = fails(flow, Conflict, *answers)
    assert (error.base, error.remote) == ("a", "a")


@pytest.mark.parametrize("now", [{"0": "a"}, 5, None])
def test_there_is_no_list_any_more(now: Any) -> None:
    """What is at the place of an item is none."""
    answers = holds(["a", "b"]), is_there(record(now, LATER)), holds(now, LATER)
    error, _ = fails(set_("0", "new"), Conflict, *answers)
    assert error.base == "a"


def test_an_item_that_is_gone_with_its_list() -> None:
    """There is nothing to be removed."""
    answers = holds(["a", "b"]), is_there(record(5, LATER)), holds(5, LATER)
    fails(delete("0"), KeyNotFound, *answers)
    feed(delete("0", missing_ok=True), *answers)


def test_the_list_grew() -> None:
    """The item is where it was."""
    answers = holds(["a"]), is_there(record(["a", "b"], LATER)), holds(["a", "b"], LATER)
    _, steps = feed(set_("0", "new"), *answers, holds(["new", "b"], LATER + 1))
    assert len(steps) == 4


def test_a_lost_write_of_an_item_that_is_there() -> None:
    """Whoever did it: it says what is there."""
    answers = holds(["a"]), after_loss(is_there(record(["new"], LATER))), holds(["new"], LATER)
    _, steps = feed(set_("0", "new"), *answers)
    assert methods(steps) == ["GET", "PATCH", "GET"]


def test_a_lost_write_of_an_item_that_is_not_there() -> None:
    """It may have been done and undone: sent again it might meet another item."""
    answers = holds(["a"]), after_loss(is_there(record(["b"], LATER))), holds(["b"], LATER)
    error, _ = fails(set_("0", "new"), Conflict, *answers)
    assert error.unconfirmed
    assert error.base == "a"


# What is more when it is done twice


DOUBTFUL = [no_answer(), BadReply("cut off"), gateway(502), gateway(504), says(500, {"errno": 9})]


@pytest.mark.parametrize("failure", DOUBTFUL, ids=repr)
@pytest.mark.parametrize("act", ["append", "pop", "delete"])
def test_a_loss_that_did_nothing(act: str, failure: Any) -> None:
    """The record is what it was: it is sent again."""
    flow, after = {
        "append": (set_("-", "c"), ["a", "b", "c"]),
        "pop": (pop("0"), ["b"]),
        "delete": (delete("0"), ["b"]),
    }[act]
    answers = holds(["a", "b"]), copy.copy(failure), holds(["a", "b"]), holds(after, LATER)
    result, steps = feed(flow, *answers)
    assert methods(steps) == ["GET", "PATCH", "GET", "PATCH"]
    assert not steps[1].repeatable
    assert result == ("a" if act == "pop" else None)


@pytest.mark.parametrize("now", [["a", "b", "c"], ["a", "b"], ["b"], [], 5])
@pytest.mark.parametrize("failure", DOUBTFUL, ids=repr)
@pytest.mark.parametrize("act", ["append", "pop", "delete"])
def test_a_loss_and_another_value(act: str, failure: Any, now: Any) -> None:
    """By this very change or by another writer: nothing tells which."""
    flow = {"append": set_("-", "c"), "pop": pop("0"), "delete": delete("0")}[act]
    answers = holds(["a", "b"]), copy.copy(failure), holds(now, LATER)
    error, steps = fails(flow, Conflict, *answers)
    assert methods(steps) == ["GET", "PATCH", "GET"]
    assert error.unconfirmed
    assert error.lost
    assert error.base == (None if act == "append" else "a")
    assert "Nothing tells which" in str(error)


@pytest.mark.parametrize("act", ["append", "pop"])
def test_a_loss_and_a_record_that_is_gone(act: str) -> None:
    """The same."""
    flow = set_("-", "c") if act == "append" else pop("0")
    answers = holds(["a"]), no_answer(), is_missing()
    error, _ = fails(flow, KintoError, *answers)
    assert isinstance(error, Conflict)


@pytest.mark.parametrize("failure", [no_connection(), busy(409), busy(429), refuses(400, 1)])
def test_what_was_not_done_is_raised(failure: Any) -> None:
    """There is nothing to find out."""
    _, steps = fails(set_("-", "c"), KintoError, holds(["a"]), copy.copy(failure))
    assert methods(steps) == ["GET", "PATCH"]


def test_a_rollback_that_was_none() -> None:
    """Kinto's own 503: on the memory backend the write may stay all the same."""
    rolled_back = busy(503)
    answers = holds(["a"]), rolled_back, holds(["a", "c"], LATER)
    error, _ = fails(set_("-", "c"), Conflict, *answers)
    assert error.unconfirmed


def test_a_rollback_and_another_writer() -> None:
    """What is there is not what this change would have made: it is done again."""
    answers = holds(["a"]), busy(503), holds(["a", "x"], LATER), holds(["a", "x", "c"], LATER + 1)
    _, steps = feed(set_("-", "c"), *answers)
    assert methods(steps) == ["GET", "PATCH", "GET", "PATCH"]


def test_a_rollback_of_a_pop() -> None:
    """Others are likely to have taken the very same item: another one is taken."""
    answers = holds(["a", "b", "c"]), busy(503), holds(["b", "c"], LATER), holds(["c"], LATER + 1)
    assert feed(pop("0"), *answers)[0] == "b"


def test_a_loss_again_and_again() -> None:
    """After four sendings it is given up, with the last error."""
    error, steps = fails(set_("-", "c"), Timeout, *[holds(["a"]), no_answer()] * 4)
    assert len(steps) == 8
    assert error.lost


@pytest.mark.parametrize("failure", [no_answer(), no_connection(), Reply(200, {}, b"<html>")])
def test_what_became_of_it_cannot_be_read(failure: Any) -> None:
    """Then the loss itself is told, not that of the reading."""
    lost = BadReply("cut off in the middle")
    error, _ = fails(set_("-", "c"), KintoError, holds(["a"]), lost, copy.copy(failure))
    assert error.lost


def test_a_doubt_outlives_a_race() -> None:
    """First lost, then refused as changed: it may be the lost one that changed it."""
    answers = holds(["a"]), no_answer(), holds(["a"]), is_there(record(["a", "c"], LATER))
    error, _ = fails(set_("-", "c"), Conflict, *answers, holds(["a", "c"], LATER))
    assert error.unconfirmed


def test_an_interrupt() -> None:
    """It goes on up from wherever it comes."""
    for answers in ([], [holds(["a"])], [holds(["a"]), no_answer()]):
        fails(set_("-", "c"), KeyboardInterrupt, *answers, KeyboardInterrupt())


# Removing


def test_a_member_is_removed() -> None:
    """By a JSON-Patch under a precondition."""
    _, steps = feed(delete("a"), holds({"a": 1, "b": 2}), holds({"b": 2}, LATER))
    assert body(steps[1]) == [{"op": "remove", "path": "/data/value/a"}]
    assert steps[1].headers["If-Match"] == f'"{NOW}"'


@pytest.mark.parametrize("there", [is_missing(), holds({"b": 2}), shows(object_of("k", note="x"))])
def test_what_is_not_there(there: Reply) -> None:
    """A KeyNotFound, or nothing to do; nothing is written."""
    assert methods(fails(delete("a"), KeyNotFound, copy.copy(there))[1]) == ["GET"]
    assert methods(fails(pop("a"), KeyNotFound, copy.copy(there))[1]) == ["GET"]
    assert methods(feed(delete("a", missing_ok=True), copy.copy(there))[1]) == ["GET"]


@pytest.mark.parametrize("missing_ok", [False, True])
def test_a_member_that_another_removed(missing_ok: bool) -> None:
    """Without a loss it is not there; with one nobody knows, unless that does not matter."""
    race = holds({"a": 1}), is_there(record({}, LATER)), holds({}, LATER)
    lost = holds({"a": 1}), after_loss(is_there(record({}, LATER))), holds({}, LATER)
    if missing_ok:
        for answers in (race, lost):
            feed(delete("a", missing_ok=True), *answers)
        return
    fails(delete("a"), KeyNotFound, *race)
    error, _ = fails(delete("a"), Conflict, *lost)
    assert error.unconfirmed
    assert error.base == 1


def test_a_key_is_deleted() -> None:
    """Without a precondition."""
    _, (request,) = feed(delete(""), gone())
    assert (request.method, request.headers) == ("DELETE", {})


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("missing", [is_missing(), is_missing("collection")])
def test_a_key_that_is_gone(missing: Reply, lost: bool) -> None:
    """After a loss this call may have deleted it."""
    answer = copy.copy(missing)
    answer = after_loss(answer) if lost else answer
    feed(delete("", missing_ok=True), copy.copy(answer))
    error, _ = fails(delete(""), Conflict if lost else KeyNotFound, answer)
    if isinstance(error, Conflict):
        assert error.unconfirmed


@pytest.mark.parametrize(
    "answer",
    [
        holds(1),
        says(200, {"data": {"id": "other", "last_modified": 5, "deleted": True}}),
        says(200, {"data": {"id": "k", "last_modified": 0, "deleted": True}}),
        says(200, {}),
        Reply(204, {}, b""),
    ],
)
@pytest.mark.parametrize("missing_ok", [False, True])
def test_a_deletion_that_is_answered_otherwise(answer: Reply, missing_ok: bool) -> None:
    """It is not believed."""
    error, _ = fails(delete("", missing_ok=missing_ok), BadReply, copy.copy(answer))
    assert "cannot delete the key 'k'" in str(error)


# Popping a key


def test_a_key_is_popped() -> None:
    """If it is still what was read; else it is read again."""
    answers = holds(1), is_there(record(2, LATER)), holds(2, LATER), gone(LATER + 1)
    value, steps = feed(pop(""), *answers)
    assert value == 2
    assert [each.headers.get("If-Match") for each in steps] == [
        None,
        f'"{NOW}"',
        None,
        f'"{LATER}"',
    ]


def test_a_key_that_another_popped() -> None:
    """It is not there any more."""
    fails(pop(""), KeyNotFound, holds(1), is_missing())
    fails(pop(""), KeyNotFound, holds(1), is_there(record(2, LATER)), is_missing())


@pytest.mark.parametrize("answer", [is_missing(), is_there(record(2, LATER))])
def test_a_lost_pop(answer: Reply) -> None:
    """Whether this call took it cannot be told; what it was is in `.base`."""
    error, _ = fails(pop(""), Conflict, holds(1), after_loss(copy.copy(answer)))
    assert error.unconfirmed
    assert error.base == 1


def test_a_pop_without_an_answer() -> None:
    """It is raised: the driver has tried again."""
    for failure in (no_answer(), busy(), gateway(404)):
        fails(pop(""), KintoError, holds(1), failure)


# Adding


def test_what_is_there_is_kept() -> None:
    """Nothing is written, and it is given."""
    assert feed(add("", 5), holds(1))[0] == 1
    value, steps = feed(add("a", 5), holds({"a": None}))
    assert (value, methods(steps)) == (None, ["GET"])


def test_what_is_not_there_is_added() -> None:
    """Whoever is first: theirs is given then."""
    assert feed(add("", 5), is_missing(), holds(5))[0] == 5
    assert feed(add("", 5), is_missing(), is_there(record(1)), holds(1))[0] == 1
    race = holds({}), is_there(record({"a": 1}, LATER)), holds({"a": 1}, LATER)
    assert feed(add("a", 5), *race)[0] == 1


def test_an_addition_whose_answer_is_lost() -> None:
    """What is there now is what is asked for, whoever wrote it."""
    answers = is_missing(), after_loss(is_there(record(5))), holds(5)
    assert feed(add("", 5), *answers)[0] == 5
    fails(add("", 5), ServerError, is_missing(), gateway(504))


# Lists


def test_keys_that_were_put_there_by_hand() -> None:
    """Under ids that no key has: they are no keys, and are not cleared."""
    rows = [object_of("x--zz", key="?", value=1), object_of("x--a-2fb", key="a/b", value=2)]
    total = Reply(200, {"Total-Objects": "5"}, b"")
    count, steps = feed(requests_of(STORE.counting("")), total, says(200, {"data": rows}))
    assert count == 4
    assert "like_id" in asked(steps)[1]


def test_several_keys() -> None:
    """Missing ones, and records without a value, are left out."""
    rows = [record(1), object_of("m", key="m")]
    found, steps = feed(requests_of(STORE.reading_many("klm")), says(200, {"data": rows}))
    assert found == {"k": 1}
    assert "in_id=" in asked(steps)[0]


# Old answers: a proxy or a cache repeats what was answered before


BEFORE = NOW - 1000


@pytest.mark.parametrize("at", [NOW, BEFORE])
def test_an_old_answer_to_a_write_below_a_key(at: int) -> None:
    """Each write gets a later timestamp than what was read: this was answered to another one."""
    for there, flow, after in (
        ({"a": 0}, set_("a", 1), {"a": 1}),
        ({}, add("a", 1), {"a": 1}),
        ({"a": 0}, delete("a"), {}),
        (["b"], set_("0", "a"), ["a"]),
    ):
        error, steps = fails(flow, BadReply, holds(there), holds(after, at))
        assert methods(steps) == ["GET", "PATCH"]
        assert error.lost
        assert "cannot change the key 'k'" in str(error)
        assert "repeat an old answer" in str(error)
        assert "Whether it was done is not known" in str(error)


def test_a_write_that_changes_nothing() -> None:
    """The server keeps the timestamp; an older one is of another time all the same."""
    feed(set_("a", 1), holds({"a": 1}), holds({"a": 1}))
    feed(set_("a", 1), holds({"a": 1}), holds({"a": 1}, LATER))
    fails(set_("a", 1), BadReply, holds({"a": 1}), holds({"a": 1}, BEFORE))


def test_an_old_answer_to_what_completes_a_record() -> None:
    """A record without a value was read: even null is a change of it."""
    for flow, value in ((set_("a", 1), {"a": 1}), (add("", None), None)):
        by_hand = shows(object_of("k", note="by hand"))
        fails(flow, BadReply, by_hand, holds(value))


def test_an_old_answer_to_a_creation() -> None:
    """It was there when it was read first: so the one that is made anew is later."""
    race = holds({}), is_missing(), is_missing()
    feed(set_("a", 1), *race, holds({"a": 1}, LATER))
    fails(set_("a", 1), BadReply, *race, holds({"a": 1}))


ONCE = {
    "append": (set_, ("-", "c"), ["a", "b", "c"]),
    "pop": (pop, ("0",), ["b"]),
    "delete": (delete, ("0",), ["b"]),
}


@pytest.mark.parametrize("at", [NOW, BEFORE])
@pytest.mark.parametrize("act", ONCE)
def test_an_old_answer_to_what_is_done_once(act: str, at: int) -> None:
    """It goes as when the answer is lost: it looks, and where nothing tells, says so."""
    make, arguments, after = ONCE[act]
    first = holds(["a", "b"]), holds(after, at)
    _, steps = feed(make(*arguments), *first, holds(["a", "b"]), holds(after, LATER))
    assert methods(steps) == ["GET", "PATCH", "GET", "PATCH"]
    for now in (holds(after, LATER), holds(["x"], LATER), is_missing()):
        error, _ = fails(make(*arguments), Conflict, *map(copy.copy, first), now)
        assert error.unconfirmed


@pytest.mark.parametrize("at", [NOW, BEFORE])
def test_an_old_answer_to_the_pop_of_a_key(at: int) -> None:
    """The tombstone has a later timestamp than what was read; else it looks."""
    value, steps = feed(pop(""), holds(1), gone(at), holds(1), gone())
    assert (value, methods(steps)) == (1, ["GET", "DELETE"] * 2)
    for rest in ([is_missing()], [holds(2, LATER)], [holds(1), is_missing()]):
        error, _ = fails(pop(""), Conflict, holds(1), gone(at), *rest)
        assert error.unconfirmed
        assert error.base == 1
    error, steps = fails(pop(""), BadReply, *[holds(1), gone(at)] * 4)
    assert error.lost
    assert len(steps) == 8


def test_what_is_read_again_is_old() -> None:
    """Nothing is planned on it, and nothing is taken from it: it is read once more."""
    race = holds(["a"]), is_there(record(["b"], LATER))
    old = holds(["new"], BEFORE)
    flow = set_("0", "new")
    error, steps = fails(flow, Conflict, *race, old, holds(["b"], LATER))
    assert methods(steps) == ["GET", "PATCH", "GET", "GET"]
    assert error.remote == "b"
    fails(set_("a", 1), BadReply, holds({}), is_there(record({}, LATER)), *[old] * 30)


def test_a_look_that_is_old() -> None:
    """It does not say what became of a change: the loss itself is told."""
    error, _ = fails(set_("-", "c"), Timeout, holds(["a"]), no_answer(), holds(["a"], BEFORE))
    assert error.lost
    lost = after_loss(is_there(record(["new"], LATER)))
    error, _ = fails(set_("0", "new"), Conflict, holds(["a"]), lost, holds(["new"], BEFORE))
    assert error.lost


# Whatever comes


class Served:
    """A list of a server that others write to, over a wire that loses requests and answers.

    Args:
        data: Draws what happens.
    """

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self._stamp = NOW
        self._others = 100
        self.value: list[Any] = list(range(data.draw(st.integers(1, 3))))
        self.done = 0
        self._read: list[Reply] = []
        # What was answered when the same was done before, and undone since.
        self.before = holds(self.value, NOW)

    def answer(self, request: Request) -> Any:
        """What comes back for a request."""
        if self._data.draw(st.integers(0, 3), label="another writer") == 0:
            self._change()
        kinds = ["well"] * 4 + ["request lost", "answer lost", "gateway", "rolled back", "repeated"]
        fault = self._data.draw(st.sampled_from(kinds), label=request.method)
        if fault == "request lost":
            return no_answer()
        if fault == "repeated" and request.method == "GET":
            return self._data.draw(st.sampled_from(self._read or [self._held()]))
        if fault == "repeated":
            if self._data.draw(st.booleans(), label="reaches the server"):
                self._patched(request)
            return self.before
        if fault == "rolled back" and request.method == "PATCH":
            return busy(503)
        reply = self._patched(request) if request.method == "PATCH" else self._held()
        if request.method == "GET":
            self._read.append(reply)
        return {"answer lost": no_answer(), "gateway": gateway(504)}.get(fault, reply)

    def _held(self) -> Reply:
        return holds(list(self.value), self._stamp)

    def _change(self) -> None:
        self._stamp += 1
        if self.value and self._data.draw(st.booleans(), label="takes"):
            self.value.pop(0)
        else:
            self._others += 1
            self.value.append(self._others)

    def _patched(self, request: Request) -> Reply:
        if request.headers["If-Match"] != f'"{self._stamp}"':
            return is_there(record(list(self.value), self._stamp))
        self._stamp += 1
        self.done += 1
        for each in body(request):
            if each["op"] == "add":
                self.value.append(each["value"])
            elif each["op"] == "remove":
                self.value.pop(0)
        return self._held()


@given(data=st.data(), act=st.sampled_from(["append", "pop"]))
def test_done_once_or_it_is_said(data: st.DataObject, act: str) -> None:
    """What returned was done exactly once, and what failed and is certain was not done.

    Only what is lost or unconfirmed may have been done, and never twice.
    """
    served = Served(data)
    flow = set_("-", "mine") if act == "append" else pop("0")
    after = [*served.value, "mine"] if act == "append" else served.value[1:]
    served.before = holds(after, NOW - data.draw(st.integers(0, 1), label="earlier"))
    try:
        step: Any = next(flow)
        for _ in range(200):
            answer = served.answer(step)
            step = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
        pytest.fail("it does not end")
    except StopIteration:
        least = most = 1
    except KintoError as error:
        least, most = 0, int(error.lost or getattr(error, "unconfirmed", False))
    assert least <= served.done <= most
    assert json.dumps(served.value).count("mine") <= most


@pytest.mark.parametrize("missing_ok", [False, True])
def test_a_list_that_became_an_object(missing_ok: bool) -> None:
    """Its member of that name is not the item that was to be deleted."""
    flow = delete("0", missing_ok=missing_ok)
    race = refuses(412, record({"0": "another"}, LATER))
    conflict, _ = fails(flow, Conflict, holds(["x"]), race, holds({"0": "another"}, LATER))
    assert conflict.base == "x"
