"""Key values over a bad network, and with no answers: nothing lost, nothing believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import Backend, Wire
from faults import Answer, Exchange, FaultyServer, answer_lost, hangs_up, passed_on, says
from kinto_orm import (
    BadReply,
    Conflict,
    ConnectFailed,
    KeyNotFound,
    KeyValues,
    KintoError,
    Retry,
    ServerError,
    Session,
    Timeout,
    TransportError,
)
from kinto_orm.server import serve_process

Act = Callable[[KeyValues], Any]

FAST = Retry(backoff_factor=0.001)
BEFORE = {"k": {"list": ["a", "b"], "member": 1}, "other": 2}
# Kinto's own: the database rolled the write back.
ROLLED_BACK = says(503, {"errno": 201, "code": 503, "message": "rolled back"})
BUSY = says(409, {"errno": 122, "code": 409, "message": "please retry"})


@pytest.fixture
def theirs(wire: Wire) -> KeyValues:
    """Another writer's key values, on a good network."""
    wire.session.kv.update(BEFORE)
    return wire.session.kv


@pytest.fixture
def mine(proxy: FaultyServer, theirs: KeyValues, wire: Wire) -> Iterator[KeyValues]:
    """Key values through the proxy."""
    with Session(proxy.url, auth="alice:s3cret", bucket=wire.session.bucket, retry=FAST) as session:
        yield session.kv
        proxy.answers.clear()


WRITES: dict[str, Act] = {
    "set": lambda kv: kv.set("k", 5),
    "set new": lambda kv: kv.set("new", 5),
    "set a member": lambda kv: kv.set("k/member", 5),
    "set an item": lambda kv: kv.set("k/list/0", 5),
    "set below new": lambda kv: kv.set("new/a/b", 5),
    "append": lambda kv: kv.set("k/list/-", 5),
    "setdefault": lambda kv: kv.setdefault("new", 5),
    "setdefault below": lambda kv: kv.setdefault("k/new", 5),
    "update": lambda kv: kv.update({"new": 5}),
}
REMOVALS: dict[str, Act] = {
    "delete": lambda kv: kv.delete("k"),
    "delete missing_ok": lambda kv: kv.delete("k", missing_ok=True),
    "delete a member": lambda kv: kv.delete("k/member"),
    "delete an item": lambda kv: kv.delete("k/list/0"),
    "pop": lambda kv: kv.pop("k"),
    "pop with a default": lambda kv: kv.pop("k", "DEFAULT"),
    "pop a member": lambda kv: kv.pop("k/member"),
    "pop an item": lambda kv: kv.pop("k/list/0"),
}
CLEAR: dict[str, Act] = {"clear": lambda kv: kv.clear()}
# Doing it twice is more than doing it once.
ONCE = ("append", "delete an item", "pop a member", "pop an item")

NO_ANSWERS: dict[str, Answer] = {
    "html": says(200, b"<html>Please log in</html>", Content_Type="text/html"),
    "empty": says(200, b""),
    "object": says(200, {}),
    "list": says(200, []),
    "null": says(200, {"data": None}),
    "texts": says(200, {"data": ["k"]}),
    "no content": says(204, b""),
    "not modified": says(304, b""),
    "created": says(201, {"ok": True}),
}


def to_writes(answer: Answer) -> Answer:
    """Reads reach the server; everything else gets this answer."""

    def choose(exchange: Exchange) -> None:
        (passed_on if exchange.command in ("GET", "HEAD") else answer)(exchange)

    return choose


# Answers that are none


@pytest.mark.parametrize("act", WRITES | REMOVALS | CLEAR)
def test_writes_look_at_their_answers(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str
) -> None:
    """What no server said was stored or deleted is an error, since nothing was."""
    for answer in NO_ANSWERS.values():
        proxy.answers.extend([to_writes(answer)] * 20)
        with pytest.raises(BadReply, match="cannot"):
            (WRITES | REMOVALS | CLEAR)[act](mine)
        proxy.answers.clear()
    assert dict(theirs.items()) == BEFORE


@pytest.mark.parametrize("act", [act for act in WRITES | REMOVALS if act not in ("set", "set new")])
def test_reads_before_writes(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str
) -> None:
    """A read that gets no answer shows nothing that could be written over or is missing."""
    for answer in NO_ANSWERS.values():
        proxy.answers.extend([answer] * 20)
        with pytest.raises(BadReply):
            (WRITES | REMOVALS)[act](mine)
        proxy.answers.clear()
    assert dict(theirs.items()) == BEFORE


