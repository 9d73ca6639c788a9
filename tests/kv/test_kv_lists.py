"""Writes through the items of lists: done once, to the item that was there, or an error."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conftest import Wire
from faults import (
    Answer,
    Exchange,
    FaultyServer,
    at_write,
    done_then,
    gateway,
    hangs_up,
    kinto_says,
    meanwhile,
    passed_on,
)
from kinto_orm import Conflict, KeyNotFound, KeyValues, KintoError, PathError, Retry, Session

Act = tuple[Any, ...]

LOST: dict[str, Answer] = {"hangs up": hangs_up, "502": gateway(502), "504": gateway(504)}
LOST["503 in HTML"] = gateway(503)
REFUSED: dict[str, Answer] = {
    "409": kinto_says(409, 122),
    "429": kinto_says(429, 117),
    "503": kinto_says(503, 201),
}


@pytest.fixture
def theirs(wire: Wire) -> KeyValues:
    """Another writer's key values, on a good network."""
    return wire.session.kv


@pytest.fixture
def mine(proxy: FaultyServer, wire: Wire) -> Iterator[KeyValues]:
    """Key values through the proxy."""
    retry = Retry(backoff_factor=0.0001)
    with Session(proxy.url, auth="alice:s3cret", bucket=wire.session.bucket, retry=retry) as own:
        yield own.kv
        proxy.answers.clear()


def then(act: Callable[[], object], answer: Answer) -> Answer:
    """The server does the work of the next write, the other writer acts, and this comes back."""
    return at_write(done_then(meanwhile(answer, act)))


def first(act: Callable[[], object]) -> Answer:
    """The other writer acts before the next write arrives."""
    return at_write(meanwhile(passed_on, act))


# What goes wrong, by examples

ITEMS: list[Any] = [{"id": "A", "n": 1}, {"id": "B", "n": 1}, {"id": "C"}]
THROUGH: dict[str, Callable[[KeyValues], Any]] = {
    "set an item": lambda kv: kv.set("k/1", 50),
    "set below an item": lambda kv: kv.set("k/1/n", "B2"),
    "set deep below an item": lambda kv: kv.set("k/1/a/b", "B2"),
    "setdefault below an item": lambda kv: kv.setdefault("k/1/m", "B2"),
    "delete below an item": lambda kv: kv.delete("k/1/n"),
    "delete an item": lambda kv: kv.delete("k/1"),
    "delete missing_ok": lambda kv: kv.delete("k/1/n", missing_ok=True),
}


@pytest.mark.parametrize("fault", LOST | REFUSED)
@pytest.mark.parametrize("act", THROUGH)
def test_the_items_moved_after_a_lost_answer(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str, fault: str
) -> None:
    """Nothing is written to the item that is at the index now."""
    theirs["k"] = ITEMS
    proxy.answers.append(then(lambda: theirs.pop("k/0"), (LOST | REFUSED)[fault]))
    with pytest.raises(KintoError) as raised:
        THROUGH[act](mine)
    if fault in LOST:
        assert isinstance(raised.value, Conflict)
        assert raised.value.unconfirmed
    assert theirs["k/0" if act == "delete an item" else "k/1"] == ITEMS[2]


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("act", THROUGH)
def test_the_key_was_changed_after_an_answer_was_lost(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str, fault: str
) -> None:
    """By this very write or another writer: nothing tells which, and nothing is sent again."""
    theirs["k"] = ITEMS
    proxy.answers.append(then(lambda: theirs.set("k/-", "theirs"), LOST[fault]))
    with pytest.raises(Conflict, match="Nothing tells which") as raised:
        THROUGH[act](mine)
    assert raised.value.unconfirmed
    assert len([each for each in proxy.methods if each == "PATCH"]) <= 2


@pytest.mark.parametrize("act", THROUGH)
def test_the_items_moved_before_the_write(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str
) -> None:
    """What was read first is no longer there: nothing is written, and the Conflict shows both."""
    theirs["k"] = ITEMS
    proxy.answers.append(first(lambda: theirs.pop("k/0")))
    with pytest.raises(Conflict, match="another item is there now") as raised:
        THROUGH[act](mine)
    assert (raised.value.base, raised.value.remote) == (ITEMS[1], ITEMS[2])
    assert not raised.value.unconfirmed
    assert theirs["k"] == ITEMS[1:]


