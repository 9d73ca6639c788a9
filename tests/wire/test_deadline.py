"""The deadline: the clock of the whole call, whatever the server does and whatever loops inside."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from requests.auth import HTTPDigestAuth

from bridge import both_drivers
from faults import HTML, Answer, Exchange, FaultyServer, hangs_up, says
from kinto_orm import (
    BatchError,
    Conflict,
    ConnectFailed,
    Record,
    Retry,
    ServerError,
    Session,
    Template,
    Timeout,
)

driver = both_drivers(__name__)
# For what an AsyncSession does otherwise.
BlockingSession = Session

RECORD = {"id": "x", "last_modified": 5}


class Todo(Record, collection="todos", bucket="b"):
    number: int = 0


# Pages that are fetched ahead


def test_leaving_a_loop_waits_for_no_page() -> None:
    """The page ahead may hang: who needs it no more goes on."""
    left = threading.Event()
    noticed: list[bool] = []

    def hangs(exchange: Exchange) -> None:
        noticed.append(left.wait(10))
        says(200, {"data": []})(exchange)

    first = says(200, {"data": [RECORD]}, Next_Page="http://x/v1?_token=a")
    with FaultyServer(first, hangs) as server, Session(server.url, retry=None) as session:
        for _ in session.find(Todo).page_size(1):
            break
        left.set()
        session.close()
    assert noticed in ([], [True])


def test_a_page_ahead_that_fails_fails_where_it_is_needed() -> None:
    """What came before it is given first."""
    first: Any = says(200, {"data": [RECORD]}, Next_Page="http://x/v1?_token=a")
    with FaultyServer(first, says(500, {})) as server, Session(server.url, retry=None) as session:
        todos = iter(session.find(Todo).page_size(1))
        assert next(todos).id == "x"
        with pytest.raises(ServerError, match="cannot find Todo"):
            next(todos)


# Answers that come in drops

# A deadline that is over long before they are: what is not bounded ends well, and the test fails.
SOON = Retry(deadline=0.4)
BODY = b'{"data": {"id": "x", "last_modified": 5}, "permissions": {}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def in_drops(content: bytes, *, at_once: int = 0) -> Answer:
    """Send an answer byte by byte, each well within the timeout; the beginning at once."""

    def answer(exchange: Exchange) -> None:
        exchange.wfile.write(content[:at_once])
        for byte in content[at_once:]:
            if exchange.server.closing.wait(0.05):
                return
            exchange.wfile.write(bytes([byte]))

    return answer


def chunked(content: bytes) -> bytes:
    """The body in chunks of one byte each."""
    return b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in content) + b"0\r\n\r\n"


SIZED = HEAD + f"Content-Length: {len(BODY)}\r\n\r\n".encode()
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPPING = {
    "status and headers": in_drops(SIZED + BODY),
    "headers": in_drops(SIZED + BODY, at_once=20),
    "body": in_drops(SIZED + BODY, at_once=len(SIZED)),
    "chunks": in_drops(CHUNKED + chunked(BODY), at_once=len(CHUNKED)),
    "an endless body": in_drops(HEAD + b"\r\n" + BODY + b" " * 500, at_once=len(HEAD)),
    "interim answers": in_drops(b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
    "error page": in_drops(b"HTTP/1.1 404 X\r\nContent-Length: 400\r\n\r\n" + b"x" * 400),
}


@pytest.mark.parametrize("drops", DRIPPING)
@pytest.mark.parametrize("timeout", [(1, 5), None])
def test_a_dripping_answer_ends_at_the_deadline(drops: str, timeout: Any) -> None:
    """Though each piece comes within the timeout for reading."""
    with (
        FaultyServer(DRIPPING[drops]) as server,
        Session(server.url, timeout=timeout, retry=SOON) as session,
        pytest.raises(Timeout, match="get Todo 'x'"),
    ):
        session.get(Todo, "x")


def test_a_dripping_answer_to_an_authentication_that_answers_challenges() -> None:
    """Requests' own way of sending, which it takes then, has the same clock."""
    challenge = says(401, {}, WWW_Authenticate='Digest realm="k", nonce="n", qop="auth"')
    with (
        FaultyServer(challenge, DRIPPING["body"]) as server,
        BlockingSession(server.url, auth=HTTPDigestAuth("a", "b"), retry=SOON) as session,
        pytest.raises(Timeout),
    ):
        session.get(Todo, "x")