@pytest.mark.parametrize("answer", list(NO_ANSWERS))
def test_reads(mine: KeyValues, proxy: FaultyServer, answer: str) -> None:
    """Neither a default nor an empty mapping is made of an answer that is none."""
    acts: list[Act] = [
        lambda kv: kv["k"],
        lambda kv: kv.get("k", "DEFAULT"),
        lambda kv: "k" in kv,
        lambda kv: kv.get_many(["k"]),
        lambda kv: list(kv),
        lambda kv: dict(kv.items()),
        lambda kv: len(kv),
        lambda kv: list(kv.keys("k")),
    ]
    for act in acts:
        proxy.answers.extend([NO_ANSWERS[answer]] * 20)
        with pytest.raises(BadReply):
            act(mine)
        proxy.answers.clear()


def altered(change: Callable[[dict[str, Any]], object]) -> Answer:
    """The server does the work, and something changes what it says of it."""

    def answer(exchange: Exchange) -> None:
        status, body, headers = exchange.forward()
        content = json.loads(body)
        change(content["data"])
        exchange.write(status, json.dumps(content).encode(), headers)

    return answer


ALTERED: dict[str, Callable[[dict[str, Any]], object]] = {
    "another id": lambda data: data.update(id="somebody-else"),
    "no id": lambda data: data.pop("id"),
    "no time": lambda data: data.pop("last_modified"),
    "time is true": lambda data: data.update(last_modified=True),
    "time is a text": lambda data: data.update(last_modified="1"),
    "no positive time": lambda data: data.update(last_modified=0),
}
ALTERED_WRITES = ALTERED | {
    "another value": lambda data: data.update(value="another"),
    "almost the value": lambda data: data.update(value={"list": ["a", "b"], "member": 5.1}),
    "no value": lambda data: data.pop("value"),
}
ALTERED_REMOVALS = ALTERED | {
    "not deleted": lambda data: data.pop("deleted"),
    "deleted is 1": lambda data: data.update(deleted=1),
}


@pytest.mark.parametrize("act", ["set", "set new", "set a member", "set below new", "setdefault"])
@pytest.mark.parametrize("change", ALTERED_WRITES)
def test_an_answer_about_something_else_than_was_written(
    mine: KeyValues, proxy: FaultyServer, act: str, change: str
) -> None:
    """Its id, its time and its value are those of what was written, or it is a BadReply."""
    proxy.answers.extend([to_writes(altered(ALTERED_WRITES[change]))] * 2)
    with pytest.raises(BadReply):
        WRITES[act](mine)


@pytest.mark.parametrize("act", ["delete", "delete missing_ok"])
@pytest.mark.parametrize("change", ALTERED_REMOVALS)
def test_an_answer_about_something_else_than_was_deleted(
    mine: KeyValues, proxy: FaultyServer, act: str, change: str
) -> None:
    """It is the tombstone of that key, or a BadReply."""
    proxy.answers.extend([to_writes(altered(ALTERED_REMOVALS[change]))] * 2)
    with pytest.raises(BadReply):
        REMOVALS[act](mine)


@pytest.mark.parametrize("change", ALTERED_REMOVALS)
def test_an_answer_about_something_else_than_was_popped(
    mine: KeyValues, proxy: FaultyServer, change: str
) -> None:
    """It looks: the key is gone, and nobody knows by whom; its value is not lost."""
    proxy.answers.extend([to_writes(altered(ALTERED_REMOVALS[change]))] * 2)
    with pytest.raises(Conflict) as error:
        mine.pop("k")
    assert error.value.unconfirmed
    assert error.value.base == BEFORE["k"]


def test_an_answer_under_another_key(mine: KeyValues, proxy: FaultyServer) -> None:
    """The key is in the record, too."""
    proxy.answers.append(altered(lambda data: data.update(key="other")))
    with pytest.raises(BadReply):
        mine["k"] = 5


@pytest.mark.parametrize("change", ["another id", "no id", "no time", "time is true"])
def test_a_read_of_another_key(mine: KeyValues, proxy: FaultyServer, change: str) -> None:
    """A cache that mixes answers up gives nobody the value of another key."""
    acts: list[Act] = [lambda kv: kv["k"], lambda kv: kv.set("k/member", 5), lambda kv: kv.pop("k")]
    for act in acts:
        proxy.answers.append(altered(ALTERED[change]))
        with pytest.raises(BadReply):
            act(mine)
        proxy.answers.clear()