@pytest.mark.parametrize("act", [each for each in THROUGH if not each.startswith("delete")])
@pytest.mark.parametrize("left", [None, {"1": {"n": 1}}, "text", []])
def test_the_list_is_gone(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str, left: Any
) -> None:
    """An index does not become a member's name on the way."""
    theirs["k"] = ITEMS
    gone = (lambda: theirs.delete("k")) if left is None else (lambda: theirs.set("k", left))
    proxy.answers.append(first(gone))
    with pytest.raises(Conflict, match="another item is there now"):
        THROUGH[act](mine)
    assert theirs.get("k") == left


def test_a_name_does_not_become_an_index(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer
) -> None:
    """The other way round, too."""
    theirs["k"] = {"0": 1}
    proxy.answers.append(first(lambda: theirs.set("k", ["theirs"])))
    with pytest.raises(Conflict, match="another item is there now"):
        mine["k/0"] = 2
    assert theirs["k"] == ["theirs"]


@pytest.mark.parametrize("act", THROUGH)
def test_writers_at_other_items(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str
) -> None:
    """As long as the item stays at its place both changes are kept."""
    theirs["k"] = ITEMS
    proxy.answers.append(first(lambda: theirs.set("k/0", "theirs")))
    proxy.answers.append(first(lambda: theirs.set("k/-", "theirs")))
    THROUGH[act](mine)
    assert [theirs.pop("k/0"), theirs["k"][-1]] == ["theirs", "theirs"]  # type: ignore[index, call-overload]


def test_the_second_item_of_an_append(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer
) -> None:
    """An append of an object by a path below `-` is an append: it is not done twice."""
    theirs["k"] = []
    proxy.answers.append(then(lambda: theirs.set("k/-", "theirs"), hangs_up))
    with pytest.raises(Conflict) as raised:
        mine["k/-/name"] = "mine"
    assert raised.value.unconfirmed
    assert theirs["k"] == [{"name": "mine"}, "theirs"]


# By generated cases

leaves = st.sampled_from([0, 1, 2, True, "a", None])
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab0"), inner, max_size=3)
    ),
    max_leaves=6,
)
roots = st.lists(values, min_size=1, max_size=4) | values
segments = st.lists(st.sampled_from(["0", "1", "2", "a", "b", "-"]), min_size=1, max_size=3)
below = segments.map(lambda names: ("k", *names))
acts: st.SearchStrategy[Act] = st.one_of(
    st.tuples(st.just("set"), below, values),
    st.tuples(st.just("setdefault"), below, values),
    st.tuples(st.just("delete"), below),
    st.tuples(st.just("delete_if_there"), below),
)
others: st.SearchStrategy[Act] = acts | st.one_of(
    st.tuples(st.just("pop"), below),
    st.tuples(st.just("set"), st.just(("k",)), roots),
    st.tuples(st.just("delete"), st.just(("k",))),
    st.tuples(st.just("set"), st.just(("k", "-")), values),
    st.tuples(st.just("pop"), st.sampled_from([("k", "0"), ("k", "1")])),
)
faults = st.sampled_from(
    [
        *((each, done) for each in (LOST | REFUSED).values() for done in (True, False)),
        (passed_on, False),
    ]
)


def run(kv: KeyValues, act: Act) -> Any:
    """Do it; the result, or the error that the values themselves give."""
    verb, path, *value = act
    try:
        if verb == "delete_if_there":
            return kv.delete(path, missing_ok=True)
        return getattr(kv, verb)(path, *value)
    except (KeyNotFound, PathError) as error:
        return type(error)


def serially(session: Session, root: Any, *in_order: Act) -> tuple[Any, list[Any]]:
    """What is there after these acts one after the other, and what each gave."""
    kv = session.kv
    kv.clear()
    kv["k"] = copy.deepcopy(root)
    gave = [run(kv, act) for act in in_order]
    return kv.get("k", KeyNotFound), gave