def test_a_dripping_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way through a proxy, too."""
    with FaultyServer(DRIPPING["body"]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        with Session("http://kinto.invalid/v1", retry=SOON) as session, pytest.raises(Timeout):
            session.get(Todo, "x")
        assert proxy.received[0].target.startswith("http://kinto.invalid/v1")


def test_an_answer_in_pieces_is_whole() -> None:
    """Where the deadline allows it; the connection is used for the next one as it was before."""
    whole = says(200, json.loads(BODY))
    with (
        FaultyServer(in_drops(SIZED + BODY, at_once=len(SIZED) + 40), whole, whole) as server,
        Session(server.url, timeout=(1, 2), retry=Retry(deadline=8)) as session,
    ):
        assert [session.get(Todo, "x").id for _ in range(3)] == ["x"] * 3


def test_a_large_answer_and_a_large_request() -> None:
    """Bytes that come in many pieces and in a hurry are neither lost nor late."""
    text = "x" * 3_000_000
    large = says(200, {"data": {**RECORD, "text": text}})
    with FaultyServer(large) as server, Session(server.url, retry=None, bucket="b") as session:
        found = session.scoped(collection="c")
        assert Record.get("x", session=found).text == text  # type: ignore[attr-defined]
        Record(id="x", text=text).save(session=found)
        assert len(server.received[1].body) > len(text)


# One clock for all that a call sends

ROOT = {"project_version": "1", "settings": {"batch_max_requests": 25}, "capabilities": {}}
BUSY = says(503, {"errno": 201, "message": "busy"})


def slowly(answer: Answer, seconds: float = 0.2) -> Answer:
    """The same answer, later."""

    def later(exchange: Exchange) -> None:
        exchange.server.closing.wait(seconds)
        answer(exchange)

    return later


def conflict(exchange: Exchange) -> None:
    """Refuse what is written, and give what is read."""
    reading = exchange.received.method in ("GET", "HEAD")
    stored = {
        "data": {**RECORD, "key": "x", "value": {"a": 1}},
        "permissions": {"write": ["me"]},
    }
    said = says(200, stored) if reading else says(412, {"errno": 114, "message": "changed"})
    slowly(said)(exchange)


def test_a_loop_of_conflicts_ends_at_the_deadline() -> None:
    """Permissions are made anew from what the server has, again and again, with one clock."""
    with (
        FaultyServer(conflict) as server,
        Session(server.url, retry=Retry(1, deadline=0.7)) as session,
    ):
        todo = session.get(Todo, "x")
        todo.permissions.grant("read", "system.Everyone")
        with pytest.raises((Timeout, Conflict)):
            todo.permissions.save()
        # Five rounds of two requests, if each of them had a deadline of its own.
        assert len(server.received) < 7


NESTED: dict[str, Any] = {
    "set": lambda session: session.kv.set("x/a", 2),
    "add": lambda session: session.kv.setdefault("x/b", 2),
    "pop": lambda session: session.kv.pop("x/a"),
    "delete": lambda session: session.kv.delete("x/a"),
}


@pytest.mark.parametrize("act", NESTED)
def test_a_nested_key_that_others_keep_changing(act: str) -> None:
    """Reading and writing again, up to thirty times, has one clock, too."""
    with (
        FaultyServer(conflict) as server,
        Session(server.url, bucket="b", retry=Retry(1, deadline=0.7)) as session,
    ):
        with pytest.raises((Timeout, Conflict)):
            NESTED[act](session)
        assert len(server.received) < 12


GET_OR_CREATE: dict[str, Any] = {
    "a record": lambda session: Todo.get_or_create("x", session=session),
    "a template": lambda session: Template.get_or_create("x", source="", session=session),
}


def test_making_what_is_missing_belongs_to_the_call() -> None:
    """The answer that it is missing, making it and the second attempt share the deadline."""
    missing = says(404, {"errno": 111, "details": {"id": "c", "resource_name": "collection"}})
    root = says(200, {**ROOT, "user": {"id": "u", "bucket": "own"}})
    ok = says(200, json.loads(BODY))
    with (
        FaultyServer(root, slowly(missing), slowly(ok, 0.3), ok) as server,
        Session(server.url, auth="a:b", collection="c", retry=Retry(deadline=0.4)) as session,
    ):
        session.server_info()
        with pytest.raises(Timeout):
            Record(id="x").save(session=session)
        assert server.methods == ["GET", "PUT", "GET"]


@pytest.mark.parametrize("make", GET_OR_CREATE)
def test_getting_or_creating_is_one_call(make: str) -> None:
    """Looking whether it is there, and creating it, share the deadline."""
    nothing = says(404, {"errno": 110, "details": {"id": "x", "resource_name": "record"}})
    with (
        FaultyServer(slowly(nothing), slowly(says(201, json.loads(BODY)), 0.3)) as server,
        Session(server.url, bucket="b", retry=Retry(deadline=0.4)) as session,
    ):
        with pytest.raises(Timeout):
            GET_OR_CREATE[make](session)
        assert server.methods == ["GET", "PUT"]


def test_an_item_of_a_batch_belongs_to_its_batch() -> None:
    """Rounds and single attempts after a batch share its deadline."""
    clash = says(200, {"responses": [{"status": 409, "headers": {}, "body": {"errno": 122}}] * 2})
    with (
        FaultyServer(says(200, ROOT), slowly(clash)) as server,
        Session(server.url, retry=Retry(1, deadline=0.5)) as session,
    ):
        session.server_info()
        with pytest.raises(BatchError), session.batch() as batch:
            batch.save(Todo(id="a"), Todo(id="b"))
        assert len(server.received) < 6


# A server that is gone


def numbered(read: list[int]) -> Iterator[Todo]:
    """Records without end."""
    for number in itertools.count():
        read.append(number)
        yield Todo(id=f"t{number}", number=number)


GONE = {"nobody": hangs_up, "busy": BUSY, "a portal": HTML}


@pytest.mark.parametrize("gone", GONE)
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("act", ["save_all", "delete_all"])
def test_a_bulk_operation_stops_when_the_server_is_gone(act: str, workers: int, gone: str) -> None:
    """What would fail as well is neither sent nor read; the summary says why it ended."""
    read: list[int] = []
    with (
        FaultyServer(says(200, ROOT), GONE[gone]) as server,
        Session(server.url, retry=None) as session,
    ):
        options = {"force": True} if act == "delete_all" else {}
        summary = getattr(session, act)(numbered(read), workers=workers, **options)
    assert summary.stopped is not None
    assert summary.total == len(summary.failed) == len(read) <= 25 * workers
    assert len(server.received) <= 1 + 3 * workers
    assert "what came after was not sent: cannot" in str(summary)
    assert str(summary.stopped) in str(summary)


def test_a_bulk_operation_that_raises_at_the_first_failure() -> None:
    """It raises, and reads no more."""
    read: list[int] = []
    with (
        FaultyServer(says(200, ROOT), hangs_up) as server,
        Session(server.url, retry=None) as session,
        pytest.raises(ConnectFailed),
    ):
        session.save_all(numbered(read), on_error="raise")
    assert len(read) == 25


def test_two_calls_have_to_be_silent() -> None:
    """One that gets no answer says little: it may be the fault of what it carries."""
    one_each = says(200, {**ROOT, "settings": {"batch_max_requests": 1}})
    ok = says(201, {"data": {"id": "t1", "last_modified": 5, "number": 1}})
    with (
        FaultyServer(one_each, hangs_up, ok, hangs_up) as server,
        Session(server.url, retry=None) as session,
    ):
        summary = session.save_all(itertools.islice(numbered([]), 9))
    assert (summary.created, len(summary.failed)) == (1, 3)
    assert summary.stopped is not None
    assert len(server.received) == 5


def test_refusals_do_not_stop_a_bulk_operation() -> None:
    """Who refuses is there."""
    with (
        FaultyServer(says(200, ROOT), says(403, {"errno": 121})) as server,
        Session(server.url, retry=None) as session,
    ):
        summary = session.save_all(itertools.islice(numbered([]), 60))
    assert summary.stopped is None
    assert len(summary.failed) == 60
    assert len(server.received) == 4


def test_a_large_batch_stops_when_the_server_is_gone() -> None:
    """The rest fails with the same error, which says that it was not sent."""
    todos = [Todo(id=f"t{number}") for number in range(300)]
    with (
        FaultyServer(says(200, ROOT), hangs_up) as server,
        Session(server.url, retry=None) as session,
    ):
        batch = session.batch()
        batch.save(*todos)
        with pytest.raises(BatchError) as raised:
            batch.run()
        assert len(server.received) == 2
    errors = raised.value.exceptions
    assert len(errors) == 300
    assert all(isinstance(error, ConnectFailed) for error in errors)
    assert "save Todo 't299', which was not sent" in str(errors[-1])
    assert [error.lost for error in errors if isinstance(error, ConnectFailed)] == (
        [True] * 25 + [False] * 275
    )