@pytest.mark.parametrize(
    "value",
    [0.1 + 0.2, 1e300, -1e30, 2**63 + 0.0, -0.0, 1.0, 2**64 - 1, 5e-324, 1.7976931348623157e308,
     -6.792475937705743e155, 10928588.983213553, 1.2345678901234567e18],
)  # fmt: skip
def test_numbers_that_come_back_otherwise(theirs: KeyValues, value: float) -> None:
    """Kinto changes the last digits of floats, PostgreSQL gives large ones as integers."""
    theirs["n"] = value
    theirs["l"] = [value, [value]]
    theirs["l/-"] = value
    for _ in range(2):
        assert theirs.pop("l/0") != []
    theirs["m"] = {"a": theirs.pop("l/0"), "b": value}
    del theirs["m/a"]
    assert theirs["l"] == []


# Answers that are lost


def lost(after: Answer = hangs_up) -> Answer:
    """The server does the work of the next write, and this is what comes back."""

    def answer(exchange: Exchange) -> None:
        exchange.forward()
        after(exchange)

    return answer


LOST: dict[str, Answer] = {
    "hangs up": hangs_up,
    "502": says(502, b"<h1>Bad Gateway</h1>", Content_Type="text/html"),
    "504": says(504, b""),
    "503 in HTML": says(503, b"<h1>Unavailable</h1>", Content_Type="text/html"),
}


def next_write(proxy: FaultyServer, *answers: Answer) -> None:
    """What the next writes meet; the reads before and between them reach the server."""
    left = list(answers)

    def choose(exchange: Exchange) -> None:
        if exchange.command in ("GET", "HEAD") or not left:
            passed_on(exchange)
        else:
            left.pop(0)(exchange)

    proxy.answers.extend([choose] * 100)


def sent(proxy: FaultyServer) -> list[str]:
    return [method for method in proxy.methods if method != "GET"]


AFTER: dict[str, Any] = {
    "set": BEFORE | {"k": 5},
    "set new": BEFORE | {"new": 5},
    "set a member": BEFORE | {"k": {"list": ["a", "b"], "member": 5}},
    "set an item": BEFORE | {"k": {"list": [5, "b"], "member": 1}},
    "set below new": BEFORE | {"new": {"a": {"b": 5}}},
    "append": BEFORE | {"k": {"list": ["a", "b", 5], "member": 1}},
    "setdefault": BEFORE | {"new": 5},
    "setdefault below": BEFORE | {"k": {"list": ["a", "b"], "member": 1, "new": 5}},
    "update": BEFORE | {"new": 5},
    "delete": {"other": 2},
    "delete missing_ok": {"other": 2},
    "delete a member": BEFORE | {"k": {"list": ["a", "b"]}},
    "delete an item": BEFORE | {"k": {"list": ["b"], "member": 1}},
    "pop": {"other": 2},
    "pop with a default": {"other": 2},
    "pop a member": BEFORE | {"k": {"list": ["a", "b"]}},
    "pop an item": BEFORE | {"k": {"list": ["b"], "member": 1}},
}
# What of these cannot be told from another writer's when the answer is lost. The others come to
# the same when they are done again, or say only what is there afterwards.
UNSURE = (*ONCE, "delete", "delete a member", "pop", "pop with a default")


# Any loss for an act that is sent once, one that is repeated, and one that deletes a key.
LOSSES = [(act, "hangs up") for act in WRITES | REMOVALS if act != "pop"]
LOSSES += [(act, loss) for act in ("append", "set a member", "pop") for loss in LOST]


@pytest.mark.parametrize(("act", "loss"), LOSSES)
def test_done_and_the_answer_lost(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str, loss: str
) -> None:
    """It is never done twice, and never taken for one's own without proof."""
    next_write(proxy, lost(LOST[loss]))
    if act in UNSURE:
        with pytest.raises(Conflict, match="Nothing tells which") as raised:
            (WRITES | REMOVALS)[act](mine)
        assert raised.value.unconfirmed
    else:
        (WRITES | REMOVALS)[act](mine)
    assert dict(theirs.items()) == AFTER[act]