def is_one_of(outcome: tuple[Any, Any], wanted: list[tuple[Any, Any]]) -> bool:
    return any(repr(outcome) == repr(each) for each in wanted)


@given(root=roots, act=acts, other=others, fault=faults)
@example([1, 2, 3], ("set", ("k", "1"), 50), ("pop", ("k", "0")), (hangs_up, True))
@example([1, 2, 2], ("set", ("k", "1"), 50), ("pop", ("k", "0")), (REFUSED["409"], True))
@example([2, 2, 2], ("delete", ("k", "1")), ("set", ("k", "-"), 2), (hangs_up, True))
def test_two_writers_and_a_fault(
    mine: KeyValues,
    theirs: KeyValues,
    proxy: FaultyServer,
    session: Session,
    root: Any,
    act: Act,
    other: Act,
    fault: tuple[Answer, bool],
) -> None:
    """What is there comes of the two acts in some order; or there was an error, and no third one.

    After an error mine was done once, or not at all.
    """
    answer, done = fault
    theirs["k"] = copy.deepcopy(root)
    their_result: list[Any] = []

    def acts_between(exchange: Exchange) -> None:
        if done:
            exchange.forward()
        their_result.append(run(theirs, other))
        answer(exchange)

    proxy.answers.clear()
    proxy.answers.append(at_write(acts_between))
    failed = True
    result: Any = None
    with contextlib.suppress(KintoError):
        result = run(mine, act)
        failed = isinstance(result, type)
    proxy.answers.clear()
    left = theirs.get("k", KeyNotFound)
    if not their_result:  # nothing was to be written
        wanted, gave = serially(session, root, act)
        assert is_one_of((left, result), [(wanted, gave[0])])
        return
    orders = [serially(session, root, *each) for each in ((act, other), (other, act))]
    if failed:
        alone = serially(session, root, other)[0]
        assert repr(left) in {repr(each) for each in [alone, *(state for state, _ in orders)]}
        return
    (both, mine_first), (both_too, theirs_first) = orders
    assert is_one_of((left, result), [(both, mine_first[0]), (both_too, theirs_first[1])])


# Appends where nothing is


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("new/-", "kv['new'] = []"),
        ("new/a/-", "kv['new/a'] = []"),
        ("k/-", "kv['k'] = []"),
        ("k/new/-/x", "kv['k/new'] = []"),
        ("k/a/-", "kv['k/a'] = []"),
        ("k/list/0/-", "kv['k/list/0'] = []"),
        ("k/list/-/-", "append the whole item"),
        ("k/list/-/a/-", "append the whole item"),
    ],
)
def test_an_append_to_no_list(theirs: KeyValues, path: str, named: str) -> None:
    """It is refused: it would make a member `-`, which the next append would replace."""
    theirs["k"] = before = {"a": {}, "list": [{}]}
    for write in (theirs.set, theirs.setdefault):
        with pytest.raises(PathError) as raised:
            write(path, 1)
        assert named in str(raised.value)
    assert dict(theirs.items()) == {"k": before}


def test_a_member_of_that_name(theirs: KeyValues) -> None:
    """An object that has it is written to by its path."""
    theirs["k"] = {"-": 1, "a": {"-": {}}}
    theirs["k/-"] = 2
    theirs["k/a/-/b"] = 3
    theirs["-"] = {}
    theirs["-/x"] = 4
    assert dict(theirs.items()) == {"k": {"-": 2, "a": {"-": {"b": 3}}}, "-": {"x": 4}}


def test_a_412_to_the_deletion_of_a_key(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer
) -> None:
    """It is sent without a precondition: a server that says so all the same gets a Conflict."""
    theirs["k"] = 1
    for act in (lambda: mine.delete("k"), lambda: mine.delete("k", missing_ok=True)):
        proxy.answers.append(at_write(kinto_says(412, 114)))
        with pytest.raises(Conflict):
            act()
    assert theirs["k"] == 1