@pytest.mark.parametrize(
    ("act", "loss"),
    LOSSES + [(act, f"{status} of Kinto") for act in WRITES | REMOVALS for status in (409, 503)],
)
def test_lost_before_it_was_done(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str, loss: str
) -> None:
    """It is sent again, since what is there shows that nothing was done, and comes to one doing."""
    answers = LOST | {"503 of Kinto": ROLLED_BACK, "409 of Kinto": BUSY}
    next_write(proxy, answers[loss], answers[loss])
    (WRITES | REMOVALS)[act](mine)
    assert dict(theirs.items()) == AFTER[act]
    assert len(sent(proxy)) == 3


@pytest.mark.parametrize("act", ["append", "delete an item"])
def test_a_503_of_kinto_that_was_done_after_all(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str
) -> None:
    """On the memory backend nothing is rolled back: what is there equals what was to be."""
    next_write(proxy, lost(ROLLED_BACK))
    with pytest.raises(Conflict) as raised:
        (WRITES | REMOVALS)[act](mine)
    assert raised.value.unconfirmed
    assert dict(theirs.items()) == AFTER[act]


@pytest.mark.parametrize("loss", ["hangs up", "502"])
@pytest.mark.parametrize("act", ONCE)
def test_another_writer_after_the_lost_answer(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str, loss: str
) -> None:
    """What was done may be hidden below another change: it is not done twice."""

    def then(exchange: Exchange) -> None:
        theirs["k/list/-"] = "theirs"
        LOST[loss](exchange)

    next_write(proxy, lost(then))
    with pytest.raises(Conflict) as raised:
        (WRITES | REMOVALS)[act](mine)
    assert raised.value.unconfirmed
    expected = AFTER[act]["k"]
    assert theirs["k"] == expected | {"list": [*expected["list"], "theirs"]}


@pytest.mark.parametrize("act", [each for each in ONCE if each != "delete an item"])
def test_another_writer_and_a_503_of_kinto(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str
) -> None:
    """On PostgreSQL it says that another writer was first: read anew, and go on."""

    def first(exchange: Exchange) -> None:
        theirs["k/theirs"] = 1
        ROLLED_BACK(exchange)

    next_write(proxy, first)
    (WRITES | REMOVALS)[act](mine)
    assert theirs["k"] == AFTER[act]["k"] | {"theirs": 1}


def test_a_pop_that_was_lost_takes_no_other_value(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer
) -> None:
    """The key that another writer made anew is not given for the one that was taken away."""

    def then(exchange: Exchange) -> None:
        theirs["k"] = "new"
        hangs_up(exchange)

    next_write(proxy, lost(then))
    with pytest.raises(Conflict) as raised:
        mine.pop("k")
    assert raised.value.unconfirmed
    assert raised.value.base == BEFORE["k"]
    assert theirs["k"] == "new"


def test_missing_ok_is_about_what_is_there(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer
) -> None:
    """Whoever deleted it: nothing is there afterwards, which was the wish."""
    for path in ("k/member", "k"):
        next_write(proxy, lost())
        mine.delete(path, missing_ok=True)
        proxy.answers.clear()
        assert path not in theirs


def test_a_deletion_goes_on_when_the_member_is_there_again(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer
) -> None:
    """It says that nothing is there afterwards."""

    def then(exchange: Exchange) -> None:
        theirs["k/member"] = "new"
        hangs_up(exchange)

    next_write(proxy, lost(then))
    del mine["k/member"]
    assert "k/member" not in theirs


@pytest.mark.parametrize("act", ONCE)
def test_a_server_that_is_gone_after_the_write(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str
) -> None:
    """What became of it cannot be read: the error is that of the write."""
    proxy.answers.extend([passed_on, answer_lost] + [hangs_up] * 20)
    with pytest.raises(ConnectFailed, match="change the key 'k'") as raised:
        (WRITES | REMOVALS)[act](mine)
    assert raised.value.lost
    assert dict(theirs.items()) == AFTER[act]


# Answers that go on being bad


LASTING: list[tuple[Answer, type[KintoError]]] = [
    (BUSY, Conflict),
    (says(500, {"errno": 999}), ServerError),
    (says(502, b""), ServerError),
    (says(429, {"errno": 117}), ServerError),
    (hangs_up, TransportError),
    (says(200, b"<html>"), BadReply),
]


@pytest.mark.parametrize("act", WRITES | REMOVALS)
def test_one_loop_decides(
    mine: KeyValues, theirs: KeyValues, proxy: FaultyServer, act: str
) -> None:
    """A fault that lasts costs the attempts of one loop, not of one within the other."""
    for answer, kind in LASTING:
        proxy.received.clear()
        proxy.answers.extend([to_writes(answer)] * 200)
        with pytest.raises(kind) as raised:
            (WRITES | REMOVALS)[act](mine)
        assert not getattr(raised.value, "unconfirmed", False)
        assert len(sent(proxy)) <= 9
        proxy.answers.clear()
    assert dict(theirs.items()) == BEFORE


@pytest.mark.parametrize("act", ["append", "set a member", "pop"])
@pytest.mark.parametrize("answer", [ROLLED_BACK, says(412, {"errno": 114})])
def test_other_writers_who_are_first_each_time(
    proxy: FaultyServer, theirs: KeyValues, wire: Wire, act: str, answer: Answer
) -> None:
    """The call ends when its time is over, mostly with what the server said; nothing is written."""
    proxy.answers.extend([to_writes(answer)] * 500)
    bucket, retry = wire.session.bucket, Retry(backoff_factor=0.001, deadline=0.5)
    with (
        Session(proxy.url, auth="alice:s3cret", bucket=bucket, retry=retry) as session,
        pytest.raises((Conflict, ServerError, Timeout)) as raised,
    ):
        (WRITES | REMOVALS)[act](session.kv)
    assert not getattr(raised.value, "unconfirmed", False)
    assert 1 < len(sent(proxy)) <= 31
    proxy.answers.clear()
    assert dict(theirs.items()) == BEFORE


# Races


def pop_by_all(sessions: list[Session], rounds: int) -> None:
    """Exactly one of them gets the value, in each round."""
    with ThreadPoolExecutor(len(sessions)) as pool:
        for number in range(rounds):
            sessions[0].kv["job"] = number
            got = list(pool.map(lambda session: session.kv.pop("job", "none"), sessions))
            assert sorted(map(str, got)) == sorted([str(number), *["none"] * (len(sessions) - 1)])


def test_one_of_eight_pops_a_root_key(backend: Backend, wire: Wire) -> None:
    """The others are told that nothing is there."""
    sessions = [backend.session(bucket=wire.session.bucket, auth="alice:s3cret") for _ in range(8)]
    pop_by_all(sessions, 10)


def test_two_processes_and_postgresql(tmp_path: Path) -> None:
    """The race of the pops has one winner, appends and items popped are as many as were said."""
    with serve_process(f"local://{tmp_path}", processes=2, threads=4) as server:
        sessions = [Session(server.url, auth=server.auth) for _ in range(8)]
        pop_by_all(sessions, 50)
        sessions[0].kv["queue"] = []
        with ThreadPoolExecutor(8) as pool:
            for _ in range(5):
                list(pool.map(lambda each: each[1].kv.set("queue/-", each[0]), enumerate(sessions)))
            assert sorted(sessions[0].kv["queue"]) == sorted([*range(8)] * 5)  # type: ignore[type-var, arg-type]
            got = [list(pool.map(lambda s: s.kv.pop("queue/0"), sessions)) for _ in range(5)]
        assert sorted(each for row in got for each in row) == sorted([*range(8)] * 5)  # type: ignore[type-var]
        for session in sessions:
            session.close()


def test_one_of_eight_deletes_a_root_key(backend: Backend, wire: Wire) -> None:
    """The others are told that nothing is there."""
    sessions = [backend.session(bucket=wire.session.bucket, auth="alice:s3cret") for _ in range(8)]

    def delete(session: Session) -> bool:
        try:
            del session.kv["job"]
        except KeyNotFound:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            wire.session.kv["job"] = number
            assert sum(pool.map(delete, sessions)) == 1


def test_one_of_eight_makes_a_key(backend: Backend, wire: Wire) -> None:
    """All of them get what the first one stored."""
    sessions = [backend.session(bucket=wire.session.bucket, auth="alice:s3cret") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            path = f"made/{number}" if number % 2 else f"made{number}"
            wanted = list(enumerate(sessions))
            got = list(
                pool.map(lambda each, path=path: each[1].kv.setdefault(path, each[0]), wanted)
            )
            assert set(got) == {wire.session.kv[path]}
